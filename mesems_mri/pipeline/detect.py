"""Detect T2 lesions, their change, enhancing lesions and black holes of one visit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mesems_mri.config import TrialConfig
from mesems_mri.core.candidates import Candidates
from mesems_mri.core.t2.segment import T2Segmentation
from mesems_mri.dataset.bids import POSTCONTRAST, own_masks
from mesems_mri.dataset.records.detect import DetectedVisit, DetectRecord, EarlierVisit
from mesems_mri.dataset.records.parts import (
    BlackHolePart,
    CandidateKind,
    ChangePart,
    GelPart,
    ListedCandidate,
    Part,
    Parts,
    T2Part,
)
from mesems_mri.dataset.records.register import RegisteredVisit
from mesems_mri.dataset.records.registered_image import RefusedImage, RegisteredImage
from mesems_mri.errors import Reason
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.detectors import (
    contrast_evidence,
    detect_change,
    detect_gel,
    segment_holes,
    segment_t2,
    t2_candidates,
    t2_probability,
    visit_pair,
)
from mesems_mri.pipeline.evaluability import (
    READ_ON,
    black_hole_reason,
    choose_reference,
    choose_t2_contrast,
    contrast_reason,
    covering_images,
    flair_reason,
    gel_reason,
    postcontrast_reason,
    reference_images,
)
from mesems_mri.pipeline.masks import write_masks
from mesems_mri.pipeline.own_masks import OwnMasks
from mesems_mri.pipeline.scene import Scene, open_reference, open_scene
from mesems_mri.pipeline.visit import VisitFiles, log, write_arrays

ARRAYS = "lesions.npz"
"""Masks of a visit on the brain box of subject space, for the steps after this one."""


def detect_lesions(
    visit: VisitFiles,
    history: Sequence[EarlierVisit],
    *,
    visit_type: str,
    config: TrialConfig,
    masks_dir: Path | None = None,
) -> DetectRecord:
    """Detect the lesions of one visit, against its reference visit where there is one.

    Parameters
    ----------
    visit : VisitFiles
        The visit, already registered.
    history : sequence of EarlierVisit
        Visits that may be the reference visit, in order of time.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``; only scheduled visits become references.
    config : TrialConfig
        The rules ``focus``, ``t2`` and ``change``, ``enhancement.correlate_mm``, ``ring_gap_mm``,
        ``min_score``, ``candidate_score``, and ``quality.min_covered_fraction``.
    masks_dir : Path, optional
        Folder with masks of one's own, which are read instead; a part without a mask is not evaluable.

    Returns
    -------
    DetectRecord
        Masks are written in space-subject and space-orig where they are evaluable.
    """
    record = visit.register_record()
    registered = record.registered
    if not record.done or registered is None:
        return DetectRecord(
            status=record.status, reason=record.reason, message=record.message, history=tuple(history)
        )
    scene = open_scene(visit, registered)
    detection = _Detection(visit=visit, registered=registered, scene=scene, history=history, config=config)
    parts = detection.parts(masks_dir)
    listed = detection.list_candidates()
    path = visit.work(ARRAYS)
    write_arrays(path, detection.arrays)
    products = write_masks(visit, registered.evaluable, parts, detection.arrays, scene.box)
    this = EarlierVisit(
        session_id=visit.session_id,
        visit_type=visit_type,
        gel_evaluable=parts.gel.evaluable,
        t2_evaluable=parts.t2.evaluable,
        arrays=visit.relative(path),
        brain_mask=registered.brain_mask,
        images=reference_images(registered.images, config.quality),
    )
    detected = DetectedVisit(
        parts=parts, arrays=visit.relative(path), products=tuple(products), candidates=listed
    )
    return DetectRecord(detected=detected, history=(*history, this))


@dataclass(frozen=True, kw_only=True)
class _Detection:
    """Detection of the lesions of one visit, by the detectors or from masks of one's own.

    Attributes
    ----------
    visit : VisitFiles
    registered : RegisteredVisit
    scene : Scene
    history : sequence of EarlierVisit
    config : TrialConfig
    arrays : dict of str to ndarray, shape of the box of the scene
        Filled by the methods, for the steps after this one.
    candidates : dict of str to Candidates
        Filled likewise, by kind; a kind that is not evaluable, or comes from masks, is missing.
    """

    visit: VisitFiles
    registered: RegisteredVisit
    scene: Scene
    history: Sequence[EarlierVisit]
    config: TrialConfig
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    candidates: dict[CandidateKind, Candidates] = field(default_factory=dict)

    def parts(self, masks_dir: Path | None) -> Parts:
        """Detect all parts of the visit, one after the other."""
        own = self._own_masks(masks_dir) if masks_dir else None
        t2 = self._t2_of_masks(own) if own else self._t2()
        if t2.reason:
            change = ChangePart(reason=t2.reason)
        else:
            change = self._change_of_masks(own) if own else self._t2_and_change()
        gel = self._gel_of_masks(own) if own else self._gel()
        return Parts(t2=t2, t2_change=change, gel=gel, black_hole=self._black_holes(t2, gel))

    def list_candidates(self) -> tuple[ListedCandidate, ...] | None:
        """List the candidates of all kinds, and add their numbered images to the arrays."""
        if not self.candidates:
            return None
        listed = []
        for kind, candidates in self.candidates.items():
            self.arrays[f"candidates_{kind}"] = candidates.dseg.astype(np.uint16)
            listed += [
                ListedCandidate(kind=kind, number=number, score=round(score, 4), cause=cause)
                for number, (score, cause) in enumerate(
                    zip(candidates.scores, candidates.causes, strict=True), start=1
                )
            ]
        return tuple(listed)

    def _own_masks(self, folder: Path) -> OwnMasks:
        return OwnMasks(
            visit=self.visit,
            folder=folder,
            files=own_masks(folder, *self.visit.key),
            images=self.registered.evaluable,
            box=self.scene.box,
            config=self.config,
        )

    def _t2_of_masks(self, own: OwnMasks) -> T2Part:
        contrast, reason = choose_t2_contrast(self.registered.images, self.config.quality)
        return own.t2(contrast, self.arrays) if contrast else T2Part(reason=reason)

    def _t2(self) -> T2Part:
        """Return whether T2 lesions can be detected, with a sentence if they cannot."""
        images, rule = self.registered.images, self.config.quality
        reason = flair_reason(images, rule)
        if reason is None:
            return T2Part(contrast=READ_ON)
        image = images.get(READ_ON)
        if isinstance(image, RegisteredImage):
            cause = f"the {READ_ON} shows {image.covered_fraction:.0%} of the brain"
            cause += f" (limit {rule.min_covered_fraction:.0%})"
        else:
            cause = (
                f"the {READ_ON} was refused ({reason})"
                if isinstance(image, RefusedImage)
                else f"no {READ_ON}"
            )
        message = (
            f"{self.visit.name}: {cause}, and T2 lesions are counted on no other contrast; send a whole "
            f"{READ_ON}, or give T2-lesion masks of your own (--lesion-masks)"
        )
        log.warning("%s", message)
        return T2Part(reason=str(reason), message=message)

    def _change_of_masks(self, own: OwnMasks) -> ChangePart:
        """Compare the masks of this visit with those of its reference visit."""
        choice = choose_reference(self.registered.images, self.history, self.config.quality)
        if isinstance(choice, Reason):
            return ChangePart(reason=str(choice))
        lesions, _ = _lesions_of(self.visit, choice.visit)
        return own.change(choice.contrasts[0], choice.visit, lesions, self.arrays)

    def _t2_and_change(self) -> ChangePart:
        """Segment the T2 lesions of the visit, and detect their change where there is a reference visit."""
        probability = t2_probability(self.scene)
        # Kept for the visits whose reference visit this one will be.
        self.arrays["t2_probability"] = np.rint(255 * probability).astype(np.uint8)
        segmentation = segment_t2(self.scene, probability, self.config)
        change = self._change_of(segmentation)
        self.candidates["t2"] = t2_candidates(segmentation, self.arrays["t2"], self.config.t2.candidate_score)
        return change

    def _change_of(self, segmentation: T2Segmentation) -> ChangePart:
        """Detect change against the reference visit; T2 lesions that it had are carried on."""
        self.arrays["t2"] = segmentation.mask
        self.arrays["t2_score"] = _as_percent(segmentation.score)
        choice = choose_reference(
            self.registered.images, self.history, self.config.quality, read_on=(READ_ON,)
        )
        if isinstance(choice, Reason):
            return ChangePart(reason=str(choice))
        common = choice.contrasts[:2]
        reference = open_reference(self.visit, choice.visit, common, self.scene)
        lesions, score = _lesions_of(self.visit, choice.visit)
        pair = visit_pair(
            self.scene, reference, common, segmentation.mask, lesions, self._probabilities(choice.visit)
        )
        change = detect_change(pair, self.config)
        self.arrays["new"] = change.new
        self.arrays["enlarging"] = change.enlarging
        self.arrays["change_score"] = _as_percent(change.score)
        self.arrays["change_candidates"] = change.candidates.astype(np.uint16)
        self.candidates["change"] = change.rejected.at_least(self.config.change.candidate_score)
        self.arrays["t2"] = change.lesions
        self.arrays["t2_score"] = np.maximum(self.arrays["t2_score"], score) * change.lesions
        return ChangePart(
            reference_session_id=choice.visit.session_id,
            contrast=common[0],
            candidate_scores=tuple(round(score, 4) for score in change.candidate_scores),
        )

    def _probabilities(self, reference: EarlierVisit) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the probability of T2 lesions now and at the reference visit; None after given masks."""
        with np.load(self.visit.resolve(reference.arrays)) as archive:
            if "t2_probability" not in archive:
                return None
            kept = (self.arrays["t2_probability"], archive["t2_probability"])
        now, then = (array.astype(np.float32) / np.float32(255) for array in kept)
        return now, then

    def _gel_of_masks(self, own: OwnMasks) -> GelPart:
        reason = postcontrast_reason(self.registered.images, self.config.quality)
        return GelPart(reason=reason) if reason else own.enhancing(self.arrays)

    def _gel(self) -> GelPart:
        reason = gel_reason(self.registered.images, self.config.quality)
        if reason:
            return GelPart(reason=reason)
        covering = covering_images(self.registered.images, self.config.quality)
        if "T1w" in covering and (swapped := self._swapped()):
            return swapped
        self.arrays["gel"], part, self.candidates["gel"] = detect_gel(self.scene, covering, self.config)
        return part

    def _swapped(self) -> GelPart | None:
        """Return the part that says that the T1w before and after contrast seem to be swapped, if so."""
        evidence = contrast_evidence(self.scene)
        reason = contrast_reason(evidence.vote)
        if reason is None:
            return None
        message = (
            f"{self.visit.name}: {evidence.darker_mm3 / 1000:.1f} ml of vessels and choroid plexus are "
            f"brighter on the T1w than on the {POSTCONTRAST}, {evidence.brighter_mm3 / 1000:.1f} ml darker "
            "(expected: the reverse); ask the site which T1w was taken after the injection, and file them "
            "the other way round, or give a reader's mask of the enhancing lesions"
        )
        log.warning("%s", message)
        return GelPart(reason=str(reason), message=message)

    def _black_holes(self, t2: Part, gel: Part) -> BlackHolePart:
        reason = black_hole_reason(self.registered.images, t2, gel, self.config.quality)
        if reason:
            return BlackHolePart(reason=reason)
        holes = segment_holes(self.scene, self.arrays["t2"], self.arrays["gel"] > 0, self.config.focus)
        self.arrays["black_hole"] = holes
        return BlackHolePart(volume_mm3=round(float(holes.sum()) * SUBJECT_GRID.voxel_volume_mm3, 1))


def _lesions_of(visit: VisitFiles, reference: EarlierVisit) -> tuple[np.ndarray, np.ndarray]:
    """Return the T2 lesions of the reference visit and their score in percent."""
    with np.load(visit.resolve(reference.arrays)) as archive:
        lesions = archive["t2"] > 0
        # Masks that somebody gave have no score.
        score = archive["t2_score"] if "t2_score" in archive else np.zeros(lesions.shape, np.uint8)
        return lesions, score


def _as_percent(score: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(score, 0, 1) * 100).astype(np.uint8)
