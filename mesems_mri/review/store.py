"""Database of the reading: created, opened, events added."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from mesems_mri.dataset import audit
from mesems_mri.dataset.database import Database, now
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import MesemsError, UsageError
from mesems_mri.review import schema
from mesems_mri.review.events import Event
from mesems_mri.review.progress import TaskKind
from mesems_mri.review.state import ReadState

MODES = ("assisted", "unassisted_then_assisted")


class StaleError(MesemsError):
    """The read has changed since the page was loaded; nothing was stored.

    Parameters
    ----------
    revision : int
        Present revision.
    """

    def __init__(self, revision: int) -> None:
        super().__init__("this visit was changed in another window; load it again")
        self.revision = revision


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """Settings of a reading.

    Parameters
    ----------
    study_id : str
    out_dir : Path
        Output folder of the run.
    mode : str
        One of `MODES`.
    order_hidden : bool
        Readers do not see the place of a visit in time, nor the prior visit.
    seed : int
        Of assignment and order.
    re_read_percent : int
    single : bool
        One user without accounts.
    """

    study_id: str
    out_dir: Path
    mode: str = "assisted"
    order_hidden: bool = False
    seed: int = 0
    re_read_percent: int = 10
    single: bool = False

    @property
    def layout(self) -> Layout:
        """Names in the output folder."""
        return Layout(self.out_dir)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One read of one visit by one reader, as the database has it.

    Parameters
    ----------
    task_id, participant_id, session_id, reader, kind, label : str
    position, revision, undecided, total : int
    state, stage : str
    """

    task_id: str
    participant_id: str
    session_id: str
    reader: str
    kind: TaskKind
    position: int
    label: str
    revision: int
    state: str
    stage: str
    undecided: int
    total: int
    opened_at: str | None
    signed_at: str | None

    @property
    def visit(self) -> tuple[str, str]:
        """Participant and session."""
        return self.participant_id, self.session_id


class ReadingStore(Database):
    """An open database of a reading."""

    def create(self, settings: ReadingSettings, by: str) -> None:
        """Make the tables of a reading.

        Raises
        ------
        UsageError
            If there are some already, or the database cannot be reached.
        """
        self.make_file()
        with self.explained(), self.writing() as connection:
            if _has_tables(connection):
                msg = f"{self.shown}: is a reading already; go on with mesems-mri review user add"
                raise UsageError(msg)
            schema.metadata.create_all(connection)
            values = vars(settings) | {
                "reading_id": 1,
                "database_version": schema.DATABASE_VERSION,
                "out_dir": str(settings.out_dir.resolve()),
                "created_at": now(),
            }
            connection.execute(insert(schema.reading).values(values))
            details = {"mode": settings.mode, "order_hidden": settings.order_hidden, "seed": settings.seed}
            audit.append(connection, now(), by, "reading.created", settings.study_id, details)

    def exists(self) -> bool:
        """Return whether there are tables of a reading."""
        with self.explained(), self.engine.connect() as connection:
            return _has_tables(connection)

    def settings(self) -> ReadingSettings:
        """Return the settings of the reading.

        Raises
        ------
        UsageError
            If it is no database of ours, or cannot be reached.
        DatasetError
            If its tables are of another version.
        """
        with self.explained(), self.engine.connect() as connection:
            if not _has_tables(connection):
                msg = f"{self.shown}: is no reading; make one with mesems-mri review init"
                raise UsageError(msg)
            row = connection.execute(select(schema.reading)).one()
        self.check_version(row.database_version, schema.DATABASE_VERSION)
        return ReadingSettings(
            study_id=row.study_id,
            out_dir=Path(row.out_dir),
            mode=row.mode,
            order_hidden=row.order_hidden,
            seed=row.seed,
            re_read_percent=row.re_read_percent,
            single=row.single,
        )


def add_task(
    connection: Connection,
    visit: tuple[str, str],
    reader: str,
    kind: TaskKind,
    *,
    position: int,
    label: str,
    stage: str,
    by: str,
) -> str:
    """Give a reader a visit to read; return the number of the task, which tells nothing of the visit."""
    task_id = secrets.token_hex(12)
    connection.execute(
        insert(schema.task).values(
            task_id=task_id,
            participant_id=visit[0],
            session_id=visit[1],
            reader=reader,
            kind=kind,
            position=position,
            label=label,
            assigned_at=now(),
            revision=0,
            state="open",
            stage=stage,
            undecided=0,
            total=0,
        )
    )
    details = {"visit": "/".join(visit), "reader": reader, "kind": kind}
    audit.append(connection, now(), by, "task.assigned", task_id, details)
    return task_id


