"""Archive of a bundle: one uncompressed tar of plain files, the same bytes for the same bundle."""

import tarfile
from pathlib import Path
from typing import BinaryIO

from mesems_mri.errors import BundleError
from mesems_mri.transfer.manifest import FILES, MANIFEST, SIGNATURE

MAX_FILE_BYTES = 256 * 2**20
MAX_ARCHIVE_BYTES = 512 * 2**20
"""A bundle of 1,000 visits of one site has 19 MB (``python -m benchmarks.transfer``)."""
MAX_BYTES = {MANIFEST: 2**20, SIGNATURE: 64}
"""Files with a limit of their own; the others have `MAX_FILE_BYTES`."""
MEMBERS = (MANIFEST, SIGNATURE, *FILES)
"""Members of the archive in order: the receiver can check the signature first."""
_CHUNK = 2**20
_END_BYTES = 2 * tarfile.BLOCKSIZE


def write_archive(bundle: Path, stream: BinaryIO) -> None:
    """Write the archive of a bundle (POSIX.1-1988 ustar; no owner, no time, members in order).

    Parameters
    ----------
    bundle : Path
        Folder with exactly the files of a bundle.
    stream : binary file
        Written from its position on.
    """
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            member = tarfile.TarInfo(name)
            member.size = (bundle / name).stat().st_size
            with (bundle / name).open("rb") as content:
                archive.addfile(member, content)


def extract_archive(archive: Path, folder: Path) -> None:
    """Unpack the archive of a bundle into an empty folder; nothing of what it holds is trusted.

    Only plain files with the names of `MEMBERS`, each once and in order, are written; memory stays at 1 MiB,
    and no more than `MAX_ARCHIVE_BYTES` are read or written.

    Parameters
    ----------
    archive : Path
    folder : Path
        Made if it is not there.

    Raises
    ------
    BundleError
        If it is anything else.
    """
    if archive.stat().st_size > MAX_ARCHIVE_BYTES:
        raise _error(archive, f"has more than {MAX_ARCHIVE_BYTES} bytes")
    folder.mkdir(parents=True, exist_ok=True)
    with archive.open("rb") as stream:
        for expected in MEMBERS:
            _extract(archive, stream, expected, folder)
        size = 0
        while rest := stream.read(_CHUNK):
            size += len(rest)
            if rest.strip(b"\0"):
                raise _error(archive, "holds more than the files of a bundle")
        if size < _END_BYTES:
            raise _error(archive, "has no end; it did not arrive completely")


def _extract(archive: Path, stream: BinaryIO, expected: str, folder: Path) -> None:
    # tarfile reads names and extended headers of any length into memory, so members are read one by one
    header = stream.read(tarfile.BLOCKSIZE)
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.TarError, UnicodeDecodeError, ValueError) as error:
        raise _error(archive, f"has no {expected} where it is expected") from error
    if member.name != expected or member.type != tarfile.REGTYPE:
        kind = "" if member.type == tarfile.REGTYPE else ", which is no plain file"
        raise _error(archive, f"has the member {member.name!r}{kind} where {expected} is expected")
    limit = MAX_BYTES.get(expected, MAX_FILE_BYTES)
    if not 0 <= member.size <= limit:
        raise _error(archive, f"has {expected} of {member.size} bytes, at most {limit} are allowed")
    left = member.size
    with (folder / expected).open("xb") as target:
        while left:
            part = stream.read(min(left, _CHUNK))
            if not part:
                raise _error(archive, f"ends within {expected}")
            target.write(part)
            left -= len(part)
    padding = -member.size % tarfile.BLOCKSIZE
    if stream.read(padding) != b"\0" * padding:
        raise _error(archive, f"is damaged behind {expected}")


def _error(archive: Path, fault: str) -> BundleError:
    return BundleError(f"{archive.name}: {fault}; send the bundle again as mesems-mri transfer built it")
