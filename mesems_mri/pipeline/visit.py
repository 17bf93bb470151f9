"""Common parts of all steps of a visit: its files, its records, and the record of a step that fails.

A record is a JSON object with ``status`` (``done``, ``not_evaluable``, ``failed``), ``reason`` and
``message``. What later visits need of this one stands under ``carried``; a visit that failed carries on what
it was given, so that it never stops the visits after it.
"""

import errno
import hashlib
import io
import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Json, StepRecord, StoppedRecord, VisitKey
from mesems_mri.dataset.records.detect import DetectRecord
from mesems_mri.dataset.records.register import RegisterRecord
from mesems_mri.dataset.records.standardise import StandardiseRecord
from mesems_mri.errors import InputError, Reason
from mesems_mri.files import read_json, write_bytes, write_json

log = logging.getLogger("mesems_mri")

STEPS = ("standardise", "register", "detect", "measure", "report")
"""Steps of a visit in order. One name for each: of its module, rule, rule file, record, heading and log."""
REPORT = "report"
"""The last step, the page of a visit: nothing is computed from it."""
COMPUTED = STEPS[:-1]
"""Steps whose records the next step needs."""
FULL_DISK = {errno.ENOSPC, errno.EDQUOT}

_died: list[str] = []


@dataclass(frozen=True, kw_only=True)
class VisitFiles:
    """Files of one visit.

    Parameters
    ----------
    bids_dir : Path
        Raw BIDS folder.
    layout : Layout
        Names in the output folder.
    participant_id, session_id : str
        With their prefixes.
    """

    bids_dir: Path
    layout: Layout
    participant_id: str
    session_id: str

    @property
    def key(self) -> VisitKey:
        """Participant and session."""
        return VisitKey(self.participant_id, self.session_id)

    @property
    def name(self) -> str:
        """Name of the visit in messages."""
        return self.key.name

    def at(self, session_id: str) -> "VisitFiles":
        """Return the files of another visit of the participant."""
        return replace(self, session_id=session_id)

    def work(self, name: str) -> Path:
        """Return an intermediate file of this visit."""
        return self.layout.work(*self.key) / name

    def product(self, name: str) -> Path:
        """Return a product of this visit."""
        return self.layout.product(*self.key, name)

    def relative(self, path: Path) -> str:
        """Name a file relative to the output folder, as records do."""
        return path.relative_to(self.layout.out_dir).as_posix()

    def resolve(self, name: str) -> Path:
        """Find a file that a record names."""
        return self.layout.out_dir / name

    def record(self, step: str) -> Path:
        """Return the record that a step leaves of this visit."""
        return self.layout.record(*self.key, step)

    def standardise_record(self) -> StandardiseRecord:
        """Read the record of the step ``standardise``."""
        return StandardiseRecord.from_json(read_json(self.record("standardise")))

    def register_record(self) -> RegisterRecord:
        """Read the record of the step ``register``."""
        return RegisterRecord.from_json(read_json(self.record("register")))

    def detect_record(self) -> DetectRecord:
        """Read the record of the step ``detect``."""
        return DetectRecord.from_json(read_json(self.record("detect")))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compress: bool = True) -> None:
    """Write arrays as ``.npz``: an atomic write."""
    stream = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(stream, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes(path, stream.getbuffer())


_PRODUCTS = {
    "register": ("anat/*_desc-preproc_*", "anat/*_desc-brain_mask.*", "anat/*_xfm.txt"),
    "detect": ("anat/*_label-L_desc-*_mask.*",),
    "measure": ("anat/*_dseg.*", "*_candidates.tsv"),
}
"""Products of a visit that each step leaves, by the patterns of their names in its folder."""


def remove_products(visit: VisitFiles, step: str) -> None:
    """Remove what an earlier run of a step has left: what is not evaluable now has no image and no mask."""
    folder = visit.layout.metrics(*visit.key).parent
    for pattern in _PRODUCTS.get(step, ()):
        for path in folder.glob(pattern):
            if path.is_dir():  # nothing that a step has made
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # the record must be written all the same
                log.warning("%s: %s cannot be removed (%s)", visit.name, path.name, error.strerror)


def fail_instead(message: str) -> None:
    """Let the next step of this process leave a record of failure instead of computing.

    Parameters
    ----------
    message : str
        End of the process that was to compute it.
    """
    _died.append(message)


R = TypeVar("R", bound=StepRecord)


def run_step(
    step: str,
    visit: VisitFiles,
    compute: Callable[[], R],
    *,
    carried: Json | None = None,
) -> R | StoppedRecord:
    """Run a step, and leave a record whatever happens.

    Parameters
    ----------
    step : str
        Name of the record.
    visit : VisitFiles
        The visit.
    compute : callable
        Does the work and returns the record.
    carried : mapping, optional
        What the previous visit carried on; passed on unchanged when this visit cannot add to it.

    Returns
    -------
    StepRecord
        That of the step; a `StoppedRecord` if an error stopped it.
    """
    carried = carried or {}
    try:
        record = _failed(visit, step, _died.pop(), carried) if _died else compute()
    except InputError as error:
        log.warning("%s: %s", visit.name, error)
        record = StoppedRecord(
            status="not_evaluable", reason=str(error.reason), message=str(error), carried=carried
        )
    except Exception as error:
        log.error("%s: %s failed\n%s", visit.name, step, traceback.format_exc())  # noqa: TRY400
        record = _failed(visit, step, _explained(error, visit), carried)
    if not record.done:
        remove_products(visit, step)
    # Snakemake takes a small file of equal content for unchanged; the record must tell that a mask changed.
    content = record.to_json()
    write_json(visit.record(step), {"step": step, **content, "files_sha256": _hash_files(visit, content)})
    return record


def _hash_files(visit: VisitFiles, content: Json) -> str:
    """Return the hash of all files of this visit that a record names."""
    folders = tuple(f"{visit.relative(place.parent)}/" for place in (visit.work("x"), visit.product("x")))
    names = {text for text in _texts(content) if text.startswith(folders)}
    digest = hashlib.sha256()
    for name in sorted(names):
        path = visit.resolve(name)
        if path.is_file():
            digest.update(name.encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _texts(content: object) -> Iterator[str]:
    """Yield every text in a record, however deep."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _texts(value)


def _failed(visit: VisitFiles, step: str, what: str, carried: Json) -> StoppedRecord:
    return StoppedRecord(
        status="failed",
        reason=str(Reason.STEP_FAILED),
        message=f"{visit.name}: {step} {what}",
        carried=carried,
    )


def _explained(error: Exception, visit: VisitFiles) -> str:
    """Describe a failure of a step and what to do; without what differs between equal runs."""
    text = str(error)
    for folder in (visit.layout.out_dir, visit.bids_dir):
        text = text.replace(f"{folder}/", "")
    text = re.sub(r"\.([^/\s']+)\.\d+\.tmp", r"\1", text)
    what = f"failed ({type(error).__name__}: {text})"
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return f"{what}; free space where the output lies, then run the same command again"
    if isinstance(error, MemoryError):
        return f"{what}; give it more memory, e.g. with fewer --cores"
    return f"{what}; see the log of the visit"
