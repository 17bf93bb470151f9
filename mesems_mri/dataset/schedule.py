"""Visit schedule of a trial: participants, planned visits, and the patient IDs of the scans."""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.input_tables import read_tsv
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
"""Columns of the visit schedule (the file of ``--sheet``); others are not read."""

_LABEL = re.compile(r"[a-zA-Z0-9]+")
_SITE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SAME_FOR_ALL = ("site_id", "sex")


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """A planned visit.

    Parameters
    ----------
    site_id : str
    participant_id, session_id : str
        With their prefixes.
    dicom_patient_id : str
        Patient ID under which the site sends the scans.
    week : int or None
    planned_date : datetime.date or None
        None for an unplanned visit.
    window_minus_days, window_plus_days : int
        Window in days before and after the planned date.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``.
    sex : str
        ``F``, ``M``, ``O`` or empty.
    contrast_dose_mmol_kg : float or None
        0: without contrast agent; None: not stated.
    steroid_within_30d : bool or None
    """

    site_id: str
    participant_id: str
    dicom_patient_id: str
    session_id: str
    week: int | None
    planned_date: dt.date | None
    window_minus_days: int
    window_plus_days: int
    visit_type: str
    sex: str
    contrast_dose_mmol_kg: float | None
    steroid_within_30d: bool | None

    @property
    def visit(self) -> str:
        """Participant and session, as messages name them."""
        return f"{self.participant_id}/{self.session_id}"

    def days_outside(self, day: dt.date) -> int | None:
        """Return by how many days a day misses the window: negative before it, positive after, 0 inside."""
        if self.planned_date is None:
            return None
        off = (day - self.planned_date).days
        return min(0, off + self.window_minus_days) + max(0, off - self.window_plus_days)


def read_sheet(path: Path) -> tuple[SheetRow, ...]:
    """Read the visit schedule of a trial (the file of ``--sheet``).

    Parameters
    ----------
    path : Path
        Tab-separated, as ``config/sheet.example.tsv``.

    Returns
    -------
    tuple of SheetRow

    Raises
    ------
    ForbiddenColumnError
        If a column would unblind the analysis.
    DatasetError
        If the schedule is missing or no table, a column is missing, a value is none, or two rows contradict.
    """
    rows = []
    for number, row in enumerate(read_tsv(path), start=2):
        if missing := [name for name in SHEET_COLUMNS if name not in row]:
            msg = (
                f"{path}: the column {missing[0]} is missing, expected {', '.join(SHEET_COLUMNS)}; "
                "see config/sheet.example.tsv"
            )
            raise DatasetError(msg)
        rows.append(_row(path, number, row))
    if not rows:
        msg = f"{path}: the schedule has no visit, expected one row per visit; see config/sheet.example.tsv"
        raise DatasetError(msg)
    _refuse_contradictions(path, rows)
    return tuple(rows)


def _row(path: Path, number: int, row: dict[str, str]) -> SheetRow:
    def read(name: str, convert: Callable[[str], Any], expected: str) -> Any:
        try:
            return convert(row[name])
        except ValueError as error:
            found = f"row {number} has the {name} {row[name]!r}"
            msg = f"{path}: {found}, expected {expected}; correct the schedule"
            raise DatasetError(msg) from error

    kinds = tuple(VISIT_METRICS_COLUMNS["visit_type"].levels)
    return SheetRow(
        site_id=read("site_id", _matching(_SITE, ""), "a label of letters and digits"),
        participant_id=read("participant_id", _matching(_LABEL, "sub-"), "letters and digits only"),
        dicom_patient_id=read("dicom_patient_id", _text, "the patient ID of the scans"),
        session_id=read("session_id", _matching(_LABEL, "ses-"), "letters and digits only"),
        week=read("week", _optional(_whole), "a whole number or nothing"),
        planned_date=read("planned_date", _optional(dt.date.fromisoformat), "a date like 2024-03-31"),
        window_minus_days=read("window_minus_days", _days, "a number of days, 0 or more"),
        window_plus_days=read("window_plus_days", _days, "a number of days, 0 or more"),
        visit_type=read("visit_type", _one_of(kinds, "scheduled"), " or ".join(kinds)),
        sex=read("sex", _sex, "F, M, O or nothing"),
        contrast_dose_mmol_kg=read("contrast_dose_mmol_kg", _optional(_dose), "a dose like 0.1, or nothing"),
        steroid_within_30d=read("steroid_within_30d", _optional(_truth), "true, false or nothing"),
    )


def _refuse_contradictions(path: Path, rows: list[SheetRow]) -> None:
    visits: dict[str, SheetRow] = {}
    people: dict[str, SheetRow] = {}
    owners: dict[str, str] = {}
    for row in rows:
        if row.visit in visits:
            msg = f"{path}: {row.visit} stands there twice, expected one row per visit; correct the schedule"
            raise DatasetError(msg)
        visits[row.visit] = row
        first = people.setdefault(row.participant_id, row)
        for name in _SAME_FOR_ALL:
            if getattr(first, name) != getattr(row, name):
                both = f"{getattr(first, name)!r} and {getattr(row, name)!r}"
                who = row.participant_id
                msg = f"{path}: {who} has the {name} {both}, expected one; correct the schedule"
                raise DatasetError(msg)
        # the name of a person in the scans is not repeated in a message that may end in a log
        if owners.setdefault(row.dicom_patient_id.casefold(), row.participant_id) != row.participant_id:
            both = f"{owners[row.dicom_patient_id.casefold()]} and {row.participant_id}"
            msg = f"{path}: {both} have the same dicom_patient_id, expected one each; correct the schedule"
            raise DatasetError(msg)


def _matching(pattern: re.Pattern[str], prefix: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        label = text.removeprefix(prefix)
        if not pattern.fullmatch(label):
            raise ValueError
        return prefix + label

    return convert


def _optional(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: convert(text) if text else None


def _text(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _whole(text: str) -> int:
    number = float(text)
    if not number.is_integer():
        raise ValueError
    return int(number)


def _days(text: str) -> int:
    days = _whole(text) if text else 0
    if days < 0:
        raise ValueError
    return days


def _one_of(known: tuple[str, ...], default: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        word = text.casefold() or default
        if word not in known:
            raise ValueError
        return word

    return convert


def _sex(text: str) -> str:
    word = {"": "", "F": "F", "FEMALE": "F", "M": "M", "MALE": "M", "O": "O", "OTHER": "O"}.get(text.upper())
    if word is None:
        raise ValueError
    return word


def _dose(text: str) -> float:
    dose = float(text)
    if not 0 <= dose < 10:
        raise ValueError
    return dose


def _truth(text: str) -> bool:
    if text.casefold() not in ("true", "false", "yes", "no"):
        raise ValueError
    return text.casefold() in ("true", "yes")
