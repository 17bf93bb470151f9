"""Candidates for enhancing lesions: the evidence they are found on, features, patches for a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.candidates import MOSTLY_OUTSIDE, OFFERED_SCORE
from mesems_mri.core.components import label_components
from mesems_mri.core.distance import distance_from, distance_inside
from mesems_mri.core.gel.maps import (
    contrast_increase,
    correlate_z,
    find_choroid,
    find_csf,
    prior,
    tissue_probability,
)
from mesems_mri.core.typing import Box, FloatArray, Mask, Priors, RealArray, Spacing

PATCH_SIDE = 24
"""Voxels of 1 mm along each side of a patch."""
CHANNELS = (
    "increase_z",
    "increase",
    "anatomy",
    "correlate_z",
    "support_z",
    "candidate",
    "csf",
    "depth",
    "ventricle",
    "plexus",
    "white_matter",
    "cortex",
    "infratentorial",
)
"""Channels of a patch; `cut_patches` scales them."""

CROSS = ndimage.generate_binary_structure(3, 1)
CUBE = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class EnhancementThresholds:
    """Thresholds of the detector of enhancing lesions.

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
    #: Half a false focus a scan on the real pairs and their degraded copies (`benchmarks/accuracy_gel.py`),
    #: of the score by the weights set by hand; that of a classifier needs its own.
    min_score: float = 0.88
    #: Mean probability of lateral ventricle above which a candidate is choroid plexus in any case.
    max_ventricle: float = 0.4
    #: The same for a classifier: such a candidate scores no more than ``offered_score``, so that a reader is
    #: offered it and no count holds it.
    mostly_ventricle: float = MOSTLY_OUTSIDE
    offered_score: float = OFFERED_SCORE
    #: A candidate rejected as a vessel is cut once more into compact parts from this size on.
    recut_volume_mm3: float = 100.0
    #: Factor on both contrasts and sigmas when there is no pre-contrast image.
    no_pre_factor: float = 1.6
    #: Candidates for a classifier start lower than those for the weights set by hand, on averages over
    #: ``faint_width_mm`` (sigma of a Gaussian), and ask for less of a T2 correlate.
    faint_width_mm: float = 0.8
    faint_sigma: float = 1.8
    faint_contrast: float = 0.04
    faint_correlate_sigma: float = 1.5
    #: A classifier is asked about all places but this rim, where only the dura and its veins can brighten.
    rim_mm: float = 1.5
    #: So many candidates a classifier is asked about, by the weights set by hand the likeliest ones.
    max_candidates: int = 400
    #: Larger than this a component is a net of vessels, not one lesion.
    max_extent_mm: float = 30.0


@dataclass(frozen=True)
class EnhancementImages:
    """Images of a visit on one grid and its masks, as `gel.detect.detect_enhancement` takes them."""

    post: RealArray
    pre: RealArray | None
    t2_images: Mapping[str, RealArray]
    brain_mask: Mask
    priors: Priors
    spacing_mm: Spacing
    nawm: Mask


@dataclass(frozen=True)
class EnhancementMaps:
    """Voxelwise evidence on which candidates are found, described and scored."""

    increase: FloatArray
    z: FloatArray
    anatomy: FloatArray
    correlate_z: FloatArray
    support_z: FloatArray
    correlate: Mask
    csf: Mask
    hot: Mask
    depth_mm: FloatArray
    ventricle: FloatArray
    choroid: FloatArray
    tissue: FloatArray
    tissues: Mapping[str, FloatArray]
    places: Mapping[str, Mask]
    spacing_mm: Spacing


@dataclass(frozen=True)
class Candidate:
    """A mask and the box of the whole array it is cut from.

    ``parent`` is the number of the candidate it is a part of: considered only when that was rejected.
    ``ring``: a ring or open ring, filled; it is one focus as soon as a part of it is accepted.
    """

    inside: Mask
    around: Box
    parent: int | None = None
    faint: bool = False
    ring: bool = False


