"""Events of a read: what a reader did, with what it changed before and after."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from mesems_mri.dataset.reasons import REASONS
from mesems_mri.errors import Reason

Json = Mapping[str, Any]


class Act(StrEnum):
    """Kinds of events."""

    OPEN = "open"
    DECIDE = "decide"
    COMMENT = "comment"
    ADD = "add"
    EDIT = "edit"
    MERGE = "merge"
    SPLIT = "split"
    NOT_EVALUABLE = "not_evaluable"
    UNDO = "undo"
    SIGN = "sign"
    ASSIST = "assist"
    """The candidates are shown after a first read without them."""
    REOPEN = "reopen"
    """The manager gives an unlocked visit to its reader once more."""
    RERUN = "rerun"
    """The run was repeated: decisions and outlines are carried over to what it found."""


UNDOABLE: Final = frozenset(
    {Act.DECIDE, Act.COMMENT, Act.ADD, Act.EDIT, Act.MERGE, Act.SPLIT, Act.NOT_EVALUABLE}
)
PARTS: Final = ("gel", "t2_change", "t2")
"""Parts of a visit that a reader may find not evaluable."""
READER_REASONS: Final = (
    Reason.ARTEFACT,
    Reason.INCOMPLETE_COVERAGE,
    Reason.WRONG_HEAD,
    Reason.BELOW_PROTOCOL,
    Reason.REGISTRATION_FAILED,
    Reason.CONTRAST_UNCONFIRMED,
    Reason.READER_REJECTED,
)
COMMENTS: Final = {
    "faint": "Faint, at the limit of what can be seen",
    "partial_volume": "Partial volume between slices",
    "flow": "Flow artefact",
    "motion": "Motion artefact",
    "vessel": "Vessel",
    "choroid_plexus": "Choroid plexus",
    "misregistration": "The two visits do not lie exactly on each other",
    "confluent": "Confluent with another lesion",
    "outline": "The outline is not exact",
    "not_ms": "A lesion of another kind",
}
"""Closed list of the comments on a finding."""
MEANINGS: Final = {
    "unassisted": "I have read this visit without candidates, and this is my reading.",
    "assisted": "I have read this visit, and this is my reading.",
    "adjudication": "I have compared both readings of this visit, and this is my decision.",
    "lock": "I have checked that the reading of this visit is complete, and I lock it.",
}
"""Meaning of each signature (21 CFR 11.50)."""


def reason_texts() -> list[dict[str, str]]:
    """Return the reasons that a reader may give, with their words."""
    return [{"code": str(code), "text": REASONS[code].short} for code in READER_REASONS]


def comment_texts() -> list[dict[str, str]]:
    """Return the comments that a reader may give, with their words."""
    return [{"code": code, "text": text} for code, text in COMMENTS.items()]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Change of a read.

    Parameters
    ----------
    findings : mapping of str to mapping or None
        By finding_id the fields that are set, all of a finding that is new; None removes it.
    parts : mapping of str to str or None
        Reason why a part is not evaluable; None: as the run has it.
    read : mapping
        ``stage``, ``signed``, ``basis``: what is set.
    """

    findings: Mapping[str, Json | None] = field(default_factory=dict)
    parts: Mapping[str, str | None] = field(default_factory=dict)
    read: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {"findings": dict(self.findings), "parts": dict(self.parts), "read": dict(self.read)}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(findings=content["findings"], parts=content["parts"], read=content["read"])


@dataclass(frozen=True, kw_only=True)
class Event:
    """Event of a read.

    Parameters
    ----------
    revision : int
        Place among the events of the read, from 1.
    at : str
        Time in UTC.
    actor : str
        Account.
    act : Act
    before, after : Change
    details : mapping
        Meaning of a signature, the revision that is undone, and the like.
    """

    revision: int
    at: str
    actor: str
    act: Act
    before: Change
    after: Change
    details: Json = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "revision": self.revision,
            "at": self.at,
            "actor": self.actor,
            "act": str(self.act),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            revision=content["revision"],
            at=content["at"],
            actor=content["actor"],
            act=Act(content["act"]),
            before=Change.from_json(content["before"]),
            after=Change.from_json(content["after"]),
            details=content["details"],
        )
