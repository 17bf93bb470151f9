"""Visit schedule of the trial: the visits that are due, without dates."""

import datetime as dt
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NoReturn

from sqlalchemy import Connection, func, insert, select

from mesems_mri.central.schema import expected_visit, schedule, site
from mesems_mri.dataset import audit
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.database import now
from mesems_mri.dataset.input_tables import read_tsv
from mesems_mri.errors import DatasetError, UsageError

COLUMNS = (
    "site_id",
    "participant_id",
    "session_id",
    "week",
    "planned_date",
    "window_minus_days",
    "window_plus_days",
    "visit_type",
)
"""Columns that are read, the same as in the visit schedule of the intake; no other one is kept."""
_LABEL = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True, kw_only=True)
class ExpectedVisit:
    """A visit that is due.

    Parameters
    ----------
    site_id : str
    participant_id, session_id : str
        With their prefixes.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``.
    week : int or None
    day : int or None
        Days after the participant's first scheduled visit; None without a planned date.
    window_minus_days, window_plus_days : int
    """

    site_id: str
    participant_id: str
    session_id: str
    visit_type: str
    week: int | None
    day: int | None
    window_minus_days: int
    window_plus_days: int

    @property
    def key(self) -> tuple[str, str]:
        """Participant and session."""
        return self.participant_id, self.session_id

    def days_outside(self, day: int | None) -> int:
        """Return the days by which a day misses the window: negative before it, positive after, 0 inside."""
        if self.day is None or day is None:
            return 0
        off = day - self.day
        return min(0, off + self.window_minus_days) + max(0, off - self.window_plus_days)


def read_schedule(path: Path) -> tuple[ExpectedVisit, ...]:
    """Read a visit schedule.

    Parameters
    ----------
    path : Path
        Tab-separated, with the columns of ``config/sheet.example.tsv``; `COLUMNS` are enough.

    Raises
    ------
    ForbiddenColumnError
        If a column would unblind the trial.
    DatasetError
        If a column is missing, a value is none, or two rows contradict.
    """
    rows = []
    for number, row in enumerate(read_tsv(path), start=2):
        if missing := [name for name in COLUMNS if name not in row]:
            msg = f"{path}: the column {missing[0]} is missing, expected {', '.join(COLUMNS)}; add it"
            raise DatasetError(msg)
        rows.append((number, row))
    if not rows:
        msg = f"{path}: has no visit, expected one row for each; see config/sheet.example.tsv"
        raise DatasetError(msg)
    dated = [(_visit(path, number, row), _date(path, number, row["planned_date"])) for number, row in rows]
    _refuse_contradictions(path, [visit for visit, _ in dated])
    first: dict[str, dt.date] = {}
    for visit, date in dated:
        if date and visit.visit_type == "scheduled":
            first[visit.participant_id] = min(date, first.get(visit.participant_id, date))
    return tuple(
        replace(visit, day=(date - start).days if date and start else None)
        for visit, date in dated
        for start in (first.get(visit.participant_id),)
    )


def replace_schedule(
    connection: Connection, visits: Iterable[ExpectedVisit], content: bytes, *, by: str, reason: str
) -> int:
    """Store a new version of the schedule; the earlier ones stay.

    Parameters
    ----------
    connection : Connection
    visits : iterable of ExpectedVisit
    content : bytes
        The table as it was given; its hash is kept.
    by, reason : str
        Actor and reason, for the audit trail.

    Returns
    -------
    int
        Its number.

    Raises
    ------
    UsageError
        If a site of it is not registered.
    """
    visits = tuple(visits)
    known = set(connection.execute(select(site.c.site_id)).scalars())
    if unknown := sorted({visit.site_id for visit in visits} - known):
        msg = f"schedule: the site {unknown[0]} is not registered; add it with mesems-mri central site add"
        raise UsageError(msg)
    number = (connection.scalar(select(func.max(schedule.c.schedule_id))) or 0) + 1
    digest = hashlib.sha256(content).hexdigest()
    connection.execute(
        insert(schedule).values(
            schedule_id=number, sha256=digest, imported_at=now(), imported_by=by, reason=reason
        )
    )
    connection.execute(insert(expected_visit), [asdict(visit) | {"schedule_id": number} for visit in visits])
    details = {"sha256": digest, "visits": len(visits), "reason": reason}
    audit.append(connection, now(), by, "schedule.replaced", f"version {number}", details)
    return number


def current_schedule(connection: Connection) -> dict[tuple[str, str], ExpectedVisit]:
    """Return the visits that are due, by participant and session."""
    last = select(func.max(schedule.c.schedule_id)).scalar_subquery()
    columns = [column for column in expected_visit.c if column.name != "schedule_id"]
    wanted = select(*columns).where(expected_visit.c.schedule_id == last)
    visits = (ExpectedVisit(**row) for row in connection.execute(wanted).mappings())
    return {visit.key: visit for visit in visits}


def _visit(path: Path, number: int, row: dict[str, str]) -> ExpectedVisit:
    def refuse(name: str, expected: str) -> NoReturn:
        msg = f"{path}: row {number} has the {name} {row[name]!r}, expected {expected}; correct the table"
        raise DatasetError(msg)

    labels = {}
    for name, prefix in (("participant_id", "sub-"), ("session_id", "ses-")):
        label = row[name].removeprefix(prefix)
        if not _LABEL.fullmatch(label):
            refuse(name, "letters and digits only")
        labels[name] = prefix + label
    if not row["site_id"]:
        refuse("site_id", "a site")
    if row["visit_type"] not in VISIT_METRICS_COLUMNS["visit_type"].levels:
        refuse("visit_type", ", ".join(VISIT_METRICS_COLUMNS["visit_type"].levels))
    for name in ("week", "window_minus_days", "window_plus_days"):
        if not re.fullmatch(r"[0-9]{1,4}" if name != "week" else r"-?[0-9]{0,4}", row[name]):
            refuse(name, "a whole number")
    return ExpectedVisit(
        site_id=row["site_id"],
        visit_type=row["visit_type"],
        week=int(row["week"]) if row["week"] else None,
        day=None,
        window_minus_days=int(row["window_minus_days"]),
        window_plus_days=int(row["window_plus_days"]),
        **labels,
    )


def _date(path: Path, number: int, text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError as error:
        msg = f"{path}: row {number} has the planned_date {text!r}, expected e.g. 2024-03-31; correct it"
        raise DatasetError(msg) from error


def _refuse_contradictions(path: Path, visits: list[ExpectedVisit]) -> None:
    twice = [key for key, count in Counter(visit.key for visit in visits).items() if count > 1]
    if twice:
        msg = f"{path}: {'/'.join(twice[0])} has several rows, expected one; correct the table"
        raise DatasetError(msg)
    sites: dict[str, str] = {}
    for visit in visits:
        if sites.setdefault(visit.participant_id, visit.site_id) != visit.site_id:
            both = f"{sites[visit.participant_id]} and {visit.site_id}"
            msg = (
                f"{path}: {visit.participant_id} belongs to the sites {both}, expected one; correct the table"
            )
            raise DatasetError(msg)
