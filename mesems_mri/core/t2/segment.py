"""Segmentation of the T2 lesions of one visit: two proposers, one calibrated score.

The network (`models.t2`) proposes what it thinks likely, the brightness of the tissue (`core.t2.brightness`)
what is brighter than its place explains. Neither decides alone: a focus is scored by what both say of it,
with weights fitted to patients that no network had seen (`training/t2_score.py`). A lesion is detected by a
high score and drawn at a low probability: where it ends is another question than whether it is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy import ndimage

from mesems_mri.core.candidates import Candidates
from mesems_mri.core.components import label_components, label_foci
from mesems_mri.core.t2.brightness import LesionThresholds, bright_foci
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.tissue import TissueMaps, describe_tissue, mean_by_label, white_surround
from mesems_mri.core.typing import Float64Array, FloatArray, Labels, Mask, Spacing

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)
FEATURES: Final = ("peak", "level", "excess", "surround", "size", "ventricle", "bright")
"""Of a focus: highest and mean log odds of the network, mean excess (z), share of white matter around it, log
of its volume, mean probability of ventricle, and the share that brightness alone proposes."""
WEIGHTS: Final = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
OFFSET: Final = 0.0
"""Logistic regression on held-out patients; `python -m training.t2_score` prints the numbers."""
_MOST_LOG_ODDS = 6.0
_EXCESS = (-2.0, 8.0)


@dataclass(frozen=True)
class SegmentThresholds:
    """Thresholds of the joint segmentation.

    Attributes
    ----------
    draw_probability : float
        A lesion of the network ends where its probability falls below this.
    faint_probability : float
        What stays below the first and reaches this is a candidate as well.
    min_score : float
        Smallest score of a focus that is counted.
    min_volume_mm3, min_diameter_mm : float
        Smallest focus.
    bright : LesionThresholds
        Of the proposals by brightness.
    """

    draw_probability: float = 0.35
    faint_probability: float = 0.1
    min_score: float = 0.5
    min_volume_mm3: float = 14.0
    min_diameter_mm: float = 3.0
    bright: LesionThresholds = field(default_factory=LesionThresholds)


@dataclass(frozen=True, eq=False)
class T2Segmentation:
    """T2 lesions of one visit.

    Attributes
    ----------
    mask : ndarray of bool, shape (x, y, z)
        Voxels of all foci that are counted.
    score : ndarray of float32, shape (x, y, z)
        0 outside; inside the score of the focus, 0 to 1, the same for all its voxels.
    candidates : Candidates
        Foci that were considered and are not counted.
    """

    mask: Mask
    score: FloatArray
    candidates: Candidates


@dataclass(frozen=True, eq=False)
class ProposedFoci:
    """Foci that were considered, in the box of the brain.

    Attributes
    ----------
    tissue : TissueMaps
        Of the scan.
    foci : ndarray of int32, shape of the maps
        Numbered 1..n.
    features : ndarray of float64, shape (n + 1, len(FEATURES))
        By label; index 0 is background.
    """

    tissue: TissueMaps
    foci: Labels
    features: Float64Array


def segment_t2_lesions(
    scan: T2Scan, anatomy: Anatomy, probability: FloatArray, thresholds: SegmentThresholds | None = None
) -> T2Segmentation:
    """Segment the T2 lesions of one scan.

    Parameters
    ----------
    scan : T2Scan
        FLAIR.
    anatomy : Anatomy
        On the same grid.
    probability : ndarray of float32, shape (x, y, z)
        Of a T2 lesion, by the network, 0 to 1.
    thresholds : SegmentThresholds, optional
        Defaults when None.

    Returns
    -------
    T2Segmentation
        Every component of the mask is a focus (`components.label_foci`).

    Raises
    ------
    ValueError
        When shapes differ, a needed prior is missing, the contrast is unknown or the image is not finite.
    """
    limits = thresholds or SegmentThresholds()
    shape = scan.image.shape
    mask, score = np.zeros(shape, bool), np.zeros(shape, np.float32)
    proposed = propose_lesions(scan, anatomy, probability, limits)
    if proposed is None:
        return T2Segmentation(mask, score, Candidates.none(shape))
    certainty = score_foci(proposed.features)
    counted = certainty >= limits.min_score
    counted[0] = False
    box, foci = proposed.tissue.box, proposed.foci
    mask[box] = counted[foci]
    score[box] = np.where(counted[foci], certainty[foci], 0.0)
    others = np.where(counted, 0, np.cumsum(~counted) - 1).astype(np.int32)
    dseg = np.zeros(shape, np.int32)
    dseg[box] = others[foci]
    rest = certainty[~counted][1:]
    return T2Segmentation(
        mask, score, Candidates(dseg, tuple(map(float, rest)), ("score_below_limit",) * len(rest))
    )


def propose_lesions(
    scan: T2Scan, anatomy: Anatomy, probability: FloatArray, limits: SegmentThresholds
) -> ProposedFoci | None:
    """Propose and describe foci; parameters as for `segment_t2_lesions`.

    Returns
    -------
    ProposedFoci or None
        None when the brain mask or the NAWM is empty.
    """
    if probability.shape != scan.image.shape:
        msg = f"probability must have the shape of the image, {scan.image.shape}, got {probability.shape}"
        raise ValueError(msg)
    tissue = describe_tissue(scan, anatomy)
    if tissue is None:
        return None
    own = np.asarray(probability[tissue.box], np.float32)
    bright = bright_foci(tissue, scan, anatomy.spacing_mm, limits.bright)
    foci = _join_proposals(own, bright, scan, anatomy.spacing_mm, limits)
    ventricle = np.asarray(anatomy.priors["lateral_ventricles"][tissue.box], np.float32)
    return ProposedFoci(
        tissue, foci, _describe_foci(foci, own, bright > 0, tissue, ventricle, anatomy.spacing_mm)
    )


def score_foci(features: Float64Array) -> Float64Array:
    """Return the score of each focus by label, 0 to 1; 0 at index 0."""
    certainty = 1.0 / (1.0 + np.exp(-(features @ np.asarray(WEIGHTS) + OFFSET)))
    certainty[0] = 0.0
    return certainty


def _join_proposals(
    probability: FloatArray, bright: Labels, scan: T2Scan, spacing_mm: Spacing, limits: SegmentThresholds
) -> Labels:
    """Join the foci of the network, what brightness adds to them or finds alone, and the faint ones.

    A bright focus that the network draws in part is two foci that touch: each is scored for itself, and if
    both are lesions they are one component of the mask.
    """
    drawn = probability >= limits.draw_probability
    added = (bright > 0) & ~drawn
    faint = _apart(probability >= limits.faint_probability, drawn | (bright > 0))
    foci = np.zeros(probability.shape, np.int32)
    for mask in (drawn, added, faint):
        labels = label_foci(
            mask,
            spacing_mm=spacing_mm,
            plane_normal=scan.plane_normal,
            slice_thickness_mm=scan.slice_thickness_mm,
            min_volume_mm3=limits.min_volume_mm3,
            min_diameter_mm=limits.min_diameter_mm,
        )
        foci = np.where(labels > 0, labels + int(foci.max(initial=0)), foci).astype(np.int32)
    return foci


def _apart(mask: Mask, other: Mask) -> Mask:
    """Keep the components of a mask that do not touch another one."""
    components, n = label_components(mask)
    keep = np.ones(n + 1, bool)
    keep[np.unique(components[ndimage.binary_dilation(other, _ALL_NEIGHBOURS)])] = False
    keep[0] = False
    return keep[components]


def _describe_foci(
    foci: Labels,
    probability: FloatArray,
    bright: Mask,
    tissue: TissueMaps,
    ventricle: FloatArray,
    spacing_mm: Spacing,
) -> Float64Array:
    """Measure `FEATURES` of each focus, by label."""
    n = int(foci.max(initial=0))
    least = 1.0 / (1.0 + np.exp(_MOST_LOG_ODDS))
    clipped = np.clip(probability, least, 1.0 - least)
    log_odds = np.log(clipped / (1.0 - clipped))
    peak = np.zeros(n + 1)
    if n:
        peak[1:] = ndimage.maximum(log_odds, foci, np.arange(1, n + 1))
    voxels = np.maximum(np.bincount(foci.ravel(), minlength=n + 1), 1)
    return np.column_stack(
        [
            peak,
            mean_by_label(log_odds, foci),
            np.clip(mean_by_label(tissue.z, foci), *_EXCESS),
            white_surround(foci, tissue, spacing_mm),
            np.log(voxels * float(np.prod(spacing_mm))),
            mean_by_label(ventricle, foci),
            mean_by_label(bright.astype(np.float32), foci),
        ]
    )
