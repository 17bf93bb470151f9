"""Work of the manager of a reading: visits assigned, compared, adjudicated, locked and unlocked."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from mesems_mri.dataset import audit
from mesems_mri.dataset.database import now
from mesems_mri.dataset.reads import PublishedRead, published_read, update_tables, would_change, write_read
from mesems_mri.errors import UsageError
from mesems_mri.review.accounts import SINGLE, ReaderRole, names_of, role_of
from mesems_mri.review.desk import Desk
from mesems_mri.review.events import MEANINGS, Act, Change
from mesems_mri.review.locks import add_lock, confirm_unlock, held_locks, last_version
from mesems_mri.review.progress import Assignment, VisitStage, assign_reads, visit_stage
from mesems_mri.review.publish import check_version, make_read, restore, withdraw, write_masks
from mesems_mri.review.state import ReadState, fold
from mesems_mri.review.store import Task, add_task, read_events, tasks
from mesems_mri.review.visit import list_visits

Visit = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class VisitStatus:
    """Stage of a visit.

    Parameters
    ----------
    visit : (str, str)
    stage : VisitStage
    readers : tuple of str
        Readers and adjudicator, each with the state of the task.
    version : int or None
        Of the lock.
    would_change : mapping of str to (value, value)
        Automatic results that a rerun would change of a locked visit, then and now.
    outdated : bool
        Signed on an earlier run, which found something else, and not locked.
    """

    visit: Visit
    stage: VisitStage
    readers: tuple[str, ...]
    version: int | None
    would_change: Mapping[str, tuple[Any, Any]]
    outdated: bool


def assign(desk: Desk, readers: Sequence[str] | None, by: str) -> list[Assignment]:
    """Assign all visits that have no readers yet, and the planned re-reads.

    Raises
    ------
    UsageError
        If there are fewer than two readers, or one of them is none.
    """
    settings = desk.settings
    with desk.store.writing() as connection:
        people = list(readers) if readers else names_of(connection, ReaderRole.READER)
        for name in people:
            if role_of(connection, name) is not ReaderRole.READER:
                msg = f"assign: {name} is no reader; add one with mesems-mri review user add"
                raise UsageError(msg)
        there = tasks(connection)
        known = [Assignment(t.reader, *t.visit, t.kind) for t in there if t.kind in ("read", "re_read")]
        visits = list_visits(desk.layout)
        made = assign_reads(
            visits,
            people,
            seed=settings.seed,
            re_read_share=settings.re_read_percent / 100,
            known=known,
            order_hidden=settings.order_hidden,
        )
        _add_tasks(connection, desk, made, visits, there, by)
    return made


def _add_tasks(
    connection: Connection,
    desk: Desk,
    made: Iterable[Assignment],
    visits: Sequence[Visit],
    there: Iterable[Task],
    by: str,
) -> None:
    """Add tasks with blinded labels: a number of each reader's own for a participant, and the scan."""
    place = {visit: sum(other[0] == visit[0] for other in visits[:n]) + 1 for n, visit in enumerate(visits)}
    hidden = desk.settings.order_hidden
    stage = "unassisted" if desk.settings.mode == "unassisted_then_assisted" else "assisted"
    cases: dict[tuple[str, str, str], int] = {}
    position: Counter[str] = Counter()
    for task in there:
        number = int(task.label.split()[1].rstrip(","))
        # A re-read has a case of its own, so that nobody knows it again by its number.
        cases[_case(task.reader, task.visit, task.kind, hidden=hidden)] = number
        position[task.reader] = max(position[task.reader], task.position)
    for assignment in made:
        visit = (assignment.participant_id, assignment.session_id)
        key = _case(assignment.reader, visit, assignment.kind, hidden=hidden)
        taken = {number for (reader, *_), number in cases.items() if reader == assignment.reader}
        number = cases.setdefault(key, max(taken, default=0) + 1)
        label = f"Case {number:03}"
        if not hidden:
            label += f", scan {place[visit]}"
        position[assignment.reader] += 1
        add_task(
            connection,
            visit,
            assignment.reader,
            assignment.kind,
            position=position[assignment.reader],
            label=label,
            stage=stage,
            by=by,
        )


def _case(reader: str, visit: Visit, kind: str, *, hidden: bool) -> tuple[str, str, str]:
    """Return what has one case number: a participant, or a visit where nobody may know its participant."""
    return (reader, visit[0], "" if kind == "read" and not hidden else f"{kind}/{visit[1]}")


