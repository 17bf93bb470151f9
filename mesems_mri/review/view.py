"""A read as the page gets it: nothing but what a reader may see."""

from collections.abc import Iterable, Mapping
from typing import Any

from mesems_mri.dataset.reasons import CAUSES, REASONS
from mesems_mri.errors import Reason
from mesems_mri.review.events import MEANINGS, PARTS, comment_texts, reason_texts
from mesems_mri.review.findings import centre_of
from mesems_mri.review.masks import Crop
from mesems_mri.review.pictures import Picture, segmentation_sha
from mesems_mri.review.state import DECISIONS, GD_STATUSES, T2_STATUSES, Finding, ReadState
from mesems_mri.review.store import Task
from mesems_mri.review.visit import FoundVisit, ReadGrid


def task_row(task: Task) -> dict[str, Any]:
    """Return a task for the list."""
    return {
        "task_id": task.task_id,
        "label": task.label,
        "state": task.state,
        "stage": task.stage,
        "undecided": task.undecided,
        "total": task.total,
    }


def task_view(
    task: Task,
    visit: FoundVisit,
    state: ReadState,
    crop: Crop,
    pictures: Iterable[Picture],
    *,
    next_task_id: str | None,
) -> dict[str, Any]:
    """Return all that the page of a read shows."""
    assert visit.grid is not None
    base = f"/api/tasks/{task.task_id}"
    return {
        "task_id": task.task_id,
        "label": task.label,
        "stage": state.stage,
        "state": state.state,
        "revision": state.revision,
        "images": [
            {
                "name": picture.name,
                "visit": picture.visit,
                "contrast": picture.contrast,
                "url": f"{base}/images/{picture.name}.nii.gz",
            }
            for picture in pictures
        ],
        "segmentation": _segmentation(task, state),
        "findings": [
            finding_view(f, visit.grid, crop, adjudication=state.stage == "adjudication")
            for f in state.findings.values()
        ],
        "parts": parts_view(visit, state),
        "reasons": reason_texts(),
        "comments": comment_texts(),
        "decisions": list(DECISIONS),
        "statuses": list(dict.fromkeys((*T2_STATUSES, *GD_STATUSES))),
        "meanings": [MEANINGS[state.stage]],
        "can_undo": bool(state.undoable),
        "next_task_id": next_task_id,
    }


def answer(task: Task, visit: FoundVisit, crop: Crop, before: ReadState, after: ReadState) -> dict[str, Any]:
    """Return what an act has changed."""
    assert visit.grid is not None
    changed = [f for key, f in after.findings.items() if before.findings.get(key) != f]
    return {
        "revision": after.revision,
        "state": after.state,
        "stage": after.stage,
        "findings": [
            finding_view(f, visit.grid, crop, adjudication=after.stage == "adjudication") for f in changed
        ],
        "removed": [key for key in before.findings if key not in after.findings],
        "segmentation": _segmentation(task, after),
        "parts": parts_view(visit, after),
        "undecided": after.undecided,
        "total": len(after.needed),
        "can_undo": bool(after.undoable),
    }


def _segmentation(task: Task, state: ReadState) -> dict[str, str]:
    sha = segmentation_sha(state)
    return {"url": f"/api/tasks/{task.task_id}/segmentation.nii.gz?sha={sha}", "sha": sha}


def parts_view(visit: FoundVisit, state: ReadState) -> dict[str, dict[str, Any]]:
    """Return which parts of a visit are evaluable, and why the others are not."""
    shown: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        code = state.parts.get(part) or visit.metrics[f"{part}_reason"]
        text = REASONS[Reason(code)].short if code else None
        shown[part] = {"evaluable": code is None, "reason": code, "text": text}
        shown[part]["by_reader"] = part in state.parts
    return shown


def finding_view(finding: Finding, grid: ReadGrid, crop: Crop, *, adjudication: bool) -> Mapping[str, Any]:
    """Return a finding as the page shows it."""
    voxel, (x, y, z) = centre_of(finding.voxels, grid)
    shown: dict[str, Any] = {
        "finding_id": finding.finding_id,
        "kind": finding.kind,
        "origin": finding.origin,
        "label": finding.label,
        "decision": finding.decision,
        "t2_status": finding.t2_status,
        "gd_status": finding.gd_status,
        "score": finding.score,
        "volume_mm3": finding.volume_mm3,
        "max_diameter_mm": finding.max_diameter_mm,
        "x": x,
        "y": y,
        "z": z,
        "slice": [i - a for i, a in zip(voxel, crop.start, strict=True)],
        "region": finding.region,
        "why_not_counted": CAUSES[finding.why_not_counted].what if finding.why_not_counted else None,
        "comment": finding.comment,
        "edited": finding.edited,
        "gone": finding.gone,
        "needs_decision": finding.disputed if adjudication else finding.needs_decision,
    }
    return shown | {"reads": [dict(read) for read in finding.reads]} if adjudication else shown
