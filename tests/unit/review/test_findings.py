"""From what the run found to findings, and from a read to ledger and counts."""

from typing import Any

import numpy as np
import pytest

from mesems_mri.review import actions
from mesems_mri.review.events import Act, Change, Event
from mesems_mri.review.findings import open_findings
from mesems_mri.review.masks import Crop, checked_runs, mask_of, runs_of_mask, split_runs, volume_of
from mesems_mri.review.outcome import ADDED_FROM, History, outcome_of
from mesems_mri.review.state import Finding, ReadState, apply, difference, fold
from mesems_mri.review.visit import FoundVisit, load_dsegs, load_visit
from tests.unit.review.reading_study import HIDDEN, SHAPE, ReadingStudy, ball

COUNTS = ("gel_count", "gel_new_count", "gel_volume_mm3", "t2_new_count", "t2_lesion_count", "cua_count")


class Reading:
    """A read without a database: acts one after another."""

    def __init__(self, visit: FoundVisit, findings: list[Finding]) -> None:
        self.visit = visit
        self.events: list[Event] = []
        self.do(Act.OPEN, Change(findings={f.finding_id: f.to_json() for f in findings}))

    @property
    def state(self) -> ReadState:
        return fold(self.events)

    @property
    def place(self) -> actions.Place:
        assert self.visit.grid is not None
        return actions.Place(self.visit.grid, self.visit.planes)

    def do(self, act: Act, after: Change) -> None:
        before = difference(self.state, after)
        self.events.append(
            Event(revision=self.state.revision + 1, at="", actor="anna", act=act, before=before, after=after)
        )

    def undo(self) -> None:
        last = self.events[self.state.undoable[-1] - 1]
        self.do(Act.UNDO, last.before)

    def find(self, **wanted: Any) -> Finding:
        (found,) = [
            f for f in self.state.findings.values() if all(getattr(f, k) == v for k, v in wanted.items())
        ]
        return found

    def decide(self, finding: Finding, decision: str, **statuses: str) -> None:
        self.do(Act.DECIDE, actions.decide(self.state, finding.finding_id, decision, **statuses))

    def outcome(self, history: History | None = None):
        return outcome_of(self.visit, self.state, history or History(np.zeros(64000, bool)))


@pytest.fixture
def reading(study: ReadingStudy) -> Reading:
    visit = load_visit(study.layout, "sub-001", "ses-w04")
    return Reading(visit, open_findings(visit, load_dsegs(study.layout, visit)))


def test_findings_are_what_the_run_counted_and_offered(reading: Reading) -> None:
    found = list(reading.state.findings.values())
    assert [(f.kind, f.origin, f.t2_status, f.gd_status) for f in found] == [
        ("gel", "counted", None, "new"),
        ("t2", "counted", "new", None),
        ("gel", "offered", None, "enhancing"),
        ("t2", "offered", "new", None),
        ("t2", "counted", "stable", None),
        ("t2", "counted", "stable", None),
    ]
    assert [f.label for f in found] == list(range(1, 7))
    assert reading.state.undecided == 2


def test_accepting_all_changes_no_count(reading: Reading) -> None:
    for finding in reading.state.findings.values():
        if finding.origin == "counted":
            reading.decide(finding, "accepted")
    read = reading.outcome()
    assert {name: read.metrics[name] for name in COUNTS} == {n: reading.visit.metrics[n] for n in COUNTS}
    assert {row["decision"] for row in read.lesions} == {"accepted"}
    without = [{k: v for k, v in row.items() if k != "decision"} for row in read.lesions]
    assert without == [{k: v for k, v in row.items() if k != "decision"} for row in reading.visit.lesions]


def test_rejected_stays_in_the_ledger_and_counts_nowhere(reading: Reading) -> None:
    reading.decide(reading.find(kind="gel", origin="counted"), "rejected")
    read = reading.outcome()
    assert (read.metrics["gel_count"], read.metrics["cua_count"]) == (0, 1)
    (row,) = [row for row in read.lesions if row["focus"] == "gel"]
    assert (row["decision"], row["active"], row["lesion_id"]) == ("rejected", None, 4)
    assert not read.gel.any()
    (parent,) = [row for row in read.lesions if row["lesion_id"] == 2]
    assert parent["gd_status"] == "none"


def test_candidate_that_is_accepted_is_added(reading: Reading) -> None:
    reading.decide(reading.find(kind="gel", origin="offered"), "accepted", gd_status="new")
    reading.decide(reading.find(kind="t2", origin="offered"), "accepted")
    read = reading.outcome()
    assert (read.metrics["gel_count"], read.metrics["t2_new_count"], read.metrics["cua_count"]) == (2, 2, 4)
    added = [row for row in read.lesions if row["decision"] == "added"]
    assert {row["lesion_id"] >= ADDED_FROM for row in added} == {True}
    assert sorted(set(np.unique(read.gel)) - {0}) == [
        4,
        *(r["lesion_id"] for r in added if r["focus"] == "gel"),
    ]


