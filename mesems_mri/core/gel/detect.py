"""Gadolinium-enhancing lesions (GEL) from post- and pre-contrast T1w and T2-type images.

A GEL is brighter after gadolinium beyond what noise and misregistration of this very pair explain, lies in
the parenchyma and has a T2-hyperintense correlate. Most that brightens is none: veins, sinuses, dura, choroid
plexus, pituitary. They are told apart by place (edge of the brain, CSF, priors), by the weak or missing
correlate, and by shape (thin, long, continued by bright vessels outside). Every candidate that is turned down
is kept with its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_foci
from mesems_mri.core.gel.candidates import (
    Candidate,
    Images,
    Maps,
    Thresholds,
    cut_patches,
    describe,
    gather_maps,
    propose,
)
from mesems_mri.core.typing import FloatArray, Labels, Mask, Normal, Priors, RealArray, Spacing

Classify = Callable[[FloatArray, FloatArray], FloatArray]
"""Log odds that candidates are GEL, from their patches (`cut_patches`) and the log odds by hand weights."""


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

    dseg: Labels
    scores: tuple[float, ...]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True)
class Weighed:
    """Candidates of a visit, the score and the cause of each, and what lies where no GEL can lie."""

    maps: Maps
    candidates: tuple[Candidate, ...]
    judged: tuple[tuple[float, str], ...]
    excluded: tuple[Rejected, ...]
    learned: bool = False


def detect_enhancement(
    post: RealArray,
    pre: RealArray | None,
    *,
    t2_images: Mapping[str, RealArray],
    brain_mask: Mask,
    priors: Priors,
    spacing_mm: Spacing,
    plane_normal: Normal = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
    nawm: Mask,
    thresholds: Thresholds | None = None,
    classify: Classify | None = None,
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
    classify
        Log odds that each candidate is a GEL, from patches as `enhancement_candidates.cut_patches` makes them
        and from the log odds by the weights set by hand. None: these alone decide, on fewer candidates.

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
    images = Images(post, pre, t2_images, brain_mask, priors, spacing_mm, nawm)
    weighed = weigh_candidates(images, plane_normal=plane_normal, thresholds=limits, classify=classify)
    return accept_foci(
        weighed,
        limits.min_score,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
        thresholds=limits,
    )


def weigh_candidates(
    images: Images,
    *,
    plane_normal: Normal = (0.0, 0.0, 1.0),
    thresholds: Thresholds | None = None,
    classify: Classify | None = None,
) -> Weighed:
    """Propose candidates and score them; the parameters are those of `detect_enhancement`."""
    limits = thresholds or Thresholds()
    _validate(images)
    factor = 1.0 if images.pre is not None else limits.no_pre_factor
    faint = classify is not None
    maps = gather_maps(images, limits, faint=faint)
    candidates = propose(
        maps, limits, plane_normal=plane_normal, nawm=images.nawm, factor=factor, faint=faint
    )
    judged = [judge_by_hand(candidate, maps, limits, factor, faint=faint) for candidate in candidates]
    if classify is not None:
        judged = _reconsider(judged, candidates, maps, classify)
    seeds = maps.hot & (maps.z > factor * limits.seed_sigma)
    excluded = _rejected_by_place(seeds, maps, limits)
    return Weighed(maps, tuple(candidates), tuple(judged), excluded, classify is not None)


def accept_foci(
    weighed: Weighed,
    least: float,
    *,
    plane_normal: Normal,
    slice_thickness_mm: float | None,
    thresholds: Thresholds | None = None,
) -> Enhancement:
    """Accept candidates that score at least ``least`` (parts where the whole was turned down)."""
    limits = thresholds or Thresholds()
    shape, spacing_mm = weighed.maps.z.shape, weighed.maps.spacing_mm
    rejected = list(weighed.excluded)
    accepted = np.zeros(shape, bool)
    score_map = np.zeros(shape, np.float32)
    turned_down: set[int] = set()
    for number, (candidate, (score, cause)) in enumerate(
        zip(weighed.candidates, weighed.judged, strict=True)
    ):
        inside, around = candidate.inside, candidate.around
        if candidate.parent is not None and candidate.parent not in turned_down:
            continue
        if candidate.faint and (accepted[around] & inside).any():
            continue
        if score >= least:
            accepted[around] |= inside
            score_map[around][inside] = score
            continue
        if weighed.learned or cause == "vessel":
            turned_down.add(number)
        # What stands out on average only is below what a reader would be shown as brightening.
        if not candidate.faint:
            centre = np.argwhere(inside).mean(axis=0) + [s.start for s in around]
            volume_mm3 = float(inside.sum() * np.prod(spacing_mm))
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


def judge_by_hand(
    candidate: Candidate, maps: Maps, limits: Thresholds, factor: float, *, faint: bool
) -> tuple[float, str]:
    """Score a candidate (0 to 1) by weights set by hand, and name what speaks most against it.

    A score of 0 is a verdict that no classifier is asked about; ``faint``: also weigh what is below the
    sigmas of the seeds.
    """
    inside, around = candidate.inside, candidate.around
    increase, z = maps.increase[around][inside], maps.z[around][inside]
    weak = z.max() < factor * limits.seed_sigma
    # An average may stand out of the noise with less; but too little contrast is no enhancement on any scan.
    if increase.max() < factor * limits.seed_contrast or (weak and not faint):
        return 0.0, "below_noise"
    features = describe(candidate, maps)
    if features["ventricle"] > limits.max_ventricle:
        return 0.0, "choroid_plexus"
    evidence = _weigh(features)
    score = float(1.0 / (1.0 + np.exp(-sum(evidence.values()))))
    return score, "below_noise" if weak else min(evidence, key=lambda cause: evidence[cause])


def _reconsider(
    judged: list[tuple[float, str]], candidates: list[Candidate], maps: Maps, classify: Classify
) -> list[tuple[float, str]]:
    """Replace the scores by those of a classifier; the causes stay."""
    asked = [i for i, (score, _) in enumerate(judged) if score > 0]
    if not asked:
        return judged
    by_hand = np.clip([judged[i][0] for i in asked], 1e-6, 1 - 1e-6)
    patches = cut_patches(maps, [candidates[i] for i in asked])
    log_odds = classify(patches, np.log(by_hand / (1 - by_hand)).astype(np.float32))
    revised = list(judged)
    for i, value in zip(asked, log_odds, strict=True):
        revised[i] = (float(1.0 / (1.0 + np.exp(-float(value)))), judged[i][1])
    return revised


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


def _rejected_by_place(seeds: Mask, maps: Maps, limits: Thresholds) -> tuple[Rejected, ...]:
    """Bright foci that lie mostly where no GEL can lie, for the report."""
    places, spacing_mm = maps.places, maps.spacing_mm
    dseg = label_foci(seeds, spacing_mm=spacing_mm, min_volume_mm3=limits.min_volume_mm3)
    number = int(dseg.max())
    if number == 0:
        return ()
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
    return tuple(rejected)


def _triple(centre: RealArray | tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = (round(float(c), 1) for c in centre)
    return x, y, z


def _validate(images: Images) -> None:
    unknown = set(images.t2_images) - {"FLAIR", "T2w", "PDw"}
    if not images.t2_images or unknown:
        msg = f"t2_images must hold one or more of FLAIR, T2w, PDw, got {sorted(images.t2_images)}"
        raise ValueError(msg)
    if len(images.spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in images.spacing_mm):
        msg = f"spacing_mm must be three numbers above 0 mm, got {tuple(images.spacing_mm)}"
        raise ValueError(msg)
    named = {"post": images.post, **({} if images.pre is None else {"pre": images.pre}), **images.t2_images}
    for name, image in {**named, "brain_mask": images.brain_mask, "nawm": images.nawm}.items():
        if image.shape != images.post.shape or images.post.ndim != 3:
            msg = f"{name} must be 3D and of the shape of post, {images.post.shape}, got {image.shape}"
            raise ValueError(msg)
    for name, image in named.items():
        if not np.isfinite(image).all():
            count = int((~np.isfinite(image)).sum())
            msg = f"{name} must be finite, got {count} NaN or infinite voxels"
            raise ValueError(msg)
    for name, mask in (("brain_mask", images.brain_mask), ("nawm", images.nawm)):
        if np.count_nonzero(mask) < 30:
            msg = f"{name} must hold at least 30 voxels, got {int(np.count_nonzero(mask))}"
            raise ValueError(msg)
