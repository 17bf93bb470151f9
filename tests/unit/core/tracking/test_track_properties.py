"""Counts of whole participants: right, and the same however the arrays are placed, flipped or numbered."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mesems_mri.core.tracking.foci import KnownFoci, VisitFoci
from mesems_mri.core.tracking.track import TrackedVisit, track_visit
from mesems_mri.dataset.counts import visit_counts
from tests.unit.strategies import Participant, flips, move, participants, render

SPACING_MM = (1.0, 1.0, 1.0)
Counts = dict[str, Any]


def track(drawn: list[dict[str, np.ndarray]], *, through_json: bool = False) -> list[TrackedVisit]:
    known = KnownFoci.none(drawn[0]["gel"].shape)
    tracked = []
    for k, foci in enumerate(drawn):
        change = {
            "new": foci["new"],
            "enlarging": foci["enlarging"],
            "t2_reference_session_id": f"ses-{k - 1}",
        }
        visit = VisitFoci(
            session_id=f"ses-{k}", t2_mask=foci["t2_mask"], gel=foci["gel"], **(change if k else {})
        )
        tracked.append(track_visit(visit, known, spacing_mm=SPACING_MM))
        known = tracked[-1].known
        if through_json:
            known = KnownFoci.from_record(json.loads(json.dumps(known.to_record())), known.t2, known.gel)
    return tracked


def counts(tracked: list[TrackedVisit]) -> list[Counts]:
    return [
        visit_counts(
            visit.rows,
            gel_evaluable=True,
            gel_change_evaluable=k > 0,
            t2_evaluable=True,
            t2_change_evaluable=k > 0,
        )
        for k, visit in enumerate(tracked)
    ]


def expected_counts(participant: Participant) -> list[Counts]:
    """Count from the drawing rules, without arrays."""
    expected = []
    for k, cells in enumerate(participant):
        n: Counts = dict.fromkeys(
            ("new", "enlarging", "gel", "gel_new", "gel_persistent", "gel_back", "cua"), 0
        )
        for c, cell in enumerate(cells):
            n["new"] += cell.new
            n["enlarging"] += sum(cell.grown)
            both = all(cell.grown)
            lesion_is_active = cell.new or any(cell.grown)
            hidden = {"lesion": not lesion_is_active, "second growth": not both}
            for side in (0, 1):
                if not cell.enhancing[side]:
                    continue
                before = [participant[j][c].enhancing[side] for j in range(k)]
                status = "persistent" if before and before[-1] else ("back" if any(before) else "new")
                n["gel"] += 1
                n[f"gel_{status}"] += 1
                if status != "persistent":
                    n["cua"] += 1
                    if side == 0 or (cell.sides[1] and not both):
                        hidden["lesion"] = True
                    elif both:
                        hidden["second growth"] = True
            n["cua"] += sum(not h for h in hidden.values())
        expected.append(n)
    return expected


@settings(max_examples=60, deadline=None)
@given(participants())
def test_counts_are_those_that_were_drawn(participant: Participant) -> None:
    found = counts(track([render(cells) for cells in participant]))
    for k, (n, expected) in enumerate(zip(found, expected_counts(participant), strict=True)):
        assert n["gel_count"] == expected["gel"]
        if k == 0:
            assert (
                n["t2_new_count"] is n["t2_enlarging_count"] is n["gel_new_count"] is n["cua_count"] is None
            )
            continue
        assert n["t2_new_count"] == expected["new"]
        assert n["t2_enlarging_count"] == expected["enlarging"]
        assert n["gel_new_count"] == expected["gel_new"]
        assert n["gel_persistent_count"] == expected["gel_persistent"]
        assert n["gel_re_enhancing_count"] == expected["gel_back"]
        assert n["cua_count"] == expected["cua"]


@settings(max_examples=40, deadline=None)
@given(participant=participants(), shift=st.tuples(*[st.integers(0, 3)] * 3), flip=flips())
def test_counts_do_not_depend_on_place_and_flips(
    participant: Participant, shift: tuple[int, int, int], flip: tuple[int, ...]
) -> None:
    drawn = [render(cells) for cells in participant]
    moved = [{name: move(foci, shift, flip) for name, foci in visit.items()} for visit in drawn]
    assert counts(track(moved)) == counts(track(drawn))


@settings(max_examples=30, deadline=None)
@given(participant=participants(), seed=st.integers(0, 2**32 - 1))
def test_nothing_depends_on_the_detectors_numbers(participant: Participant, seed: int) -> None:
    drawn = [render(cells) for cells in participant]
    numbers = np.append(0, np.random.default_rng(seed).permutation(np.arange(1, 300)))
    renumbered = [{name: numbers[foci] for name, foci in visit.items()} for visit in drawn]
    for before, after in zip(track(drawn), track(renumbered), strict=True):
        assert before.rows == after.rows
        assert np.array_equal(before.t2, after.t2)  # type: ignore[arg-type]
        assert np.array_equal(before.gel, after.gel)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(participants())
def test_a_visit_depends_on_earlier_visits_only(participant: Participant) -> None:
    drawn = [render(cells) for cells in participant]
    whole = track(drawn, through_json=True)
    for k in range(1, len(drawn)):
        part = track(drawn[:k])
        assert [visit.rows for visit in part] == [visit.rows for visit in whole[:k]]


@settings(max_examples=40, deadline=None)
@given(participants())
def test_images_hold_what_the_rows_say(participant: Participant) -> None:
    focus_of: dict[int, str] = {}
    gone: set[int] = set()
    for visit in track([render(cells) for cells in participant]):
        for focus, dseg in (("t2", visit.t2), ("gel", visit.gel)):
            assert dseg is not None
            ids, volumes = np.unique(dseg[dseg > 0], return_counts=True)
            rows = {row["lesion_id"]: row for row in visit.rows if row["focus"] == focus}
            present = {i: row["volume_mm3"] for i, row in rows.items() if row["t2_status"] != "resolved"}
            if focus == "gel":
                present = {i: row["volume_mm3"] for i, row in rows.items()}
            assert present == dict(zip(ids.tolist(), volumes.tolist(), strict=True))
            assert set(ids.tolist()) <= set(visit.known.tracks)
        for row in visit.rows:
            assert focus_of.setdefault(row["lesion_id"], row["focus"]) == row["focus"]
            assert row["lesion_id"] not in gone, "a merged number is not used again"
            gone |= {int(i) for i in row["merged_ids"].split(";") if i}
        assert len({row["lesion_id"] for row in visit.rows}) == len(visit.rows)
