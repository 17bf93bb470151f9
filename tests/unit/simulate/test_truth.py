"""Status and counts of the true ledger, on visits made by hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mesems_mri.errors import Reason
from mesems_mri.simulate.footprints import CountedFocus, Footprint
from mesems_mri.simulate.truth import TruthLedger, VisitTruth, black_hole_volume

CONSTANTS = {"software_version": "1", "config_sha256": "0"}
IDENTITY = {"study_id": "s", "site_id": "S01", "participant_id": "sub-01"}


@dataclass
class PlantedPlace:
    """Stands for a lesion: only its region is looked at."""

    region: str = "periventricular"


class Identity:
    """Stands for a head whose space is MNI."""

    def to_template(self, points_mm: np.ndarray) -> np.ndarray:
        return points_mm


def focus(volume_mm3: float = 100.0) -> CountedFocus:
    lesion: Any = PlantedPlace()
    box = (slice(0, 2), slice(0, 2), slice(0, 2))
    return CountedFocus(lesion, Footprint(box, np.ones((2, 2, 2), np.float32)), volume_mm3, 5.0, np.zeros(3))


def make_book(*visits: dict[str, Any]) -> TruthLedger:
    head: Any = Identity()
    book = TruthLedger(IDENTITY, head, CONSTANTS)
    lesions: dict[str, dict[int, CountedFocus]] = {}
    for index, visit in enumerate(visits):
        truth = VisitTruth(f"ses-{index}", visit.get("scheduled", True), 4 * index, 28 * index)
        if "refuse" in visit:
            truth.refuse(visit["refuse"])
            book.add(truth)
            continue
        if visit["t2"] is None:
            truth.reasons |= dict.fromkeys(("t2", "t2_change", "black_hole"), Reason.MISSING_SCAN)
            truth.gel = {number: focus(30) for number in visit["gel"]}
            book.add(truth)
            continue
        truth.t2 = {number: focus(volume) for number, volume in visit["t2"].items()}
        lesions[truth.session_id] = truth.t2
        reference = book.t2_reference
        if isinstance(reference, Reason):
            truth.reasons["t2_change"] = reference
        else:
            truth.reference, truth.t2_before = reference, lesions[reference.session_id]
            truth.growth = {n: (focus().footprint, v) for n, v in visit.get("growth", {}).items()}
        if visit["gel"] is None:
            truth.reasons |= dict.fromkeys(("gel", "black_hole"), Reason.NO_POSTCONTRAST)
        else:
            truth.gel = {number: focus(30) for number in visit["gel"]}
        book.add(truth)
    return book


def statuses(book: TruthLedger, kind: str) -> list[dict[str, str]]:
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
    assert [row["gel_prior_evaluable"] for row in book.visits] == [None, True, False, True]
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
    assert black_hole_volume(t2, {}, {1, 2}, voxel_mm3=8.0) == pytest.approx(128)


def column(book: TruthLedger, name: str) -> list[Any]:
    return [row[name] for row in book.visits]


def test_unscheduled_visit_is_no_reference_and_no_history() -> None:
    book = make_book(
        {"t2": {1: 100}, "gel": []},
        {"t2": {1: 100, 2: 100}, "gel": [2], "scheduled": False},
        {"t2": {1: 100, 2: 100}, "gel": [2]},
    )
    assert column(book, "visit_type") == ["scheduled", "unscheduled", "scheduled"]
    assert column(book, "t2_reference_session_id") == [None, "ses-0", "ses-0"]
    assert column(book, "gel_reference_session_id") == [None, "ses-0", "ses-0"]
    assert column(book, "t2_new_count") == [None, 1, 1]
    assert [list(visit.values()) for visit in statuses(book, "gel")] == [[], ["new"], ["new"]]
    ids = {row["lesion_id"] for row in book.ledger if row["session_id"] != "ses-0" and row["focus"] == "t2"}
    assert len(ids) == 2


def test_nothing_of_a_refused_visit_is_evaluable_and_it_is_no_reference() -> None:
    book = make_book(
        {"t2": {1: 100}, "gel": []},
        {"refuse": Reason.WRONG_HEAD},
        {"t2": {1: 100}, "gel": [1]},
    )
    bad = book.visits[1]
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        assert (bad[f"{part}_evaluable"], bad[f"{part}_reason"]) == (False, "wrong_head")
    counts = [name for name in bad if name.endswith(("_count", "_mm3"))]
    assert len(counts) > 10
    assert all(bad[name] is None for name in counts)
    assert [row for row in book.ledger if row["session_id"] == "ses-1"] == []
    after = book.visits[2]
    assert (after["t2_reference_session_id"], after["gel_prior_evaluable"]) == ("ses-0", False)
    assert (after["t2_new_count"], after["gel_new_count"]) == (0, 1)


def test_a_visit_without_flair_has_no_t2_lesions_and_is_no_reference() -> None:
    book = make_book({"t2": {1: 100}, "gel": []}, {"t2": None, "gel": [1]}, {"t2": {1: 100}, "gel": []})
    assert column(book, "t2_reason") == [None, "missing_scan", None]
    assert column(book, "t2_change_reason") == ["no_reference_visit", "missing_scan", None]
    assert column(book, "t2_reference_session_id") == [None, None, "ses-0"]
    assert column(book, "t2_contrast") == ["FLAIR", None, "FLAIR"]
    assert column(book, "t2_lesion_count") == [1, None, 1]
    assert column(book, "gel_count") == [0, 1, 0]
    assert column(book, "cua_reason") == ["no_reference_visit", "missing_scan", None]
    (gel,) = (row for row in book.ledger if row["focus"] == "gel")
    assert (gel["parent_lesion_id"], gel["t2_status"]) == (None, "not_evaluable")


def test_a_resolved_lesion_is_listed_once() -> None:
    book = make_book(
        {"t2": {1: 100, 2: 100}, "gel": []},
        {"t2": {1: 100}, "gel": [], "scheduled": False},
        {"t2": {1: 100}, "gel": []},
    )
    assert [list(visit.values()) for visit in statuses(book, "t2")] == [
        ["not_evaluable", "not_evaluable"],
        ["stable", "resolved"],
        ["stable"],
    ]
