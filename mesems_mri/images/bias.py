"""Bias-field correction with N4 inside the brain.

N4 (Tustison et al., IEEE TMI 2010;29:1310; ITK's implementation) estimates the smooth log field on a copy of
the image at low resolution, which is what makes it cheap; the field is then interpolated, not the image.
"""

import numpy as np
import SimpleITK
from scipy import ndimage

from mesems_mri.core.typing import Float64Array, FloatArray, Mask
from mesems_mri.images.itk import from_itk, to_itk, unplaced
from mesems_mri.images.preparation import blur_and_resample
from mesems_mri.images.volume import Volume, spacing_of

_SPACING_MM = 5.0
# Knots of the spline at the first level; each level halves it, down to 50 mm: coil sensitivities are as
# smooth, confluent lesions are not.
_KNOT_DISTANCE_MM = 200.0
_ITERATIONS = (40, 30, 20)
# The field is a brain-wide effect; more than this is a fit gone wrong at the edge of the mask.
_MAX_GAIN = 4.0


def correct_bias(volume: Volume, mask: Mask) -> Volume:
    """Return the image divided by its bias field.

    The field is estimated inside the mask and extended smoothly over the rest of the image. Its geometric
    mean inside the mask is 1, so that the units of the image are kept.

    Parameters
    ----------
    volume : Volume
        Any contrast; finite intensities.
    mask : ndarray of bool, shape (x, y, z)
        The brain.

    Returns
    -------
    Volume
        Corrected image, float32, same grid. Voxels of the background that are exactly zero stay zero.

    Raises
    ------
    ValueError
        When the mask has another shape than the image or is empty.
    """
    if mask.shape != volume.shape or not mask.any():
        msg = f"mask of {mask.shape} with {int(mask.sum())} voxels does not fit an image of {volume.shape}"
        raise ValueError(msg)
    low, affine, low_mask = _shrink(volume, mask)
    log_field = _n4_log_field(low, low_mask, affine)
    log_field -= log_field[low_mask].mean()
    limits = np.percentile(log_field[low_mask], [0.5, 99.5])
    bound = np.log(_MAX_GAIN)
    log_field = np.clip(log_field, max(limits[0], -bound), min(limits[1], bound))
    # Beyond the mask the spline is free to swing: there the nearest value of the mask holds, smoothed out.
    nearest = ndimage.distance_transform_edt(
        ~low_mask, sampling=spacing_of(affine), return_distances=False, return_indices=True
    )
    sigma = [8.0 / spacing for spacing in spacing_of(affine)]
    extended = ndimage.gaussian_filter(log_field[tuple(nearest)], sigma, mode="nearest")
    log_field = np.where(low_mask, log_field, extended).astype(np.float32)
    ratio = np.linalg.inv(affine) @ volume.affine
    full = ndimage.affine_transform(
        log_field, ratio[:3, :3], ratio[:3, 3], output_shape=volume.shape, order=1, mode="nearest"
    )
    return Volume((volume.array * np.exp(-full)).astype(np.float32), volume.affine)


def _shrink(volume: Volume, mask: Mask) -> tuple[FloatArray, Float64Array, Mask]:
    """Return image, affine and mask at low resolution; only brain is averaged into a voxel of the mask."""
    inside = Volume(mask.astype(np.float32), volume.affine)
    share, affine = blur_and_resample(inside, _SPACING_MM)
    total, _ = blur_and_resample(Volume(volume.array * inside.array, volume.affine), _SPACING_MM)
    low_mask = share > 0.5
    if not low_mask.any():
        low_mask = share >= share.max()
    return (total / np.maximum(share, 0.05)).astype(np.float32), affine, low_mask


def _n4_log_field(low: FloatArray, low_mask: Mask, affine: Float64Array) -> Float64Array:
    """Return the log of the bias field that N4 finds."""
    spacing = spacing_of(affine)
    image = to_itk(np.maximum(low, 0.0), unplaced(spacing))
    brain = to_itk(low_mask.astype(np.uint8), unplaced(spacing))
    corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.SetMaximumNumberOfIterations(list(_ITERATIONS))
    extent = [n * s for n, s in zip(low.shape, spacing, strict=True)]
    corrector.SetNumberOfControlPoints([max(round(e / _KNOT_DISTANCE_MM), 1) + 3 for e in extent])
    corrector.Execute(image, brain)
    return np.asarray(from_itk(corrector.GetLogBiasFieldAsImage(image)), dtype=np.float64)