def make_single(desk: Desk) -> None:
    """Give the single user a task for every visit that has none."""
    with desk.store.writing() as connection:
        there = {task.visit for task in tasks(connection)}
        position = len(there)
        visits = list_visits(desk.layout)
        for participant, session in visits:
            if (participant, session) not in there:
                position += 1
                add_task(
                    connection,
                    (participant, session),
                    SINGLE,
                    "single",
                    position=position,
                    label=f"{participant} {session}",
                    stage="assisted",
                    by=SINGLE,
                )


def adjudicate(desk: Desk, adjudicators: Sequence[str] | None, by: str) -> list[Visit]:
    """Give every visit whose reads disagree to an adjudicator, who has read it neither time.

    Returns
    -------
    list of (str, str)
        Visits that were given to one.

    Raises
    ------
    UsageError
        If there is no adjudicator.
    """
    given = []
    with desk.store.reading() as connection:
        people = list(adjudicators) if adjudicators else names_of(connection, ReaderRole.ADJUDICATOR)
        for name in people:
            if role_of(connection, name) is not ReaderRole.ADJUDICATOR:
                msg = f"adjudicate: {name} is no adjudicator; add one with mesems-mri review user add"
                raise UsageError(msg)
        there = tasks(connection)
    wanted = [s.visit for s in visit_statuses(desk) if s.stage is VisitStage.READ_2]
    if wanted and not people:
        msg = "adjudicate: there is no adjudicator; add one with mesems-mri review user add"
        raise UsageError(msg)
    load = {name: sum(task.reader == name for task in there) for name in people}
    drawn = random.Random(f"{desk.settings.seed}/adjudication/{len(there)}")
    drawn.shuffle(wanted)
    with desk.store.writing() as connection:
        for visit in wanted:
            name = min(people, key=lambda person: (load[person], person))
            load[name] += 1
            add_task(
                connection,
                visit,
                name,
                "adjudication",
                position=load[name],
                label=f"Case {load[name]:03}",
                stage="adjudication",
                by=by,
            )
            given.append(visit)
    return given


def visit_statuses(desk: Desk) -> list[VisitStatus]:
    """Return the stage of every visit that can be read, in order of participant and time."""
    with desk.store.reading() as connection:
        by_visit: dict[Visit, list[Task]] = {}
        for task in tasks(connection):
            by_visit.setdefault(task.visit, []).append(task)
        locks = held_locks(connection)
    statuses = []
    for visit in list_visits(desk.layout):
        own = by_visit.get(visit, [])
        reads = [task.state == "signed" for task in own if task.kind in ("read", "single")]
        adjudication = [task.state == "signed" for task in own if task.kind == "adjudication"]
        concordant = None
        if len(reads) == 2 and all(reads) and not adjudication and visit not in locks:
            concordant = desk.compared(visit)[0].concordant
        version = locks[visit][0] if visit in locks else None
        statuses.append(
            VisitStatus(
                visit=visit,
                stage=visit_stage(
                    reads,
                    concordant=concordant,
                    adjudication_signed=adjudication[0] if adjudication else None,
                    locked=version is not None,
                ),
                readers=tuple(f"{task.reader} ({task.kind}: {task.state})" for task in own),
                version=version,
                would_change=_would_change(desk, visit) if version else {},
                outdated=version is None and _outdated(desk, visit, own),
            )
        )
    return statuses


def _outdated(desk: Desk, visit: Visit, own: Iterable[Task]) -> bool:
    signed = [task for task in own if task.state == "signed" and task.kind != "single"]
    if not signed:
        return False
    basis = desk.visit(visit).basis
    with desk.store.reading() as connection:
        return any(desk.state(connection, task).basis != basis for task in signed)


def _would_change(desk: Desk, visit: Visit) -> Mapping[str, tuple[Any, Any]]:
    read = published_read(desk.layout, *visit)
    return would_change(read, desk.visit(visit).metrics) if read else {}


def deciding_read(desk: Desk, visit: Visit) -> tuple[ReadState, str]:
    """Return the read that a lock would freeze, and its actor: the adjudication, else a concordant read.

    Raises
    ------
    UsageError
        If the visit is neither concordant nor adjudicated.
    """
    name = "/".join(visit)
    with desk.store.reading() as connection:
        own = tasks(connection, participant_id=visit[0], session_id=visit[1])
        reads = desk.signed_reads(connection, visit)
        decided = [t for t in own if t.kind == "adjudication"]
        if decided and decided[0].state == "signed":
            return desk.state(connection, decided[0]), decided[0].reader
    if decided:
        msg = (
            f"lock {name}: is in adjudication by {decided[0].reader}, who has not signed; lock it afterwards"
        )
        raise UsageError(msg)
    if len(reads) < 2:
        msg = f"lock {name}: {len(reads)} of 2 reads are signed; lock it when both are"
        raise UsageError(msg)
    if not desk.compared(visit)[0].concordant:
        msg = f"lock {name}: the two reads disagree; run mesems-mri review adjudicate first"
        raise UsageError(msg)
    # Both agree on every count; the outlines are those of reader A.
    return reads[0][1], reads[0][0].reader


