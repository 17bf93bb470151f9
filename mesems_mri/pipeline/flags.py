"""Records of the steps of a visit, read back for its record, and the quality flags that follow from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mesems_mri.config import QualityRule
from mesems_mri.dataset.bids import T2_CONTRASTS, Contrast
from mesems_mri.dataset.records.base import Json, StepRecord
from mesems_mri.dataset.records.parts import Parts
from mesems_mri.dataset.records.register import RegisteredVisit, RegisterRecord
from mesems_mri.dataset.records.standardise import ImageHeader, StandardisedImage, StandardiseRecord
from mesems_mri.files import read_json
from mesems_mri.pipeline.evaluability import READ_ON, covering_images
from mesems_mri.pipeline.visit import VisitFiles

_CHANGES = {
    "scanner_change": ("Manufacturer", "ManufacturersModelName", "ReceiveCoilName"),
    "software_change": ("SoftwareVersions",),
    "field_strength_change": ("MagneticFieldStrength",),
}
_SLICE_TOLERANCE_MM = 0.1
ARTEFACTS = ("banding", "ghost", "spike")
"""Measures of `mesems_mri.core.artefacts` in the quality of an image."""


@dataclass(frozen=True, kw_only=True)
class StepRecords:
    """Records of the steps of a visit, from which its record is made.

    Attributes
    ----------
    standardised : StandardiseRecord
    registered : RegisterRecord
    parts : Parts
        Evaluability; nothing is evaluable unless the visit is done.
    outcome : StepRecord
        That of the step ``measure``.
    """

    standardised: StandardiseRecord
    registered: RegisterRecord
    parts: Parts
    outcome: StepRecord

    @property
    def images(self) -> Mapping[Contrast, StandardisedImage]:
        """Images of the visit in their own grids."""
        return self.standardised.images or {}


R = TypeVar("R")


def _read(path: Path, from_json: Callable[[Json], R], otherwise: R) -> R:
    """Read a record; one that is not there, or that an older version wrote without a key, says nothing."""
    try:
        return from_json(read_json(path))
    except (FileNotFoundError, KeyError):
        return otherwise


def read_steps(visit: VisitFiles, record: StepRecord) -> StepRecords:
    """Read what the steps of a visit left.

    Parameters
    ----------
    visit : VisitFiles
    record : StepRecord
        Outcome of the step ``measure``.

    Returns
    -------
    StepRecords
    """
    stopped = {"status": record.status, "reason": record.reason, "message": record.message}
    standardised = _read(
        visit.record("standardise"), StandardiseRecord.from_json, StandardiseRecord(**stopped)
    )
    registered = _read(visit.record("register"), RegisterRecord.from_json, RegisterRecord(**stopped))
    detected = visit.detect_record().detected if record.done else None
    parts = detected.parts if detected else Parts.refused(record.reason)
    return StepRecords(standardised=standardised, registered=registered, parts=parts, outcome=record)


def qc_flags(
    visit: VisitFiles, steps: StepRecords, registered: RegisteredVisit, quality: QualityRule
) -> list[str]:
    """Return the codes of ``qc_flags`` of a visit that is done, sorted."""
    used, images, parts = registered.evaluable, steps.images, steps.parts
    flags = {flag for contrast in used for flag in images[contrast].flags}
    flags |= set(steps.standardised.brain.flags if steps.standardised.brain else ())
    for alignment in (registered.alignment, *(image.alignment for image in used.values())):
        flags |= set(alignment.flags if alignment else ())
    if parts.gel.evaluable and not parts.gel.precontrast:
        flags.add("no_precontrast_t1")
    covering = covering_images(registered.images, quality)
    if READ_ON not in covering and any(contrast in covering for contrast in T2_CONTRASTS):
        flags.add("no_flair")
    if "T1w" not in used:
        flags.add("no_t1w")
    if any(image.covered_fraction < quality.warn_covered_fraction for image in used.values()):
        flags.add("partial_coverage")
    corrected = [images[contrast].corrected for contrast in used]
    snr = [image.quality.get("snr_wm") for image in corrected if image]
    if any(value is not None and value < quality.min_snr for value in snr):
        flags.add("low_snr")
    if any(
        max(image.quality.get(name) or 0 for name in ARTEFACTS) > quality.max_artefact
        for image in corrected
        if image
    ):
        flags.add("artefact")
    reference, contrast = parts.t2_change.reference_session_id, parts.t2_change.contrast
    if reference and contrast:
        path = visit.at(reference).record("standardise")
        earlier = _read(path, StandardiseRecord.from_json, StandardiseRecord())
        before, now = (earlier.images or {}).get(contrast), images.get(contrast)
        if before and now and before.header and now.header:
            flags |= acquisition_changes(now.header, before.header)
    return sorted(flags)


def acquisition_changes(now: ImageHeader, reference: ImageHeader) -> set[str]:
    """Return the flags of what differs between the acquisitions of a visit and of its reference visit.

    A value that one of the two does not state is no change.
    """
    flags = set()
    for flag, keys in _CHANGES.items():
        pairs = [(now.acquisition.get(key), reference.acquisition.get(key)) for key in keys]
        if any(a is not None and b is not None and a != b for a, b in pairs):
            flags.add(flag)
    if abs(now.slice_thickness_mm - reference.slice_thickness_mm) > _SLICE_TOLERANCE_MM:
        flags.add("slice_thickness_change")
    return flags
