"""What names a person is refused; what only looks like it travels."""

from pathlib import Path

import pytest

from mesems_mri.dataset.queries import add_queries, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.schedule import SHEET_COLUMNS
from mesems_mri.errors import BundleError
from mesems_mri.transfer.columns import TextTable
from mesems_mri.transfer.identifiers import patient_ids, refuse_identifiers
from tests.small_study import small_study


def write_sheet(path: Path, *rows: tuple[str, str]) -> Path:
    lines = ["\t".join(SHEET_COLUMNS)]
    for participant, patient in rows:
        values = {"site_id": "S01", "participant_id": participant, "dicom_patient_id": patient}
        lines.append("\t".join(values.get(name, "") for name in SHEET_COLUMNS))
    path.write_text("\n".join(lines) + "\n")
    return path


def check(text: str, column: str = "what", patients: tuple[str, ...] = ()) -> None:
    refuse_identifiers({"queries.csv": TextTable((column,), [[text]])}, patients)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sent as MUELLER^HANS", "a person's name"),
        ("ask h.mueller@example.org", "an e-mail address"),
        ("scanned on 2024-03-31", "a date"),
        ("scanned on 20240331.", "a date"),
        ("scanned on 31.03.2024", "a date"),
        ("scanned on 3/3/2024", "a date"),
        ("born 1970/1/1", None),
        ("the FLAIR has 30 of 32 slices", None),
        ("series 4, syngo MR 2024A, 1.2.840.20240331.5", None),
        ("10-20 days late; ratio 12/24", None),
        ("TE 2000 ms, 20240399", None),
    ],
)
def test_free_text(text: str, found: str | None) -> None:
    if found is None:
        check(text)
        return
    with pytest.raises(BundleError, match=found) as caught:
        check(text)
    assert text.split()[-1].rstrip(".") not in str(caught.value)


def test_a_date_of_the_scan_itself_travels() -> None:
    check("2024-03-31", column="NVDTC")
    check("2024-03-31", column="opened")


@pytest.mark.parametrize(("column", "text"), [("participant_id", "Hans Mueller"), ("session_id", "sub-01")])
def test_labels_are_labels(column: str, text: str) -> None:
    with pytest.raises(BundleError, match="something that is no label"):
        check(text, column=column)
    check("", column=column)


@pytest.mark.parametrize("text", ["MSC-0017", "msc 0017", "x_MSC0017_y"])
def test_patient_id_of_the_sheet_is_found_however_it_is_written(tmp_path: Path, text: str) -> None:
    patients = patient_ids(write_sheet(tmp_path / "sheet.tsv", ("sub-017", "MSC-0017")))
    with pytest.raises(BundleError, match="a patient ID of the visit schedule in DIVAL"):
        check(text, column="DIVAL", patients=tuple(patients))
    check("MSC-0018", column="DIVAL", patients=tuple(patients))


def test_patient_id_that_is_the_label_or_a_short_number_names_nobody(tmp_path: Path) -> None:
    sheet = write_sheet(
        tmp_path / "sheet.tsv", ("sub-S01x001", "S01X001"), ("sub-002", "sub-002"), ("sub-3", "17")
    )
    assert patient_ids(sheet) == set()


@pytest.mark.parametrize(
    ("column", "text", "found"),
    [
        ("DIVAL", "scanned as 353312", True),
        ("DIVAL", "353312", True),
        ("NVORRES", "1353312.0", False),
        ("NVORRES", "353312.0", False),
        ("config_sha256", "ab353312cd", False),
        ("SPDEVID", "MRI-353312", False),
    ],
)
def test_patient_id_of_digits_alone_is_found_as_a_whole_number(column: str, text: str, found: bool) -> None:
    if not found:
        check(text, column=column, patients=("353312",))
        return
    with pytest.raises(BundleError, match="a patient ID of the visit schedule"):
        check(text, column=column, patients=("353312",))


def test_build_refuses_and_says_where(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    sheet = write_sheet(tmp_path / "sheet.tsv", ("sub-001", "MSC-0017"))
    assert study.build(sheet=sheet)
    query = new_query(QueryCode.NAME_DIFFERS, words="called MSC0017 FLAIR", participant_id="sub-001")
    add_queries(study.bids_dir, [query])
    with pytest.raises(
        BundleError, match=r"queries\.csv: row 1 holds a patient ID .* correct it in queries\.tsv"
    ):
        study.build(sheet=sheet)
    assert study.build()  # without the sheet nobody can tell
