"""T2 lesions of one visit by their brightness, without learning.

One of the two sources of candidates of `core.t2.segment`, and by itself a method to compare with.

A lesion is brighter than the tissue expected at its place (`core.t2.tissue`). Certain voxels are seeds, and a
lesion is grown from them (region growing with hysteresis) down to about half of its own contrast (cf. Schmidt
et al., NeuroImage 2012;59:3774 for seeds and growth on FLAIR). Each candidate is then scored as a whole, by
its brightness and by the share of white matter in its surroundings, which tells a lesion from a bright
stretch of cortex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.by_label import mean_by_label
from mesems_mri.core.components import label_components, label_foci
from mesems_mri.core.distance import distance_from
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.tissue import TissueMaps, describe_tissue, white_surround
from mesems_mri.core.typing import Float64Array, FloatArray, Labels, Mask, Spacing

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)
_STEEPNESS = 2.0
"""Log odds by evidence; fitted to another patient it is no better (`benchmarks/t2_curve.py`)."""


@dataclass(frozen=True)
class LesionThresholds:
    """Thresholds of a T2 lesion. ``z`` is the excess over the expected intensity in units of its spread.

    Attributes
    ----------
    seed_z, grow_z : float
        A lesion has a voxel above the first and grows down to the second.
    lining_z, lining_excess : float
        Demand on a seed (the excess in units of NAWM) within ``lining_mm`` of a lateral ventricle, whose
        lining is bright on FLAIR.
    lining_mm : float
        Width of the lining.
    reach_mm : float
        Largest spread of a lesion along the lining from its seeds.
    half_contrast : float
        A voxel belongs to a lesion when it has this fraction of the contrast of the brightest seed within
        ``near_mm``.
    near_mm : float
        Reach of the search for that seed.
    max_ventricle : float
        A focus whose mean prior of the lateral ventricles is higher is choroid plexus, septum or lining.
    surround_weight : float
        Weight of a surrounding wholly of white matter, in units of ``z``.
    accept : float
        Mean ``z`` plus weighted surrounding of a focus, at which its score is one half.
    min_score : float
        Smallest score of a focus that is kept.
    min_volume_mm3, min_diameter_mm : float
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


def segment_by_brightness(
    scan: T2Scan, anatomy: Anatomy, thresholds: LesionThresholds | None = None
) -> tuple[Mask, FloatArray]:
    """Segment the T2 lesions of one scan by their brightness alone.

    Parameters
    ----------
    scan : T2Scan
        On T2w and PDw cerebrospinal fluid is bright and is excluded.
    anatomy : Anatomy
        On the same grid.
    thresholds : LesionThresholds, optional
        Defaults when None.

    Returns
    -------
    mask : ndarray of bool, shape (x, y, z)
        Every component is a focus (`components.label_foci`).
    score : ndarray of float32, shape (x, y, z)
        0 outside; inside the score of the focus by weights set by hand, 0 to 1; not calibrated.

    Raises
    ------
    ValueError
        When shapes differ, a needed prior is missing, the contrast is unknown or the image is not finite.
    """
    limits = thresholds or LesionThresholds()
    mask = np.zeros(scan.image.shape, bool)
    score = np.zeros(scan.image.shape, np.float32)
    tissue = describe_tissue(scan, anatomy)
    if tissue is None:
        return mask, score
    foci = bright_foci(tissue, scan, anatomy.spacing_mm, limits)
    certainty = _score_by_hand(foci, tissue, anatomy, limits)
    keep = certainty >= limits.min_score
    keep[0] = False
    inside = keep[foci]
    mask[tissue.box] = inside
    score[tissue.box] = np.where(inside, certainty[foci], 0.0)
    return mask, score


def _score_by_hand(
    foci: Labels, tissue: TissueMaps, anatomy: Anatomy, limits: LesionThresholds
) -> FloatArray:
    """Return the score of each focus by label; 0 for what lies mostly in a ventricle."""
    surround = white_surround(foci, tissue, anatomy.spacing_mm)
    log_odds = brightness_log_odds(mean_by_label(tissue.z, foci), surround, limits)
    ventricle = np.asarray(anatomy.priors["lateral_ventricles"][tissue.box], np.float32)
    certainty = 1.0 / (1.0 + np.exp(-log_odds))
    return np.where(mean_by_label(ventricle, foci) <= limits.max_ventricle, certainty, 0.0).astype(np.float32)


def brightness_log_odds(
    excess: Float64Array, surround: Float64Array, limits: LesionThresholds | None = None
) -> Float64Array:
    """Return the log odds of foci by weights set by hand, not calibrated.

    Parameters
    ----------
    excess, surround : ndarray of float64, shape (n,)
        Mean excess over the expected intensity (z), and share of white matter around each focus.
    limits : LesionThresholds, optional
        ``surround_weight`` and ``accept``; defaults when None.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    weights = limits or LesionThresholds()
    return _STEEPNESS * (excess + weights.surround_weight * surround - weights.accept)


def bright_foci(tissue: TissueMaps, scan: T2Scan, spacing_mm: Spacing, limits: LesionThresholds) -> Labels:
    """Grow seeds to candidate foci.

    Parameters
    ----------
    tissue : TissueMaps
        Of the scan.
    scan : T2Scan
        For the geometry of its slices.
    spacing_mm : tuple of float
        Voxel size (mm).
    limits : LesionThresholds

    Returns
    -------
    ndarray of int32, shape of the maps
        Numbered 1..n, whatever their score would be.
    """
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
        plane_normal=scan.plane_normal,
        slice_thickness_mm=scan.slice_thickness_mm,
        min_volume_mm3=limits.min_volume_mm3,
        min_diameter_mm=limits.min_diameter_mm,
    )
