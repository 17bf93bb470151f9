"""Work of a reader carried over to new findings: after a rerun, or when the candidates are shown."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mesems_mri.images.volume import spacing_of
from mesems_mri.review.events import Change, Json
from mesems_mri.review.masks import coordinates_of, indices_of
from mesems_mri.review.matching import MAX_DISTANCE_MM, match_findings
from mesems_mri.review.state import Finding, ReadState
from mesems_mri.review.visit import ReadGrid


def carry_over(state: ReadState, made: Sequence[Finding], grid: ReadGrid) -> Change:
    """Carry decisions, outlines and comments over to new findings, by lesion and position.

    A finding that was decided about and matches none of the new ones stays, marked as gone; nothing that a
    reader did is dropped.

    Parameters
    ----------
    state : ReadState
        What the reader has done so far.
    made : sequence of Finding
        New findings, labelled 1..n.
    grid : ReadGrid

    Returns
    -------
    Change
        The new findings get numbers that no finding of the read ever had.
    """
    worked = [finding for finding in state.findings.values() if is_worked(finding)]
    shift = state.next_label - 1
    renumbered = [replace(f, label=f.label + shift, finding_id=f"f{f.label + shift}") for f in made]
    pairs = _match(worked, renumbered, grid)
    findings: dict[str, Json | None] = {finding_id: None for finding_id in state.findings}
    taken = {id(old) for old, _ in pairs}
    for finding in worked:
        if id(finding) not in taken:
            findings[finding.finding_id] = _kept(finding, state)
    carried = {id(new): _with_work(new, old) for old, new in pairs}
    for finding in renumbered:
        findings[finding.finding_id] = carried.get(id(finding), finding).to_json()
    return Change(findings=findings)


def is_worked(finding: Finding) -> bool:
    """Return whether a reader did anything about a finding."""
    done = finding.edited or finding.comment is not None or finding.decision != "undecided"
    return done or finding.origin == "reader"


def _match(
    worked: Sequence[Finding], made: Sequence[Finding], grid: ReadGrid
) -> list[tuple[Finding, Finding]]:
    """Match by number where the place agrees, and the rest by place alone."""
    pairs, left = [], list(made)
    rest = []
    for finding in worked:
        same = next((new for new in left if _is_same(finding, new, grid)), None)
        if same is None:
            rest.append(finding)
        else:
            left.remove(same)
            pairs.append((finding, same))
    # By place only: a number that another lesion has now says nothing.
    nameless = [replace(finding, origin="reader") for finding in rest]
    back = {id(one): finding for one, finding in zip(nameless, rest, strict=True)}
    return pairs + [(back[id(one)], new) for one, new in match_findings(nameless, left, grid)]


def _is_same(old: Finding, new: Finding, grid: ReadGrid) -> bool:
    if old.kind != new.kind or old.origin == "reader":
        return False
    if not set(old.lesion_ids) & set(new.lesion_ids):
        return False
    if np.intersect1d(indices_of(old.voxels), indices_of(new.voxels)).size:
        return True
    spacing = np.asarray(spacing_of(grid.matrix))
    one, other = ((coordinates_of(f.voxels, grid.shape) * spacing).mean(axis=0) for f in (old, new))
    return float(np.linalg.norm(one - other)) <= MAX_DISTANCE_MM


def _with_work(new: Finding, old: Finding) -> Finding:
    outline = {}
    if old.edited:
        outline = {
            "voxels": old.voxels,
            "volume_mm3": old.volume_mm3,
            "max_diameter_mm": old.max_diameter_mm,
            "edited": True,
            # What the reader had joined stays joined.
            "lesion_ids": tuple(sorted({*new.lesion_ids, *old.lesion_ids[1:]})),
        }
    return replace(
        new,
        decision=old.decision,
        comment=old.comment,
        t2_status=old.t2_status or new.t2_status,
        gd_status=old.gd_status or new.gd_status,
        **outline,
    )


def _kept(finding: Finding, state: ReadState) -> Json:
    """Return what a finding becomes that the run does not find any more."""
    if finding.origin == "reader":
        return {}
    return {"origin": "reader", "gone": True, "lesion_ids": [], "candidate_id": None}
