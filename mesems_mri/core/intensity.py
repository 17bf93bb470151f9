"""Intensity of MR images: noise and normal-appearing white matter.

MR intensities have no unit, so everything here is relative to the normal-appearing white matter (NAWM) of
the same scan, or to a second scan of the same head on the same grid.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.typing import Contrast, FloatArray, Mask, RealArray

MAD_TO_SIGMA = 1.4826
#: Fewer voxels than this give no meaningful median and deviation.
MIN_VOXELS = 30


def robust_noise(image: RealArray, mask: Mask) -> tuple[float, float]:
    """Median and robust standard deviation (1.4826 x MAD) inside a mask.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        Image of any shape.
    mask : ndarray of bool, shape (x, y, z)
        Voxels to use, same shape.

    Returns
    -------
    tuple of float
        Median and sigma, in the image's unit.

    Raises
    ------
    ValueError
        When the shapes differ, the mask is empty or the image is not finite inside it.
    """
    values = values_in(image, mask)
    centre = float(np.median(values))
    return centre, MAD_TO_SIGMA * float(np.median(np.abs(values - centre)))


def estimate_noise(image: RealArray, mask: Mask) -> float:
    """Measure the standard deviation of the noise, free of anatomy.

    Mixed second differences along two axes vanish on any plane edge along an axis and on slow variation
    (Immerkaer, Comput Vis Image Underst 1996;64:300). They are taken over one and over two voxels and the
    larger estimate is kept, because interpolation to another grid removes the noise between neighbours.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        3D image.
    mask : ndarray of bool, shape (x, y, z)
        Voxels to use, best homogeneous tissue such as NAWM.

    Returns
    -------
    float
        Sigma of the noise, in the image's unit.

    Raises
    ------
    ValueError
        When the shapes differ, the mask is empty or the image is not finite inside it.
    """
    values_in(image, mask)
    volume = np.asarray(np.nan_to_num(image), np.float32)
    estimates = []
    for lag in (1, 2):
        kernel = np.zeros(2 * lag + 1, np.float32)
        kernel[[0, lag, -1]] = 1.0, -2.0, 1.0
        per_pair = []
        for axes in ((0, 1), (0, 2), (1, 2)):
            response = volume
            for axis in axes:
                response = ndimage.correlate1d(response, kernel, axis=axis, mode="reflect")
            per_pair.append(float(np.median(np.abs(response[mask]))) * MAD_TO_SIGMA / 6.0)
        # Through-plane interpolation correlates two of the three pairs; the in-plane pair shows the noise.
        estimates.append(max(per_pair) if lag == 1 else float(np.median(per_pair)))
    return max(estimates)


def find_nawm(
    image: RealArray,
    *,
    brain_mask: Mask,
    white_matter: RealArray,
    contrast: Contrast,
) -> Mask:
    """Find normal-appearing white matter (NAWM): white matter by prior, without lesions and partial volume.

    The level of white matter is the mode of the intensities where the prior is high; its spread is measured
    on the side of the mode where neither lesions nor grey matter lie (above it on T1w, below it on the
    T2-type contrasts). Voxels within 2 sigma of the mode are kept, without those next to a rejected cluster.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        3D image, any intensity scale.
    brain_mask : ndarray of bool, shape (x, y, z)
        Brain, same grid.
    white_matter : ndarray of float, shape (x, y, z)
        Probability of white matter, 0 to 1, same grid. It may be misplaced by some millimetres.
    contrast : str
        Contrast of the image: decides on which side of white matter its lesions lie.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        NAWM mask.

    Raises
    ------
    ValueError
        When the shapes differ, an input is not finite or no white matter is found.
    """
    same_shape(image, brain_mask, "brain_mask")
    same_shape(image, white_matter, "white_matter")
    if contrast not in get_args(Contrast):
        msg = f"contrast must be one of {', '.join(get_args(Contrast))}, got {contrast!r}"
        raise ValueError(msg)
    candidates, core = _white_matter_voxels(brain_mask, white_matter)
    smooth = ndimage.gaussian_filter(np.asarray(np.nan_to_num(image), np.float32), 0.7)
    values = values_in(smooth, core)
    mode = _mode(values)
    clean = values[values >= mode] if contrast.endswith("T1w") else values[values <= mode]
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(clean - mode)))
    if sigma <= 0:
        return candidates & (smooth == mode) if np.ptp(values) == 0 else candidates
    accepted = candidates & (np.abs(smooth - mode) <= 2.0 * sigma)
    # A clear outlier has a rim of partial volume inside the accepted range.
    outliers = ndimage.binary_opening(candidates & (np.abs(smooth - mode) > 4.0 * sigma))
    accepted &= np.logical_not(ndimage.binary_dilation(outliers))
    if accepted.sum() < MIN_VOXELS:
        msg = f"image must hold at least {MIN_VOXELS} voxels of white matter, got {int(accepted.sum())}"
        raise ValueError(msg)
    return accepted


def _white_matter_voxels(brain_mask: Mask, white_matter: RealArray) -> tuple[Mask, Mask]:
    """Return where white matter is likely, and where it is nearly certain if that is enough to measure."""
    candidates = brain_mask & (np.nan_to_num(white_matter) > 0.5)
    core = brain_mask & (np.nan_to_num(white_matter) > 0.8)
    if core.sum() < 0.2 * candidates.sum():
        core = candidates
    if core.sum() < MIN_VOXELS:
        msg = f"white_matter must exceed 0.5 in at least {MIN_VOXELS} brain voxels, got {int(core.sum())}"
        raise ValueError(msg)
    return candidates, core


def scale_to_nawm(image: RealArray, nawm: Mask) -> tuple[FloatArray, float]:
    """Scale an image so that the median of NAWM is 1.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        Image of any scale.
    nawm : ndarray of bool, shape (x, y, z)
        NAWM mask, same shape.

    Returns
    -------
    tuple
        Scaled image (float32) and the median it was divided by.

    Raises
    ------
    ValueError
        When the mask is empty or the median is not above 0.
    """
    median, _ = robust_noise(image, nawm)
    if median <= 0:
        msg = f"image must have a median above 0 inside nawm, got {median:.6g}"
        raise ValueError(msg)
    return np.asarray(image / median, np.float32), median


def _mode(values: RealArray) -> float:
    low, high = np.percentile(values, [1.0, 99.0])
    if not high > low:
        return float(np.median(values))
    counts, edges = np.histogram(values, bins=256, range=(float(low), float(high)))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 6.0)
    peak = int(np.argmax(smooth))
    return float((edges[peak] + edges[peak + 1]) / 2.0)


def same_shape(image: NDArray[np.generic], other: NDArray[np.generic], name: str) -> None:
    """Raise ValueError unless two arrays have one shape."""
    if image.shape != other.shape:
        msg = f"{name} must have the shape of the image, {image.shape}, got {other.shape}"
        raise ValueError(msg)


def values_in(image: RealArray, mask: Mask) -> RealArray:
    """Return the intensities inside a mask; ValueError if shapes differ, it is empty or one is not finite."""
    same_shape(image, mask, "mask")
    values = image[mask]
    if values.size == 0:
        msg = "mask must hold at least 1 voxel, got 0"
        raise ValueError(msg)
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        msg = f"image must be finite inside mask, got {count} NaN or infinite voxels"
        raise ValueError(msg)
    return values
