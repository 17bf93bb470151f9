"""T2 lesions and black holes of one visit, without learning.

A lesion is brighter than the tissue expected at its place (`core.tissue`). Certain voxels are seeds, and a
lesion is grown from them down to about half of its own contrast (cf. Schmidt et al., NeuroImage
2012;59:3774 for seeds and growth on FLAIR). Each candidate is then judged as a whole: how bright it is and
how much of its surroundings is white matter, which tells a lesion from a bright stretch of cortex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components, label_foci
from mesems_mri.core.distance import distance_from
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.t2.tissue import Tissue, describe_tissue, mean_by_label, white_surround
from mesems_mri.core.typing import FloatArray, Labels, Mask, Normal, Priors, Spacing, T2Contrast

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)
_STEEPNESS = 2.0
"""Log odds by evidence; fitted to another patient it is no better (`benchmarks/t2_curve.py`)."""


@dataclass(frozen=True)
class LesionThresholds:
    """What makes a lesion. ``z`` is the excess over the expected intensity in units of its spread.

    Attributes
    ----------
    seed_z, grow_z
        A lesion has a voxel above the first and grows down to the second.
    lining_z, lining_excess
        What a seed needs (the excess in units of NAWM) within ``lining_mm`` of a lateral ventricle, whose
        lining is bright on FLAIR.
    lining_mm
        Width of the lining.
    reach_mm
        How far a lesion may spread along the lining from its seeds.
    half_contrast
        A voxel belongs to a lesion when it has this fraction of the contrast of the brightest seed within
        ``near_mm``.
    near_mm
        How near that seed is looked for.
    max_ventricle
        A focus whose mean prior of the lateral ventricles is higher is choroid plexus, septum or lining.
    surround_weight
        What a surrounding wholly of white matter counts, in units of ``z``.
    accept
        Mean ``z`` plus weighted surrounding of a focus, at which its score is one half.
    min_score
        Smallest score of a focus that is kept.
    min_volume_mm3, min_diameter_mm
        Smallest focus.
    """

    seed_z: float = 3.0
    grow_z: float = 1.8
    lining_z: float = 6.0
    lining_excess: float = 0.4
    lining_mm: float = 2.5
    reach_mm: float = 3.0
    half_contrast: float = 0.5
    near_mm: float = 4.0
    max_ventricle: float = 0.45
    surround_weight: float = 3.0
    accept: float = 5.0
    min_score: float = 0.5
    min_volume_mm3: float = 14.0
    min_diameter_mm: float = 3.0


BRIGHT_FLUID_THRESHOLDS = LesionThresholds(seed_z=4.0, accept=6.0)
"""For T2w and PDw, where partial volume with sulcal fluid looks like a lesion."""


def thresholds_for(contrast: T2Contrast) -> LesionThresholds:
    """Return the default thresholds of a contrast."""
    return LesionThresholds() if contrast == "FLAIR" else BRIGHT_FLUID_THRESHOLDS


@dataclass(frozen=True)
class T2Segmentation:
    """Lesions of one visit.

    Attributes
    ----------
    mask
        Voxels of all foci, bool.
    score
        0 outside; inside, how sure the focus is, 0 to 1, the same for all its voxels.
    """

    mask: Mask
    score: FloatArray


def segment_t2_lesions(
    image: FloatArray,
    *,
    contrast: T2Contrast,
    brain_mask: Mask,
    priors: Priors,
    spacing_mm: Spacing,
    slice_thickness_mm: float,
    plane_normal: Normal,
    nawm: Mask,
    t1w: FloatArray | None = None,
    thresholds: LesionThresholds | None = None,
) -> T2Segmentation:
    """Segment the T2 lesions of one scan.

    Parameters
    ----------
    image
        FLAIR, T2w or PDw, bias-corrected, scaled so that the NAWM median is 1.
    contrast
        Contrast of the image. On T2w and PDw cerebrospinal fluid is bright and is excluded.
    brain_mask
        Brain, same grid.
    priors
        Tissue probabilities on the same grid: ``white_matter``, ``cortex``, ``deep_grey``,
        ``lateral_ventricles``, ``csf``, ``choroid_plexus``, ``cerebellum``, ``brainstem``. They may be
        misplaced by some millimetres.
    spacing_mm
        Voxel size (mm).
    slice_thickness_mm
        Slice thickness of the acquisition (mm).
    plane_normal
        Normal of the acquired slices, unit vector in array axes.
    nawm
        Normal-appearing white matter, same grid.
    t1w
        Pre-contrast T1w of the same visit on the same grid, NAWM median 1; helps to find CSF and cortex.
    thresholds
        Default: `thresholds_for` the contrast.

    Returns
    -------
    T2Segmentation
        Every component of the mask is a focus (`components.label_foci`).

    Raises
    ------
    ValueError
        When shapes differ, a needed prior is missing, the contrast is unknown or the image is not finite.
    """
    limits = thresholds or thresholds_for(contrast)
    mask = np.zeros(image.shape, bool)
    score = np.zeros(image.shape, np.float32)
    tissue = describe_tissue(
        image,
        contrast=contrast,
        brain_mask=brain_mask,
        priors=priors,
        spacing_mm=spacing_mm,
        nawm=nawm,
        t1w=t1w,
    )
    if tissue is None:
        return T2Segmentation(mask, score)
    foci = _grow_foci(tissue, spacing_mm, slice_thickness_mm, plane_normal, limits)
    evidence = mean_by_label(tissue.z, foci) + limits.surround_weight * white_surround(
        foci, tissue, spacing_mm
    )
    ventricle = np.asarray(priors["lateral_ventricles"][tissue.box], np.float32)
    certainty = (1.0 / (1.0 + np.exp(-_STEEPNESS * (evidence - limits.accept)))).astype(np.float32)
    keep = (certainty >= limits.min_score) & (mean_by_label(ventricle, foci) <= limits.max_ventricle)
    keep[0] = False
    inside = keep[foci]
    mask[tissue.box] = inside
    score[tissue.box] = np.where(inside, certainty[foci], 0.0)
    return T2Segmentation(mask, score)


def segment_black_holes(
    t1w: FloatArray,
    *,
    t2_mask: Mask,
    nawm: Mask,
    csf: Mask,
    gel_mask: Mask | None,
    spacing_mm: Spacing,
    plane_normal: Normal = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
    min_volume_mm3: float = 14.0,
    min_diameter_mm: float = 3.0,
) -> Mask:
    """Segment the T1-hypointense part of T2 lesions.

    A black hole lies inside a T2 lesion, is darker than the midpoint between NAWM and CSF on pre-contrast
    T1w, is a focus by size and does not enhance at this visit.

    Parameters
    ----------
    t1w
        Pre-contrast T1w, any intensity scale.
    t2_mask
        T2 lesions of the same visit, same grid.
    nawm, csf
        Where the two levels are measured; medians are used, so a few wrong voxels do no harm.
    gel_mask
        Enhancing lesions of the visit; None when the visit has no post-contrast scan.
    spacing_mm
        Voxel size (mm).
    plane_normal, slice_thickness_mm
        Geometry of the acquired slices, for the in-plane diameter.
    min_volume_mm3, min_diameter_mm
        Smallest focus.

    Returns
    -------
    ndarray of bool
        Black holes.

    Raises
    ------
    ValueError
        When shapes differ, ``nawm`` or ``csf`` is empty, or CSF is not darker than NAWM.
    """
    white, _ = robust_noise(t1w, nawm)
    fluid, _ = robust_noise(t1w, csf)
    if fluid >= white:
        msg = f"t1w must be darker in csf than in nawm, got medians {fluid:.6g} and {white:.6g}"
        raise ValueError(msg)
    dark = t2_mask & (t1w < (white + fluid) / 2.0)
    if gel_mask is not None:
        # A whole dark component is dropped, not only its enhancing voxels: the oedema around an enhancing
        # nodule is dark for weeks and is no black hole.
        components, n = label_components(dark)
        touched = np.unique(components[ndimage.binary_dilation(gel_mask, _ALL_NEIGHBOURS)])
        keep = np.ones(n + 1, bool)
        keep[touched] = False
        keep[0] = False
        dark = keep[components]
    return (
        label_foci(
            dark,
            spacing_mm=spacing_mm,
            plane_normal=plane_normal,
            slice_thickness_mm=slice_thickness_mm,
            min_volume_mm3=min_volume_mm3,
            min_diameter_mm=min_diameter_mm,
        )
        > 0
    )


def _grow_foci(
    tissue: Tissue,
    spacing_mm: Spacing,
    slice_thickness_mm: float,
    plane_normal: Normal,
    limits: LesionThresholds,
) -> Labels:
    """Grow seeds to candidate foci."""
    in_lining = tissue.from_ventricle_mm <= limits.lining_mm
    seeds = tissue.allowed & (tissue.z > limits.seed_z)
    seeds &= ~in_lining | ((tissue.z > limits.lining_z) & (tissue.excess > limits.lining_excess))
    if not seeds.any():
        return np.zeros(seeds.shape, np.int32)
    size = [2 * int(limits.near_mm / step) + 1 for step in spacing_mm]
    brightest = ndimage.maximum_filter(np.where(seeds, tissue.excess, np.float32(0.0)), size=size)
    above_half = tissue.excess > limits.half_contrast * brightest
    grown = tissue.allowed & (tissue.z > limits.grow_z) & above_half
    core = (grown & ~in_lining) | (seeds & above_half)
    grown = core | (grown & (distance_from(core, spacing_mm, limits.reach_mm) <= limits.reach_mm))
    components, n = label_components(grown)
    keep = np.zeros(n + 1, bool)
    keep[np.unique(components[seeds])] = True
    keep[0] = False
    return label_foci(
        keep[components],
        spacing_mm=spacing_mm,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
        min_volume_mm3=limits.min_volume_mm3,
        min_diameter_mm=limits.min_diameter_mm,
    )
