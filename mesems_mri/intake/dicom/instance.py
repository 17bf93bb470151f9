"""Read one file of a submission: which instance it is, where its slices lie, whether its pixels are there."""

import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pydicom
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mesems_mri.intake.dicom.frames import READ_TAGS, Slice, frames_of, slices_of
from mesems_mri.intake.dicom.sop_class import ObjectKind, class_name, object_kind
from mesems_mri.intake.dicom.tags import number, numbers, text

ZIP_MAGIC = b"PK\x03\x04"
SNIFFED_BYTES = 140
"""Number of first bytes by which DICOM is recognised."""
MAX_INFLATED_BYTES = 2 << 30
"""A deflated object that grows beyond this is no image of a head."""
_CHUNK = 1 << 20
_DIRECTORY = "1.2.840.10008.1.3.10"
_OTHER_ARCHIVES = (b"7z\xbc\xaf", b"Rar!")
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_PACKED_NAMES = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".dcm.gz")
_PIXEL_TAGS = ((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009))
_LONG_VR = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"}
_ITEM, _END_OF_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_DERIVED = ("DERIVED", "SECONDARY")
_READ_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "InstanceNumber"),
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel", "PatientID", "StudyDate"),
    *("SeriesNumber", "SeriesDescription", "ProtocolName", "PixelSpacing", "RepetitionTime"),
    *("InversionTime", "FlipAngle", *READ_TAGS),
]
"""Attributes that are read here; skipping the others takes a fifth less time."""


class UnusedReason(StrEnum):
    """Closed list of reasons for which a file belongs to no series, each in words for the site.

    The words are part of the keyed hash that names a submission of several examinations, or of none: worded
    anew, it would get another ``submission_id``.
    """

    EMPTY = "empty files (0 bytes)"
    NOT_DICOM = "files that are not DICOM"
    NO_HEADER = "DICOM files whose header cannot be read"
    NO_IMAGE = "DICOM objects without an image (reports, presentation states, raw data)"
    DIRECTORY = "DICOMDIR files (read as a list of what should be there)"
    NO_UID = "DICOM images without an instance or series UID"
    LINK = "links, which are not followed"
    SPECIAL = "devices, pipes and other special files"
    UNREADABLE = "files or folders that cannot be opened"
    ARCHIVE = "archives that were refused"
    MEMBER = "members of archives that were refused"
    MISSING = "files that a DICOMDIR lists and that are not there"
    TOO_DEEP = "folders nested too deeply"


class UnusedFile(NamedTuple):
    """A file that belongs to no series, with the reason."""

    name: str
    why: UnusedReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance, with the attributes by which those of a series are compared.

    `likeness` holds what slices of one series have alike; empty for an object with several frames.
    """

    path: Path
    name: str
    sop_uid: str
    series_uid: str
    study_uid: str
    number: int | None
    matrix: tuple[int, int]
    slices: tuple[Slice, ...]
    multi_frame: bool
    damage: str
    kind: ObjectKind = ObjectKind.MR
    likeness: tuple[object, ...] = ()


def looks_like_dicom(first: bytes) -> bool:
    """Return whether a file can be DICOM by its first bytes, with a preamble or, as old ones, without."""
    if first[128:132] == b"DICM":
        return True
    if len(first) < 8:
        return False
    group, element = struct.unpack("<HH", first[:4])
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    return explicit or struct.unpack("<I", first[4:8])[0] <= 256


def read_instance(path: Path, name: str, scratch: Path) -> Instance | UnusedFile:
    """Read the header of one file and weigh its pixel data without reading them.

    Parameters
    ----------
    path : Path
        File on disk.
    name : str
        As the site called it.
    scratch : Path
        Folder for a deflated object, which is inflated there.

    Returns
    -------
    Instance or UnusedFile
        Never an exception: whatever is in a file, it gets its line.
    """
    try:
        return _read(path, name, scratch)
    except OSError as error:
        return UnusedFile(name, UnusedReason.UNREADABLE, error.strerror or "")
    except Exception as error:  # pydicom raises whatever its parts raise on a damaged header
        return UnusedFile(name, UnusedReason.NO_HEADER, type(error).__name__)


def read_header(path: Path) -> Dataset:
    """Read the header of a file, without pixel data and without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _read(path: Path, name: str, scratch: Path) -> Instance | UnusedFile:
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = file.read(SNIFFED_BYTES)
        if not first:
            return UnusedFile(name, UnusedReason.EMPTY)
        packed = first.startswith(_PACKED) and name.lower().endswith(_PACKED_NAMES)
        if packed or first.startswith(_OTHER_ARCHIVES):
            return UnusedFile(name, UnusedReason.ARCHIVE, "only zip archives are read")
        if not looks_like_dicom(first):
            return UnusedFile(name, UnusedReason.NOT_DICOM)
        if _syntax(path) == DeflatedExplicitVRLittleEndian:
            path = _inflated(path, scratch)
            with path.open("rb") as plain:
                return _describe(plain, path, name)
        file.seek(0)
        return _describe(file, path, name)


