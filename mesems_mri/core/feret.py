"""Diameter of a component in the plane in which it was acquired."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from mesems_mri.core.typing import Float64Array, Vector

_PAIRWISE_LIMIT = 256
"""Number of voxels up to which every pair is measured; above only the corners of convex hulls."""


def check_spacing(spacing_mm: Vector) -> Float64Array:
    """Return the spacing as an array; raise ValueError unless it is 3 positive numbers."""
    spacing = np.asarray(spacing_mm, dtype=float)
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or not (spacing > 0).all():
        msg = f"spacing_mm must be 3 positive numbers, got {spacing_mm}"
        raise ValueError(msg)
    return spacing


def _check_normal(plane_normal: Vector) -> Float64Array:
    """Return the normal as an array; raise ValueError unless it is 3 finite numbers, not all zero."""
    normal = np.asarray(plane_normal, dtype=float)
    if normal.shape != (3,) or not np.isfinite(normal).all() or not np.linalg.norm(normal) > 0:
        msg = f"plane_normal must be 3 finite numbers, not all zero, got {plane_normal}"
        raise ValueError(msg)
    return normal


def largest_in_plane_diameter_mm(
    coordinates: npt.ArrayLike,
    *,
    spacing_mm: Vector,
    plane_normal: Vector = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
) -> float:
    """Measure the largest diameter of a component in the acquired plane (Feret's diameter).

    The largest distance between two voxels that fit in one slice, projected on the plane, plus the extent
    of a voxel: three voxels of 1 mm in a row measure 3 mm. The slice slides, so that the result does not
    depend on where the component lies or how the array is flipped.

    Parameters
    ----------
    coordinates : array_like of int, shape (n, 3)
        Voxel coordinates of the component.
    spacing_mm : sequence of 3 float
        Voxel size along the array axes.
    plane_normal : sequence of 3 float
        Normal of the acquired plane, in array axes (mm).
    slice_thickness_mm : float, optional
        Thickness of the acquired slices; default: the voxel size along the normal.

    Returns
    -------
    float
        In mm; 0 for no voxel.

    Raises
    ------
    ValueError
        If the coordinates are not (n, 3) or the geometry is not usable.
    """
    spacing = check_spacing(spacing_mm)
    normal = _check_normal(plane_normal)
    voxels = np.asarray(coordinates, dtype=float)
    if voxels.ndim != 2 or voxels.shape[1] != 3:
        msg = f"coordinates must have shape (n, 3), got {voxels.shape}"
        raise ValueError(msg)
    if len(voxels) == 0:
        return 0.0
    normal = normal / np.linalg.norm(normal)
    thickness_mm = float(spacing @ normal**2) if slice_thickness_mm is None else float(slice_thickness_mm)
    if not thickness_mm > 0:
        msg = f"slice_thickness_mm must be positive, got {slice_thickness_mm}"
        raise ValueError(msg)

    basis = np.linalg.svd(normal[None, :])[2][1:]
    points_mm = (voxels - voxels[0]) * spacing
    in_plane_mm = points_mm @ basis.T
    depth_mm = points_mm @ normal
    extent = (basis * spacing) @ basis.T  # u @ extent @ u: size of a voxel along the unit vector u
    # voxels of the next slice are not in the slab, whatever the rounding
    reach_mm = thickness_mm * (1.0 - 1e-3)

    diameter_mm = float(np.linalg.eigvalsh(extent).max())  # of one voxel
    windows = _slab_windows(in_plane_mm, depth_mm, reach_mm)
    lengths_mm = (_longest_mm(points, depths, reach_mm, extent) for points, depths in windows)
    return max([diameter_mm, *lengths_mm])


def _longest_mm(points: Float64Array, depths: Float64Array, reach_mm: float, extent: Float64Array) -> float:
    """Return the largest distance of two points of one slab, plus the size of a voxel along it."""
    difference = points[:, None, :] - points[None, :, :]
    square = (difference**2).sum(axis=-1)
    square[np.abs(depths[:, None] - depths[None, :]) >= reach_mm] = 0.0
    weight = np.einsum("ijk,kl,ijl->ij", difference, extent, difference)
    lengths_mm = np.sqrt(square) + np.divide(weight, square, out=np.zeros_like(weight), where=square > 0)
    return float(lengths_mm.max())


def _slab_windows(
    in_plane_mm: Float64Array, depth_mm: Float64Array, reach_mm: float
) -> list[tuple[Float64Array, Float64Array]]:
    """Return points and depths of each position of the slab: of the convex hulls of the levels in it.

    Few points are returned as they are, in one window. Depths are rounded to an eighth of the slab,
    symmetrically about the middle of the component so that a flipped component gives the same levels.
    """
    if len(in_plane_mm) <= _PAIRWISE_LIMIT:
        return [(in_plane_mm, depth_mm)]
    step_mm = reach_mm / 8
    middle_mm = (depth_mm.min() + depth_mm.max()) / 2
    levels = np.rint((depth_mm - middle_mm) / step_mm).astype(int)
    order = np.argsort(levels, kind="stable")
    values, starts = np.unique(levels[order], return_index=True)
    edges = [*starts, levels.size]
    hulls = [_hull_points(in_plane_mm[order[a:b]]) for a, b in pairwise(edges)]
    windows = []
    for i, value in enumerate(values):
        inside = range(i, int(np.searchsorted(values, value + 8)))
        points = _hull_points(np.concatenate([hulls[j] for j in inside]))
        windows.append((points, np.zeros(len(points))))
    return windows


def _hull_points(points: Float64Array) -> Float64Array:
    """Return the corners of the convex hull of points in the plane."""
    if len(points) <= 8:
        return points
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # all on one line: its two ends
        order = np.lexsort(points.T)
        return points[order[[0, -1]]]
