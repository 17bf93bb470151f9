"""Identity and status of foci through the visits."""

import itertools
import json
from typing import Any

import numpy as np
import pytest

from mesems_mri.core.tracking.foci import KnownFoci, VisitFoci
from mesems_mri.core.tracking.track import TrackedVisit, complete_rows, track_visit
from mesems_mri.dataset.columns import LEDGER_COLUMNS
from mesems_mri.dataset.counts import visit_counts

SHAPE = (40, 20, 10)
NONE = np.zeros(SHAPE, dtype=np.int32)
Range = tuple[int, int]


def box(x: Range, y: Range = (4, 8), z: Range = (3, 6), value: int = 1) -> np.ndarray:
    focus = np.zeros(SHAPE, dtype=np.int32)
    focus[slice(*x), slice(*y), slice(*z)] = value
    return focus


class Followed:
    """Track visits one after the other; T2 change is against the last visit with T2 unless told otherwise."""

    def __init__(self, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
        self.known = KnownFoci.none(SHAPE)
        self.spacing_mm = spacing_mm
        self.t2_visits: list[str] = []
        self.names = (f"ses-{n}" for n in itertools.count())

    def visit(
        self,
        t2: np.ndarray | None = NONE,
        *,
        new: np.ndarray | None = NONE,
        enlarging: np.ndarray | None = NONE,
        gel: np.ndarray | None = NONE,
        scheduled: bool = True,
        change: bool = True,
    ) -> TrackedVisit:
        session = next(self.names)
        change = change and bool(self.t2_visits) and t2 is not None
        foci = VisitFoci(
            session_id=session,
            scheduled=scheduled,
            t2_mask=None if t2 is None else t2 > 0,
            new=new if change else None,
            enlarging=enlarging if change else None,
            gel=gel,
            t2_reference_session_id=self.t2_visits[-1] if change else None,
        )
        tracked = track_visit(foci, self.known, spacing_mm=self.spacing_mm)
        record = json.loads(json.dumps(tracked.known.to_record()))
        self.known = KnownFoci.from_record(record, tracked.known.t2, tracked.known.gel)
        if scheduled and t2 is not None:
            self.t2_visits.append(session)
        return tracked


@pytest.fixture
def followed() -> Followed:
    return Followed()


def rows_of(tracked: TrackedVisit, focus: str) -> list[dict[str, Any]]:
    return [row for row in tracked.rows if row["focus"] == focus]


def only(tracked: TrackedVisit, focus: str) -> dict[str, Any]:
    (row,) = rows_of(tracked, focus)
    return row


def cua(tracked: TrackedVisit) -> int | float | None:
    evaluable = dict.fromkeys(
        ("gel_evaluable", "gel_change_evaluable", "t2_evaluable", "t2_change_evaluable"), True
    )
    return visit_counts(tracked.rows, **evaluable)["cua_count"]


# ---- shapes


def test_visit_without_foci_has_no_rows(followed: Followed) -> None:
    tracked = followed.visit()
    assert tracked.rows == []
    assert tracked.t2 is not None
    assert tracked.gel is not None
    assert not tracked.t2.any()
    assert not tracked.gel.any()
    assert tracked.known.next_id == 1


def test_volume_and_diameter_are_in_mm() -> None:
    row = only(Followed((0.5, 0.5, 3.0)).visit(box((4, 12), (4, 6), (3, 5))), "t2")
    assert row["volume_mm3"] == pytest.approx(8 * 2 * 2 * 0.75)
    assert row["max_diameter_mm"] == pytest.approx(np.hypot(3.5, 0.5) + 0.5)


def test_diagonal_pair_is_one_focus_and_the_corner_counts(followed: Followed) -> None:
    corner = np.zeros(SHAPE, dtype=np.int32)
    corner[-1, -1, -1] = corner[-2, -2, -2] = 1
    tracked = followed.visit(corner, gel=corner)
    assert only(tracked, "t2")["volume_mm3"] == 2
    again = followed.visit(corner, gel=corner)
    assert [row["lesion_id"] for row in again.rows] == [1, 2]


def test_numbers_beyond_255_are_kept(followed: Followed) -> None:
    many = np.zeros(SHAPE, dtype=np.int32)
    many[::2, ::2, ::2] = 1
    tracked = followed.visit(many)
    assert tracked.t2 is not None
    assert tracked.t2.max() == len(tracked.rows) == 20 * 10 * 5
    again = followed.visit(many)
    assert again.t2 is not None
    assert np.array_equal(again.t2, tracked.t2)


@pytest.mark.parametrize(
    ("foci", "text"),
    [
        ({"t2_mask": np.full(SHAPE, np.nan)}, "finite"),
        ({"gel": np.full(SHAPE, np.nan)}, "finite"),
        ({"t2_mask": np.zeros((3, 3, 3))}, "shape"),
        ({"t2_mask": NONE, "new": NONE}, "together"),
        ({"t2_mask": NONE, "new": NONE, "enlarging": NONE}, "reference"),
        ({"new": NONE, "enlarging": NONE, "t2_reference_session_id": "ses-a"}, "t2_mask"),
    ],
)
def test_foci_that_do_not_fit_are_refused(foci: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        track_visit(VisitFoci(session_id="ses-b", **foci), KnownFoci.none(SHAPE), spacing_mm=(1, 1, 1))


@pytest.mark.parametrize("foci", [{"t2_mask": box((2, 6))}, {"gel": NONE}])
def test_visit_is_tracked_once(foci: dict[str, Any]) -> None:
    visit = VisitFoci(session_id="ses-a", **foci)
    known = track_visit(visit, KnownFoci.none(SHAPE), spacing_mm=(1, 1, 1)).known
    with pytest.raises(ValueError, match="already"):
        track_visit(visit, known, spacing_mm=(1, 1, 1))


def test_rows_are_the_columns_of_the_ledger(followed: Followed) -> None:
    tracked = followed.visit(box((2, 6)))
    identity = {"study_id": "trial", "site_id": "01", "participant_id": "sub-1"}
    (row,) = complete_rows(
        tracked.rows, identity=identity, details={1: {"x": 1.0, "region": "juxtacortical"}}
    )
    assert set(row) == set(LEDGER_COLUMNS)
    assert (row["study_id"], row["x"], row["y"], row["region"]) == ("trial", 1.0, None, "juxtacortical")
    assert row["decision"] == "automatic"


def test_ids_are_given_in_order_of_first_voxel_t2_first(followed: Followed) -> None:
    tracked = followed.visit(box((20, 24)) | box((2, 6)), gel=box((2, 6), value=7) + box((30, 34), value=3))
    assert tracked.t2 is not None
    assert tracked.gel is not None
    assert tracked.t2[[3, 21], 5, 4].tolist() == [1, 2]
    assert tracked.gel[[3, 31], 5, 4].tolist() == [3, 4]
    assert [row["lesion_id"] for row in tracked.rows] == [1, 2, 3, 4]


# ---- T2


def test_first_visit_counts_lesions_but_no_change(followed: Followed) -> None:
    tracked = followed.visit(box((2, 6)), gel=box((3, 5)))
    assert only(tracked, "t2")["t2_status"] == "not_evaluable"
    assert only(tracked, "t2")["reference_session_id"] is None
    assert only(tracked, "gel")["gd_status"] == "baseline"
    counts = visit_counts(
        tracked.rows,
        gel_evaluable=True,
        gel_change_evaluable=False,
        t2_evaluable=True,
        t2_change_evaluable=False,
    )
    assert counts["gel_count"] == 1
    assert counts["t2_lesion_count"] == 1
    for name in ("gel_new_count", "gel_persistent_count", "t2_new_count", "t2_enlarging_count", "cua_count"):
        assert counts[name] is None, name
    assert counts["cua_evaluable"] is False


def test_lesion_keeps_its_number_when_it_moves_by_a_voxel(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    assert only(followed.visit(box((6, 9))), "t2")["lesion_id"] == 1
    # one voxel lies between: another lesion
    moved = followed.visit(box((10, 13)))
    assert [(row["lesion_id"], row["t2_status"]) for row in moved.rows] == [(1, "resolved"), (2, "stable")]


def test_new_lesion(followed: Followed) -> None:
    old, new = box((2, 6)), box((12, 16))
    followed.visit(old)
    tracked = followed.visit(old | new, new=new)
    assert [(row["lesion_id"], row["t2_status"], row["active"]) for row in tracked.rows] == [
        (1, "stable", False),
        (2, "new", True),
    ]
    assert tracked.rows[1]["first_seen_session_id"] == "ses-1"
    assert tracked.rows[1]["reference_session_id"] == "ses-0"
    assert tracked.rows[1]["growth_mm3"] is None
    later = followed.visit(old | new)
    assert [row["t2_status"] for row in later.rows] == ["stable", "stable"]
    assert later.rows[1]["first_seen_session_id"] == "ses-1"


def test_focus_touching_an_old_lesion_is_enlarging(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    growth = box((6, 9))
    row = only(followed.visit(box((2, 9)), enlarging=growth), "t2")
    assert (row["lesion_id"], row["t2_status"], row["active"]) == (1, "enlarging", True)
    assert (row["volume_mm3"], row["growth_mm3"]) == (84, 36)


def test_each_growth_focus_of_a_lesion_counts(followed: Followed) -> None:
    old = box((10, 16))
    growth = 5 * box((6, 10)) + 3 * box((16, 19))
    followed.visit(old)
    tracked = followed.visit(old + growth, enlarging=growth)
    main, further = rows_of(tracked, "t2")
    assert (main["lesion_id"], main["growth_mm3"], main["volume_mm3"]) == (1, 48, 120)
    assert (further["lesion_id"], further["growth_mm3"], further["volume_mm3"]) == (2, 36, 36)
    assert further["parent_lesion_id"] == 1
    assert main["parent_lesion_id"] is None
    assert {main["t2_status"], further["t2_status"]} == {"enlarging"}
    assert tracked.t2 is not None
    assert tracked.t2[[12, 7, 17], 5, 4].tolist() == [1, 1, 2]

    later = only(followed.visit(old + growth), "t2")
    assert (later["lesion_id"], later["merged_ids"], later["t2_status"]) == (1, "2", "stable")
    assert only(followed.visit(old + growth), "t2")["merged_ids"] == ""


def test_of_equal_growth_foci_the_first_stays(followed: Followed) -> None:
    old, growth = box((10, 16)), 5 * box((6, 10)) + 3 * box((16, 20))
    followed.visit(old)
    tracked = followed.visit(old + growth, enlarging=growth)
    assert tracked.t2 is not None
    assert tracked.t2[[7, 17], 5, 4].tolist() == [1, 2]


def test_growth_focus_does_not_take_the_number_of_its_lesion(followed: Followed) -> None:
    followed.visit(box((2, 12)))
    # shifted, so that the smaller growth focus overlaps the footprint more than what is left of the lesion
    growth = box((9, 14)) + 2 * box((16, 30))
    main, further = followed.visit(box((8, 30)), enlarging=growth).rows
    assert (main["lesion_id"], main["volume_mm3"]) == (1, 17 * 12)
    assert (further["lesion_id"], further["parent_lesion_id"], further["volume_mm3"]) == (2, 1, 60)


def test_new_focus_does_not_take_the_number_of_a_lesion_that_is_gone(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    new, strip = box((7, 12)), box((5, 7), (4, 8), (3, 4))
    gone, seen = followed.visit(new | strip, new=new).rows
    assert (gone["lesion_id"], gone["t2_status"]) == (1, "resolved")
    assert (seen["lesion_id"], seen["t2_status"], seen["volume_mm3"]) == (2, "new", 68)
    assert seen["parent_lesion_id"] is None


def test_footprint_is_the_last_one(followed: Followed) -> None:
    followed.visit(box((2, 6)), gel=box((2, 6)))
    tracked = followed.visit(box((5, 9)), gel=box((4, 8)))
    assert np.array_equal(tracked.known.t2, box((5, 9)))
    assert np.array_equal(tracked.known.gel, box((4, 8), value=2))


def test_new_focus_bridged_to_an_old_lesion_is_its_own(followed: Followed) -> None:
    old, new, bridge = box((2, 6)), box((8, 12)), box((6, 8), (5, 6))
    followed.visit(old)
    tracked = followed.visit(old | new | bridge, new=new)
    first, second = tracked.rows
    assert (first["lesion_id"], first["t2_status"], first["volume_mm3"]) == (1, "stable", 48 + 6)
    assert (second["lesion_id"], second["t2_status"], second["volume_mm3"]) == (2, "new", 48)
    assert second["parent_lesion_id"] is None


def test_component_around_a_new_focus_is_new_as_a_whole(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    tracked = followed.visit(box((2, 6)) | box((12, 18)), new=box((13, 17), (5, 7)))
    assert [(row["t2_status"], row["volume_mm3"]) for row in tracked.rows] == [("stable", 48), ("new", 72)]


def test_two_new_foci_in_one_component_are_two(followed: Followed) -> None:
    followed.visit()
    new = 4 * box((4, 8)) + 2 * box((10, 14))
    tracked = followed.visit(box((4, 14)), new=new)
    assert [(row["t2_status"], row["volume_mm3"]) for row in tracked.rows] == [("new", 60), ("new", 60)]


def test_merge_keeps_the_lowest_number(followed: Followed) -> None:
    followed.visit(box((2, 6)) | box((9, 13)) | box((20, 24)))
    tracked = followed.visit(box((2, 13)) | box((20, 24)))
    assert [(row["lesion_id"], row["merged_ids"]) for row in tracked.rows] == [(1, "2"), (3, "")]
    assert set(np.unique(tracked.known.t2)) == {0, 1, 3}
    later = followed.visit(box((2, 13)))
    assert [(row["lesion_id"], row["t2_status"]) for row in later.rows] == [(1, "stable"), (3, "resolved")]


def test_split_gives_the_larger_part_the_number(followed: Followed) -> None:
    followed.visit(box((2, 14)))
    tracked = followed.visit(box((2, 5)) | box((8, 14)))
    assert tracked.t2 is not None
    assert tracked.t2[[3, 9], 5, 4].tolist() == [2, 1]
    small = tracked.rows[1]
    assert (small["parent_lesion_id"], small["first_seen_session_id"]) == (1, "ses-1")
    assert [row["t2_status"] for row in tracked.rows] == ["stable", "stable"]
    later = followed.visit(box((2, 5)) | box((8, 14)))
    assert later.t2 is not None
    assert np.array_equal(later.t2, tracked.t2)
    assert later.rows[1]["parent_lesion_id"] == 1


def test_shrinking_is_against_the_reference_visit(followed: Followed) -> None:
    followed.visit(box((2, 12)))  # 120
    assert only(followed.visit(box((2, 9))), "t2")["t2_status"] == "stable"  # 84
    assert only(followed.visit(box((2, 6)), change=False), "t2")["t2_status"] == "not_evaluable"
    followed.t2_visits = ["ses-0"]
    assert only(followed.visit(box((2, 7))), "t2")["t2_status"] == "shrinking"  # 60 of 120
    followed.t2_visits = ["ses-1"]
    assert only(followed.visit(box((2, 7))), "t2")["t2_status"] == "stable"  # 60 of 84


def test_small_loss_is_not_shrinking(followed: Followed) -> None:
    followed.visit(box((2, 5)))  # 36
    assert only(followed.visit(box((2, 4), (4, 8), (3, 5))), "t2")["t2_status"] == "shrinking"  # 16
    other = Followed()
    other.visit(box((2, 4), (4, 8), (3, 7)))  # 32
    assert only(other.visit(box((2, 4), (4, 8), (3, 5))), "t2")["t2_status"] == "stable"  # 16


def test_split_and_merge_are_not_shrinking(followed: Followed) -> None:
    followed.visit(box((2, 8)) | box((9, 15)))
    followed.t2_visits = ["ses-0"]
    merged = followed.visit(box((2, 15)), scheduled=False)
    assert [row["t2_status"] for row in merged.rows] == ["stable"]
    split = followed.visit(box((2, 8)) | box((9, 15)))
    assert [row["t2_status"] for row in split.rows] == ["stable", "stable"]


def test_merged_lesion_shrinks_against_all_its_parts(followed: Followed) -> None:
    followed.visit(box((2, 7)) | box((8, 13)))  # 60 and 60
    assert [row["t2_status"] for row in followed.visit(box((5, 10))).rows] == ["shrinking"]  # 60


def test_resolved_once_and_back_under_its_number(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    gone = only(followed.visit(), "t2")
    assert (gone["t2_status"], gone["volume_mm3"], gone["active"]) == ("resolved", 0, False)
    assert gone["max_diameter_mm"] is None
    assert followed.visit().rows == []
    back = only(followed.visit(box((3, 6)), new=box((3, 6))), "t2")
    assert (back["lesion_id"], back["t2_status"], back["first_seen_session_id"]) == (1, "new", "ses-0")


def test_lesion_that_came_back_resolves_again(followed: Followed) -> None:
    for lesion in (box((2, 6)), NONE, box((2, 6))):
        followed.visit(lesion)
    assert only(followed.visit(), "t2")["t2_status"] == "resolved"


def test_nothing_resolves_where_change_is_not_evaluable(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    assert followed.visit(None).rows == []
    assert followed.visit(change=False).rows == []
    assert only(followed.visit(), "t2")["t2_status"] == "resolved"


def test_lesion_does_not_take_the_number_of_a_resolved_neighbour(followed: Followed) -> None:
    followed.visit(box((2, 6)) | box((8, 12)))
    followed.visit(box((8, 12)))
    grown = only(followed.visit(box((5, 12)), enlarging=box((5, 8))), "t2")
    assert (grown["lesion_id"], grown["merged_ids"]) == (2, "")


def test_resolved_lesion_comes_back_beside_a_present_one(followed: Followed) -> None:
    followed.visit(box((2, 6)) | box((7, 12)))
    followed.visit(box((7, 12)))
    back = followed.visit(box((2, 6)) | box((7, 12)))
    assert [(row["lesion_id"], row["merged_ids"]) for row in back.rows] == [(1, ""), (2, "")]


def test_lesion_first_seen_without_change_is_stable(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    tracked = followed.visit(box((2, 6)) | box((20, 24)))
    assert (tracked.rows[1]["t2_status"], tracked.rows[1]["first_seen_session_id"]) == ("stable", "ses-1")


def test_unscheduled_visit_is_no_reference(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    new = box((12, 16))
    first = followed.visit(box((2, 6)) | new, new=new, scheduled=False)
    again = followed.visit(box((2, 6)) | new, new=new)
    for tracked in (first, again):
        assert [(row["lesion_id"], row["t2_status"]) for row in tracked.rows] == [(1, "stable"), (2, "new")]
        assert tracked.rows[1]["reference_session_id"] == "ses-0"
        assert tracked.rows[1]["first_seen_session_id"] == "ses-1"


# ---- GEL


def test_two_gel_in_one_confluent_lesion_are_two(followed: Followed) -> None:
    followed.visit(box((2, 30)))
    tracked = followed.visit(box((2, 30)), gel=box((4, 8)) + 2 * box((20, 24)))
    gel = rows_of(tracked, "gel")
    assert [(row["gd_status"], row["parent_lesion_id"]) for row in gel] == [("new", 1), ("new", 1)]
    assert only(tracked, "t2")["gd_status"] == "new"
    assert [row["t2_status"] for row in gel] == ["stable", "stable"], (
        "an old lesion that enhances is no new T2"
    )
    assert cua(tracked) == 2


def test_gel_is_persistent_while_it_enhances(followed: Followed) -> None:
    statuses = [only(followed.visit(gel=box((2, 6))), "gel")["gd_status"] for _ in range(3)]
    assert statuses == ["baseline", "persistent", "persistent"]
    assert cua(followed.visit(gel=box((2, 6)))) == 0


def test_gel_that_comes_back_is_re_enhancing(followed: Followed) -> None:
    followed.visit(gel=box((2, 6)))
    followed.visit()
    row = only(followed.visit(gel=box((3, 7))), "gel")
    assert (row["lesion_id"], row["gd_status"], row["active"]) == (1, "re_enhancing", True)
    assert row["first_seen_session_id"] == "ses-0"
    assert row["reference_session_id"] == "ses-1"


def test_visit_that_is_not_evaluable_does_not_interrupt(followed: Followed) -> None:
    followed.visit(box((2, 6)), gel=box((2, 6)))
    between = followed.visit(box((2, 6)), gel=None)
    assert only(between, "t2")["gd_status"] == "not_evaluable"
    assert between.gel is None
    row = only(followed.visit(box((2, 6)), gel=box((2, 6))), "gel")
    assert (row["gd_status"], row["reference_session_id"]) == ("persistent", "ses-0")


def test_baseline_is_the_first_evaluable_visit(followed: Followed) -> None:
    followed.visit(gel=None)
    assert only(followed.visit(gel=box((2, 6))), "gel")["gd_status"] == "baseline"
    tracked = followed.visit(gel=box((2, 6)) + 2 * box((12, 16)))
    assert [row["gd_status"] for row in tracked.rows] == ["persistent", "new"]


def test_unscheduled_visit_does_not_make_a_gel_old(followed: Followed) -> None:
    followed.visit()
    assert only(followed.visit(gel=box((2, 6)), scheduled=False), "gel")["gd_status"] == "new"
    row = only(followed.visit(gel=box((2, 6))), "gel")
    assert (row["gd_status"], row["reference_session_id"]) == ("new", "ses-0")
    assert row["first_seen_session_id"] == "ses-1"


def test_unscheduled_visit_before_the_reference_is_history(followed: Followed) -> None:
    followed.visit()
    followed.visit(gel=box((2, 6)), scheduled=False)
    followed.visit()
    assert only(followed.visit(gel=box((2, 6))), "gel")["gd_status"] == "re_enhancing"


def test_gel_that_falls_apart_is_persistent_in_both_parts(followed: Followed) -> None:
    followed.visit(gel=box((2, 14)))
    tracked = followed.visit(gel=box((2, 5)) + 2 * box((8, 14)))
    assert [(row["lesion_id"], row["gd_status"]) for row in tracked.rows] == [
        (1, "persistent"),
        (2, "persistent"),
    ]
    assert tracked.gel is not None
    assert tracked.gel[[3, 9], 5, 4].tolist() == [2, 1]


def test_gel_that_flow_together_keep_the_lowest_number_and_their_history(followed: Followed) -> None:
    followed.visit(gel=box((2, 6)))
    followed.visit(gel=2 * box((9, 13)))
    row = only(followed.visit(gel=box((2, 13))), "gel")
    assert (row["lesion_id"], row["merged_ids"], row["gd_status"]) == (1, "2", "persistent")
    followed.visit()
    assert only(followed.visit(gel=box((9, 13))), "gel")["gd_status"] == "re_enhancing"


def test_gel_and_t2_share_the_numbers_but_not_the_footprints(followed: Followed) -> None:
    followed.visit(box((2, 6)))
    tracked = followed.visit(box((2, 6)), gel=box((2, 6)))
    assert [(row["lesion_id"], row["focus"]) for row in tracked.rows] == [(1, "t2"), (2, "gel")]


# ---- GEL and T2 together


def test_gel_joined_with_its_new_t2_counts_once(followed: Followed) -> None:
    followed.visit()
    focus = box((10, 14))
    tracked = followed.visit(focus, new=focus, gel=box((11, 13)))
    gel = only(tracked, "gel")
    assert (gel["parent_lesion_id"], gel["t2_status"]) == (only(tracked, "t2")["lesion_id"], "new")
    assert only(tracked, "t2")["gd_status"] == "new"
    assert cua(tracked) == 1


def test_persistent_gel_does_not_hide_an_active_t2(followed: Followed) -> None:
    followed.visit(box((10, 14)), gel=box((10, 14)))
    tracked = followed.visit(box((10, 18)), enlarging=box((14, 18)), gel=box((10, 14)))
    assert only(tracked, "gel")["gd_status"] == "persistent"
    assert cua(tracked) == 1


@pytest.mark.parametrize(("gap", "joined"), [(0, True), (1, True), (2, False)])
def test_active_t2_within_2_mm_is_joined(followed: Followed, gap: int, joined: bool) -> None:
    followed.visit()
    focus = box((10, 14))
    tracked = followed.visit(focus, new=focus, gel=box((14 + gap, 18)))
    assert (only(tracked, "gel")["parent_lesion_id"] is not None) == joined
    assert cua(tracked) == (1 if joined else 2)


def test_stable_t2_is_parent_only_where_it_overlaps(followed: Followed) -> None:
    followed.visit(box((10, 14)))
    assert only(followed.visit(box((10, 14)), gel=box((14, 18))), "gel")["parent_lesion_id"] is None
    assert only(followed.visit(box((10, 14)), gel=box((13, 18))), "gel")["parent_lesion_id"] == 1


def test_active_t2_nearby_is_preferred_to_the_stable_one_around(followed: Followed) -> None:
    followed.visit(box((2, 10)))
    new = box((12, 16))
    tracked = followed.visit(box((2, 10)) | new, new=new, gel=box((6, 11)))
    gel = only(tracked, "gel")
    assert (gel["parent_lesion_id"], gel["t2_status"]) == (2, "new")


def test_largest_overlap_then_nearest_decides_the_parent(followed: Followed) -> None:
    followed.visit()
    new = box((2, 6)) + 2 * box((9, 14))
    assert only(followed.visit(new, new=new, gel=box((5, 12))), "gel")["parent_lesion_id"] == 2
    other = Followed()
    other.visit()
    new = box((2, 6)) + 2 * box((10, 14))
    assert only(other.visit(new, new=new, gel=box((7, 10))), "gel")["parent_lesion_id"] == 2


def test_t2_row_shows_the_most_telling_gel(followed: Followed) -> None:
    followed.visit(box((2, 30)), gel=box((4, 8)))
    tracked = followed.visit(box((2, 30)), gel=box((4, 8)) + 2 * box((20, 24)))
    assert [row["gd_status"] for row in rows_of(tracked, "gel")] == ["persistent", "new"]
    assert only(tracked, "t2")["gd_status"] == "new"


def test_gel_without_t2_has_no_parent(followed: Followed) -> None:
    tracked = followed.visit(None, gel=box((4, 8)))
    row = only(tracked, "gel")
    assert (row["parent_lesion_id"], row["t2_status"]) == (None, None)
    assert tracked.t2 is None
