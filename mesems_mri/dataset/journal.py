"""Transactions on a BIDS folder: all of a submission is filed, or nothing.

An intake makes everything in a staging folder beside the BIDS folder, and writes a journal of what goes where
as its last act there. Once the journal is written the transaction holds: whichever command opens the BIDS
folder next finishes it, if the intake was killed. Before that nothing in the BIDS folder has changed.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.files import read_json, write_json

_JOURNAL = "journal.json"
_LOCK = "lock"
_OTHER_LOCK = ".queries.lock"
"""Lock of the table of queries: of one that exists nothing is replaced."""


@dataclass(frozen=True)
class Transaction:
    """A transaction under way.

    Parameters
    ----------
    bids_dir : Path
    staging : Path
        Staging folder, on the same disk.
    private : Path
        Folder beside the key whose private tables belong to the transaction.
    """

    bids_dir: Path
    staging: Path
    private: Path

    @property
    def images(self) -> Path:
        """Folder for images that are made before it is known what is filed."""
        return self.staging / "images"

    @property
    def shadow(self) -> Path:
        """The BIDS folder as it will be, as far as the transaction concerns it."""
        return self.staging / "bids"

    @property
    def shadow_private(self) -> Path:
        """The private tables as they will be."""
        return self.staging / "key"


@contextlib.contextmanager
def transaction(bids_dir: Path, private: Path) -> Generator[Transaction]:
    """Provide a staging folder on the disk of the BIDS folder; it is removed in any case.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    parent = bids_dir.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_prefix(bids_dir), dir=parent))
    except OSError as error:
        msg = f"{parent}: cannot be written ({error.strerror}); give a BIDS folder that you may write to"
        raise UsageError(msg) from error
    with (staging / _LOCK).open("w", encoding="utf-8") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        try:
            yield Transaction(bids_dir, staging, private)
        finally:
            # what is in the journal is finished by the next command, if this one failed on the way
            if not (staging / _JOURNAL).exists():
                shutil.rmtree(staging, ignore_errors=True)


def make_shadow(work: Transaction, folders: Iterable[str], private_tables: Iterable[str]) -> frozenset[str]:
    """Link the files that the transaction may change into its shadow.

    Parameters
    ----------
    work : Transaction
    folders : iterable of str
        Folders of the BIDS folder, with all below them; the files at its root are linked in any case.
    private_tables : iterable of str
        Names in the folder beside the key.

    Returns
    -------
    frozenset of str
        The files that were linked.
    """
    work.shadow.mkdir()
    work.shadow_private.mkdir(mode=0o700)
    found = [path for path in _entries(work.bids_dir) if path.is_file() and path.name != _OTHER_LOCK]
    for folder in folders:
        found += [path for path in (work.bids_dir / folder).rglob("*") if path.is_file()]
    for path in found:
        target = work.shadow / path.relative_to(work.bids_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # a disk without hard links
            shutil.copy2(path, target)
    for name in private_tables:
        if (work.private / name).is_file():
            shutil.copy2(work.private / name, work.shadow_private / name)
    return frozenset(path.relative_to(work.bids_dir).as_posix() for path in found)


def commit(work: Transaction, linked: frozenset[str]) -> None:
    """Make the BIDS folder what its shadow is.

    Parameters
    ----------
    work : Transaction
    linked : frozenset of str
        What `make_shadow` has linked: of these, files that the shadow lacks are removed.
    """
    operations: list[dict[str, str]] = []
    there = sorted(path for path in work.shadow.rglob("*") if path.is_file())
    for path in there:
        name = path.relative_to(work.shadow).as_posix()
        if name == _OTHER_LOCK and (work.bids_dir / name).exists():
            continue
        if not _same(path, work.bids_dir / name):
            operations.append({"put": path.relative_to(work.staging).as_posix(), "to": name})
    for path in sorted(work.shadow_private.iterdir()):
        if not _same(path, work.private / path.name):
            staged = path.relative_to(work.staging).as_posix()
            operations.append({"put": staged, "private": str((work.private / path.name).absolute())})
    left = {path.relative_to(work.shadow).as_posix() for path in there}
    operations += [{"remove": name} for name in sorted(linked - left)]
    if operations:
        write_json(work.staging / _JOURNAL, {"operations": operations})
        _apply(work.staging, work.bids_dir)


def finish_interrupted(bids_dir: Path, *, clean: bool = False) -> int:
    """Finish the transactions of intakes that were killed, and wait for one that is at it.

    Parameters
    ----------
    bids_dir : Path
    clean : bool
        Also remove staging folders of intakes that were killed before their journal was written.

    Returns
    -------
    int
        How many were finished.

    Raises
    ------
    DatasetError
        If the BIDS folder cannot be written.
    """
    finished = 0
    place = bids_dir.resolve()
    for staging in sorted(place.parent.glob(f"{_prefix(bids_dir)}*")):
        journal = (staging / _JOURNAL).exists()
        if not (journal or clean):
            continue
        with _locked(staging, wait=journal) as free:
            if free and (staging / _JOURNAL).exists():
                try:
                    _apply(staging, place)
                except OSError as error:
                    msg = (
                        f"{bids_dir}: an intake was interrupted and cannot be finished ({error.strerror}); "
                        "give a mesems-mri query command with the right to write there"
                    )
                    raise DatasetError(msg) from error
                finished += 1
            if free:
                shutil.rmtree(staging, ignore_errors=True)
    return finished


@contextlib.contextmanager
def _locked(staging: Path, *, wait: bool) -> Generator[bool]:
    """Lock a staging folder; without waiting, yield whether nobody else holds it."""
    try:
        stream: TextIO = (staging / _LOCK).open("a", encoding="utf-8")
    except FileNotFoundError:  # its intake has just ended
        yield False
        return
    except OSError as error:
        msg = f"{staging}: an intake was interrupted; give a mesems-mri query command with the right to write"
        raise DatasetError(msg) from error
    with stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield False
            return
        yield True


def _apply(staging: Path, bids_dir: Path) -> None:
    """Carry out a journal; each operation that was carried out before is passed over."""
    content: dict[str, Any] = read_json(staging / _JOURNAL)
    for operation in content["operations"]:
        if "remove" in operation:
            (bids_dir / operation["remove"]).unlink(missing_ok=True)
            continue
        staged = staging / operation["put"]
        target = Path(operation["private"]) if "private" in operation else bids_dir / operation["to"]
        if staged.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
    (staging / _JOURNAL).unlink()


def _same(one: Path, other: Path) -> bool:
    """Return whether two files are one, or have the same content."""
    try:
        first, second = one.stat(), other.stat()
    except FileNotFoundError:
        return False
    if (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino):
        return True
    return first.st_size == second.st_size and one.read_bytes() == other.read_bytes()


def _entries(folder: Path) -> Sequence[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else ()


def _prefix(bids_dir: Path) -> str:
    return f".{bids_dir.resolve().name}.intake-"