def test_added_lesion_counts_and_has_a_place(reading: Reading) -> None:
    runs = runs_of_mask(ball(HIDDEN))
    reading.do(Act.ADD, actions.add(reading.state, reading.place, runs, "t2", t2_status="new"))
    read = reading.outcome()
    (row,) = [row for row in read.lesions if row["decision"] == "added"]
    assert (row["x"], row["y"], row["z"], row["volume_mm3"]) == (0.0, 0.0, 0.0, float(ball(HIDDEN).sum()))
    assert read.metrics["t2_new_count"] == 2
    reading.undo()
    assert reading.outcome().metrics["t2_new_count"] == 1


def test_status_decides_what_is_counted(reading: Reading) -> None:
    stable = reading.find(kind="t2", lesion_ids=(1,))
    reading.decide(stable, "accepted", t2_status="enlarging")
    reading.decide(reading.find(kind="gel", origin="counted"), "accepted", gd_status="persistent")
    read = reading.outcome()
    assert (read.metrics["t2_enlarging_count"], read.metrics["gel_persistent_count"]) == (1, 1)
    assert read.metrics["t2_enlarging_volume_mm3"] == stable.volume_mm3
    assert read.metrics["gel_new_count"] == 0


@pytest.mark.parametrize(
    ("reference", "earlier", "status"),
    [
        (False, False, "new"),
        (False, True, "re_enhancing"),
        (True, False, "persistent"),
        (True, True, "persistent"),
    ],
)
def test_enhancing_lesion_is_told_by_the_earlier_visits(
    reading: Reading, reference: bool, earlier: bool, status: str
) -> None:
    runs = runs_of_mask(ball(HIDDEN))
    reading.do(Act.ADD, actions.add(reading.state, reading.place, runs, "gel"))
    here = ball(HIDDEN).ravel()
    history = History(here if reference else here & False, here if earlier else here & False)
    (row,) = [row for row in reading.outcome(history).lesions if row["decision"] == "added"]
    assert row["gd_status"] == status


def test_edit_changes_volume_and_keeps_the_number(reading: Reading) -> None:
    gel = reading.find(kind="gel", origin="counted")
    smaller = runs_of_mask(ball((28, 28, 12), 1.5))
    reading.do(Act.EDIT, actions.edit(reading.state, reading.place, gel.finding_id, smaller))
    (row,) = [row for row in reading.outcome().lesions if row["focus"] == "gel"]
    assert (row["lesion_id"], row["decision"], row["volume_mm3"]) == (4, "edited", float(volume_of(smaller)))
    assert row["parent_lesion_id"] == 2


def test_merge_keeps_the_lowest_number_and_lists_the_other(reading: Reading) -> None:
    one, other = reading.find(lesion_ids=(2,)), reading.find(lesion_ids=(1,))
    reading.do(Act.MERGE, actions.merge(reading.state, reading.place, [one.finding_id, other.finding_id]))
    read = reading.outcome()
    (row,) = [row for row in read.lesions if row["lesion_id"] == 1]
    assert (row["merged_ids"], row["decision"]) == ("2", "edited")
    assert row["volume_mm3"] == one.volume_mm3 + other.volume_mm3
    assert read.metrics["t2_lesion_count"] == 2
    reading.undo()
    assert reading.outcome().metrics["t2_lesion_count"] == 3


def test_split_gives_a_new_number_and_its_parent(reading: Reading) -> None:
    gel = reading.find(kind="gel", origin="counted")
    reading.do(Act.SPLIT, actions.split(reading.state, reading.place, gel.finding_id))
    read = reading.outcome()
    assert read.metrics["gel_count"] == 2
    assert sum(row["volume_mm3"] for row in read.lesions if row["focus"] == "gel") == gel.volume_mm3
    t2 = reading.find(lesion_ids=(1,))
    reading.do(Act.SPLIT, actions.split(reading.state, reading.place, t2.finding_id))
    parts = [row for row in reading.outcome().lesions if row["parent_lesion_id"] == 1]
    assert [row["lesion_id"] >= ADDED_FROM for row in parts] == [True]


