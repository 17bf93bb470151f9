"""The command intake, as somebody types it."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.intake.rows import read_rows
from tests.command import mesems
from tests.identifier_search import Planted, search, search_text
from tests.unit.dataset.test_schedule import ROW, write
from tests.unit.intake.scans import FLAIR, write_series


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    write_series(tmp_path / "sent", "FLAIR", slices=12, spacing=10.0, **FLAIR)
    return tmp_path / "sent"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["intake", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_delivery_is_told_and_filed(tmp_path: Path, sent: Path) -> None:
    sheet, bids = write(tmp_path, ROW | {"contrast_dose_mmol_kg": "0"}), tmp_path / "bids"
    told = run(sent, bids, "--sheet", sheet, "--dry-run")
    assert "12 files, 1 series, 1 examinations" in told
    assert not bids.exists()
    told = run(sent, bids, "--sheet", sheet, "--site", "S01", "--key", tmp_path / "key")
    assert "filed      FLAIR                series 1 (FLAIR), 12 slices: TR 9000 ms" in told
    assert "0 queries asked, 0 of them blocking" in told
    assert (tmp_path / "key" / "secret.hex").is_file()
    (row,) = read_rows(bids / "series.tsv")
    told = run(sent, bids, "--sheet", sheet, "--key", tmp_path / "key", "--use", f"T2w={row['series_id']}")
    assert "used as the site has answered" in told
    assert [path.name for path in bids.glob("sub-001/ses-w00/anat/*.nii.gz")] == [
        "sub-001_ses-w00_T2w.nii.gz"
    ]


def test_wrong_use_is_told(tmp_path: Path, sent: Path) -> None:
    sheet = write(tmp_path, ROW)
    with pytest.raises(UsageError, match="expected ROLE=SERIES_ID"):
        run(sent, tmp_path / "bids", "--sheet", sheet, "--use", "FLAIR")
    with pytest.raises(UsageError, match="expected ROLE=SERIES_ID"):
        run(sent, tmp_path / "bids", "--sheet", sheet, "--use", "T3w=2.25.1")
    with pytest.raises(DatasetError, match="cannot be read"):
        run(sent, tmp_path / "bids", "--sheet", tmp_path / "nowhere.tsv")
    with pytest.raises(UsageError, match="cannot be read"):
        run(sent, tmp_path / "bids", "--sheet", sheet, "--protocol", tmp_path / "nowhere.yaml")


NAME = b"Zwiebelhuber"
DAMAGED = {
    "EchoTime": "1234.6789012",
    "InversionTime": "1234.6789012",
    "SliceThickness": "1234.6789012",
    "FlipAngle": "1234.6789012",
    "FrameOfReferenceUID": "2.25.1234567",
    "AcquisitionTime": "123456.12345",
    "ContrastBolusStartTime": "123456.12345",
}
"""Attributes that can hold no name, with a value of its length."""


def test_nothing_of_a_damaged_header_is_told_with_debug(tmp_path: Path) -> None:
    sent, planted = tmp_path / "sent", [Planted("name", NAME.decode())]
    for number, (keyword, value) in enumerate(DAMAGED.items()):
        tags = FLAIR | {"spacing": 10.0, "slices": 12, keyword: value}
        for path in write_series(sent / keyword, "FLAIR", series=number + 1, **tags):
            content = path.read_bytes()
            assert value.encode() in content
            path.write_bytes(content.replace(value.encode(), NAME))
    assert {hit.where.split("/")[0] for hit in search(sent, planted)} == set(DAMAGED)
    told = mesems("--debug", "intake", sent, tmp_path / "bids", "--sheet", write(tmp_path, ROW))
    assert "84 files, 7 series" in told.stdout
    assert not search_text(told.stdout + told.stderr, planted)
    assert not search(tmp_path / "bids", planted)
    # a bug on the way is told with its traceback, and without what the header says
    patch = "import sys; from mesems_mri.cli import main as cli\n"
    patch += "from mesems_mri.intake import flow as s\n"
    patch += "def fail(visit, *_): raise ValueError(visit.examination.series[0].header.EchoTime)\n"
    patch += "s.assess_visit = fail; sys.argv = ['mesems-mri', *sys.argv[1:]]; cli.main()"
    options = ["--debug", "intake", sent, tmp_path / "other", "--sheet", tmp_path / "sheet.tsv"]
    found = subprocess.run([sys.executable, "-c", patch, *map(str, options)], capture_output=True, text=True)
    assert "Traceback" in found.stderr
    assert "this is a bug, please report this line" in found.stderr
    assert not search_text(found.stdout + found.stderr, planted)
