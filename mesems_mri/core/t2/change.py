"""New and enlarging T2 lesions between two registered visits, by subtraction.

Both visits are matched in resolution, bias field and intensity, and subtracted. The difference is divided by
the noise measured in this pair, which is larger at edges: a misregistration of a fraction of a voxel gives a
difference in proportion to the local gradient (Ganiler et al., Neuroradiology 2014;56:363; Moraal et al.,
Radiology 2010;255:154).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from mesems_mri.core.candidates import Candidates, not_counted
from mesems_mri.core.components import label_components
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.t2.difference import VisitDifference, subtract_visits
from mesems_mri.core.t2.fluid import CSF_BELOW
from mesems_mri.core.t2.growth import ChangeThresholds, SliceGeometry, classify_growth
from mesems_mri.core.t2.scan import VisitPair
from mesems_mri.core.t2.tissue import (
    TissueMaps,
    describe_tissue,
    local_white_level,
    mean_by_label,
    white_surround,
)
from mesems_mri.core.typing import FloatArray, Labels, Mask

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class T2Change:
    """Change between two visits, on the grid of their images.

    Attributes
    ----------
    new, enlarging : ndarray of int32, shape (x, y, z)
        Numbered foci, each 1..n on its own.
    lesions : ndarray of bool, shape (x, y, z)
        T2 lesions of the current visit, carried on from the reference visit (`_carry_on`).
    score : ndarray of float32, shape (x, y, z)
        0 outside foci; inside the score of the focus, 0 to 1, the same for all its voxels.
    candidates : ndarray of int32, shape (x, y, z)
        Numbered foci that were considered, the rejected ones included.
    candidate_scores : tuple of float
        Score of each candidate, from number 1 on.
    details : dict of str to float
        Measured quantities: ``difference_sigma`` (noise of the difference in NAWM, units of NAWM),
        ``edge_shift_mm`` (misregistration that would explain the noise at edges), ``thickness_mm``
        (that both visits were matched to).
    """

    new: Labels
    enlarging: Labels
    lesions: Mask
    score: FloatArray
    candidates: Labels
    candidate_scores: tuple[float, ...] = ()
    details: dict[str, float] = field(default_factory=dict)

    @property
    def rejected(self) -> Candidates:
        """Foci that were considered and are neither new nor enlarging."""
        counted = (self.new > 0) | (self.enlarging > 0)
        return not_counted(self.candidates, self.candidate_scores, counted, "score_below_limit")


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Maps over the brain box that a change is detected and scored by.

    Attributes
    ----------
    tissue : TissueMaps
        Of the current visit.
    difference : VisitDifference
        Of the contrast that is read.
    support_z : ndarray of float32 or None
        Rise of the second contrast in units of its own noise.
    joined_z : ndarray of float32
        Rise of both contrasts together; that of the first where there is no second.
    """

    tissue: TissueMaps
    difference: VisitDifference
    support_z: FloatArray | None
    joined_z: FloatArray


@dataclass(frozen=True, eq=False)
class _Growth:
    """Voxels that became hyperintense, and those of them in components with a seed on the first contrast."""

    mask: Mask
    seeded_alone: Mask


@dataclass(frozen=True, eq=False)
class _ScoredFoci:
    """New and enlarging foci in the brain box, and every candidate with its score (as in `T2Change`)."""

    new: Labels
    enlarging: Labels
    score: FloatArray
    candidates: Labels
    candidate_scores: tuple[float, ...]


def detect_t2_change(pair: VisitPair, thresholds: ChangeThresholds | None = None) -> T2Change:
    """Detect new and enlarging T2 lesions.

    Parameters
    ----------
    pair : VisitPair
        The current visit and its reference visit.
    thresholds : ChangeThresholds, optional
        Defaults when None.

    Returns
    -------
    T2Change

    Raises
    ------
    ValueError
        When the contrasts of the visits differ, shapes differ or an image is not finite inside the brain.
    """
    limits = thresholds or ChangeThresholds()
    _check(pair)
    details = {"thickness_mm": float(pair.coarser.slice_thickness_mm)}
    if np.array_equal(pair.current.image, pair.reference.image):
        return _no_change(pair.reference_lesions.copy(), details)
    tissue = describe_tissue(pair.current, pair.anatomy)
    if tissue is None:
        return _no_change(pair.current_lesions.copy(), details)
    change = _detect_in_box(pair.crop(tissue.box), tissue, limits)
    whole = _no_change(
        pair.current_lesions & ~pair.anatomy.brain_mask,  # where the reference visit shows nothing
        details | change.details,
    )
    whole.lesions[tissue.box] |= change.lesions
    whole.new[tissue.box] = change.new
    whole.enlarging[tissue.box] = change.enlarging
    whole.score[tissue.box] = change.score
    whole.candidates[tissue.box] = change.candidates
    return replace(whole, candidate_scores=change.candidate_scores)


