"""New and enlarging T2 lesions between two registered visits.

What became brighter is a candidate (`core.t2.rise`), scored by what both visits say of it
(`core.t2.change_score`). A focus that the network alone calls new, without a difference to show for it, is a
candidate and never counted; what is not counted keeps its score and the cause.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from mesems_mri.core.by_label import highest_by_label
from mesems_mri.core.candidates import Candidates
from mesems_mri.core.t2.change_score import describe_foci, score_foci
from mesems_mri.core.t2.growth import ChangeThresholds, SliceGeometry, classify_growth
from mesems_mri.core.t2.rise import (
    ChangeEvidence,
    Growth,
    find_fallen,
    find_growth,
    gather_evidence,
    with_seeds,
)
from mesems_mri.core.t2.scan import VisitPair
from mesems_mri.core.t2.tissue import TissueMaps, at_most_offered, describe_tissue, mostly_csf
from mesems_mri.core.typing import Float64Array, FloatArray, Labels, Mask

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
    candidate_causes : tuple of str or None
        Why each is not counted, one of `core.candidates.CAUSES`; None where it is.
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
    candidate_causes: tuple[str | None, ...] = ()
    details: dict[str, float] = field(default_factory=dict)

    @property
    def rejected(self) -> Candidates:
        """Foci that were considered and are neither new nor enlarging."""
        rejected = [cause is not None for cause in self.candidate_causes]
        numbers = np.where(np.r_[False, rejected], np.cumsum(np.r_[False, rejected]), 0).astype(np.int32)
        chosen = zip(self.candidate_scores, self.candidate_causes, strict=True)
        found = [(score, cause) for score, cause in chosen if cause is not None]
        return Candidates(
            numbers[self.candidates], tuple(score for score, _ in found), tuple(cause for _, cause in found)
        )


@dataclass(frozen=True, eq=False)
class _ScoredFoci:
    """New and enlarging foci in the brain box, and every candidate (as in `T2Change`)."""

    new: Labels
    enlarging: Labels
    score: FloatArray
    candidates: Labels
    candidate_scores: tuple[float, ...]
    candidate_causes: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class ChangeCandidates:
    """Foci that were considered as a change, in the box of the brain.

    Attributes
    ----------
    evidence : ChangeEvidence
        Maps of both visits.
    growth : Growth
    geometry : SliceGeometry
    new, enlarging : ndarray of int32, shape (x, y, z)
        Numbered foci, each 1..n on its own.
    """

    evidence: ChangeEvidence
    growth: Growth
    geometry: SliceGeometry
    new: Labels
    enlarging: Labels

    def features(self, foci: Labels) -> Float64Array:
        """Describe foci as `change_score.describe_foci` does."""
        return describe_foci(
            foci, self.evidence, self.growth, self.geometry.spacing_mm, self.geometry.thickness_mm
        )


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
    return replace(whole, candidate_scores=change.candidate_scores, candidate_causes=change.candidate_causes)


def find_candidates(pair: VisitPair, tissue: TissueMaps, limits: ChangeThresholds) -> ChangeCandidates:
    """Find candidates for new and enlarging foci in a pair that is cropped to the box of the tissue maps.

    Parameters
    ----------
    pair : VisitPair
    tissue : TissueMaps
        Of the current visit.
    limits : ChangeThresholds

    Returns
    -------
    ChangeCandidates
    """
    evidence = gather_evidence(pair, tissue, limits)
    growth = find_growth(evidence, pair, limits)
    geometry = SliceGeometry(
        pair.anatomy.spacing_mm,
        pair.coarser.plane_normal,
        float(pair.coarser.slice_thickness_mm),
        limits.min_diameter_mm,
    )
    new, enlarging = classify_growth(
        growth.mask | growth.by_network, pair.current_lesions, pair.reference_lesions, geometry, limits
    )
    return ChangeCandidates(evidence, growth, geometry, new, enlarging)


def _detect_in_box(pair: VisitPair, tissue: TissueMaps, limits: ChangeThresholds) -> T2Change:
    """Detect change in a pair that is cropped to the brain box."""
    found = find_candidates(pair, tissue, limits)
    evidence, growth = found.evidence, found.growth
    scored = _score_change(found, limits)
    lesions = _carry_on(
        pair,
        growth=growth.certain,
        fallen=find_fallen(evidence.difference, limits),
        changed=(scored.new > 0) | (scored.enlarging > 0),
        geometry=found.geometry,
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
        scored.candidate_causes,
        details,
    )


def _no_change(lesions: Mask, details: dict[str, float]) -> T2Change:
    """Return the change of visits without any: no focus, the lesions given."""
    new, enlarging, candidates = (np.zeros(lesions.shape, np.int32) for _ in range(3))
    score = np.zeros(lesions.shape, np.float32)
    return T2Change(new, enlarging, lesions, score, candidates, details=details)


def _score_change(found: ChangeCandidates, limits: ChangeThresholds) -> _ScoredFoci:
    """Score the new and the enlarging foci, accept those of enough score and say why the others are not."""
    shape = found.new.shape
    accepted: list[Labels] = []
    score = np.zeros(shape, np.float32)
    candidates = np.zeros(shape, np.int32)
    scores: list[float] = []
    causes: list[str | None] = []
    for foci in (found.new, found.enlarging):
        outside = mostly_csf(foci, found.evidence.tissue)
        certainty = at_most_offered(score_foci(found.features(foci), limits), outside)
        own = _causes(foci, certainty, found, limits)
        kept = np.array([False, *(cause is None for cause in own)])
        numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        accepted.append(numbers[foci])
        score = np.where(kept[foci], certainty[foci], score).astype(np.float32)
        candidates = np.where(foci > 0, foci + len(scores), candidates).astype(np.int32)
        scores += certainty[1:].tolist()
        causes += own
    new, enlarging = accepted
    return _ScoredFoci(new, enlarging, score, candidates, tuple(scores), tuple(causes))


def _causes(
    foci: Labels, certainty: Float64Array, found: ChangeCandidates, limits: ChangeThresholds
) -> list[str | None]:
    """Return by number, from 1 on, why each focus is not counted; None if it is."""
    labels = np.arange(1, len(certainty))
    if not len(labels):
        return []
    unseen = highest_by_label(found.growth.by_network, foci)[1:]
    by_difference_only = np.zeros(len(labels), bool)
    if found.evidence.probability is not None:
        now, _ = found.evidence.probability
        by_difference_only = highest_by_label(now, foci)[1:] < limits.network_now
    outside = mostly_csf(foci, found.evidence.tissue)[1:]
    return [
        "csf_space"
        if fluid
        else "not_in_difference"
        if by_network
        else None
        if own >= limits.min_score
        else "new_by_difference_only"
        if alone
        else "score_below_limit"
        for own, by_network, alone, fluid in zip(
            certainty[1:], unseen, by_difference_only, outside, strict=True
        )
    ]


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
    beside = with_seeds(
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
    if pair.probability is not None:
        names = ("probability.current", "probability.reference")
        images |= dict(zip(names, pair.probability, strict=True))
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