def tasks(connection: Connection, **wanted: Any) -> list[Task]:
    """List tasks in the order of reading; `wanted` are values of columns."""
    names = list(Task.__dataclass_fields__)
    query = select(*(schema.task.c[name] for name in names)).order_by(
        schema.task.c.reader, schema.task.c.position
    )
    for column, value in wanted.items():
        query = query.where(schema.task.c[column] == value)
    return [Task(**row) for row in connection.execute(query).mappings()]


def find_task(connection: Connection, task_id: str) -> Task | None:
    """Return a task, None if there is no such."""
    return next(iter(tasks(connection, task_id=task_id)), None)


def read_events(connection: Connection, task_id: str, *, after: int = 0) -> list[Event]:
    """Read the events of a task after a revision, in order."""
    query = (
        select(schema.event.c.content)
        .where(schema.event.c.task_id == task_id, schema.event.c.revision > after)
        .order_by(schema.event.c.revision)
    )
    return [Event.from_json(json.loads(content)) for content in connection.execute(query).scalars()]


def add_event(connection: Connection, task_id: str, event: Event, state: ReadState) -> None:
    """Add an event to a task, and to the trail; the caller holds the only writing transaction.

    Parameters
    ----------
    connection : Connection
    task_id : str
    event : Event
    state : ReadState
        After the event, for the lists.

    Raises
    ------
    StaleError
        If the task has another revision than the event follows.
    """
    query = select(schema.task.c.revision).where(schema.task.c.task_id == task_id)
    present = connection.execute(query).scalar_one()
    if event.revision != present + 1:
        raise StaleError(present)
    content = json.dumps(event.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(content.encode()).hexdigest()
    connection.execute(
        insert(schema.event).values(
            task_id=task_id,
            revision=event.revision,
            at=event.at,
            actor=event.actor,
            act=str(event.act),
            content=content,
            sha256=digest,
        )
    )
    times: dict[str, str | None] = {"signed_at": event.at if state.signed else None}
    if event.revision == 1:
        times["opened_at"] = event.at
    connection.execute(
        update(schema.task)
        .where(schema.task.c.task_id == task_id)
        .values(
            revision=event.revision,
            state=state.state,
            stage=state.stage,
            undecided=state.undecided,
            total=len(state.needed),
            **times,
        )
    )
    details = {"revision": event.revision, "sha256": digest}
    signature = {name: event.details[name] for name in ("meaning",) if name in event.details}
    audit.append(connection, event.at, event.actor, f"read.{event.act}", task_id, details | signature)


def verify(connection: Connection, known: audit.AuditHead | None = None) -> list[str]:
    """Check the trail, and every event and lock against its entry in the trail.

    Parameters
    ----------
    connection : Connection
    known : AuditHead, optional
        An entry that was noted earlier.

    Returns
    -------
    list of str
        Faults, one sentence each; empty when nothing was changed.
    """
    wrong = audit.verify(connection, known)
    entries = _sealed(connection)
    stored: dict[tuple[str, int], str] = {}
    for row in connection.execute(select(schema.event).order_by(schema.event.c.task_id)).mappings():
        key = (row["task_id"], row["revision"])
        stored[key] = row["sha256"]
        event = json.loads(row["content"])
        if hashlib.sha256(row["content"].encode()).hexdigest() != row["sha256"]:
            wrong.append(f"event {key[1]} of task {key[0]}: was changed after it was written")
        elif any(event[name] != row[name] for name in ("at", "actor", "act", "revision")):
            wrong.append(f"event {key[1]} of task {key[0]}: its columns are not those of its content")
    wrong += _compared(stored, entries, "event")
    locks = {
        (f"{row.participant_id}/{row.session_id}", row.version): row.sha256
        for row in connection.execute(select(schema.lock))
    }
    return [*wrong, *_compared(locks, _sealed(connection, "lock"), "lock")]


def _sealed(connection: Connection, kind: str = "event") -> dict[tuple[str, int], str]:
    """Return the hashes that the trail has of the events, or of the locks."""
    found = {}
    query = select(schema.audit.c.subject, schema.audit.c.details, schema.audit.c.action)
    for subject, details, action in connection.execute(query):
        content = json.loads(details)
        if kind == "event" and action.startswith("read.") and "revision" in content:
            found[subject, content["revision"]] = content["sha256"]
        elif kind == "lock" and action == "visit.locked":
            found[subject, content["version"]] = content["sha256"]
    return found


def _compared(
    stored: Mapping[tuple[str, int], str], entries: Mapping[tuple[str, int], str], what: str
) -> Iterable[str]:
    for key in sorted({*stored, *entries}):
        name = f"{what} {key[1]} of {key[0]}"
        if key not in stored:
            yield f"{name}: stands in the trail and is gone"
        elif key not in entries:
            yield f"{name}: does not stand in the trail"
        elif stored[key] != entries[key]:
            yield f"{name}: is not the one that the trail holds"


def _has_tables(connection: Connection) -> bool:
    return connection.dialect.has_table(connection, schema.reading.name)
