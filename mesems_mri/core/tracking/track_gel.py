"""Identity, status and ledger rows of the enhancing lesions (GEL) of a visit."""

from dataclasses import replace

import numpy as np

from mesems_mri.core.components import label_coordinates, renumber_by_first_voxel
from mesems_mri.core.tracking.foci import (
    ACTIVE_GEL,
    KnownFoci,
    LedgerRow,
    VisitFoci,
    ended_in,
    in_plane_diameter_mm,
    next_free_id,
    start_row,
    update_footprint,
    update_tracks,
    with_ids,
)
from mesems_mri.core.tracking.identity import assign_ids, find_overlaps
from mesems_mri.core.typing import Labels, Vector


def track_gel(
    visit: VisitFoci, known: KnownFoci, *, spacing_mm: Vector
) -> tuple[Labels, list[LedgerRow], KnownFoci]:
    """Assign numbers to the GEL of a visit; parameters as for `track_visit`.

    Returns
    -------
    dseg : ndarray of int32, shape (x, y, z)
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
