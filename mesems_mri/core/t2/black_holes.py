"""Black holes: the T1-hypointense part of T2 lesions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components, label_foci
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.typing import FloatArray, Mask, Normal, Spacing

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


def segment_black_holes(
    t1w: FloatArray,
    *,
    t2_mask: Mask,
    nawm: Mask,
    csf: Mask,
    gel_mask: Mask | None,
    spacing_mm: Spacing,
    plane_normal: Normal = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
    min_volume_mm3: float = 14.0,
    min_diameter_mm: float = 3.0,
) -> Mask:
    """Segment the T1-hypointense part of T2 lesions.

    A black hole lies inside a T2 lesion, is darker than the midpoint between NAWM and CSF on pre-contrast
    T1w, is a focus by size and does not enhance at this visit.

    Parameters
    ----------
    t1w : ndarray of float32, shape (x, y, z)
        Pre-contrast T1w, any intensity scale.
    t2_mask : ndarray of bool, shape (x, y, z)
        T2 lesions of the same visit.
    nawm, csf : ndarray of bool, shape (x, y, z)
        Places where the two levels are measured, as medians: a few wrong voxels do no harm.
    gel_mask : ndarray of bool, shape (x, y, z), or None
        Enhancing lesions of the visit; None when the visit has no post-contrast scan.
    spacing_mm : tuple of float
        Voxel size (mm).
    plane_normal, slice_thickness_mm, min_volume_mm3, min_diameter_mm
        As for `components.label_foci`.

    Returns
    -------
    ndarray of bool, shape (x, y, z)

    Raises
    ------
    ValueError
        When shapes differ, ``nawm`` or ``csf`` is empty, or CSF is not darker than NAWM.
    """
    white, _ = robust_noise(t1w, nawm)
    fluid, _ = robust_noise(t1w, csf)
    if fluid >= white:
        msg = f"t1w must be darker in csf than in nawm, got medians {fluid:.6g} and {white:.6g}"
        raise ValueError(msg)
    dark = t2_mask & (t1w < (white + fluid) / 2.0)
    if gel_mask is not None:
        dark = _without_enhancing(dark, gel_mask)
    foci = label_foci(
        dark,
        spacing_mm=spacing_mm,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
        min_volume_mm3=min_volume_mm3,
        min_diameter_mm=min_diameter_mm,
    )
    return foci > 0


def _without_enhancing(dark: Mask, gel_mask: Mask) -> Mask:
    """Drop the dark components that touch an enhancing lesion.

    The whole component goes, not only its enhancing voxels: the oedema around an enhancing nodule is dark
    for weeks and is no black hole.
    """
    components, n = label_components(dark)
    touched = np.unique(components[ndimage.binary_dilation(gel_mask, _ALL_NEIGHBOURS)])
    keep = np.ones(n + 1, bool)
    keep[touched] = False
    keep[0] = False
    return keep[components]
