"""Acts of a reader: each as the change that it makes to the present state of a read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mesems_mri.core.tracking.foci import AcquiredPlane
from mesems_mri.review.events import COMMENTS, PARTS, READER_REASONS, Change, Json
from mesems_mri.review.findings import measured
from mesems_mri.review.masks import Runs, indices_of, runs_of, split_runs
from mesems_mri.review.state import DECISIONS, GD_STATUSES, T2_STATUSES, Finding, Kind, ReadState
from mesems_mri.review.visit import ReadGrid


class ActError(ValueError):
    """An act that the present state does not allow; its text is one sentence for the reader."""


@dataclass(frozen=True)
class Place:
    """Grid of a visit, and the planes in which its images were acquired."""

    grid: ReadGrid
    planes: Mapping[str, AcquiredPlane]

    def measured(self, runs: Runs, kind: Kind) -> dict[str, Any]:
        """Return the fields of a finding that depend on its voxels."""
        return measured(runs, self.grid, self.planes[kind])


def decide(
    state: ReadState,
    finding_id: str,
    decision: str,
    *,
    t2_status: str | None = None,
    gd_status: str | None = None,
) -> Change:
    """Decide about a finding; a status that is not given stays.

    Raises
    ------
    ActError
        If there is no such finding, or its kind has no such status.
    """
    finding = _finding(state, finding_id)
    if decision not in DECISIONS:
        msg = f"decision must be one of {', '.join(DECISIONS)}, got {decision!r}"
        raise ActError(msg)
    content: dict[str, Any] = {"decision": decision, "gone": False}
    return _one(finding_id, content | _statuses(finding.kind, t2_status, gd_status))


def comment(state: ReadState, finding_id: str, code: str | None) -> Change:
    """Comment on a finding, or remove its comment.

    Raises
    ------
    ActError
        If there is no such finding or comment.
    """
    _finding(state, finding_id)
    if code is not None and code not in COMMENTS:
        msg = f"comment must be one of {', '.join(COMMENTS)}, got {code!r}"
        raise ActError(msg)
    return _one(finding_id, {"comment": code})


def add(
    state: ReadState,
    place: Place,
    runs: Runs,
    kind: Kind,
    *,
    t2_status: str | None = None,
    gd_status: str | None = None,
    region: str | None = None,
) -> Change:
    """Add a finding that the run did not find; it is accepted."""
    label = state.next_label
    finding = Finding(
        finding_id=f"f{label}",
        kind=kind,
        origin="reader",
        label=label,
        decision="accepted",
        region=region,
        gd_status="enhancing" if kind == "gel" else None,
        **_typed(place.measured(runs, kind)),
    )
    return _one(finding.finding_id, finding.to_json() | _statuses(kind, t2_status, gd_status))


def edit(state: ReadState, place: Place, finding_id: str, runs: Runs) -> Change:
    """Give a finding another outline; one that was not decided is accepted with it."""
    finding = _finding(state, finding_id)
    content = {**place.measured(runs, finding.kind), "edited": True}
    if finding.decision == "undecided":
        content["decision"] = "accepted"
    return _one(finding_id, content)


def merge(state: ReadState, place: Place, finding_ids: Sequence[str]) -> Change:
    """Merge findings of one kind; the one with the lowest lesion number stays.

    Raises
    ------
    ActError
        If they are not at least two of one kind.
    """
    chosen = [_finding(state, finding_id) for finding_id in dict.fromkeys(finding_ids)]
    if len(chosen) < 2 or len({finding.kind for finding in chosen}) != 1:
        msg = "merge needs at least two findings of one kind; choose them and merge again"
        raise ActError(msg)
    # What stands in the ledger keeps its number; a candidate or an addition goes into it.
    chosen.sort(key=lambda f: (not f.lesion_ids, min(f.lesion_ids, default=0), f.label))
    kept = chosen[0]
    runs = runs_of(np.unique(np.concatenate([indices_of(finding.voxels) for finding in chosen])))
    change: dict[str, Json | None] = {
        kept.finding_id: {
            **place.measured(runs, kept.kind),
            "edited": True,
            "decision": "accepted",
            "lesion_ids": sorted({i for finding in chosen for i in finding.lesion_ids}),
        }
    }
    return Change(findings=change | {finding.finding_id: None for finding in chosen[1:]})


def split(state: ReadState, place: Place, finding_id: str) -> Change:
    """Split a finding; the largest part keeps its number, the others get new ones.

    Raises
    ------
    ActError
        If it is a single voxel.
    """
    finding = _finding(state, finding_id)
    parts = split_runs(finding.voxels, place.grid.shape)
    if len(parts) < 2:
        msg = "the finding cannot be split any further; edit its outline instead"
        raise ActError(msg)
    change: dict[str, Json] = {
        finding_id: {**place.measured(parts[0], finding.kind), "edited": True, "decision": "accepted"}
    }
    for label, runs in enumerate(parts[1:], start=state.next_label):
        part = finding.changed(
            {
                **place.measured(runs, finding.kind),
                "finding_id": f"f{label}",
                "label": label,
                "origin": "reader",
                "edited": False,
                "decision": "accepted",
                "lesion_ids": [],
                "candidate_id": None,
                "why_not_counted": None,
                "parent_lesion_id": min(finding.lesion_ids, default=finding.parent_lesion_id),
            }
        )
        change[part.finding_id] = part.to_json()
    return Change(findings=change)


def not_evaluable(part: str, reason: str | None) -> Change:
    """Find a part of the visit not evaluable, or take that back.

    Raises
    ------
    ActError
        If there is no such part or reason.
    """
    if part != "all" and part not in PARTS:
        msg = f"part must be all, {', '.join(PARTS)}, got {part!r}"
        raise ActError(msg)
    if reason is not None and reason not in READER_REASONS:
        msg = f"reason must be one of {', '.join(READER_REASONS)}, got {reason!r}"
        raise ActError(msg)
    # Without T2 lesions there is no change of them either.
    parts = PARTS if part == "all" else ("t2", "t2_change") if part == "t2" else (part,)
    return Change(parts=dict.fromkeys(parts, reason))


def ready_to_sign(state: ReadState) -> None:
    """Check that a read is complete.

    Raises
    ------
    ActError
        If a finding that an endpoint counts is not decided in a part that is evaluable, or a disagreement
        of two reads is not settled.
    """
    # Whoever decides between two readers cannot be unsure.
    open_ones = ("undecided", "unsure") if state.stage == "adjudication" else ("undecided",)
    left = [finding for finding in state.needed if finding.decision in open_ones]
    if left:
        what = "finding is" if len(left) == 1 else "findings are"
        msg = f"{len(left)} {what} not decided yet; decide before you sign"
        raise ActError(msg)


def _finding(state: ReadState, finding_id: str) -> Finding:
    finding = state.findings.get(finding_id)
    if finding is None:
        msg = f"there is no finding {finding_id[:20]!r} in this visit; load it again"
        raise ActError(msg)
    return finding


def _statuses(kind: Kind, t2_status: str | None, gd_status: str | None) -> dict[str, str]:
    given = {"t2_status": (t2_status, "t2", T2_STATUSES), "gd_status": (gd_status, "gel", GD_STATUSES)}
    chosen = {}
    for name, (status, of, levels) in given.items():
        if status is None:
            continue
        if kind != of or status not in levels:
            msg = f"{name} of a {kind} finding cannot be {status!r}"
            raise ActError(msg)
        chosen[name] = status
    return chosen


def _one(finding_id: str, content: Json) -> Change:
    return Change(findings={finding_id: content})


def _typed(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict(content) | {"voxels": tuple((int(a), int(b)) for a, b in content["voxels"])}
