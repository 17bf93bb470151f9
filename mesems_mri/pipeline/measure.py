"""Track the lesions of a visit: identity through the visits, numbered images and rows of the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mesems_mri.config import EnhancementRule, FocusRule
from mesems_mri.core.by_label import highest_by_label
from mesems_mri.core.location import centres, lesion_regions
from mesems_mri.core.tracking.foci import AcquiredPlane, KnownFoci, VisitFoci
from mesems_mri.core.tracking.track import TrackedVisit, complete_rows, track_visit
from mesems_mri.dataset.bids import POSTCONTRAST, Contrast
from mesems_mri.dataset.records.measure import MeasuredVisit, MeasureRecord, RememberedVisits
from mesems_mri.dataset.records.parts import Parts
from mesems_mri.dataset.records.register import Anchor
from mesems_mri.dataset.records.registered_image import RegisteredImage
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.candidates import candidate_rows, write_candidates
from mesems_mri.pipeline.masks import write_dsegs
from mesems_mri.pipeline.tissue import load_tissue
from mesems_mri.pipeline.visit import VisitFiles, write_arrays
from mesems_mri.pipeline.visit_record import VisitTableRow


def remember_visit(earlier: RememberedVisits, visit: VisitFiles, table: VisitTableRow) -> RememberedVisits:
    """Return what is remembered after a visit, as far as it does not depend on its lesions.

    Parameters
    ----------
    earlier : RememberedVisits
        Carried on by the previous visit.
    visit : VisitFiles
        This visit.
    table : VisitTableRow
        Its row of the visit schedule.

    Returns
    -------
    RememberedVisits
        Known foci and the evaluability of enhancing lesions are those of the earlier visits.
    """
    scheduled = earlier.scheduled
    return replace(
        earlier,
        visit_index=earlier.visit_index + 1,
        days={**earlier.days, visit.session_id: table.day},
        scheduled=(*scheduled, visit.session_id) if table.visit_type == "scheduled" else scheduled,
    )


def measure_visit(
    visit: VisitFiles,
    earlier: RememberedVisits,
    table: VisitTableRow,
    *,
    focus: FocusRule,
    enhancement: EnhancementRule,
) -> MeasureRecord:
    """Track the lesions of a visit: numbers, dseg images and rows of the ledger.

    Parameters
    ----------
    visit : VisitFiles
        The visit, its lesions already detected.
    earlier : RememberedVisits
        Carried on by the previous visit.
    table : VisitTableRow
        Its row of the visit schedule.
    focus : FocusRule
        ``min_volume_mm3``.
    enhancement : EnhancementRule
        ``join_mm``.

    Returns
    -------
    MeasureRecord
    """
    record = visit.detect_record()
    detected = record.detected
    remembered = remember_visit(earlier, visit, table)
    if not record.done or detected is None:
        return MeasureRecord(
            status=record.status, reason=record.reason, message=record.message, remembered=remembered
        )
    registered = visit.register_record().registered
    assert registered is not None  # lesions were detected on it
    parts = detected.parts
    box, priors = load_tissue(visit, registered)
    with np.load(visit.resolve(detected.arrays)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    tracked = track_visit(
        _foci_of(visit, table, parts, arrays, registered.evaluable),
        _known_foci(visit, earlier, priors["brain"].shape),
        spacing_mm=SUBJECT_GRID.spacing_mm,
        join_mm=enhancement.join_mm,
        min_focus_mm3=focus.min_volume_mm3,
    )
    voxel_to_mni = _voxel_to_mni(registered.anchor, box)
    details = _details(tracked, arrays, voxel_to_mni, priors, parts.gel.scores)
    rows = complete_rows(tracked.rows, identity=_identity(visit, table), details=details)
    products = write_dsegs(visit, registered.evaluable, parts, {"t2": tracked.t2, "gel": tracked.gel}, box)
    listed, candidates_dseg = candidate_rows(detected.candidates, arrays, voxel_to_mni, priors)
    products += write_candidates(visit, registered.evaluable, parts, listed, candidates_dseg, box)
    path = visit.work("known_foci.npz")
    write_arrays(path, {"t2": tracked.known.t2, "gel": tracked.known.gel})
    return MeasureRecord(
        measured=MeasuredVisit(
            lesions=tuple(map(_rounded, rows)),
            products=(*detected.products, *products),
            candidates=listed,
        ),
        remembered=replace(
            remembered,
            gel_evaluable={**remembered.gel_evaluable, visit.session_id: parts.gel.evaluable},
            foci=tracked.known.to_record() | {"arrays": visit.relative(path)},
        ),
    )


def _identity(visit: VisitFiles, table: VisitTableRow) -> dict[str, str]:
    return {
        "study_id": table.study_id,
        "site_id": table.site_id,
        "participant_id": visit.participant_id,
    }


def _known_foci(visit: VisitFiles, earlier: RememberedVisits, shape: tuple[int, ...]) -> KnownFoci:
    """Read the known foci of the participant; none before the first measured visit."""
    if not earlier.foci:
        return KnownFoci.none(shape)
    with np.load(visit.resolve(earlier.foci["arrays"])) as archive:
        return KnownFoci.from_record(earlier.foci, archive["t2"], archive["gel"])


def _foci_of(
    visit: VisitFiles,
    table: VisitTableRow,
    parts: Parts,
    arrays: Mapping[str, np.ndarray],
    images: Mapping[Contrast, RegisteredImage],
) -> VisitFoci:
    """Return the foci of a visit; those of a part that is not evaluable are None."""
    t2_contrast = parts.t2.contrast
    return VisitFoci(
        session_id=visit.session_id,
        scheduled=table.visit_type == "scheduled",
        t2_mask=arrays["t2"] > 0 if parts.t2.evaluable else None,
        new=arrays.get("new") if parts.t2_change.evaluable else None,
        enlarging=arrays.get("enlarging") if parts.t2_change.evaluable else None,
        gel=arrays["gel"] if parts.gel.evaluable else None,
        t2_reference_session_id=parts.t2_change.reference_session_id,
        t2_plane=_plane(images.get(t2_contrast) if t2_contrast else None),
        gel_plane=_plane(images.get(POSTCONTRAST)),
    )


def _plane(image: RegisteredImage | None) -> AcquiredPlane:
    return AcquiredPlane(image.plane_normal, image.slice_thickness_mm) if image else AcquiredPlane()


def _details(
    tracked: TrackedVisit,
    arrays: Mapping[str, np.ndarray],
    voxel_to_mni: np.ndarray,
    priors: Mapping[str, np.ndarray],
    gel_scores: Sequence[float] | None,
) -> dict[int, dict[str, Any]]:
    """Return centre, region and score of every focus; one that somebody has drawn has no score."""
    details: dict[int, dict[str, Any]] = {}
    for dseg in (tracked.t2, tracked.gel):
        if dseg is None:
            continue
        regions = lesion_regions(dseg, priors=priors, spacing_mm=SUBJECT_GRID.spacing_mm)
        for lesion_id, (x, y, z) in centres(dseg, voxel_to_mni).items():
            details[lesion_id] = {"x": x, "y": y, "z": z, "region": regions[lesion_id]}
    if tracked.t2 is not None and "t2_score" in arrays:
        score = np.maximum(arrays["t2_score"], arrays.get("change_score", 0)).astype(np.float32) / 100
        for lesion_id, value in _highest(score, tracked.t2).items():
            details[lesion_id]["score"] = value
    if tracked.gel is not None and gel_scores is not None:
        original = arrays["gel"]
        for lesion_id in np.unique(tracked.gel[tracked.gel > 0]).tolist():
            labels = np.unique(original[tracked.gel == lesion_id])
            details[lesion_id]["score"] = max(gel_scores[label - 1] for label in labels.tolist() if label)
    return details


def _voxel_to_mni(anchor: Anchor, box: tuple[slice, ...]) -> np.ndarray:
    """Return the matrix from a voxel of the box to MNI mm."""
    shift = np.eye(4)
    shift[:3, 3] = [side.start for side in box]
    return np.asarray(anchor.subject_to_mni) @ SUBJECT_GRID.affine @ shift


def _highest(score: np.ndarray, dseg: np.ndarray) -> dict[int, float]:
    highest = highest_by_label(score, dseg)
    return {int(label): float(highest[label]) for label in np.unique(dseg[dseg > 0])}


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Round as the tables do, so that the record and the tables never disagree."""
    digits = {"volume_mm3": 1, "growth_mm3": 1, "max_diameter_mm": 1, "x": 1, "y": 1, "z": 1, "score": 3}
    return {k: round(float(v), digits[k]) if k in digits and v is not None else v for k, v in row.items()}
