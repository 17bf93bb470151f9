"""Identity and status of foci through the visits of a participant: the lesion ledger on arrays.

`track_visit` takes the foci of one visit and those known from earlier visits, and gives every focus its
number, its status and its row. A visit depends on earlier visits only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import MIN_VOLUME_MM3, as_mask
from mesems_mri.core.distance import distance_from
from mesems_mri.core.tracking.foci import KnownFoci, LedgerRow, VisitFoci
from mesems_mri.core.tracking.track_gel import track_gel
from mesems_mri.core.tracking.track_t2 import SHRINKAGE, ShrinkageRule, track_t2
from mesems_mri.core.typing import Labels, Vector

_GD_PRIORITY = ("new", "re_enhancing", "baseline", "persistent")


@dataclass(frozen=True)
class TrackedVisit:
    """Numbered foci of a visit, their ledger rows, and the known foci for the next visit.

    Parameters
    ----------
    t2, gel : ndarray of int32, shape (x, y, z), or None
        Values are lesion_ids; None where not evaluable.
    rows : list of dict
        Keys are `ROW_FIELDS`; sorted by lesion_id.
    known : KnownFoci
    """

    t2: Labels | None
    gel: Labels | None
    rows: list[LedgerRow]
    known: KnownFoci


def track_visit(
    visit: VisitFoci,
    known: KnownFoci,
    *,
    spacing_mm: Vector,
    join_mm: float = 2.0,
    shrinkage: ShrinkageRule = SHRINKAGE,
    min_focus_mm3: float = MIN_VOLUME_MM3,
) -> TrackedVisit:
    """Assign numbers to the foci of a visit and decide their status.

    Parameters
    ----------
    visit : VisitFoci
    known : KnownFoci
        Returned for the previous visit, or `KnownFoci.none`.
    spacing_mm : sequence of 3 float
        Voxel size along the array axes.
    join_mm : float
        Largest distance of an active T2 focus that is a GEL's parent without overlapping it, between the
        centres of their nearest voxels.
    shrinkage : ShrinkageRule
        Loss against the reference visit from which a T2 lesion is shrinking.
    min_focus_mm3 : float
        Smallest part of a component that is a lesion of its own beside a new focus.

    Returns
    -------
    TrackedVisit

    Raises
    ------
    ValueError
        If an array is not 3D, not finite or not of the grid of ``known``; if the session was tracked
        already; if T2 change is given without a T2 mask or without its reference.
    """
    _check(visit, known)
    t2 = gel = None
    t2_rows: list[LedgerRow] = []
    gel_rows: list[LedgerRow] = []
    if visit.t2_mask is not None:
        t2, t2_rows, known = track_t2(
            visit, known, spacing_mm=spacing_mm, shrinkage=shrinkage, min_focus_mm3=min_focus_mm3
        )
    if visit.gel is not None:
        gel, gel_rows, known = track_gel(visit, known, spacing_mm=spacing_mm)
        if t2 is not None:
            join_gel(gel_rows, gel, t2_rows, t2, spacing_mm=spacing_mm, join_mm=join_mm)
    rows = sorted([*t2_rows, *gel_rows], key=lambda row: row["lesion_id"])
    return TrackedVisit(t2, gel, rows, known)


def complete_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    identity: Mapping[str, str],
    details: Mapping[int, Mapping[str, Any]],
) -> list[LedgerRow]:
    """Complete the rows with the identifiers of the participant and the details of each focus.

    Parameters
    ----------
    rows : iterable of mapping
        From `track_visit`.
    identity : mapping of str to str
        ``study_id``, ``site_id``, ``participant_id``.
    details : mapping of int to mapping
        By lesion_id: ``x``, ``y``, ``z`` (MNI mm), ``region``, ``score``; what is missing stays empty.

    Returns
    -------
    list of dict
        Rows of the ledger.
    """
    places = ("x", "y", "z", "region", "score")
    return [
        dict(identity) | dict(row) | {name: details.get(row["lesion_id"], {}).get(name) for name in places}
        for row in rows
    ]


def _check(visit: VisitFoci, known: KnownFoci) -> None:
    """Raise ValueError unless the visit fits the known foci."""
    for name in ("t2_mask", "new", "enlarging", "gel"):
        array = getattr(visit, name)
        if array is None:
            continue
        shape = as_mask(array, name).shape
        if shape != known.t2.shape:
            msg = f"{name} must have shape {known.t2.shape}, got {shape}"
            raise ValueError(msg)
    if (visit.new is None) != (visit.enlarging is None):
        msg = "new and enlarging must be given together"
        raise ValueError(msg)
    if visit.new is not None and (visit.t2_mask is None or visit.t2_reference_session_id is None):
        msg = "new and enlarging need t2_mask and t2_reference_session_id"
        raise ValueError(msg)
    seen = any(visit.session_id in track.volumes_mm3 for track in known.tracks.values())
    if seen or visit.session_id in known.gel_session_ids:
        msg = f"session {visit.session_id} was tracked already"
        raise ValueError(msg)


def join_gel(
    gel_rows: Iterable[LedgerRow],
    gel: Labels,
    t2_rows: Iterable[LedgerRow],
    t2: Labels,
    *,
    spacing_mm: Vector,
    join_mm: float,
) -> None:
    """Join every GEL with its T2 lesion, in the rows.

    The active T2 focus that it overlaps or that lies within ``join_mm`` (largest overlap, then nearest, then
    lowest number), else the T2 lesion that it overlaps most.
    """
    lesions = {row["lesion_id"]: row for row in t2_rows}
    boxes = ndimage.find_objects(gel)
    margin = [int(np.ceil(join_mm / size)) for size in spacing_mm]
    enhancing: dict[int, set[str]] = {}
    for row in gel_rows:
        box = boxes[row["lesion_id"] - 1]
        around = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))
        focus = gel[around] == row["lesion_id"]
        nearby = t2[around]
        distance_mm = distance_from(focus, spacing_mm)
        ranked = []
        for i in np.unique(nearby[nearby > 0]).tolist():
            overlap = int((focus & (nearby == i)).sum())
            nearest_mm = float(distance_mm[nearby == i].min())
            active = lesions[i]["active"] and nearest_mm <= join_mm + 1e-6
            if active or overlap:
                ranked.append((not active, -overlap, nearest_mm, i))
        if ranked:
            parent = min(ranked)[-1]
            row["parent_lesion_id"] = parent
            row["t2_status"] = lesions[parent]["t2_status"]
            enhancing.setdefault(parent, set()).add(row["gd_status"])
    for i, statuses in enhancing.items():
        lesions[i]["gd_status"] = next(status for status in _GD_PRIORITY if status in statuses)