def lock_visit(desk: Desk, visit: Visit, actor: str) -> PublishedRead:
    """Lock a visit: its read is frozen, hashed, and stands in the tables from now on.

    Raises
    ------
    UsageError
        If it is locked already, or neither concordant nor adjudicated.
    DatasetError
        If the run found something else since it was read.
    """
    state, _ = deciding_read(desk, visit)
    found = desk.visit(visit)
    with desk.store.reading() as connection:
        version = last_version(connection, visit) + 1
        if visit in held_locks(connection):
            msg = f"lock {'/'.join(visit)}: is locked already (v{version - 1:03}); unlock it first"
            raise UsageError(msg)
    read, outcome = make_read(desk.layout, found, state, "locked", version)
    # The version is complete on disk before the database says that it holds.
    write_masks(desk.layout, found, read, outcome)
    write_read(desk.layout, *visit, read)
    with desk.store.writing() as connection:
        add_lock(
            connection,
            visit,
            version=version,
            actor=actor,
            meaning=MEANINGS["lock"],
            sha256=read.sha256,
            basis=found.basis,
        )
    update_tables(desk.layout, [visit[0]])
    return read


def unlock_visit(desk: Desk, visit: Visit, actor: str) -> int:
    """Confirm that a visit is unlocked; its read leaves the tables, its version stays on disk.

    Raises
    ------
    UsageError
        If it is not locked, nobody asked, or the one who asked confirms.
    """
    with desk.store.writing() as connection:
        version = confirm_unlock(connection, visit, actor=actor)
    withdraw(desk.layout, visit)
    update_tables(desk.layout, [visit[0]])
    return version


def reopen(desk: Desk, visit: Visit, by: str) -> None:
    """Give an unlocked visit to its adjudicator, or to its two readers, once more.

    Raises
    ------
    UsageError
        If it is locked.
    """
    with desk.store.reading() as connection:
        if visit in held_locks(connection):
            msg = f"reopen {'/'.join(visit)}: is locked; unlock it first"
            raise UsageError(msg)
        own = tasks(connection, participant_id=visit[0], session_id=visit[1])
    decided = [task for task in own if task.kind == "adjudication"]
    for task in decided or [task for task in own if task.kind == "read"]:
        if task.state == "signed":
            desk.store_event(task, by, Act.REOPEN, lambda _: Change(read={"signed": False}), {})


def put_right(desk: Desk) -> list[Visit]:
    """Publish again what is locked and does not stand in the tables, after a kill between the two.

    Returns
    -------
    list of (str, str)
    """
    with desk.store.reading() as connection:
        locks = held_locks(connection)
    changed = []
    for visit, (version, sha256, _) in locks.items():
        read = published_read(desk.layout, *visit)
        if read is None or read.sha256 != sha256:
            restore(desk.layout, desk.visit(visit), version)
            changed.append(visit)
    for path in desk.layout.reading.glob("sub-*/ses-*/read.json"):
        visit = (path.parent.parent.name, path.parent.name)
        read = published_read(desk.layout, *visit)
        if read and read.version and visit not in locks:
            withdraw(desk.layout, visit)
            changed.append(visit)
    if changed:
        update_tables(desk.layout, [participant for participant, _ in changed])
    return changed


def check_locks(desk: Desk) -> list[str]:
    """Check the files of all locked visits against the database; return the faults."""
    with desk.store.reading() as connection:
        locks = held_locks(connection)
    wrong = []
    for visit, (version, sha256, _) in sorted(locks.items()):
        wrong += check_version(desk.layout, visit, version, sha256)
        read = published_read(desk.layout, *visit)
        if read is None or read.sha256 != sha256:
            wrong.append(f"{'/'.join(visit)} v{version:03}: does not stand in the tables")
    return wrong


def check_tasks(desk: Desk) -> list[str]:
    """Check what the lists say of every task against its events; return the faults."""
    wrong = []
    with desk.store.reading() as connection:
        for task in tasks(connection):
            state = fold(read_events(connection, task.task_id), desk.begin(task))
            stored = (task.revision, task.state, task.stage)
            if stored != (state.revision, state.state, state.stage):
                wrong.append(f"task {task.task_id}: its state is not that of its events")
    return wrong


def note(desk: Desk, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
    """Write an entry of the trail."""
    with desk.store.writing() as connection:
        audit.append(connection, now(), actor, action, subject[:200], details)
