"""The difference of two visits and its noise, after both were brought to one resolution, bias and scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.intensity import MAD_TO_SIGMA, robust_noise
from mesems_mri.core.matching import differential_bias, match_intensity, match_resolution
from mesems_mri.core.t2.growth import ChangeThresholds
from mesems_mri.core.typing import Box, FloatArray, Mask, Normal, Spacing

_LOCAL_NOISE_MM = 8.0
"""Gaussian sigma of the neighbourhood in which the noise of the difference is measured."""


@dataclass(frozen=True)
class Support:
    """A second T2-type contrast (T2w or PDw) of both visits, on the grid of the first.

    Attributes
    ----------
    current, reference
        At this and at the reference visit, bias-corrected and with NAWM median 1.
    current_thickness_mm, reference_thickness_mm
        Slice thickness of the two acquisitions (mm).
    plane_normal
        Normal of the slices of the coarser acquisition, unit vector in array axes.
    """

    current: FloatArray
    reference: FloatArray
    current_thickness_mm: float
    reference_thickness_mm: float
    plane_normal: Normal


def match_visits(
    current: FloatArray,
    reference: FloatArray,
    brain: Mask,
    spacing_mm: Spacing,
    thickness_mm: tuple[float, float],
    plane_normal: Normal,
    limits: ChangeThresholds,
) -> tuple[FloatArray, FloatArray]:
    """Bring both visits to one resolution, bias field and intensity scale."""
    coarser = max(thickness_mm)
    matched = []
    for image, own in zip((current, reference), thickness_mm, strict=True):
        blurred = match_resolution(
            np.nan_to_num(np.asarray(image, np.float32)),
            spacing_mm=spacing_mm,
            plane_normal=plane_normal,
            thickness_mm=own,
            target_thickness_mm=coarser,
        )
        matched.append(ndimage.gaussian_filter(blurred, [limits.smooth_mm / step for step in spacing_mm]))
    now, then = matched
    tissue = brain & (now > 0.6) & (then > 0.6)
    if tissue.sum() < 1000:
        return now, then
    then = match_intensity(then, now, tissue)
    then = then * differential_bias(np.maximum(then, 0.01), np.maximum(now, 0.01), tissue, spacing_mm)
    return now, then


def difference_noise(
    rise: FloatArray,
    now: FloatArray,
    then: FloatArray,
    brain: Mask,
    nawm: Mask,
    spacing_mm: Spacing,
) -> tuple[FloatArray, float, float]:
    """Noise of the difference at every voxel: a floor from NAWM and a part that grows with the gradient."""
    _, floor = robust_noise(rise, nawm)
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


def rise_of(
    support: Support,
    cut: Box,
    brain: Mask,
    white: Mask,
    spacing_mm: Spacing,
    limits: ChangeThresholds,
) -> FloatArray:
    """Measure how much a second contrast rose, in units of its own noise."""
    now, then = match_visits(
        support.current[cut],
        support.reference[cut],
        brain,
        spacing_mm,
        (support.current_thickness_mm, support.reference_thickness_mm),
        support.plane_normal,
        limits,
    )
    rise = now - then
    sigma, _, _ = difference_noise(rise, now, then, brain, white, spacing_mm)
    return np.asarray(rise / sigma, np.float32)


def _gradient(image: FloatArray, spacing_mm: Spacing) -> FloatArray:
    """Magnitude of the gradient, per mm."""
    square = np.zeros(image.shape, np.float32)
    for axis, step in enumerate(spacing_mm):
        square += np.square(np.gradient(image, step, axis=axis)).astype(np.float32)
    return np.sqrt(square)
