"""From DICOM to the receipt: what came, whose it is, is it to protocol, and no name on it."""

import base64
import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from mesems_mri.intake.context import IntakeRequest
from mesems_mri.intake.flow import run_intake
from mesems_mri.intake.receipt_store import read_receipts
from mesems_mri.report.receipt_page import SubmissionReceipt
from tests.unit.intake.scans import FLAIR, T1, write_series
from tests.unit.report.html import Page

PROTOCOL = Path(__file__).parents[3] / "config" / "protocol-mesems2012.yaml"
DAY = dt.date(2024, 3, 9)
HEAD = (
    *("site_id", "participant_id", "dicom_patient_id", "session_id", "week", "planned_date"),
    *("window_minus_days", "window_plus_days", "visit_type", "sex", "contrast_dose_mmol_kg"),
    "steroid_within_30d",
)
ROWS = (
    ("S01", "sub-001", "MSC-001", "ses-w00", 0, "2024-03-04", 7, 7, "scheduled", "F", 0.1, "true"),
    ("S01", "sub-001", "MSC-001", "ses-w04", 4, "2024-04-01", 5, 5, "scheduled", "F", 0.1, "true"),
)
BOLUS = {
    "ContrastBolusAgent": "Gadovist given by Dr Nobody",
    "ContrastBolusVolume": 7,
    "ContrastBolusStartTime": "095500",
    "PatientWeight": 70,
}


def send(folder: Path, **tags: Any) -> Path:
    """Write a visit as a site sends it: T1w before and after contrast, FLAIR, and a localizer."""
    tags = {"ReceiveCoilName": "Nora HNS Head", "Rows": 24, "Columns": 24} | tags
    write_series(folder / "1", "loc", slices=3, spacing=20.0, series=1, **tags | T1)
    write_series(folder / "2", "t1_se for Nobody", series=2, **tags | T1 | {"AcquisitionTime": "095000"})
    write_series(folder / "3", "flair", series=3, **tags | FLAIR)
    write_series(folder / "4", "t1_se_gd", series=4, **tags | T1 | BOLUS)
    return folder


def take(tmp_path: Path, sent: Path, **options: Any) -> list[SubmissionReceipt]:
    sheet = tmp_path / "sheet.tsv"
    lines = [HEAD, *ROWS]
    sheet.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
    given = {"protocol": PROTOCOL, "today": DAY} | options
    run_intake(IntakeRequest(submission=sent, bids_dir=tmp_path / "bids", sheet=sheet, **given))
    return read_receipts(tmp_path / "bids")


def results(receipt: SubmissionReceipt) -> dict[str, str]:
    return {item.name: item.result for item in receipt.identity}


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accepted")
    take(folder, send(folder / "sent"))
    return folder


def test_visit_to_protocol_is_accepted(accepted: Path) -> None:
    (receipt,) = read_receipts(accepted / "bids")
    assert (receipt.participant_id, receipt.session_id, receipt.week) == ("sub-001", "ses-w00", 0)
    assert {(s.role, bool(s.image)) for s in receipt.series} == {
        ("localizer", False),
        ("T1w", True),
        ("FLAIR", True),
        ("ce-gadolinium_T1w", True),
    }
    assert all(series.reason for series in receipt.series)
    assert {item.role for item in receipt.items} == {"T1w", "FLAIR", "ce-gadolinium_T1w"}
    assert {item.name: item.value for item in receipt.items if item.result == "FAIL"} == {}
    found = {(item.role, item.name): item.value for item in receipt.items}
    assert found["ce-gadolinium_T1w", "contrast_dose"] == "0.1 mmol/kg (header), 0.1 mmol/kg (sheet)"
    assert found["ce-gadolinium_T1w", "injection_delay"] == "9.0 min"
    assert receipt.missing == ()
    assert results(receipt) == {
        "participant": "PASS",
        "site": "PASS",
        "sex": "PASS",
        "birth_date": "UNKNOWN",
        "window": "PASS",
        "new": "PASS",
    }
    (page,) = (accepted / "bids" / "receipts").glob("*.html")
    assert Page(page.read_text(encoding="utf-8")).images == 9
    assert (accepted / "bids" / "sites" / "S01.html").is_file()


def test_no_page_and_no_record_of_a_receipt_holds_a_name_or_a_steroid_flag(accepted: Path) -> None:
    files = [p for name in ("receipts", "sites") for p in (accepted / "bids" / name).iterdir()]
    assert {path.suffix for path in files} == {".html", ".json"}
    for path in files:
        text = path.read_text(encoding="utf-8").casefold()
        for word in ("nobody", "nora", "1980", "19800229", "steroid", "msc-001", "20240304", "2024-03-04"):
            assert word not in text, (path.name, word)


