"""Tables, their dictionaries, and the counts derived from the ledger."""

import csv
import json
import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesems_mri.config import Period, TrialConfig
from mesems_mri.core.tracking.foci import KnownFoci, VisitFoci
from mesems_mri.core.tracking.track import complete_rows, track_visit
from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    QC_FLAGS,
    SCHEMA_VERSION,
    VISIT_METRICS_COLUMNS,
    Column,
)
from mesems_mri.dataset.counts import participant_endpoints, visit_counts
from mesems_mri.dataset.tables import check_forbidden, read_table, write_dictionary, write_table
from mesems_mri.errors import DatasetError, ForbiddenColumnError
from tests.unit.strategies import Participant, participants, render

TABLES = [LEDGER_COLUMNS, VISIT_METRICS_COLUMNS, PARTICIPANT_ENDPOINTS_COLUMNS]
ALL_EVALUABLE = dict.fromkeys(
    ("gel_evaluable", "gel_change_evaluable", "t2_evaluable", "t2_change_evaluable"), True
)
ORDER = {
    "visit_metrics": """study_id, site_id, participant_id, session_id, visit_type, week, day_from_baseline,
        gel_reference_session_id, t2_reference_session_id, t2_interval_days, t2_contrast, gel_count,
        gel_new_count, gel_persistent_count, gel_re_enhancing_count, gel_volume_mm3, gel_prior_evaluable,
        gel_evaluable, gel_reason, t2_new_count, t2_enlarging_count, t2_new_volume_mm3,
        t2_enlarging_volume_mm3, t2_change_evaluable, t2_change_reason, cua_count, cua_evaluable, cua_reason,
        t2_lesion_count, t2_lesion_volume_mm3, t2_evaluable, t2_reason, black_hole_volume_mm3,
        black_hole_evaluable, black_hole_reason, brain_volume_mm3, brain_evaluable, brain_reason, qc_status,
        qc_flags, read_status, software_version, config_sha256""",
    "participant_endpoints": """study_id, site_id, participant_id, baseline_session_id, baseline_gel_count,
        baseline_evaluable, period, gel_count_sum, gel_new_sum, gel_volume_sum_mm3, gel_visits_evaluable,
        cua_sum, cua_visits_evaluable, t2_new_enlarging_sum, t2_weeks_covered, t2_volume_start_mm3,
        t2_volume_end_mm3, black_hole_volume_start_mm3, black_hole_volume_end_mm3, read_status""",
    "lesions": """study_id, site_id, participant_id, session_id, lesion_id, focus, parent_lesion_id,
        merged_ids, reference_session_id, first_seen_session_id, t2_status, gd_status, active, volume_mm3,
        growth_mm3, max_diameter_mm, x, y, z, region, score, decision""",
}


def row(lesion_id: int, focus: str, **values: Any) -> dict[str, Any]:
    return {"lesion_id": lesion_id, "focus": focus, "volume_mm3": 20.0, "decision": "automatic"} | values


def t2(lesion_id: int, status: str, **values: Any) -> dict[str, Any]:
    return row(lesion_id, "t2", t2_status=status, **values)


def gel(lesion_id: int, status: str, parent: int | None = None, **values: Any) -> dict[str, Any]:
    return row(lesion_id, "gel", gd_status=status, parent_lesion_id=parent, t2_status=None, **values)


# ---- columns


@pytest.mark.parametrize(
    ("name", "columns"),
    [("lesions", TABLES[0]), ("visit_metrics", TABLES[1]), ("participant_endpoints", TABLES[2])],
)
def test_columns_are_those_of_the_contract(name: str, columns: dict[str, Column]) -> None:
    assert list(columns) == re.split(r",\s+", ORDER[name])


@pytest.mark.parametrize("columns", TABLES)
def test_every_column_is_described(columns: dict[str, Column]) -> None:
    for name, column in columns.items():
        assert column.description, name
        assert name.endswith("_mm3") == (column.units == "mm3"), name
        assert (name.endswith(("_count", "_sum"))) <= (column.kind == "integer"), name
        assert (name.endswith("_evaluable") and "visits" not in name) == (
            column.kind == "boolean" and name != "active"
        )


