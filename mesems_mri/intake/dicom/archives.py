"""Extraction of DICOM files from untrusted zip archives.

Members are written under numbers of our own, so no name inside an archive can lead anywhere. What is written
is bounded in all, and in relation to the size of the archive; links are never made; archives inside
archives count towards the same bounds.
"""

import itertools
import lzma
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from mesems_mri.intake.dicom.instance import (
    SNIFFED_BYTES,
    ZIP_MAGIC,
    UnusedFile,
    UnusedReason,
    looks_like_dicom,
)

_CHUNK = 1 << 20
_END_OF_DIRECTORY = b"PK\x05\x06"
_MAX_COMMENT = 1 << 16
_ENCRYPTED = 0x1
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)
"""Exceptions of zipfile on a damaged archive or an unknown compression."""


class ExtractedFile(NamedTuple):
    """An extracted member, with the name that the site gave it."""

    path: Path
    name: str


class _ArchiveRefused(Exception):  # noqa: N818
    """The archive as a whole cannot be trusted or read; the text says why."""


@dataclass
class ArchiveLimits:
    """Bounds on the archives of one submission, and what was unpacked so far.

    Parameters
    ----------
    total_bytes : int
        All that is written for one submission.
    ratio : int
        How many times its own size an archive may grow to; images of heads compress 2 to 20 times.
    free_bytes : int
        Below this, the ratio is not looked at.
    depth : int
        How many archives may lie inside each other.
    directory_bytes : int
        Size of the list of members, which is held in memory; 64 MiB are about 500,000 members.
    written : int
        Bytes written so far.
    archives : int
        Archives opened so far.
    """

    total_bytes: int = 32 << 30
    ratio: int = 200
    free_bytes: int = 64 << 20
    depth: int = 3
    directory_bytes: int = 64 << 20
    written: int = 0
    archives: int = 0


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip archive, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) == ZIP_MAGIC
    except OSError:
        return False


def unpack(
    path: Path, name: str, scratch: Path, limits: ArchiveLimits
) -> tuple[list[ExtractedFile], list[UnusedFile]]:
    """Extract the DICOM members of an archive.

    Parameters
    ----------
    path : Path
        The archive.
    name : str
        As the site called it.
    scratch : Path
        Folder in which a numbered folder is made for the members.
    limits : ArchiveLimits
        What may be written; what was written is added to it.

    Returns
    -------
    list of ExtractedFile
        Members that can be DICOM; none when the archive is refused.
    list of UnusedFile
        One for each member left out, or a single one for an archive that is refused as a whole.
    """
    return _unpack(path, name, scratch, limits, 1, path.stat().st_size)


def _unpack(
    path: Path, name: str, scratch: Path, limits: ArchiveLimits, depth: int, sent_bytes: int
) -> tuple[list[ExtractedFile], list[UnusedFile]]:
    taken: list[ExtractedFile] = []
    refused: list[UnusedFile] = []
    place = _new_folder(scratch, limits)
    before = limits.written
    try:
        _refuse_large_directory(path, limits)
        with zipfile.ZipFile(path) as archive:
            for number, member in enumerate(archive.infolist()):
                if member.is_dir():
                    continue
                inside = f"{name}!{member.filename}"
                if why := _refuse_member(member):
                    refused.append(UnusedFile(inside, UnusedReason.MEMBER, why))
                    continue
                target = place / f"{number:06d}"
                kind = _write_member(archive, member, target, limits, sent_bytes, before)
                if isinstance(kind, UnusedFile):
                    refused.append(kind._replace(name=inside))
                elif kind == "zip":
                    if depth >= limits.depth:
                        msg = f"archives lie more than {limits.depth} deep inside each other"
                        raise _ArchiveRefused(msg)  # noqa: TRY301
                    more, left_out = _unpack(target, inside, scratch, limits, depth + 1, sent_bytes)
                    taken += more
                    refused += left_out
                    target.unlink()
                else:
                    taken.append(ExtractedFile(target, inside))
    except _ArchiveRefused as error:
        _empty(place)
        if depth > 1:
            raise
        _empty_all(taken)
        return [], [UnusedFile(name, UnusedReason.ARCHIVE, str(error))]
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        struct.error,
        ValueError,
        NotImplementedError,  # raised by zipfile for a compression that it cannot undo
    ) as error:
        _empty_all(taken)
        _empty(place)
        return [], [
            UnusedFile(name, UnusedReason.ARCHIVE, f"it is damaged or cut off ({type(error).__name__})")
        ]
    return taken, refused


def _write_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    target: Path,
    limits: ArchiveLimits,
    sent_bytes: int,
    before: int,
) -> str | UnusedFile:
    """Write a member if it begins as a DICOM file or an archive does, and count what was written."""
    with archive.open(member) as packed:
        first = packed.read(SNIFFED_BYTES)
        if not first:
            return UnusedFile("", UnusedReason.EMPTY)
        kind = "zip" if first.startswith(ZIP_MAGIC) else "dicom" if looks_like_dicom(first) else ""
        if not kind:
            return UnusedFile("", UnusedReason.NOT_DICOM)
        with target.open("wb") as out:
            for block in itertools.chain((first,), iter(lambda: packed.read(_CHUNK), b"")):
                limits.written += out.write(block)
                grown = limits.written - before
                if limits.written > limits.total_bytes:
                    msg = f"it unpacks to more than {limits.total_bytes >> 20} MiB"
                    raise _ArchiveRefused(msg)
                if grown > max(limits.free_bytes, limits.ratio * sent_bytes):
                    msg = f"it unpacks to more than {limits.ratio} times its size, as no images do"
                    raise _ArchiveRefused(msg)
    return kind


def _refuse_member(member: zipfile.ZipInfo) -> str:
    """Return the reason to refuse a member by its entry alone; empty if there is none."""
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link or special file"
    posix, windows = PurePosixPath(member.filename), PureWindowsPath(member.filename)
    if (
        posix.is_absolute()
        or windows.is_absolute()
        or windows.drive
        or ".." in (*posix.parts, *windows.parts)
    ):
        return "its name leads out of the archive"
    if member.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    return ""


def _refuse_large_directory(path: Path, limits: ArchiveLimits) -> None:
    """Refuse an archive whose list of members is too long to be read into memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _MAX_COMMENT - 42))
        tail = file.read()
        at = tail.rfind(_END_OF_DIRECTORY)
        if at < 0 or len(tail) < at + 16:
            msg = "it is cut off: its list of members is missing"
            raise _ArchiveRefused(msg)
        (directory,) = struct.unpack("<I", tail[at + 12 : at + 16])
        if directory == 0xFFFFFFFF and at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":
            file.seek(min(struct.unpack("<Q", tail[at - 12 : at - 4])[0], size))
            record = file.read(56)
            directory = struct.unpack("<Q", record[40:48])[0] if len(record) == 56 else size
    if directory > limits.directory_bytes:
        msg = f"its list of members is longer than {limits.directory_bytes >> 20} MiB"
        raise _ArchiveRefused(msg)


def _new_folder(scratch: Path, limits: ArchiveLimits) -> Path:
    limits.archives += 1
    folder = scratch / f"archive-{limits.archives}"
    folder.mkdir()
    return folder


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _empty_all(taken: list[ExtractedFile]) -> None:
    for member in taken:
        member.path.unlink(missing_ok=True)
