"""Objects that are no MR image never count as one, whatever else their headers say."""

from pathlib import Path

import pytest

from mesems_mri.intake.classify import classify_series
from mesems_mri.intake.dicom.instance import Instance, UnusedFile, UnusedReason, read_instance
from mesems_mri.intake.dicom.sop_class import ObjectKind, object_kind
from mesems_mri.intake.inventory import Inventory, take_inventory
from tests.unit.intake.scans import MPRAGE, header, pixels, save, uid, write_series

MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
RAW, SECONDARY = "1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.7"
NO_IMAGES = [
    RAW,
    "1.2.840.10008.5.1.4.1.1.4.2",  # spectroscopy
    "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
    "1.2.840.10008.5.1.4.1.1.67",  # real world value mapping
    "1.2.840.10008.5.1.4.1.1.30",  # parametric map
    "1.2.840.10008.5.1.4.1.1.11.1",  # presentation state
    "1.2.840.10008.5.1.4.1.1.104.1",  # PDF
    "1.2.840.10008.5.1.4.1.1.88.11",  # report
    "1.2.840.10008.5.1.4.1.1.481.2",  # dose
    "1.3.12.2.1107.5.9.1",  # Siemens CSA non-image
    "1.3.46.670589.11.0.0.12.1",
    "1.3.46.670589.11.0.0.12.4",
    "1.2.840.113619.4.27",
]


def inventory(tmp_path: Path) -> Inventory:
    (tmp_path / "scratch").mkdir()
    return take_inventory(tmp_path / "sent", tmp_path / "scratch", processes=1)


def roles(found: Inventory) -> list[tuple[str, int]]:
    assigned = classify_series(found.series, contrast_given=False)
    return sorted((one.role, one.series.frames) for one in assigned)


@pytest.mark.parametrize("sop_class", NO_IMAGES)
def test_an_object_without_an_image_does_not_block_the_real_one(tmp_path: Path, sop_class: str) -> None:
    write_series(tmp_path / "sent" / "1", "t1_mprage", slices=40, **MPRAGE)
    write_series(tmp_path / "sent" / "2", "t1_mprage", slices=40, series=2, SOPClassUID=sop_class, **MPRAGE)
    found = inventory(tmp_path)
    assert found.unused_files.counts == {UnusedReason.NO_IMAGE: 40}
    assert roles(found) == [("T1w", 40)]


def test_the_class_of_the_file_counts_where_the_object_is_silent(tmp_path: Path) -> None:
    dataset = header(SOPClassUID=RAW, **MPRAGE)
    dataset.PixelData = pixels(16, 20, 1)
    path = save(dataset, tmp_path / "raw")
    content = path.read_bytes()
    at = content.rfind(b"\x08\x00\x16\x00UI")
    assert at > 0
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(content[:at] + content[at + 8 + length :])
    assert read_instance(path, "raw", tmp_path) == UnusedFile(
        "raw", UnusedReason.NO_IMAGE, "Raw Data Storage"
    )


def test_a_private_object_is_named_without_its_uid(tmp_path: Path) -> None:
    path = save(header(SOPClassUID="1.3.12.2.1107.5.9.1"), tmp_path / "csa")
    assert read_instance(path, "csa", tmp_path) == UnusedFile("csa", UnusedReason.NO_IMAGE, "private object")


def test_a_secondary_capture_is_a_derived_series(tmp_path: Path) -> None:
    write_series(tmp_path / "sent" / "1", "t1_mprage", slices=40, **MPRAGE)
    write_series(tmp_path / "sent" / "2", "t1_mprage", slices=40, series=2, SOPClassUID=SECONDARY, **MPRAGE)
    assert roles(inventory(tmp_path)) == [("T1w", 40), ("derived", 40)]


@pytest.mark.parametrize("sop_class", [uid("anonymised"), "1.2.826.0.1.3680043.8.498.4711"])
def test_an_anonymised_class_is_an_image(tmp_path: Path, sop_class: str) -> None:
    """Some tools replace every UID, the class among them."""
    write_series(tmp_path / "sent", "t1_mprage", slices=40, SOPClassUID=sop_class, **MPRAGE)
    assert roles(inventory(tmp_path)) == [("T1w", 40)]


def test_an_unknown_class_beside_images_is_derived(tmp_path: Path) -> None:
    write_series(tmp_path / "sent" / "1", "t1_mprage", slices=40, **MPRAGE)
    write_series(tmp_path / "sent" / "2", "t1", slices=40, series=2, SOPClassUID="1.2.3.4.5", **MPRAGE)
    assert roles(inventory(tmp_path)) == [("T1w", 40), ("derived", 40)]


def test_an_unknown_class_without_a_place_is_no_image(tmp_path: Path) -> None:
    dataset = header(SOPClassUID="1.2.3.4.5", ImagePositionPatient=None, **MPRAGE)
    dataset.PixelData = pixels(16, 20, 1)
    found = read_instance(save(dataset, tmp_path / "raw"), "raw", tmp_path)
    assert found == UnusedFile("raw", UnusedReason.NO_IMAGE, "private object")


def test_an_image_without_any_class_is_read(tmp_path: Path) -> None:
    """An old file without a meta group, whose class an anonymiser has emptied."""
    dataset = header(SOPClassUID="", **MPRAGE)
    dataset.PixelData = pixels(16, 20, 1)
    path = tmp_path / "old"
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    found = read_instance(path, "old", tmp_path)
    assert isinstance(found, Instance)
    assert found.kind is ObjectKind.UNKNOWN


@pytest.mark.parametrize("end", ["4", "4.1", "4.3", "4.4"])
def test_all_classes_of_mr_images_are_known(end: str) -> None:
    assert object_kind(f"1.2.840.10008.5.1.4.1.1.{end}") is ObjectKind.MR