def test_flags_are_a_closed_list(repository: Path) -> None:
    # a flag that is not on it would stop the tables of the whole study
    sources = "".join(path.read_text() for path in sorted((repository / "mesems_mri").rglob("*.py")))
    raised = set(re.findall(r"""flags\.(?:add|append)\("([^"]+)"\)""", sources))
    assert raised
    assert raised <= set(QC_FLAGS)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", flag) for flag in QC_FLAGS)
    assert VISIT_METRICS_COLUMNS["qc_flags"].levels is QC_FLAGS


# ---- writing and reading

SOME = {
    "name": Column("Name"),
    "n": Column("Number", "integer"),
    "volume_mm3": Column("Volume", "number", "mm3"),
    "score": Column("Score", "number", decimals=3),
    "evaluable": Column("Evaluable", "boolean"),
    "colour": Column("Colour", levels={"red": "Red", "blue": "Blue"}),
}


def test_table_is_written_as_the_contract_says(tmp_path: Path) -> None:
    path = tmp_path / "größe und form" / "table.tsv"
    rows = [
        {
            "name": "ä",
            "n": np.int64(3),
            "volume_mm3": 14,
            "score": 0.12345,
            "evaluable": True,
            "colour": "red",
        },
        {"name": "b", "volume_mm3": np.float32(-0.04), "evaluable": False, "colour": "red;blue"},
        {"n": 0, "volume_mm3": 0.0},
    ]
    write_table(path, SOME, rows)
    assert path.read_bytes().decode() == (
        "name\tn\tvolume_mm3\tscore\tevaluable\tcolour\n"
        "ä\t3\t14.0\t0.123\ttrue\tred\n"
        "b\t\t0.0\t\tfalse\tred;blue\n"
        "\t0\t0.0\t\t\t\n"
    )
    assert [p.name for p in path.parent.iterdir()] == ["table.tsv"], "no temporary file is left"


def test_table_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [
        {"name": 'a "b"', "n": 0, "volume_mm3": 0.0, "score": 0.5, "evaluable": False, "colour": "red"},
        dict.fromkeys(SOME),
    ]
    rows[1] |= {"name": "x"}
    write_table(tmp_path / "t.tsv", SOME, rows)
    assert read_table(tmp_path / "t.tsv", SOME) == rows
    write_table(tmp_path / "none.tsv", SOME, [])
    assert read_table(tmp_path / "none.tsv", SOME) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"other": 1},
        {"name": "a\tb"},
        {"name": "a\nb"},
        {"n": 1.5},
        {"n": True},
        {"volume_mm3": float("nan")},
        {"evaluable": "yes"},
        {"evaluable": 1},
        {"colour": "green"},
    ],
)
def test_value_that_a_column_cannot_hold_is_refused(tmp_path: Path, bad: dict[str, Any]) -> None:
    path = tmp_path / "t.tsv"
    write_table(path, SOME, [{"name": "before"}])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=next(iter(bad))):
        write_table(path, SOME, [bad])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["a\tb\n1\t2\n", "n\tscore\n1\t0.5\n", "", "n\n1\t2\n", "n\nmany\n", "n\n\t\n"]
)
def test_table_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=re.escape(str(path))):
        read_table(path, {"n": SOME["n"]})


@pytest.mark.parametrize("text", ["True", "1", "yes"])
def test_boolean_in_other_words_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"evaluable\n{text}\n")
    with pytest.raises(DatasetError, match="true or false"):
        read_table(path, {"evaluable": SOME["evaluable"]})


