"""Two reads of one visit: matched, compared, counted; and who reads what."""

import pytest

from mesems_mri.errors import UsageError
from mesems_mri.review.agreement import (
    against_automatic,
    cohens_kappa,
    finding_agreement,
    weighted_kappa,
)
from mesems_mri.review.masks import runs_of_mask
from mesems_mri.review.matching import compare_reads, match_findings
from mesems_mri.review.progress import Assignment, VisitStage, assign_reads, visit_stage
from mesems_mri.review.state import Finding, ReadState
from mesems_mri.review.visit import ReadGrid
from tests.unit.review.reading_study import AFFINE, SHAPE, ball

GRID = ReadGrid.of(SHAPE, AFFINE)
VISITS = [(f"sub-{n:03}", f"ses-w{w:02}") for n in range(1, 31) for w in (0, 4, 12)]


def finding(label: int, centre: tuple[int, int, int], kind: str = "gel", **fields: object) -> Finding:
    content = {
        "finding_id": f"f{label}",
        "kind": kind,
        "origin": "reader",
        "label": label,
        "voxels": runs_of_mask(ball(centre)),
        "volume_mm3": 81.0,
        "max_diameter_mm": 5.0,
        "decision": "accepted",
        "gd_status": "new" if kind == "gel" else None,
    }
    return Finding.from_json(content | fields)


def read(*findings: Finding, **fields: object) -> ReadState:
    return ReadState(findings={f.finding_id: f for f in findings}, signed=True, **fields)  # pyright: ignore


def test_findings_are_matched_by_overlap_and_distance() -> None:
    first = [finding(1, (10, 10, 10)), finding(2, (20, 20, 20)), finding(3, (30, 30, 30))]
    second = [finding(7, (21, 20, 20)), finding(8, (10, 10, 14)), finding(9, (30, 30, 30), "t2")]
    pairs = {(a.label, b.label) for a, b in match_findings(first, second, GRID)}
    assert pairs == {(1, 8), (2, 7)}  # another kind is another lesion


def test_each_finding_is_matched_once() -> None:
    first = [finding(1, (10, 10, 10)), finding(2, (10, 10, 13))]
    second = [finding(5, (10, 10, 12))]
    assert [(a.label, b.label) for a, b in match_findings(first, second, GRID)] == [(2, 5)]


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({}, {}, ()),
        ({}, {"decision": "rejected"}, ("presence",)),
        ({"gd_status": "new"}, {"gd_status": "persistent"}, ("status",)),
        ({"decision": "unsure"}, {}, ("unsure",)),
        ({"decision": "rejected"}, {"decision": "rejected"}, ()),
        (
            {"decision": "rejected", "gd_status": "new"},
            {"decision": "rejected", "gd_status": "persistent"},
            (),
        ),
    ],
)
def test_disagreements(one: dict, other: dict, why: tuple[str, ...]) -> None:
    compared = compare_reads(
        read(finding(1, (10, 10, 10), **one)), read(finding(1, (10, 10, 11), **other)), GRID
    )
    assert [unit.disagreements for unit in compared.units] == [why]
    assert compared.concordant == (not why)


def test_lesion_of_one_reader_and_part_of_one_reader_are_disagreements() -> None:
    alone = compare_reads(read(finding(1, (10, 10, 10))), read(), GRID)
    assert [unit.disagreements for unit in alone.units] == [("presence",)]
    parts = compare_reads(
        read(parts={"gel": "artefact"}), read(parts={"t2": "artefact", "gel": "wrong_head"}), GRID
    )
    assert parts.parts == ("t2",)
    assert not parts.concordant


def test_kappa() -> None:
    assert cohens_kappa(20, 5, 10, 15) == 0.4  # Cohen's own example in many textbooks
    assert cohens_kappa(0, 0, 0, 9) is None
    assert weighted_kappa([0, 1, 2, 3], [0, 1, 2, 3]) == 1.0
    assert weighted_kappa([0, 3], [3, 0]) == -1.0
    assert weighted_kappa([1, 1], [1, 1]) is None


def test_agreement_of_visits() -> None:
    same = compare_reads(read(finding(1, (10, 10, 10))), read(finding(1, (10, 10, 10))), GRID)
    missed = compare_reads(
        read(finding(1, (10, 10, 10)), finding(2, (30, 30, 30), decision="rejected")),
        read(finding(2, (30, 30, 30), decision="rejected")),
        GRID,
    )
    agreement = finding_agreement([same, missed], "gel")
    assert (agreement.visits, agreement.both, agreement.first_only, agreement.neither) == (2, 1, 1, 1)
    assert (agreement.same_count, agreement.mean_difference) == (1, 0.5)
    assert agreement.kappa == pytest.approx(0.4)


