"""Record of a visit: its row of ``visit_metrics.tsv``, with reasons and flags, whatever became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mesems_mri import __version__
from mesems_mri.config import QualityRule
from mesems_mri.dataset.bids import Contrast, T2Contrast
from mesems_mri.dataset.counts import visit_counts
from mesems_mri.dataset.records.base import Json, StepRecord
from mesems_mri.dataset.records.measure import MeasureRecord, RememberedVisits
from mesems_mri.dataset.records.parts import Parts
from mesems_mri.dataset.records.register import RegisteredVisit, RegisterRecord
from mesems_mri.dataset.records.registered_image import Alignment, RefusedImage
from mesems_mri.dataset.records.standardise import StandardisedImage
from mesems_mri.dataset.records.visit import ReportedImage, VisitRecord
from mesems_mri.files import write_json
from mesems_mri.pipeline.evaluability import brain_reason, cua_reason, qc_status
from mesems_mri.pipeline.flags import StepRecords, qc_flags, read_steps
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.provenance import software_versions

QUALITY_NAMES = ("snr", "cnr", "cjv", "efc", "fber")


@dataclass(frozen=True, kw_only=True)
class VisitTableRow:
    """Row of a visit in the visit schedule.

    Parameters
    ----------
    study_id, site_id : str
        Identifiers.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``.
    week : int or None
        Week after randomisation.
    day : int or None
        Days since the participant's first dated visit.
    """

    study_id: str
    site_id: str
    visit_type: str
    week: int | None
    day: int | None


def write_visit_record(
    visit: VisitFiles,
    record: StepRecord,
    earlier: RememberedVisits,
    table: VisitTableRow,
    *,
    quality: QualityRule,
    config_sha256: str,
) -> None:
    """Write ``sub-X_ses-Y_metrics.json``, whatever became of the visit.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    record : StepRecord
        The `MeasureRecord` that `measure_visit` returned, or the record of its failure.
    earlier : RememberedVisits
        Carried on by the previous visit.
    table : VisitTableRow
        Its row of the visit schedule.
    quality : QualityRule
    config_sha256 : str
        Hash of the configuration.
    """
    steps = read_steps(visit, record)
    parts, registered = steps.parts, steps.registered.registered
    measured = record.measured if isinstance(record, MeasureRecord) else None
    lesions = measured.lesions if measured else ()
    change = parts.t2_change
    flags = qc_flags(visit, steps, registered, quality) if record.done and registered else []
    content = VisitRecord(
        status=record.status,
        message=record.message or "; ".join(part.message for part in parts if part.message),
        visit_index=earlier.visit_index + 1,
        metrics=_metrics_row(visit, table, earlier, lesions, steps, quality)
        | {
            "qc_status": qc_status(record, parts, flags),
            "qc_flags": ";".join(flags),
            "read_status": "automatic",
            "software_version": __version__,
            "config_sha256": config_sha256,
        },
        lesions=lesions,
        lesions_from="masks" if parts.t2.given or parts.gel.given else "detector",
        gel_rejected=parts.gel.rejected or (),
        candidates=measured.candidates if measured else None,
        anchor=steps.registered.carried_anchor,
        images={c: _reported_image(c, image, registered) for c, image in steps.images.items()},
        quality_names=QUALITY_NAMES,
        preproc={c: image.preproc for c, image in registered.evaluable.items()} if registered else {},
        change_contrast=change.contrast,
        reference_preproc=_reference_preproc(visit, change.reference_session_id, change.contrast),
        registration=_registration_texts(steps.registered),
        versions=software_versions(),
    )
    write_json(visit.layout.metrics(*visit.key), content.to_json())


def _metrics_row(
    visit: VisitFiles,
    table: VisitTableRow,
    earlier: RememberedVisits,
    lesions: Sequence[Json],
    steps: StepRecords,
    quality: QualityRule,
) -> dict[str, Any]:
    """Return the row of ``visit_metrics.tsv`` but for quality status and provenance."""
    parts = steps.parts
    counts = visit_counts(
        lesions,
        gel_evaluable=parts.gel.evaluable,
        gel_change_evaluable=bool(earlier.gel_references),
        t2_evaluable=parts.t2.evaluable,
        t2_change_evaluable=parts.t2_change.evaluable,
    )
    return {
        "study_id": table.study_id,
        "site_id": table.site_id,
        "participant_id": visit.participant_id,
        "session_id": visit.session_id,
        "visit_type": table.visit_type,
        "week": table.week,
        "day_from_baseline": table.day,
        **_reference_columns(table, earlier, parts),
        **counts,
        **_evaluability_columns(earlier, steps, quality),
    }


def _reference_columns(table: VisitTableRow, earlier: RememberedVisits, parts: Parts) -> dict[str, Any]:
    """Return the columns that name the visits with which this one is compared."""
    gel_references, t2_reference = earlier.gel_references, parts.t2_change.reference_session_id
    day = earlier.days.get(t2_reference) if t2_reference else None
    return {
        "gel_reference_session_id": gel_references[-1] if gel_references and parts.gel.evaluable else None,
        "t2_reference_session_id": t2_reference,
        "t2_interval_days": None if day is None or table.day is None else table.day - day,
        "t2_contrast": parts.t2.contrast,
    }


def _evaluability_columns(
    earlier: RememberedVisits, steps: StepRecords, quality: QualityRule
) -> dict[str, Any]:
    """Return the columns that say what is evaluable and why the rest is not."""
    gel, t2, change, hole = steps.parts.gel, steps.parts.t2, steps.parts.t2_change, steps.parts.black_hole
    scheduled, brain = earlier.scheduled, steps.standardised.brain
    no_brain = brain_reason(steps.outcome, brain, quality)
    return {
        "gel_prior_evaluable": bool(earlier.gel_evaluable.get(scheduled[-1])) if scheduled else None,
        "gel_evaluable": gel.evaluable,
        "gel_reason": gel.reason,
        "t2_change_evaluable": change.evaluable,
        "t2_change_reason": change.reason,
        "cua_reason": cua_reason(gel, change, has_gel_reference=bool(earlier.gel_references)),
        "t2_evaluable": t2.evaluable,
        "t2_reason": t2.reason,
        "black_hole_volume_mm3": hole.volume_mm3,
        "black_hole_evaluable": hole.evaluable,
        "black_hole_reason": hole.reason,
        "brain_volume_mm3": brain.brain_volume_mm3 if brain and no_brain is None else None,
        "brain_evaluable": no_brain is None,
        "brain_reason": no_brain,
    }


def _reported_image(
    contrast: Contrast, image: StandardisedImage, registered: RegisteredVisit | None
) -> ReportedImage:
    """Return state and quality of an image; the reason of the later step goes first."""
    aligned = registered.images.get(contrast) if registered else None
    state = aligned if isinstance(aligned, RefusedImage) else image
    covered = None if aligned is None or isinstance(aligned, RefusedImage) else aligned.covered_fraction
    return ReportedImage(
        source=image.source,
        reason=state.reason,
        message=state.message,
        flags=image.flags,
        covered_fraction=covered,
        quality=image.corrected.quality if image.corrected else {},
    )


def _registration_texts(record: RegisterRecord) -> dict[str, str]:
    """Describe the registration of every image, and that of the visit."""
    registered, texts = record.registered, {}
    for contrast, image in registered.images.items() if registered else ():
        reference = not isinstance(image, RefusedImage) and image.alignment is None
        texts[contrast] = (
            "(the image the others are brought to)" if reference else _described(image.alignment)
        )
    if registered and registered.alignment is None:
        texts["to the anchor"] = "(this visit is the anchor)"
    else:
        texts["to the anchor"] = _described(registered.alignment if registered else record.alignment)
    return texts


def _described(alignment: Alignment | None) -> str:
    if alignment is None:
        return "not registered"
    return (
        f"similarity {alignment.similarity_left_alone} before, {alignment.similarity} after, "
        f"directions differ by {alignment.inverse_consistency_mm} mm"
    )


def _reference_preproc(visit: VisitFiles, reference: str | None, contrast: T2Contrast | None) -> str | None:
    if reference is None or contrast is None:
        return None
    registered = visit.at(reference).register_record().registered
    return registered.evaluable[contrast].preproc if registered else None