def test_pictures_of_a_receipt_hold_nothing_but_the_picture(accepted: Path) -> None:
    (page,) = (accepted / "bids" / "receipts").glob("*.html")
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page.read_text(encoding="utf-8"))
    assert len(pictures) == 9
    for picture in pictures:
        content, at, kinds = base64.b64decode(picture), 8, set()
        while at < len(content):
            kinds.add(content[at + 4 : at + 8])
            at += 12 + int.from_bytes(content[at : at + 4])
        assert kinds == {b"IHDR", b"IDAT", b"IEND"}  # no text, no profile, no time


def test_same_submission_twice_gives_the_same_bytes(accepted: Path) -> None:
    before = {
        p: p.read_bytes() for name in ("receipts", "sites") for p in (accepted / "bids" / name).iterdir()
    }
    take(accepted, accepted / "sent", today=DAY + dt.timedelta(days=30))
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((accepted / "bids" / "receipts").iterdir())) == 2


def test_second_visit_of_another_person_is_on_hold(accepted: Path, tmp_path: Path) -> None:
    later = {"StudyDate": "20240402", "AcquisitionDate": "20240402", "study": 2}
    sent = send(tmp_path / "sent", PatientSex="M", PatientBirthDate="19900101", **later)
    _, receipt = take(accepted, sent)
    assert results(receipt) | {"new": ""} == {
        "participant": "PASS",
        "site": "PASS",
        "sex": "FAIL",
        "birth_date": "FAIL",
        "window": "PASS",
        "new": "",
    }
    assert receipt.used == 0
    page = accepted / "bids" / "receipts" / f"{receipt.submission_id}.html"
    text = " ".join(Page(page.read_text(encoding="utf-8")).text.split())
    assert "On hold." in text
    assert "not filed before the participant and the visit are known" in text
    assert "1990" not in text


def test_second_visit_on_the_same_scanner_says_so(tmp_path: Path) -> None:
    tags = {"Rows": 24, "Columns": 24, "DeviceSerialNumber": "Nora-4711", "SoftwareVersions": "28 for Nora"}
    write_series(tmp_path / "first", "flair", series=3, **FLAIR | tags)
    take(tmp_path, tmp_path / "first")
    later = {"StudyDate": "20240402", "AcquisitionDate": "20240402", "study": 2}
    write_series(tmp_path / "second", "flair", series=3, **FLAIR | tags | later)
    first, second = take(tmp_path, tmp_path / "second")
    items = {item.name: item for item in second.items}
    for name in ("scanner", "software"):
        assert items[name].result == "PASS"
        # converters shorten the name of the maker
        assert items[name].value.split("(")[-1] == items[name].limit.split("(")[-1]
        assert "Nora" not in items[name].value
    assert second.scanner == first.scanner == items["scanner"].value
    assert results(second)["birth_date"] == "PASS"


def test_incomplete_visit_says_what_is_missing(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    write_series(sent / "2", "t1_se", series=2, **T1 | {"AcquisitionTime": "095000"})
    write_series(sent / "4", "t1_se_gd", series=4, left_out=[7], **T1 | BOLUS)
    (receipt,) = take(tmp_path, sent)
    assert receipt.missing == ("FLAIR or T2w+PDw",)
    after = next(series for series in receipt.series if series.role == "ce-gadolinium_T1w")
    assert "missing" in after.faults[0]
    assert after.image == ""


def test_scan_of_nobody_and_what_holds_no_scan_have_a_receipt_too(tmp_path: Path) -> None:
    write_series(tmp_path / "unknown", "flair", PatientID="ELSE", **FLAIR)
    (receipt,) = take(tmp_path, tmp_path / "unknown")
    assert results(receipt)["participant"] == "FAIL"
    assert set(results(receipt)) == {"participant", "new"}
    (tmp_path / "letter").mkdir()
    (tmp_path / "letter" / "Nora Nobody.txt").write_text("no scan at all")
    _, nothing = take(tmp_path, tmp_path / "letter", site_id="S01")
    assert (nothing.series, nothing.files) == ((), 1)
    assert nothing.notes == ("1 files that are not DICOM.",)
    pages = [p.read_text(encoding="utf-8") for p in (tmp_path / "bids" / "receipts").glob("*.html")]
    assert len(pages) == 2
    assert not [page for page in pages if "Nora" in page or "ELSE" in page]


def test_dry_run_writes_no_page(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    write_series(sent, "flair", **FLAIR)
    assert take(tmp_path, sent, dry_run=True) == []
    assert not (tmp_path / "bids").exists()
