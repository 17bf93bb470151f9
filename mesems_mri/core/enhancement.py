"""Gadolinium-enhancing lesions (GEL) from post- and pre-contrast T1w and T2-type images.

A GEL is brighter after gadolinium beyond what noise and misregistration of this very pair explain, lies in
the parenchyma and has a T2-hyperintense correlate. Most that brightens is none: veins, sinuses, dura, choroid
plexus, pituitary. They are told apart by place (edge of the brain, CSF, priors), by the weak or missing
correlate, and by shape (thin, long, continued by bright vessels outside). Every candidate that is turned down
is kept with its cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.components import close_fragments, label_components, label_foci
from mesems_mri.core.enhancement_maps import (
    contrast_increase,
    correlate_z,
    find_choroid,
    find_csf,
    prior,
    tissue_probability,
)

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Priors = Mapping[str, NDArray[np.floating]]
Spacing = tuple[float, float, float]

_CROSS = ndimage.generate_binary_structure(3, 1)
_CUBE = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the detector.

    Intensities are in units of NAWM, sigmas are those of the difference image (``seed``, ``grow``) or of the
    T2-type image (``correlate``) of this scan.
    """

    seed_sigma: float = 4.5
    grow_sigma: float = 2.5
    seed_contrast: float = 0.13
    grow_contrast: float = 0.07
    #: A voxel below this share of the strongest increase within ``outline_reach_mm`` is blur, not lesion.
    outline_fraction: float = 0.4
    outline_reach_mm: float = 2.0
    edge_margin_mm: float = 3.0
    correlate_reach_mm: float = 2.0
    correlate_sigma: float = 2.0
    min_volume_mm3: float = 14.0
    min_diameter_mm: float = 3.0
    gap_mm: float = 3.0
    #: Half a false focus a scan on the real pairs and their degraded copies (`benchmarks/accuracy_gel.py`).
    min_score: float = 0.88
    #: Mean probability of lateral ventricle beyond which a candidate is plexus, whatever it looks like.
    max_ventricle: float = 0.4
    #: A candidate turned down as a vessel is cut once more into compact parts from this size on.
    recut_volume_mm3: float = 100.0
    #: Factor on both contrasts and sigmas when there is no pre-contrast image.
    no_pre_factor: float = 1.6


@dataclass(frozen=True)
class Rejected:
    """A candidate that is no GEL: centre (voxel), volume (mm3), score (0 to 1) and cause."""

    centre: tuple[float, float, float]
    volume_mm3: float
    score: float
    cause: str


@dataclass(frozen=True)
class Enhancement:
    """Foci (int32 dseg numbered from 1), the score of each (0 to 1), and the rejected candidates."""

    dseg: NDArray[np.int32]
    scores: tuple[float, ...]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class _Maps:
    """What the decision about a candidate is taken from, voxel by voxel."""

    increase: FloatArray
    z: FloatArray
    correlate_z: FloatArray
    correlate: BoolArray
    csf: BoolArray
    hot: BoolArray
    ventricle: FloatArray
    choroid: FloatArray
    tissue: FloatArray