def test_reads_against_the_run() -> None:
    counted = finding(1, (10, 10, 10), origin="counted")
    offered = finding(2, (20, 20, 20), origin="offered", decision="undecided")
    left = [counted.changed({"decision": "rejected"}), offered.changed({"decision": "accepted"})]
    compared = against_automatic([([counted, offered], left)], "gel")
    assert (compared.read, compared.automatic, compared.agreed) == (1, 1, 0)
    assert (compared.sensitivity, compared.false_per_visit) == (0.0, 1.0)


def test_every_visit_has_two_readers_and_the_loads_are_even() -> None:
    made = assign_reads(VISITS, ["anna", "ben", "carla", "dora"], seed=7)
    reads = [a for a in made if a.kind == "read"]
    assert {sum((a.participant_id, a.session_id) == v for a in reads) for v in VISITS} == {2}
    assert len({(a.reader, a.participant_id, a.session_id) for a in reads}) == len(reads)
    loads = [sum(a.reader == name for a in reads) for name in ("anna", "ben", "carla", "dora")]
    assert max(loads) - min(loads) <= 3  # the visits of one participant
    assert len({frozenset(a.reader for a in reads if a.participant_id == p) for p, _ in VISITS}) > 3


def test_visits_of_a_participant_are_read_in_order_of_time() -> None:
    made = assign_reads(VISITS, ["anna", "ben", "carla"], seed=7)
    for name in ("anna", "ben", "carla"):
        own = [(a.participant_id, a.session_id) for a in made if a.reader == name and a.kind == "read"]
        for participant in {p for p, _ in own}:
            sessions = [s for p, s in own if p == participant]
            assert sessions == sorted(sessions)
        assert [p for p, _ in own] != sorted(p for p, _ in own)


def test_tenth_of_the_visits_is_read_again_by_one_of_its_readers() -> None:
    made = assign_reads(VISITS, ["anna", "ben", "carla"], seed=7)
    again = [a for a in made if a.kind == "re_read"]
    assert len(again) == 9
    assert {Assignment(a.reader, a.participant_id, a.session_id) in made for a in again} == {True}
    loads = [sum(a.reader == name for a in again) for name in ("anna", "ben", "carla")]
    assert max(loads) - min(loads) <= 2
    for late in again:
        assert made.index(late) > made.index(Assignment(late.reader, late.participant_id, late.session_id))


def test_assignment_depends_on_the_seed_alone_and_grows() -> None:
    readers = ["anna", "ben", "carla"]
    made = assign_reads(VISITS[:60], readers, seed=7)
    assert made == assign_reads(VISITS[:60], reversed(readers), seed=7)  # pyright: ignore
    assert made != assign_reads(VISITS[:60], readers, seed=8)
    more = assign_reads(VISITS, readers, seed=7, known=made)
    assert {(a.participant_id, a.session_id) for a in more} == set(VISITS[60:])
    assert assign_reads(VISITS, readers, seed=7, known=[*made, *more]) == []
    late = assign_reads([*VISITS, ("sub-001", "ses-w24")], readers, seed=7, known=[*made, *more])
    pair = {a.reader for a in made if a.participant_id == "sub-001"}
    assert {a.reader for a in late if a.kind == "read"} == pair
    reads = [a for a in made if a.kind == "read"]
    assert [a.participant_id for a in reads if a.reader == "anna"] != sorted(a.participant_id for a in reads)


def test_order_of_visits_can_be_hidden() -> None:
    made = assign_reads(VISITS, ["anna", "ben"], seed=7, order_hidden=True)
    own = [a for a in made if a.reader == "anna" and a.kind == "read"]
    sessions = {p: [a.session_id for a in own if a.participant_id == p] for p, _ in VISITS}
    assert sum(found == sorted(found) for found in sessions.values()) < len(sessions) / 2
    again = [a for a in made if a.kind == "re_read"]
    assert again
    for late in again:
        assert made.index(late) > made.index(Assignment(late.reader, late.participant_id, late.session_id))


def test_one_reader_is_not_enough() -> None:
    with pytest.raises(UsageError, match="expected at least 2"):
        assign_reads(VISITS, ["anna"], seed=1)


@pytest.mark.parametrize(
    ("signed", "concordant", "adjudicated", "locked", "stage"),
    [
        ((), None, None, False, VisitStage.AUTOMATIC),
        ((False, False), None, None, False, VisitStage.ASSIGNED),
        ((True, False), None, None, False, VisitStage.READ_1),
        ((True, True), None, None, False, VisitStage.READ_2),
        ((True, True), True, None, False, VisitStage.CONCORDANT),
        ((True, True), False, None, False, VisitStage.READ_2),
        ((True, True), False, False, False, VisitStage.IN_ADJUDICATION),
        ((True, True), False, True, False, VisitStage.ADJUDICATED),
        ((True, True), True, None, True, VisitStage.LOCKED),
    ],
)
def test_stages_of_a_visit(
    signed: tuple[bool, ...], concordant: bool | None, adjudicated: bool | None, locked: bool, stage: str
) -> None:
    assert visit_stage(signed, concordant=concordant, adjudication_signed=adjudicated, locked=locked) == stage
