"""Matching of two scans of one head on one grid: intensity, bias field and resolution."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from mesems_mri.core.intensity import MAD_TO_SIGMA, MIN_VOXELS, same_shape, values_in
from mesems_mri.core.typing import Coordinates, Float64Array, FloatArray, Mask, Normal, RealArray, Spacing

FWHM_TO_SIGMA = 1.0 / 2.3548


def match_intensity(
    moving: RealArray, fixed: RealArray, mask: Mask, *, trim_sigma: float = 3.0
) -> FloatArray:
    """Match the intensity of the moving image to the fixed one, by gain and offset.

    The line is the reduced major axis of the joint intensities, refitted five times without the voxels that
    lie more than ``trim_sigma`` off it. It treats both scans alike: an ordinary regression would
    flatten the slope by the noise of the moving scan.

    Parameters
    ----------
    moving, fixed : ndarray of float, shape (x, y, z)
        Images of one head on one grid.
    mask : ndarray of bool, shape (x, y, z)
        Voxels to use, at least two tissues.
    trim_sigma : float
        Voxels further off the line than this many robust sigmas (changes, vessels) do not count.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        ``gain * moving + offset``, whole array.

    Raises
    ------
    ValueError
        When the shapes differ, the mask is empty or an image is not finite inside it.
    """
    same_shape(moving, fixed, "fixed")
    x = values_in(moving, mask).astype(np.float64)
    y = values_in(fixed, mask).astype(np.float64)
    keep = np.ones(x.shape, bool)
    gain, offset = 1.0, 0.0
    for _ in range(5):
        spread_x, spread_y = float(x[keep].std()), float(y[keep].std())
        correlation = float(np.mean((x[keep] - x[keep].mean()) * (y[keep] - y[keep].mean())))
        if spread_x <= 0 or spread_y <= 0 or correlation <= 0:
            # One flat tissue has no slope: only the level can be matched.
            offset = float(np.median(y) - gain * np.median(x))
            break
        gain = spread_y / spread_x
        offset = float(y[keep].mean() - gain * x[keep].mean())
        residual = y - gain * x - offset
        centre = float(np.median(residual))
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(residual - centre)))
        refined = np.abs(residual - centre) <= trim_sigma * sigma
        if sigma <= 0 or refined.sum() < MIN_VOXELS:
            break
        keep = refined
    return np.asarray(gain * moving + offset, np.float32)


def differential_bias(
    moving: RealArray,
    fixed: RealArray,
    mask: Mask,
    spacing_mm: Spacing,
    sigma_mm: float = 25.0,
) -> FloatArray:
    """Smooth factor that removes the difference in coil sensitivity between two scans of one head.

    The logarithm of the ratio, clipped to 3 robust sigmas so that lesions and vessels pull little, is
    smoothed inside the mask (Lewis & Fox, NeuroImage 2004;23:75).

    Parameters
    ----------
    moving, fixed : ndarray of float, shape (x, y, z)
        Images on one grid and one intensity scale (positive in tissue).
    mask : ndarray of bool, shape (x, y, z)
        Brain or tissue, same grid.
    spacing_mm : tuple of float
        Voxel size (mm).
    sigma_mm : float
        Width of the Gaussian (mm). Anything much wider than a lesion and narrower than a head will do.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Field to multiply the moving image with, 1 on the median over the mask.

    Raises
    ------
    ValueError
        When the shapes differ, the mask is empty, an image is not finite inside it or ``sigma_mm`` <= 0.
    """
    same_shape(moving, fixed, "fixed")
    if not sigma_mm > 0:
        msg = f"sigma_mm must be above 0 mm, got {sigma_mm}"
        raise ValueError(msg)
    x, y = values_in(moving, mask), values_in(fixed, mask)
    positive = (x > 0) & (y > 0)
    if positive.sum() < MIN_VOXELS:
        msg = (
            f"mask must hold at least {MIN_VOXELS} voxels positive in both images, got {int(positive.sum())}"
        )
        raise ValueError(msg)
    ratio = np.log(y[positive] / x[positive])
    ratio -= float(np.median(ratio))
    fine = _smooth_field(ratio, np.flatnonzero(mask)[positive], mask.shape, spacing_mm, sigma_mm)
    fine -= float(np.median(fine[mask]))
    return np.exp(fine).astype(np.float32)


def _smooth_field(
    values: RealArray,
    inside: Coordinates,
    shape: tuple[int, ...],
    spacing_mm: Spacing,
    sigma_mm: float,
) -> FloatArray:
    """Smooth values at flat indices to a field over the whole array, robustly."""
    # The field is smooth, so block means of about a quarter of its width lose nothing and save time.
    factors = [max(1, round(sigma_mm / 4.0 / step)) for step in spacing_mm]
    coarse_sigma = [sigma_mm / (factor * step) for factor, step in zip(factors, spacing_mm, strict=True)]
    fine = np.zeros(shape, np.float32)
    weight = np.zeros(shape, np.float32)
    weight.flat[inside] = 1.0
    weight_smooth = _smooth_blocks(weight, factors, coarse_sigma)
    weight_smooth = np.maximum(weight_smooth, 1e-6 * float(weight_smooth.max()))
    # The second pass takes up what the kernel lost at the edge of the mask.
    for _ in range(2):
        residual = values - fine.flat[inside]
        limit = 3.0 * MAD_TO_SIGMA * float(np.median(np.abs(residual)))
        log_ratio = np.zeros(shape, np.float32)
        log_ratio.flat[inside] = np.clip(residual, -limit, limit)
        smooth = _smooth_blocks(log_ratio, factors, coarse_sigma)
        fine += _expand(smooth / weight_smooth, factors, shape)
    return fine


def smooth_mean(values: FloatArray, mask: Mask, spacing_mm: Spacing, sigma_mm: float) -> FloatArray:
    """Mean of values over a mask, within a wide Gaussian.

    Parameters
    ----------
    values : ndarray of float32, shape (x, y, z)
        Finite.
    mask : ndarray of bool, shape (x, y, z)
        Voxels that count.
    spacing_mm : tuple of float
        Voxel size (mm).
    sigma_mm : float
        Width of the Gaussian (mm), wide against a voxel: it is taken over blocks of a quarter of it.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        About 0 far from the mask.
    """
    factors = [max(1, round(sigma_mm / 4.0 / step)) for step in spacing_mm]
    sigma = [sigma_mm / (factor * step) for factor, step in zip(factors, spacing_mm, strict=True)]
    total = _smooth_blocks(np.where(mask, values, np.float32(0)), factors, sigma)
    share = _smooth_blocks(mask.astype(np.float32), factors, sigma)
    return _expand(total / np.maximum(share, 1e-3 * np.prod(factors)), factors, values.shape)


def match_resolution(
    image: RealArray,
    *,
    spacing_mm: Spacing,
    plane_normal: Normal,
    thickness_mm: float,
    target_thickness_mm: float,
) -> FloatArray:
    """Blur along the slice normal until the image has the slice profile of a thicker acquisition.

    A slice profile is taken as a Gaussian whose full width at half maximum is the slice thickness.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        3D image, finite.
    spacing_mm : tuple of float
        Voxel size (mm).
    plane_normal : tuple of float
        Normal of the *coarser* acquisition's slices in array axes; need not be of unit length.
    thickness_mm : float
        Slice thickness (mm) the image has already along that direction.
    target_thickness_mm : float
        Slice thickness (mm) wanted. Not above ``thickness_mm``: the image comes back unchanged.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Blurred image.

    Raises
    ------
    ValueError
        When the image is not finite or 3D, a thickness is not above 0 or the normal has no length.
    """
    normal = _unit_normal(image, plane_normal, (thickness_mm, target_thickness_mm))
    if target_thickness_mm <= thickness_mm:
        return np.asarray(image, np.float32)
    sigma_mm = FWHM_TO_SIGMA * float(np.sqrt(target_thickness_mm**2 - thickness_mm**2))
    axis = int(np.argmax(np.abs(normal)))
    if abs(normal[axis]) > 0.999:
        volume = np.asarray(image, np.float32)
        sigma = sigma_mm / spacing_mm[axis]
        return np.asarray(ndimage.gaussian_filter1d(volume, sigma, axis=axis, mode="nearest"), np.float32)
    return _blur_along(image, sigma_mm, normal, spacing_mm)


def _unit_normal(image: RealArray, plane_normal: Normal, thicknesses_mm: tuple[float, float]) -> Float64Array:
    """Return the normal at unit length; raise ValueError unless the input of `match_resolution` is usable."""
    values_in(image, np.ones(image.shape, bool))
    if image.ndim != 3:
        msg = f"image must have 3 dimensions, got {image.ndim}"
        raise ValueError(msg)
    for name, thickness in zip(("thickness_mm", "target_thickness_mm"), thicknesses_mm, strict=True):
        if not (np.isfinite(thickness) and thickness > 0):
            msg = f"{name} must be above 0 mm, got {thickness}"
            raise ValueError(msg)
    length = float(np.linalg.norm(plane_normal))
    if not (np.isfinite(length) and length > 0):
        msg = f"plane_normal must be a vector of length above 0, got {plane_normal}"
        raise ValueError(msg)
    return np.asarray(plane_normal, float) / length


def _blur_along(image: RealArray, sigma_mm: float, normal: Float64Array, spacing_mm: Spacing) -> FloatArray:
    """Blur along an oblique normal: multiply by the transfer function of the Gaussian.

    The image is padded against wrapping round.
    """
    margins = [
        int(np.ceil(4.0 * sigma_mm * abs(c) / step)) for c, step in zip(normal, spacing_mm, strict=True)
    ]
    padded = np.pad(np.asarray(image, np.float32), [(margin, margin) for margin in margins], mode="edge")
    frequencies = np.meshgrid(
        *(fft.fftfreq(n, step) for n, step in zip(padded.shape[:2], spacing_mm[:2], strict=True)),
        fft.rfftfreq(padded.shape[2], spacing_mm[2]),
        indexing="ij",
        sparse=True,
    )
    along = sum(c * f for c, f in zip(normal, frequencies, strict=True))
    transfer = np.exp(-2.0 * (np.pi * sigma_mm * along) ** 2).astype(np.float32)
    blurred = np.asarray(fft.irfftn(np.asarray(fft.rfftn(padded)) * transfer, s=padded.shape))
    inner = tuple(slice(m, m + n) for m, n in zip(margins, image.shape, strict=True))
    return np.ascontiguousarray(blurred[inner], np.float32)


def _smooth_blocks(volume: FloatArray, factors: list[int], sigma: list[float]) -> FloatArray:
    blocks = np.pad(volume, [(0, -n % factor) for n, factor in zip(volume.shape, factors, strict=True)])
    for axis, factor in enumerate(factors):
        blocks = np.add.reduceat(blocks, np.arange(0, blocks.shape[axis], factor), axis=axis)
    return np.asarray(ndimage.gaussian_filter(blocks, sigma, mode="constant"), np.float32)


def _expand(field: RealArray, factors: list[int], shape: tuple[int, ...]) -> FloatArray:
    fine: RealArray = np.asarray(field, np.float32)
    for axis, (factor, n) in enumerate(zip(factors, shape, strict=True)):
        at = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, fine.shape[axis] - 1)
        lower = np.minimum(at.astype(int), max(fine.shape[axis] - 2, 0))
        upper = np.minimum(lower + 1, fine.shape[axis] - 1)
        weight = (at - lower).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        fine = fine.take(lower, axis) * (1 - weight) + fine.take(upper, axis) * weight
    return np.asarray(fine, np.float32)
