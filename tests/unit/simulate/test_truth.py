"""Status and counts of the true ledger, on visits made by hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mesems_mri.simulate.footprints import Focus, Footprint
from mesems_mri.simulate.truth import TruthBook, VisitTruth, black_hole_volume

CONSTANTS = {"software_version": "1", "config_sha256": "0"}
IDENTITY = {"study_id": "s", "site_id": "S01", "participant_id": "sub-01"}


@dataclass
class Place:
    """Stands for a lesion: only its region is looked at."""

    region: str = "periventricular"


class Identity:
    """Stands for a head whose space is MNI."""

    def to_template(self, points_mm: np.ndarray) -> np.ndarray:
        return points_mm


def focus(volume_mm3: float = 100.0) -> Focus:
    lesion: Any = Place()
    box = (slice(0, 2), slice(0, 2), slice(0, 2))
    return Focus(lesion, Footprint(box, np.ones((2, 2, 2), np.float32)), volume_mm3, 5.0, np.zeros(3))


def make_book(*visits: dict[str, Any]) -> TruthBook:
    head: Any = Identity()
    book = TruthBook(IDENTITY, head, CONSTANTS)
    before: dict[int, Focus] | None = None
    for index, visit in enumerate(visits):
        t2 = {number: focus(volume) for number, volume in visit["t2"].items()}
        gel = None if visit["gel"] is None else {number: focus(30) for number in visit["gel"]}
        growth = {n: (focus().footprint, v) for n, v in visit.get("growth", {}).items()}
        book.add(VisitTruth(f"ses-{index}", 4 * index, 28 * index, t2, before, growth, gel, 0.0, 1e6))
        before = t2
    return book


def statuses(book: TruthBook, kind: str) -> list[dict[str, str]]:
    focus_name, column = ("gel", "gd_status") if kind == "gel" else ("t2", "t2_status")
    sessions = [row["session_id"] for row in book.visits]
    return [
        {
            row["lesion_id"]: row[column]
            for row in book.ledger
            if row["session_id"] == session and row["focus"] == focus_name
        }
        for session in sessions
    ]


def test_t2_statuses() -> None:
    book = make_book(
        {"t2": {1: 100, 2: 100, 3: 100}, "gel": []},
        {"t2": {1: 200, 2: 40, 4: 50}, "gel": [], "growth": {1: 100.0}},
        {"t2": {1: 200, 2: 40, 4: 50}, "gel": []},
    )
    assert statuses(book, "t2") == [
        {1: "not_evaluable", 2: "not_evaluable", 3: "not_evaluable"},
        {1: "enlarging", 2: "shrinking", 3: "resolved", 4: "new"},
        {1: "stable", 2: "stable", 4: "stable"},
    ]
    second = book.visits[1]
    assert (second["t2_new_count"], second["t2_enlarging_count"], second["t2_lesion_count"]) == (1, 1, 3)
    assert (second["t2_new_volume_mm3"], second["t2_enlarging_volume_mm3"]) == (50, 100)


def test_gel_statuses_over_a_visit_without_postcontrast_scan() -> None:
    t2 = {1: 100, 2: 100, 3: 100}
    book = make_book(
        {"t2": t2, "gel": [1, 2]},
        {"t2": t2, "gel": None},
        {"t2": t2, "gel": [1, 3]},
        {"t2": t2, "gel": [2, 3]},
    )
    gel = statuses(book, "gel")
    assert [list(visit.values()) for visit in gel] == [
        ["baseline", "baseline"],
        [],
        ["persistent", "new"],
        ["re_enhancing", "persistent"],
    ]
    assert [row["gel_count"] for row in book.visits] == [2, None, 2, 2]
    assert [row["gel_prior_evaluable"] for row in book.visits] == [None, None, False, True]
    assert [row["gel_reference_session_id"] for row in book.visits] == [None, None, "ses-0", "ses-2"]
    assert [row["cua_count"] for row in book.visits] == [None, None, 1, 1]


def test_a_gel_in_a_new_lesion_counts_once_and_an_empty_visit_is_zero() -> None:
    book = make_book(
        {"t2": {}, "gel": []},
        {"t2": {1: 100, 2: 100}, "gel": [1]},
        {"t2": {1: 100, 2: 100}, "gel": []},
    )
    assert [row["cua_count"] for row in book.visits] == [None, 2, 0]
    assert [row["gel_count"] for row in book.visits] == [0, 1, 0]
    assert book.visits[0]["t2_lesion_volume_mm3"] == 0
    gel = next(row for row in book.ledger if row["focus"] == "gel")
    parent = next(row for row in book.ledger if row["lesion_id"] == gel["parent_lesion_id"])
    assert (parent["focus"], parent["t2_status"], gel["t2_status"]) == ("t2", "new", "new")


def test_black_holes_do_not_enhance() -> None:
    t2 = {1: focus(), 2: focus(), 3: focus()}
    assert black_hole_volume(t2, {1: focus()}, {1, 2}, voxel_mm3=8.0) == pytest.approx(64)
    assert black_hole_volume(t2, None, {1, 2}, voxel_mm3=8.0) == pytest.approx(128)
