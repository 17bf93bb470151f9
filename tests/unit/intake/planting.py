"""DICOM objects with a person in them: in the usual elements, and in any other that a test asks for."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from tests.identifier_search import Planted

PERSON = (
    Planted("name", "Zwiebelhuber^Korbinian"),
    Planted("date", "19610412"),
    Planted("text", "Quittenweg 17, 04711 Grimmelshausen"),
    Planted("text", "ACX-4829917"),
    Planted("name", "Obermoser^Valentina"),
)
"""A patient, the birth date, the address, an accession number and a physician."""
NAME, BIRTH_DATE, ADDRESS, ACCESSION, PHYSICIAN = (planted.text for planted in PERSON)
KEY = bytes(range(32))
OFFSET = -56_000
_PADDED = {"US": 2, "SS": 2, "OW": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4, "AT": 4, "FD": 8, "OD": 8}
_EIGHT = {"SV", "UV", "OV"}
_ROOT = "1.2.826.0.1.3680043.10.999"


def mr_header(*, named: bool = True) -> Dataset:
    """Return the header of a T1w slice; `named` tells whether the person stands in the usual elements."""
    ds = Dataset()
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = f"{_ROOT}.4.1"
    ds.StudyDate, ds.SeriesDate, ds.AcquisitionDate, ds.ContentDate = ["20120304"] * 4
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = [
        "101112",
        "101500",
        "101530.25",
        "1016",
    ]
    ds.Modality = "MR"
    ds.Manufacturer = "SIEMENS"
    ds.ManufacturerModelName = "Prisma"
    ds.SoftwareVersions = "syngo MR E11"
    ds.DeviceSerialNumber = "67060"
    ds.StationName = "MRC35131"
    ds.MagneticFieldStrength = "3"
    ds.SeriesDescription = "t1_se_tra_3mm post Gd"
    ds.ProtocolName = "t1_se_tra_3mm"
    ds.BodyPartExamined = "BRAIN"
    ds.ScanningSequence, ds.SequenceVariant = "SE", ["SK", "SP"]
    ds.MRAcquisitionType = "2D"
    ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = "500", "12.5", "90"
    ds.SliceThickness, ds.SpacingBetweenSlices = "3", "3"
    ds.ContrastBolusAgent, ds.ContrastBolusIngredient = "Gadovist", "GADOLINIUM"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{_ROOT}.1", f"{_ROOT}.2"
    ds.FrameOfReferenceUID = f"{_ROOT}.3"
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "5", "1", "1"
    ds.ImagePositionPatient = ["-10.5", "-12.25", "30"]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing = ["0.9375", "0.9375"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = 8, 12
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    reference = Dataset()
    reference.ReferencedSOPClassUID = MRImageStorage
    reference.ReferencedSOPInstanceUID = ds.SOPInstanceUID
    ds.ReferencedImageSequence = Sequence([reference])
    ds.PatientName = NAME if named else "ANONYMOUS"
    ds.PatientID = "KH-4405813" if named else "P01"
    ds.PatientBirthDate = BIRTH_DATE if named else ""
    ds.PatientSex, ds.PatientAge, ds.PatientWeight = "F", "050Y", "71.5"
    ds.AccessionNumber = ACCESSION if named else ""
    ds.ReferringPhysicianName = PHYSICIAN if named else ""
    if named:
        ds.PatientAddress = ADDRESS
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def mr_image(number: int = 1, *, named: bool = True) -> Dataset:
    """Return a slice of the series: the header with its number and place, and pixels."""
    ds = mr_header(named=named)
    ds.SOPInstanceUID = f"{_ROOT}.4.{number}"
    ds.file_meta.MediaStorageSOPInstanceUID = UID(ds.SOPInstanceUID)
    ds.InstanceNumber = str(number)
    ds.ImagePositionPatient = ["-10.5", "-12.25", str(30 + 3 * number)]
    values = np.random.default_rng(number).integers(0, 4096, (8, 12), np.uint16)
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def plant(dataset: Dataset, tag: int, vr: str, text: str, *, encoding: str = "utf-8") -> None:
    """Put a text into an element of any kind, as bytes and without asking whether it belongs there."""
    content = text.encode(encoding)
    size = 8 if vr in _EIGHT else _PADDED.get(vr, 2)
    content += b" " * (-len(content) % size)
    dataset._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(content), content, 0, False, True)


def nested(dataset: Dataset, path: Iterable[int]) -> Dataset:
    """Return the item of sequences within sequences, made where it is not there."""
    for tag in path:
        if tag not in dataset:
            dataset.add_new(tag, "SQ", Sequence([Dataset()]))
        dataset = dataset[tag].value[0]
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write an object as a file."""
    pydicom.dcmwrite(path, dataset, enforce_file_format=True, overwrite=True)
    return path
