"""Preparation of an image for head alignment: resolution, bias and empty slices."""

from typing import Final

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.typing import Affine, FloatArray, Mask
from mesems_mri.images.volume import Volume

_FLATTENING_SPACING_MM: Final = 6.0
_FLATTENING_MM: Final = 25.0


def intensity_ceiling(array: FloatArray, multiple: float) -> float:
    """Return a multiple of the median foreground intensity, to cut fat, vessels and spikes."""
    foreground = array[array > array.mean()]
    return multiple * float(np.median(foreground)) if foreground.size else 1.0


def blur_and_resample(volume: Volume, spacing_mm: float) -> tuple[FloatArray, Affine]:
    """Return an image at an isotropic spacing on its own axes, without aliasing.

    Parameters
    ----------
    volume : Volume
        The image.
    spacing_mm : float
        Spacing of the output; an axis that is coarser already is interpolated linearly.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        The image.
    ndarray of float64, shape (4, 4)
        Its voxel -> RAS mm affine.
    """
    array = volume.array
    spacing = np.array(volume.spacing_mm)
    sigma = np.sqrt(np.maximum((spacing_mm / spacing) ** 2 - 1.0, 0.0)) * 0.42
    zoom = spacing_mm / spacing
    shape = np.maximum(np.floor((np.array(array.shape) - 1) / zoom).astype(int) + 1, 1)
    blurred = array
    for axis in range(3):
        # Axis by axis, and thinned out at once, so that the next axis has less to do.
        if sigma[axis] > 0:
            blurred = ndimage.gaussian_filter1d(blurred, sigma[axis], axis=axis, mode="nearest", truncate=3.0)
        index = np.arange(shape[axis]) * zoom[axis]
        low = np.minimum(np.floor(index).astype(int), blurred.shape[axis] - 1)
        high = np.minimum(low + 1, blurred.shape[axis] - 1)
        weight = (index - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        blurred = np.take(blurred, low, axis) * (1 - weight) + np.take(blurred, high, axis) * weight
    affine = volume.affine @ np.diag([*zoom, 1.0])
    return blurred.astype(np.float32), affine


def without_bias(volume: Volume) -> Volume:
    """Return the image divided by its own level within some centimetres, so that no coil dominates it.

    Parameters
    ----------
    volume : Volume
        The image; scalp close to a surface coil may be many times as bright as the brain.

    Returns
    -------
    Volume
        About 1 in tissue; for finding the head only.
    """
    image, affine = blur_and_resample(volume, _FLATTENING_SPACING_MM)
    image = np.maximum(image, 0.0)
    tissue = image > 0.5 * np.median(image[image > image.mean()] if (image > image.mean()).any() else image)
    sigma = _FLATTENING_MM / np.maximum(volume.spacing_mm, _FLATTENING_SPACING_MM)
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), sigma) + np.float32(1e-3)
    level = ndimage.gaussian_filter(np.where(tissue, image, 0.0).astype(np.float32), sigma) / weight
    to_level = np.linalg.inv(affine) @ volume.affine
    level = ndimage.affine_transform(
        level, to_level[:3, :3], to_level[:3, 3], output_shape=volume.shape, order=1, mode="nearest"
    )
    floor = 0.05 * float(level.max())
    return Volume((volume.array / np.maximum(level, max(floor, 1e-6))).astype(np.float32), volume.affine)


def filled_slices(volume: Volume) -> Mask:
    """Return which slices show anything; an empty one was never acquired and holds no air.

    Parameters
    ----------
    volume : Volume
        The image.

    Returns
    -------
    ndarray of bool, shape (number of slices,)
        Along the slice axis of the image.
    """
    planes = np.moveaxis(volume.array, volume.slice_axis, 0).reshape(volume.shape[volume.slice_axis], -1)
    return planes.max(axis=1) > planes.min(axis=1)


def without_empty_ends(volume: Volume) -> Volume:
    """Return the image without the empty slices at its ends."""
    filled = np.flatnonzero(filled_slices(volume))
    axis = volume.slice_axis
    if len(filled) in (0, volume.shape[axis]):
        return volume
    box = [slice(None)] * 3
    box[axis] = slice(int(filled[0]), int(filled[-1]) + 1)
    shift = np.eye(4)
    shift[axis, 3] = filled[0]
    return Volume(volume.array[tuple(box)], volume.affine @ shift)


def one_piece(mask: Mask) -> Mask:
    """Return the largest piece of a mask without holes."""
    pieces, count = label_components(mask)
    if count > 1:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        mask = pieces == int(np.argmax(sizes))
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=np.bool_)
