"""dcm2niix through nipype: what it is asked, and that nobody is called."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dcm2niix
import pydicom
import pytest
from pydicom.encaps import encapsulate

from mesems_mri.errors import ExternalProgramError
from mesems_mri.intake.conversion_cause import ConversionCause, known_cause
from mesems_mri.intake.convert import ConversionError, convert_series, run_dcm2niix
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.inventory import take_inventory
from tests.unit.intake.scans import FLAIR, save, write_series

ALONE = """
import json, socket, sys
called = []
def refuse(*arguments, **_):
    called.append(str(arguments))
    raise OSError("no network in this test")
socket.getaddrinfo = socket.socket.connect = refuse
from pathlib import Path
from mesems_mri.intake.convert import run_dcm2niix
if "phone" in sys.argv:
    import os, nipype
    del os.environ["NO_ET"]
    nipype.check_latest_version()
files = sorted(Path(sys.argv[1]).iterdir()) if "phone" not in sys.argv else []
found = run_dcm2niix(files, Path(sys.argv[2])).images if files else []
print(json.dumps([len(found), called]))
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "sent", "FLAIR", slices=12, spacing=10.0, **FLAIR)


def alone(*arguments: object) -> tuple[int, list[str]]:
    """Convert in a fresh process in which nobody has asked nipype to keep quiet."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_ET"}
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    count, called = json.loads(told.stdout.splitlines()[-1])
    return count, called


def test_nobody_is_called(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    assert alone(files[0].parent, tmp_path / "place") == (1, [])
    assert alone("phone")[1]  # the same process would have seen it


def test_a_series_becomes_one_image_with_its_sidecar(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (one,) = run_dcm2niix(files, tmp_path / "place").images
    assert one.image.name == "image.nii"
    assert (one.sidecar["EchoTime"], one.sidecar["RepetitionTime"]) == (0.11, 9)


def test_what_is_no_dicom_becomes_nothing(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "text.dcm").write_text("a text that is called .dcm")
    assert run_dcm2niix([tmp_path / "text.dcm"], tmp_path / "place").images == []


def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcm2niix, "bin", str(tmp_path / "nowhere"))
    with pytest.raises(ExternalProgramError, match="dcm2niix is missing"):
        run_dcm2niix([], tmp_path)


def series_of(folder: Path) -> Series:
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    (found,) = take_inventory(folder, scratch, processes=1).series
    return found


def refused(series: Series, folder: Path) -> ConversionError:
    with pytest.raises(ConversionError) as error:
        convert_series(series, Deidentifier(b"key", "sub-001", -60_000), "FLAIR", folder, folder / "x.nii.gz")
    return error.value


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.51"])
def test_pixels_that_cannot_be_decoded_are_told(files: list[Path], tmp_path: Path, syntax: str) -> None:
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = encapsulate([b"\xff\x4f" + bytes(98)])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
        save(dataset, path, syntax)
    told = refused(series_of(tmp_path / "sent"), tmp_path)
    assert told.cause is ConversionCause.COMPRESSION
    assert str(told) == (
        "its compressed pixel data cannot be decoded; send it uncompressed "
        "(dcm2niix made 0 images of 12 slices)"
    )


def test_a_kind_of_pixel_that_is_not_read_is_told(files: list[Path], tmp_path: Path) -> None:
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 64, 64, 63
        dataset.PixelData = bytes(16 * 20 * 8)
        save(dataset, path)
    assert refused(series_of(tmp_path / "sent"), tmp_path).cause is ConversionCause.BITS


def test_what_dcm2niix_prints_of_the_header_is_not_told(files: list[Path], tmp_path: Path) -> None:
    for number, path in enumerate(files):
        dataset = pydicom.dcmread(path)
        dataset.ProtocolName = "Nobody Nora" if number % 2 else "Somebody Sam"
        dataset.RepetitionTime = 9000 if number % 2 else 7000
        dataset.save_as(path)
    told = refused(series_of(tmp_path / "sent"), tmp_path)
    assert isinstance(told.cause, ConversionCause)
    assert str(told).startswith(told.cause.value)
    assert not {"Nobody", "Nora", "Somebody", "Sam"} & set(str(told).replace("'", " ").split())


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        ("Slices not stacked: trigger time varies", ConversionCause.TRIGGER),
        ("Slices not stacked: protocol name varies 'Nora' != 'Sam'", ConversionCause.PROTOCOL),
        ("Slices not stacked: TR varies (3, 4, issue 641). Use 'merge", ConversionCause.REPETITION),
        ("Slices not stacked: echo varies (TE 3, 4; echo 1, 2). Use", ConversionCause.ECHO),
        ("Slices not stacked: coil varies 'a' vs 'b'", ConversionCause.COIL),
        ("3 Unable to decompress DICOM transfer syntax '1.2.3'", ConversionCause.COMPRESSION),
        ("12 is not enough bytes for RLE compression 'x'", ConversionCause.PIXELS),
        ("Unsupported DICOM bit-depth 64 with 1 samples per pixel", ConversionCause.BITS),
        ("Error: Unable to find any DICOM images in x (or subfolders 5 deep)", ConversionCause.NO_IMAGE),
        ("Convert 12 DICOM as out/image (20x16x12x1)", None),
    ],
)
def test_known_messages_are_told_in_words_of_a_list(printed: str, cause: ConversionCause | None) -> None:
    assert known_cause(f"Chris Rorden's dcm2niiX version\n{printed}\n") is cause
