"""Outline of a focus that somebody points at: grown from a seed down to a share of its contrast."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.distance import bounding_box
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.typing import FloatArray, Mask, Spacing


def grow_focus(
    level: FloatArray,
    seed: tuple[int, int, int],
    *,
    allowed: Mask,
    normal: Mask,
    spacing_mm: Spacing,
    share: float = 0.4,
    least_contrast: float = 0.05,
    noise_factor: float = 5.0,
    reach_mm: float = 15.0,
) -> Mask:
    """Grow a focus from a seed.

    The outline lies where the level has fallen to a share of the contrast between the seed and the normal
    tissue around it, as a detector draws it. The seed may be one voxel beside the brightest one.

    Parameters
    ----------
    level : ndarray of float32, shape (x, y, z)
        Bright in a lesion: an image, or the increase after contrast agent.
    seed : tuple of int
        Voxel that was pointed at.
    allowed : ndarray of bool, shape (x, y, z)
        Voxels that may belong to a lesion.
    normal : ndarray of bool, shape (x, y, z)
        Normal-appearing white matter.
    spacing_mm : tuple of float
        Voxel size (mm).
    share : float
        Of the contrast, at which the outline lies, 0 to 1.
    least_contrast : float
        A seed that stands out less gives nothing, in the units of the level.
    noise_factor : float
        A seed that stands out by less sigmas of the noise of the normal tissue gives nothing.
    reach_mm : float
        Radius within which normal tissue is measured and the focus may lie.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Empty when nothing stands out at the seed.

    Raises
    ------
    ValueError
        If the seed lies outside of the array.
    """
    if not all(0 <= i < n for i, n in zip(seed, level.shape, strict=True)):
        msg = f"seed must lie inside the shape {level.shape}, got {seed}"
        raise ValueError(msg)
    grown = np.zeros(level.shape, bool)
    point = np.zeros(level.shape, bool)
    point[seed] = True
    around = bounding_box(point, margin=int(np.ceil(reach_mm / min(spacing_mm))))
    here = tuple(int(i) - side.start for i, side in zip(seed, around, strict=True))
    near = _within(point[around].shape, here, spacing_mm, reach_mm)
    inside = allowed[around] & near
    values = level[around]
    white = normal[around] & near
    if not white.any():
        return grown
    background, noise = robust_noise(values, white)
    beside = tuple(slice(max(i - 1, 0), i + 2) for i in here)
    close = np.where(inside[beside], values[beside], -np.inf)
    peak = float(close.max())
    if not peak - background >= max(least_contrast, noise_factor * noise):
        return grown
    labels, _ = label_components(inside & (values >= background + share * (peak - background)))
    top = np.unravel_index(int(np.argmax(close)), close.shape)
    number = labels[beside][top]
    # Holes belong to the lesion: a ring is outlined as a whole.
    grown[around] = ndimage.binary_fill_holes(labels == number)
    return grown & allowed


def _within(shape: tuple[int, ...], centre: tuple[int, ...], spacing_mm: Spacing, reach_mm: float) -> Mask:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    x, y, z = (((a - c) * s) ** 2 for a, c, s in zip(axes, centre, spacing_mm, strict=True))
    return np.asarray(x + y + z <= reach_mm**2)
