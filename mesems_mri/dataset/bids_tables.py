"""Tables and sidecars of raw BIDS: sites, visits, days of scans, and the acquisition of an image."""

import datetime as dt
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.input_tables import read_tsv
from mesems_mri.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class VisitRow:
    """A row of ``sub-X_sessions.tsv``: one visit.

    Parameters
    ----------
    week : int or None
        Week after randomisation.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``; empty when the table has none.
    acquired : datetime.date or None
        Day of acquisition.
    """

    week: int | None = None
    visit_type: str = ""
    acquired: dt.date | None = None


def read_sites(bids_dir: Path) -> dict[str, str]:
    """Read the site of each participant from ``participants.tsv`` if there is one.

    Raises
    ------
    DatasetError
        If a participant stands there twice with different sites, or the column ``participant_id`` is missing.
    """
    path = bids_dir / "participants.tsv"
    sites: dict[str, str] = {}
    for row in read_tsv(path) if path.is_file() else []:
        participant = _label(row, path, "participant_id", "sub-")
        site = row.get("site_id") or row.get("site") or ""
        if sites.setdefault(participant, site) != site:
            both = f"{sites[participant]!r} and {site!r}"
            msg = f"{path}: {participant} belongs to the sites {both}, expected one; correct the table"
            raise DatasetError(msg)
    return sites


def read_visits(path: Path) -> dict[str, VisitRow]:
    """Read the visits of a participant from ``sub-X_sessions.tsv`` if there is one.

    Raises
    ------
    DatasetError
        If a visit stands there twice with different rows, the column ``session_id`` is missing, or a week, a
        date or a kind of visit is none.
    """
    visits: dict[str, VisitRow] = {}
    kinds = VISIT_METRICS_COLUMNS["visit_type"].levels
    for row in read_tsv(path) if path.is_file() else []:
        session = _label(row, path, "session_id", "ses-")
        kind = row.get("visit_type", "")
        if kind and kind not in kinds:
            known = ", ".join(kinds)
            msg = f"{path}: {session} has the visit_type {kind!r}, expected one of {known}; correct the table"
            raise DatasetError(msg)
        visit = VisitRow(
            week=_week(row.get("week", ""), path, session),
            visit_type=kind,
            acquired=_day(row.get("acq_time", ""), path, session),
        )
        if visits.setdefault(session, visit) != visit:
            msg = f"{path}: two rows of {session} differ, expected one row; correct the table"
            raise DatasetError(msg)
    return visits


def read_scan_day(folder: Path) -> dt.date | None:
    """Read the day of a visit from its ``scans.tsv``; None when it has none.

    Raises
    ------
    DatasetError
        If a date is none.
    """
    for path in sorted(folder.glob("*_scans.tsv")):
        for row in read_tsv(path):
            if day := _day(row.get("acq_time", ""), path, row.get("filename", "a scan")):
                return day
    return None


def acquisition(path: Path) -> dict[str, object]:
    """Read the acquisition fields of the sidecar of an image; empty when there is none."""
    sidecar = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    keys = (
        "Manufacturer",
        "ManufacturersModelName",
        "MagneticFieldStrength",
        "SoftwareVersions",
        "ReceiveCoilName",
    )
    return {key: content[key] for key in keys if key in content} if isinstance(content, dict) else {}


def refuse_weeks_against_dates(path: Path, visits: list[tuple[str, int | None, dt.date | None]]) -> None:
    """Refuse a visit table whose weeks and dates put visits in different orders.

    Parameters
    ----------
    path : Path
        The table, for the error text.
    visits : list of (session_id, week, acquired)
        Scheduled visits.

    Raises
    ------
    DatasetError
        If a later week was scanned earlier.
    """
    known = sorted((week, day, name) for name, week, day in visits if week is not None and day is not None)
    for (week, day, name), (later_week, later_day, later_name) in pairwise(known):
        if later_week > week and later_day < day:
            msg = (
                f"{path}: {later_name} (week {later_week}) was scanned on {later_day}, "
                f"before {name} (week {week}) on {day}; correct the week or the date"
            )
            raise DatasetError(msg)


def _label(row: dict[str, str], path: Path, column: str, prefix: str) -> str:
    if column not in row:
        msg = f"{path}: the column {column} is missing; add it, or save the table as tab-separated text"
        raise DatasetError(msg)
    return prefix + row[column].removeprefix(prefix)


def _week(text: str, path: Path, session: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[+-]?\d+(\.0*)?", text):
        msg = f"{path}: {session} has the week {text!r}, expected a whole number; correct the table"
        raise DatasetError(msg)
    return int(float(text))


def _day(text: str, path: Path, of: str) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError as error:
        msg = f"{path}: {of} has the acq_time {text!r}, expected a date like 2024-03-31; correct the table"
        raise DatasetError(msg) from error
