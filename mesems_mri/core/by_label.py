"""Values of an image by label: one pass over the voxels inside, where `scipy.ndimage` sorts all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mesems_mri.core.typing import Float64Array, Labels


def mean_by_label(values: npt.NDArray[np.generic], dseg: Labels) -> Float64Array:
    """Return the mean of an image over each label.

    Parameters
    ----------
    values : ndarray of float or bool, shape (x, y, z)
    dseg : ndarray of int32, shape (x, y, z)
        Numbered 1..n; 0 is background.

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        0 at index 0 and for labels without voxels.
    """
    n = int(dseg.max(initial=0)) + 1
    inside = dseg > 0
    total = np.bincount(dseg[inside], weights=values[inside], minlength=n)
    return total / np.maximum(np.bincount(dseg[inside], minlength=n), 1)


def highest_by_label(values: npt.NDArray[np.generic], dseg: Labels) -> Float64Array:
    """Return the highest value of an image in each label.

    Parameters
    ----------
    values : ndarray of float or bool, shape (x, y, z)
    dseg : ndarray of int32, shape (x, y, z)
        Numbered 1..n; 0 is background.

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        0 at index 0 and for labels without voxels.
    """
    highest = np.full(int(dseg.max(initial=0)) + 1, -np.inf)
    inside = dseg > 0
    np.maximum.at(highest, dseg[inside], values[inside].astype(np.float64))
    highest[np.isneginf(highest)] = 0.0
    return highest
