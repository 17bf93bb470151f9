"""Tables of the BIDS folder that an intake writes: series, participants and visits."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mesems_mri.dataset.bids import natural_key
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake import folder
from mesems_mri.intake.classify import IMAGE_ROLES, ClassifiedSeries
from mesems_mri.intake.context import (
    BIRTH_HASHES_FILE,
    DAYS_FROM_SCAN_FILE,
    IntakeContext,
    read_private,
    write_private,
)
from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.rows import cell, read_rows, write_rows
from mesems_mri.intake.scan_days import update_scans
from mesems_mri.intake.visit import WITH_IMAGE, AssessedVisit, SeriesStatus

SERIES_COLUMNS = (
    *("submission_id", "site_id", "participant_id", "session_id", "series_id", "part", "series_number"),
    *("description", "modality", "role", "reason", "candidate_of", "status", "slices", "slices_expected"),
    *(
        "contrast_votes",
        "rows",
        "columns",
        "in_plane_mm",
        "spacing_mm",
        "plane",
        "faults",
        "image",
        "content",
        "voxels",
    ),
)


def series_rows(context: IntakeContext, visit: AssessedVisit) -> list[dict[str, str]]:
    """Return the row of ``series.tsv`` for each series of a visit."""
    return [_row(context, visit, one) for one in visit.classified]


def _row(context: IntakeContext, visit: AssessedVisit, one: ClassifiedSeries) -> dict[str, str]:
    series, geometry, clean = one.series, describe_geometry(one.series), visit.deidentifier
    pixel = " x ".join(f"{side:.4g}" for side in geometry.in_plane_mm) if geometry.in_plane_mm else ""
    part = "; ".join(
        part
        for part in (visit.deidentified(series.part), f"copy {series.copy}" if series.copy else "")
        if part
    )
    image = visit.images.get(one.role, "") if one.role in IMAGE_ROLES else ""
    if visit.status[series] in (SeriesStatus.QUARANTINED, SeriesStatus.REPLACED):
        name = folder.image_name(visit.participant_id, visit.session_id, one.role)
        image = f"{folder.QUARANTINE}/{visit.submission_id}/{name}"
    return {
        "submission_id": visit.submission_id,
        "site_id": visit.row.site_id if visit.row else context.request.site_id or "",
        "participant_id": visit.participant_id,
        "session_id": visit.session_id,
        "series_id": visit.series_id(series),
        "part": part,
        "series_number": str(series.series_number),
        "description": clean.words(series.description),
        "modality": clean.code(text(series.header, "Modality")),
        "role": one.role,
        "reason": visit.deidentified(one.reason),
        "candidate_of": one.candidate_of,
        "status": visit.status[series],
        "slices": str(series.frames),
        "contrast_votes": "; ".join(visit.deidentified(vote.words) for vote in one.votes),
        "slices_expected": str(series.expected.slices) if series.expected else "",
        "rows": str(geometry.rows or ""),
        "columns": str(geometry.columns or ""),
        "in_plane_mm": pixel,
        "spacing_mm": "" if geometry.spacing_mm is None else f"{geometry.spacing_mm:g}",
        "plane": geometry.plane,
        "faults": "; ".join(f"{fault.code}: {fault.text}" for fault in visit.faults[series]),
        "image": image,
        "content": context.content_hash(series),
        "voxels": visit.voxels.get(series, ""),
    }


def write_tables(context: IntakeContext, visits: Sequence[AssessedVisit]) -> None:
    """Write series, participants and visits of an intake, and the private tables beside the key."""
    rows = [row for visit in visits for row in series_rows(context, visit)]
    update_series(context.bids_dir, rows)
    births, waits = dict(context.birth_hashes), read_private(context.private, DAYS_FROM_SCAN_FILE)
    came: dict[str, dict[str, str]] = defaultdict(dict)
    for visit in visits:
        day = visit.examination.day
        if visit.row is None or not visit.session_id:
            continue
        came[visit.participant_id][visit.session_id] = ""
        if day is not None:
            waits.setdefault(visit.submission_id, str((context.today - day).days))
        if visit.images and (birth := visit.birth_hash):
            births.setdefault(visit.participant_id, birth)
    _date_visits(context, visits, came)
    people = {row.participant_id: row for row in context.schedule}
    rows_of_people = [people[name] for name in sorted(came, key=natural_key)]
    sexes = {visit.participant_id: sex for visit in visits if visit.images and (sex := visit.examination.sex)}
    update_participants(context.bids_dir, rows_of_people, sexes)
    for participant_id, days in came.items():
        planned = [row for row in context.schedule if row.participant_id == participant_id]
        update_sessions(context.bids_dir, planned, days)
    write_private(context.private, BIRTH_HASHES_FILE, births)
    write_private(context.private, DAYS_FROM_SCAN_FILE, waits)


def _date_visits(
    context: IntakeContext, visits: Sequence[AssessedVisit], came: dict[str, dict[str, str]]
) -> None:
    """Write the day of each image, and fill in that of each visit that came."""
    for participant_id, days in came.items():
        table = read_rows(context.bids_dir / participant_id / f"{participant_id}_sessions.tsv")
        dated = {row["session_id"]: row.get("acq_time", "") for row in table}
        for session_id in days:
            mine = [v for v in visits if (v.participant_id, v.session_id) == (participant_id, session_id)]
            day = dated.get(session_id, "")
            days[session_id] = update_scans(context.bids_dir, participant_id, session_id, mine, day)


def update_series(bids_dir: Path, new: Sequence[Mapping[str, str]]) -> None:
    """Add series to ``series.tsv``; one that stands there already is brought up to date.

    A row stays in its place, and none is ever removed. That an image which was filed is sent again does not
    change what its row says.
    """
    rows: dict[tuple[str, ...], dict[str, str]] = {
        _series_key(row): row for row in read_rows(bids_dir / folder.SERIES_TABLE)
    }
    for row in new:
        whole = {name: cell(row.get(name)) for name in SERIES_COLUMNS}
        known = rows.get(_series_key(whole))
        if known is not None and known["status"] in WITH_IMAGE and whole["status"] not in WITH_IMAGE:
            continue
        # filed by an intake that was interrupted before it wrote its tables
        if whole["status"] == SeriesStatus.UNCHANGED:
            whole["status"] = SeriesStatus.FILED.value
        rows[_series_key(whole)] = whole
    write_rows(bids_dir / folder.SERIES_TABLE, list(rows.values()), SERIES_COLUMNS)


def read_sexes(bids_dir: Path) -> dict[str, str]:
    """Read the sex of each participant from ``participants.tsv``; without those of whom it is not known."""
    rows = read_rows(bids_dir / "participants.tsv")
    return {row["participant_id"]: row["sex"] for row in rows if row.get("sex", "n/a") in ("F", "M", "O")}


def update_participants(bids_dir: Path, rows: Iterable[SheetRow], sexes: Mapping[str, str]) -> None:
    """Add participants to ``participants.tsv``, and their site and sex; other columns stay.

    Parameters
    ----------
    bids_dir : Path
    rows : iterable of SheetRow
        A row of each participant.
    sexes : mapping of str to str
        From the headers, for those of whom the schedule does not state it.
    """
    path = bids_dir / "participants.tsv"
    table = {row.get("participant_id", ""): row for row in read_rows(path)}
    known = read_sexes(bids_dir)
    for row in rows:
        name = row.participant_id
        entry = table.setdefault(name, {"participant_id": name})
        entry["site_id"] = row.site_id
        entry["sex"] = row.sex or known.get(name) or sexes.get(name, "")
    ordered = [table[name] for name in sorted(table, key=natural_key)]
    write_rows(path, ordered, ("participant_id", "site_id", "sex"))


def update_sessions(bids_dir: Path, schedule: Sequence[SheetRow], days: Mapping[str, str]) -> None:
    """Write ``sessions.tsv`` of a participant: visits received, and those planned before the last of them.

    Parameters
    ----------
    bids_dir : Path
    schedule : sequence of SheetRow
        All visits of the participant.
    days : mapping of str to str
        Shifted day of each visit that came now, by session.
    """
    participant_id = schedule[0].participant_id
    path = bids_dir / participant_id / f"{participant_id}_sessions.tsv"
    table = {row.get("session_id", ""): row for row in read_rows(path)}
    came = {name for name in table if (bids_dir / participant_id / name).is_dir()} | set(days)
    planned = [row.planned_date for row in schedule if row.session_id in came and row.planned_date]
    last = max(planned, default=None)
    for row in schedule:
        due = last is not None and row.planned_date is not None and row.planned_date <= last
        if row.session_id not in came and not (due and row.visit_type == "scheduled"):
            continue
        known = table.setdefault(row.session_id, {"session_id": row.session_id})
        known["acq_time"] = days.get(row.session_id) or known.get("acq_time", "")
        if not any((bids_dir / participant_id / row.session_id).glob("anat/*.nii*")):
            known["acq_time"] = ""
        known["week"] = "" if row.week is None else str(row.week)
        known["visit_type"] = row.visit_type
        dose, steroid = row.contrast_dose_mmol_kg, row.steroid_within_30d
        known["contrast_dose_mmol_kg"] = "" if dose is None else f"{dose:g}"
        known["steroid_within_30d"] = "" if steroid is None else str(steroid).lower()
    ordered = [table[name] for name in sorted(table, key=natural_key)]
    write_rows(path, ordered, ("session_id", "acq_time", "week", "visit_type"))


def _series_key(row: Mapping[str, str]) -> tuple[str, ...]:
    return row["series_id"], row["part"], row["content"]
