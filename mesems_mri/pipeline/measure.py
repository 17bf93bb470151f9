"""Give every focus its identity through the visits: numbered images and rows of the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from mesems_mri.core.location import centres, lesion_regions
from mesems_mri.core.tracking.foci import AcquiredPlane, KnownFoci, VisitFoci
from mesems_mri.core.tracking.track import complete_rows, track_visit
from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.masks import write_dsegs
from mesems_mri.pipeline.register import load_priors
from mesems_mri.pipeline.visit import VisitFiles, passed_on, usable, write_arrays
from mesems_mri.pipeline.visit_record import VisitTableRow


def carry_on(carried: Mapping[str, Any], visit: VisitFiles, table: VisitTableRow) -> dict[str, Any]:
    """Return what the next visit must know, as far as it does not depend on what is found in this one.

    Parameters
    ----------
    carried : mapping
        What the previous visit carried on.
    visit : VisitFiles
        This visit.
    table : VisitTableRow
        What the visit table says of it.

    Returns
    -------
    dict
        ``visit_index``, ``days``, ``scheduled``, ``gel_evaluable`` and ``foci`` (known so far).
    """
    scheduled = carried.get("scheduled", [])
    return {
        "visit_index": carried.get("visit_index", -1) + 1,
        "days": carried.get("days", {}) | {visit.session_id: table.day},
        "scheduled": [*scheduled, visit.session_id] if table.visit_type == "scheduled" else scheduled,
        "gel_evaluable": carried.get("gel_evaluable", {}),
        "foci": carried.get("foci"),
    }


def measure_visit(
    visit: VisitFiles, carried: Mapping[str, Any], table: VisitTableRow, *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the foci of a visit their numbers, write the dseg images, and make the rows of the ledger.

    Parameters
    ----------
    visit : VisitFiles
        The visit, its lesions already detected.
    carried : mapping
        What the previous visit carried on: the known foci.
    table : VisitTableRow
        What the visit table says.
    settings : mapping
        ``focus.min_volume_mm3`` and ``enhancement.join_mm`` of the configuration.

    Returns
    -------
    dict
        The record.
    """
    detected = visit.read_record("detect")
    onward = carry_on(carried, visit, table)
    if not usable(detected):
        return passed_on(detected, carried=onward)
    registered = visit.read_record("register")
    anchor = registered["carried"]["anchor"]
    box, priors = load_priors(visit, anchor)
    shape = priors["brain"].shape
    known = KnownFoci.none(shape)
    if carried.get("foci"):
        with np.load(visit.resolve(carried["foci"]["arrays"])) as archive:
            known = KnownFoci.from_record(carried["foci"], archive["t2"], archive["gel"])
    with np.load(visit.resolve(detected["arrays"])) as archive:
        arrays = {name: archive[name] for name in archive.files}
    parts = detected["parts"]
    images = registered["images"]
    tracked = track_visit(
        VisitFoci(
            session_id=visit.session_id,
            scheduled=table.visit_type == "scheduled",
            t2_mask=arrays["t2"] > 0 if parts["t2"]["evaluable"] else None,
            new=arrays.get("new") if parts["t2_change"]["evaluable"] else None,
            enlarging=arrays.get("enlarging") if parts["t2_change"]["evaluable"] else None,
            gel=arrays["gel"] if parts["gel"]["evaluable"] else None,
            t2_reference_session_id=parts["t2_change"]["reference_session_id"],
            t2_plane=_plane(images.get(parts["t2"].get("contrast"))),
            gel_plane=_plane(images.get(POSTCONTRAST)),
        ),
        known,
        spacing_mm=SUBJECT_GRID.spacing_mm,
        join_mm=settings["enhancement"]["join_mm"],
        min_focus_mm3=settings["focus"]["min_volume_mm3"],
    )
    details = _details(tracked, arrays, box, anchor, priors, parts["gel"].get("scores"))
    rows = complete_rows(
        tracked.rows,
        identity={
            "study_id": table.study_id,
            "site_id": table.site_id,
            "participant_id": visit.participant_id,
        },
        details=details,
    )
    products = write_dsegs(visit, images, parts, {"t2": tracked.t2, "gel": tracked.gel}, box)
    path = visit.work("known_foci.npz")
    write_arrays(path, {"t2": tracked.known.t2, "gel": tracked.known.gel})
    onward["foci"] = tracked.known.to_record() | {"arrays": visit.relative(path)}
    onward["gel_evaluable"] = onward["gel_evaluable"] | {visit.session_id: parts["gel"]["evaluable"]}
    return {
        "status": "done",
        "reason": None,
        "message": "",
        "lesions": [_rounded(row) for row in rows],
        "products": [*detected["products"], *products],
        "carried": onward,
    }


def _plane(image: Mapping[str, Any] | None) -> AcquiredPlane:
    if not image or not image["evaluable"]:
        return AcquiredPlane()
    return AcquiredPlane(tuple(image["plane_normal"]), image["slice_thickness_mm"])


def _details(
    tracked: Any,
    arrays: Mapping[str, np.ndarray],
    box: tuple[slice, ...],
    anchor: Mapping[str, Any],
    priors: Mapping[str, np.ndarray],
    gel_scores: Sequence[float] | None,
) -> dict[int, dict[str, Any]]:
    """Find place and score of every focus; one that somebody has drawn has no score."""
    voxel_to_mni = np.asarray(anchor["subject_to_mni"]) @ SUBJECT_GRID.affine
    voxel_to_mni = voxel_to_mni @ _shift([side.start for side in box])
    details: dict[int, dict[str, Any]] = {}
    for dseg in (tracked.t2, tracked.gel):
        if dseg is None:
            continue
        regions = lesion_regions(dseg, priors=priors, spacing_mm=SUBJECT_GRID.spacing_mm)
        for lesion_id, (x, y, z) in centres(dseg, voxel_to_mni).items():
            details[lesion_id] = {"x": x, "y": y, "z": z, "region": regions[lesion_id]}
    if tracked.t2 is not None and "t2_score" in arrays:
        score = np.maximum(arrays["t2_score"], arrays.get("change_score", 0)).astype(np.float32) / 100
        for lesion_id, value in _maximum(score, tracked.t2).items():
            details[lesion_id]["score"] = value
    if tracked.gel is not None and gel_scores is not None:
        original = arrays["gel"]
        for lesion_id in np.unique(tracked.gel[tracked.gel > 0]).tolist():
            labels = np.unique(original[tracked.gel == lesion_id])
            details[lesion_id]["score"] = max(gel_scores[label - 1] for label in labels.tolist() if label)
    return details


def _shift(start: Iterable[int]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = list(start)
    return matrix


def _maximum(score: np.ndarray, dseg: np.ndarray) -> dict[int, float]:
    ids = np.unique(dseg[dseg > 0])
    return (
        dict(zip(ids.tolist(), map(float, ndimage.maximum(score, dseg, ids)), strict=True))
        if ids.size
        else {}
    )


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Round as the tables do, so that the record and the tables never disagree."""
    digits = {"volume_mm3": 1, "growth_mm3": 1, "max_diameter_mm": 1, "x": 1, "y": 1, "z": 1, "score": 3}
    return {k: round(float(v), digits[k]) if k in digits and v is not None else v for k, v in row.items()}
