"""Find every series that a site has sent, from headers alone."""

import multiprocessing
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.intake.dicom.archives import Limits, Taken, is_zip, unpack
from mesems_mri.intake.dicom.instance import Instance, Refused, Why, read_header, read_instance
from mesems_mri.intake.dicom.series import Series, gather
from mesems_mri.intake.dicom.tags import sequence, text

MAX_FOLDERS_DEEP = 32
_FEW_FILES = 400
"""So few are read sooner in one process than others have started."""
_BATCH = 64
_EXAMPLES = 3


@dataclass
class Leftovers:
    """Files that belong to no series: how many for each reason, and a few of their names."""

    counts: Counter[Why] = field(default_factory=Counter)
    examples: dict[Why, list[Refused]] = field(default_factory=lambda: defaultdict(list))

    def add(self, refused: Refused) -> None:
        """Count a file, and keep the first of each reason by name."""
        self.counts[refused.why] += 1
        if len(self.examples[refused.why]) < _EXAMPLES:
            self.examples[refused.why].append(refused)

    def lines(self) -> list[str]:
        """Say one line for each reason."""
        found = []
        for why in Why:
            if count := self.counts[why]:
                kept = self.examples[why]
                names = ", ".join(f"{r.name} ({r.detail})" if r.detail else r.name for r in kept)
                rest = f" and {count - len(kept)} more" if count > len(kept) else ""
                found.append(f"{count} {why.value}: {names}{rest}")
        return found


@dataclass(frozen=True)
class Inventory:
    """All that a submission holds.

    Parameters
    ----------
    series : tuple of Series
        In the order of study, series number and name.
    leftovers : Leftovers
        What belongs to no series.
    files : int
        Files looked at, members of archives among them.
    """

    series: tuple[Series, ...]
    leftovers: Leftovers
    files: int


def take_inventory(
    sent: Path,
    scratch: Path,
    *,
    limits: Limits | None = None,
    processes: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Inventory:
    """Find every series in a folder or archive.

    Parameters
    ----------
    sent : Path
        What the site sent: a folder, nested as it likes, a zip archive, or one file.
    scratch : Path
        Empty folder for members of archives; the series point into it, so it must outlive them.
    limits : Limits, optional
        What archives may unpack to.
    processes : int, optional
        Processes that read headers; default: as many as there are cores.
    progress : callable, optional
        Told how many files have been read so far.

    Returns
    -------
    Inventory
        Nothing in the folder stops it: what cannot be read is counted in `leftovers`.
    """
    leftovers = Leftovers()
    candidates = _candidates(sent, scratch, limits or Limits(), leftovers)
    instances: list[Instance] = []
    directories: list[str] = []
    for at, found in enumerate(_read_all(candidates, scratch, processes), start=1):
        if at % 500 == 0:
            progress(at)
        if isinstance(found, Instance):
            instances.append(found)
        else:
            leftovers.add(found)
            if found.why is Why.DIRECTORY:
                directories.append(found.name)
    if directories:
        paths = {taken.name: taken.path for taken in candidates}
        for name in directories:
            for missing in _missing_of_directory(name, paths):
                leftovers.add(Refused(missing, Why.MISSING))
    there = leftovers.counts.total() - leftovers.counts[Why.MISSING]
    return Inventory(tuple(gather(instances)), leftovers, there + len(instances))


def _candidates(sent: Path, scratch: Path, limits: Limits, leftovers: Leftovers) -> list[Taken]:
    """List the files to read: of folders as they lie, of archives the members that can be DICOM."""
    found: list[Taken] = []
    for path, name in _walk(sent, "", 0, leftovers) if sent.is_dir() else [(sent, sent.name)]:
        if is_zip(path):
            taken, refused = unpack(path, name, scratch, limits)
            found += taken
            for one in refused:
                leftovers.add(one)
        else:
            found.append(Taken(path, name))
    return found


def _walk(folder: Path, inside: str, depth: int, leftovers: Leftovers) -> Iterator[tuple[Path, str]]:
    if depth > MAX_FOLDERS_DEEP:
        leftovers.add(Refused(inside, Why.TOO_DEEP))
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        leftovers.add(Refused(inside or folder.name, Why.UNREADABLE, error.strerror or ""))
        return
    for entry in entries:
        name = f"{inside}{entry.name}"
        if entry.is_symlink():
            leftovers.add(Refused(name, Why.LINK))
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/", depth + 1, leftovers)
        elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            yield Path(entry.path), name
        else:
            leftovers.add(Refused(name, Why.SPECIAL))


def _read_all(candidates: list[Taken], scratch: Path, processes: int | None) -> Iterator[Instance | Refused]:
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


def _read_batch(batch: tuple[Iterable[Taken], Path]) -> list[Instance | Refused]:
    members, scratch = batch
    return [read_instance(path, name, scratch) for path, name in members]


def _missing_of_directory(name: str, paths: dict[str, Path]) -> Iterator[str]:
    """Yield what a DICOMDIR lists and nobody sent; names on a disc are in capitals, on a copy often not."""
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
