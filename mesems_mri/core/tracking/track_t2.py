"""Identity, status and ledger rows of the T2 lesions of a visit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mesems_mri.core.components import as_mask, label_coordinates
from mesems_mri.core.tracking.foci import (
    ACTIVE_T2,
    KnownFoci,
    LedgerRow,
    Track,
    VisitFoci,
    in_plane_diameter_mm,
    next_free_id,
    start_row,
    update_footprint,
    update_tracks,
    volumes_since,
    with_ids,
)
from mesems_mri.core.tracking.identity import FocusIdentity, T2Units, assign_ids, divide_t2, find_overlaps
from mesems_mri.core.typing import Labels, Vector


@dataclass(frozen=True)
class ShrinkageRule:
    """A T2 lesion is shrinking if it lost at least both, against the reference visit.

    Attributes
    ----------
    min_mm3 : float
    min_fraction : float
        Of the volume at the reference visit.
    """

    min_mm3: float = 20.0
    min_fraction: float = 0.5


SHRINKAGE = ShrinkageRule()


def track_t2(
    visit: VisitFoci, known: KnownFoci, *, spacing_mm: Vector, shrinkage: ShrinkageRule, min_focus_mm3: float
) -> tuple[Labels, list[LedgerRow], KnownFoci]:
    """Assign numbers to the T2 lesions of a visit.

    Parameters
    ----------
    visit : VisitFoci
        With a T2 mask.
    known : KnownFoci
    spacing_mm : sequence of 3 float
        Voxel size along the array axes.
    shrinkage : ShrinkageRule
    min_focus_mm3 : float
        Smallest part of a component that is a lesion of its own beside a new focus.

    Returns
    -------
    dseg : ndarray of int32, shape (x, y, z)
    rows : list of dict
        ``gd_status`` is ``none`` or ``not_evaluable``; the GEL are joined later.
    known : KnownFoci

    """
    voxel_mm3 = float(np.prod(spacing_mm))
    units = divide_t2(
        as_mask(np.asarray(visit.t2_mask), "t2_mask"),
        None if visit.new is None else np.asarray(visit.new),
        None if visit.enlarging is None else np.asarray(visit.enlarging),
        known.t2,
        min_remainder_voxels=min_focus_mm3 / voxel_mm3 - 1e-6,
    )
    reference = None if visit.new is None else visit.t2_reference_session_id
    identities = _identify(units, known, reference)
    coordinates = label_coordinates(units.dseg)
    volumes_mm3 = {unit: len(voxels) * voxel_mm3 for unit, voxels in coordinates.items()}
    tracks = update_tracks(known.tracks, identities, volumes_mm3, "t2", visit.session_id)
    rows = []
    for unit, identity in identities.items():
        growth = units.growth_voxels.get(unit)
        status = _t2_status(unit, units, identity, tracks, visit, shrinkage)
        rows.append(
            _t2_row(visit, tracks[identity.lesion_id], identity, status, volumes_mm3[unit])
            | {
                "growth_mm3": None if growth is None else growth * voxel_mm3,
                "max_diameter_mm": in_plane_diameter_mm(coordinates[unit], spacing_mm, visit.t2_plane),
            }
        )
    if visit.new is not None:
        seen = {identity.lesion_id for identity in identities.values()}
        for i, track in sorted(tracks.items()):
            if track.focus == "t2" and not track.resolved and track.merged_into is None and i not in seen:
                tracks[i] = replace(track, resolved=True)
                rows.append(_t2_row(visit, track, FocusIdentity(i), "resolved", 0.0))
    dseg = with_ids(units.dseg, identities)
    footprint = update_footprint(known.t2, dseg, identities)
    return dseg, rows, replace(known, t2=footprint, tracks=tracks, next_id=next_free_id(known, identities))


def _identify(units: T2Units, known: KnownFoci, reference: str | None) -> dict[int, FocusIdentity]:
    """Assign the identity of every unit of a visit.

    A growth focus may take up the number of an earlier part of its lesion, never that of the lesion; a new
    focus never takes the number of a lesion of the reference visit.
    """
    overlaps = find_overlaps(units.dseg, known.t2)
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
    return identities


def _t2_status(
    unit: int,
    units: T2Units,
    identity: FocusIdentity,
    tracks: Mapping[int, Track],
    visit: VisitFoci,
    shrinkage: ShrinkageRule,
) -> str:
    """Return the ``t2_status`` of a unit that is seen at the visit."""
    if unit in units.new:
        return "new"
    if unit in units.growth_voxels:
        return "enlarging"
    if visit.new is None or visit.t2_reference_session_id is None:
        return "not_evaluable"
    at_reference, now = volumes_since(
        identity.lesion_id, tracks, visit.t2_reference_session_id, visit.session_id
    )
    enough = max(shrinkage.min_mm3, shrinkage.min_fraction * at_reference)
    return "shrinking" if at_reference - now >= enough - 1e-6 else "stable"


def _t2_row(
    visit: VisitFoci, track: Track, identity: FocusIdentity, status: str, volume_mm3: float
) -> LedgerRow:
    """Return the row of a T2 lesion, without growth and diameter."""
    return start_row(visit.session_id, track, identity) | {
        "parent_lesion_id": track.parent_id,
        "reference_session_id": None if visit.new is None else visit.t2_reference_session_id,
        "t2_status": status,
        "gd_status": "not_evaluable" if visit.gel is None else "none",
        "active": status in ACTIVE_T2,
        "volume_mm3": volume_mm3,
    }
