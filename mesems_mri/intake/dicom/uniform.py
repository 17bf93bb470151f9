"""Copies of the slices of one volume that differ in nothing but their places and pixels.

dcm2niix makes several images of slices that differ in a trigger time, a series UID or a rounded number, and
takes the distance of the first two slices for that of all. Such slices are written anew for the conversion:
pixels as they are, places as fitted to all of them, and what one volume has in common as the first has it.
"""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.stack import FittedStack
from mesems_mri.intake.dicom.tags import number, numbers, sequence, words

_COMMON = (
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "StudyDate", "StudyTime", "SeriesDate"),
    *("SeriesTime", "SeriesNumber", "AcquisitionNumber", "SeriesDescription", "ProtocolName", "ImageType"),
    *("EchoTime", "EchoNumbers", "EchoTrainLength", "RepetitionTime", "InversionTime", "FlipAngle"),
    *("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "ReceiveCoilName", "SequenceName"),
    *("ScanningSequence", "SequenceVariant", "ScanOptions", "Manufacturer", "Modality", "SOPClassUID"),
)
"""What all slices of a volume have in common; where one differs, it is by rounding or by the export."""
_DROPPED = (
    *("TriggerTime", "TemporalPositionIdentifier", "NumberOfTemporalPositions", "ConcatenationUID"),
    *("InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber"),
)
_DROPPED_OF_FRAMES = ("CardiacSynchronizationSequence", "TemporalPositionSequence")
_MEASURED = ("RepetitionTime", "InversionTime", "EchoTime", "FlipAngle", "PixelSpacing")
_ROUNDED = 0.02
"""Measured values that differ by more than this part are those of different acquisitions."""
_SIEMENS_COIL = (0x0051, 0x100F)


