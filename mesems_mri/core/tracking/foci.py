"""Foci of a visit, and the memory of a participant's foci from visit to visit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mesems_mri.core.feret import largest_in_plane_diameter_mm
from mesems_mri.core.tracking.identity import FocusIdentity
from mesems_mri.core.typing import Coordinates, IntArray, Labels, Vector

ROW_FIELDS = (
    "session_id",
    "lesion_id",
    "focus",
    "parent_lesion_id",
    "merged_ids",
    "reference_session_id",
    "first_seen_session_id",
    "t2_status",
    "gd_status",
    "active",
    "volume_mm3",
    "growth_mm3",
    "max_diameter_mm",
    "decision",
)
"""Columns of the ledger that tracking fills; `complete_rows` adds the others."""
LedgerRow = dict[str, Any]

ACTIVE_T2 = ("new", "enlarging")
ACTIVE_GEL = ("new", "re_enhancing")


@dataclass(frozen=True)
class Track:
    """Memory of one focus.

    Parameters
    ----------
    lesion_id : int
    focus : str
        ``t2`` or ``gel``.
    first_seen_session_id : str
    parent_id : int or None
        Of a part of a T2 lesion the lesion it came from.
    volumes_mm3 : dict of str to float
        Volume at every visit where it was seen.
    resolved : bool
        A T2 lesion that was gone at the last evaluable visit.
    merged_into : int or None
        The focus it ended in.
    """

    lesion_id: int
    focus: str
    first_seen_session_id: str
    parent_id: int | None = None
    volumes_mm3: dict[str, float] = field(default_factory=dict)
    resolved: bool = False
    merged_into: int | None = None


@dataclass(frozen=True)
class KnownFoci:
    """Foci of a participant known before a visit.

    Parameters
    ----------
    t2, gel : ndarray of int32, shape (x, y, z)
        Most recent footprint of every focus so far; values are lesion_ids.
    tracks : dict of int to Track
    next_id : int
        First lesion_id not given yet; T2 and GEL share one sequence.
    gel_session_ids : tuple of str
        Visits evaluable for GEL so far, in order.
    gel_reference_session_ids : tuple of str
        The scheduled ones among them.
    """

    t2: Labels
    gel: Labels
    tracks: dict[int, Track] = field(default_factory=dict)
    next_id: int = 1
    gel_session_ids: tuple[str, ...] = ()
    gel_reference_session_ids: tuple[str, ...] = ()

    @classmethod
    def none(cls, shape: Sequence[int]) -> Self:
        """Return the state before the first visit."""
        return cls(np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32))

    def to_record(self) -> dict[str, Any]:
        """Return all but the arrays, ready for JSON."""
        return {
            "next_id": self.next_id,
            "gel_session_ids": list(self.gel_session_ids),
            "gel_reference_session_ids": list(self.gel_reference_session_ids),
            "tracks": [asdict(self.tracks[i]) for i in sorted(self.tracks)],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], t2: IntArray, gel: IntArray) -> Self:
        """Restore the state from `to_record` and the two footprint images."""
        return cls(
            t2.astype(np.int32),
            gel.astype(np.int32),
            {track["lesion_id"]: Track(**track) for track in record["tracks"]},
            record["next_id"],
            tuple(record["gel_session_ids"]),
            tuple(record["gel_reference_session_ids"]),
        )


@dataclass(frozen=True)
class AcquiredPlane:
    """Plane in which an image was acquired: its normal in array axes (mm) and the slice thickness in mm."""

    normal: Vector = (0.0, 0.0, 1.0)
    slice_thickness_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class VisitFoci:
    """The foci of one visit, all on one grid; None is not evaluable, an empty array is no focus.

    Parameters
    ----------
    session_id : str
    scheduled : bool
        An unscheduled visit is analysed but is no reference.
    t2_mask : ndarray of bool, shape (x, y, z), or None
        T2 lesions, foci only.
    new, enlarging : ndarray of int, shape (x, y, z), or None
        Numbered new T2 and growth foci; None where T2 change is not evaluable.
    gel : ndarray of int, shape (x, y, z), or None
        Numbered GEL foci.
    t2_reference_session_id : str or None
        Visit against which ``new`` and ``enlarging`` were found.
    t2_plane, gel_plane : AcquiredPlane
    """

    session_id: str
    scheduled: bool = True
    t2_mask: npt.ArrayLike | None = None
    new: npt.ArrayLike | None = None
    enlarging: npt.ArrayLike | None = None
    gel: npt.ArrayLike | None = None
    t2_reference_session_id: str | None = None
    t2_plane: AcquiredPlane = AcquiredPlane()
    gel_plane: AcquiredPlane = AcquiredPlane()


def update_tracks(
    tracks: Mapping[int, Track],
    identities: Mapping[int, FocusIdentity],
    volumes_mm3: Mapping[int, float],
    focus: str,
    session_id: str,
) -> dict[int, Track]:
    """Return the tracks with the foci of a visit added; both mappings are by label of the visit."""
    updated = dict(tracks)
    for label, identity in identities.items():
        i = identity.lesion_id
        track = updated.get(i) or Track(i, focus, session_id, identity.parent_id)
        volumes = track.volumes_mm3 | {session_id: volumes_mm3[label]}
        updated[i] = replace(track, volumes_mm3=volumes, resolved=False)
        for merged in identity.merged_ids:
            updated[merged] = replace(updated[merged], merged_into=i)
    return updated


def update_footprint(footprint: Labels, dseg: Labels, identities: Mapping[int, FocusIdentity]) -> Labels:
    """Replace the footprints of the foci of a visit; a merged focus keeps none of its own."""
    ids = {i for identity in identities.values() for i in (identity.lesion_id, *identity.merged_ids)}
    kept = np.where(np.isin(footprint, sorted(ids)), 0, footprint)
    return np.where(dseg > 0, dseg, kept).astype(np.int32)


def ended_in(lesion_id: int, tracks: Mapping[int, Track]) -> list[Track]:
    """Return the track of a focus and those of all foci that merged into it, directly or not."""
    found = [tracks[lesion_id]]
    for track in found:  # grows while it is read
        found += [other for other in tracks.values() if other.merged_into == track.lesion_id]
    return found


def volumes_since(
    lesion_id: int, tracks: Mapping[int, Track], reference: str, session_id: str
) -> tuple[float, float]:
    """Return the volume of a T2 lesion at its reference visit and now, in mm3.

    Lesions merged into it are part of the volume at the reference visit, parts split off since are part of
    the volume now: neither makes a lesion shrink.
    """
    at_reference = sum(track.volumes_mm3.get(reference, 0.0) for track in ended_in(lesion_id, tracks))
    now = sum(
        track.volumes_mm3.get(session_id, 0.0)
        for track in tracks.values()
        if track.lesion_id == lesion_id
        or (track.parent_id == lesion_id and track.focus == "t2" and reference not in track.volumes_mm3)
    )
    return at_reference, now


def start_row(session_id: str, track: Track, identity: FocusIdentity) -> LedgerRow:
    """Return a row with what is the same for T2 and GEL."""
    return dict.fromkeys(ROW_FIELDS) | {
        "session_id": session_id,
        "lesion_id": track.lesion_id,
        "focus": track.focus,
        "merged_ids": ";".join(map(str, identity.merged_ids)),
        "first_seen_session_id": track.first_seen_session_id,
        "decision": "automatic",
    }


def in_plane_diameter_mm(coordinates: Coordinates, spacing_mm: Vector, plane: AcquiredPlane) -> float:
    """Return the largest diameter of a focus in the acquired plane."""
    return largest_in_plane_diameter_mm(
        coordinates,
        spacing_mm=spacing_mm,
        plane_normal=plane.normal,
        slice_thickness_mm=plane.slice_thickness_mm,
    )


def with_ids(dseg: Labels, identities: Mapping[int, FocusIdentity]) -> Labels:
    """Replace the labels of a visit by lesion_ids."""
    lookup = np.zeros(len(identities) + 1, dtype=np.int32)
    for label, identity in identities.items():
        lookup[label] = identity.lesion_id
    return lookup[dseg]


def next_free_id(known: KnownFoci, identities: Mapping[int, FocusIdentity]) -> int:
    """Return the first lesion_id that is free after a visit."""
    return max([known.next_id, *(identity.lesion_id + 1 for identity in identities.values())])
