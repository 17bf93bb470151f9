"""The de-identified DICOM copy: the same image, whole or not at all, and nobody's name in it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from mesems_mri.errors import InputError, Reason
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.export import write_copy
from tests.identifier_search import search, search_text
from tests.unit.intake.planting import KEY, NAME, OFFSET, PERSON, mr_image, plant, save


def deidentifier(key: bytes = KEY) -> Deidentifier:
    return Deidentifier(key, "sub-014", OFFSET)


def series(folder: Path, count: int = 3, **changes: object) -> SimpleNamespace:
    """Write a series into a folder called like the patient; `changes` are of its last instance."""
    folder = folder / NAME
    folder.mkdir(parents=True)
    paths = []
    for number in range(1, count + 1):
        image = mr_image(number)
        plant(image, 0x00204000, "LT", f"{NAME} did not hold still")
        for keyword, value in changes.items() if number == count else ():
            setattr(image, keyword, value)
        paths.append(save(image, folder / f"{NAME}_{number}.dcm"))
    return SimpleNamespace(files=tuple(paths), header=pydicom.dcmread(paths[0], stop_before_pixels=True))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_copy_shows_the_same_and_names_nobody(tmp_path: Path) -> None:
    sent = series(tmp_path / "in")
    written = write_copy(sent, tmp_path / "out", deidentifier())
    assert {hit.planted for hit in search(tmp_path / "in", PERSON)} == {planted.text for planted in PERSON}
    assert not search(tmp_path / "out", PERSON)
    assert [path.name for path in written] == ["00001.dcm", "00002.dcm", "00003.dcm"]
    assert sorted(contents(tmp_path / "out")) == [p.relative_to(tmp_path / "out").as_posix() for p in written]
    assert written[0].relative_to(tmp_path / "out").parts[0] == "sub-014"
    for source, copy in zip(sent.files, written, strict=True):
        before, after = pydicom.dcmread(source), pydicom.dcmread(copy)
        assert np.array_equal(before.pixel_array, after.pixel_array)
        assert before.ImagePositionPatient == after.ImagePositionPatient


def test_copy_is_the_same_again_and_another_with_another_key(tmp_path: Path) -> None:
    sent = series(tmp_path / "in")
    for folder, key in (("one", KEY), ("two", KEY), ("other", b"another key")):
        write_copy(sent, tmp_path / folder, deidentifier(key))
    write_copy(sent, tmp_path / "two", deidentifier())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one").keys().isdisjoint(contents(tmp_path / "other"))


def test_deflated_series_is_copied(tmp_path: Path) -> None:
    image = mr_image()
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(image, tmp_path / "in.dcm")
    sent = SimpleNamespace(files=(path,), header=pydicom.dcmread(path, stop_before_pixels=True))
    (copy,) = write_copy(sent, tmp_path / "out", deidentifier())
    assert search(path, PERSON)
    assert not search(tmp_path / "out", PERSON)
    assert np.array_equal(pydicom.dcmread(copy).pixel_array, mr_image().pixel_array)


@pytest.mark.parametrize(
    "change", [{"BurnedInAnnotation": "YES"}, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}]
)
def test_series_with_text_in_one_image_is_not_copied(tmp_path: Path, change: dict) -> None:
    with pytest.raises(InputError, match="cannot be passed on as DICOM") as caught:
        write_copy(series(tmp_path / "in", **change), tmp_path / "out", deidentifier())
    assert caught.value.reason is Reason.OPEN_QUERY
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize("damage", ["cut", "empty", "no DICOM", "gone"])
def test_series_with_a_damaged_file_is_not_copied(tmp_path: Path, damage: str) -> None:
    sent = series(tmp_path / "in")
    path = sent.files[-1]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": path.read_bytes()[:-20], "empty": b"", "no DICOM": NAME.encode() * 50}[damage]
        )
    with pytest.raises(InputError) as caught:
        write_copy(sent, tmp_path / "out", deidentifier())
    assert caught.value.reason is Reason.UNREADABLE_FILE
    assert not search_text(str(caught.value), PERSON)
    assert not contents(tmp_path / "out")
