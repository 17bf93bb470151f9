"""Segmentation of the T2 lesions of one visit: candidates of two sources, one calibrated score.

The network (`models.t2`) gives what it thinks likely, the brightness of the tissue (`core.t2.brightness`)
what is brighter than its place explains. Neither decides alone: a focus is scored by what both say of it,
with weights fitted to patients that no network had seen (`training/t2_score.py`). A lesion is detected by a
high score and drawn at a low probability: where it ends is another question than whether it is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit, logit

from mesems_mri.core.by_label import highest_by_label, mean_by_label
from mesems_mri.core.candidates import Candidates
from mesems_mri.core.components import label_foci
from mesems_mri.core.distance import distance_inside
from mesems_mri.core.t2.brightness import LesionThresholds, bright_foci, brightness_log_odds
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.tissue import TissueMaps, at_most_offered, describe_tissue, mostly_csf, white_surround
from mesems_mri.core.typing import Float64Array, FloatArray, Labels, Mask, Spacing

FEATURES: Final = (
    "peak",
    "excess",
    "surround",
    "size",
    "ventricle",
    "bright",
    "radius",
    "by_brightness",
)
"""Of a focus: highest log odds of the network, mean excess (z), share of white matter around it, log of its
volume (mm3), mean probability of ventricle, share that is bright, radius of the largest ball inside
it (mm), and the log odds by brightness alone, as far as the slices are thin enough to trust them."""
WEIGHTS: Final = (0.2287, 0.366, 4.9182, -0.4865, -6.9662, 1.1595, 0.5611, 0.8828)
OFFSET: Final = -4.6816
"""Logistic regression on held-out patients; `python -m training.t2_score` prints the numbers."""
_MOST_LOG_ODDS = 6.0
_EXCESS = (0.0, 4.0)
_LARGE_MM3 = 200.0
"""A volume beyond this says nothing more."""
_THIN_MM, _THICK_MM = 4.0, 6.0
"""Partial volume between slices thicker than the first is bright; from the second on it says nothing."""
_LITTLE_TRUST = 0.5
"""Below this trust in brightness the network alone draws what it sees."""


@dataclass(frozen=True)
class SegmentThresholds:
    """Thresholds of the joint segmentation.

    Attributes
    ----------
    draw_probability, faint_probability, half_peak, near_mm : float
        A lesion of the network ends where its probability falls below the share ``half_peak`` of the highest
        one within ``near_mm``, but not above the first and not below the second.
    least_contrast : float
        Between thick slices a lesion ends where its excess falls below this share of the highest one within
        ``near_mm``, or the probability below ``draw_probability``.
    min_score : float
        Smallest score of a focus that is counted.
    min_volume_mm3, min_diameter_mm : float
        Smallest focus.
    bright : LesionThresholds
        Of the candidates by brightness.
    """

    draw_probability: float = 0.35
    faint_probability: float = 0.1
    half_peak: float = 0.5
    near_mm: float = 4.0
    least_contrast: float = 0.4
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
class CandidateFoci:
    """Foci that were considered, in the box of the brain.

    Attributes
    ----------
    tissue : TissueMaps
        Of the scan.
    foci : ndarray of int32, shape of the maps
        Numbered 1..n.
    features : ndarray of float64, shape (n + 1, len(FEATURES))
        By label; index 0 is background.
    probability : ndarray of float32, shape of the maps
        Of a T2 lesion, by the network.
    """

    tissue: TissueMaps
    foci: Labels
    features: Float64Array
    probability: FloatArray


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
    considered = find_lesion_candidates(scan, anatomy, probability, limits)
    if considered is None:
        return T2Segmentation(mask, score, Candidates.none(shape))
    certainty, causes = judge_foci(considered)
    counted = certainty >= limits.min_score
    counted[0] = False
    box, foci = considered.tissue.box, considered.foci
    mask[box] = draw_foci(considered, counted, scan, anatomy.spacing_mm, limits)
    score[box] = np.where(mask[box], certainty[foci], 0.0)
    others = np.where(counted, 0, np.cumsum(~counted) - 1).astype(np.int32)
    dseg = np.zeros(shape, np.int32)
    dseg[box] = others[foci]
    rest = np.flatnonzero(~counted)[1:]
    candidates = Candidates(dseg, tuple(map(float, certainty[rest])), tuple(causes[label] for label in rest))
    return T2Segmentation(mask, score, candidates)


def find_lesion_candidates(
    scan: T2Scan, anatomy: Anatomy, probability: FloatArray, limits: SegmentThresholds
) -> CandidateFoci | None:
    """List and describe the foci to score; parameters as for `segment_t2_lesions`.

    Returns
    -------
    CandidateFoci or None
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
    foci = _join_candidates(own, bright, scan, anatomy.spacing_mm, limits)
    ventricle = np.asarray(anatomy.priors["lateral_ventricles"][tissue.box], np.float32)
    features = _describe_foci(foci, own, bright > 0, tissue, ventricle, scan, anatomy.spacing_mm)
    return CandidateFoci(tissue, foci, features, own)


