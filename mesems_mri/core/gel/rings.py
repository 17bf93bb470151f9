"""Rings and open rings: told by their form, and filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mesems_mri.core.typing import Mask, Spacing

_RADIUS_MM = (2.0, 14.0)
_SPREAD = 0.2
"""Spread of the distances from the middle, as a share of their mean: a ball has 0.26, a thin ring 0.1."""
_FREE, _SPECKS = 0.5, 0.02
"""Within so much of the radius at most such a share of the voxels lies."""
_OPEN = 0.65
"""Length of the mean of the directions from the middle: 0 of a closed ring, 0.5 of half a ball."""
_FEWEST = 20


def is_ring(inside: Mask, spacing_mm: Spacing) -> bool:
    """Return whether a mask lies round a middle that it leaves free, as a ring and an open ring do."""
    points = np.argwhere(inside) * np.asarray(spacing_mm, np.float64)
    if len(points) < _FEWEST:
        return False
    centre, mean = _fit_sphere(points)
    radii = np.linalg.norm(points - centre, axis=1)
    if not _RADIUS_MM[0] <= mean <= _RADIUS_MM[1] or radii.std() > _SPREAD * mean:
        return False
    if (radii < _FREE * mean).mean() > _SPECKS:
        return False
    directions = (points - centre) / np.maximum(radii, 1e-6)[:, None]
    # Not only an arc of it: the directions of half a circle and more nearly cancel each other.
    return bool(np.linalg.norm(directions.mean(axis=0)) < _OPEN)


def _fit_sphere(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return centre and radius of the sphere that fits points best, algebraically."""
    origin = points.mean(axis=0)
    local = points - origin
    solution, *_ = np.linalg.lstsq(np.c_[2 * local, np.ones(len(local))], (local**2).sum(axis=1), rcond=None)
    centre = solution[:3]
    return centre + origin, float(np.sqrt(max(solution[3] + centre @ centre, 0.0)))


def fill_ring(inside: Mask, spacing_mm: Spacing) -> Mask:
    """Return a ring with what it encloses: the ball it lies on, but for what lies beyond an opening."""
    centre, radius = _fit_sphere(np.argwhere(inside) * np.asarray(spacing_mm, np.float64))
    grid = np.indices(inside.shape).transpose(1, 2, 3, 0) * np.asarray(spacing_mm) - centre
    ball = (grid**2).sum(axis=-1) <= radius**2
    points = np.argwhere(inside) * np.asarray(spacing_mm, np.float64) - centre
    towards = points.mean(axis=0)
    height = grid @ (towards / max(float(np.linalg.norm(towards)), 1e-6))
    # A flat ring, of one thick slice, is filled in its plane.
    for axis in range(3):
        seen = inside.any(axis=tuple({0, 1, 2} - {axis}))
        ball &= seen.reshape([-1 if a == axis else 1 for a in range(3)])
    low = float(np.quantile(points @ (towards / max(float(np.linalg.norm(towards)), 1e-6)), 0.02))
    return inside | (ball & (height >= low))
