"""What all steps of a visit share: where its files lie, its records, and what happens when a step fails.

A record is a JSON object with ``status`` (``done``, ``not_evaluable``, ``failed``), ``reason`` and
``message``. What later visits need of this one stands under ``carried``; a visit that failed carries on what
it was given, so that it never stops the visits after it.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri.bids import Layout
from mesems_mri.errors import InputError, Reason
from mesems_mri.provenance import read_json, write_json

log = logging.getLogger("mesems_mri")

STEPS = ("standardise", "register", "lesions", "measure")
"""Records of a visit, in the order in which they are made."""


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
    try:
        record = compute()
    except InputError as error:
        log.warning("%s: %s", visit.name, error)
        record = not_evaluable(error.reason, str(error), carried=dict(carried or {}))
    except Exception as error:
        log.error("%s: %s failed\n%s", visit.name, step, traceback.format_exc())  # noqa: TRY400
        record = {
            "status": "failed",
            "reason": str(Reason.STEP_FAILED),
            "message": f"{visit.name}: {step} failed ({type(error).__name__}: {error}); see its log",
            "carried": dict(carried or {}),
        }
    write_json(visit.layout.record(visit.participant_id, visit.session_id, step), {"step": step, **record})
    return record
