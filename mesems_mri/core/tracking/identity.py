"""Identity of foci: correspondence of the foci of a visit with those of earlier visits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.typing import IntArray, Labels, Mask

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)

Overlap = tuple[int, int]
"""Voxels shared, and voxels shared after the focus has grown by one voxel; compared in this order."""


@dataclass(frozen=True)
class T2Units:
    """T2 foci of a visit, each of which is a row of the ledger.

    Parameters
    ----------
    dseg : ndarray of int32, shape (x, y, z)
        Units 1..n in C order of first voxel.
    new : frozenset of int
        Units that are new T2 foci.
    growth_voxels : dict of int to int
        Size of the growth focus of the units that are enlarging.
    carved_from : dict of int to int
        For a further growth focus of a lesion the unit of that lesion.
    """

    dseg: Labels
    new: frozenset[int]
    growth_voxels: dict[int, int]
    carved_from: dict[int, int]


def divide_t2(
    mask: Mask,
    new: IntArray | None,
    enlarging: IntArray | None,
    known: Labels,
    *,
    min_remainder_voxels: float,
) -> T2Units:
    """Divide a T2-lesion mask into the foci that are counted one by one.

    A component is one unit, except that a new focus which the segmentation bridges to an old lesion, and
    every growth focus of a lesion but the largest, are carved off. A component with several new foci and no
    old lesion is shared out among them, each voxel to the nearest.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        T2 lesions; foci of ``new`` and ``enlarging`` are added.
    new, enlarging : ndarray of int, shape (x, y, z), or None
        Numbered new and growth foci; None where T2 change is not evaluable.
    known : ndarray of int32, shape (x, y, z)
        Last footprint of every T2 lesion so far.
    min_remainder_voxels : float
        Smallest rest of a component beside its new foci that is an old lesion.
    """
    none = np.zeros(mask.shape, dtype=np.int32)
    new = none if new is None else new
    enlarging = np.where(new > 0, 0, none if enlarging is None else enlarging)
    components, n = label_components(mask | (new > 0) | (enlarging > 0))
    provisional = components.copy()
    is_new: set[int] = set()
    growth: dict[int, int] = {}
    carved_from: dict[int, int] = {}
    unit = n
    for component, box in enumerate(ndimage.find_objects(components, n), start=1):
        inside = components[box] == component
        owner, growth_here = _new_and_growth(
            inside, new[box], enlarging[box], known[box], min_remainder_voxels
        )
        here = provisional[box]
        for focus in np.unique(owner[owner > 0]):
            unit += 1
            here[owner == focus] = unit
            is_new.add(unit)
        for focus, voxels in _by_size(growth_here).items():
            if component not in growth:
                growth[component] = voxels
                continue
            unit += 1
            here[growth_here == focus] = unit
            growth[unit] = voxels
            carved_from[unit] = component
    dseg, number = _renumber(provisional)
    sizes = {number[u]: size for u, size in growth.items()}
    lesions = {number[u]: number[lesion] for u, lesion in carved_from.items()}
    return T2Units(dseg, frozenset(number[u] for u in is_new), sizes, lesions)


def _new_and_growth(
    inside: Mask, new: IntArray, growth: IntArray, known: Labels, min_remainder_voxels: float
) -> tuple[IntArray, IntArray]:
    """Return the new foci of a component, which may take up what surrounds them, and its growth foci."""
    new, growth = np.where(inside, new, 0), np.where(inside, growth, 0)
    if not new.any():
        return new, growth
    rest = inside & (new == 0)
    old = growth.any() or (rest & (known > 0)).any()
    if old and rest.sum() >= min_remainder_voxels:
        return new, growth
    nearest = np.zeros((3, *inside.shape), dtype=np.int32)
    ndimage.distance_transform_edt(new == 0, return_distances=False, return_indices=True, indices=nearest)
    return np.where(inside, new[tuple(nearest)], 0), np.zeros_like(growth)


def _by_size(dseg: IntArray) -> dict[int, int]:
    """Return the voxels of every label, the largest first; of equals the first in C order."""
    numbers, first, counts = np.unique(dseg, return_index=True, return_counts=True)
    order = sorted(range(numbers.size), key=lambda at: (-counts[at], first[at]))
    return {int(numbers[at]): int(counts[at]) for at in order if numbers[at]}


def _renumber(dseg: Labels) -> tuple[Labels, dict[int, int]]:
    """Renumber labels 1..n in C order of first voxel; also return the new number of each."""
    values, first = np.unique(dseg, return_index=True)
    inside = values > 0
    order = values[inside][np.argsort(first[inside])]
    number = {int(value): rank for rank, value in enumerate(order, start=1)}
    lookup: Labels = np.zeros(int(dseg.max(initial=0)) + 1, dtype=np.int32)
    lookup[order] = np.arange(1, order.size + 1)
    return lookup[dseg], number


def find_overlaps(dseg: Labels, known: Labels) -> dict[int, dict[int, Overlap]]:
    """Find for every focus the known foci within one voxel of it (26 neighbours).

    Returns
    -------
    dict of int to dict of int to Overlap
        For every label of ``dseg``, by label: the known ids it touches.
    """
    overlaps: dict[int, dict[int, Overlap]] = {}
    for label, box in enumerate(ndimage.find_objects(dseg), start=1):
        around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        focus = dseg[around] == label
        grown = np.asarray(ndimage.binary_dilation(focus, structure=_NEIGHBOURS_26), dtype=bool)
        ids, counts = np.unique(known[around][grown], return_counts=True)
        shared = known[around][focus]
        overlaps[label] = {
            int(i): (int((shared == i).sum()), int(count)) for i, count in zip(ids, counts, strict=True) if i
        }
    return overlaps


@dataclass(frozen=True)
class FocusIdentity:
    """Identity of one focus.

    Parameters
    ----------
    lesion_id : int
    merged_ids : tuple of int
        Ids that end in this focus.
    parent_id : int or None
        For a part of a split focus the id of the part that keeps the number.
    touched_ids : tuple of int
        All known ids within one voxel.
    """

    lesion_id: int
    merged_ids: tuple[int, ...] = ()
    parent_id: int | None = None
    touched_ids: tuple[int, ...] = ()


def assign_ids(
    overlaps: Mapping[int, Mapping[int, Overlap]],
    *,
    next_id: int,
    dormant: Collection[int] = (),
    not_for: Mapping[int, Iterable[int]] | None = None,
) -> dict[int, FocusIdentity]:
    """Give every focus its id: that of the known focus it continues, or a new one.

    A known id goes to the focus that overlaps it most. A focus that receives several keeps the lowest (a
    merge). A focus that touches known ids but receives none is a part of a split: it gets a new id.

    Parameters
    ----------
    overlaps : mapping
        From `find_overlaps`, labels in C order of first voxel: new ids are given in this order.
    next_id : int
        First new id.
    dormant : collection of int
        Ids of resolved foci: they come back only where no other known focus is overlapped, so that a
        lesion never takes the number of a resolved neighbour.
    not_for : mapping of int to iterable of int, optional
        For a label the ids that it must not receive.

    Returns
    -------
    dict of int to FocusIdentity
    """
    refused = {label: set(ids) for label, ids in (not_for or {}).items()}
    candidates: dict[int, dict[int, Overlap]] = {}
    for label, touched in overlaps.items():
        awake = {i: overlap for i, overlap in touched.items() if i not in dormant}
        candidates[label] = awake if any(shared for shared, _ in awake.values()) else dict(touched)
    owner: dict[int, int] = {}
    for label, touched in candidates.items():
        for i, overlap in touched.items():
            if i in refused.get(label, ()):
                continue
            if i not in owner or overlap > candidates[owner[i]][i]:
                owner[i] = label
    received: dict[int, list[int]] = {label: [] for label in overlaps}
    for i, label in owner.items():
        received[label].append(i)
    lesion_ids: dict[int, int] = {}
    for label, ids in received.items():
        lesion_ids[label] = min(ids, default=next_id)
        next_id += not ids
    identities = {}
    for label, touched in candidates.items():
        ids, parent = received[label], None
        if not ids and touched:
            origin = max(touched, key=lambda i: (touched[i], -i))
            parent = lesion_ids[owner[origin]] if origin in owner else None
        merged = tuple(sorted(set(ids) - {lesion_ids[label]}))
        identities[label] = FocusIdentity(lesion_ids[label], merged, parent, tuple(sorted(touched)))
    return identities
