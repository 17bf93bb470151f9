"""Inboxes: folders in which archives arrive, e.g. over SFTP, with receipts in a folder ``receipts``."""

import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mesems_mri.central.receipts import Claim, Decision, read_claim
from mesems_mri.central.receive import Source, receive, refuse
from mesems_mri.central.rejection import RejectedError, RejectionCode
from mesems_mri.central.store import Store
from mesems_mri.errors import UsageError
from mesems_mri.files import write_text
from mesems_mri.transfer.archive import MAX_ARCHIVE_BYTES
from mesems_mri.transfer.manifest import receipt_name

RECEIPTS = "receipts"
_NAME = re.compile(r"(?P<site>[A-Za-z0-9][A-Za-z0-9_.-]*)_(?P<sequence>[0-9]{6})_(?P<sha>[0-9a-f]{64})\.tar")
_CHUNK = 2**20


@dataclass(frozen=True)
class IngestedArchive:
    """Archive of an inbox and the decision about it.

    Parameters
    ----------
    name : str
        Of the archive.
    decision : Decision or None
        None for a file that is no transfer; it is left where it is.
    """

    name: str
    decision: Decision | None


def ingest(store: Store, inbox: Path, *, by: str, site_id: str = "") -> Iterator[IngestedArchive]:
    """Receive the archives of an inbox in the order of their numbers; write receipts, remove archives.

    An interrupted call is completed by the next: an archive is removed after its receipt is written.

    Parameters
    ----------
    store : Store
    inbox : Path
    by : str
        Actor, for the audit trail.
    site_id : str
        The only site that may send here; empty: any.

    Raises
    ------
    UsageError
        If the inbox or its receipts are no folders.
    UnavailableError
        If the trial is not set up yet, or the database does not answer.
    """
    receipts = inbox / RECEIPTS
    if not inbox.is_dir() or receipts.is_symlink() or (receipts.exists() and not receipts.is_dir()):
        msg = f"{inbox}: this or its {RECEIPTS} is no folder; give the folder in which archives arrive"
        raise UsageError(msg)
    source = Source(by=f"{by} (inbox {inbox.name})", site_id=site_id)
    names = (_NAME.fullmatch(path.name) for path in inbox.iterdir())
    named = sorted((m for m in names if m), key=lambda m: (m["site"], m["sequence"], m["sha"]))
    for match in named:
        with suppress(FileNotFoundError):  # another process has ingested it
            decision = _ingest_archive(store, inbox / match.string, match, source)
            if decision is not None:
                write_text(
                    receipts / receipt_name(match["sha"]),
                    json.dumps(decision.receipt.to_json(), indent=1) + "\n",
                )
                (inbox / match.string).unlink()
            yield IngestedArchive(match.string, decision)
    known = {match.string for match in named} | {RECEIPTS}
    for path in sorted(inbox.iterdir()):
        if path.name not in known and not path.name.startswith("."):
            yield IngestedArchive(path.name, None)


def _ingest_archive(store: Store, path: Path, match: re.Match[str], source: Source) -> Decision | None:
    # Whoever owns the inbox could exchange the file while it is verified, so a copy is verified.
    with tempfile.NamedTemporaryFile(prefix="mesems-mri-central-") as copy:
        size = _copy(path, copy)
        if size is None:
            return None
        named = Claim(match["sha"], max(int(match["sequence"]), 1), match["site"])
        try:
            _check_name(Path(copy.name), size, named)
        except RejectedError as error:
            return refuse(store, named, error, source)
        return receive(store, Path(copy.name), source)


def _check_name(archive: Path, size: int, named: Claim) -> None:
    """Refuse an archive that is not the one it is named after."""
    if size > MAX_ARCHIVE_BYTES:
        msg = f"the archive: has more than {MAX_ARCHIVE_BYTES} bytes; send what transfer build made"
        raise RejectedError(RejectionCode.TOO_LARGE, msg)
    claim = read_claim(archive)
    if claim.manifest_sha256 != named.manifest_sha256:
        msg = f"the archive: holds the manifest {claim.manifest_sha256}; send it under its own name"
        raise RejectedError(RejectionCode.NO_BUNDLE, msg)


def _copy(path: Path, target: "tempfile._TemporaryFileWrapper[bytes]") -> int | None:
    """Copy a plain file, no more of it than is allowed; None for a link or anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        if os.path.lexists(path):
            return None
        raise
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        size = 0
        while size <= MAX_ARCHIVE_BYTES and (part := stream.read(_CHUNK)):
            size += len(part)
            target.write(part)
    target.flush()
    return size
