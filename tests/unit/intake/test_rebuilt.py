"""Series that exports have broken: rebuilt, they give the image of the same slices sent properly."""

import itertools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import RLELossless

from mesems_mri.intake.conversion_cause import ConversionCause
from mesems_mri.intake.convert import ConversionError, convert_series
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.dicom.geometry import slice_faults
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.inventory import take_inventory
from tests.unit.intake.scans import FLAIR, OBLIQUE, T1, header, save, uid, write_enhanced, write_series

Change = Callable[[int, Dataset], None]
SLICES = 12


def series_of(folder: Path) -> tuple[Series, ...]:
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    found = take_inventory(folder, scratch, processes=1)
    assert not found.unused_files.lines()
    return found.series


def image_of(series: Series, folder: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    assert slice_faults(series) == []
    place = Path(tempfile.mkdtemp(dir=folder))
    deidentifier = Deidentifier(b"key", "sub-001", -60_000)
    made = convert_series(series, deidentifier, "T1w", place, place / "image.nii.gz")
    image = nib.nifti1.Nifti1Image.from_filename(place / "image.nii.gz")  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(image.dataobj), np.asarray(image.affine), made.sidecar


def same_image(one: Series, other: Series, folder: Path) -> None:
    voxels, affine, _ = image_of(one, folder)
    expected, where, _ = image_of(other, folder)
    assert voxels.shape == (20, 16, SLICES)
    assert np.array_equal(voxels, expected)
    assert np.abs(affine - where).max() < 1e-3


def changed(paths: Iterable[Path], folder: Path, change: Change, first: int = 0) -> Path:
    """Copy files with a change of each, under names that tell nothing."""
    folder.mkdir(exist_ok=True)
    for at, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        change(at, dataset)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{(7 * (at + first)) % 97:03}")
    return folder


def uid_per_slice(at: int, dataset: Dataset) -> None:
    dataset.SeriesInstanceUID = f"1.2.392.200036.9116.4.{dataset.SeriesNumber}.{at + 1}"


def all_uids_per_slice(at: int, dataset: Dataset) -> None:
    for level in ("Study", "Series", "SOP"):
        setattr(dataset, f"{level}InstanceUID", uid(level, at, str(dataset.SOPInstanceUID)))
    dataset.FrameOfReferenceUID = uid("frame", at)


def uid_per_slice_number_one(at: int, dataset: Dataset) -> None:
    uid_per_slice(at, dataset)
    dataset.InstanceNumber = 1


def trigger_per_slice(at: int, dataset: Dataset) -> None:
    dataset.TriggerTime = 1000 * (at + 1)


def acquisition_per_slice(at: int, dataset: Dataset) -> None:
    dataset.AcquisitionNumber = at + 1
    dataset.AcquisitionTime = f"10{at:02}00.{at}"


def rounded_echo(at: int, dataset: Dataset) -> None:
    dataset.EchoTime = 12 if at % 2 else 12.04
    dataset.EchoNumbers = at % 2 + 1


def rounded_repetition(at: int, dataset: Dataset) -> None:
    dataset.RepetitionTime = 600 if at % 2 else 600.4
    dataset.StudyTime = "101500" if at % 2 else "101501"


def trigger_and_uid_per_slice(at: int, dataset: Dataset) -> None:
    uid_per_slice(at, dataset)
    trigger_per_slice(at, dataset)


BROKEN = (
    uid_per_slice,
    all_uids_per_slice,
    uid_per_slice_number_one,
    trigger_per_slice,
    acquisition_per_slice,
    rounded_echo,
    rounded_repetition,
    trigger_and_uid_per_slice,
)


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_slices_of_one_volume_become_one_image(tmp_path: Path, change: Change) -> None:
    maker = {"Manufacturer": "Philips Medical Systems"}  # whose trigger times dcm2niix takes seriously
    paths = write_series(tmp_path / "sent", "T1", slices=SLICES, orientation=OBLIQUE, **maker, **T1)
    (expected,) = series_of(tmp_path / "sent")
    (found,) = series_of(changed(paths, tmp_path / "broken", change))
    assert (found.part, found.frames) == ("", SLICES)
    same_image(found, expected, tmp_path)
    (again,) = series_of(
        changed(reversed(paths), tmp_path / "other", lambda at, d: change(SLICES - 1 - at, d))
    )
    assert (again.series_uid, again.instance_uids) == (found.series_uid, found.instance_uids)
    same_image(again, expected, tmp_path)


def test_two_series_with_a_uid_per_slice_stay_two(tmp_path: Path) -> None:
    sent, folder = tmp_path / "sent", tmp_path / "broken"
    for number, (name, tags) in enumerate({"T1 pre": T1, "FLAIR": FLAIR, "T1 post": T1}.items(), start=1):
        paths = write_series(sent / name, name, slices=SLICES, series=number, **tags)
        changed(paths, folder, uid_per_slice, 20 * number)
    expected, found = series_of(sent), series_of(folder)
    assert [one.description for one in found] == ["T1 pre", "FLAIR", "T1 post"]
    for one, other in zip(found, expected, strict=True):
        same_image(one, other, tmp_path)


def by_time(at: int, dataset: Dataset) -> None:
    dataset.AcquisitionTime = "103000" if at else "101000"


def by_number(at: int, dataset: Dataset) -> None:
    dataset.AcquisitionNumber = at + 1


def by_bolus(at: int, dataset: Dataset) -> None:
    if at:
        dataset.ContrastBolusAgent, dataset.ContrastBolusVolume = "Gadovist", 7


def by_trigger(at: int, dataset: Dataset) -> None:
    dataset.TriggerTime = 500 * at


def by_content(at: int, dataset: Dataset) -> None:
    dataset.ContentDate, dataset.ContentTime = "20240304", "103000" if at else "101000"


def pre_and_post(tmp_path: Path, tell: Change, change: Change) -> tuple[list[Series], Path]:
    """Write two acquisitions of one name properly, and both in one broken folder."""
    expected, folder = [], tmp_path / "broken"
    for at in (0, 1):
        place = tmp_path / f"{at}"
        paths = write_series(place, "T1", slices=SLICES, series=3, AcquisitionTime="101000", **T1)
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.PixelData = dataset.PixelData[at * 2 :] + dataset.PixelData[: at * 2]
            dataset.SOPInstanceUID = uid("volume", at, str(dataset.SOPInstanceUID))
            tell(at, dataset)
            dataset.save_as(path)
        expected += series_of(place)
        changed(paths, folder, lambda n, dataset, at=at: change(n + at * SLICES, dataset), at * SLICES)
    return expected, folder


@pytest.mark.parametrize(
    "tell", [by_time, by_number, by_bolus, by_trigger, by_content], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("change", [lambda *_: None, uid_per_slice], ids=["one_uid", "uid_per_slice"])
def test_acquisitions_of_one_name_are_told_apart(tmp_path: Path, tell: Change, change: Change) -> None:
    expected, folder = pre_and_post(tmp_path, tell, change)
    found = series_of(folder)
    assert [one.part[:18] for one in found] == ["acquisition 1 of 2", "acquisition 2 of 2"]
    for one, other in zip(found, expected, strict=True):
        same_image(one, other, tmp_path)
    told = [text(one.header, "ContrastBolusAgent") for one in found]
    assert told == (["", "Gadovist"] if tell is by_bolus else ["", ""])


def test_each_slice_has_a_time_of_its_own_in_both_acquisitions(tmp_path: Path) -> None:
    def times(at: int, dataset: Dataset) -> None:
        dataset.AcquisitionTime = f"10{10 + at + 10 * (at >= SLICES):02}00"
        dataset.InstanceNumber = at % SLICES + 1

    expected, folder = pre_and_post(tmp_path, lambda *_: None, times)
    found = series_of(folder)
    assert [one.part for one in found] == [f"acquisition {n} of 2 (by acquisition time)" for n in (1, 2)]
    for one, other in zip(found, expected, strict=True):
        same_image(one, other, tmp_path)


def test_volumes_that_nothing_tells_apart_stay_together(tmp_path: Path) -> None:
    _, folder = pre_and_post(tmp_path, lambda *_: None, lambda *_: None)
    (found,) = series_of(folder)
    assert [fault.text for fault in slice_faults(found)] == [f"2 volumes of {SLICES} slices, expected one"]


def test_an_interrupted_second_acquisition_is_told_apart(tmp_path: Path) -> None:
    _, folder = pre_and_post(tmp_path, by_number, lambda *_: None)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if dataset.AcquisitionNumber == 2 and dataset.InstanceNumber > 5:
            path.unlink()
    assert [one.frames for one in series_of(folder)] == [SLICES, 5]


def test_a_slice_sent_twice_is_no_acquisition(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "sent", "T1", slices=SLICES, AcquisitionNumber=1, **T1)
    dataset = pydicom.dcmread(paths[4])
    dataset.SOPInstanceUID, dataset.AcquisitionNumber, dataset.InstanceNumber = uid("again"), 2, 40
    save(dataset, tmp_path / "sent" / "again")
    (found,) = series_of(tmp_path / "sent")
    assert [fault.code for fault in slice_faults(found)] == ["duplicate_slices"]


def test_two_concatenations_of_one_volume_are_one(tmp_path: Path) -> None:
    """Odd and even slices as two acquisitions lie at places of their own."""
    paths = write_series(tmp_path / "sent", "T1", slices=SLICES, **T1)
    (expected,) = series_of(tmp_path / "sent")

    def concatenated(at: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber = at % 2 + 1
        dataset.AcquisitionTime = f"10{10 + at % 2 * 4}{at:02}"

    (found,) = series_of(changed(paths, tmp_path / "broken", concatenated))
    same_image(found, expected, tmp_path)


def test_single_images_of_different_kinds_are_not_joined(tmp_path: Path) -> None:
    for number, tags in enumerate(
        ({}, {"RepetitionTime": 900}, {"PixelSpacing": [1, 1]}, {"SeriesNumber": 9})
    ):
        dataset = header(series=2, number=number, SeriesDescription="scout", **T1 | tags)
        dataset.SeriesInstanceUID = uid("single", number)
        dataset.PixelData = b"\0" * 640
        save(dataset, tmp_path / "sent" / f"{number}")
    assert [one.frames for one in series_of(tmp_path / "sent")] == [1, 1, 1, 1]


def cut(
    path: Path, folder: Path, parts: Iterable[range], *, renumbered: bool = False, compressed: bool = False
) -> Path:
    """Cut an enhanced object into several, each with some of the frames."""
    whole = pydicom.dcmread(path)
    size = whole.Rows * whole.Columns * 2
    for number, frames in enumerate(parts):
        one = pydicom.dcmread(path)
        one.PerFrameFunctionalGroupsSequence = Items(
            [whole.PerFrameFunctionalGroupsSequence[at] for at in frames]
        )
        one.NumberOfFrames = len(frames)
        one.SOPInstanceUID, one.InstanceNumber = uid("part", number), number + 1
        one.ConcatenationUID, one.InConcatenationNumber = uid("concatenation"), number + 1
        for at, frame in enumerate(one.PerFrameFunctionalGroupsSequence):
            if renumbered:
                frame.FrameContentSequence[0].InStackPositionNumber = at + 1
                frame.FrameContentSequence[0].DimensionIndexValues = [at + 1, 1]
        one.PixelData = b"".join(whole.PixelData[size * at : size * (at + 1)] for at in frames)
        if compressed:
            one.compress(RLELossless)
        save(one, folder / f"{number}", RLELossless if compressed else one.file_meta.TransferSyntaxUID)
    return folder


HALVES = [range(SLICES // 2), range(SLICES // 2, SLICES)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
@pytest.mark.parametrize(
    "parts", [HALVES, [range(0, SLICES, 2), range(1, SLICES, 2)]], ids=["halves", "every_other"]
)
@pytest.mark.parametrize(
    "how", [{}, {"renumbered": True}, {"compressed": True}], ids=["plain", "renumbered", "rle"]
)
def test_an_enhanced_object_in_two_files_is_one_image(
    tmp_path: Path, order: tuple[int, ...], parts: list[range], how: dict[str, bool]
) -> None:
    (tmp_path / "sent").mkdir()
    path = write_enhanced(tmp_path / "sent" / "1", "T1", slices=SLICES)
    (expected,) = series_of(tmp_path / "sent")
    folder = cut(path, tmp_path / "cut", [parts[at] for at in order], **how)
    (found,) = series_of(folder)
    assert (len(found.files), found.frames) == (2, SLICES)
    same_image(found, expected, tmp_path)


def test_acquisitions_of_an_enhanced_object_are_told_apart(tmp_path: Path) -> None:
    def time(dataset: Dataset, at: int) -> None:
        for frame in dataset.PerFrameFunctionalGroupsSequence[at * SLICES :]:
            frame.FrameContentSequence[0].FrameAcquisitionDateTime = f"2024030410{10 + 20 * at}00"
            frame.FrameContentSequence[0].TemporalPositionIndex = at + 1

    (tmp_path / "sent").mkdir()
    path = write_enhanced(tmp_path / "sent" / "1", "T1", slices=SLICES, echoes=(3.0, 3.0))
    dataset = pydicom.dcmread(path)
    time(dataset, 0)
    time(dataset, 1)
    dataset.save_as(path)
    first, second = series_of(tmp_path / "sent")
    assert [one.part for one in (first, second)] == [
        f"acquisition {n} of 2 (by acquisition time)" for n in (1, 2)
    ]
    assert [str(one.header.AcquisitionDateTime)[8:12] for one in (first, second)] == ["1010", "1030"]
    cut(path, tmp_path / "proper0", [range(SLICES)])
    cut(path, tmp_path / "proper1", [range(SLICES, 2 * SLICES)])
    same_image(first, series_of(tmp_path / "proper0")[0], tmp_path)
    same_image(second, series_of(tmp_path / "proper1")[0], tmp_path)


@pytest.mark.parametrize(
    "tags",
    [{"RepetitionTime": 900}, {"FlipAngle": 30}, {"ScanningSequence": "GR", "TriggerTime": 5}],
    ids=str,
)
def test_slices_acquired_in_two_ways_are_no_volume(tmp_path: Path, tags: dict[str, Any]) -> None:
    """Every other slice of another sequence: no image is better than one of both."""

    def mixed(at: int, dataset: Dataset) -> None:
        dataset.FlipAngle, dataset.Manufacturer = 90, "Philips Medical Systems"
        for keyword, value in tags.items() if at % 2 else ():
            setattr(dataset, keyword, value)

    paths = write_series(tmp_path / "sent", "T1", slices=SLICES, **T1)
    (found,) = series_of(changed(paths, tmp_path / "broken", mixed))
    with pytest.raises(ConversionError) as refused:
        image_of(found, tmp_path)
    assert refused.value.cause in (ConversionCause.REPETITION, ConversionCause.FLIP, ConversionCause.TRIGGER)
    assert "dcm2niix made 2 images of 12 slices" in str(refused.value)


def test_an_acquisition_that_was_moved_a_little_is_told_apart(tmp_path: Path) -> None:
    """The head moved between the two, and the second was planned anew, with the same UID and name."""

    def moved(at: int, dataset: Dataset) -> None:
        if at >= SLICES:
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y, z + 0.7]

    expected, folder = pre_and_post(tmp_path, by_time, moved)
    first, second = series_of(folder)
    same_image(first, expected[0], tmp_path)
    voxels, affine, _ = image_of(second, tmp_path)
    assert np.array_equal(voxels, image_of(expected[1], tmp_path)[0])
    assert affine[2, 3] == pytest.approx(-60 + 0.7, abs=1e-3)


@pytest.mark.parametrize("by", [0.7, -4.5])
def test_a_slab_that_was_moved_stays_a_fault(tmp_path: Path, by: float) -> None:
    """Halves of a volume that do not fit, or overlap, are no two volumes, whatever their time and number."""
    paths = write_series(tmp_path / "sent", "T1", slices=SLICES, **T1)

    def moved(at: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber = 1 + at // 6
        dataset.AcquisitionTime = f"10{10 + 10 * (at // 6)}{at:02}"
        if at >= SLICES // 2:
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y, z + by]

    (found,) = series_of(changed(paths, tmp_path / "broken", moved))
    assert [fault.code for fault in slice_faults(found)] == ["uneven_spacing"]


def test_slabs_that_overlap_stay_a_fault(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "sent", "T1", slices=SLICES, **T1)

    def moved(at: int, dataset: Dataset) -> None:
        dataset.AcquisitionNumber = 1 + at // 6
        if at >= SLICES // 2:
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x, y, z - 6]

    (found,) = series_of(changed(paths, tmp_path / "broken", moved))
    assert [fault.code for fault in slice_faults(found)] == ["duplicate_slices"]


def test_an_interrupted_acquisition_is_told_beside_a_whole_one(tmp_path: Path) -> None:
    def counted(_: int, dataset: Dataset) -> None:
        dataset.ImagesInAcquisition = SLICES

    _, folder = pre_and_post(tmp_path, by_number, counted)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if dataset.AcquisitionNumber == 2 and dataset.InstanceNumber > 5:
            path.unlink()
    first, second = series_of(folder)
    assert slice_faults(first) == []
    assert [fault.text for fault in slice_faults(second)] == ["5 slices, expected 12 (ImagesInAcquisition)"]