def _detect_in_box(pair: VisitPair, tissue: TissueMaps, limits: ChangeThresholds) -> T2Change:
    """Detect change in a pair that is cropped to the brain box."""
    evidence = _gather_evidence(pair, tissue, limits)
    growth = _find_growth(evidence, pair, limits)
    geometry = SliceGeometry(
        pair.anatomy.spacing_mm,
        pair.coarser.plane_normal,
        float(pair.coarser.slice_thickness_mm),
        limits.min_diameter_mm,
    )
    scored = _score_growth(
        classify_growth(growth.mask, pair.current_lesions, pair.reference_lesions, geometry, limits),
        evidence,
        growth,
        geometry,
        limits,
    )
    lesions = _carry_on(
        pair,
        growth=growth.mask,
        fallen=_find_fallen(evidence.difference, limits),
        changed=(scored.new > 0) | (scored.enlarging > 0),
        geometry=geometry,
        min_volume_mm3=limits.min_volume_mm3,
    )
    details = {
        "difference_sigma": evidence.difference.nawm_sigma,
        "edge_shift_mm": evidence.difference.edge_shift_mm,
    }
    return T2Change(
        scored.new,
        scored.enlarging,
        lesions,
        scored.score,
        scored.candidates,
        scored.candidate_scores,
        details,
    )


def _no_change(lesions: Mask, details: dict[str, float]) -> T2Change:
    """Return the change of visits without any: no focus, the lesions given."""
    new, enlarging, candidates = (np.zeros(lesions.shape, np.int32) for _ in range(3))
    score = np.zeros(lesions.shape, np.float32)
    return T2Change(new, enlarging, lesions, score, candidates, details=details)


def _gather_evidence(pair: VisitPair, tissue: TissueMaps, limits: ChangeThresholds) -> _Evidence:
    """Subtract the visits on each contrast."""
    anatomy, smooth_mm = pair.anatomy, limits.smooth_mm
    difference = subtract_visits(pair.current, pair.reference, anatomy, smooth_mm=smooth_mm)
    if pair.support is None:
        return _Evidence(tissue, difference, None, difference.z)
    support_z = subtract_visits(*pair.support, anatomy, smooth_mm=smooth_mm).z
    return _Evidence(tissue, difference, support_z, _joined(difference.z, support_z, limits.support_share))


def _find_growth(evidence: _Evidence, pair: VisitPair, limits: ChangeThresholds) -> _Growth:
    """Find the voxels that became hyperintense: seeds on the difference, grown and outlined."""
    tissue, difference, anatomy = evidence.tissue, evidence.difference, pair.anatomy
    now, z, rise = difference.current, difference.z, difference.rise
    level = local_white_level(now, anatomy.nawm, anatomy.spacing_mm)
    _, white_sigma = robust_noise(now / level, anatomy.nawm)
    bright = (now / level > 1.0 + limits.bright_sigma * white_sigma) & (tissue.z > limits.bright_z)
    plausible = tissue.allowed & bright
    if pair.current.contrast == "FLAIR":
        # Beside fluid that moved or changed its flow void nothing can be said.
        plausible &= ~ndimage.binary_dilation(difference.reference < CSF_BELOW, _ALL_NEIGHBOURS)
    grown = plausible & (np.maximum(z, evidence.joined_z) > limits.grow_sigma) & (rise > limits.grow_rise)
    seeds = grown & (z > limits.seed_sigma) & (rise > limits.seed_rise)
    reach = [2 * round(limits.outline_reach_mm / step) + 1 for step in anatomy.spacing_mm]
    strongest = ndimage.maximum_filter(np.where(grown, rise, np.float32(0.0)), reach)
    outlined = grown & (rise >= limits.outline_fraction * strongest)
    seeded_alone = _with_seeds(outlined, seeds)
    if evidence.support_z is None:
        return _Growth(seeded_alone, seeded_alone)
    supported_seeds = seeds | (grown & (evidence.joined_z > limits.supported_seed_sigma))
    return _Growth(_with_seeds(outlined, supported_seeds), seeded_alone)


def _find_fallen(difference: VisitDifference, limits: ChangeThresholds) -> Mask:
    """Find the voxels that darkened, by the thresholds of growth."""
    z, rise = difference.z, difference.rise
    return _with_seeds(
        (z < -limits.grow_sigma) & (rise < -limits.grow_rise),
        (z < -limits.seed_sigma) & (rise < -limits.seed_rise),
    )