def gather_maps(images: EnhancementImages, limits: EnhancementThresholds, *, faint: bool) -> EnhancementMaps:
    """Compute the maps of a visit; ``faint``: with the lower demand on a T2 correlate."""
    factor = 1.0 if images.pre is not None else limits.no_pre_factor
    # Without a pre-contrast image CSF is found on the post-contrast one: it is dark there as well.
    anatomy = np.asarray(images.post if images.pre is None else images.pre, np.float32)
    increase, sigma = contrast_increase(
        images.post, images.pre, images.brain_mask, images.nawm, images.spacing_mm
    )
    z = increase / sigma
    hot = images.brain_mask & (z > factor * limits.grow_sigma) & (increase > factor * limits.grow_contrast)
    size = [2 * round(limits.outline_reach_mm / step) + 1 for step in images.spacing_mm]
    hot &= increase >= limits.outline_fraction * ndimage.maximum_filter(increase, size)
    csf = find_csf(anatomy, images.t2_images, images.brain_mask)
    level, support = correlate_z(
        images.t2_images, anatomy, images.brain_mask, images.priors, images.nawm, images.spacing_mm
    )
    least_voxels = limits.min_volume_mm3 / float(np.prod(images.spacing_mm))
    correlate = drop_specks(images.brain_mask & (level > limits.correlate_sigma) & ~csf, least_voxels)
    near = correlate
    if faint:
        # Both contrasts together have less noise than either.
        both = np.where(level > 0.5, (level + np.minimum(support, 2 * level)) / np.sqrt(2.0), level)
        near = images.brain_mask & (np.maximum(level, both) > limits.faint_correlate_sigma) & ~csf
        near = drop_specks(near, least_voxels)
    depth_mm = distance_inside(np.pad(images.brain_mask, 1), images.spacing_mm)[1:-1, 1:-1, 1:-1]
    reach = distance_from(near, images.spacing_mm)
    places = {
        "brain_edge": depth_mm <= limits.edge_margin_mm,
        "choroid_plexus": find_choroid(csf, images.priors, images.spacing_mm),
        "csf_space": csf,
        "no_t2_correlate": reach > limits.correlate_reach_mm,
    }
    plexus = prior(images.priors, "choroid_plexus", images.post.shape)
    ventricle = prior(images.priors, "lateral_ventricles", images.post.shape) + plexus
    # The plexus is slender and its place varies more than that of the ventricles.
    plexus = ndimage.maximum_filter(plexus, [2 * round(4.0 / step) + 1 for step in images.spacing_mm])
    return EnhancementMaps(
        increase,
        z.astype(np.float32),
        anatomy,
        level,
        support,
        correlate,
        csf,
        hot,
        depth_mm,
        ventricle,
        plexus,
        tissue_probability(images.priors, images.post.shape),
        {
            "white_matter": prior(images.priors, "white_matter", images.post.shape),
            "cortex": prior(images.priors, "cortex", images.post.shape),
            "infratentorial": np.maximum(
                prior(images.priors, "cerebellum", images.post.shape),
                prior(images.priors, "brainstem", images.post.shape),
            ),
        },
        places,
        images.spacing_mm,
    )


def describe(candidate: Candidate, maps: EnhancementMaps) -> dict[str, float]:
    """Measure the features that tell a GEL from a vessel and from choroid plexus."""
    inside, around = candidate.inside, candidate.around
    level = maps.correlate_z[around][inside]
    extent = np.sort(np.linalg.eigvalsh(np.cov((np.argwhere(inside) * maps.spacing_mm).T) + np.eye(3) / 12))
    surface = ndimage.binary_dilation(inside, CUBE) & ~inside
    shell = ndimage.binary_dilation(inside, CROSS, iterations=2) & ~inside
    depth = distance_inside(np.pad(inside, 1), maps.spacing_mm)
    return {
        "radius_mm": float(np.max(depth)),
        "volume_mm3": float(inside.sum() * np.prod(maps.spacing_mm)),
        "overlap": float(maps.correlate[around][inside].mean()),
        "correlate_z": float(np.clip(level.mean(), -1, 5)),
        "far_from_correlate": float(maps.places["no_t2_correlate"][around][inside].mean()),
        "elongation": float(np.sqrt(extent[2] / extent[1])),
        "compact": float(ndimage.binary_opening(inside, CROSS).sum() / inside.sum()),
        "continued": float(maps.hot[around][surface].mean()),
        "csf": float(maps.csf[around][shell].mean()),
        "choroid": float(maps.choroid[around][inside].mean()),
        "ventricle": float(maps.ventricle[around][inside].mean()),
        "tissue": float(maps.tissue[around][inside].mean()),
    }


