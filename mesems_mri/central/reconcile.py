"""Reconciliation of expected and received visits, with state and reason of each."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select

from mesems_mri.central.content import QUERIES, VISITS
from mesems_mri.central.schedule import ExpectedVisit, current_schedule
from mesems_mri.central.schema import transfer
from mesems_mri.central.versions import current

_PARTS = ("gel", "t2_change", "t2")


class ReconciliationState(StrEnum):
    """State of a visit at the data centre."""

    RECEIVED = "received"
    NOT_EVALUABLE = "not_evaluable"
    IN_QUERY = "in_query"
    MISSING = "missing"
    AWAITED = "awaited"
    UNEXPECTED = "unexpected"


MEANING = {
    ReconciliationState.RECEIVED: "received and evaluable",
    ReconciliationState.NOT_EVALUABLE: "received; something of it is not evaluable, see the reason",
    ReconciliationState.IN_QUERY: "waits for the answer of the site to a query",
    ReconciliationState.MISSING: "not received, although a later visit of the participant was",
    ReconciliationState.AWAITED: "not received yet",
    ReconciliationState.UNEXPECTED: "received, but not in the visit schedule",
}


@dataclass(frozen=True)
class ReconciliationLine:
    """A visit of the reconciliation list; the fields are the columns.

    Parameters
    ----------
    site_id, participant_id, session_id : str
    week : int or None
    state : ReconciliationState
    reason : str
        Parts that are not evaluable with their reasons, or the open queries.
    days_outside_window : int or None
        Negative before it; None when the day is not known.
    read_status : str
    version : int or None
        1: never corrected.
    received_at : str
        Time at which this version was received.
    """

    site_id: str
    participant_id: str
    session_id: str
    week: int | None
    state: ReconciliationState
    reason: str
    days_outside_window: int | None
    read_status: str
    version: int | None
    received_at: str


def reconcile(connection: Connection, site_id: str | None = None) -> list[ReconciliationLine]:
    """Compare the visit schedule with what was received.

    Parameters
    ----------
    connection : Connection
        Of a transaction that sees the database at one moment.
    site_id : str, optional
        Only this site.

    Returns
    -------
    list of ReconciliationLine
        By site, participant and week; those without a week last.
    """
    expected = {
        key: visit for key, visit in current_schedule(connection).items() if site_id in (None, visit.site_id)
    }
    last = current(site_id, VISITS).subquery()
    joined = select(last, transfer.c.received_at).join(transfer, transfer.c.transfer_id == last.c.transfer_id)
    received = {
        (row["participant_id"], row["session_id"]): dict(row) for row in connection.execute(joined).mappings()
    }
    queries = _open_queries(connection, site_id)
    latest: dict[str, int] = {}
    for key in received.keys() & expected.keys():
        week = expected[key].week
        if week is not None:
            latest[key[0]] = max(week, latest.get(key[0], week))
    lines = [
        _line(key, expected.get(key), received.get(key), queries.get(key, []), latest.get(key[0]))
        for key in expected.keys() | received.keys()
    ]
    return sorted(lines, key=_order)


def as_table(lines: Iterable[ReconciliationLine]) -> str:
    """Return the list as tab-separated text."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(field.name for field in fields(ReconciliationLine))
    for line in lines:
        writer.writerow("" if value is None else value for value in asdict(line).values())
    return stream.getvalue()


def describe(lines: Iterable[ReconciliationLine], *, all_visits: bool = False) -> list[str]:
    """Describe the visits that are not in order (or all of them), one line each, then `summary`.

    Parameters
    ----------
    lines : iterable of ReconciliationLine
        The list.
    all_visits : bool
        Describe visits that are in order, or not due, too.
    """
    lines = list(lines)
    texts = []
    for line in lines:
        late = f", {line.days_outside_window:+} days outside its window" if line.days_outside_window else ""
        if (
            all_visits
            or late
            or line.state not in (ReconciliationState.RECEIVED, ReconciliationState.AWAITED)
        ):
            visit = f"{line.site_id}  {line.participant_id}/{line.session_id}"
            texts.append(f"{visit}  {line.state}{late}{f'  ({line.reason})' if line.reason else ''}")
    return texts + summary(lines)


def summary(lines: Iterable[ReconciliationLine]) -> list[str]:
    """Count the visits of each site by state, one line per site, and one for all."""
    by_site: dict[str, Counter[ReconciliationState]] = defaultdict(Counter)
    for line in lines:
        by_site[line.site_id][line.state] += 1
        by_site["all sites"][line.state] += 1
    return [
        f"{site}: "
        + ", ".join(f"{by_site[site][state]} {state.replace('_', ' ')}" for state in ReconciliationState)
        for site in sorted(by_site, key=lambda name: (name == "all sites", name))
    ]


def _open_queries(connection: Connection, site_id: str | None) -> dict[tuple[str, str], list[str]]:
    """Return the open blocking queries of each visit."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in connection.execute(current(site_id, QUERIES)):
        values = json.loads(row.content)
        if values["status"] != "closed" and values["blocking"]:
            found[row.participant_id, row.session_id].append(f"{row.record_key} {values['code']}")
    return found


def _line(
    key: tuple[str, str],
    expected: ExpectedVisit | None,
    received: Mapping[str, Any] | None,
    queries: list[str],
    latest: int | None,
) -> ReconciliationLine:
    values = json.loads(received["content"]) if received else {}
    reasons = [
        f"{part}: {values[f'{part}_reason']}"
        for part in _PARTS
        # a first visit has nothing to be compared with: that is no fault of it
        if values and not values[f"{part}_evaluable"] and values[f"{part}_reason"] != "no_reference_visit"
    ]
    week = expected.week if expected else values.get("week")
    if expected is None:
        state = ReconciliationState.UNEXPECTED
    elif queries:
        state = ReconciliationState.IN_QUERY
    elif received:
        state = ReconciliationState.NOT_EVALUABLE if reasons else ReconciliationState.RECEIVED
    else:
        overtaken = week is not None and latest is not None and week < latest
        state = ReconciliationState.MISSING if overtaken else ReconciliationState.AWAITED
    day = values.get("day_from_baseline")
    return ReconciliationLine(
        site_id=expected.site_id if expected else values["site_id"],
        participant_id=key[0],
        session_id=key[1],
        week=week,
        state=state,
        reason="; ".join([*sorted(queries), *reasons]),
        days_outside_window=expected.days_outside(day) if expected and day is not None else None,
        read_status=values.get("read_status") or "",
        version=received["version"] if received else None,
        received_at=received["received_at"] if received else "",
    )


def _order(line: ReconciliationLine) -> tuple[Any, ...]:
    week = line.week if line.week is not None else float("inf")
    return line.site_id, line.participant_id, week, line.session_id
