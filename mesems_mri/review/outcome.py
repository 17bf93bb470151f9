"""Outcome of a read outside: rows of the ledger, row of the visit, numbered masks."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mesems_mri.core.location import centres
from mesems_mri.core.tracking.foci import ACTIVE_GEL, ACTIVE_T2
from mesems_mri.core.tracking.track import join_gel
from mesems_mri.core.typing import Labels
from mesems_mri.dataset.counts import visit_counts
from mesems_mri.dataset.records.base import Json
from mesems_mri.images.volume import spacing_of
from mesems_mri.review.events import PARTS
from mesems_mri.review.findings import GD_STATUS, T2_STATUS
from mesems_mri.review.masks import Runs, indices_of
from mesems_mri.review.state import Finding, ReadState
from mesems_mri.review.visit import FoundVisit, ReadGrid

ADDED_FROM = 10001
"""First lesion_id of what a reader adds; tracking, which goes on with later visits, never comes so far."""
_JOIN_MM = 2.0


@dataclass(frozen=True)
class Identity:
    """Number of a lesion that is not in the ledger of the run, and the visit at which it was seen first."""

    lesion_id: int
    first_seen_session_id: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of a read.

    Parameters
    ----------
    metrics : mapping
        Row of ``visit_metrics.tsv`` but for ``read_status``.
    lesions : tuple of mapping
        Rows of the ledger.
    t2, gel : ndarray of int32, shape (x, y, z)
        Values are lesion_ids; what was rejected is not in them.
    """

    metrics: Json
    lesions: tuple[Json, ...]
    t2: Labels
    gel: Labels


@dataclass(frozen=True, eq=False)
class History:
    """Enhancing lesions of earlier visits, for the status of one that a reader adds.

    Parameters
    ----------
    reference : ndarray of bool, flat, or None
        Enhancing at the GEL reference visit.
    earlier : ndarray of bool, flat, or None
        Enhancing at any visit before that.
    """

    reference: np.ndarray | None = None
    earlier: np.ndarray | None = None

    def status(self, runs: Runs) -> str:
        """Return the ``gd_status`` of an enhancing lesion."""
        if self.reference is None:
            return "baseline"
        voxels = indices_of(runs)
        if self.reference[voxels].any():
            return "persistent"
        return "re_enhancing" if self.earlier is not None and self.earlier[voxels].any() else "new"


def outcome_of(
    visit: FoundVisit,
    state: ReadState,
    history: History,
    regions: Mapping[str, str] | None = None,
    identities: Mapping[str, Identity] | None = None,
) -> Outcome:
    """Make what a read counts.

    Parameters
    ----------
    visit : FoundVisit
        What the run found; its rows are the basis of the read.
    state : ReadState
    history : History
    regions : mapping of str to str, optional
        Region of findings that the run gave none, by finding_id.
    identities : mapping of str to Identity, optional
        Of findings that are not in the ledger of the run, by finding_id; default: new numbers.

    Returns
    -------
    Outcome
        Of a part that is not evaluable there are no foci.
    """
    grid = visit.grid
    assert grid is not None  # a visit without images is not read
    evaluable = {part: visit.evaluable(part) and part not in state.parts for part in PARTS}
    given = identities or {}
    numbers = _lesion_ids(state.findings.values(), given)
    first_seen = {identity.lesion_id: identity.first_seen_session_id for identity in given.values()}
    drawn = {kind: _draw(state, kind, numbers, grid) for kind in ("t2", "gel")}
    rows = _rows(visit, state, numbers, drawn, evaluable, history, regions or {})
    for row in rows:
        row["first_seen_session_id"] = first_seen.get(row["lesion_id"], row["first_seen_session_id"])
    counted = [row for row in rows if row["decision"] != "rejected"]
    _join(counted, drawn, grid, gel=evaluable["gel"])
    rejected = [row for row in rows if row["decision"] == "rejected"]
    resolved = [dict(row) for row in visit.lesions if row["t2_status"] == "resolved" and row["focus"] == "t2"]
    kept: list[Json] = [*counted, *rejected, *(resolved if evaluable["t2_change"] else [])]
    kept.sort(key=lambda row: row["lesion_id"])
    return Outcome(
        metrics=_metrics(visit, state, kept, evaluable), lesions=tuple(kept), t2=drawn["t2"], gel=drawn["gel"]
    )