@pytest.mark.parametrize("columns", TABLES)
def test_dictionary_describes_every_column(tmp_path: Path, columns: dict[str, Column]) -> None:
    write_dictionary(tmp_path / "d.json", columns)
    dictionary = json.loads((tmp_path / "d.json").read_text())
    assert dictionary.pop("schema_version") == SCHEMA_VERSION
    assert list(dictionary) == list(columns)
    for name, entry in dictionary.items():
        assert entry["Description"]
        assert ("Units" in entry) == bool(columns[name].units)
        assert set(entry) <= {"Description", "Units", "Levels"}


# ---- columns that would unblind


UNBLINDING = [
    *("arm", "ARM", "Arm_CD", "actarm", "act arm cd", "trt01p", "TRT", "treatment", "Treatment_Sequence"),
    *("group", "allocation", "randomization", "Randomisation_No", "EDSS", "relapse", "relapses_12m", "SDMT"),
    *(
        "N_HPT",
        "T25FW",
        " arm ",
        "\ufeffarm",
        "t_r_t",
        "\uff21\uff32\uff2d",
    ),  # the last in full-width letters
]


@pytest.mark.parametrize("name", UNBLINDING)
def test_column_that_would_unblind_is_refused(name: str) -> None:
    with pytest.raises(ForbiddenColumnError) as error:
        check_forbidden(["participant_id", name], Path("sheet.tsv"))
    assert "sheet.tsv" in str(error.value)
    assert repr(name) in str(error.value)
    assert error.value.exit_code == 3


def test_other_columns_pass() -> None:
    harmless = ["participant_id", "sex", "age", "weight", "height", "birth_date_hash", "contrast_dose"]
    harmless += ["steroid_within_30d", "site_id", "week", "subgroup", "group_size", "alarm", "charm", "harm"]
    harmless += ["armband", "start", "allocation_note", "acq_time", "random_seed", "x_arm_y"]
    check_forbidden(harmless, "sheet.tsv")
    for columns in TABLES:
        check_forbidden(columns, "own tables")


@given(st.sampled_from(["arm", "trt", "edss", "relapse"]), st.data())
def test_no_spelling_gets_through(word: str, data: st.DataObject) -> None:
    spelled = "".join(
        letter + data.draw(st.text(st.sampled_from(" _\t"), max_size=2))
        for letter in (data.draw(st.sampled_from([c, c.upper()])) for c in word)
    )
    with pytest.raises(ForbiddenColumnError):
        check_forbidden([spelled], "sheet.tsv")


# ---- counts of a visit


def test_evaluable_visit_without_lesions_is_zero() -> None:
    counts = visit_counts([], **ALL_EVALUABLE)
    assert counts.pop("cua_evaluable") is True
    assert set(counts.values()) == {0}


def test_nothing_evaluable_is_never_zero() -> None:
    counts = visit_counts([t2(1, "new"), gel(2, "new")], **dict.fromkeys(ALL_EVALUABLE, False))
    assert counts.pop("cua_evaluable") is False
    assert set(counts.values()) == {None}


@pytest.mark.parametrize("missing", sorted(ALL_EVALUABLE))
def test_what_is_not_evaluable_is_empty(missing: str) -> None:
    counts = visit_counts([t2(1, "new"), gel(2, "new")], **(ALL_EVALUABLE | {missing: False}))
    empty = {
        "gel_evaluable": {"gel_count", "gel_volume_mm3", "gel_new_count", "gel_persistent_count"}
        | {"gel_re_enhancing_count", "cua_count"},
        "gel_change_evaluable": {
            "gel_new_count",
            "gel_persistent_count",
            "gel_re_enhancing_count",
            "cua_count",
        },
        "t2_evaluable": {"t2_lesion_count", "t2_lesion_volume_mm3"},
        "t2_change_evaluable": {"t2_new_count", "t2_enlarging_count", "t2_new_volume_mm3", "cua_count"}
        | {"t2_enlarging_volume_mm3"},
    }[missing]
    assert {name for name, value in counts.items() if value is None} == empty