def detect_enhancement(
    post: NDArray[np.floating],
    pre: NDArray[np.floating] | None,
    *,
    t2_images: Mapping[str, NDArray[np.floating]],
    brain_mask: BoolArray,
    priors: Priors,
    spacing_mm: Spacing,
    plane_normal: tuple[float, float, float] = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
    nawm: BoolArray,
    thresholds: Thresholds | None = None,
) -> Enhancement:
    """Detect gadolinium-enhancing lesions.

    Parameters
    ----------
    post, pre
        Post- and pre-contrast T1w on one grid, NAWM near 1; they may differ in gain, bias and by less than
        1 mm in position. ``pre=None``: the post-contrast image is judged alone, more strictly.
    t2_images
        ``FLAIR``, ``T2w``, ``PDw``, those there are (at least one), NAWM scaled to 1, same grid.
    brain_mask
        Brain, same grid.
    priors
        Tissue probabilities (0 to 1) on the same grid, right to some millimetres. Used when there:
        ``cortex``, ``deep_grey``, ``lateral_ventricles``, ``choroid_plexus``, ``brain``, ``brainstem``,
        ``cerebellum``.
    spacing_mm
        Voxel size (mm).
    plane_normal, slice_thickness_mm
        Acquired slices of the post-contrast image: normal in array axes and thickness (mm).
    nawm
        Normal-appearing white matter, same grid.
    thresholds
        Defaults when None.

    Returns
    -------
    Enhancement
        Foci, their scores and the rejected candidates.

    Raises
    ------
    ValueError
        When there is no T2-type image, a shape differs, an image is not finite, or a mask is empty.
    """
    limits = thresholds or Thresholds()
    _validate(post, pre, t2_images, brain_mask, nawm, spacing_mm)
    factor = 1.0 if pre is not None else limits.no_pre_factor
    # Where there is no pre-contrast image, CSF is told by the post-contrast one: dark there as well.
    anatomy = np.asarray(post if pre is None else pre, np.float32)
    increase, sigma = contrast_increase(post, pre, brain_mask, nawm, spacing_mm)
    z = increase / sigma
    hot = brain_mask & (z > factor * limits.grow_sigma) & (increase > factor * limits.grow_contrast)
    size = [2 * round(limits.outline_reach_mm / step) + 1 for step in spacing_mm]
    hot &= increase >= limits.outline_fraction * ndimage.maximum_filter(increase, size)
    csf = find_csf(anatomy, t2_images, brain_mask)
    correlate_level = correlate_z(t2_images, anatomy, brain_mask, priors, nawm, spacing_mm)
    correlate = brain_mask & (correlate_level > limits.correlate_sigma) & ~csf
    correlate = _drop_specks(correlate, limits.min_volume_mm3 / float(np.prod(spacing_mm)))
    depth_mm = ndimage.distance_transform_edt(np.pad(brain_mask, 1), sampling=spacing_mm)
    depth_mm = np.asarray(depth_mm)[1:-1, 1:-1, 1:-1]
    reach = np.asarray(ndimage.distance_transform_edt(~correlate, sampling=spacing_mm))
    choroid = find_choroid(csf, priors, spacing_mm)
    outer = depth_mm <= limits.edge_margin_mm
    places = {
        "brain_edge": outer,
        "choroid_plexus": choroid,
        "csf_space": csf,
        "no_t2_correlate": reach > limits.correlate_reach_mm,
    }
    excluded = np.logical_or.reduce(list(places.values()))
    closed = close_fragments(
        hot & ~excluded, spacing_mm=spacing_mm, gap_mm=limits.gap_mm, plane_normal=plane_normal
    )
    closed &= ~excluded
    plexus = prior(priors, "choroid_plexus", post.shape)
    ventricle = prior(priors, "lateral_ventricles", post.shape) + plexus
    # The plexus is slender and its place varies more than that of the ventricles.
    plexus = ndimage.maximum_filter(plexus, [2 * round(4.0 / step) + 1 for step in spacing_mm])
    tissue = tissue_probability(priors, post.shape)
    maps = _Maps(increase, z, correlate_level, correlate, csf, hot, ventricle, plexus, tissue)

    rejected = _rejected_by_place(hot & (z > factor * limits.seed_sigma), places, spacing_mm, limits)
    accepted = np.zeros(post.shape, bool)
    score_map = np.zeros(post.shape, np.float32)
    voxel_mm3 = float(np.prod(spacing_mm))
    queue = _boxes(_split(closed, spacing_mm, _CROSS))
    while queue:
        inside, around = queue.pop(0)
        volume_mm3 = float(inside.sum()) * voxel_mm3
        if volume_mm3 < limits.min_volume_mm3:
            continue
        score, cause = _judge(inside, maps, around, spacing_mm, limits, factor)
        if not cause:
            accepted[around] |= inside
            score_map[around][inside] = score
            continue
        if cause == "vessel" and volume_mm3 >= limits.recut_volume_mm3:
            # A lesion may hang on it by the bridges that join the fragments of a ring: cut it off.
            within = inside & hot[around]
            pieces = _split(within, spacing_mm, _CUBE)
            if pieces.max() > 1 or within.sum() < inside.sum():
                queue += _boxes(pieces, around)
        centre = np.argwhere(inside).mean(axis=0) + [s.start for s in around]
        rejected.append(Rejected(_triple(centre), volume_mm3, score, cause))
    dseg = label_foci(
        accepted,
        spacing_mm=spacing_mm,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
        min_volume_mm3=limits.min_volume_mm3,
        min_diameter_mm=limits.min_diameter_mm,
    )
    number = int(dseg.max())
    scores = ndimage.maximum(score_map, dseg, np.arange(1, number + 1)) if number else []
    return Enhancement(dseg, tuple(round(float(s), 3) for s in scores), tuple(rejected))


