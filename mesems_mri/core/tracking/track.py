"""Identity and status of foci through the visits of a participant: the lesion ledger on arrays.

`track_visit` takes the foci of one visit and what is known from the visits before, and gives every focus
its number, its status and its row. A visit depends on earlier visits only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import MIN_VOLUME_MM3, as_mask, label_coordinates, renumber_by_first_voxel
from mesems_mri.core.distance import distance_from
from mesems_mri.core.tracking.foci import (
    ACTIVE_GEL,
    ACTIVE_T2,
    KnownFoci,
    Row,
    VisitFoci,
    ended_in,
    in_plane_diameter_mm,
    next_free_id,
    start_row,
    update_footprint,
    update_tracks,
    volumes_since,
    with_ids,
)
from mesems_mri.core.tracking.identity import Identity, assign_ids, divide_t2, find_overlaps
from mesems_mri.core.typing import Labels, Vector

_GD_PRIORITY = ("new", "re_enhancing", "baseline", "persistent")


@dataclass(frozen=True)
class TrackedVisit:
    """Numbered foci of a visit, their rows, and what is known for the next visit.

    Parameters
    ----------
    t2, gel : int32 array or None
        Values are lesion_ids; None where not evaluable.
    rows : list of dict
        Keys are `ROW_FIELDS`; sorted by lesion_id.
    known : KnownFoci
    """

    t2: Labels | None
    gel: Labels | None
    rows: list[Row]
    known: KnownFoci


def track_visit(
    visit: VisitFoci,
    known: KnownFoci,
    *,
    spacing_mm: Vector,
    join_mm: float = 2.0,
    min_shrinkage_mm3: float = 20.0,
    min_shrinkage_fraction: float = 0.5,
    min_focus_mm3: float = MIN_VOLUME_MM3,
) -> TrackedVisit:
    """Assign numbers to the foci of a visit and decide their status.

    Parameters
    ----------
    visit : VisitFoci
    known : KnownFoci
        What the visit before returned, or `KnownFoci.none`.
    spacing_mm : sequence of 3 float
        Voxel size along the array axes.
    join_mm : float
        Largest distance of an active T2 focus that is a GEL's parent without overlapping it, between the
        centres of their nearest voxels.
    min_shrinkage_mm3, min_shrinkage_fraction : float
        A T2 lesion is shrinking if it lost at least both, against the reference visit.
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
    t2_rows: list[Row] = []
    gel_rows: list[Row] = []
    if visit.t2_mask is not None:
        t2, t2_rows, known = track_t2(
            visit,
            known,
            spacing_mm=spacing_mm,
            min_shrinkage_mm3=min_shrinkage_mm3,
            min_shrinkage_fraction=min_shrinkage_fraction,
            min_focus_mm3=min_focus_mm3,
        )
    if visit.gel is not None:
        gel, gel_rows, known = track_gel(visit, known, spacing_mm=spacing_mm)
        if t2 is not None:
            _join(gel_rows, gel, t2_rows, t2, spacing_mm=spacing_mm, join_mm=join_mm)
    rows = sorted([*t2_rows, *gel_rows], key=lambda row: row["lesion_id"])
    return TrackedVisit(t2, gel, rows, known)


