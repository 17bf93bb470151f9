"""Findings of a visit as a reader meets them, made of what the run counted and offered."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mesems_mri.core.components import label_coordinates
from mesems_mri.core.feret import largest_in_plane_diameter_mm
from mesems_mri.core.tracking.foci import AcquiredPlane
from mesems_mri.core.typing import Coordinates, Labels
from mesems_mri.dataset.records.base import Json
from mesems_mri.images.volume import spacing_of
from mesems_mri.review.masks import Runs, coordinates_of, runs_of
from mesems_mri.review.state import Finding, Kind
from mesems_mri.review.visit import FoundVisit, ReadGrid

T2_STATUS = {"new": "new", "enlarging": "enlarging", "stable": "stable", "shrinking": "stable"}
GD_STATUS = {"baseline": "enhancing", "new": "new", "re_enhancing": "new", "persistent": "persistent"}


def open_findings(visit: FoundVisit, dsegs: Mapping[str, Labels]) -> list[Finding]:
    """Make the findings of a visit, labelled 1..n.

    Parameters
    ----------
    visit : FoundVisit
    dsegs : mapping of str to ndarray of int32, shape (x, y, z)
        ``t2``, ``gel``, ``candidates``, those that are there.

    Returns
    -------
    list of Finding
        Enhancing lesions, new and enlarging T2 lesions, candidates (the best score first), other T2 lesions.
    """
    grid = visit.grid
    if grid is None:
        return []
    found = [*_counted(visit, grid, dsegs), *_offered(visit, grid, dsegs)]
    found.sort(key=_order)
    return [replace(f, finding_id=f"f{label}", label=label) for label, f in enumerate(found, start=1)]


def _order(finding: Finding) -> tuple[float, ...]:
    if finding.origin == "offered":
        return 2, -(finding.score or 0.0), finding.candidate_id or 0
    place = 0 if finding.kind == "gel" else 1 if finding.active else 3
    return place, 0.0, finding.lesion_ids[0]


def _counted(visit: FoundVisit, grid: ReadGrid, dsegs: Mapping[str, Labels]) -> list[Finding]:
    """Make the findings of the rows of the ledger that have voxels; a resolved lesion has none."""
    places: dict[str, dict[int, Coordinates]] = {
        kind: label_coordinates(dsegs[kind]) for kind in ("t2", "gel") if kind in dsegs
    }
    found = []
    for row in visit.lesions:
        kind: Kind = "gel" if row["focus"] == "gel" else "t2"
        voxels = places.get(kind, {}).get(row["lesion_id"])
        if voxels is None or not visit.evaluable(kind):
            continue
        found.append(
            Finding(
                finding_id="",
                kind=kind,
                origin="counted",
                label=0,
                voxels=_runs(voxels, grid),
                volume_mm3=row["volume_mm3"],
                max_diameter_mm=row["max_diameter_mm"],
                t2_status=T2_STATUS.get(row["t2_status"]) if kind == "t2" else None,
                gd_status=GD_STATUS.get(row["gd_status"]) if kind == "gel" else None,
                lesion_ids=(row["lesion_id"],),
                score=row["score"],
                region=row["region"],
            )
        )
    return found


def _offered(visit: FoundVisit, grid: ReadGrid, dsegs: Mapping[str, Labels]) -> list[Finding]:
    """Make the findings of the candidates that have a voxel of their own."""
    if "candidates" not in dsegs:
        return []
    places = label_coordinates(dsegs["candidates"])
    found = []
    for row in visit.candidates:
        voxels = places.get(row["candidate_id"])
        if voxels is None:
            continue
        kind: Kind = "gel" if row["kind"] == "gel" else "t2"
        found.append(
            Finding(
                finding_id="",
                kind=kind,
                origin="offered",
                label=0,
                voxels=_runs(voxels, grid),
                volume_mm3=round(len(voxels) * grid.voxel_mm3, 1),
                max_diameter_mm=diameter_mm(voxels, grid, visit.planes[kind]),
                t2_status=_offered_status(row, visit, voxels, dsegs) if kind == "t2" else None,
                gd_status="enhancing" if kind == "gel" else None,
                candidate_id=row["candidate_id"],
                score=row["score"],
                region=row["region"],
                why_not_counted=row["why_not_counted"],
            )
        )
    return found


def _offered_status(
    row: Json, visit: FoundVisit, voxels: Coordinates, dsegs: Mapping[str, Labels]
) -> str | None:
    """Return what a candidate would be: growth of the lesion it touches, new, or there before."""
    if not visit.evaluable("t2_change"):
        return None
    if row["kind"] != "change":
        return "stable"
    return "enlarging" if "t2" in dsegs and (dsegs["t2"][tuple(voxels.T)] > 0).any() else "new"


def measured(runs: Runs, grid: ReadGrid, plane: AcquiredPlane) -> dict[str, object]:
    """Return the fields of a finding that depend on its voxels."""
    voxels = coordinates_of(runs, grid.shape)
    return {
        "voxels": [list(run) for run in runs],
        "volume_mm3": round(len(voxels) * grid.voxel_mm3, 1),
        "max_diameter_mm": diameter_mm(voxels, grid, plane),
    }


def diameter_mm(voxels: Coordinates, grid: ReadGrid, plane: AcquiredPlane) -> float:
    """Return the largest diameter in the acquired plane, rounded as in the tables."""
    longest = largest_in_plane_diameter_mm(
        voxels,
        spacing_mm=spacing_of(grid.matrix),
        plane_normal=plane.normal,
        slice_thickness_mm=plane.slice_thickness_mm,
    )
    return round(longest, 1)


def centre_of(runs: Runs, grid: ReadGrid) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return the voxel of a finding that is nearest to its centre of mass, and the centre in mm."""
    voxels = coordinates_of(runs, grid.shape)
    middle = voxels.mean(axis=0)
    i, j, k = voxels[int(np.argmin(((voxels - middle) ** 2).sum(axis=1)))].tolist()
    matrix = grid.matrix
    x, y, z = (matrix[:3, :3] @ middle + matrix[:3, 3]).tolist()
    return (i, j, k), (round(x, 1) + 0.0, round(y, 1) + 0.0, round(z, 1) + 0.0)


def _runs(voxels: Coordinates, grid: ReadGrid) -> Runs:
    return runs_of(np.asarray(np.ravel_multi_index(tuple(voxels.T), grid.shape)))