def cut_patches(maps: EnhancementMaps, candidates: Sequence[Candidate], side: int = PATCH_SIDE) -> FloatArray:
    """Cut a patch of 1 mm voxels round each candidate, every channel scaled to -1.5 to 1.5.

    Parameters
    ----------
    maps : EnhancementMaps
        Of the visit.
    candidates : sequence of Candidate
        Each is centred on its centre of mass, rounded to a voxel.
    side : int
        Voxels along each side.

    Returns
    -------
    ndarray of float32, shape (candidates, channels, side, side, side)
        In the order of `CHANNELS`. Outside the array: 0.
    """
    patches = np.zeros((len(candidates), len(CHANNELS), side, side, side), np.float32)
    isotropic = np.allclose(maps.spacing_mm, 1.0, rtol=0.01)
    for candidate, patch in zip(candidates, patches, strict=True):
        centre = np.rint(np.argwhere(candidate.inside).mean(axis=0)).astype(int)
        centre += [s.start for s in candidate.around]
        # A margin for interpolation, where voxels are no cubes of 1 mm.
        half = [side // 2 if isotropic else int(np.ceil(side / 2 / step)) + 2 for step in maps.spacing_mm]
        low, high = centre - half, centre + half
        box = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, maps.z.shape, strict=True))
        margins = [(s.start - a, b - s.stop) for s, a, b in zip(box, low, high, strict=True)]
        mask = np.zeros(maps.z.shape, bool)[box]
        _paste(mask, box, candidate)
        channels = (
            np.arcsinh(maps.z[box]) / 3,
            np.maximum(maps.increase[box], -0.5),
            np.clip(maps.anatomy[box] - 1, -1, 1),
            np.arcsinh(maps.correlate_z[box]) / 3,
            np.arcsinh(maps.support_z[box]) / 3,
            mask,
            maps.csf[box],
            np.minimum(maps.depth_mm[box], 10) / 10,
            np.minimum(maps.ventricle[box], 1),
            maps.choroid[box],
            *(maps.tissues[name][box] for name in ("white_matter", "cortex", "infratentorial")),
        )
        for number, channel in enumerate(channels):
            padded = np.pad(np.clip(np.asarray(channel, np.float32), -1.5, 1.5), margins)
            patch[number] = padded if isotropic else _to_millimetres(padded, maps.spacing_mm, side)
    return patches


def _paste(mask: Mask, box: Box, candidate: Candidate) -> None:
    """Draw a candidate into a mask that covers `box` of the whole array."""
    target, source = [], []
    for whole, part in zip(box, candidate.around, strict=True):
        low, high = max(whole.start, part.start), min(whole.stop, part.stop)
        target.append(slice(low - whole.start, high - whole.start))
        source.append(slice(low - part.start, high - part.start))
    mask[tuple(target)] = candidate.inside[tuple(source)]


def _to_millimetres(volume: FloatArray, spacing_mm: Spacing, side: int) -> FloatArray:
    scale = 1.0 / np.asarray(spacing_mm)
    offset = np.asarray(volume.shape) // 2 - scale * (side // 2)
    return ndimage.affine_transform(volume, np.diag(scale), offset, output_shape=(side,) * 3, order=1)


def drop_specks(mask: Mask, min_voxels: float) -> Mask:
    """Return a mask without its components of fewer voxels."""
    components, n = label_components(mask)
    large = np.bincount(components.ravel(), minlength=n + 1) >= min_voxels
    large[0] = False
    return large[components]
