"""Single files: what they are, and what is wrong with them."""

import io
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from mesems_mri.intake.dicom import instance
from mesems_mri.intake.dicom.instance import (
    Instance,
    UnusedFile,
    UnusedReason,
    looks_like_dicom,
    read_instance,
)
from tests.unit.intake.scans import header, pixels, save, write_enhanced, write_series


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_series(tmp_path / "scan", "FLAIR", slices=1)[0]


def read(path: Path) -> Instance | UnusedFile:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return read_instance(path, path.name, scratch)


def test_a_whole_instance_is_read(scan: Path) -> None:
    found = read(scan)
    assert isinstance(found, Instance)
    assert (found.number, found.matrix, found.damage, found.multi_frame) == (1, (16, 20), "", False)
    assert found.slices[0].position == (-90.0, -90.0, -60.0)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_plain_syntaxes_are_read(tmp_path: Path, syntax: str) -> None:
    dataset = header()
    dataset.PixelData = pixels(16, 20, 1)
    dataset["PixelData"].VR = "OW"
    found = read(save(dataset, tmp_path / "a", syntax))
    assert isinstance(found, Instance)
    assert not found.damage


def test_an_instance_without_preamble_is_read(scan: Path) -> None:
    dataset = pydicom.dcmread(scan)
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, Dataset(dataset), implicit_vr=True, little_endian=True)
    scan.write_bytes(bare.getvalue())
    assert looks_like_dicom(bare.getvalue()[:140])
    assert isinstance(read(scan), Instance)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", UnusedReason.EMPTY),
        (b"a text that somebody has named .dcm\n" * 20, UnusedReason.NOT_DICOM),
        (b"\0" * 500, UnusedReason.NOT_DICOM),
        (b"\x08", UnusedReason.NOT_DICOM),
        (b"7z\xbc\xaf\x27\x1c" + b"\0" * 200, UnusedReason.ARCHIVE),
        (b"Rar!\x1a\x07" + b"\0" * 200, UnusedReason.ARCHIVE),
        (b"\0" * 128 + b"DICM", UnusedReason.NO_HEADER),
        (b"\0" * 128 + b"DICM" + b"\xff" * 64, UnusedReason.NO_HEADER),
    ],
)
def test_a_file_that_is_no_instance_gets_its_reason(
    tmp_path: Path, content: bytes, why: UnusedReason
) -> None:
    path = tmp_path / "odd.dcm"
    path.write_bytes(content)
    found = read(path)
    assert isinstance(found, UnusedFile)
    assert found.why is why


@pytest.mark.parametrize(
    ("name", "why"), [("a.tar.gz", UnusedReason.ARCHIVE), ("a.nii.gz", UnusedReason.NOT_DICOM)]
)
def test_a_packed_file_is_an_archive_only_by_its_name(tmp_path: Path, name: str, why: UnusedReason) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x08" + b"\0" * 300)
    found = read(path)
    assert isinstance(found, UnusedFile)
    assert found.why is why


def test_an_object_without_image_is_none(tmp_path: Path) -> None:
    found = read(save(header(Rows=None, Columns=None, Modality="SR"), tmp_path / "report"))
    assert found == UnusedFile("report", UnusedReason.NO_IMAGE, "SR")


def test_an_image_without_uids_is_told(tmp_path: Path) -> None:
    path = save(header(), tmp_path / "a")
    dataset = pydicom.dcmread(path)
    del dataset.SeriesInstanceUID
    pydicom.dcmwrite(path, dataset)
    assert read(path) == UnusedFile("a", UnusedReason.NO_UID)


@pytest.mark.parametrize("kept", [0, 1, 100, 639])
def test_a_truncated_pixel_stream_is_damage(scan: Path, kept: int) -> None:
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) - 640 + kept])
    found = read(scan)
    assert isinstance(found, Instance)
    assert found.damage == f"{kept} bytes of pixel data, expected 640"


def test_an_image_cut_off_before_its_pixels_is_damage(scan: Path) -> None:
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) - 652])
    found = read(scan)
    assert isinstance(found, Instance)
    assert found.damage == "the pixel data are missing"


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    dataset = header()
    dataset.PixelData = pixels(16, 20, 1)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.compress(RLELossless)
    return save(dataset, tmp_path / "rle", RLELossless)


def test_a_whole_compressed_stream_is_no_damage(compressed: Path) -> None:
    found = read(compressed)
    assert isinstance(found, Instance)
    assert not found.damage


@pytest.mark.parametrize("lost", [1, 8, 9, 100])
def test_a_truncated_compressed_stream_is_damage(compressed: Path, lost: int) -> None:
    compressed.write_bytes(compressed.read_bytes()[:-lost])
    found = read(compressed)
    assert isinstance(found, Instance)
    assert found.damage


def test_missing_compressed_frames_are_damage(tmp_path: Path) -> None:
    dataset = header(NumberOfFrames=3)
    dataset.PixelData = encapsulate([b"\0" * 80, b"\0" * 80])
    dataset["PixelData"].is_undefined_length = True
    found = read(save(dataset, tmp_path / "a", RLELossless))
    assert isinstance(found, Instance)
    assert found.damage == "2 compressed frames, expected 3"


def test_missing_frames_are_damage(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "enhanced", slices=5)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 1000])
    found = read(path)
    assert isinstance(found, Instance)
    assert found.damage == "2200 bytes of pixel data, expected 3200"
    assert (len(found.slices), found.multi_frame) == (5, True)


def deflated(dataset: Dataset, path: Path) -> Path:
    return save(dataset, path, DeflatedExplicitVRLittleEndian)


def test_a_deflated_object_is_read(tmp_path: Path) -> None:
    dataset = header()
    dataset.PixelData = pixels(16, 20, 1)
    found = read(deflated(dataset, tmp_path / "a"))
    assert isinstance(found, Instance)
    assert not found.damage
    plain = pydicom.dcmread(found.path)
    assert plain.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert plain.PixelData == pixels(16, 20, 1)


def test_a_deflated_object_cannot_fill_disk_or_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "MAX_INFLATED_BYTES", 4 << 20)
    path = deflated(header(), tmp_path / "bomb")
    start = path.read_bytes()
    meta = 144 + struct.unpack("<I", start[140:144])[0]
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = pack.compress(zlib.decompress(start[meta:], -zlib.MAX_WBITS))
    body += b"".join(pack.compress(b"\0" * (1 << 20)) for _ in range(64)) + pack.flush()
    path.write_bytes(start[:meta] + body)
    found = read(path)
    assert isinstance(found, UnusedFile)
    assert found.why is UnusedReason.NO_HEADER
    assert sum(p.stat().st_size for p in (tmp_path / "scratch").iterdir()) <= 6 << 20