def _describe(file: BinaryIO, path: Path, name: str) -> Instance | UnusedFile:
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_READ_TAGS)
    end = file.tell()
    if text(header.file_meta, "MediaStorageSOPClassUID") == _DIRECTORY:
        return UnusedFile(name, UnusedReason.DIRECTORY)
    if not len(header):
        return UnusedFile(name, UnusedReason.NO_HEADER, "it is empty")
    rows, columns = number(header, "Rows"), number(header, "Columns")
    if rows is None or columns is None:
        return UnusedFile(name, UnusedReason.NO_IMAGE, text(header, "Modality"))
    uids = tuple(text(header, f"{level}InstanceUID") for level in ("SOP", "Series", "Study"))
    if not uids[0] or not uids[1]:
        return UnusedFile(name, UnusedReason.NO_UID)
    sop_class = text(header, "SOPClassUID") or text(header.file_meta, "MediaStorageSOPClassUID")
    kind = object_kind(sop_class)
    frames = frames_of(header)
    slices = slices_of(header, frames)
    # an image without its class has a place in the patient, other objects have none
    if kind is ObjectKind.NO_IMAGE or (kind is ObjectKind.UNKNOWN and not _is_placed(slices)):
        return UnusedFile(name, UnusedReason.NO_IMAGE, class_name(sop_class))
    if kind is ObjectKind.OTHER_IMAGE and text(header, "Modality").upper() == "MR":
        slices = as_derived(slices)  # a secondary capture of MR images
    instance_number = number(header, "InstanceNumber")
    return Instance(
        path=path,
        name=name,
        sop_uid=uids[0],
        series_uid=uids[1],
        study_uid=uids[2],
        number=None if instance_number is None else int(instance_number),
        matrix=(int(rows), int(columns)),
        slices=slices,
        multi_frame=frames > 1,
        damage=_damage(file, end, header, frames, len(slices)),
        kind=kind,
        likeness=_likeness(header, slices[0]) if frames == 1 and _is_placed(slices) else (),
    )


def as_derived(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Return slices as those of a derived image, whatever the header says of its type."""
    return tuple(one._replace(kind=(*one.kind, *_DERIVED)) for one in slices)


def _is_placed(slices: tuple[Slice, ...]) -> bool:
    return bool(slices) and all(len(s.position) == 3 and len(s.orientation) == 6 for s in slices)


def _likeness(header: Dataset, one: Slice) -> tuple[object, ...]:
    """Return what the slices of one series have alike, whatever their UIDs; numbers as they round."""
    texts = (
        text(header, keyword) for keyword in ("PatientID", "StudyDate", "SeriesDescription", "ProtocolName")
    )
    times = (f"{number(header, k) or 0:.3g}" for k in ("RepetitionTime", "InversionTime", "FlipAngle"))
    return (
        *texts,
        number(header, "SeriesNumber"),
        *times,
        tuple(round(side, 3) for side in numbers(header, "PixelSpacing")),
        tuple(round(cosine, 2) + 0.0 for cosine in one.orientation),
    )


def _damage(file: BinaryIO, start: int, header: Dataset, frames: int, described: int) -> str:
    """Describe the damage of the pixel data that begin at `start`; empty if there is none."""
    size = os.fstat(file.fileno()).st_size
    file.seek(start)
    head = file.read(12)
    little = getattr(header, "original_encoding", (None, True))[1] is not False
    order = "<" if little else ">"
    if len(head) < 8 or struct.unpack(order + "HH", head[:4]) not in _PIXEL_TAGS:
        return "the pixel data are missing"
    if head[4:6] in _LONG_VR and len(head) == 12:
        length, begin = struct.unpack(order + "I", head[8:12])[0], start + 12
    else:
        length, begin = struct.unpack(order + "I", head[4:8])[0], start + 8
    if described not in (0, frames):
        return f"{described} frames are described, {frames} announced"
    if length == _UNDEFINED:
        return _damage_of_items(file, begin, size, frames)
    bits = (number(header, "BitsAllocated") or 16) * (number(header, "SamplesPerPixel") or 1)
    pixels = (number(header, "Rows") or 0) * (number(header, "Columns") or 0) * frames
    expected = int(pixels * bits + 7) // 8
    there = min(length, size - begin)
    return f"{there} bytes of pixel data, expected {expected}" if there < expected else ""


def _damage_of_items(file: BinaryIO, begin: int, size: int, frames: int) -> str:
    items, at = 0, begin
    while at + 8 <= size:
        file.seek(at)
        tag, length = file.read(4), struct.unpack("<I", file.read(4))[0]
        if tag == _END_OF_ITEMS:
            # the first item is the table of offsets
            missing = frames > 1 and items - 1 < frames
            return f"{items - 1} compressed frames, expected {frames}" if missing or items < 2 else ""
        if tag != _ITEM or length == _UNDEFINED:
            return "the compressed pixel data are broken"
        items, at = items + 1, at + 8 + length
    return "the compressed pixel data end too early"


def _syntax(path: Path) -> str:
    try:
        return text(read_file_meta_info(path), "TransferSyntaxUID")
    except Exception:  # no or a damaged meta group: an implicit file without one, or one that dcmread refuses
        return ""


def _inflated(path: Path, scratch: Path) -> Path:
    """Write a deflated object plainly: bounded, as a few kilobytes can inflate to gigabytes."""
    meta = read_file_meta_info(path)
    skip = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain = scratch / f"{zlib.crc32(str(path).encode()):08x}-{path.stat().st_ino}.dcm"
    start = DicomBytesIO()
    write_file_meta_info(start, meta, enforce_standard=False)
    inflate, written = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as packed, plain.open("wb") as out:
        out.write(b"\0" * 128 + b"DICM" + start.getvalue())
        packed.seek(skip)
        rest = packed.read(_CHUNK)
        while rest and not inflate.eof:
            block = inflate.decompress(rest, _CHUNK)
            written += out.write(block)
            if written > MAX_INFLATED_BYTES:
                out.truncate(0)
                msg = "too large"
                raise ValueError(msg)
            rest = inflate.unconsumed_tail or packed.read(_CHUNK)
    return plain
