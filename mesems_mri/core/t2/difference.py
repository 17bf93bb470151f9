"""Difference of two visits and its noise, after resolution, bias field and intensity were matched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.intensity import MAD_TO_SIGMA, robust_noise
from mesems_mri.core.matching import differential_bias, match_intensity, match_resolution
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.typing import FloatArray, Spacing

_LOCAL_NOISE_MM = 8.0
"""Gaussian sigma of the neighbourhood in which the noise of the difference is measured."""


@dataclass(frozen=True, eq=False)
class VisitDifference:
    """Difference of two visits of one contrast.

    Attributes
    ----------
    current, reference : ndarray of float32, shape (x, y, z)
        Matched images, in units of NAWM.
    rise : ndarray of float32, shape (x, y, z)
        Current minus reference.
    z : ndarray of float32, shape (x, y, z)
        The rise in units of its noise at each voxel.
    nawm_sigma : float
        Noise of the difference in NAWM, in units of NAWM.
    edge_shift_mm : float
        Misregistration that would explain the noise at edges.
    """

    current: FloatArray
    reference: FloatArray
    rise: FloatArray
    z: FloatArray
    nawm_sigma: float
    edge_shift_mm: float


def subtract_visits(
    current: T2Scan, reference: T2Scan, anatomy: Anatomy, *, smooth_mm: float
) -> VisitDifference:
    """Match two visits and subtract the reference visit.

    Parameters
    ----------
    current, reference : T2Scan
        One contrast at both visits, cropped to the brain.
    anatomy : Anatomy
        On the same grid.
    smooth_mm : float
        Gaussian sigma of the smoothing before subtraction.

    Returns
    -------
    VisitDifference
    """
    now, then = _match_visits(current, reference, anatomy, smooth_mm)
    rise = now - then
    sigma, nawm_sigma, edge_shift_mm = _difference_noise(rise, now, then, anatomy)
    return VisitDifference(now, then, rise, np.asarray(rise / sigma, np.float32), nawm_sigma, edge_shift_mm)


def _match_visits(
    current: T2Scan, reference: T2Scan, anatomy: Anatomy, smooth_mm: float
) -> tuple[FloatArray, FloatArray]:
    """Match both visits in resolution (that of the coarser one), bias field and intensity."""
    coarser = max((current, reference), key=lambda scan: scan.slice_thickness_mm)
    spacing_mm = anatomy.spacing_mm
    matched = []
    for scan in (current, reference):
        blurred = match_resolution(
            np.nan_to_num(np.asarray(scan.image, np.float32)),
            spacing_mm=spacing_mm,
            plane_normal=coarser.plane_normal,
            thickness_mm=scan.slice_thickness_mm,
            target_thickness_mm=coarser.slice_thickness_mm,
        )
        matched.append(ndimage.gaussian_filter(blurred, [smooth_mm / step for step in spacing_mm]))
    now, then = matched
    tissue = anatomy.brain_mask & (now > 0.6) & (then > 0.6)
    if tissue.sum() < 1000:
        return now, then
    then = match_intensity(then, now, tissue)
    then = then * differential_bias(np.maximum(then, 0.01), np.maximum(now, 0.01), tissue, spacing_mm)
    return now, then


def _difference_noise(
    rise: FloatArray, now: FloatArray, then: FloatArray, anatomy: Anatomy
) -> tuple[FloatArray, float, float]:
    """Noise of the difference at every voxel: a floor from NAWM and a part that grows with the gradient."""
    brain, spacing_mm = anatomy.brain_mask, anatomy.spacing_mm
    _, floor = robust_noise(rise, anatomy.nawm)
    floor = max(floor, 1e-4)
    # Some regions are noisier than others (flow, susceptibility, far from the coil). Clipping keeps a true
    # change from raising its own threshold much.
    square = np.where(brain, np.minimum(np.square(rise), np.float32((3.0 * floor) ** 2)), np.float32(0.0))
    width = [_LOCAL_NOISE_MM / step for step in spacing_mm]
    solid = ndimage.gaussian_filter(brain.astype(np.float32), width)
    local = np.sqrt(ndimage.gaussian_filter(square, width) / np.maximum(solid, 1e-3))
    slopes = [_gradient(image, spacing_mm) for image in (now, then)]
    # Only an edge both visits have can be displaced; the rim of a new lesion is in one of them.
    shared = np.minimum(*(ndimage.maximum_filter(slope, size=3) for slope in slopes))
    edges = brain & (shared > np.percentile(shared[brain], 70.0))
    steepness = np.maximum(*slopes)[edges]
    if steepness.any():
        excess = np.maximum(np.square(rise[edges]) - floor**2, 0.0)
        shift_mm = MAD_TO_SIGMA * float(np.sqrt(np.median(excess / np.maximum(np.square(steepness), 1e-8))))
    else:
        shift_mm = 0.0
    sigma = np.sqrt(np.maximum(local, floor) ** 2 + np.square(shift_mm * shared))
    return np.asarray(sigma, np.float32), floor, shift_mm


def _gradient(image: FloatArray, spacing_mm: Spacing) -> FloatArray:
    """Magnitude of the gradient, per mm."""
    square = np.zeros(image.shape, np.float32)
    for axis, step in enumerate(spacing_mm):
        square += np.square(np.gradient(image, step, axis=axis)).astype(np.float32)
    return np.sqrt(square)
