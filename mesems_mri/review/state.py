"""State of a read: its findings and what its reader decided, as a fold over the events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

from mesems_mri.review.events import UNDOABLE, Act, Change, Event, Json
from mesems_mri.review.masks import Runs

Kind = Literal["t2", "gel"]
Origin = Literal["counted", "offered", "reader"]
Decision = Literal["undecided", "accepted", "rejected", "unsure"]
Stage = Literal["unassisted", "assisted", "adjudication"]
T2_STATUSES = ("new", "enlarging", "stable")
GD_STATUSES = ("enhancing", "persistent", "new")
DECISIONS: tuple[str, ...] = get_args(Decision)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A focus that a reader decides about.

    Parameters
    ----------
    finding_id : str
    kind : str
        ``t2`` or ``gel``.
    origin : str
        ``counted`` (in the ledger), ``offered`` (a candidate) or ``reader`` (added).
    label : int
        Its value in the segmentation.
    voxels : tuple of (int, int)
        Runs on the grid of subject space.
    volume_mm3, max_diameter_mm : float
    decision : str
    t2_status, gd_status : str or None
    comment : str or None
        Code of `events.COMMENTS`.
    lesion_ids : tuple of int
        Ledger rows that it stands for; several after a merge, the lowest number first.
    candidate_id : int or None
    parent_lesion_id : int or None
        Of a part that was split off, the lesion it came from.
    score : float or None
    region : str or None
    why_not_counted : str or None
    edited : bool
        The outline is the reader's.
    gone : bool
        Decided about before, and not found by the run any more.
    reads : tuple of mapping
        In an adjudication what readers A and B decided.
    disputed : bool
        In an adjudication: the two reads disagree about it.
    """

    finding_id: str
    kind: Kind
    origin: Origin
    label: int
    voxels: Runs
    volume_mm3: float
    max_diameter_mm: float
    decision: Decision = "undecided"
    t2_status: str | None = None
    gd_status: str | None = None
    comment: str | None = None
    lesion_ids: tuple[int, ...] = ()
    candidate_id: int | None = None
    parent_lesion_id: int | None = None
    score: float | None = None
    region: str | None = None
    why_not_counted: str | None = None
    edited: bool = False
    gone: bool = False
    reads: tuple[Json, ...] = ()
    disputed: bool = False

    @property
    def counts(self) -> bool:
        """The read counts it: what is not decided stays as the run has it."""
        if self.decision in ("accepted", "rejected"):
            return self.decision == "accepted"
        return self.origin != "offered"

    @property
    def active(self) -> bool:
        """An endpoint counts it: enhancing, or new or enlarging."""
        return self.kind == "gel" or self.t2_status in ("new", "enlarging")

    @property
    def needs_decision(self) -> bool:
        """The read cannot be signed without a decision about it."""
        return self.origin != "offered" and (self.active or self.gone)

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        return content | {
            "voxels": [list(run) for run in self.voxels],
            "lesion_ids": list(self.lesion_ids),
            "reads": [dict(read) for read in self.reads],
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(**_typed(content))

    def changed(self, content: Json) -> Self:
        """Return the finding with some fields as `to_json` gives them."""
        return replace(self, **_typed(content))


def _typed(content: Json) -> dict[str, Any]:
    typed = dict(content)
    if "voxels" in typed:
        typed["voxels"] = tuple((int(start), int(length)) for start, length in typed["voxels"])
    for name in ("lesion_ids", "reads"):
        if name in typed:
            typed[name] = tuple(typed[name])
    return typed


@dataclass(frozen=True, kw_only=True)
class ReadState:
    """Present state of a read.

    Parameters
    ----------
    revision : int
        Number of its last event; 0 before it was opened.
    findings : mapping of str to Finding
        In order of their labels.
    parts : mapping of str to str
        Parts that the reader found not evaluable, with the reason.
    stage : str
    signed : bool
    basis : str
        Hash of what the run had found when the findings were made.
    crop : tuple of tuple of int
        Corners of the part of the grid that the page shows; it stays as long as the read does.
    next_label : int
        First number that no finding ever had.
    undoable : tuple of int
        Revisions that can be undone, the last one first to go.
    """

    revision: int = 0
    findings: Mapping[str, Finding] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    stage: Stage = "assisted"
    signed: bool = False
    basis: str = ""
    crop: tuple[tuple[int, int, int], ...] = ()
    next_label: int = 1
    undoable: tuple[int, ...] = ()

    @property
    def state(self) -> str:
        """Word for a list of tasks: ``open``, ``begun`` or ``signed``."""
        if self.signed:
            return "signed"
        return "begun" if self.revision > 1 else "open"

    @property
    def needed(self) -> list[Finding]:
        """Findings that need a decision; of a part that is not evaluable none does."""
        wanted = [f for f in self.findings.values() if f.kind not in self.parts]
        return [f for f in wanted if (f.disputed if self.stage == "adjudication" else f.needs_decision)]

    @property
    def undecided(self) -> int:
        """Number of findings that still need a decision."""
        return sum(finding.decision == "undecided" for finding in self.needed)


def fold(events: Iterable[Event], state: ReadState | None = None) -> ReadState:
    """Return the state after some events, which follow each other."""
    present = state or ReadState()
    for event in events:
        present = apply(present, event)
    return present


def apply(state: ReadState, event: Event) -> ReadState:
    """Return the state after one more event.

    Raises
    ------
    ValueError
        If the event does not follow the last one.
    """
    if event.revision != state.revision + 1:
        msg = f"event {event.revision} does not follow event {state.revision}"
        raise ValueError(msg)
    findings = dict(state.findings)
    next_label = state.next_label
    for finding_id, content in event.after.findings.items():
        if content is None:
            findings.pop(finding_id, None)
            continue
        known = findings.get(finding_id)
        findings[finding_id] = known.changed(content) if known else Finding.from_json(content)
        next_label = max(next_label, findings[finding_id].label + 1)
    if set(findings) != set(state.findings):
        findings = dict(sorted(findings.items(), key=lambda item: item[1].label))
    parts = {part: reason for part, reason in (dict(state.parts) | dict(event.after.parts)).items() if reason}
    undoable = state.undoable
    if event.act is Act.UNDO:
        undoable = undoable[:-1]
    elif event.act in UNDOABLE:
        undoable = (*undoable, event.revision)
    else:  # what was signed, shown or carried over cannot be taken back
        undoable = ()
    return replace(
        state,
        revision=event.revision,
        findings=findings,
        parts=parts,
        next_label=next_label,
        undoable=undoable,
        **_read_fields(event.after.read),
    )


def _read_fields(content: Json) -> dict[str, Any]:
    fields_set = dict(content)
    if "crop" in fields_set:
        fields_set["crop"] = tuple(tuple(int(i) for i in corner) for corner in fields_set["crop"])
    return fields_set


def difference(state: ReadState, after: Change) -> Change:
    """Return the change that takes back another one, from the state before it."""
    findings: dict[str, Json | None] = {}
    for finding_id, content in after.findings.items():
        known = state.findings.get(finding_id)
        if known is None:
            findings[finding_id] = None
        elif content is None:
            findings[finding_id] = known.to_json()
        else:
            whole = known.to_json()
            findings[finding_id] = {name: whole[name] for name in content}
    return Change(
        findings=findings,
        parts={part: state.parts.get(part) for part in after.parts},
        read={name: getattr(state, name) for name in after.read},
    )