def test_part_that_is_not_evaluable_is_not_zero(reading: Reading) -> None:
    reading.do(Act.NOT_EVALUABLE, actions.not_evaluable("gel", "artefact"))
    read = reading.outcome()
    assert read.metrics["gel_count"] is None
    assert (read.metrics["gel_evaluable"], read.metrics["gel_reason"]) == (False, "artefact")
    assert (read.metrics["cua_count"], read.metrics["cua_reason"]) == (None, "artefact")
    assert read.metrics["t2_new_count"] == 1
    assert {row["focus"] for row in read.lesions} == {"t2"}
    assert {row["gd_status"] for row in read.lesions} == {"not_evaluable"}
    reading.do(Act.NOT_EVALUABLE, actions.not_evaluable("all", "wrong_head"))
    read = reading.outcome()
    assert [read.metrics[f"{part}_evaluable"] for part in ("gel", "t2", "t2_change", "cua")] == [False] * 4
    reading.undo()
    reading.undo()
    assert reading.outcome().metrics["gel_count"] == 1


def test_sign_waits_for_what_endpoints_count(reading: Reading) -> None:
    with pytest.raises(actions.ActError, match="2 findings are not decided"):
        actions.ready_to_sign(reading.state)
    for finding in reading.state.needed:
        reading.decide(finding, "unsure")
    actions.ready_to_sign(reading.state)


def test_undo_takes_back_any_act(reading: Reading) -> None:
    states = [reading.state]
    gel, new = reading.find(kind="gel", origin="counted"), reading.find(t2_status="new", origin="counted")
    for act, change in (
        (Act.DECIDE, lambda s: actions.decide(s, gel.finding_id, "rejected")),
        (Act.COMMENT, lambda s: actions.comment(s, gel.finding_id, "vessel")),
        (Act.SPLIT, lambda s: actions.split(s, reading.place, new.finding_id)),
        (Act.ADD, lambda s: actions.add(s, reading.place, ((5, 9),), "t2")),
        (Act.EDIT, lambda s: actions.edit(s, reading.place, new.finding_id, ((7, 3),))),
        (Act.NOT_EVALUABLE, lambda s: actions.not_evaluable("t2", "artefact")),
    ):
        reading.do(act, change(reading.state))
        states.append(reading.state)
    for earlier in reversed(states[:-1]):
        reading.undo()
        assert reading.state.findings == earlier.findings
        assert reading.state.parts == earlier.parts
    assert not reading.state.undoable


def test_events_are_folded_as_they_were_written(reading: Reading) -> None:
    reading.decide(reading.find(kind="gel", origin="counted"), "rejected")
    again = [Event.from_json(event.to_json()) for event in reading.events]
    assert fold(again) == reading.state
    with pytest.raises(ValueError, match="does not follow"):
        apply(reading.state, again[0])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda s, p: actions.decide(s, "f99", "accepted"), "no finding 'f99'"),
        (lambda s, p: actions.decide(s, "f1", "maybe"), "decision must be one of"),
        (lambda s, p: actions.decide(s, "f1", "accepted", t2_status="new"), "t2_status of a gel finding"),
        (lambda s, p: actions.comment(s, "f1", "<script>"), "comment must be one of"),
        (lambda s, p: actions.merge(s, p, ["f1", "f2"]), "two findings of one kind"),
        (lambda s, p: actions.merge(s, p, ["f1", "f1"]), "two findings of one kind"),
        (lambda s, p: actions.not_evaluable("brain", "artefact"), "part must be"),
        (lambda s, p: actions.not_evaluable("gel", "tired"), "reason must be"),
    ],
)
def test_act_that_makes_no_sense_is_refused(reading: Reading, act: Any, words: str) -> None:
    with pytest.raises(actions.ActError, match=words):
        act(reading.state, reading.place)


def test_runs_are_checked_and_moved_between_grids() -> None:
    mask = ball(HIDDEN)
    runs = runs_of_mask(mask)
    assert (mask_of(runs, SHAPE) == mask).all()
    crop = Crop(SHAPE, (10, 11, 12), (30, 31, 33))
    part = crop.to_part(runs)
    assert (mask_of(part, crop.inner) == mask[crop.box]).all()
    assert crop.to_whole(part) == runs
    assert checked_runs([[5, 2], [1, 4]], SHAPE) == ((1, 6),)
    for bad in ([], [[-1, 3]], [[63999, 2]], [[4, 0]], [[1, 3], [2, 2]]):
        with pytest.raises(ValueError, match="runs must"):
            checked_runs(bad, SHAPE)


def test_split_follows_the_waist_of_a_lesion() -> None:
    mask = ball((12, 20, 20), 3.2) | ball((20, 20, 20), 3.2)
    mask[12:20, 20, 20] = True
    first, second = split_runs(runs_of_mask(mask), SHAPE)
    assert volume_of(first) + volume_of(second) == mask.sum()
    assert abs(volume_of(first) - volume_of(second)) < 20
    assert len(split_runs(runs_of_mask(ball(HIDDEN)), SHAPE)) == 2
    assert len(split_runs(((17, 1),), SHAPE)) == 1
