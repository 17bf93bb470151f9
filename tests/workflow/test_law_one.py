"""Law 1 on the demonstration: not evaluable is never zero, and evaluable without lesions is zero.

One of its visits waits for an answer of its site, which the truth does not know: it lacks all that the visit
would have given, and is the reference of none.
"""

import re
import shutil
from pathlib import Path

import pytest

from mesems_mri.simulate.defects import PARTS, Defect
from tests.command import mesems, read_rows
from tests.demonstration import HELD, Demonstration
from tests.lesion_free import make_lesion_free_visit

VALUES = {
    "gel": ("gel_count", "gel_volume_mm3"),
    "t2": ("t2_lesion_count", "t2_lesion_volume_mm3"),
    "t2_change": ("t2_new_count", "t2_enlarging_count", "t2_new_volume_mm3", "t2_enlarging_volume_mm3"),
    "cua": ("cua_count",),
    "black_hole": ("black_hole_volume_mm3",),
    "brain": ("brain_volume_mm3",),
}
BOOKKEEPING = (
    "visit_type",
    "week",
    "day_from_baseline",
    "gel_reference_session_id",
    "t2_reference_session_id",
    "t2_interval_days",
    "t2_contrast",
    "gel_prior_evaluable",
    *(f"{part}_{what}" for part in PARTS for what in ("evaluable", "reason")),
)
"""Columns that follow from what was scanned, not from what was found."""
Key = tuple[str, str]
PASSED_OVER = {
    ("sub-02", "ses-u01"): {"t2_reference_session_id": "ses-w00", "t2_interval_days": "60"},
    ("sub-02", "ses-w24"): {"t2_reference_session_id": "ses-w00", "t2_interval_days": "169"},
}
"""What the visits after the one that waits refer to."""
OPEN = {f"{part}_evaluable": "false" for part in PARTS} | {f"{part}_reason": "open_query" for part in PARTS}


def by_visit(path: Path) -> dict[Key, dict[str, str]]:
    return {(row["participant_id"], row["session_id"]): row for row in read_rows(path) if row["session_id"]}


@pytest.fixture(scope="module")
def rows(demo: Demonstration) -> dict[Key, dict[str, str]]:
    return by_visit(demo.out_dir / "visit_metrics.tsv")


@pytest.fixture(scope="module")
def listed(demo: Demonstration) -> dict[Key, dict[str, str]]:
    """What the simulator did on purpose, and what is expected to come of it."""
    found = by_visit(demo.truth_dir / "defects.tsv")
    return found | {HELD: found[HELD] | OPEN}


def test_the_demonstration_holds_every_defect(demo: Demonstration) -> None:
    found = {row["defect"] for row in read_rows(demo.truth_dir / "defects.tsv")}
    assert found == {defect.value for defect in Defect}


def test_bad_visits_give_their_reasons_and_empty_values(
    rows: dict[Key, dict[str, str]], listed: dict[Key, dict[str, str]]
) -> None:
    gaps = 0
    for visit, expected in listed.items():
        row = rows[visit]
        assert {p: row[f"{p}_reason"] for p in PARTS} == {p: expected[f"{p}_reason"] for p in PARTS}, visit
        for part, columns in VALUES.items():
            if expected[f"{part}_reason"]:
                gaps += 1
                assert row[f"{part}_evaluable"] == "false"
                assert {row[column] for column in columns} == {""}, (visit, part)
    assert gaps == 3 + 4 + 6 + 6 + 6


def test_every_other_visit_is_complete(
    rows: dict[Key, dict[str, str]], listed: dict[Key, dict[str, str]]
) -> None:
    others = set(rows) - set(listed)
    assert len(others) == 7
    for visit in others:
        for part, columns in VALUES.items():
            first = visit[1] == "ses-w00" and part in ("t2_change", "cua")
            assert rows[visit][f"{part}_reason"] == ("no_reference_visit" if first else ""), (visit, part)
            assert all((rows[visit][column] == "") == first for column in columns), (visit, part)