def judge_foci(considered: CandidateFoci) -> tuple[Float64Array, list[str]]:
    """Return the score of each focus by label, and why it is not counted if it is not."""
    outside = mostly_csf(considered.foci, considered.tissue)
    causes = ["csf_space" if out else "score_below_limit" for out in outside]
    return at_most_offered(score_foci(considered.features), outside), causes


def draw_foci(
    considered: CandidateFoci,
    counted: npt.NDArray[np.bool_],
    scan: T2Scan,
    spacing_mm: Spacing,
    limits: SegmentThresholds,
) -> Mask:
    """Draw the foci that are counted.

    Between thin slices a focus is drawn as it was found. Between thick ones what is bright beside a lesion is
    mostly partial volume: there it is drawn as far as the network sees it.

    Parameters
    ----------
    considered : CandidateFoci
    counted : ndarray of bool, shape (n + 1,)
        By label, which foci to draw.
    scan : T2Scan
        For the geometry of its slices.
    spacing_mm : tuple of float
        Voxel size (mm).
    limits : SegmentThresholds

    Returns
    -------
    ndarray of bool, shape of the maps
        Holds a part of every focus that is counted, and every component of it is a focus.
    """
    foci = considered.foci
    found = counted[foci]
    if _trust_in_brightness(scan) >= _LITTLE_TRUST:
        return found
    excess = np.where(found, considered.tissue.excess, np.float32(0.0))
    strongest = ndimage.maximum_filter(excess, size=_reach(limits.near_mm, spacing_mm))
    seen = found & (considered.probability >= limits.draw_probability)
    drawn = _label_foci(seen & (excess > limits.least_contrast * strongest), scan, spacing_mm, limits) > 0
    # A focus of which nothing is left stays as it was found.
    left = highest_by_label(drawn, foci) > 0
    return drawn | (found & ~left[foci])


def score_foci(features: Float64Array) -> Float64Array:
    """Return the score of each focus by label, 0 to 1; 0 at index 0."""
    certainty = expit(features @ np.asarray(WEIGHTS) + OFFSET)
    certainty[0] = 0.0
    return certainty


def _join_candidates(
    probability: FloatArray, bright: Labels, scan: T2Scan, spacing_mm: Spacing, limits: SegmentThresholds
) -> Labels:
    """Join what the network draws and what is bright; what touches is one focus."""
    highest = ndimage.maximum_filter(probability, size=_reach(limits.near_mm, spacing_mm))
    level = np.clip(limits.half_peak * highest, limits.faint_probability, limits.draw_probability)
    return _label_foci((probability >= level) | (bright > 0), scan, spacing_mm, limits)


def _reach(reach_mm: float, spacing_mm: Spacing) -> list[int]:
    """Return the sides of a window that reaches so far from its middle, in voxels."""
    return [2 * int(reach_mm / step) + 1 for step in spacing_mm]


def _label_foci(mask: Mask, scan: T2Scan, spacing_mm: Spacing, limits: SegmentThresholds) -> Labels:
    return label_foci(
        mask,
        spacing_mm=spacing_mm,
        plane_normal=scan.plane_normal,
        slice_thickness_mm=scan.slice_thickness_mm,
        min_volume_mm3=limits.min_volume_mm3,
        min_diameter_mm=limits.min_diameter_mm,
    )


def _trust_in_brightness(scan: T2Scan) -> float:
    """Return how far brightness can be trusted between slices so thick, 0 to 1."""
    return float(np.clip((_THICK_MM - scan.slice_thickness_mm) / (_THICK_MM - _THIN_MM), 0.0, 1.0))


def _describe_foci(
    foci: Labels,
    probability: FloatArray,
    bright: Mask,
    tissue: TissueMaps,
    ventricle: FloatArray,
    scan: T2Scan,
    spacing_mm: Spacing,
) -> Float64Array:
    """Measure `FEATURES` of each focus, by label."""
    voxels = np.maximum(np.bincount(foci.ravel()), 1)
    volume_mm3 = np.minimum(voxels * float(np.prod(spacing_mm)), _LARGE_MM3)
    excess = mean_by_label(tissue.z, foci)
    surround = white_surround(foci, tissue, spacing_mm)
    peak = np.clip(logit(highest_by_label(probability, foci)), -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
    peak[0] = 0.0
    trust = _trust_in_brightness(scan)
    by_brightness = np.clip(brightness_log_odds(excess, surround), -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
    return np.column_stack(
        [
            peak,
            np.clip(excess, *_EXCESS),
            surround,
            np.log(volume_mm3),
            mean_by_label(ventricle, foci),
            mean_by_label(bright.astype(np.float32), foci),
            _radius_mm(foci, spacing_mm),
            trust * by_brightness,
        ]
    )


def _radius_mm(foci: Labels, spacing_mm: Spacing) -> Float64Array:
    """Return the radius of the largest ball inside each focus, by label."""
    radius = np.zeros(int(foci.max(initial=0)) + 1)
    for label, box in enumerate(ndimage.find_objects(foci), start=1):
        if box is not None:
            inside = distance_inside(np.pad(foci[box] == label, 1), spacing_mm)
            radius[label] = float(np.max(inside))
    return radius