def test_counts_come_from_the_rows() -> None:
    rows = [
        t2(1, "new", volume_mm3=30.0),
        t2(2, "enlarging", volume_mm3=100.0, growth_mm3=25.0),
        t2(3, "stable"),
        t2(4, "resolved", volume_mm3=0.0),
        t2(5, "new", decision="rejected"),
        gel(6, "new", parent=1),
        gel(7, "persistent", parent=2),
        gel(8, "re_enhancing", parent=3),
        gel(9, "new"),
        gel(10, "new", parent=1, decision="rejected"),
    ]
    assert visit_counts(rows, **ALL_EVALUABLE) == {
        "gel_count": 4,
        "gel_new_count": 2,
        "gel_persistent_count": 1,
        "gel_re_enhancing_count": 1,
        "gel_volume_mm3": 80.0,
        "t2_new_count": 1,
        "t2_enlarging_count": 1,
        "t2_new_volume_mm3": 30.0,
        "t2_enlarging_volume_mm3": 25.0,
        # GEL 6 with T2 1, GEL 8, GEL 9, T2 2 (its GEL is persistent)
        "cua_count": 4,
        "cua_evaluable": True,
        "t2_lesion_count": 3,
        "t2_lesion_volume_mm3": 150.0,
    }


def test_two_gel_with_one_t2_count_twice() -> None:
    rows = [t2(1, "new"), gel(2, "new", parent=1), gel(3, "new", parent=1)]
    assert visit_counts(rows, **ALL_EVALUABLE)["cua_count"] == 2


def test_rejected_gel_leaves_its_t2_counted() -> None:
    rows = [t2(1, "new"), gel(2, "new", parent=1, decision="rejected")]
    assert visit_counts(rows, **ALL_EVALUABLE)["cua_count"] == 1


@settings(max_examples=40, deadline=None)
@given(participants())
def test_counts_are_recomputed_from_the_table_by_other_means(
    tmp_path_factory: pytest.TempPathFactory, participant: Participant
) -> None:
    drawn = [render(cells) for cells in participant]
    known = KnownFoci.none(drawn[0]["gel"].shape)
    ledger, metrics = [], {}
    for k, foci in enumerate(drawn):
        change: dict[str, Any] = {"new": foci["new"], "enlarging": foci["enlarging"]} if k else {}
        reference = f"ses-{k - 1}" if k else None
        visit = VisitFoci(
            session_id=f"ses-{k}", t2_mask=foci["t2_mask"], gel=foci["gel"],
            t2_reference_session_id=reference, **change,
        )  # fmt: skip
        tracked = track_visit(visit, known, spacing_mm=(1.0, 1.0, 1.0))
        known = tracked.known
        ledger += complete_rows(tracked.rows, identity={"participant_id": "sub-1"}, details={})
        metrics[f"ses-{k}"] = visit_counts(
            tracked.rows, **(ALL_EVALUABLE | {"gel_change_evaluable": k > 0, "t2_change_evaluable": k > 0})
        )
    path = tmp_path_factory.mktemp("ledger") / "lesions.tsv"
    write_table(path, LEDGER_COLUMNS, ledger)
    with path.open(newline="") as stream:
        table = list(csv.DictReader(stream, delimiter="\t"))
    for session, counts in metrics.items():
        here = [r for r in table if r["session_id"] == session]
        assert counts["gel_count"] == sum(r["focus"] == "gel" for r in here)
        assert counts["gel_volume_mm3"] == sum(float(r["volume_mm3"]) for r in here if r["focus"] == "gel")
        lesions = [float(r["volume_mm3"]) for r in here if r["focus"] == "t2" and float(r["volume_mm3"]) > 0]
        assert (counts["t2_lesion_count"], counts["t2_lesion_volume_mm3"]) == (len(lesions), sum(lesions))
        if session == "ses-0":
            assert counts["cua_count"] is counts["t2_new_count"] is counts["gel_new_count"] is None
            continue
        for status in ("new", "persistent", "re_enhancing"):
            assert counts[f"gel_{status}_count"] == sum(
                (r["focus"], r["gd_status"]) == ("gel", status) for r in here
            )
        for status in ("new", "enlarging"):
            kept = [r for r in here if (r["focus"], r["t2_status"]) == ("t2", status)]
            assert counts[f"t2_{status}_count"] == len(kept)
            volume = "volume_mm3" if status == "new" else "growth_mm3"
            assert counts[f"t2_{status}_volume_mm3"] == sum(float(r[volume]) for r in kept)
        active = [r for r in here if r["active"] == "true"]
        parents = {r["parent_lesion_id"] for r in active if r["focus"] == "gel"}
        alone = [r for r in active if r["focus"] == "gel" or r["lesion_id"] not in parents]
        assert counts["cua_count"] == len(alone)


