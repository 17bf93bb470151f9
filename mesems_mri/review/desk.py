"""The desk of the readers: tasks opened and shown, acts turned into events and stored."""

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from mesems_mri.dataset.database import now
from mesems_mri.dataset.reads import update_tables, write_read
from mesems_mri.errors import MesemsError
from mesems_mri.review import actions
from mesems_mri.review.adjudication import adjudicated_findings
from mesems_mri.review.carry import carry_over
from mesems_mri.review.events import Act, Change, Event, Json
from mesems_mri.review.locks import held_version
from mesems_mri.review.masks import Crop, Runs, checked_runs
from mesems_mri.review.matching import Comparison, compare_reads
from mesems_mri.review.pictures import (
    crop_of,
    segmentation_bytes,
    segmentation_sha,
)
from mesems_mri.review.previews import Previews
from mesems_mri.review.publish import make_read, write_masks
from mesems_mri.review.state import Finding, Kind, ReadState, apply, difference, fold
from mesems_mri.review.store import ReadingStore, StaleError, Task, add_event, find_task, read_events, tasks
from mesems_mri.review.view import answer
from mesems_mri.review.visit import FoundVisit
from mesems_mri.review.visits import FoundVisits

_KEPT_STATES = 2000
_KEPT_SEGMENTATIONS = 16


class ClosedError(MesemsError):
    """The read is signed or the visit locked: nothing of it can be changed."""


