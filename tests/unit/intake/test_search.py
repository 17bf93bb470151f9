"""The search that the tests of de-identification rely on finds what it has to, wherever it is packed."""

import base64
import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.identifier_search import Planted, search, search_text
from tests.unit.intake.planting import ADDRESS, NAME, PERSON, mr_image, save

MUELLER = [Planted("name", "Müller^Hannelore")]


def png(kind: bytes, content: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(kind, content) + chunk(b"IEND", b"")


def zipped(name: str, content: bytes, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


SECRET = b"seen by " + NAME.encode() + b" today"
PACKED: dict[str, Callable[[], bytes]] = {
    "plain": lambda: SECRET,
    "gzip": lambda: gzip.compress(SECRET),
    "gzip name": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + NAME.encode() + b".nii\0" + gzip.compress(b"")[10:],
    "second gzip member": lambda: gzip.compress(b"first") + gzip.compress(SECRET),
    "bzip2": lambda: bz2.compress(SECRET),
    "xz": lambda: lzma.compress(SECRET),
    "zip member": lambda: zipped("a", SECRET),
    "zip name": lambda: zipped(NAME, b""),
    "zip comment": lambda: zipped("a", b"", SECRET),
    "zip in zip in gzip": lambda: gzip.compress(zipped("outer.zip", zipped("inner", SECRET))),
    "PNG text": lambda: png(b"tEXt", b"Author\0" + SECRET),
    "compressed PNG text": lambda: png(b"zTXt", b"Author\0\0" + zlib.compress(SECRET)),
    "international PNG text": lambda: png(b"iTXt", b"Author\0\1\0\0\0" + zlib.compress(SECRET)),
    "PNG in a page": lambda: (
        b"<img src='data:image/png;base64,"
        + base64.b64encode(png(b"zTXt", b"A\0\0" + zlib.compress(SECRET)))
        + b"'>"
    ),
    "PDF": lambda: b"%PDF-1.4 stream\r\n" + zlib.compress(SECRET) + b"endstream",
}


@pytest.mark.parametrize("how", PACKED)
def test_packed_names_are_found(tmp_path: Path, how: str) -> None:
    (tmp_path / "file").write_bytes(PACKED[how]())
    assert [hit.planted for hit in search(tmp_path, [Planted("name", NAME)])][:1] == [NAME]
    assert not search(tmp_path, [Planted("name", PERSON[4].text)])


@pytest.mark.parametrize(
    "written",
    [
        "Müller^Hannelore",
        "MÜLLER HANNELORE",
        "hannelore müller",
        "Hannelore_Müller",
        "MuellerHannelore",
        "T1_MUELLER_post",
        "x=M\\u00fcller",
        "M&#252;ller",
        "M%C3%BCller",
        "M%FCller",
        "HANNELORE",
    ],
)
def test_other_spellings_are_found(written: str) -> None:
    assert search_text(written, MUELLER)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16-le", "utf-16-be", "utf-16", "utf-32-le"])
def test_other_encodings_are_found(encoding: str) -> None:
    assert search_text("about Müller, H.".encode(encoding), MUELLER)


@pytest.mark.parametrize(
    "written", ["19610412", "1961-04-12", "12.04.1961", "04/12/1961", "12 April 1961", "12-APR-1961"]
)
def test_other_forms_of_a_date_are_found(written: str) -> None:
    assert search_text(f"born {written}", [Planted("date", "19610412")])


def test_address_is_found_without_its_commas() -> None:
    assert search_text("QUITTENWEG 17 04711 GRIMMELSHAUSEN", [Planted("text", ADDRESS)])


def test_names_of_files_folders_and_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "ZWIEBELHUBER").mkdir()
    (tmp_path / "ZWIEBELHUBER" / "a").touch()
    (tmp_path / "link").symlink_to("Zwiebelhuber")
    found = [hit.where for hit in search(tmp_path, [Planted("name", NAME)])]
    assert found == ["name of ZWIEBELHUBER", "name of ZWIEBELHUBER/a", "link link"]


def test_deflated_dicom_is_looked_into(tmp_path: Path) -> None:
    image = mr_image()
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(image, tmp_path / "deflated.dcm")
    assert NAME.encode() not in path.read_bytes()
    assert {hit.planted for hit in search(path, PERSON)} == {planted.text for planted in PERSON}


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    image = mr_image(named=False)
    save(image, tmp_path / "image.dcm")
    (tmp_path / "page.html").write_text("<p>Mull over the medieval zwieback of 1961, grammar and quince</p>")
    assert not search(tmp_path, [*PERSON, *MUELLER])
