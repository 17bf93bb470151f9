"""Visit key and outcome: what the records of all steps share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from mesems_mri.config import QualityRule

Json = Mapping[str, Any]
"""Content of a JSON object."""
Matrix = Sequence[Sequence[float]]
"""Rows of an affine matrix of shape (4, 4)."""
Normal = tuple[float, float, float]
"""Three numbers, one for each axis of subject space."""
T = TypeVar("T")
Status = Literal["done", "not_evaluable", "failed"]


class VisitKey(NamedTuple):
    """Participant and session of a visit, with their prefixes ``sub-`` and ``ses-``."""

    participant_id: str
    session_id: str

    @property
    def name(self) -> str:
        """Name of the visit in messages."""
        return f"{self.participant_id}/{self.session_id}"


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """Outcome of a step, which every record starts with.

    Parameters
    ----------
    status : str
        ``done``, ``not_evaluable`` or ``failed``.
    reason : str or None
        Code of `mesems_mri.errors.Reason`; None if it is done.
    message : str
        One sentence; empty if it is done.
    """

    status: Status = "done"
    reason: str | None = None
    message: str = ""

    @property
    def done(self) -> bool:
        """The next step has something to go on with."""
        return self.status == "done"

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {"status": self.status, "reason": self.reason, "message": self.message}


def outcome_of(content: Json) -> StepRecord:
    """Read the outcome of any record, and nothing else of it."""
    return StepRecord(
        status=content["status"], reason=content.get("reason"), message=content.get("message", "")
    )


@dataclass(frozen=True, kw_only=True)
class StoppedRecord(StepRecord):
    """Record of a step that was stopped by an error.

    Parameters
    ----------
    carried : mapping
        What the step was given to carry on, unchanged.
    """

    carried: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return super().to_json() | {"carried": dict(self.carried)}


def covers_enough(covered_fraction: float, rule: QualityRule) -> bool:
    """Return whether an image shows enough of the brain to be evaluable: asked here and nowhere else."""
    return covered_fraction >= rule.min_covered_fraction


def triple(numbers: Sequence[T]) -> tuple[T, T, T]:
    """Return three numbers that JSON holds as an array.

    Raises
    ------
    ValueError
        If there are more or fewer.
    """
    x, y, z = numbers
    return x, y, z