def test_references_and_reasons_of_every_visit_are_those_of_the_truth(
    demo: Demonstration, rows: dict[Key, dict[str, str]]
) -> None:
    truth = by_visit(demo.truth_dir / "visit_metrics.tsv")
    assert list(truth) == list(rows)
    for visit, changes in PASSED_OVER.items():
        assert truth[visit]["t2_reference_session_id"] == HELD[1]
        truth[visit] |= changes
    truth[HELD] |= OPEN | dict.fromkeys(("t2_reference_session_id", "t2_interval_days", "t2_contrast"), "")
    for visit, row in rows.items():
        assert {c: row[c] for c in BOOKKEEPING} == {c: truth[visit][c] for c in BOOKKEEPING}, visit


def test_the_week_of_an_unscheduled_visit_is_that_of_the_table(rows: dict[Key, dict[str, str]]) -> None:
    row = rows["sub-02", "ses-u01"]
    assert (row["visit_type"], row["week"]) == ("unscheduled", "8")
    assert "ses-u01" not in {r["t2_reference_session_id"] for r in rows.values()}
    order = [session for participant, session in rows if participant == "sub-02"]
    assert order == ["ses-w00", "ses-w04", "ses-u01", "ses-w12", "ses-w24"]


def test_nothing_of_a_bad_visit_is_in_the_ledger(
    demo: Demonstration, listed: dict[Key, dict[str, str]]
) -> None:
    for (participant, session), defect in listed.items():
        ledger = read_rows(demo.out_dir / participant / f"{participant}_lesions.tsv")
        here = {row["focus"] for row in ledger if row["session_id"] == session}
        for part, focus in (("gel", "gel"), ("t2", "t2")):
            if defect[f"{part}_reason"]:
                assert focus not in here


def test_missing_postcontrast_scan_is_not_zero_lesions(
    demo: Demonstration, rows: dict[Key, dict[str, str]]
) -> None:
    row = rows["sub-01", "ses-w04"]
    assert (row["gel_reason"], row["gel_count"]) == ("no_postcontrast", "")
    assert not list((demo.out_dir / "sub-01" / "ses-w04" / "anat").glob("*enhancing*"))


def test_the_refused_table_is_refused(demo: Demonstration, tmp_path: Path) -> None:
    """The run beside it was not troubled, since nobody reads sourcedata."""
    bids_dir = tmp_path / "bids"
    (bids_dir / "sub-01").mkdir(parents=True)
    shutil.copyfile(demo.simulated / "sourcedata/refused/participants.tsv", bids_dir / "participants.tsv")
    said = mesems("run", bids_dir, tmp_path / "out", code=3).stderr
    assert "participants.tsv" in said
    assert "Treatment Arm" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.xdist_group("lesion_free")
def test_a_clean_visit_without_lesions_gives_zero(tmp_path: Path) -> None:
    truth = make_lesion_free_visit(tmp_path / "bids")
    mesems("run", tmp_path / "bids", tmp_path / "out", "--cores", 2)
    (row,) = read_rows(tmp_path / "out" / "visit_metrics.tsv")
    assert truth["gel_count"] == truth["t2_lesion_count"] == 0
    for part in ("gel", "t2", "black_hole", "brain"):
        assert (row[f"{part}_evaluable"], row[f"{part}_reason"]) == ("true", "")
    zeros = {name: row[name] for name in ("gel_count", "t2_lesion_count") if row[name] != "0"}
    assert not zeros
    assert {row["gel_volume_mm3"], row["t2_lesion_volume_mm3"], row["black_hole_volume_mm3"]} == {"0.0"}
    masks = [path.name for path in (tmp_path / "out").rglob("*label-L*_mask.nii.gz")]
    assert len([name for name in masks if re.search("desc-(T2|enhancing)_mask", name)]) == 4
