"""Cerebrospinal fluid and lateral ventricles on T2-type scans."""

from __future__ import annotations

import numpy as np

from mesems_mri.core.components import label_components
from mesems_mri.core.distance import distance_from
from mesems_mri.core.typing import FloatArray, Mask, Priors, Spacing, T2Contrast

CSF_BELOW = 0.65
"""Darker than this fraction of NAWM is cerebrospinal fluid on FLAIR and T1w."""


def find_fluid(
    smooth: FloatArray,
    contrast: T2Contrast,
    brain: Mask,
    priors: Priors,
    t1w: FloatArray | None,
) -> Mask:
    """Find cerebrospinal fluid: dark on FLAIR; bright on T2w and PDw, dark on T1w.

    Parameters
    ----------
    smooth : ndarray of float32, shape (x, y, z)
        Scan, NAWM at 1.
    contrast : str
        Its contrast.
    brain : ndarray of bool, shape (x, y, z)
        Brain mask.
    priors : mapping of str to ndarray of float, shape (x, y, z)
        ``csf`` and ``lateral_ventricles`` are used.
    t1w : ndarray of float32, shape (x, y, z), or None
        T1w of the visit, NAWM at 1, when there is one.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Fluid.
    """
    if contrast == "FLAIR":
        return brain & (smooth < CSF_BELOW)
    expected = np.maximum(priors["csf"], priors["lateral_ventricles"])
    if t1w is not None:
        # Black holes are dark too, hence the lower limit away from where fluid is expected.
        return brain & (t1w < np.where(expected > 0.1, CSF_BELOW, 0.5 * CSF_BELOW))
    certain = brain & (expected > 0.8)
    level = float(np.median(smooth[certain])) if certain.any() else 3.0
    return brain & (smooth > (1.0 + level) / 2.0) & (expected > 0.05)


def find_ventricles(fluid: Mask, priors: Priors, spacing_mm: Spacing) -> Mask:
    """Find the lateral ventricles: fluid connected to where the prior expects them, and near it.

    Parameters
    ----------
    fluid : ndarray of bool, shape (x, y, z)
        Cerebrospinal fluid.
    priors : mapping of str to ndarray of float, shape (x, y, z)
        ``lateral_ventricles`` is used.
    spacing_mm : tuple of float
        Voxel size (mm).

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Lateral ventricles.
    """
    expected = priors["lateral_ventricles"]
    near = distance_from(expected > 0.3, spacing_mm, reach_mm=4.0) <= 4.0
    candidates, n = label_components(fluid & near)
    hit = np.zeros(n + 1, bool)
    hit[np.unique(candidates[expected > 0.5])] = True
    hit[0] = False
    return hit[candidates]
