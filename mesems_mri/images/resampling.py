"""Resampling of images and of numbered foci, each with one composed transform."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.typing import Affine, FloatArray, IntArray, Labels, Mask, RealArray
from mesems_mri.images.volume import Grid, Volume, corners_of, spacing_of

# Foci smaller than this many output voxels get the finer supersampling: it costs nothing there.
_SMALL_BOX_VOXELS = 200_000
_CHUNK_SAMPLES = 4_000_000


def _voxel_to_voxel(affine: Affine, grid: Grid, xfm: Affine) -> Affine:
    return np.linalg.inv(affine) @ xfm @ grid.affine


def _inside_field_of_view(matrix: Affine, grid: Grid, shape: tuple[int, ...]) -> Mask:
    i, j, k = (np.arange(n, dtype=np.float32) for n in grid.shape)
    inside = np.ones(grid.shape, dtype=bool)
    for row, size in zip(matrix[:3].astype(np.float32), shape, strict=True):
        coordinate = (row[0] * i + row[3])[:, None, None] + (row[1] * j)[:, None] + row[2] * k
        # Half a voxel beyond the outer voxel centres is still inside the outer voxels.
        inside &= (coordinate >= -0.501) & (coordinate <= size - 0.499)
    return inside


def field_of_view(volume: Volume, grid: Grid, xfm: Affine) -> Mask:
    """Return the field of view of an image on a grid.

    Parameters
    ----------
    volume : Volume
        Image.
    grid : Grid
        Output grid.
    xfm : ndarray of float64, shape (4, 4)
        RAS mm of the output grid -> RAS mm of the volume.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Shape of the grid; outer voxels reach to their outer faces.
    """
    return _inside_field_of_view(_voxel_to_voxel(volume.affine, grid, xfm), grid, volume.shape)


def resample_image(volume: Volume, grid: Grid, xfm: Affine, *, order: Literal[1, 3] = 1) -> FloatArray:
    """Resample an image once, through one composed transform.

    Parameters
    ----------
    volume : Volume
        Image to resample, any orientation.
    grid : Grid
        Output grid.
    xfm : ndarray of float64, shape (4, 4)
        RAS mm of the output grid -> RAS mm of the volume.
    order : 1 or 3
        Linear, or cubic spline; the spline is limited to the range of the image and leaves the zero
        background of a skull-stripped image at zero, so that its ringing never leaves the head.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Shape of the grid; 0 outside the field of view. Outer voxels reach to their outer faces: with
        4 mm slices a cut at the voxel centres would lose 2 mm of brain at both ends of the stack.
    """
    matrix = _voxel_to_voxel(volume.affine, grid, xfm)

    def interpolate(spline_order: int) -> FloatArray:
        output = np.empty(grid.shape, dtype=np.float32)
        ndimage.affine_transform(
            volume.array, matrix, output_shape=grid.shape, output=output, order=spline_order, mode="nearest"
        )
        return output

    resampled = interpolate(order)
    if order == 3:
        np.clip(resampled, volume.array.min(), volume.array.max(), out=resampled)
        if (volume.array == 0).any():
            resampled[interpolate(1) == 0] = 0
    resampled[~_inside_field_of_view(matrix, grid, volume.shape)] = 0
    return resampled


def _occupancy(
    inside: Mask,
    matrix: Affine,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    per_axis: list[int],
) -> FloatArray:
    """Return the fraction of each output voxel of the box [low, high) that lies inside the mask."""
    positions = [
        np.repeat(np.arange(a, b), k) + (np.tile(np.arange(k), b - a) + 0.5) / k - 0.5
        for a, b, k in zip(low, high, per_axis, strict=True)
    ]
    nx, ny, nz = (int(n) for n in high - low)
    occupancy = np.empty((nx, ny, nz), dtype=np.float32)
    kx, ky, kz = per_axis
    rows_per_chunk = max(1, _CHUNK_SAMPLES // (kx * len(positions[1]) * len(positions[2])))
    for first in range(0, nx, rows_per_chunk):
        x = positions[0][first * kx : (first + rows_per_chunk) * kx]
        valid = np.ones((len(x), len(positions[1]), len(positions[2])), dtype=bool)
        flat = np.zeros(valid.shape, dtype=np.int64)
        for row, size in zip(matrix[:3], inside.shape, strict=True):
            coordinate = (row[0] * x + row[3] + 0.5)[:, None, None] + (row[1] * positions[1])[:, None]
            index = np.floor(coordinate + row[2] * positions[2]).astype(np.int64)
            valid &= (index >= 0) & (index < size)
            flat = flat * size + np.clip(index, 0, size - 1)
        hit = inside.ravel()[flat] & valid
        blocks = hit.reshape(len(x) // kx, kx, ny, ky, nz, kz)
        occupancy[first : first + rows_per_chunk] = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return occupancy


def resample_labels(dseg: IntArray, affine: Affine, grid: Grid, xfm: Affine) -> Labels:
    """Resample numbered foci so that each keeps its volume and none vanishes.

    The fraction of every output voxel that a focus occupies is measured by supersampling; the focus gets
    the voxels of highest occupancy, as many as make up its volume, at least one. Nearest neighbour would
    lose a 3 mm focus that falls between two 4 mm slices.

    Parameters
    ----------
    dseg : ndarray of int or bool, shape (x, y, z)
        Numbered foci, 0 = background; a mask is one focus numbered 1.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm of `dseg`.
    grid : Grid
        Output grid.
    xfm : ndarray of float64, shape (4, 4)
        RAS mm of the output grid -> RAS mm of `dseg`.

    Returns
    -------
    ndarray of int32, shape (x, y, z)
        Same numbers on the output grid. A voxel claimed by two foci goes to the one that fills more of
        it. A focus wholly outside the output field of view is not in it.
    """
    matrix = _voxel_to_voxel(affine, grid, xfm)
    to_output = np.linalg.inv(matrix)
    numbered = np.ascontiguousarray(dseg).astype(np.int32, copy=False)
    ratio = np.array(grid.spacing_mm) / min(spacing_of(affine))
    resampled = np.zeros(grid.shape, dtype=np.int32)
    best = np.zeros(grid.shape, dtype=np.float32)
    claims: dict[int, NDArray[np.int64]] = {}
    for label, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is None:
            continue
        start = np.array([side.start for side in box])
        inside = numbered[box] == label
        low, high = _output_box(inside.shape, start, to_output, grid)
        if (high <= low).any():
            continue
        fineness = 2.0 if np.prod(high - low) <= _SMALL_BOX_VOXELS else 1.0
        per_axis = [max(1, int(np.ceil(fineness * r - 1e-6))) for r in ratio]
        local = matrix.copy()
        local[:3, 3] -= start
        occupancy = _occupancy(inside, local, low, high, per_axis)
        candidates = np.flatnonzero(occupancy)
        if not len(candidates):
            continue
        quota = max(1, round(float(occupancy.sum(dtype=np.float64))))
        fraction = occupancy.ravel()[candidates]
        # A stable sort keeps C order among equals, so that the choice is the same everywhere.
        order = np.argsort(-fraction, kind="stable")
        chosen = candidates[order]
        x, y, z = (axis + a for axis, a in zip(np.unravel_index(chosen, occupancy.shape), low, strict=True))
        place = (x * grid.shape[1] + y) * grid.shape[2] + z
        claims[label] = place
        top, top_fraction = place[:quota], fraction[order][:quota]
        wins = top_fraction > best.ravel()[top]
        resampled.ravel()[top[wins]] = label
        best.ravel()[top[wins]] = top_fraction[wins]
    return _keep_every_focus(resampled, claims)


def _output_box(
    shape: tuple[int, ...], start: NDArray[np.int64], to_output: RealArray, grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the box [low, high) of output voxels that a box of the input may reach."""
    corners = corners_of(shape)
    corners[:3] += start[:, None]
    mapped = (to_output @ corners)[:3]
    low = np.clip(np.floor(mapped.min(axis=1)).astype(np.int64), 0, grid.shape)
    high = np.clip(np.ceil(mapped.max(axis=1)).astype(np.int64) + 1, 0, grid.shape)
    return low, high


def _keep_every_focus(resampled: Labels, claims: dict[int, NDArray[np.int64]]) -> Labels:
    """Give a focus that lost all its voxels to neighbours its best voxel that no other focus needs."""
    flat = resampled.ravel()
    sizes = np.bincount(flat, minlength=max(claims, default=0) + 1)
    for label, places in claims.items():
        if sizes[label]:
            continue
        owners = flat[places]
        spare = np.flatnonzero((owners == 0) | (sizes[owners] > 1))
        if len(spare):
            place = places[spare[0]]
            sizes[flat[place]] -= 1
            sizes[label] = 1
            flat[place] = label
    return resampled