def _score_growth(
    classified: tuple[Labels, Labels],
    evidence: _Evidence,
    growth: _Growth,
    geometry: SliceGeometry,
    limits: ChangeThresholds,
) -> _ScoredFoci:
    """Score the new and the enlarging foci and accept those of enough score; all arrays on the brain box."""
    shape = growth.mask.shape
    accepted: list[Labels] = []
    score = np.zeros(shape, np.float32)
    candidates = np.zeros(shape, np.int32)
    candidate_scores: list[float] = []
    for foci in classified:
        certainty = _score_foci(foci, evidence, growth, geometry, limits)
        kept = certainty >= limits.min_score
        kept[0] = False
        numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        accepted.append(numbers[foci])
        score = np.where(kept[foci], certainty[foci], score)
        candidates = np.where(foci > 0, foci + len(candidate_scores), candidates)
        candidate_scores += certainty[1:].tolist()
    new, enlarging = accepted
    return _ScoredFoci(new, enlarging, score, candidates, tuple(candidate_scores))


def _score_foci(
    foci: Labels,
    evidence: _Evidence,
    growth: _Growth,
    geometry: SliceGeometry,
    limits: ChangeThresholds,
) -> FloatArray:
    """Return the score of each focus, 0 to 1, by label; index 0 is background."""
    tissue, z = evidence.tissue, evidence.difference.z
    more = limits.accept_per_mm * max(geometry.thickness_mm - limits.thin_slices_mm, 0.0)
    place = mean_by_label(tissue.z, foci)
    place += limits.surround_weight * white_surround(foci, tissue, geometry.spacing_mm) - more
    margin = mean_by_label(z, foci) + place - limits.accept
    if evidence.support_z is not None:
        alone = mean_by_label(growth.seeded_alone.astype(np.float32), foci) > 0
        margin = np.where(alone, margin, -np.inf)
        supported = mean_by_label(evidence.joined_z, foci) + place - limits.supported_accept
        shown = mean_by_label(evidence.support_z, foci) >= limits.support_sigma
        margin = np.maximum(margin, np.where(shown, supported, -np.inf))
    return (1.0 / (1.0 + np.exp(-margin))).astype(np.float32)


def _joined(z: FloatArray, other: FloatArray, most: float) -> FloatArray:
    """Join the rise of two contrasts (Stouffer's method), each in units of its own noise.

    The second may not carry a change that the first hardly shows: bright fluid does.
    """
    limited = np.minimum(other, most * np.maximum(z, 0.0))
    return np.asarray((z + limited) / np.sqrt(2.0), np.float32)


def _with_seeds(candidates: Mask, seeds: Mask) -> Mask:
    """Keep the components of the candidates that hold a seed."""
    components, n = label_components(candidates)
    keep = np.zeros(n + 1, bool)
    keep[np.unique(components[candidates & seeds])] = True
    keep[0] = False
    return keep[components]


def _carry_on(
    pair: VisitPair,
    *,
    growth: Mask,
    fallen: Mask,
    changed: Mask,
    geometry: SliceGeometry,
    min_volume_mm3: float,
) -> Mask:
    """Carry the lesions of the reference visit on to this one, changed only where the images changed.

    Two segmentations of one unchanged head differ by many times the change that a trial looks for, mostly in
    whole lesions near the limit of acceptance. So a lesion of the reference visit stays as it was drawn,
    loses what darkened beyond the noise of the difference and is no lesion any more, and gains what
    brightened; what is separate from it is a lesion only as a new focus.
    """
    reference_lesions = pair.reference_lesions & pair.anatomy.brain_mask
    lesions = reference_lesions & (pair.current_lesions | ~fallen)
    beside = _with_seeds(
        growth & pair.current_lesions, ndimage.binary_dilation(reference_lesions, _ALL_NEIGHBOURS)
    )
    foci = geometry.label_foci(lesions | beside | changed, min_volume_mm3)
    return (foci > 0) | changed


def _check(pair: VisitPair) -> None:
    """Raise ValueError unless the scans and masks of a pair fit together."""
    contrasts = pair.current.contrast, pair.reference.contrast
    if contrasts[0] != contrasts[1]:
        msg = f"both visits must be of one contrast, got {contrasts[0]} and {contrasts[1]}"
        raise ValueError(msg)
    images = {"current": pair.current.image, "reference": pair.reference.image}
    if pair.support is not None:
        images |= {"support.current": pair.support[0].image, "support.reference": pair.support[1].image}
    arrays = {
        **images,
        "current_lesions": pair.current_lesions,
        "reference_lesions": pair.reference_lesions,
        "brain_mask": pair.anatomy.brain_mask,
        "nawm": pair.anatomy.nawm,
    }
    shape = pair.current.image.shape
    for name, array in arrays.items():
        if array.shape != shape:
            msg = f"{name} must have the shape of current, {shape}, got {array.shape}"
            raise ValueError(msg)
    for name, image in images.items():
        if not np.isfinite(image[pair.anatomy.brain_mask]).all():
            msg = f"{name} must be finite inside brain_mask"
            raise ValueError(msg)
