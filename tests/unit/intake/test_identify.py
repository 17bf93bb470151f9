"""Whose scan an examination is, and of which visit."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.identify import (
    Examination,
    IdentityProblem,
    check_identity,
    group_examinations,
    match_visit,
    mixed_studies,
)
from tests.unit.intake.scans import header, uid

BASELINE = dt.date(2024, 3, 4)


def row(session: str = "w00", week: int | None = 0, **changes: Any) -> SheetRow:
    planned = BASELINE + dt.timedelta(weeks=week) if week is not None else None
    return SheetRow(
        **{
            "site_id": "S01",
            "participant_id": "sub-001",
            "dicom_patient_id": "MSC-001",
            "session_id": f"ses-{session}",
            "week": week,
            "planned_date": planned,
            "window_minus_days": 7,
            "window_plus_days": 7,
            "visit_type": "scheduled",
            "sex": "F",
            "contrast_dose_mmol_kg": None,
            "steroid_within_30d": None,
            **changes,
        }
    )


SHEET = (row(), row("w04", 4), row("w12", 12), row("w24", 24))


def series(**tags: Any) -> Series:
    dataset = header(**tags)
    return Series((Path("1"),), ("1",), dataset, (str(dataset.SOPInstanceUID),), (), 1, False)


def examination(day: dt.date | None = BASELINE, patient: str = "MSC-001", **tags: Any) -> Examination:
    return Examination(patient, day, (series(**tags),))


def found(day: dt.date, *rows: SheetRow) -> tuple[str, str]:
    visit, problems = match_visit(examination(day), rows or SHEET)
    assert visit is not None
    return visit.session_id, ", ".join(f"{p.code.value}: {p.words}" for p in problems)


@given(week=st.sampled_from([0, 4, 12, 24]), off=st.integers(-7, 7))
def test_a_day_inside_a_window_is_that_visit(week: int, off: int) -> None:
    day = BASELINE + dt.timedelta(weeks=week, days=off)
    assert found(day) == (f"ses-w{week:02}", "")


@pytest.mark.parametrize(
    ("days", "session", "told"),
    [
        (8, "ses-w00", "outside_window: ses-w00: 1 day after the window closes"),
        (-9, "ses-w00", "outside_window: ses-w00: 2 days before the window opens"),
        (28 + 9, "ses-w04", "outside_window: ses-w04: 2 days after the window closes"),
        (24 * 7 + 30, "ses-w24", "outside_window: ses-w24: 23 days after the window closes"),
    ],
)
def test_a_day_outside_goes_to_the_visit_it_misses_least(days: int, session: str, told: str) -> None:
    assert found(BASELINE + dt.timedelta(days=days)) == (session, told)


@pytest.mark.parametrize("days", [14, 16, 8 * 7, 24 * 7 + 60, -90])
def test_a_day_between_visits_or_far_away_is_asked_about(days: int) -> None:
    _, told = found(BASELINE + dt.timedelta(days=days))
    assert told.startswith("visit_unclear: the nearest is ses-w")


def test_of_several_windows_the_closest_plan_counts() -> None:
    unscheduled = row("u01", None, planned_date=BASELINE + dt.timedelta(days=6), visit_type="unscheduled")
    rows = (*SHEET, unscheduled)
    assert found(BASELINE + dt.timedelta(days=5), *rows) == ("ses-u01", "")
    assert found(BASELINE + dt.timedelta(days=1), *rows) == ("ses-w00", "")
    _, told = found(BASELINE + dt.timedelta(days=3), *rows)
    assert told == "visit_unclear: it lies as close to ses-w00 and ses-u01"


def test_a_day_outside_goes_to_the_only_visit_without_a_plan() -> None:
    unplanned = row("u01", None, visit_type="unscheduled")
    day = BASELINE + dt.timedelta(days=50)
    assert found(day, *SHEET, unplanned) == ("ses-u01", "")
    assert found(BASELINE, *SHEET, unplanned) == ("ses-w00", "")
    _, told = found(day, *SHEET, unplanned, replace(unplanned, session_id="ses-u02"))
    assert told.startswith("visit_unclear")


def test_the_patient_id_is_compared_without_case_and_blanks() -> None:
    for patient in ("MSC-001", "msc-001"):
        assert match_visit(examination(patient=patient), SHEET) == (SHEET[0], [])


@pytest.mark.parametrize(
    ("patient", "detail"),
    [
        ("MSC-009", "1 series"),
        ("", "1 series without a patient ID"),
    ],
)
def test_an_unknown_patient_id_is_told_without_showing_it(patient: str, detail: str) -> None:
    visit, (problem,) = match_visit(examination(patient=patient), SHEET)
    assert visit is None
    assert (problem.code.value, problem.words) == ("unknown_participant", detail)


def test_the_sender_must_be_the_site_of_the_participant() -> None:
    assert match_visit(examination(), SHEET, "S01")[1] == []
    _, (problem,) = match_visit(examination(), SHEET, "S02")
    assert (problem.code.value, problem.words) == ("wrong_site", "sub-001 is of site S01, sent by S02")


def codes(problems: list[IdentityProblem]) -> list[str]:
    return [problem.code.value for problem in problems]


@pytest.mark.parametrize(
    ("in_header", "in_sheet", "known", "told"),
    [
        ("F", "F", "", []),
        ("M", "F", "", ["sex_differs"]),
        ("", "F", "", []),
        ("F", "", "", []),
        ("F", "", "M", ["sex_differs"]),
        ("female", "F", "", []),
        ("O", "F", "", []),
        ("U", "F", "", []),
        ("M", "O", "", []),
        ("F", "", "O", []),
    ],
)
def test_the_sex_is_compared(in_header: str, in_sheet: str, known: str, told: list[str]) -> None:
    one = examination(PatientSex=in_header or None)
    assert codes(check_identity(one, row(sex=in_sheet), known, "", "")) == told


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [("a", "a", []), ("a", "b", ["birth_date_differs"]), ("a", "", []), ("", "b", [])],
)
def test_the_birth_date_is_compared_by_its_hash(now: str, before: str, told: list[str]) -> None:
    assert codes(check_identity(examination(), row(), "", now, before)) == told


def test_two_names_under_one_patient_id_are_told() -> None:
    both = Examination("MSC-001", BASELINE, (series(PatientName="A^B"), series(PatientName="C^D")))
    assert codes(check_identity(both, row(), "", "", "")) == ["several_participants"]
    same = Examination("MSC-001", BASELINE, (series(PatientName="A^B"), series(PatientName="a b")))
    assert codes(check_identity(same, row(), "", "", "")) == []


def test_series_are_sorted_by_patient_and_day() -> None:
    sent = [
        series(series=1),
        series(series=2, StudyDate=None, AcquisitionDate=None),
        series(series=3, study=2, StudyDate="20240402"),
        series(series=4, study=3, PatientID="MSC-002"),
        series(series=5, study=3, PatientID=" MSC-002 "),
    ]
    result = [(e.patient_id, e.day, len(e.series)) for e in group_examinations(sent)]
    assert result == [
        ("MSC-001", BASELINE, 2),
        ("MSC-001", dt.date(2024, 4, 2), 1),
        ("MSC-002", BASELINE, 2),
    ]
    assert mixed_studies(group_examinations(sent)) == set()
    assert mixed_studies(group_examinations([*sent, series(series=6, PatientID="X")])) == {uid("study", 1)}


def test_no_detail_holds_a_date() -> None:
    for day in (BASELINE + dt.timedelta(days=n) for n in range(-100, 300, 3)):
        _, problems = match_visit(examination(day), SHEET)
        assert not any(str(day.year) in f"{problem.words} {problem.detail}" for problem in problems)
