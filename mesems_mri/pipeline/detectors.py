"""Detectors on the images of a visit: thresholds of the trial and geometry of the scans given to `core`."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from mesems_mri.config import FocusRule, TrialConfig
from mesems_mri.core.candidates import Candidates, components_as_candidates
from mesems_mri.core.gel.candidates import EnhancementThresholds
from mesems_mri.core.gel.detect import detect_enhancement
from mesems_mri.core.gel.evidence import ContrastEvidence, weigh_contrast
from mesems_mri.core.matching import match_resolution
from mesems_mri.core.t2.black_holes import segment_black_holes
from mesems_mri.core.t2.change import T2Change, detect_t2_change
from mesems_mri.core.t2.growth import ChangeThresholds
from mesems_mri.core.t2.scan import Anatomy, T2Scan, VisitPair
from mesems_mri.core.t2.segment import SegmentThresholds, T2Segmentation, segment_t2_lesions
from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, Contrast, T2Contrast
from mesems_mri.dataset.records.parts import GelPart, RejectedCandidate
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.models.gel import classify_candidates
from mesems_mri.models.t2 import lesion_probability
from mesems_mri.pipeline.scene import Scene

_HALVED_MM = (2.0, 2.0, 2.0)
_SURE_VENTRICLE = 0.9
"""Prior from which a voxel serves to measure the level of CSF."""


def t2_probability(scene: Scene, network: str | Path = "t2") -> np.ndarray:
    """Return the probability of T2 lesions by a network: float32, shape of the scene, 0 to 1."""
    images = {name: image for name, image in scene.images.items() if name in ("FLAIR", "T1w")}
    return lesion_probability(images, scene.priors, scene.brain_mask, network)


def segment_t2(scene: Scene, probability: np.ndarray, config: TrialConfig) -> T2Segmentation:
    """Segment the T2 lesions of a visit on its FLAIR.

    Parameters
    ----------
    scene : Scene
        Holds a FLAIR.
    probability : ndarray of float32, shape (x, y, z)
        `t2_probability` of the scene.
    config : TrialConfig
        The rules ``t2`` and ``focus``.

    Returns
    -------
    T2Segmentation
    """
    thresholds = SegmentThresholds(
        min_score=config.t2.min_score,
        min_volume_mm3=config.focus.min_volume_mm3,
        min_diameter_mm=config.focus.min_diameter_mm,
    )
    anatomy = Anatomy(
        scene.brain_mask, scene.nawm("FLAIR"), scene.priors, SUBJECT_GRID.spacing_mm, scene.images.get("T1w")
    )
    return segment_t2_lesions(_t2_scan(scene, "FLAIR"), anatomy, probability, thresholds)


def t2_candidates(segmentation: T2Segmentation, counted: np.ndarray, least: float) -> Candidates:
    """Return the candidates for T2 lesions of a visit.

    Parameters
    ----------
    segmentation : T2Segmentation
        Of this visit alone.
    counted : ndarray of bool, shape (x, y, z)
        T2 lesions that are counted, those carried on from the reference visit included.
    least : float
        Smallest score of a candidate.

    Returns
    -------
    Candidates
        Those that the segmentation rejected, and those it accepted that are counted nowhere since the
        difference of the visits does not show them.
    """
    unseen = components_as_candidates(segmentation.mask, segmentation.score, "not_in_difference")
    return segmentation.candidates.apart_from(counted).joined(unseen.apart_from(counted)).at_least(least)


def detect_change(pair: VisitPair, config: TrialConfig) -> T2Change:
    """Detect new and enlarging T2 lesions of a pair of visits (`visit_pair`) by ``change`` and ``focus``."""
    thresholds = ChangeThresholds(
        **config.change.model_dump(exclude={"candidate_score"}), **config.focus.model_dump()
    )
    return detect_t2_change(pair, thresholds)


def visit_pair(
    scene: Scene,
    reference: Scene,
    contrasts: tuple[T2Contrast, ...],
    lesions: np.ndarray,
    reference_lesions: np.ndarray,
    probability: tuple[np.ndarray, np.ndarray] | None = None,
) -> VisitPair:
    """Pair a visit with its reference visit.

    Parameters
    ----------
    scene, reference : Scene
        This visit and its reference visit.
    contrasts : tuple of str
        Common to both visits; change is read on the first, and a second supports it.
    lesions, reference_lesions : ndarray of bool, shape (x, y, z)
        T2 lesions of both visits.
    probability : tuple of two ndarray of float32, shape (x, y, z), optional
        `t2_probability` of both visits.

    Returns
    -------
    VisitPair
    """
    contrast, *others = contrasts
    support = (_t2_scan(scene, others[0]), _t2_scan(reference, others[0])) if others else None
    return VisitPair(
        current=_t2_scan(scene, contrast),
        reference=_t2_scan(reference, contrast),
        current_lesions=lesions,
        reference_lesions=reference_lesions,
        anatomy=Anatomy(
            scene.brain_mask & reference.brain_mask,
            scene.nawm(contrast) & reference.nawm(contrast),
            scene.priors,
            SUBJECT_GRID.spacing_mm,
            scene.images.get("T1w"),
        ),
        support=support,
        probability=probability,
    )


def _t2_scan(scene: Scene, contrast: T2Contrast) -> T2Scan:
    """Return a T2-type scan of a visit as the detectors take it."""
    entry = scene.entries[contrast]
    return T2Scan(scene.images[contrast], contrast, entry.slice_thickness_mm, entry.plane_normal)


def detect_gel(
    scene: Scene, covering: Collection[Contrast], config: TrialConfig
) -> tuple[np.ndarray, GelPart, Candidates]:
    """Detect the enhancing lesions of a visit.

    Parameters
    ----------
    scene : Scene
        Holds a T1w after contrast.
    covering : collection of str
        Contrasts whose images show enough of the brain; one of them is a T2 contrast.
    config : TrialConfig
        The rules ``enhancement`` (but for ``join_mm``) and ``focus``.

    Returns
    -------
    dseg : ndarray of int32, shape (x, y, z)
        Numbered lesions.
    part : GelPart
        Its scores are in order of the numbers.
    candidates : Candidates
        Those of at least the score ``candidate_score`` of the rule.
    """
    post = scene.images[POSTCONTRAST]
    pre = scene.images["T1w"] if "T1w" in covering else None
    nawm = scene.nawm(POSTCONTRAST)
    if pre is not None:
        nawm = nawm & scene.nawm("T1w")
        post, pre = _same_resolution(scene, post, pre)
    enhancement = detect_enhancement(
        post,
        pre,
        t2_images={c: scene.images[c] for c in T2_CONTRASTS if c in covering},
        brain_mask=scene.brain_mask,
        priors=scene.priors,
        nawm=nawm,
        thresholds=EnhancementThresholds(
            correlate_reach_mm=config.enhancement.correlate_mm,
            gap_mm=config.enhancement.ring_gap_mm,
            min_score=config.enhancement.min_score,
            min_volume_mm3=config.focus.min_volume_mm3,
            min_diameter_mm=config.focus.min_diameter_mm,
        ),
        classify=classify_candidates,
        **scene.geometry(POSTCONTRAST),
    )
    rejected = tuple(
        RejectedCandidate(
            voxel=tuple(round(float(c) + s.start) for c, s in zip(r.centre, scene.box, strict=True)),
            volume_mm3=round(float(r.volume_mm3), 1),
            score=round(float(r.score), 3),
            cause=r.cause,
        )
        for r in enhancement.rejected
    )
    scores = tuple(round(float(score), 4) for score in enhancement.scores)
    part = GelPart(precontrast=pre is not None, scores=scores, rejected=rejected)
    return enhancement.dseg, part, enhancement.candidates.at_least(config.enhancement.candidate_score)


def contrast_evidence(scene: Scene) -> ContrastEvidence:
    """Weigh whether the T1w after contrast is enhanced against the one before it.

    Parameters
    ----------
    scene : Scene
        Holds both.

    Returns
    -------
    ContrastEvidence
        Its vote is ``pre`` if the two are swapped.
    """
    post, pre = _same_resolution(scene, scene.images[POSTCONTRAST], scene.images["T1w"])
    # Zero is outside a field of view, or where a skull was removed; the voxel next to it is half of it.
    seen = np.logical_and(*(scene.images[c] != 0 for c in ("T1w", POSTCONTRAST)))
    halves = [_halve(image.astype(np.float32)) for image in (pre, post, scene.brain_mask, seen)]
    return weigh_contrast(
        halves[0], halves[1], brain=halves[2] > 0.5, seen=halves[3] == 1, spacing_mm=_HALVED_MM
    )


def _halve(array: np.ndarray) -> np.ndarray:
    """Average blocks of 2 x 2 x 2 voxels; a last odd voxel is left out."""
    x, y, z = (n // 2 for n in array.shape)
    whole = array[: 2 * x, : 2 * y, : 2 * z]
    return whole.reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def _same_resolution(scene: Scene, post: np.ndarray, pre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give both T1w the slice profile of the coarser one, each blurred along its own slice normal."""
    entries = (scene.entries[POSTCONTRAST], scene.entries["T1w"])
    coarser_mm = max(entry.slice_thickness_mm for entry in entries)
    matched = [
        match_resolution(
            image,
            spacing_mm=SUBJECT_GRID.spacing_mm,
            plane_normal=entry.plane_normal,
            thickness_mm=entry.slice_thickness_mm,
            target_thickness_mm=coarser_mm,
        )
        for entry, image in zip(entries, (post, pre), strict=True)
    ]
    return matched[0], matched[1]


def segment_holes(scene: Scene, t2_mask: np.ndarray, gel_mask: np.ndarray, focus: FocusRule) -> np.ndarray:
    """Segment the black holes of a visit.

    Parameters
    ----------
    scene : Scene
        Holds a T1w before contrast.
    t2_mask, gel_mask : ndarray of bool, shape (x, y, z)
        T2 lesions, and enhancing lesions, which are no black holes.
    focus : FocusRule

    Returns
    -------
    ndarray of bool, shape (x, y, z)
    """
    return segment_black_holes(
        scene.images["T1w"],
        t2_mask=t2_mask,
        gel_mask=gel_mask,
        nawm=scene.nawm("T1w"),
        csf=scene.brain_mask & (scene.priors["lateral_ventricles"] > _SURE_VENTRICLE),
        min_volume_mm3=focus.min_volume_mm3,
        min_diameter_mm=focus.min_diameter_mm,
        **scene.geometry("T1w"),
    )
