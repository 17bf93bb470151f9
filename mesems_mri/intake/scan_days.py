"""Days of the images of a visit: ``scans.tsv`` of each visit, and the one day of the visit made from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mesems_mri.intake import folder
from mesems_mri.intake.rows import read_rows, write_rows
from mesems_mri.intake.visit import AssessedVisit

_DATED_BY = ("ce-gadolinium_T1w", "FLAIR", "T2w", "PDw", "T1w")
"""Of several days of a visit that of the first of these images is the day of the visit."""


def update_scans(
    bids_dir: Path, participant_id: str, session_id: str, visits: Sequence[AssessedVisit], visit_day: str
) -> str:
    """Write ``scans.tsv`` of a visit, and return the day of the visit.

    Parameters
    ----------
    bids_dir : Path
    participant_id, session_id : str
        The visit.
    visits : sequence of AssessedVisit
        Its examinations in this submission, already filed.
    visit_day : str
        Day that ``sessions.tsv`` gives the visit: that of images of which no table says the day.

    Returns
    -------
    str
        Shifted day, ISO 8601; empty when the visit has no image with a day.
    """
    path = bids_dir / participant_id / session_id / f"{participant_id}_{session_id}_scans.tsv"
    known = {row["filename"]: row["acq_time"] for row in read_rows(path)}
    sent = {name: _shifted(visit) for visit in visits for name in visit.images.values()}
    days: dict[str, str] = {}
    rows = []
    for role, one in folder.filed_images(bids_dir, participant_id, session_id).items():
        name = f"anat/{one.image.name}"
        day = sent.get(folder.image_name(participant_id, session_id, role)) or known.get(name) or visit_day
        days[role] = day
        rows.append({"filename": name, "acq_time": day})
    if rows:
        write_rows(path, rows, ("filename", "acq_time"))
    else:
        path.unlink(missing_ok=True)
    return day_of_visit(days)


def day_of_visit(days: Mapping[str, str]) -> str:
    """Return the day of a visit from the days of its images, by role.

    Examples
    --------
    >>> day_of_visit({"FLAIR": "1910-03-04T00:00:00", "ce-gadolinium_T1w": "1910-03-06T00:00:00"})
    '1910-03-06T00:00:00'
    """
    return next((day for role in _DATED_BY if (day := days.get(role, "")) not in ("", "n/a")), "")


def _shifted(visit: AssessedVisit) -> str:
    day = visit.examination.day
    shifted = visit.deidentifier.date(day.isoformat()) if day else ""
    return f"{shifted}T00:00:00" if shifted else ""