def _split(closed: BoolArray, spacing_mm: Spacing, structure: BoolArray) -> NDArray[np.int32]:
    """Cut what is thin (vessels) off what is compact: opening, cores regrown; the rest are own candidates."""
    cores, n = label_components(ndimage.binary_opening(closed, structure))
    if n == 0:
        return label_components(closed)[0]
    distance, nearest = ndimage.distance_transform_edt(cores == 0, sampling=spacing_mm, return_indices=True)
    grown = np.where((distance <= 1.8 * min(spacing_mm)) & closed, cores[tuple(nearest)], 0)
    rest, _ = label_components(closed & (grown == 0))
    return np.where(rest > 0, rest + n, grown).astype(np.int32)


def _boxes(
    dseg: NDArray[np.int32], within: tuple[slice, ...] | None = None
) -> list[tuple[BoolArray, tuple[slice, ...]]]:
    """Mask of each label and the part of the whole array it is cut from, with a margin of 4 voxels."""
    boxes = []
    for label, box in enumerate(ndimage.find_objects(dseg), start=1):
        if box is None:
            continue
        local = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
        mask = dseg[local] == label
        starts = [s.start for s in within] if within else [0, 0, 0]
        around = tuple(
            slice(s.start + start, s.start + start + n)
            for s, start, n in zip(local, starts, mask.shape, strict=True)
        )
        boxes.append((mask, around))
    return boxes


def _judge(
    inside: BoolArray,
    maps: _Maps,
    around: tuple[slice, ...],
    spacing_mm: Spacing,
    limits: Thresholds,
    factor: float,
) -> tuple[float, str]:
    """Score a candidate (0 to 1) and name the cause when it is turned down, else an empty string."""
    increase, z = maps.increase[around][inside], maps.z[around][inside]
    if z.max() < factor * limits.seed_sigma or increase.max() < factor * limits.seed_contrast:
        return 0.0, "below_noise"
    features = _describe(inside, maps, around, spacing_mm)
    if features["ventricle"] > limits.max_ventricle:
        return 0.0, "choroid_plexus"
    evidence = _weigh(features)
    score = float(1.0 / (1.0 + np.exp(-sum(evidence.values()))))
    if score >= limits.min_score:
        return score, ""
    return score, min(evidence, key=lambda cause: evidence[cause])


def _describe(
    inside: BoolArray, maps: _Maps, around: tuple[slice, ...], spacing_mm: Spacing
) -> dict[str, float]:
    """Measure what tells a GEL from a vessel and from choroid plexus."""
    correlate_z = maps.correlate_z[around][inside]
    extent = np.sort(np.linalg.eigvalsh(np.cov((np.argwhere(inside) * spacing_mm).T) + np.eye(3) / 12))
    surface = ndimage.binary_dilation(inside, _CUBE) & ~inside
    shell = ndimage.binary_dilation(inside, _CROSS, iterations=2) & ~inside
    return {
        "radius_mm": float(np.max(ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing_mm))),
        "volume_mm3": float(inside.sum() * np.prod(spacing_mm)),
        "overlap": float(maps.correlate[around][inside].mean()),
        "correlate_z": float(np.clip(correlate_z.mean(), -1, 5)),
        "elongation": float(np.sqrt(extent[2] / extent[1])),
        "compact": float(ndimage.binary_opening(inside, _CROSS).sum() / inside.sum()),
        "continued": float(maps.hot[around][surface].mean()),
        "csf": float(maps.csf[around][shell].mean()),
        "choroid": float(maps.choroid[around][inside].mean()),
        "ventricle": float(maps.ventricle[around][inside].mean()),
        "tissue": float(maps.tissue[around][inside].mean()),
    }


