"""Reports of a reading: agreement of readers, the run against the reads, backlog and turnaround."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mesems_mri.dataset.columns import Column
from mesems_mri.dataset.tables import write_table
from mesems_mri.review.agreement import against_automatic, finding_agreement, is_active, weighted_kappa
from mesems_mri.review.desk import Desk
from mesems_mri.review.matching import Comparison, compare_reads
from mesems_mri.review.state import Finding, ReadState, fold
from mesems_mri.review.store import Task, read_events, tasks

KINDS: Mapping[str, str] = {"gel": "enhancing lesions", "t2": "new or enlarging T2 lesions"}

AGREEMENT_COLUMNS: dict[str, Column] = {
    "comparison": Column(
        "Compared with each other",
        levels={
            "between_readers": "The two reads of a visit",
            "within_reader": "A read and its planned re-read",
            "with_adjudication": "A read and the adjudication of the visit",
        },
    ),
    "readers": Column("Readers, joined by +; all of them: all"),
    "kind": Column("Kind of lesion", levels=dict(KINDS)),
    "visits": Column("Visits compared", "integer"),
    "both": Column("Lesions of both reads", "integer"),
    "first_only": Column("Lesions of the first read alone", "integer"),
    "second_only": Column("Lesions of the second read alone", "integer"),
    "neither": Column("Findings that neither read counts as active", "integer"),
    "kappa": Column("Cohen's kappa of presence over all findings", "number", decimals=3),
    "weighted_kappa": Column("Kappa of the counts per visit, quadratic weights", "number", decimals=3),
    "same_count": Column("Visits with the same count", "integer"),
    "mean_difference": Column("Mean difference of the counts, first minus second", "number", decimals=3),
}
AUTOMATIC_COLUMNS: dict[str, Column] = {
    "reader": Column("Reader"),
    "kind": Column("Kind of lesion", levels=dict(KINDS)),
    "visits": Column("Visits read", "integer"),
    "read": Column("Lesions counted by the reader", "integer"),
    "automatic": Column("Lesions counted by the run", "integer"),
    "agreed": Column("Lesions counted by both", "integer"),
    "sensitivity": Column("Share of the read lesions that the run counted", "number", decimals=3),
    "false_per_visit": Column("Lesions of the run that the reader rejected, per visit", "number", decimals=3),
}
TURNAROUND_COLUMNS: dict[str, Column] = {
    "reader": Column("Reader or adjudicator"),
    "assigned": Column("Visits assigned", "integer"),
    "signed": Column("Visits signed", "integer"),
    "median_minutes": Column("Median time from opening a visit to its signature", "number", "minute"),
}
READS_COLUMNS: dict[str, Column] = {
    "participant_id": Column("Participant label with the prefix sub-"),
    "session_id": Column("Session (visit) label with the prefix ses-"),
    "reader": Column("Reader or adjudicator"),
    "kind": Column("Kind of read"),
    "state": Column("State of the read"),
    "gel_count": Column("Enhancing lesions", "integer"),
    "t2_active_count": Column("New and enlarging T2 lesions", "integer"),
    "not_evaluable": Column("Parts that are not evaluable, with the reason, ;-joined"),
}


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Tasks of one person.

    Parameters
    ----------
    reader : str
    assigned, signed : int
    median_minutes : float or None
        From opening to signature.
    """

    reader: str
    assigned: int
    signed: int
    median_minutes: float | None

    @property
    def shown_turnaround(self) -> str:
        """The median in words."""
        if self.median_minutes is None:
            return "no turnaround yet"
        return f"median {self.median_minutes:.1f} minutes from opening to signature"


def backlog(desk: Desk) -> list[Backlog]:
    """Return assigned and signed tasks of everybody."""
    with desk.store.reading() as connection:
        everything = tasks(connection)
    found = []
    for name in sorted({task.reader for task in everything}):
        own = [task for task in everything if task.reader == name]
        minutes = [m for task in own if (m := _minutes(task)) is not None]
        found.append(
            Backlog(
                reader=name,
                assigned=len(own),
                signed=sum(task.state == "signed" for task in own),
                median_minutes=median(minutes) if minutes else None,
            )
        )
    return found


def _minutes(task: Task) -> float | None:
    if task.opened_at is None or task.signed_at is None:
        return None
    begin, end = (dt.datetime.fromisoformat(text) for text in (task.opened_at, task.signed_at))
    return (end - begin).total_seconds() / 60