# ---- endpoints of a participant

WEEKS = (0, 4, 12, 24, 28, 36, 48)
PERIODS = TrialConfig().periods


def visit(week: int | None, participant: str = "sub-1", **values: Any) -> dict[str, Any]:
    """Return an evaluable visit whose session name says nothing about its week."""
    session = "ses-" + (string.ascii_lowercase[WEEKS.index(week)] if week in WEEKS else "x")
    reference = None
    if week in WEEKS and week:
        reference = "ses-" + string.ascii_lowercase[WEEKS.index(week) - 1]
    return {
        "study_id": "trial",
        "site_id": "01",
        "participant_id": participant,
        "session_id": session,
        "visit_type": "scheduled",
        "week": week,
        "t2_reference_session_id": reference,
        "gel_count": 2,
        "gel_new_count": 1 if week else None,
        "gel_volume_mm3": 50.0,
        "gel_evaluable": True,
        "t2_new_count": 1 if week else None,
        "t2_enlarging_count": 1 if week else None,
        "t2_change_evaluable": bool(week),
        "cua_count": 3 if week else None,
        "cua_evaluable": bool(week),
        "t2_lesion_volume_mm3": 1000.0 + (week or 0),
        "t2_evaluable": True,
        "black_hole_volume_mm3": 100.0 + (week or 0),
        "black_hole_evaluable": True,
        "read_status": "read",
    } | values


def not_evaluable(week: int) -> dict[str, Any]:
    empty = (
        "gel_count",
        "gel_new_count",
        "gel_volume_mm3",
        "t2_new_count",
        "t2_enlarging_count",
        "cua_count",
    )
    empty += ("t2_lesion_volume_mm3", "black_hole_volume_mm3", "t2_reference_session_id")
    flags = ("gel_evaluable", "t2_change_evaluable", "cua_evaluable", "t2_evaluable", "black_hole_evaluable")
    return visit(week) | dict.fromkeys(empty) | dict.fromkeys(flags, False)


def test_endpoints_of_a_complete_participant() -> None:
    first, second = participant_endpoints([visit(week) for week in WEEKS], PERIODS)
    assert first == {
        "study_id": "trial",
        "site_id": "01",
        "participant_id": "sub-1",
        "baseline_session_id": "ses-a",
        "baseline_gel_count": 2,
        "baseline_evaluable": True,
        "period": "w04_w24",
        "gel_count_sum": 6,
        "gel_new_sum": 3,
        "gel_volume_sum_mm3": 150.0,
        "gel_visits_evaluable": 3,
        "cua_sum": 9,
        "cua_visits_evaluable": 3,
        "t2_new_enlarging_sum": 6,
        "t2_weeks_covered": 24,
        "t2_volume_start_mm3": 1000.0,
        "t2_volume_end_mm3": 1024.0,
        "black_hole_volume_start_mm3": 100.0,
        "black_hole_volume_end_mm3": 124.0,
        "read_status": "read",
    }
    assert second["period"] == "w28_w48"
    assert (second["t2_weeks_covered"], second["t2_volume_start_mm3"]) == (24, 1024.0)
    assert list(first) == list(PARTICIPANT_ENDPOINTS_COLUMNS)


