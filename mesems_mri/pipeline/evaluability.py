"""Evaluability: which parts of a visit can be read, and why not; decided on records alone.

Not evaluable is never zero: every function returns a result or a reason of the closed list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mesems_mri.config import QualityRule
from mesems_mri.core.gel.evidence import Vote
from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, Contrast, T2Contrast
from mesems_mri.dataset.records.base import StepRecord
from mesems_mri.dataset.records.detect import EarlierVisit
from mesems_mri.dataset.records.parts import Part, Parts
from mesems_mri.dataset.records.register import Images
from mesems_mri.dataset.records.registered_image import RefusedImage, RegisteredImage, SubjectImage
from mesems_mri.dataset.records.standardise import BrainRecord
from mesems_mri.errors import Reason

READ_ON: T2Contrast = "FLAIR"
"""The one contrast on which T2 lesions and their change are detected: on T2w and PDw too much of what is
found is false (docs/validation.md), so that a count on them would be a number that nobody may use."""


@dataclass(frozen=True)
class ReferenceChoice:
    """Reference visit of the T2 comparison.

    Parameters
    ----------
    visit : EarlierVisit
    contrasts : tuple of str
        Contrasts that both visits have, the preferred one first; at least one.
    """

    visit: EarlierVisit
    contrasts: tuple[T2Contrast, ...]


def covering_images(images: Images, rule: QualityRule) -> dict[Contrast, RegisteredImage]:
    """Return the images that are evaluable and show enough of the brain."""
    return {
        contrast: image
        for contrast, image in images.items()
        if isinstance(image, RegisteredImage) and image.covers(rule)
    }


def flair_reason(images: Images, rule: QualityRule) -> str | None:
    """Return why T2 lesions cannot be detected; None if they can.

    A FLAIR that is missing, was refused or shows too little is not replaced by another contrast.
    """
    image = images.get(READ_ON)
    if image is None:
        return Reason.MISSING_SCAN if any(c in images for c in T2_CONTRASTS) else Reason.NO_T2_TYPE
    if isinstance(image, RefusedImage):
        return image.reason
    return None if image.covers(rule) else Reason.INCOMPLETE_COVERAGE


def choose_t2_contrast(images: Images, rule: QualityRule) -> tuple[T2Contrast | None, str | None]:
    """Choose the contrast on which somebody who gave masks has read the T2 lesions.

    Parameters
    ----------
    images : mapping of contrast to RegisteredImage or RefusedImage
    rule : QualityRule
        ``min_covered_fraction``.

    Returns
    -------
    contrast : str or None
        The preferred one that is evaluable and shows enough of the brain.
    reason : str or None
        Reason if there is none: incomplete coverage before the reason of a refused image, and that of the
        preferred contrast before the others.
    """
    reason: str = Reason.NO_T2_TYPE
    for contrast in T2_CONTRASTS:
        image = images.get(contrast)
        if image is None:
            continue
        if isinstance(image, RefusedImage):
            reason = image.reason if reason == Reason.NO_T2_TYPE else reason
        elif image.covers(rule):
            return contrast, None
        else:
            reason = Reason.INCOMPLETE_COVERAGE
    return None, reason


def choose_reference(
    images: Images,
    history: Sequence[EarlierVisit],
    rule: QualityRule,
    *,
    read_on: Sequence[T2Contrast] = T2_CONTRASTS,
) -> ReferenceChoice | Reason:
    """Choose the reference visit: the last scheduled, T2-evaluable one with a T2 contrast in common.

    Parameters
    ----------
    images : mapping of contrast to RegisteredImage or RefusedImage
        Of this visit.
    history : sequence of EarlierVisit
        In order of time.
    rule : QualityRule
        ``min_covered_fraction``.
    read_on : sequence of str
        Contrasts on which change may be read; both visits must have one of them.

    Returns
    -------
    ReferenceChoice or Reason
    """
    covering = covering_images(images, rule)
    earlier = [visit for visit in history if visit.visit_type == "scheduled" and visit.t2_evaluable]
    for visit in reversed(earlier):
        common: list[T2Contrast] = [c for c in T2_CONTRASTS if c in covering and c in visit.images]
        if any(contrast in read_on for contrast in common):
            return ReferenceChoice(visit, tuple(common))
    return Reason.NO_COMMON_CONTRAST if earlier else Reason.NO_REFERENCE_VISIT


def postcontrast_reason(images: Images, rule: QualityRule) -> str | None:
    """Return why the T1w after contrast cannot be read; None if it can."""
    image = images.get(POSTCONTRAST)
    if image is None:
        return Reason.NO_POSTCONTRAST
    if isinstance(image, RefusedImage):
        return image.reason
    return None if image.covers(rule) else Reason.INCOMPLETE_COVERAGE


def gel_reason(images: Images, rule: QualityRule) -> str | None:
    """Return why enhancing lesions cannot be detected; None if they can.

    An enhancing lesion has a T2 correlate, so the detector needs one image of a T2 contrast; the T1w before
    contrast may be missing.
    """
    if reason := postcontrast_reason(images, rule):
        return reason
    covering = covering_images(images, rule)
    return None if any(c in covering for c in T2_CONTRASTS) else Reason.NO_T2_TYPE


def contrast_reason(vote: Vote) -> Reason | None:
    """Return why enhancing lesions must not be counted although they can be detected; None if they may.

    Parameters
    ----------
    vote : str
        What the two T1w say of the order in which they were taken: ``pre`` if the one before contrast is the
        enhanced one. A scan that says nothing confirms nothing, but contradicts nothing either.
    """
    return Reason.CONTRAST_UNCONFIRMED if vote == "pre" else None


def black_hole_reason(images: Images, t2: Part, gel: Part, rule: QualityRule) -> str | None:
    """Return why black holes cannot be segmented; None if they can.

    They are T2 lesions that are dark on T1w and do not enhance: without a scan after contrast nobody can
    tell.
    """
    if t2.reason:
        return t2.reason
    image = images.get("T1w")
    if image is None:
        return Reason.MISSING_SCAN
    if isinstance(image, RefusedImage):
        return image.reason
    return gel.reason if image.covers(rule) else Reason.INCOMPLETE_COVERAGE


def cua_reason(gel: Part, t2_change: Part, *, has_gel_reference: bool) -> str | None:
    """Return why combined unique active lesions cannot be counted; None if they can.

    Parameters
    ----------
    gel, t2_change : Part
        Of this visit.
    has_gel_reference : bool
        An earlier scheduled visit was evaluable for enhancing lesions; without one they are all baseline.
    """
    return gel.reason or t2_change.reason or (None if has_gel_reference else Reason.NO_REFERENCE_VISIT)


def brain_reason(record: StepRecord, brain: BrainRecord | None, rule: QualityRule) -> str | None:
    """Return why the brain volume is not evaluable; None if it is.

    Parameters
    ----------
    record : StepRecord
        Outcome of the visit.
    brain : BrainRecord or None
    rule : QualityRule
        ``min_covered_fraction``.
    """
    if not record.done:
        return record.reason
    return None if brain and brain.covers(rule) else Reason.INCOMPLETE_COVERAGE


def reference_images(images: Images, rule: QualityRule) -> dict[Contrast, SubjectImage]:
    """Return the images by which later visits may compare themselves with this one."""
    return dict(covering_images(images, rule))


def qc_status(record: StepRecord, parts: Parts, flags: Sequence[str]) -> Literal["pass", "warn", "fail"]:
    """Return the quality status of a visit; that a first visit has no reference is no failure."""
    accepted = {None, Reason.NO_REFERENCE_VISIT}
    if not record.done or any(part.reason not in accepted for part in parts):
        return "fail"
    return "warn" if flags else "pass"
