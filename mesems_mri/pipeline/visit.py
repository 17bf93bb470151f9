"""What all steps of a visit share: where its files lie, its records, and what happens when a step fails.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.dataset.layout import Layout
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
    """Where the files of one visit are.

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
    def name(self) -> str:
        """Name of the visit in messages."""
        return f"{self.participant_id}/{self.session_id}"

    def work(self, name: str) -> Path:
        """Return an intermediate file of this visit."""
        return self.layout.work(self.participant_id, self.session_id) / name

    def product(self, name: str) -> Path:
        """Return a product of this visit."""
        return self.layout.product(self.participant_id, self.session_id, name)

    def relative(self, path: Path) -> str:
        """Name a file relative to the output folder, as records do."""
        return path.relative_to(self.layout.out_dir).as_posix()

    def resolve(self, name: str) -> Path:
        """Find a file that a record names."""
        return self.layout.out_dir / name

    def read_record(self, step: str) -> dict[str, Any]:
        """Read the record that an earlier step left of this visit."""
        return read_json(self.layout.record(self.participant_id, self.session_id, step))


def not_evaluable(reason: Reason, message: str, **more: object) -> dict[str, Any]:
    """Make the record of a visit that cannot be evaluated for a stated reason."""
    return {"status": "not_evaluable", "reason": str(reason), "message": message, **more}


def usable(record: Mapping[str, Any]) -> bool:
    """Tell whether a record has something to go on with."""
    return record["status"] == "done"


def passed_on(record: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """Make the record of a step that has nothing to do because an earlier one could not."""
    return {key: record[key] for key in ("status", "reason", "message")} | more


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compress: bool = True) -> None:
    """Write arrays as ``.npz``, whole or not at all."""
    stream = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(stream, **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes(path, stream.getbuffer())


_PRODUCTS = {
    "register": ("*_desc-preproc_*", "*_desc-brain_mask.*", "*_xfm.txt"),
    "detect": ("*_label-L_desc-*_mask.*",),
    "measure": ("*_dseg.*",),
}
"""What each step leaves among the products of a visit."""


def remove_products(visit: VisitFiles, step: str) -> None:
    """Remove what an earlier run of a step has left: what is not evaluable now has no image and no mask."""
    folder = visit.product("").parent
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
        What became of the process that was to compute it.
    """
    _died.append(message)


def run_step(
    step: str,
    visit: VisitFiles,
    compute: Callable[[], dict[str, Any]],
    *,
    carried: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
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
        What the previous visit carried on; used when this visit cannot add to it.

    Returns
    -------
    dict
        The record, as written.
    """
    onward = dict(carried or {})
    try:
        record = _failed(visit, step, _died.pop(), onward) if _died else compute()
    except InputError as error:
        log.warning("%s: %s", visit.name, error)
        record = not_evaluable(error.reason, str(error), carried=onward)
    except Exception as error:
        log.error("%s: %s failed\n%s", visit.name, step, traceback.format_exc())  # noqa: TRY400
        record = _failed(visit, step, _explained(error, visit), onward)
    if not usable(record):
        remove_products(visit, step)
    # Snakemake takes a small file of equal content for unchanged; the record must tell that a mask changed.
    record = {"step": step, **record, "files_sha256": _hash_files(visit, record)}
    write_json(visit.layout.record(visit.participant_id, visit.session_id, step), record)
    return record


def _hash_files(visit: VisitFiles, record: Mapping[str, Any]) -> str:
    """Return the hash of all files of this visit that a record names."""
    folders = tuple(f"{visit.relative(place.parent)}/" for place in (visit.work("x"), visit.product("x")))
    names = {text for text in _texts(record) if text.startswith(folders)}
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


def _failed(visit: VisitFiles, step: str, what: str, carried: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": "failed",
        "reason": str(Reason.STEP_FAILED),
        "message": f"{visit.name}: {step} {what}",
        "carried": carried,
    }


def _explained(error: Exception, visit: VisitFiles) -> str:
    """Say what a failure of a step means and what to do; without what differs between equal runs."""
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