def track_t2(
    visit: VisitFoci,
    known: KnownFoci,
    *,
    spacing_mm: Vector,
    min_shrinkage_mm3: float = 20.0,
    min_shrinkage_fraction: float = 0.5,
    min_focus_mm3: float = MIN_VOLUME_MM3,
) -> tuple[Labels, list[Row], KnownFoci]:
    """Assign numbers to the T2 lesions of a visit; parameters as for `track_visit`.

    Returns
    -------
    dseg : int32 array
    rows : list of dict
        ``gd_status`` is ``none`` or ``not_evaluable``; the GEL are joined later.
    known : KnownFoci
    """
    if visit.t2_mask is None:
        msg = "t2_mask is needed to track T2 lesions"
        raise ValueError(msg)
    voxel_mm3 = float(np.prod(spacing_mm))
    units = divide_t2(
        as_mask(visit.t2_mask, "t2_mask"),
        None if visit.new is None else np.asarray(visit.new),
        None if visit.enlarging is None else np.asarray(visit.enlarging),
        known.t2,
        min_remainder_voxels=min_focus_mm3 / voxel_mm3 - 1e-6,
    )
    change_evaluable = visit.new is not None
    reference = visit.t2_reference_session_id if change_evaluable else None
    overlaps = find_overlaps(units.dseg, known.t2)
    # a growth focus may take up the number of an earlier part of its lesion, never that of the lesion; a new
    # focus never takes the number of a lesion of the reference visit
    not_for = {
        unit: [i for i in overlaps[unit] if known.tracks[i].parent_id not in overlaps[lesion]]
        for unit, lesion in units.carved_from.items()
    } | {unit: [i for i in overlaps[unit] if reference in known.tracks[i].volumes_mm3] for unit in units.new}
    identities = assign_ids(
        overlaps,
        next_id=known.next_id,
        dormant={i for i, track in known.tracks.items() if track.resolved},
        not_for=not_for,
    )
    for unit in set(identities) & (units.new | set(units.carved_from)):
        lesion = units.carved_from.get(unit)
        parent = None if lesion is None else identities[lesion].lesion_id
        identities[unit] = replace(identities[unit], parent_id=parent)
    coordinates = label_coordinates(units.dseg)
    volumes_mm3 = {unit: len(voxels) * voxel_mm3 for unit, voxels in coordinates.items()}
    gd_status = "not_evaluable" if visit.gel is None else "none"

    tracks = update_tracks(known.tracks, identities, volumes_mm3, "t2", visit.session_id)
    rows = []
    for unit, identity in identities.items():
        track = tracks[identity.lesion_id]
        if unit in units.new:
            status = "new"
        elif unit in units.growth_voxels:
            status = "enlarging"
        elif not change_evaluable or reference is None:
            status = "not_evaluable"
        else:
            before, now = volumes_since(identity.lesion_id, tracks, reference, visit.session_id)
            enough = max(min_shrinkage_mm3, min_shrinkage_fraction * before)
            status = "shrinking" if before - now >= enough - 1e-6 else "stable"
        growth = units.growth_voxels.get(unit)
        rows.append(
            start_row(visit.session_id, track, identity)
            | {
                "parent_lesion_id": track.parent_id,
                "reference_session_id": reference,
                "t2_status": status,
                "gd_status": gd_status,
                "active": status in ACTIVE_T2,
                "volume_mm3": volumes_mm3[unit],
                "growth_mm3": None if growth is None else growth * voxel_mm3,
                "max_diameter_mm": in_plane_diameter_mm(coordinates[unit], spacing_mm, visit.t2_plane),
            }
        )
    if change_evaluable:
        seen = {identity.lesion_id for identity in identities.values()}
        for i, track in sorted(tracks.items()):
            if track.focus != "t2" or track.resolved or track.merged_into is not None or i in seen:
                continue
            tracks[i] = replace(track, resolved=True)
            rows.append(
                start_row(visit.session_id, track, Identity(i))
                | {
                    "parent_lesion_id": track.parent_id,
                    "reference_session_id": reference,
                    "t2_status": "resolved",
                    "gd_status": gd_status,
                    "active": False,
                    "volume_mm3": 0.0,
                }
            )
    dseg = with_ids(units.dseg, identities)
    footprint = update_footprint(known.t2, dseg, identities)
    return dseg, rows, replace(known, t2=footprint, tracks=tracks, next_id=next_free_id(known, identities))


def track_gel(
    visit: VisitFoci, known: KnownFoci, *, spacing_mm: Vector
) -> tuple[Labels, list[Row], KnownFoci]:
    """Assign numbers to the GEL of a visit; parameters as for `track_visit`.

    Returns
    -------
    dseg : int32 array
    rows : list of dict
        Without ``parent_lesion_id`` and ``t2_status``, which need the T2 lesions.
    known : KnownFoci
    """
    voxel_mm3 = float(np.prod(spacing_mm))
    foci = renumber_by_first_voxel(np.asarray(visit.gel))
    identities = assign_ids(find_overlaps(foci, known.gel), next_id=known.next_id)
    coordinates = label_coordinates(foci)
    volumes_mm3 = {label: len(voxels) * voxel_mm3 for label, voxels in coordinates.items()}
    tracks = update_tracks(known.tracks, identities, volumes_mm3, "gel", visit.session_id)
    reference = known.gel_reference_session_ids[-1] if known.gel_reference_session_ids else None
    # an unscheduled visit after the reference is neither reference nor history
    earlier = () if reference is None else known.gel_session_ids[: known.gel_session_ids.index(reference)]
    rows = []
    for label, identity in identities.items():
        enhanced = {
            session
            for i in {identity.lesion_id, *identity.touched_ids}
            for track in ended_in(i, tracks)
            for session in track.volumes_mm3
        }
        if reference is None:
            status = "baseline"
        elif reference in enhanced:
            status = "persistent"
        else:
            status = "new" if enhanced.isdisjoint(earlier) else "re_enhancing"
        rows.append(
            start_row(visit.session_id, tracks[identity.lesion_id], identity)
            | {
                "reference_session_id": reference,
                "gd_status": status,
                "active": status in ACTIVE_GEL,
                "volume_mm3": volumes_mm3[label],
                "max_diameter_mm": in_plane_diameter_mm(coordinates[label], spacing_mm, visit.gel_plane),
            }
        )
    dseg = with_ids(foci, identities)
    scheduled = (visit.session_id,) if visit.scheduled else ()
    known = replace(
        known,
        gel=update_footprint(known.gel, dseg, identities),
        tracks=tracks,
        next_id=next_free_id(known, identities),
        gel_session_ids=(*known.gel_session_ids, visit.session_id),
        gel_reference_session_ids=(*known.gel_reference_session_ids, *scheduled),
    )
    return dseg, rows, known


def complete_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    identity: Mapping[str, str],
    details: Mapping[int, Mapping[str, Any]],
) -> list[Row]:
    """Add to the rows who it is and what is known of each focus by its number.

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
    """Raise ValueError unless the visit fits what is known."""
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


def _join(
    gel_rows: Iterable[Row],
    gel: Labels,
    t2_rows: Iterable[Row],
    t2: Labels,
    *,
    spacing_mm: Vector,
    join_mm: float,
) -> None:
    """Fill in the rows which T2 lesion each GEL belongs to.

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
