"""Distances and neighbourhoods of masks, in millimetres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from mesems_mri.core.intensity import BoolArray, FloatArray

Spacing = tuple[float, float, float]


def distance_from(mask: BoolArray, spacing_mm: Spacing) -> FloatArray:
    """Distance (mm) of every voxel to a mask; infinite when the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm), np.float32)


def close_mask(mask: BoolArray, radius_mm: float, spacing_mm: Spacing) -> BoolArray:
    """Close gaps in a mask: what lies between the two lateral ventricles is septum and fornix."""
    if not mask.any():
        return mask.copy()
    near = distance_from(mask, spacing_mm) <= radius_mm / 2.0
    return np.asarray(ndimage.distance_transform_edt(near, sampling=spacing_mm) > radius_mm / 2.0) | mask


def bounding_box(mask: BoolArray, margin: int) -> tuple[slice, ...]:
    """Box around a mask that holds at least one voxel, wider by ``margin`` voxels where the array allows."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, mask.shape, strict=True)
    )