def decisions_sha256(state: ReadState) -> str:
    """Return the hash over all decisions and outlines of a read."""
    content = {
        "findings": [finding.to_json() for finding in state.findings.values()],
        "parts": dict(sorted(state.parts.items())),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _lesion_ids(findings: Iterable[Finding], given: Mapping[str, Identity]) -> dict[str, int]:
    """Return the lesion_id of every finding; what is not in the ledger gets a number of its own range."""
    numbers = {}
    for finding in findings:
        if finding.lesion_ids:
            numbers[finding.finding_id] = min(finding.lesion_ids)
        elif finding.finding_id in given:
            numbers[finding.finding_id] = given[finding.finding_id].lesion_id
        else:
            numbers[finding.finding_id] = ADDED_FROM + finding.label - 1
    return numbers


def _draw(state: ReadState, kind: str, numbers: Mapping[str, int], grid: ReadGrid) -> Labels:
    """Draw what counts of a kind: growth over the lesion it grew from, a reader's outline over the run's."""
    flat = np.zeros(int(np.prod(grid.shape)), np.int32)
    chosen = [f for f in state.findings.values() if f.kind == kind and f.counts and kind not in state.parts]
    chosen.sort(key=lambda f: (f.active and f.kind == "t2", f.edited or f.origin == "reader", f.label))
    for finding in chosen:
        for start, length in finding.voxels:
            flat[start : start + length] = numbers[finding.finding_id]
    return flat.reshape(grid.shape)


def _rows(
    visit: FoundVisit,
    state: ReadState,
    numbers: Mapping[str, int],
    drawn: Mapping[str, Labels],
    evaluable: Mapping[str, bool],
    history: History,
    regions: Mapping[str, str],
) -> list[dict[str, Any]]:
    grid = visit.grid
    assert grid is not None
    automatic = {(row["focus"], row["lesion_id"]): row for row in visit.lesions}
    voxels = {kind: np.bincount(dseg.ravel()) for kind, dseg in drawn.items()}
    to_mni = np.asarray(visit.subject_to_mni or np.eye(4)) @ grid.matrix
    places = {kind: centres(dseg, to_mni) for kind, dseg in drawn.items()}
    rows = []
    for finding in state.findings.values():
        number = numbers[finding.finding_id]
        known = automatic.get((finding.kind, number)) if finding.lesion_ids else None
        if not evaluable[finding.kind] or (known is None and not finding.counts):
            continue
        if not finding.counts:
            # It stays in the ledger as it was found, and counts nowhere.
            rows.append({**(known or {}), "decision": "rejected", "active": None})
            continue
        row = dict(known) if known else _new_row(visit, finding, number, regions)
        size = int(voxels[finding.kind][number]) if number < len(voxels[finding.kind]) else 0
        if size == 0:
            continue  # all of it lies in growth that was taken out of it
        changed = finding.edited or len(finding.lesion_ids) > 1
        if known is None or changed or size * grid.voxel_mm3 != row["volume_mm3"]:
            x, y, z = places[finding.kind][number]
            row |= {
                "volume_mm3": round(size * grid.voxel_mm3, 1),
                "max_diameter_mm": finding.max_diameter_mm,
                "x": round(x, 1) + 0.0,
                "y": round(y, 1) + 0.0,
                "z": round(z, 1) + 0.0,
            }
        row["decision"] = _decision(finding, known is not None, changed=changed)
        merged = [str(i) for i in finding.lesion_ids[1:]]
        if merged:
            row["merged_ids"] = ";".join([m for m in (row["merged_ids"] or "").split(";") if m] + merged)
        if finding.kind == "gel":
            row |= _gel_columns(finding, known, history)
        else:
            row |= _t2_columns(finding, row, known, change=evaluable["t2_change"])
        rows.append(row)
    return rows


def _decision(finding: Finding, in_ledger: bool, *, changed: bool) -> str:
    if not in_ledger:
        return "edited" if finding.parent_lesion_id is not None else "added"
    if changed:
        return "edited"
    return "accepted" if finding.decision == "accepted" else "automatic"


def _new_row(visit: FoundVisit, finding: Finding, number: int, regions: Mapping[str, str]) -> dict[str, Any]:
    names = ("study_id", "site_id", "participant_id", "session_id")
    gel = finding.kind == "gel"
    reference = visit.metrics["gel_reference_session_id" if gel else "t2_reference_session_id"]
    return {name: visit.metrics[name] for name in names} | {
        "lesion_id": number,
        "focus": finding.kind,
        "parent_lesion_id": finding.parent_lesion_id,
        "merged_ids": "",
        "reference_session_id": reference,
        "first_seen_session_id": visit.session_id,
        "t2_status": None,
        "gd_status": None,
        "active": None,
        "volume_mm3": None,
        "growth_mm3": None,
        "max_diameter_mm": finding.max_diameter_mm,
        "x": None,
        "y": None,
        "z": None,
        "region": finding.region or regions.get(finding.finding_id),
        "score": finding.score,
        "decision": "added",
    }


def _t2_columns(finding: Finding, row: Json, known: Json | None, *, change: bool) -> dict[str, Any]:
    """Return status and growth; the run's own word stays where the reader's is the same."""
    if not change:
        return {
            "t2_status": "not_evaluable",
            "active": False,
            "growth_mm3": None,
            "reference_session_id": None,
        }
    status = finding.t2_status or "stable"
    if known and T2_STATUS.get(known["t2_status"]) == finding.t2_status:
        status = known["t2_status"]
    growth = row["growth_mm3"]
    if status == "enlarging" and (growth is None or finding.edited):
        growth = row["volume_mm3"]
    elif status != "enlarging":
        growth = known["growth_mm3"] if known and known["t2_status"] == status else None
    return {"t2_status": status, "active": status in ACTIVE_T2, "growth_mm3": growth}


def _gel_columns(finding: Finding, known: Json | None, history: History) -> dict[str, Any]:
    if known and GD_STATUS.get(known["gd_status"]) == finding.gd_status:
        status = known["gd_status"]
    elif history.reference is None:
        status = "baseline"  # no earlier visit can tell new ones from those that persist
    elif finding.gd_status == "persistent":
        status = "persistent"
    elif finding.gd_status == "new":
        told = history.status(finding.voxels)
        status = told if told == "re_enhancing" else "new"
    else:
        status = history.status(finding.voxels)
    return {"gd_status": status, "active": status in ACTIVE_GEL}


def _join(rows: Sequence[dict[str, Any]], drawn: Mapping[str, Labels], grid: ReadGrid, *, gel: bool) -> None:
    """Join every GEL with its T2 lesion anew, as the run does."""
    gel_rows = [row for row in rows if row["focus"] == "gel"]
    t2_rows = [row for row in rows if row["focus"] == "t2"]
    for row in gel_rows:
        row |= {"parent_lesion_id": None, "t2_status": None}
    for row in t2_rows:
        row["gd_status"] = "none" if gel else "not_evaluable"
    if t2_rows:
        join_gel(
            gel_rows, drawn["gel"], t2_rows, drawn["t2"], spacing_mm=spacing_of(grid.matrix), join_mm=_JOIN_MM
        )


def _metrics(
    visit: FoundVisit, state: ReadState, rows: Iterable[Json], evaluable: Mapping[str, bool]
) -> dict[str, Any]:
    metrics = dict(visit.metrics)
    for part, reason in state.parts.items():
        if visit.evaluable(part):
            metrics |= {f"{part}_evaluable": False, f"{part}_reason": reason}
    if "t2" in state.parts and metrics["black_hole_evaluable"]:
        metrics |= {
            "black_hole_evaluable": False,
            "black_hole_reason": state.parts["t2"],
            "black_hole_volume_mm3": None,
        }
    if not evaluable["gel"]:
        metrics["gel_reference_session_id"] = None
    metrics |= visit_counts(
        rows,
        gel_evaluable=evaluable["gel"],
        gel_change_evaluable=evaluable["gel"] and visit.metrics["gel_new_count"] is not None,
        t2_evaluable=evaluable["t2"],
        t2_change_evaluable=evaluable["t2_change"],
    )
    if visit.metrics["cua_evaluable"] and not metrics["cua_evaluable"]:
        metrics["cua_reason"] = state.parts.get("gel") or state.parts["t2_change"]
    if state.parts:
        metrics["qc_status"] = "fail"
    return metrics
