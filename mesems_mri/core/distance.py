"""Distances and neighbourhoods of masks, in millimetres."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mesems_mri.core.typing import Box, FloatArray, Mask, Vector


def distance_inside(mask: Mask, spacing_mm: Vector) -> FloatArray:
    """Distance (mm) of every voxel of a mask to the nearest one outside; 0 outside."""
    # Voxels of 1 mm, as in subject space, are counted: the same distances in two thirds of the time.
    sampling = None if all(step == 1.0 for step in spacing_mm) else spacing_mm
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=sampling), np.float32)


def distance_from(mask: Mask, spacing_mm: Vector, reach_mm: float | None = None) -> FloatArray:
    """Distance (mm) of every voxel to a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        Any mask.
    spacing_mm : tuple of float
        Voxel size (mm).
    reach_mm : float, optional
        Voxels further away may be called infinitely far, which is much faster for a small mask.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        In mm; infinite when the mask is empty.
    """
    distance = np.full(mask.shape, np.inf, np.float32)
    if not mask.any():
        return distance
    box: Box = (slice(None),) * mask.ndim
    if reach_mm is not None:
        box = bounding_box(mask, margin=int(np.ceil(reach_mm / min(spacing_mm))))
    distance[box] = distance_inside(~mask[box], spacing_mm)
    return distance


def close_mask(mask: Mask, radius_mm: float, spacing_mm: Vector) -> Mask:
    """Close gaps in a mask: what lies between the two lateral ventricles is septum and fornix."""
    closed = mask.copy()
    if not mask.any():
        return closed
    reach_mm = radius_mm / 2.0
    # One voxel more than the reach, so that what is near does not touch the sides of the box.
    box = bounding_box(mask, margin=int(np.ceil(reach_mm / min(spacing_mm))) + 1)
    near = distance_from(mask[box], spacing_mm) <= reach_mm
    closed[box] |= distance_inside(near, spacing_mm) > reach_mm
    return closed


def bounding_box(mask: Mask, margin: int) -> Box:
    """Box around a mask that holds at least one voxel, wider by ``margin`` voxels where the array allows."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, mask.shape, strict=True)
    )
