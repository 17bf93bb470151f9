"""Write small DICOM series, right or wrong in one respect."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from mesems_mri.intake.dicom.instance import Slice
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import words

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.224, 0.768, 0.6)

T1 = {"ScanningSequence": "SE", "RepetitionTime": 600, "EchoTime": 12}
MPRAGE = {
    "ScanningSequence": ["GR", "IR"],
    "RepetitionTime": 2300,
    "EchoTime": 3,
    "InversionTime": 900,
    "MRAcquisitionType": "3D",
}
T2 = {"ScanningSequence": "SE", "RepetitionTime": 4000, "EchoTime": 100}
PD = {"ScanningSequence": "SE", "RepetitionTime": 4000, "EchoTime": 15}
FLAIR = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 110, "InversionTime": 2500}


def uid(*parts: object) -> str:
    """Make a UID of anything: the same of the same."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15])}"


def header(**tags: Any) -> Dataset:
    """Make the header of an instance; tags replace those of a plain MR image, None takes one away."""
    series = tags.pop("series", 1)
    number = tags.pop("number", 1)
    study = tags.pop("study", 1)
    plain: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": uid("instance", study, series, number),
        "SeriesInstanceUID": uid("series", study, series),
        "StudyInstanceUID": uid("study", study),
        "FrameOfReferenceUID": uid("frame", study),
        "PatientID": "MSC-001",
        "PatientName": "Nobody^Nora",
        "PatientSex": "F",
        "PatientBirthDate": "19800229",
        "StudyDate": "20240304",
        "AcquisitionDate": "20240304",
        "AcquisitionTime": f"10{series % 60:02}00",
        "Modality": "MR",
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "SIGNA",
        "DeviceSerialNumber": "4711",
        "SoftwareVersions": "28",
        "MagneticFieldStrength": 3,
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "SeriesNumber": series,
        "InstanceNumber": number,
        "MRAcquisitionType": "2D",
        "SliceThickness": 3,
        "PixelSpacing": [0.9, 0.9],
        "ImageOrientationPatient": list(AXIAL),
        "ImagePositionPatient": [-90.0, -90.0, 0.0],
        "Rows": 16,
        "Columns": 20,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    dataset = Dataset()
    for keyword, value in {**plain, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def series(
    description: str = "",
    *,
    slices: int = 40,
    at: str = "100000",
    orientations: tuple[tuple[float, ...], ...] = (AXIAL,),
    copy_of: str = "",
    left_out: int | None = None,
    spacing: float = 3.0,
    **tags: Any,
) -> Series:
    """Make a series of parallel slices in memory, from headers alone."""
    dataset = header(
        SeriesDescription=description or None, **{"AcquisitionTime": at, "SliceThickness": spacing, **tags}
    )
    places = [spacing * n for n in range(slices) if n != left_out]
    echo = float(dataset.EchoTime) if "EchoTime" in dataset else None
    kind = words(dataset, "ImageType")
    found = tuple(
        Slice((0.0, 0.0, place), orientations[n % len(orientations)], echo, kind)
        for n, place in enumerate(places)
    )
    return Series(
        files=tuple(Path(f"{n}") for n in range(len(places))),
        names=tuple(f"{description}{n}" for n in range(len(places))),
        header=dataset,
        instance_uids=tuple(f"1.{n}" for n in range(len(places))),
        positions_mm=tuple(places),
        frames=len(places),
        multi_frame=False,
        slices=found,
        matrices=((16, 20),),
        siblings=len(places),
        copy_of=copy_of,
    )


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a header as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def pixels(rows: int, columns: int, seed: object) -> bytes:
    """Make the pixels of a slice: noise that differs between slices."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(repr(seed).encode()).digest()[:8]))
    return rng.integers(0, 4000, (rows, columns), dtype=np.uint16).tobytes()


def write_series(
    folder: Path,
    description: str = "",
    *,
    slices: int = 40,
    left_out: Sequence[int] = (),
    spacing: float = 3.0,
    orientation: Sequence[float] = AXIAL,
    first: int = 1,
    suffix: str = ".dcm",
    **tags: Any,
) -> list[Path]:
    """Write a series of parallel slices.

    Parameters
    ----------
    folder : Path
        Where the files go.
    description : str
        Series description.
    slices : int
        How many the scanner made.
    left_out : sequence of int
        Those that were not sent, from 0.
    spacing : float
        Distance of slice centres.
    orientation : sequence of float
        As ``ImageOrientationPatient``.
    first : int
        Instance number of the first.
    suffix : str
        End of the file names.
    **tags
        As of `header`.
    """
    normal = np.cross(orientation[:3], orientation[3:])
    written = []
    for number in range(slices):
        if number in left_out:
            continue
        place = np.array([-90.0, -90.0, -60.0]) + number * spacing * normal
        here = {
            "ImagePositionPatient": [float(f"{x:.6f}") for x in place],
            "ImageOrientationPatient": list(orientation),
            "SeriesDescription": description or None,
            "SliceThickness": spacing,
            **tags,
        }
        dataset = header(number=first + number, **here)
        dataset.PixelData = pixels(dataset.Rows, dataset.Columns, (dataset.SOPInstanceUID, "pixels"))
        written.append(save(dataset, folder / f"{first + number:04}{suffix}"))
    return written


def write_enhanced(
    path: Path,
    description: str = "",
    *,
    slices: int = 40,
    echoes: Sequence[float] = (3.0,),
    spacing: float = 3.0,
    **tags: Any,
) -> Path:
    """Write an enhanced multi-frame object with all slices of one or several echoes."""
    dataset = header(
        **{
            "SOPClassUID": EnhancedMRImageStorage,
            "SeriesDescription": description or None,
            "ImageOrientationPatient": None,
            "ImagePositionPatient": None,
            "PixelSpacing": None,
            "SliceThickness": None,
            "NumberOfFrames": slices * len(echoes),
            "MRAcquisitionType": "3D",
            **tags,
        }
    )
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.9], spacing
    plane.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence = Items([measures])
    shared.PlaneOrientationSequence = Items([plane])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.Manufacturer = "Philips"
    organization, *indices = (Dataset() for _ in range(3))
    organization.DimensionOrganizationUID = uid("dimensions")
    dataset.DimensionOrganizationSequence = Items([organization])
    pointers = (("InStackPositionNumber", "FrameContentSequence"), ("EffectiveEchoTime", "MREchoSequence"))
    for index, (keyword, group) in zip(indices, pointers, strict=True):
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer = tag_for_keyword(keyword)
        index.FunctionalGroupPointer = tag_for_keyword(group)
    dataset.DimensionIndexSequence = Items(indices)
    frames, content = [], b""
    for at, echo in enumerate(echoes):
        for number in range(slices):
            frame, place, timing, stack = Dataset(), Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient = [-90.0, -90.0, -60.0 + number * spacing]
            timing.EffectiveEchoTime = echo
            stack.InStackPositionNumber, stack.StackID = number + 1, "1"
            stack.DimensionIndexValues = [number + 1, at + 1]
            frame.PlanePositionSequence = Items([place])
            frame.MREchoSequence = Items([timing])
            frame.FrameContentSequence = Items([stack])
            frames.append(frame)
            content += pixels(dataset.Rows, dataset.Columns, (dataset.SOPInstanceUID, echo, number))
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    dataset.PixelData = content
    return save(dataset, path)