def write_uniform(series: Series, stack: FittedStack, folder: Path) -> tuple[Path, ...]:
    """Write copies of the slices of a series that a converter takes for one volume.

    Parameters
    ----------
    series : Series
        Its slices make one volume.
    stack : FittedStack
        Places of its slices, in the order of ``series.slices``.
    folder : Path
        Empty folder for the copies.

    Returns
    -------
    tuple of Path
        One file per slice; of enhanced objects a single one with all frames.

    Raises
    ------
    ValueError
        If the frames of enhanced objects cannot be joined, or slices differ by more than rounding.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = pydicom.dcmread(series.files[0], force=True)
        order = _order(series, stack)
        if sequence(first, "PerFrameFunctionalGroupsSequence"):
            target = folder / "000000.dcm"
            _save(_joined(series, stack, order), target)
            return (target,)
        written = []
        for number_of_slice, at in enumerate(order):
            dataset = pydicom.dcmread(series.files[at], force=True)
            _refuse_mixture(dataset, first)
            _make_alike(dataset, first)
            dataset.ImagePositionPatient = _decimals(stack.positions[at])
            dataset.SpacingBetweenSlices = f"{stack.spacing:.8g}"
            dataset.SliceLocation = f"{float(stack.positions[at] @ stack.normal):.8g}"
            dataset.InstanceNumber = number_of_slice + 1
            written.append(folder / f"{number_of_slice:06d}.dcm")
            _save(dataset, written[-1])
    return tuple(written)


def _order(series: Series, stack: FittedStack) -> np.ndarray:
    """Order slices by place, up or down as the instances were numbered: a converter keeps the direction."""
    places = stack.positions @ stack.normal
    order = np.argsort(places, kind="stable")
    numbers = np.array([float(found) for found in series.instance_numbers if found is not None])
    if len(numbers) != len(places):
        return order
    rises = float((numbers - numbers.mean()) @ (places - places.mean())) >= 0
    return order if rises else order[::-1]


def _refuse_mixture(dataset: Dataset, first: Dataset) -> None:
    """Refuse slices that were not acquired alike: they would be a silent mixture."""
    for keyword in _MEASURED:
        one, other = numbers(dataset, keyword), numbers(first, keyword)
        pairs = zip(one, other, strict=False)
        if len(one) != len(other) or any(abs(a - b) > _ROUNDED * max(abs(a), abs(b)) for a, b in pairs):
            msg = f"slices differ in {keyword}"
            raise ValueError(msg)
    if words(dataset, "ScanningSequence") != words(first, "ScanningSequence"):
        msg = "slices differ in ScanningSequence"
        raise ValueError(msg)


def _make_alike(dataset: Dataset, first: Dataset) -> None:
    for keyword in _COMMON:
        tag = tag_for_keyword(keyword)
        if tag is not None:
            _take_over(dataset, first, tag)
    _take_over(dataset, first, _SIEMENS_COIL)
    for keyword in _DROPPED:
        if keyword in dataset:
            delattr(dataset, keyword)


def _take_over(dataset: Dataset, first: Dataset, tag: int | tuple[int, int]) -> None:
    if tag in first:
        dataset[tag] = copy.copy(first[tag])
    elif tag in dataset:
        del dataset[tag]


def _decimals(position: np.ndarray) -> list[str]:
    return [f"{x:.8f}"[:16] for x in position]


def _joined(series: Series, stack: FittedStack, order: Sequence[int] | np.ndarray) -> Dataset:
    """Join the frames of enhanced objects in one, in the order of their places."""
    objects = [pydicom.dcmread(file, force=True) for file in series.files]
    first = objects[0]
    for one in objects[1:]:
        _refuse_mixture(one, first)
    if any(_pixel_format(one) != _pixel_format(first) for one in objects):
        msg = "the files of the series keep their pixels in different ways"
        raise ValueError(msg)
    taken = series.frames_taken or tuple(tuple(range(_described(one))) for one in objects)
    shared = [(sequence(one, "SharedFunctionalGroupsSequence") or [Dataset()])[0] for one in objects]
    own = [tag for tag in {tag for group in shared for tag in group.keys()} if not _alike(shared, tag)]  # noqa: SIM118
    frames: list[Dataset] = []
    pixels: list[bytes] = []
    for one, group, chosen in zip(objects, shared, taken, strict=True):
        described, content = sequence(one, "PerFrameFunctionalGroupsSequence"), _frame_pixels(one)
        for at in chosen:
            frame = described[at]
            for tag in own:
                if tag in group and tag not in frame:
                    frame[tag] = copy.deepcopy(group[tag])
            frames.append(frame)
            pixels.append(content[at])
    for tag in own:
        if tag in shared[0]:
            del shared[0][tag]
    first.SharedFunctionalGroupsSequence = Items([shared[0]])
    for place, at in enumerate(order):
        _place_frame(frames[at], stack.positions[at], place)
    first.PerFrameFunctionalGroupsSequence = Items([frames[at] for at in order])
    first.NumberOfFrames = len(frames)
    _index_by_place(first)
    ordered = [pixels[at] for at in order]
    first.PixelData = encapsulate(ordered) if _is_compressed(first) else b"".join(ordered)
    _make_alike(first, first)
    return first


def _place_frame(frame: Dataset, position: np.ndarray, place: int) -> None:
    plane = Dataset()
    plane.ImagePositionPatient = _decimals(position)
    frame.PlanePositionSequence = Items([plane])
    content = (sequence(frame, "FrameContentSequence") or [Dataset()])[0]
    content.StackID, content.InStackPositionNumber = "1", place + 1
    content.DimensionIndexValues = [1, place + 1]
    if "TemporalPositionIndex" in content:
        content.TemporalPositionIndex = 1
    frame.FrameContentSequence = Items([content])
    for keyword in _DROPPED_OF_FRAMES:
        if keyword in frame:
            delattr(frame, keyword)


def _index_by_place(dataset: Dataset) -> None:
    known = sequence(dataset, "DimensionOrganizationSequence")
    organization = known[0] if known else Dataset()
    if "DimensionOrganizationUID" not in organization:
        organization.DimensionOrganizationUID = dataset.SOPInstanceUID
    indices = []
    for keyword in ("StackID", "InStackPositionNumber"):
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer = tag_for_keyword(keyword)
        index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
        indices.append(index)
    dataset.DimensionOrganizationSequence = Items([organization])
    dataset.DimensionIndexSequence = Items(indices)


def _alike(groups: list[Dataset], tag: object) -> bool:
    values = [group.get(tag) for group in groups]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return all(value == values[0] for value in values)


def _described(dataset: Dataset) -> int:
    return len(sequence(dataset, "PerFrameFunctionalGroupsSequence"))


def _pixel_format(dataset: Dataset) -> tuple[object, ...]:
    keywords = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")
    return (*(number(dataset, keyword) for keyword in keywords), _syntax(dataset))


def _syntax(dataset: Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    found = meta.get("TransferSyntaxUID") if meta is not None else None
    if found:
        return UID(found)
    implicit, little = dataset.original_encoding
    plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else plain


def _is_compressed(dataset: Dataset) -> bool:
    syntax = _syntax(dataset)
    return syntax.is_compressed and not syntax.is_deflated


def _frame_pixels(dataset: Dataset) -> list[bytes]:
    frames = _described(dataset)
    if _is_compressed(dataset):
        return list(generate_frames(dataset.PixelData, number_of_frames=frames))
    rows, columns = number(dataset, "Rows") or 0, number(dataset, "Columns") or 0
    samples = number(dataset, "SamplesPerPixel") or 1
    size = int(rows * columns * samples * (number(dataset, "BitsAllocated") or 16)) // 8
    if size * frames > len(dataset.PixelData):
        msg = "frames are missing"
        raise ValueError(msg)
    return [dataset.PixelData[size * at : size * (at + 1)] for at in range(frames)]


def _save(dataset: Dataset, target: Path) -> None:
    syntax = _syntax(dataset)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(target, dataset, enforce_file_format=True)