class Desk(FoundVisits):
    """Reads of one reading: opened, shown, changed.

    Parameters
    ----------
    store : ReadingStore
    """

    def __init__(self, store: ReadingStore) -> None:
        super().__init__(store.settings())
        self.store = store
        self._states: OrderedDict[str, ReadState] = OrderedDict()
        self.previews = Previews(self.gallery)
        self._segmentations: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._preparing = threading.Lock()

    # states

    def state(self, connection: Connection, task: Task) -> ReadState:
        """Return the present state of a read; only the events since the last time are read."""
        with self._lock:
            known = self._states.get(task.task_id) or self.begin(task)
        if known.revision > task.revision:  # the database was put back
            known = self.begin(task)
        if known.revision < task.revision:
            known = fold(read_events(connection, task.task_id, after=known.revision), known)
            self._remember(task.task_id, known)
        return known

    def begin(self, task: Task) -> ReadState:
        """Return the state of a read before its first event."""
        if task.kind == "adjudication":
            return ReadState(stage="adjudication")
        return ReadState(stage="unassisted" if self._unassisted else "assisted")

    @property
    def _unassisted(self) -> bool:
        return self.settings.mode == "unassisted_then_assisted"

    def _remember(self, task_id: str, state: ReadState) -> None:
        with self._lock:
            self._states[task_id] = state
            self._states.move_to_end(task_id)
            while len(self._states) > _KEPT_STATES:
                self._states.popitem(last=False)

    def opened(self, task_id: str, actor: str) -> tuple[Task, ReadState]:
        """Return a task and its state; it is opened, or carried over a rerun, when that is due.

        Raises
        ------
        KeyError
            If there is no such task.
        """
        with self.store.reading() as connection:
            task = find_task(connection, task_id)
            if task is None:
                raise KeyError(task_id)
            state = self.state(connection, task)
            closed = state.signed or held_version(connection, task.visit) is not None
        visit = self.visit(task.visit)
        if state.revision == 0:
            return self.store_event(task, actor, Act.OPEN, lambda _: self._opening(task, visit, state), {})
        outdated = state.basis != visit.basis and task.kind != "adjudication"
        if outdated and (not closed or self.settings.single):
            return self.store_event(task, actor, Act.RERUN, lambda now_: self._rerun(visit, now_), {})
        return task, state

    def _opening(self, task: Task, visit: FoundVisit, state: ReadState) -> Change:
        crop = crop_of(self.layout, visit)
        findings: list[Finding] = []
        parts: dict[str, str | None] = {}
        if task.kind == "adjudication":
            compared, parts = self.compared(task.visit)
            findings = adjudicated_findings(compared)
        elif state.stage == "assisted":
            findings = self.made(visit)
        return Change(
            findings={finding.finding_id: finding.to_json() for finding in findings},
            parts=parts,
            read={"basis": visit.basis, "crop": [list(crop.start), list(crop.stop)]},
        )

    def prepare(self, task_id: str) -> None:
        """Make findings and images of a task before it is opened, so that the page need not wait."""
        with self.store.reading() as connection:
            task = find_task(connection, task_id)
            state = self.state(connection, task) if task else None
        if task is None or state is None:
            return
        with self._preparing:  # one at a time: whoever decides goes first
            visit = self.visit(task.visit)
            if state.revision == 0 and task.kind != "adjudication":
                self.made(visit)
            crop = self.crop(state, visit)
            for picture in self.pictures(visit).values():
                self.gallery.file(picture, visit, crop)

    def _rerun(self, visit: FoundVisit, state: ReadState) -> Change:
        assert visit.grid is not None
        crop = crop_of(self.layout, visit)
        change = Change()
        if state.stage == "assisted":
            change = carry_over(state, self.made(visit), visit.grid)
        read = {
            "basis": visit.basis,
            "signed": False,
            "crop": [list(crop.start), list(crop.stop)],
        }
        return replace(change, read=read)

    def _assist(self, visit: FoundVisit, state: ReadState) -> Change:
        """Show the candidates after a first read; what the reader had added goes into what it matches."""
        assert visit.grid is not None
        change = carry_over(state, self.made(visit), visit.grid)
        return replace(change, read={"stage": "assisted", "signed": False, "basis": visit.basis})

    def compared(self, key: tuple[str, str]) -> tuple[Comparison, dict[str, str | None]]:
        """Compare the two signed reads of a visit; also the parts that both found not evaluable.

        Raises
        ------
        ClosedError
            If two reads are not signed yet.
        """
        with self.store.reading() as connection:
            reads = self.signed_reads(connection, key)
        if len(reads) < 2:
            msg = "two signed reads of this visit are needed before they can be compared"
            raise ClosedError(msg)
        (_, first), (_, second) = reads[:2]
        grid = self.visit(key).grid
        assert grid is not None
        parts = {part: first.parts[part] for part in first.parts.keys() & second.parts.keys()}
        return compare_reads(first, second, grid), dict(sorted(parts.items()))

    def signed_reads(self, connection: Connection, key: tuple[str, str]) -> list[tuple[Task, ReadState]]:
        """Return the signed reads of a visit in the order in which they are called A and B."""
        found = tasks(connection, participant_id=key[0], session_id=key[1], kind="read")
        drawn = random.Random(f"{self.settings.seed}/{key[0]}/{key[1]}")
        drawn.shuffle(found)
        return [(task, self.state(connection, task)) for task in found if task.state == "signed"]

    def part_reads(self, key: tuple[str, str]) -> list[dict[str, Any]]:
        """List the parts that either reader found not evaluable."""
        with self.store.reading() as connection:
            reads = self.signed_reads(connection, key)[:2]
        return [
            {"reader": letter, "part": part, "reason": reason}
            for letter, (_, state) in zip("AB", reads, strict=False)
            for part, reason in state.parts.items()
        ]

    # acts

    def act(self, task_id: str, actor: str, revision: int, act: Act, given: Json) -> dict[str, Any]:
        """Do an act that a page asks for, and return what has changed.

        Raises
        ------
        KeyError
            If there is no such task.
        StaleError
            If the read has another revision.
        ClosedError
            If the read is signed or the visit locked.
        ActError
            If the present state does not allow it.
        """
        with self.store.reading() as connection:
            found = find_task(connection, task_id)
        if found is None:
            raise KeyError(task_id)
        task = found
        if task.revision != revision:
            raise StaleError(task.revision)
        visit = self.visit(task.visit)
        details: dict[str, Any] = {}
        if act is Act.SIGN:
            details["meaning"] = given["meaning"]

        def change(state: ReadState) -> Change:
            return self._change(task, visit, state, act, given, details)

        before = self._present(task)
        task, after = self.store_event(task, actor, act, change, details)
        if act is Act.SIGN and before.stage == "unassisted":
            task, after = self.store_event(
                replace(task, revision=after.revision),
                actor,
                Act.ASSIST,
                lambda state: self._assist(visit, state),
                {},
            )
        elif act is Act.SIGN and self.settings.single:
            self.publish(visit, after)
        return self._answer(task_id, before, after)

    def _present(self, task: Task) -> ReadState:
        with self.store.reading() as connection:
            return self.state(connection, task)

    def store_event(
        self,
        task: Task,
        actor: str,
        act: Act,
        change: Callable[[ReadState], Change],
        details: Mapping[str, Any],
    ) -> tuple[Task, ReadState]:
        """Store an event.

        Parameters
        ----------
        task : Task
            As it was when the event was asked for.
        actor : str
        act : Act
        change : function
            Makes the change from the state, inside the writing transaction.
        details : mapping

        Raises
        ------
        StaleError
            If the read has another revision by now.
        ClosedError
            If the read is signed or the visit locked.
        """
        with self.store.writing() as connection:
            present = find_task(connection, task.task_id)
            assert present is not None
            if present.revision != task.revision:
                if act in (Act.OPEN, Act.RERUN):  # another window was faster, which is as good
                    return present, self.state(connection, present)
                raise StaleError(present.revision)
            state = self.state(connection, present)
            if act not in (Act.OPEN, Act.ASSIST, Act.RERUN, Act.REOPEN):
                self._refuse_closed(connection, present, state)
            after = change(state)
            if self.settings.single and state.signed and "signed" not in after.read:
                after = replace(after, read={**after.read, "signed": False})
            event = Event(
                revision=state.revision + 1,
                at=now(),
                actor=actor,
                act=act,
                before=difference(state, after),
                after=after,
                details=details,
            )
            following = apply(state, event)
            add_event(connection, task.task_id, event, following)
        self._remember(task.task_id, following)
        return replace(present, revision=following.revision), following

    def _refuse_closed(self, connection: Connection, task: Task, state: ReadState) -> None:
        if held_version(connection, task.visit) is not None:
            msg = "this visit is locked; ask the manager"
            raise ClosedError(msg)
        if state.signed and not self.settings.single:
            msg = "this read is signed and cannot be changed any more; ask the manager"
            raise ClosedError(msg)

    def _change(
        self,
        task: Task,
        visit: FoundVisit,
        state: ReadState,
        act: Act,
        given: Json,
        details: dict[str, Any],
    ) -> Change:
        place = self.place(visit)
        if act is Act.DECIDE:
            return actions.decide(
                state,
                given["finding_id"],
                given["decision"],
                t2_status=given.get("t2_status"),
                gd_status=given.get("gd_status"),
            )
        if act is Act.COMMENT:
            return actions.comment(state, given["finding_id"], given["code"])
        if act is Act.ADD:
            preview = self.previews.taken(task.task_id, given["preview_id"], given["kind"])
            return actions.add(
                state,
                place,
                preview.runs,
                preview.kind,
                t2_status=given.get("t2_status"),
                gd_status=given.get("gd_status"),
            )
        if act is Act.EDIT:
            runs = self._whole(state, visit, given["voxels"])
            return actions.edit(state, place, given["finding_id"], runs)
        if act is Act.MERGE:
            return actions.merge(state, place, given["finding_ids"])
        if act is Act.SPLIT:
            return actions.split(state, place, given["finding_id"])
        if act is Act.NOT_EVALUABLE:
            return actions.not_evaluable(given["part"], given["reason"])
        if act is Act.UNDO:
            if not state.undoable:
                msg = "there is nothing left to undo"
                raise actions.ActError(msg)
            details["undoes"] = state.undoable[-1]
            return self._event(task, state.undoable[-1]).before
        if act is Act.SIGN:
            actions.ready_to_sign(state)
            details["stage"] = state.stage
            return Change(read={"signed": state.stage != "unassisted"})
        msg = f"act must be one that a reader does, got {str(act)!r}"
        raise actions.ActError(msg)

    def _event(self, task: Task, revision: int) -> Event:
        with self.store.reading() as connection:
            return read_events(connection, task.task_id, after=revision - 1)[0]

    def _whole(self, state: ReadState, visit: FoundVisit, runs: Any) -> Runs:
        crop = self.crop(state, visit)
        try:
            return crop.to_whole(checked_runs(runs, crop.inner))
        except ValueError as error:
            raise actions.ActError(str(error)) from error

    def publish(self, visit: FoundVisit, state: ReadState) -> None:
        """Put a read of the single user into the tables."""
        read, outcome = make_read(self.layout, visit, state, "read")
        write_masks(self.layout, visit, read, outcome)
        write_read(self.layout, *visit.key, read)
        update_tables(self.layout, [visit.participant_id])

    # what the page gets

    def crop(self, state: ReadState, visit: FoundVisit) -> Crop:
        """Return the part of the grid that the page of a read shows."""
        assert visit.grid is not None
        if not state.crop:
            return crop_of(self.layout, visit)
        return Crop(visit.grid.shape, state.crop[0], state.crop[1])

    def grow(self, task_id: str, actor: str, kind: Kind, at: tuple[int, int, int]) -> dict[str, Any]:
        """Grow a finding from a voxel of the page; nothing is stored but the outline to be taken.

        Raises
        ------
        KeyError
            If there is no such task.
        ActError
            If the voxel lies outside.
        """
        task, state = self.opened(task_id, actor)
        visit = self.visit(task.visit)
        return self.previews.grow(task_id, visit, self.crop(state, visit), kind, at)

    def picture(self, task_id: str, actor: str, name: str) -> Path:
        """Return the file of an image of a task.

        Raises
        ------
        KeyError
            If there is no such task or image.
        """
        task, state = self.opened(task_id, actor)
        visit = self.visit(task.visit)
        return self.gallery.file(self.pictures(visit)[name], visit, self.crop(state, visit))

    def segmentation(self, task_id: str, actor: str) -> bytes:
        """Return the present segmentation of a task as gzip NIfTI.

        Raises
        ------
        KeyError
            If there is no such task.
        """
        task, state = self.opened(task_id, actor)
        sha = segmentation_sha(state)
        with self._lock:
            known = self._segmentations.get(sha)
        if known is None:
            visit = self.visit(task.visit)
            known = segmentation_bytes(state, visit, self.crop(state, visit))
            with self._lock:
                self._segmentations[sha] = known
                while len(self._segmentations) > _KEPT_SEGMENTATIONS:
                    self._segmentations.popitem(last=False)
        return known

    def _answer(self, task_id: str, before: ReadState, after: ReadState) -> dict[str, Any]:
        with self.store.reading() as connection:
            task = find_task(connection, task_id)
        assert task is not None
        visit = self.visit(task.visit)
        return answer(task, visit, self.crop(after, visit), before, after)