def test_sum_over_no_evaluable_visit_is_empty() -> None:
    first, second = participant_endpoints([visit(0), not_evaluable(4), not_evaluable(24)], PERIODS)
    for endpoints in (first, second):
        for name in ("gel_count_sum", "gel_new_sum", "gel_volume_sum_mm3", "cua_sum", "t2_new_enlarging_sum"):
            assert endpoints[name] is None, name
        assert endpoints["t2_weeks_covered"] is None
        assert endpoints["gel_visits_evaluable"] == endpoints["cua_visits_evaluable"] == 0
    assert (first["t2_volume_start_mm3"], first["t2_volume_end_mm3"]) == (1000.0, None)
    assert second["t2_volume_start_mm3"] is None


def test_sum_is_over_the_evaluable_visits() -> None:
    rows = [visit(0), visit(4, gel_count=5), not_evaluable(12), visit(24, t2_reference_session_id="ses-b")]
    first, _ = participant_endpoints(rows, PERIODS)
    assert (first["gel_count_sum"], first["gel_visits_evaluable"]) == (7, 2)
    assert first["t2_new_enlarging_sum"] == 4
    assert first["t2_weeks_covered"] == 24, "4 weeks, then 20 up to week 24"


def test_weeks_that_were_not_compared_are_not_covered() -> None:
    rows = [visit(0), visit(4), visit(12, t2_change_evaluable=False, t2_reference_session_id=None), visit(24)]
    first, _ = participant_endpoints(rows, PERIODS)
    assert first["t2_weeks_covered"] == 4 + 12


def test_evaluable_visits_without_lesions_sum_to_zero() -> None:
    none = {"gel_count": 0, "gel_new_count": 0, "gel_volume_mm3": 0.0, "cua_count": 0}
    none |= {"t2_new_count": 0, "t2_enlarging_count": 0}
    first, _ = participant_endpoints([visit(week, **none) for week in (0, 4)], PERIODS)
    assert [first[n] for n in ("gel_count_sum", "gel_new_sum", "gel_volume_sum_mm3", "cua_sum")] == [
        0,
        0,
        0,
        0,
    ]
    assert first["t2_new_enlarging_sum"] == 0
    assert first["baseline_gel_count"] == 0


def test_unscheduled_visits_and_digits_in_labels_do_not_count() -> None:
    rows = [
        visit(4, session_id="ses-w12"),
        visit(12, visit_type="unscheduled", gel_count=100),
        visit(12, visit_type="repeat", gel_count=100),
        visit(None, session_id="ses-w24", gel_count=100),
    ]
    first, _ = participant_endpoints(rows, PERIODS)
    assert (first["gel_count_sum"], first["gel_visits_evaluable"]) == (2, 1)
    assert (first["baseline_session_id"], first["baseline_evaluable"]) == (None, False)
    assert first["t2_volume_end_mm3"] is None


def test_participants_are_apart_and_reading_is_as_far_as_the_last() -> None:
    rows = [visit(0), visit(4, read_status="automatic"), visit(4, "sub-2", gel_count=7, read_status="locked")]
    endpoints = participant_endpoints(rows, {"p": Period(weeks=(4,), start=0, end=4)})
    assert [(e["participant_id"], e["gel_count_sum"], e["read_status"]) for e in endpoints] == [
        ("sub-1", 2, "automatic"),
        ("sub-2", 7, "locked"),
    ]


def test_endpoints_are_the_same_from_the_table(tmp_path: Path) -> None:
    rows = [visit(week) for week in WEEKS[:4]] + [not_evaluable(28)]
    path = tmp_path / "visit_metrics.tsv"
    write_table(path, VISIT_METRICS_COLUMNS, rows)
    endpoints = participant_endpoints(read_table(path, VISIT_METRICS_COLUMNS), PERIODS)
    assert endpoints == participant_endpoints(rows, PERIODS)
    write_table(tmp_path / "participant_endpoints.tsv", PARTICIPANT_ENDPOINTS_COLUMNS, endpoints)
