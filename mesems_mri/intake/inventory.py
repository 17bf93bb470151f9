"""Inventory of a submission: every series, from headers alone."""

import multiprocessing
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.intake.dicom.archives import ArchiveLimits, ExtractedFile, is_zip, unpack
from mesems_mri.intake.dicom.instance import Instance, UnusedFile, UnusedReason, read_header, read_instance
from mesems_mri.intake.dicom.series import Series, group_into_series
from mesems_mri.intake.dicom.tags import sequence, text

MAX_FOLDERS_DEEP = 32
_FEW_FILES = 400
"""Fewer files are read faster in one process."""
_BATCH = 64
_EXAMPLES = 3


@dataclass
class UnusedFiles:
    """Files that belong to no series: counts per reason, and a few names."""

    counts: Counter[UnusedReason] = field(default_factory=Counter)
    examples: dict[UnusedReason, list[UnusedFile]] = field(default_factory=lambda: defaultdict(list))

    def add(self, refused: UnusedFile) -> None:
        """Count a file, and keep the first of each reason by name."""
        self.counts[refused.why] += 1
        if len(self.examples[refused.why]) < _EXAMPLES:
            self.examples[refused.why].append(refused)

    def lines(self) -> list[str]:
        """Format one line per reason."""
        found = []
        for why in UnusedReason:
            if count := self.counts[why]:
                kept = self.examples[why]
                names = ", ".join(f"{r.name} ({r.detail})" if r.detail else r.name for r in kept)
                rest = f" and {count - len(kept)} more" if count > len(kept) else ""
                found.append(f"{count} {why.value}: {names}{rest}")
        return found


@dataclass(frozen=True)
class Inventory:
    """Series and unused files of a submission.

    Parameters
    ----------
    series : tuple of Series
        In the order of study, series number and name.
    unused_files : UnusedFiles
        Files that belong to no series.
    files : int
        Files looked at, members of archives among them.
    """

    series: tuple[Series, ...]
    unused_files: UnusedFiles
    files: int


def take_inventory(
    submission: Path,
    scratch: Path,
    *,
    limits: ArchiveLimits | None = None,
    processes: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Inventory:
    """List every series in a folder or archive.

    Parameters
    ----------
    submission : Path
        A folder, nested in any way, a zip archive, or one file.
    scratch : Path
        Empty folder for members of archives; the series point into it, so it must outlive them.
    limits : ArchiveLimits, optional
        Bounds on what archives unpack to.
    processes : int, optional
        Processes that read headers; default: as many as there are cores.
    progress : callable, optional
        Takes the number of files read so far.

    Returns
    -------
    Inventory
        Nothing in the folder stops it: what cannot be read is counted in `unused_files`.
    """
    unused_files = UnusedFiles()
    candidates = _candidates(submission, scratch, limits or ArchiveLimits(), unused_files)
    instances: list[Instance] = []
    directories: list[str] = []
    for at, found in enumerate(_read_all(candidates, scratch, processes), start=1):
        if at % 500 == 0:
            progress(at)
        if isinstance(found, Instance):
            instances.append(found)
        else:
            unused_files.add(found)
            if found.why is UnusedReason.DIRECTORY:
                directories.append(found.name)
    if directories:
        paths = {file.name: file.path for file in candidates}
        for name in directories:
            for missing in _missing_of_directory(name, paths):
                unused_files.add(UnusedFile(missing, UnusedReason.MISSING))
    there = unused_files.counts.total() - unused_files.counts[UnusedReason.MISSING]
    return Inventory(tuple(group_into_series(instances)), unused_files, there + len(instances))


def _candidates(
    submission: Path, scratch: Path, limits: ArchiveLimits, unused_files: UnusedFiles
) -> list[ExtractedFile]:
    """List the files to read: of folders as they lie, of archives the members that can be DICOM."""
    found: list[ExtractedFile] = []
    for path, name in (
        _walk(submission, "", 0, unused_files) if submission.is_dir() else [(submission, submission.name)]
    ):
        if is_zip(path):
            taken, refused = unpack(path, name, scratch, limits)
            found += taken
            for one in refused:
                unused_files.add(one)
        else:
            found.append(ExtractedFile(path, name))
    return found


def _walk(folder: Path, inside: str, depth: int, unused_files: UnusedFiles) -> Iterator[tuple[Path, str]]:
    if depth > MAX_FOLDERS_DEEP:
        unused_files.add(UnusedFile(inside, UnusedReason.TOO_DEEP))
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        unused_files.add(UnusedFile(inside or folder.name, UnusedReason.UNREADABLE, error.strerror or ""))
        return
    for entry in entries:
        name = f"{inside}{entry.name}"
        if entry.is_symlink():
            unused_files.add(UnusedFile(name, UnusedReason.LINK))
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/", depth + 1, unused_files)
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            yield Path(entry.path), name
        else:
            unused_files.add(UnusedFile(name, UnusedReason.SPECIAL))


def _read_all(
    candidates: list[ExtractedFile], scratch: Path, processes: int | None
) -> Iterator[Instance | UnusedFile]:
    workers = processes or len(os.sched_getaffinity(0))
    if workers == 1 or len(candidates) < _FEW_FILES:
        yield from (read_instance(path, name, scratch) for path, name in candidates)
        return
    batches = [(candidates[at : at + _BATCH], scratch) for at in range(0, len(candidates), _BATCH)]
    # a fresh interpreter: a fork of a program with threads can hang
    context = multiprocessing.get_context("spawn")
    done = 0
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            for answers in pool.map(_read_batch, batches):
                yield from answers
                done += 1
        except BrokenProcessPool:  # a process was killed, or could not start
            pass
    for batch in batches[done:]:
        yield from _read_batch(batch)


def _read_batch(batch: tuple[Iterable[ExtractedFile], Path]) -> list[Instance | UnusedFile]:
    members, scratch = batch
    return [read_instance(path, name, scratch) for path, name in members]


def _missing_of_directory(name: str, paths: dict[str, Path]) -> Iterator[str]:
    """Yield the missing files of a DICOMDIR; names on a disc are in capitals, on a copy often not."""
    there = {known.casefold() for known in paths}
    there |= {known.rpartition(".")[0] for known in there}
    base = name[: len(name) - len("DICOMDIR")]
    try:
        records = sequence(read_header(paths[name]), "DirectoryRecordSequence")
    except Exception:  # a damaged list lists nothing
        return
    for record in records:
        listed = text(record, "ReferencedFileID").replace("\\", "/")
        if listed and f"{base}{listed}".casefold() not in there:
            yield f"{base}{listed}"
