"""Read the tables and sidecars of a data set; refuse what would unblind the analysis."""

import csv
import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import check_forbidden
from mesems_mri.errors import DatasetError

SHEET_COLUMNS = (
    "site_id",
    "participant_id",
    "dicom_patient_id",
    "session_id",
    "week",
    "planned_date",
    "window_minus_days",
    "window_plus_days",
    "visit_type",
    "sex",
    "contrast_dose_mmol_kg",
    "steroid_within_30d",
)
"""Columns of the visit table of a trial, the sheet of the intake; others are not read."""

_NOTHING = {"", "n/a", "na", "none", "unknown"}
_NOT_INPUT = {"derivatives", "sourcedata", "code"}
"""Folders of a BIDS data set that hold no input of ours."""
_SEPARATORS = re.compile(r"[\t,;|]")


@dataclass(frozen=True, kw_only=True)
class VisitRow:
    """What a visit table says of one visit.

    Parameters
    ----------
    week : int or None
        Week after randomisation.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``; empty when the table does not say.
    acquired : datetime.date or None
        Day of acquisition.
    """

    week: int | None = None
    visit_type: str = ""
    acquired: dt.date | None = None


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Read a table of the input, refusing columns that would unblind the analysis.

    Returns
    -------
    list of dict
        One for each row, by column; a value that means nothing (``n/a``) is empty.

    Raises
    ------
    ForbiddenColumnError
        If it has a forbidden column.
    DatasetError
        If it is no tab-separated UTF-8 table.
    """
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        return []
    check_forbidden(_columns(lines[0]), path)
    try:
        head, *body = csv.reader(lines, delimiter="\t", strict=True)
    except csv.Error as error:
        msg = f"{path}: the table cannot be read ({error}); save it as tab-separated UTF-8 text"
        raise DatasetError(msg) from error
    names = [name.strip() for name in head]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        msg = f"{path}: several columns are named {twice[0]!r}, expected one; correct the table"
        raise DatasetError(msg)
    rows = []
    for number, fields in enumerate(body, start=1):
        if len(fields) > len(names):
            msg = f"{path}: row {number} has {len(fields)} fields, expected {len(names)}; correct the table"
            raise DatasetError(msg)
        row = {name: " ".join(text.split()) for name, text in zip(names, fields, strict=False) if name}
        rows.append({name: "" if text.casefold() in _NOTHING else text for name, text in row.items()})
    return rows


def refuse_forbidden_columns(bids_dir: Path) -> None:
    """Look through the heads of all tables of a data set, those that nobody reads too.

    Tables are ``.tsv`` and ``.csv`` files anywhere but in ``derivatives``, ``sourcedata`` and ``code``, and
    the JSON files that describe the columns of a table (beside it, or at the root).

    Raises
    ------
    ForbiddenColumnError
        If a column or a described column is forbidden.
    DatasetError
        If a table is no UTF-8 text, so that nobody can tell.
    """
    for path in _tables(bids_dir):
        if path.suffix.lower() == ".json":
            try:
                content = json.loads(_text(path))
            except ValueError:
                continue  # a broken dictionary names no column
            check_forbidden(content if isinstance(content, dict) else [], path)
        else:
            first = next((line for line in _text(path).splitlines() if line.strip()), "")
            check_forbidden(_columns(first), path)


def read_sites(bids_dir: Path) -> dict[str, str]:
    """Read which site each participant belongs to, from ``participants.tsv`` if there is one.

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
    """Read the day on which a visit was scanned from its ``scans.tsv``; None when it does not say.

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
    """Read what the sidecar of an image says of its acquisition; empty when there is none."""
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


def _tables(bids_dir: Path) -> Iterator[Path]:
    for place in sorted(bids_dir.iterdir()):
        if place.is_dir() and place.name not in _NOT_INPUT and not place.name.startswith("."):
            paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in (".tsv", ".csv", ".json"))
        else:
            paths = [place]
        for path in paths:
            kind = path.suffix.lower()
            # The sidecar of an image describes no column; there are many of them.
            described = kind == ".json" and (path.parent == bids_dir or path.with_suffix(".tsv").is_file())
            if path.is_file() and (kind in (".tsv", ".csv") or described):
                yield path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: the table cannot be read ({error}); save it as tab-separated UTF-8 text"
        raise DatasetError(msg) from error


def _columns(line: str) -> list[str]:
    """Return the names in the head of a table, whatever separates them."""
    return [name.strip().strip("\"'") for name in _SEPARATORS.split(line)]


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
