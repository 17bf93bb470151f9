"""Whose scan it is does not hang on the spelling of an ID or a name, and other people stay other people."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from mesems_mri.dataset.queries import read_queries
from mesems_mri.intake.identify import Examination, check_identity, match_visit, mixed_studies
from mesems_mri.intake.spelling import same_person
from tests.unit.intake.scans import uid
from tests.unit.intake.test_flow import ALL_THREE, DAY_W04, Trial
from tests.unit.intake.test_identify import BASELINE, SHEET, codes, examination, row, series


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def matched(patient: str, *ids: str, **tags: Any) -> tuple[str, list[tuple[str, bool]]]:
    """Match a patient ID with a schedule of these IDs; return who it is and what is asked."""
    rows = [row(participant_id=f"sub-{i}", dicom_patient_id=one) for i, one in enumerate(ids)]
    visit, problems = match_visit(examination(patient=patient, **tags), rows)
    return visit.participant_id if visit else "", [(p.code.value, p.blocking is not False) for p in problems]


SPELT = [("patient_id_spelling", False)]
UNKNOWN = [("unknown_participant", True)]


@pytest.mark.parametrize(
    ("patient", "known"),
    [
        ("MSC 001", "MSC-001"),
        ("msc_001", "MSC-001"),
        ("MSC001", "MSC-001"),
        ("MSC-1", "MSC-001"),
        ("MSC-0001", "MSC-001"),
        ("1", "001"),
        ("MUELLER-01", "Müller-01"),
        ("MULLER-01", "Müller-01"),
        ("Mu\u0308ller 01", "Müller-01"),
        ("MULLER-01", "MUELLER-01"),
        ("GROSS 12", "Groß12"),
        ("Soerensen7", "Sørensen 07"),
        ("LUKASZ-3", "Łukasz-3"),
    ],
)
def test_an_id_that_is_spelt_otherwise_is_the_participant_and_is_told(patient: str, known: str) -> None:
    assert matched(patient, known, "OTHER-9") == ("sub-0", SPELT)
    assert matched(known, patient, "OTHER-9") == ("sub-0", SPELT)


@pytest.mark.parametrize(
    ("patient", "ids"),
    [
        ("MSC-01", ("MSC-1", "MSC-001")),
        ("MSC-010", ("MSC-001", "MSC-100")),
        ("SS01", ("S01",)),
        ("SUE01", ("SU01",)),
        ("--", ("MSC-001",)),
        ("", ("MSC-001",)),
    ],
)
def test_what_could_be_two_people_or_another_one_is_nobody(patient: str, ids: tuple[str, ...]) -> None:
    assert matched(patient, *ids) == ("", UNKNOWN)


def test_the_closest_spelling_decides() -> None:
    assert matched("MSC-1", "MSC-1", "MSC-001") == ("sub-0", [])
    assert matched("MSC 001", "MSC-1", "MSC-001") == ("sub-1", SPELT)
    assert matched("Müller", "Muller", "Müller") == ("sub-1", [])


@pytest.mark.parametrize(
    "tags",
    [
        {"OtherPatientIDs": "MSC-001"},
        {"PatientName": "MSC-001^"},
        {"PatientName": "MSC 1"},
        {"PatientComments": "trial MSC-001 week 0"},
        {"AccessionNumber": "MSC001"},
        {"StudyDescription": "MRI MSC-001 baseline"},
    ],
)
def test_an_id_in_another_field_is_shown_but_not_taken(tags: dict[str, Any]) -> None:
    visit, (problem,) = match_visit(examination(patient="HOSP-77", **tags), SHEET)
    assert visit is None
    assert (problem.code.value, problem.detail) == ("unknown_participant", ("series=1", "sub-001"))
    assert f"that of sub-001 stands in {next(iter(tags))}" in problem.words
    assert "MSC" not in problem.words


def test_the_id_of_the_trial_is_taken_where_the_patient_id_is_unknown() -> None:
    visit, (problem,) = match_visit(examination(patient="HOSP-77", ClinicalTrialSubjectID="msc 001"), SHEET)
    assert visit == SHEET[0]
    assert (problem.code.value, problem.blocking) == ("patient_id_spelling", False)
    assert match_visit(examination(patient="HOSP-77", ClinicalTrialSubjectID="OTHER"), SHEET)[0] is None
    # a patient ID that is known is the one that counts
    other = replace(SHEET[0], participant_id="sub-002", dicom_patient_id="MSC-002")
    both = examination(patient="MSC-001", ClinicalTrialSubjectID="MSC-002")
    assert match_visit(both, (*SHEET, other)) == (SHEET[0], [])


@pytest.mark.parametrize(
    ("names", "same"),
    [
        (("Müller^Anna", "MUELLER^ANNA"), True),
        (("Müller^Anna", "Muller^Anna"), True),
        (("Anna^Müller", "Mueller^Anna"), True),
        (("Muller^Anna^^Dr", "Müller, Anna"), True),
        (("Sørensen^Åse", "Soerensen^Aase"), True),
        (("Groß^Otto", "GROSS OTTO"), True),
        (("Yamada^Taro=山田^太郎", "山田^太郎"), True),
        (("Müller^Anna", "Müller^Anne"), False),
        (("Müller^Anna", "Miller^Anna"), False),
        (("Rossi^Anna", "Rossi^Paola"), False),
    ],
)
def test_names_that_differ_by_spelling_are_one_person(names: tuple[str, str], same: bool) -> None:
    assert same_person(names) == same
    both = Examination("MSC-001", BASELINE, tuple(series(PatientName=name) for name in names))
    assert codes(check_identity(both, row(), "", "", "")) == ([] if same else ["several_participants"])


@pytest.mark.parametrize(("sexes", "known", "told"), [
    (("F", "O"), "F", []), (("O",), "M", []), (("U", ""), "M", []), (("F", "M"), "F", ["sex_differs"]),
    (("M",), "F", ["sex_differs"]), (("M",), "O", []),
])  # fmt: skip
def test_an_unknown_sex_contradicts_none(sexes: tuple[str, ...], known: str, told: list[str]) -> None:
    one = Examination("MSC-001", BASELINE, tuple(series(PatientSex=sex or None) for sex in sexes))
    assert codes(check_identity(one, row(sex=known), "", "", "")) == told


def test_a_study_under_two_spellings_of_one_id_is_of_one_person() -> None:
    both = [examination(), examination(patient="MSC 001")]
    assert mixed_studies(both, SHEET) == set()
    assert mixed_studies([*both, examination(patient="MSC-009")], SHEET) == {uid("study", 1)}


def test_a_visit_under_another_spelling_is_filed_and_told(trial: Trial) -> None:
    sent = trial.examination(trial.submission(), PatientID="msc 1", PatientSex="O")
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.blocking, query.participant_id) == (
        "patient_id_spelling",
        False,
        "sub-001",
    )
    assert "msc 1" not in (trial.bids / "queries.tsv").read_text(encoding="utf-8")


def with_new_uids(sent: Path, again: Path, **tags: str) -> Path:
    """Copy a submission, as an anonymiser that makes new UIDs at every export does."""
    shutil.copytree(sent, again)
    for path in again.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            setattr(dataset, keyword, f"{getattr(dataset, keyword)}.77")
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        pydicom.dcmwrite(path, dataset)
    return again


def test_the_same_scan_with_new_uids_is_no_new_image(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    before = {path: content for path, content in trial.bytes().items() if path.startswith(("sub-", "source"))}
    again = with_new_uids(sent, trial.submission(), StudyDate="20240306", AcquisitionDate="20240306")
    trial.run_intake(again)
    after = {path: content for path, content in trial.bytes().items() if path.startswith(("sub-", "source"))}
    assert after == before
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.blocking) == ("duplicate_submission", False)
    assert set(query.detail.split(",")) >= {"FLAIR", "T1w", "ce-gadolinium_T1w"}
    assert sorted(r["status"] for r in trial.rows()) == ["duplicate"] * 3 + ["filed"] * 3


def test_only_what_is_new_of_a_scan_with_new_uids_is_filed(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    part = shutil.copytree(sent, trial.submission())
    shutil.rmtree(part / "a")
    trial.run_intake(part)
    trial.run_intake(with_new_uids(sent, trial.submission()))
    assert trial.images() == sorted(ALL_THREE)
    assert sorted(r["status"] for r in trial.rows()) == ["duplicate"] * 2 + ["filed"] * 3
    assert not (trial.bids / "sourcedata").exists()


def test_the_same_scan_as_another_visit_or_of_another_role_is_held(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    later = {key: value for key, value in DAY_W04.items() if isinstance(value, str)}
    trial.run_intake(with_new_uids(sent, trial.submission(), **later))
    assert trial.images() == sorted(ALL_THREE)
    assert set(trial.codes(blocking=True)) == {"duplicate_submission"}
