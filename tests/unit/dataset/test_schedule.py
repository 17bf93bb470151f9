"""The visit table of a trial."""

import datetime as dt
from pathlib import Path

import pytest

from mesems_mri.dataset.schedule import SHEET_COLUMNS, read_sheet
from mesems_mri.errors import DatasetError, ForbiddenColumnError

ROW = {
    "site_id": "S01",
    "participant_id": "sub-001",
    "dicom_patient_id": "MSC-001",
    "session_id": "ses-w00",
    "week": "0",
    "planned_date": "2024-03-04",
    "window_minus_days": "7",
    "window_plus_days": "5",
    "visit_type": "scheduled",
    "sex": "F",
    "contrast_dose_mmol_kg": "0.1",
    "steroid_within_30d": "false",
}


def write(folder: Path, *rows: dict[str, str]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(names), *("\t".join(row.get(name, "") for name in names) for row in rows)]
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")
    return folder / "sheet.tsv"


def test_the_example_is_read(repository: Path) -> None:
    rows = read_sheet(repository / "config" / "sheet.example.tsv")
    assert [row.visit for row in rows][:2] == ["sub-001/ses-w00", "sub-001/ses-w04"]
    assert {row.visit_type for row in rows} == {"scheduled", "unscheduled"}


def test_a_row_is_read(tmp_path: Path) -> None:
    (row,) = read_sheet(write(tmp_path, ROW))
    assert (row.site_id, row.participant_id, row.session_id, row.week) == ("S01", "sub-001", "ses-w00", 0)
    assert row.planned_date == dt.date(2024, 3, 4)
    assert (row.contrast_dose_mmol_kg, row.steroid_within_30d, row.sex) == (0.1, False, "F")


def test_prefixes_and_empty_cells_may_be_missing(tmp_path: Path) -> None:
    bare = ROW | {"participant_id": "001", "session_id": "w00", "week": "n/a", "planned_date": "", "sex": ""}
    (row,) = read_sheet(write(tmp_path, bare | {"contrast_dose_mmol_kg": "", "steroid_within_30d": ""}))
    assert row.visit == "sub-001/ses-w00"
    assert (row.week, row.planned_date, row.sex) == (None, None, "")
    assert (row.contrast_dose_mmol_kg, row.steroid_within_30d) == (None, None)


@pytest.mark.parametrize(
    ("day", "off"),
    [
        ("2024-03-04", 0),
        ("2024-02-26", 0),
        ("2024-02-25", -1),
        ("2024-03-09", 0),
        ("2024-03-10", 1),
        ("2024-04-09", 31),
    ],
)
def test_the_window_is_not_symmetric(tmp_path: Path, day: str, off: int) -> None:
    (row,) = read_sheet(write(tmp_path, ROW))
    assert row.days_outside(dt.date.fromisoformat(day)) == off


@pytest.mark.parametrize(
    "name", ["arm", "Treatment Arm", "EDSS", "randomisation_no", "trt01p", "Group", "relapse count"]
)
def test_a_column_that_would_unblind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ForbiddenColumnError, match="unblind"):
        read_sheet(write(tmp_path, ROW | {name: "x"}))


def test_a_column_that_says_nothing_of_the_treatment_is_not_read(tmp_path: Path) -> None:
    assert read_sheet(write(tmp_path, ROW | {"comment": "x"})) == read_sheet(write(tmp_path, ROW))


@pytest.mark.parametrize("name", SHEET_COLUMNS)
def test_a_missing_column_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=f"the column {name} is missing"):
        read_sheet(write(tmp_path, {key: value for key, value in ROW.items() if key != name}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("site_id", ""),
        ("site_id", "../x"),
        ("participant_id", "sub-0 1"),
        ("participant_id", ""),
        ("session_id", "ses-w/00"),
        ("dicom_patient_id", ""),
        ("week", "four"),
        ("week", "1.5"),
        ("week", "nan"),
        ("planned_date", "04.03.2024"),
        ("planned_date", "2024-02-30"),
        ("window_minus_days", "-1"),
        ("window_plus_days", "inf"),
        ("visit_type", "extra"),
        ("sex", "X"),
        ("contrast_dose_mmol_kg", "-0.1"),
        ("contrast_dose_mmol_kg", "nan"),
        ("contrast_dose_mmol_kg", "15"),
        ("steroid_within_30d", "maybe"),
    ],
)
def test_a_wrong_value_is_told_with_its_row(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(DatasetError, match=f"row 3 has the {name}"):
        read_sheet(write(tmp_path, ROW | {"session_id": "ses-a"}, ROW | {name: value}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "sub-001/ses-w00 stands there twice"),
        ({"session_id": "ses-w04", "site_id": "S02"}, "has the site_id 'S01' and 'S02'"),
        ({"session_id": "ses-w04", "sex": "M"}, "has the sex 'F' and 'M'"),
        ({"participant_id": "sub-002", "dicom_patient_id": "msc-001"}, "have the same dicom_patient_id"),
    ],
)
def test_rows_that_contradict_are_told(tmp_path: Path, change: dict[str, str], told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        read_sheet(write(tmp_path, ROW, ROW | change))


def test_a_second_patient_id_of_a_participant_is_none(tmp_path: Path) -> None:
    rows = read_sheet(write(tmp_path, ROW, ROW | {"session_id": "ses-w04", "dicom_patient_id": "NEW-1"}))
    assert [row.dicom_patient_id for row in rows] == ["MSC-001", "NEW-1"]


@pytest.mark.parametrize("content", ["", "\n\n", "\t".join(SHEET_COLUMNS) + "\n"])
def test_a_sheet_without_visits_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "sheet.tsv").write_text(content)
    with pytest.raises(DatasetError, match="no visit"):
        read_sheet(tmp_path / "sheet.tsv")


def test_a_sheet_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_sheet(tmp_path / "sheet.tsv")
