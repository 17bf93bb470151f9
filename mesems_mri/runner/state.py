"""State of a visit, from its records on disk."""

from dataclasses import dataclass
from enum import StrEnum

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import StepRecord, VisitKey, outcome_of
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json
from mesems_mri.pipeline.visit import STEPS


class Outcome(StrEnum):
    """Outcome of a visit; each visit has exactly one."""

    WAITING = "waiting"
    DONE = "done"
    NOT_EVALUABLE = "not_evaluable"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class VisitState:
    """State of one visit.

    Parameters
    ----------
    participant_id, session_id : str
        With their prefixes.
    outcome : Outcome
        ``waiting`` until its page is there.
    steps : tuple of str
        Rules whose record is there.
    step : str
        Rule that failed; empty otherwise.
    reason, message : str
        Reason and sentence if it is not evaluable or has failed; empty otherwise.
    """

    participant_id: str
    session_id: str
    outcome: Outcome
    steps: tuple[str, ...] = ()
    step: str = ""
    reason: str = ""
    message: str = ""

    @property
    def name(self) -> str:
        """Name of the visit in messages."""
        return VisitKey(self.participant_id, self.session_id).name


def no_run(layout: Layout) -> UsageError:
    """Make the error for an output folder in which nothing has ever been run."""
    return UsageError(f"{layout.out_dir}: holds no run of mesems-mri; give the output folder of one")


def visit_state(layout: Layout, participant_id: str, session_id: str) -> VisitState:
    """Read the state of a visit.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    participant_id, session_id : str
        With their prefixes.
    """
    there: list[str] = []
    measured: StepRecord | None = None
    for step in STEPS:
        path = layout.record(participant_id, session_id, step)
        try:
            record = outcome_of(read_json(path))
        except FileNotFoundError:
            continue
        except ValueError:  # half a file can only come from outside
            record = StepRecord(status="failed", reason="step_failed", message=f"{path}: not JSON")
        there.append(step)
        if record.status == "failed":
            return VisitState(
                participant_id=participant_id,
                session_id=session_id,
                outcome=Outcome.FAILED,
                steps=tuple(there),
                step=step,
                reason=record.reason or "",
                message=record.message,
            )
        if step == "measure":
            measured = record
    outcome = Outcome.WAITING
    refused = measured if measured and measured.status == "not_evaluable" else None
    if measured and layout.page(participant_id, session_id).is_file():
        outcome = Outcome.NOT_EVALUABLE if refused else Outcome.DONE
    return VisitState(
        participant_id=participant_id,
        session_id=session_id,
        outcome=outcome,
        steps=tuple(there),
        reason=refused.reason or "" if refused else "",
        message=refused.message if refused else "",
    )
