"""Volumes of one series: acquisitions at the same places, told apart by what their slices say."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mesems_mri.intake.dicom.frames import Marks, Slice
from mesems_mri.intake.dicom.stack import distinct_places, fit_stack, orientations, slice_normal

_MIN_SLICES = 3
_MAX_VOLUMES = 4
"""More volumes are a time series (perfusion, diffusion), which stays one."""
_MIN_PART = 0.25
"""A volume of fewer slices than this part of the largest one is no acquisition of its own."""

_OF_ALL, _MANY_MISSING = 0.9, 0.5


class PlacedSlice(NamedTuple):
    """A slice, the number of its file and frame, and that of its instance."""

    source: tuple[int, int]
    slice: Slice
    number: float | None


class Volume(NamedTuple):
    """Slices of one acquisition, and what tells it from the others; empty when it is the only one."""

    slices: list[PlacedSlice]
    told: str = ""


class _Mark(NamedTuple):
    """A value by which acquisitions are told apart, and its name."""

    name: str
    of: Callable[[PlacedSlice], object]


_MARKS = (
    _Mark("contrast tags", lambda one: one.slice.marks.bolus),
    _Mark("acquisition number", lambda one: one.slice.marks.acquisition),
    _Mark("acquisition time", lambda one: one.slice.marks.began),
    _Mark("temporal position", lambda one: one.slice.marks.temporal),
    _Mark("trigger time", lambda one: one.slice.marks.trigger),
    _Mark("content time", lambda one: one.slice.marks.content),
)
_NUMBER = _Mark("instance number", lambda one: one.number)


def split_volumes(slices: Sequence[PlacedSlice], *, by_number: bool = False) -> list[Volume]:
    """Split the slices of a series into acquisitions.

    Parameters
    ----------
    slices : sequence of PlacedSlice
        Of one echo and one kind.
    by_number : bool
        Whether instance numbers alone may tell acquisitions apart: of slices that were put together without
        a UID in common.

    Returns
    -------
    list of Volume
        In the order of time. A single one where the slices make one volume, or where nothing tells the
        volumes apart.
    """
    whole = [Volume(list(slices))]
    keys = _places(slices)
    if keys is None:
        return whole
    count = int(np.bincount(keys).max())
    if count == 1 and (len(keys) < 2 * _MIN_SLICES or _is_one_volume(slices)):
        return whole
    if count > _MAX_VOLUMES:
        return whole
    for mark in (*_MARKS, _NUMBER) if by_number else _MARKS:
        values = [mark.of(one) for one in slices]
        if len(set(values)) < 2:
            continue
        for groups in _groupings(values, keys, count):
            if _are_volumes(groups, slices, keys, count):
                return _in_order([[slices[at] for at in group] for group in groups], mark)
    return whole


def _is_one_volume(slices: Sequence[PlacedSlice]) -> bool:
    stack = fit_stack([one.slice for one in slices])
    # two volumes a little apart can look like one with many gaps
    return stack is not None and stack.missing < _MANY_MISSING * len(slices)


def _places(slices: Sequence[PlacedSlice]) -> np.ndarray | None:
    """Give each slice the number of its place along the normal; None without a common normal."""
    bare = [one.slice for one in slices]
    if len(orientations(bare)) != 1 or any(len(s.position) != 3 or len(s.orientation) != 6 for s in bare):
        return None
    normal = slice_normal(bare[0].orientation)
    if normal is None:
        return None
    along = np.array([s.position for s in bare]) @ normal
    order = np.argsort(along, kind="stable")
    distinct = distinct_places(list(along[order]))
    return np.clip(np.searchsorted(distinct, along + 1e-9, side="right") - 1, 0, None)


def _groupings(values: Sequence[object], keys: np.ndarray, count: int) -> list[list[list[int]]]:
    """Return the ways to group slices by a value: by the value itself, or by its order where it runs on."""
    by_value: dict[object, list[int]] = defaultdict(list)
    for at, found in enumerate(values):
        by_value[found].append(at)
    ways = [list(by_value.values())] if len(by_value) <= _MAX_VOLUMES else []
    numbers = [found for found in values if isinstance(found, int | float)]
    if len(numbers) < len(values):
        return ways
    order = sorted(range(len(values)), key=lambda at: numbers[at])
    gaps = [numbers[b] - numbers[a] for a, b in pairwise(order)]
    widest = sorted(sorted(range(len(gaps)), key=lambda at: -gaps[at])[: max(count, 2) - 1])
    cuts = [0, *(at + 1 for at in widest), len(order)]
    ways.append([order[a:b] for a, b in pairwise(cuts)])
    repeated: list[list[int]] = [[]]
    seen: set[int] = set()
    for at in order:
        if keys[at] in seen:
            repeated.append([])
            seen = set()
        repeated[-1].append(at)
        seen.add(int(keys[at]))
    ways.append(repeated)
    return ways


def _are_volumes(
    groups: list[list[int]], slices: Sequence[PlacedSlice], keys: np.ndarray, count: int
) -> bool:
    """Return whether groups are acquisitions: each at places of its own, none a mere rest."""
    sizes = [len(group) for group in groups]
    if not 2 <= len(groups) <= _MAX_VOLUMES or min(sizes) < max(_MIN_SLICES, _MIN_PART * max(sizes)):
        return False
    if any(len(set(keys[group].tolist())) < len(group) for group in groups):
        return False
    if count > 1:
        # slabs that overlap are no acquisitions of the same: one of these is whole
        whole = max(len(set(keys[group].tolist())) for group in groups)
        return len(groups) == count and whole >= _OF_ALL * (keys.max() + 1)
    # without a place in common they are apart only if each of them is a whole volume of about the same extent
    extents = [int(np.ptp(keys[group])) for group in groups]
    stacks = [fit_stack([slices[at].slice for at in group]) for group in groups]
    return min(extents) >= _OF_ALL * int(np.ptp(keys)) and all(stack is not None for stack in stacks)


def _in_order(groups: list[list[PlacedSlice]], mark: _Mark) -> list[Volume]:
    """Name acquisitions by their order in time."""

    def first(group: list[PlacedSlice]) -> tuple[object, ...]:
        marks = [one.slice.marks for one in group]
        lowest = [
            _lowest(marks, field) for field in ("began", "content", "acquisition", "temporal", "trigger")
        ]
        numbers = [one.number for one in group if one.number is not None]
        places = sorted((one.slice.position, one.number or 0) for one in group)
        return (*lowest, min(numbers, default=0), places)

    groups = sorted(groups, key=first)
    return [
        Volume(group, f"acquisition {at} of {len(groups)} (by {mark.name})")
        for at, group in enumerate(groups, start=1)
    ]


def _lowest(marks: Sequence[Marks], field: str) -> float:
    found = [value for one in marks if (value := getattr(one, field)) is not None]
    return min(found, default=0.0)
