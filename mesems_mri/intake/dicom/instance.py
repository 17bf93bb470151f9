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

from mesems_mri.intake.dicom.tags import number, numbers, sequence, text, words

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
_READ_TAGS = [
    *("ImageType", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "InstanceNumber"),
    *("EchoTime", "ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns", "NumberOfFrames"),
    *("BitsAllocated", "SamplesPerPixel"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
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


class Slice(NamedTuple):
    """Position of a slice, and its distinction from the others of its series."""

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    echo_ms: float | None
    kind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance, with the attributes by which those of a series are compared."""

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
    frames = frames_of(header)
    instance_number = number(header, "InstanceNumber")
    slices = _slices(header, frames)
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
    )


def frames_of(header: Dataset) -> int:
    """Return the number of frames of an object; 1 when it is silent."""
    return max(int(number(header, "NumberOfFrames") or 1), 1)


def _slices(header: Dataset, frames: int) -> tuple[Slice, ...]:
    per_frame = sequence(header, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        position, orientation = _place(header)
        one = Slice(position, orientation, number(header, "EchoTime"), words(header, "ImageType"))
        return (one,) if frames == 1 else ()
    shared = (sequence(header, "SharedFunctionalGroupsSequence") or [Dataset()])[0]
    found = []
    for frame in per_frame:
        position, orientation, echo, kind = (), (), None, ()
        for group in (frame, shared):
            position = position or _numbers(group, "PlanePositionSequence", "ImagePositionPatient")
            turned = _numbers(group, "PlaneOrientationSequence", "ImageOrientationPatient")
            orientation = orientation or turned
            echo = echo or next(iter(_numbers(group, "MREchoSequence", "EffectiveEchoTime")), None)
            for item in sequence(group, "MRImageFrameTypeSequence")[:1]:
                kind = kind or words(item, "FrameType")
        found.append(Slice(position, orientation, echo, kind or words(header, "ImageType")))
    return tuple(found)


def _place(header: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return numbers(header, "ImagePositionPatient"), numbers(header, "ImageOrientationPatient")


def _numbers(group: Dataset, of: str, keyword: str) -> tuple[float, ...]:
    for item in sequence(group, of)[:1]:
        return numbers(item, keyword)
    return ()


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