def write_reports(desk: Desk, folder: Path) -> list[Path]:
    """Write all tables into a folder; return them."""
    with desk.store.reading() as connection:
        signed = [task for task in tasks(connection) if task.state == "signed"]
        states = {task.task_id: desk.state(connection, task) for task in signed}
        opened = {
            task.task_id: list(fold(read_events(connection, task.task_id)[:1]).findings.values())
            for task in signed
            if task.kind in ("read", "single")
        }
    tables: dict[str, tuple[dict[str, Column], list[dict[str, Any]]]] = {
        "reads": (READS_COLUMNS, [_read_row(task, states[task.task_id]) for task in signed]),
        "agreement": (AGREEMENT_COLUMNS, _agreement_rows(desk, signed, states)),
        "against_automatic": (AUTOMATIC_COLUMNS, _automatic_rows(signed, states, opened)),
        "turnaround": (TURNAROUND_COLUMNS, [vars(line) for line in backlog(desk)]),
    }
    written = []
    for name, (columns, rows) in tables.items():
        path = folder / f"{name}.tsv"
        write_table(path, columns, rows)
        written.append(path)
    return written


def _read_row(task: Task, state: ReadState) -> dict[str, Any]:
    found = list(state.findings.values())
    counts = {kind: sum(is_active(finding, kind) for finding in found) for kind in KINDS}
    out = state.parts
    return {
        "participant_id": task.participant_id,
        "session_id": task.session_id,
        "reader": task.reader,
        "kind": task.kind,
        "state": task.state,
        "gel_count": None if "gel" in out else counts["gel"],
        "t2_active_count": None if "t2_change" in out else counts["t2"],
        "not_evaluable": ";".join(f"{part}={reason}" for part, reason in sorted(out.items())),
    }


def _agreement_rows(
    desk: Desk, signed: Sequence[Task], states: Mapping[str, ReadState]
) -> list[dict[str, Any]]:
    rows = []
    for name, pairs in (
        ("between_readers", _between(signed)),
        ("within_reader", _pairs(signed, "re_read", same_reader=True)),
        ("with_adjudication", _pairs(signed, "adjudication", same_reader=False)),
    ):
        compared: dict[str, list[Comparison]] = {}
        for first, second in pairs:
            grid = desk.visit(first.visit).grid
            assert grid is not None
            comparison = compare_reads(states[first.task_id], states[second.task_id], grid)
            compared.setdefault("all", []).append(comparison)
            readers = "+".join(dict.fromkeys((first.reader, second.reader)))
            compared.setdefault(readers, []).append(comparison)
        for readers, comparisons in compared.items():
            rows += [_agreement_row(name, readers, kind, comparisons) for kind in KINDS]
    return rows


def _between(signed: Sequence[Task]) -> Iterator[tuple[Task, Task]]:
    """Yield the two reads of every visit, in order of the readers' names."""
    by_visit: dict[tuple[str, str], list[Task]] = {}
    for task in signed:
        if task.kind == "read":
            by_visit.setdefault(task.visit, []).append(task)
    for visit in sorted(by_visit):
        if len(by_visit[visit]) == 2:
            first, second = sorted(by_visit[visit], key=lambda task: task.reader)
            yield first, second


def _pairs(signed: Sequence[Task], kind: str, *, same_reader: bool) -> Iterator[tuple[Task, Task]]:
    """Yield every read with the later read of the visit of a kind."""
    for other in signed:
        for task in signed:
            fits = other.kind == kind and task.kind == "read" and task.visit == other.visit
            if fits and (task.reader == other.reader or not same_reader):
                yield task, other


def _agreement_row(name: str, readers: str, kind: str, compared: Sequence[Comparison]) -> dict[str, Any]:
    agreement = finding_agreement(compared, kind)
    first = [sum(is_active(unit.first, kind) for unit in c.units) for c in compared if kind not in c.parts]
    second = [sum(is_active(unit.second, kind) for unit in c.units) for c in compared if kind not in c.parts]
    return {
        "comparison": name,
        "readers": readers,
        "kind": kind,
        **vars(agreement),
        "weighted_kappa": weighted_kappa(first, second),
    }


def _automatic_rows(
    signed: Sequence[Task],
    states: Mapping[str, ReadState],
    opened: Mapping[str, Sequence[Finding]],
) -> list[dict[str, Any]]:
    rows = []
    for name in sorted({task.reader for task in signed if task.task_id in opened}):
        own = [task for task in signed if task.reader == name and task.task_id in opened]
        reads = [(opened[task.task_id], list(states[task.task_id].findings.values())) for task in own]
        for kind in KINDS:
            compared = against_automatic(reads, kind)
            rows.append(
                {
                    "reader": name,
                    "kind": kind,
                    **vars(compared),
                    "sensitivity": compared.sensitivity,
                    "false_per_visit": compared.false_per_visit,
                }
            )
    return rows
