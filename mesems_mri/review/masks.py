"""Masks of findings as runs of voxels, on the grid of subject space or on the part that a page shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.distance import bounding_box
from mesems_mri.core.typing import Box, Coordinates, Mask

Runs = tuple[tuple[int, int], ...]
"""Start and length of each run over the flat index in C order, ascending and apart."""
Shape = tuple[int, int, int]
_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


def runs_of(indices: np.ndarray) -> Runs:
    """Return the runs of ascending flat indices."""
    if indices.size == 0:
        return ()
    breaks = np.flatnonzero(np.diff(indices) != 1) + 1
    starts = np.concatenate([[0], breaks])
    lengths = np.diff(np.concatenate([starts, [indices.size]]))
    return tuple(zip(indices[starts].tolist(), lengths.tolist(), strict=True))


def indices_of(runs: Runs) -> np.ndarray:
    """Return the flat indices of runs, ascending."""
    if not runs:
        return np.zeros(0, np.int64)
    return np.concatenate([np.arange(start, start + length, dtype=np.int64) for start, length in runs])


def checked_runs(given: Iterable[Sequence[int]], shape: Shape) -> Runs:
    """Return runs that somebody sent, in order and joined.

    Raises
    ------
    ValueError
        If a run is empty, outside of the grid, or overlaps another one, or if there is none.
    """
    voxels = int(np.prod(shape))
    ordered = sorted((int(start), int(length)) for start, length in given)
    end = 0
    for start, length in ordered:
        if start < end or length < 1 or start + length > voxels:
            msg = f"runs must be apart, not empty and inside the {voxels} voxels, got [{start}, {length}]"
            raise ValueError(msg)
        end = start + length
    if not ordered:
        msg = "runs must hold at least one voxel, got none"
        raise ValueError(msg)
    return runs_of(indices_of(tuple(ordered)))


def volume_of(runs: Runs) -> int:
    """Count the voxels of runs."""
    return sum(length for _, length in runs)


def coordinates_of(runs: Runs, shape: Shape) -> Coordinates:
    """Return the voxel coordinates (n, 3) of runs."""
    return np.stack(np.unravel_index(indices_of(runs), shape), axis=1)


def mask_of(runs: Runs, shape: Shape) -> Mask:
    """Draw runs as a mask."""
    mask = np.zeros(int(np.prod(shape)), bool)
    for start, length in runs:
        mask[start : start + length] = True
    return mask.reshape(shape)


def runs_of_mask(mask: Mask) -> Runs:
    """Return the runs of a mask."""
    return runs_of(np.asarray(np.flatnonzero(mask)))


@dataclass(frozen=True)
class Crop:
    """Part of a grid that a page shows.

    Parameters
    ----------
    shape : tuple of int
        Of the whole grid.
    start, stop : tuple of int
        Corners of the part.
    """

    shape: Shape
    start: Shape
    stop: Shape

    @property
    def inner(self) -> Shape:
        """Matrix size of the part."""
        x, y, z = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def box(self) -> Box:
        """The part as slices."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def to_whole(self, runs: Runs) -> Runs:
        """Return runs over the part as runs over the whole grid."""
        inside = np.unravel_index(indices_of(runs), self.inner)
        shifted = tuple(axis + a for axis, a in zip(inside, self.start, strict=True))
        return runs_of(np.asarray(np.ravel_multi_index(shifted, self.shape)))

    def to_part(self, runs: Runs) -> Runs:
        """Return runs over the whole grid as runs over the part; what lies outside is left out."""
        places = coordinates_of(runs, self.shape) - np.asarray(self.start)
        places = places[((places >= 0) & (places < self.inner)).all(axis=1)]
        return runs_of(np.asarray(np.ravel_multi_index(tuple(places.T), self.inner)))


def split_runs(runs: Runs, shape: Shape) -> list[Runs]:
    """Split a finding in two or more: by its parts after one erosion, else across its longest axis.

    Returns
    -------
    list of Runs
        The largest first; each voxel belongs to one of them. A finding of one voxel stays whole.
    """
    whole = mask_of(runs, shape)
    if not whole.any():
        return []
    box = bounding_box(whole, margin=1)
    inside = whole[box]
    cores, n = label_components(ndimage.binary_erosion(inside, ndimage.generate_binary_structure(3, 1)))
    if n < 2:
        cores = _halves(inside)
    numbers = _nearest(cores, inside)
    parts = []
    for number in range(1, int(numbers.max()) + 1):
        part = np.zeros(shape, bool)
        part[box] = numbers == number
        parts.append(runs_of_mask(part))
    return sorted((part for part in parts if part), key=lambda part: (-volume_of(part), part))


def _halves(inside: Mask) -> np.ndarray:
    """Divide a finding by the plane through its centre across its longest axis, numbered 1 and 2."""
    places = np.argwhere(inside)
    centred = places - places.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    longest = axes[:, -1]
    # The sign of an eigenvector is arbitrary: the same finding is always split into the same numbers.
    longest = longest * np.sign(longest[np.argmax(np.abs(longest))])
    numbers = np.zeros(inside.shape, np.int32)
    numbers[tuple(places.T)] = np.where(centred @ longest > 1e-9, 2, 1)
    return numbers


def _nearest(cores: np.ndarray, inside: Mask) -> np.ndarray:
    """Assign every voxel of a finding to the nearest core."""
    nearest = ndimage.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    return np.where(inside, cores[tuple(np.asarray(nearest))], 0)
