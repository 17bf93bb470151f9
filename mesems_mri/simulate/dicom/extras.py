"""Objects beside the images: a screen capture, a presentation state, text files, a DICOMDIR."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    GrayscaleSoftcopyPresentationStateStorage,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
)

from mesems_mri.simulate.dicom.common import Study, clock_of, day_of, make_uid, study_header
from mesems_mri.simulate.dicom.encode import Envelope, element, write_object

# Letters of 5 rows of 3 points, a bit each from the top left: enough to burn a name into a picture.
_FONT = {
    "A": 0b010101111101101, "B": 0b110101110101110, "C": 0b011100100100011, "D": 0b110101101101110,
    "E": 0b111100110100111, "F": 0b111100110100100, "G": 0b011100101101011, "H": 0b101101111101101,
    "I": 0b111010010010111, "J": 0b001001001101010, "K": 0b101101110101101, "L": 0b100100100100111,
    "M": 0b101111111101101, "N": 0b110101101101101, "O": 0b010101101101010, "P": 0b110101110100100,
    "Q": 0b010101101110011, "R": 0b110101110110101, "S": 0b011100010001110, "T": 0b111010010010010,
    "U": 0b101101101101111, "V": 0b101101101101010, "W": 0b101101111111101, "X": 0b101101010101101,
    "Y": 0b101101010010010, "Z": 0b111001010100111, "0": 0b111101101101111, "1": 0b010110010010111,
    "2": 0b110001010100111, "3": 0b110001010001110, "4": 0b101101111001001, "5": 0b111100110001110,
    "6": 0b011100111101111, "7": 0b111001010010010, "8": 0b111101111101111, "9": 0b111101111001110,
    ".": 0b000000000000010, " ": 0,
}  # fmt: skip
_SCALE = 3
_MAKERS = {
    "siemens": "SIEMENS",
    "siemens_xa": "Siemens Healthineers",
    "philips": "Philips Medical Systems",
    "ge": "GE MEDICAL SYSTEMS",
}


def screen_capture(study: Study, moment: dt.datetime, number: int) -> Dataset:
    """Return a picture of the screen with the name and the birth date burnt into its pixels."""
    person = study.person
    lines = (person.typed, person.born.strftime("%d.%m.%Y"), "MR PROTOCOL")
    pixels = _burn(lines)
    study.plant("burnt into the pixels of a secondary capture", lines[0])
    picture = study_header(study)
    picture.SOPClassUID = SecondaryCaptureImageStorage
    picture.SOPInstanceUID = study.uid("instance", number, 1)
    picture.SeriesInstanceUID = study.uid("series", number)
    picture.Manufacturer = _MAKERS[study.conventions.manner]
    picture.ConversionType = "WSD"
    picture.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    picture.SeriesDescription = "Patient Protocol"
    picture.SeriesDate = picture.ContentDate = day_of(moment)
    picture.SeriesTime = picture.ContentTime = clock_of(moment, 0)
    picture.SeriesNumber, picture.InstanceNumber = number, 1
    picture.BurnedInAnnotation = "YES"
    picture.SamplesPerPixel, picture.PhotometricInterpretation = 1, "MONOCHROME2"
    picture.Rows, picture.Columns = pixels.shape
    picture.BitsAllocated, picture.BitsStored, picture.HighBit, picture.PixelRepresentation = 8, 8, 7, 0
    picture.add(element(0x7FE00010, "OB", pixels.tobytes()))
    return picture


def presentation_state(
    study: Study, moment: dt.datetime, number: int, image: tuple[str, str, str]
) -> Dataset:
    """Return a presentation state: how somebody looked at an image, with the name written over it.

    Parameters
    ----------
    study : Study
    moment : datetime
    number : int
        Of the series.
    image : tuple of str
        Class, instance and series UID of the image.
    """
    state = study_header(study)
    state.Modality, state.Manufacturer = "PR", _MAKERS[study.conventions.manner]
    state.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    state.SOPInstanceUID = study.uid("instance", number, 1)
    state.SeriesInstanceUID, state.SeriesNumber = study.uid("series", number), number
    state.InstanceNumber = 1
    state.SeriesDescription = "Reading"
    state.PresentationCreationDate, state.PresentationCreationTime = day_of(moment), clock_of(moment, 0)
    state.ContentLabel = "READING"
    state.ContentDescription = study.plant("ContentDescription", f"Reading {study.person.family}")
    state.ContentCreatorName = study.plant("ContentCreatorName", study.staff.reading)
    series, reference = Dataset(), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image[:2]
    series.SeriesInstanceUID, series.ReferencedImageSequence = image[2], [reference]
    state.ReferencedSeriesSequence = [series]
    text, drawing = Dataset(), Dataset()
    text.UnformattedTextValue = study.plant(
        "GraphicAnnotationSequence > TextObjectSequence",
        f"{study.person.spoken} {study.person.born:%d/%m/%Y}",
    )
    text.AnchorPoint, text.AnchorPointVisibility = [10.0, 10.0], "N"
    text.AnchorPointAnnotationUnits = "PIXEL"
    drawing.GraphicLayer, drawing.TextObjectSequence = "LAYER1", [text]
    state.GraphicAnnotationSequence = [drawing]
    state.PresentationLUTShape = "IDENTITY"
    return state


def disc_label(study: Study) -> str:
    """Return the text that a burning station puts on a disc."""
    person = study.person
    text = (
        f"Patient: {person.spoken}\r\nBorn: {person.born:%d/%m/%Y}\r\nID: {study.patient_id}\r\n"
        f"{study.staff.institution}\r\nRun VIEWER.EXE to see the images.\r\n"
    )
    return study.plant("text file beside the images", text)


def directory(study: Study, files: Sequence[tuple[str, Dataset]]) -> bytes:
    """Return a DICOMDIR with one patient, one study, its series and files.

    Parameters
    ----------
    study : Study
    files : sequence
        For each file its name relative to the directory and, of its header, the UIDs and numbers.
    """
    study.plant("DICOMDIR", study.person.dicom_name)
    records, by_series = [], {}
    for name, header in files:
        by_series.setdefault(header.SeriesInstanceUID, []).append((name, header))
    for (_, first), *_rest in by_series.values():
        records.append(
            _record(
                "SERIES",
                Modality=first.Modality,
                SeriesInstanceUID=first.SeriesInstanceUID,
                SeriesNumber=first.SeriesNumber,
            )
        )
        for name, header in by_series[first.SeriesInstanceUID]:
            kind = "PRESENTATION" if first.Modality == "PR" else "IMAGE"
            record = _record(kind, InstanceNumber=header.InstanceNumber)
            record.ReferencedFileID = name.split("/")
            record.ReferencedSOPClassUIDInFile = header.SOPClassUID
            record.ReferencedSOPInstanceUIDInFile = header.SOPInstanceUID
            record.ReferencedTransferSyntaxUIDInFile = header.TransferSyntaxUID
            records.append(record)
    header = study_header(study)
    who = _record("PATIENT", PatientName=header.PatientName, PatientID=header.PatientID)
    who.SpecificCharacterSet = header.SpecificCharacterSet
    exam = _record(
        "STUDY",
        StudyDate=header.StudyDate,
        StudyTime=header.StudyTime,
        StudyID=header.StudyID,
        StudyInstanceUID=header.StudyInstanceUID,
        AccessionNumber=header.AccessionNumber,
    )
    return _chain([who, exam, *records], study)


_LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")


def _record(kind: str, **values: object) -> Dataset:
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    record.RecordInUseFlag = 0xFFFF
    record.DirectoryRecordType = kind
    for keyword, value in values.items():
        setattr(record, keyword, value)
    return record


def _chain(records: list[Dataset], study: Study) -> bytes:
    """Encode the records with the offsets from one to the next; each offset has a fixed size."""
    directory = Dataset()
    directory.SOPClassUID = MediaStorageDirectoryStorage
    directory.SOPInstanceUID = study.uid("directory")
    directory.FileSetID = "MRDISC"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    directory.DirectoryRecordSequence = []
    envelope = Envelope("explicit", make_uid("disc"), "DISC")
    # Written once to learn how long each record is, then again with the offsets.
    start = len(_write_directory(directory, envelope))
    at = []
    for record in records:
        at.append(start)
        directory.DirectoryRecordSequence = [record]
        start += len(_write_directory(directory, envelope)) - at[0]
    levels = [
        _LEVELS.index(r.DirectoryRecordType) if r.DirectoryRecordType in _LEVELS else 3 for r in records
    ]
    for number, (record, level) in enumerate(zip(records, levels, strict=True)):
        later = range(number + 1, len(records))
        if number + 1 < len(records) and levels[number + 1] > level:
            record.OffsetOfReferencedLowerLevelDirectoryEntity = at[number + 1]
        for other in later:
            if levels[other] < level:
                break
            if levels[other] == level:
                record.OffsetOfTheNextDirectoryRecord = at[other]
                break
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = at[0]
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = at[0]
    directory.DirectoryRecordSequence = records
    return _write_directory(directory, envelope)


def _write_directory(directory: Dataset, envelope: Envelope) -> bytes:
    """Encode; a DICOMDIR names its class in the group of the file only."""
    return write_object(directory, envelope, hide=(0x00080016, 0x00080018))


def _burn(lines: Sequence[str]) -> NDArray[np.uint8]:
    picture = np.zeros((96, 240), np.uint8)
    for row, text in enumerate(lines):
        for column, letter in enumerate(text[:18]):
            bits = _FONT.get(letter, 0)
            glyph = np.array([int(b) for b in f"{bits:015b}"], np.uint8).reshape(5, 3)
            top, left = 6 + row * 8 * _SCALE, 6 + column * 4 * _SCALE
            picture[top : top + 5 * _SCALE, left : left + 3 * _SCALE] = np.kron(
                glyph, np.full((_SCALE, _SCALE), 255, np.uint8)
            )
    return picture
