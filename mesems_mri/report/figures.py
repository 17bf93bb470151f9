"""Pictures of slices with lesion outlines, as PNG bytes."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

COLOURS: dict[str, tuple[int, int, int]] = {
    "T2": (86, 180, 233),
    "new": (230, 159, 0),
    "enlarging": (240, 228, 66),
    "enhancing": (213, 94, 0),
    "candidate": (204, 121, 167),
    "brain": (120, 120, 120),
}
"""Outline colours, told apart by colour-blind readers (Okabe & Ito)."""

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]


def display_range(image: FloatImage, mask: Mask) -> tuple[float, float]:
    """Return the window (low, high) that shows the brain: its 1st percentile to 1.15 times the 99.5th."""
    low, high = np.percentile(image[mask], [1.0, 99.5])
    return float(low), float(high) * 1.15


def draw_slice(
    image: FloatImage,
    outlines: Mapping[str, Mask],
    *,
    axis: int,
    index: int,
    window: tuple[float, float],
    zoom: int = 2,
) -> NDArray[np.uint8]:
    """Draw one slice in radiological convention with lesion outlines.

    Parameters
    ----------
    image : ndarray (X, Y, Z)
        Image in RAS order.
    outlines : mapping of str to ndarray (X, Y, Z) of bool
        Masks by their key in `COLOURS`; later ones lie on top.
    axis : int
        Array axis across the slice: 0 sagittal, 1 coronal, 2 axial.
    index : int
        Slice along that axis.
    window : tuple of float
        Intensities shown black and white.
    zoom : int
        Screen pixels for one voxel.

    Returns
    -------
    ndarray (rows, columns, 3) of uint8
    """
    plane = upright(np.take(image, index, axis=axis), axis)
    grey = np.clip((plane - window[0]) / max(window[1] - window[0], 1e-6), 0, 1)
    grey = ndimage.zoom(grey, zoom, order=1, grid_mode=True, mode="nearest")
    picture = np.repeat((np.clip(grey, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    for name, mask in outlines.items():
        shape = np.kron(upright(np.take(mask, index, axis=axis), axis), np.ones((zoom, zoom), bool)) > 0
        picture[shape & ~ndimage.binary_erosion(shape)] = COLOURS[name]
    return picture


def upright(plane: NDArray, axis: int) -> NDArray:
    """Turn a RAS slice so that up is up (axial: front is up) and the patient's right is on the left."""
    turned = plane.T[::-1]
    return turned if axis == 0 else turned[:, ::-1]


def tile(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Set pictures of any size side by side on black, ``columns`` in a row."""
    height = max(p.shape[0] for p in pictures)
    width = max(p.shape[1] for p in pictures)
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * (height + 2), columns * (width + 2), 3), np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + 2), i % columns * (width + 2)
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def crop_around(
    centre: Sequence[int], shape: Sequence[int], half_width: int
) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """Return a box around a voxel inside the array, and where the voxel lies in it."""
    starts = [max(0, min(c - half_width, n - 2 * half_width)) for c, n in zip(centre, shape, strict=True)]
    box = tuple(slice(s, min(s + 2 * half_width, n)) for s, n in zip(starts, shape, strict=True))
    return box, tuple(c - s for c, s in zip(centre, starts, strict=True))


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Return a picture as the text of a PNG that a page carries in itself."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", optimize=False)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