def _weigh(features: Mapping[str, float]) -> dict[str, float]:
    """Evidence for a GEL (above 0) and against (below 0), by the cause it would be turned down for.

    Round weights set by hand; each term is 0 where GEL and look-alikes are about equally frequent.
    """
    return {
        "no_t2_correlate": 4.0 * (features["overlap"] - 0.55) + 0.6 * (features["correlate_z"] - 2.0),
        "vessel": 3.0 * (features["compact"] - 0.5)
        - 4.0 * max(features["elongation"] - 1.6, 0)
        - 6.0 * (features["continued"] - 0.12)
        # A cut through a vein is as small as the smallest lesion, and there are more of them.
        + 0.8 * min(float(np.log(features["volume_mm3"] / 50.0)), 0.5)
        # No vein inside the brain is as thick as this.
        + min(max(features["radius_mm"] - 2.2, 0), 2.0),
        "choroid_plexus": -5.0 * max(features["ventricle"] - 0.15, 0)
        - 3.0 * max(features["choroid"] - 0.35, 0),
        "csf_space": -8.0 * max(features["csf"] - 0.08, 0) - 6.0 * max(0.6 - features["tissue"], 0),
    }


def _rejected_by_place(
    seeds: BoolArray, places: Mapping[str, BoolArray], spacing_mm: Spacing, limits: Thresholds
) -> list[Rejected]:
    """Bright foci that lie mostly where no GEL can lie, for the report."""
    dseg = label_foci(seeds, spacing_mm=spacing_mm, min_volume_mm3=limits.min_volume_mm3)
    number = int(dseg.max())
    if number == 0:
        return []
    labels = np.arange(1, number + 1)
    volumes = np.bincount(dseg.ravel(), minlength=number + 1)[1:] * float(np.prod(spacing_mm))
    centres = ndimage.center_of_mass(dseg > 0, dseg, labels)
    rejected = []
    taken = np.zeros(number, bool)
    for cause, place in places.items():
        share = np.asarray(ndimage.mean(place, dseg, labels))
        for i in np.flatnonzero((share > 0.5) & ~taken):
            taken[i] = True
            rejected.append(Rejected(_triple(centres[i]), float(volumes[i]), 0.0, cause))
    return rejected


def _drop_specks(mask: BoolArray, min_voxels: float) -> BoolArray:
    components, n = label_components(mask)
    large = np.bincount(components.ravel(), minlength=n + 1) >= min_voxels
    large[0] = False
    return large[components]


def _triple(centre: NDArray[np.floating] | tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = (round(float(c), 1) for c in centre)
    return x, y, z


def _validate(
    post: NDArray[np.floating],
    pre: NDArray[np.floating] | None,
    t2_images: Mapping[str, NDArray[np.floating]],
    brain_mask: BoolArray,
    nawm: BoolArray,
    spacing_mm: Spacing,
) -> None:
    unknown = set(t2_images) - {"FLAIR", "T2w", "PDw"}
    if not t2_images or unknown:
        msg = f"t2_images must hold one or more of FLAIR, T2w, PDw, got {sorted(t2_images)}"
        raise ValueError(msg)
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        msg = f"spacing_mm must be three numbers above 0 mm, got {tuple(spacing_mm)}"
        raise ValueError(msg)
    named = {"post": post, **({} if pre is None else {"pre": pre}), **t2_images}
    for name, image in {**named, "brain_mask": brain_mask, "nawm": nawm}.items():
        if image.shape != post.shape or post.ndim != 3:
            msg = f"{name} must be 3D and of the shape of post, {post.shape}, got {image.shape}"
            raise ValueError(msg)
    for name, image in named.items():
        if not np.isfinite(image).all():
            count = int((~np.isfinite(image)).sum())
            msg = f"{name} must be finite, got {count} NaN or infinite voxels"
            raise ValueError(msg)
    for name, mask in (("brain_mask", brain_mask), ("nawm", nawm)):
        if np.count_nonzero(mask) < 30:
            msg = f"{name} must hold at least 30 voxels, got {int(np.count_nonzero(mask))}"
            raise ValueError(msg)
