"""The timeline of lesions."""

from mesems_mri.report.timeline import active_rows, draw_timeline, lesion_order
from tests.unit.report.made import ledger_row, metrics_row

VISITS = [
    metrics_row(session="ses-w00", week=0),
    metrics_row(session="ses-w04", t2_evaluable=False, t2_reason="no_t2_type"),
    metrics_row(session="ses-w12", week=12),
]
ROWS = [
    ledger_row(1, "ses-w00"),
    ledger_row(2, "ses-w00"),
    ledger_row(1, "ses-w12"),
    ledger_row(2, "ses-w12", t2_status="enlarging"),
    ledger_row(5, "ses-w12", t2_status="resolved", volume_mm3=0.0),
    ledger_row(9, "ses-w12", focus="gel", gd_status="new", parent_lesion_id=1),
]


def test_an_enhancing_lesion_stands_under_the_lesion_it_lies_in() -> None:
    assert lesion_order(ROWS) == [(1, "t2"), (9, "gel"), (2, "t2"), (5, "t2")]


def test_active_lesions_keep_their_whole_life() -> None:
    assert {(r["lesion_id"], r["session_id"]) for r in active_rows(ROWS)} == {
        (2, "ses-w00"),
        (2, "ses-w12"),
        (9, "ses-w12"),
    }


def test_marks_stand_in_the_column_of_their_visit() -> None:
    timeline = draw_timeline(VISITS, ROWS)
    x_of = {column.name: column.x for column in timeline.columns}
    assert [column.gap for column in timeline.columns] == ["", "no FLAIR, T2w or PDw", ""]
    assert len(timeline.marks) == len(ROWS)
    enlarged = next(mark for mark in timeline.marks if mark.glyph.word == "enlarging")
    assert enlarged.x == x_of["w12"]
    assert enlarged.href == "ses-w12/sub-01_ses-w12.html#lesion-2"
    gone = next(mark for mark in timeline.marks if mark.glyph.word == "resolved")
    assert gone.volume == ""
    assert {(x1, x2) for x1, x2, _ in timeline.lives} == {(x_of["w00"], x_of["w12"])}
    assert max(mark.x for mark in timeline.marks) < timeline.width
    assert max(mark.y for mark in timeline.marks) < timeline.height
