"""Slices for a page: a grey PNG at one pixel per voxel, with the outlines as SVG paths on top.

The browser enlarges the picture, so a slice costs some 20 kB; outlines stay sharp in print and can be
switched off by the page's own style sheet.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from mesems_mri.report.figures import upright
from mesems_mri.report.pictures import Panel

FloatImage = NDArray[np.float32]
Mask = NDArray[np.bool_]
PLANES = {2: "axial", 1: "coronal", 0: "sagittal"}
"""Array axis across the slice (RAS order) and the name of the plane, in the order in which they are shown."""


def draw_panel(
    image: FloatImage,
    *,
    axis: int,
    index: int,
    window: tuple[float, float],
    title: str,
    masks: Mapping[str, Mask] | None = None,
    labels: Mapping[str, tuple[Mask, str]] | None = None,
    candidates: Mapping[str, tuple[Mask, str]] | None = None,
    voxel_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Panel:
    """Draw a slice in radiological convention.

    Parameters
    ----------
    image : ndarray (X, Y, Z)
        Image in RAS order.
    axis, index : int
        Array axis across the slice, and which slice.
    window : tuple of float
        Intensities shown black and white.
    title : str
        What is shown.
    masks : mapping of str to ndarray (X, Y, Z) of bool
        Outlined, by kind.
    labels : mapping of str to (ndarray (X, Y, Z) of bool, str)
        Text beside the part of a mask that lies in the slice, by any key.
    candidates : mapping of str to (ndarray (X, Y, Z) of bool, str)
        The same, shown with the candidates.
    voxel_mm : tuple of float
        Voxel size; a slice with other than square pixels is stretched.

    Returns
    -------
    Panel
    """
    cut = tuple(index if i == axis else slice(None) for i in range(3))
    plane = upright(image[cut], axis)
    outlines = {}
    for kind, mask in (masks or {}).items():
        path = outline_path(upright(mask[cut], axis))
        if path:
            outlines[kind] = path

    def placed(texts: Mapping[str, tuple[Mask, str]] | None) -> tuple[tuple[float, float, str], ...]:
        found = ((np.nonzero(upright(mask[cut], axis)), text) for mask, text in (texts or {}).values())
        return tuple(
            (float(columns.max() + 2), float(rows.mean() + 1), text)
            for (rows, columns), text in found
            if rows.size
        )

    across, up = (size for i, size in enumerate(voxel_mm) if i != axis)
    height, width = plane.shape
    return Panel(
        title=title,
        uri=grey_uri(plane, window),
        width=round(width * across, 2),
        height=round(height * up, 2),
        outlines=outlines,
        labels=placed(labels),
        candidates=placed(candidates),
    )


def middle_slices(image: FloatImage, voxel_mm: tuple[float, float, float], title: str) -> tuple[Panel, ...]:
    """Draw the slice through the middle of an image in each plane.

    Parameters
    ----------
    image : ndarray of float32, shape (x, y, z)
        Image in RAS order, in any unit of intensity.
    voxel_mm : tuple of float
        Voxel size.
    title : str
        What is shown; the name of the plane is added.

    Returns
    -------
    tuple of Panel
        One per plane; empty when all finite values are the same.
    """
    finite = image[np.isfinite(image)]
    if not finite.size or finite.max() <= finite.min():
        return ()
    low, high = (float(v) for v in np.percentile(finite, [1.0, 99.5]))
    return tuple(
        draw_panel(
            np.nan_to_num(image),
            axis=axis,
            index=image.shape[axis] // 2,
            window=(low, high),
            title=f"{title}, {plane}",
            voxel_mm=voxel_mm,
        )
        for axis, plane in PLANES.items()
    )


def grey_uri(plane: FloatImage, window: tuple[float, float]) -> str:
    """Return a plane as the text of a grey PNG that a page carries in itself."""
    low, high = window
    grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    stream = io.BytesIO()
    Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(stream, format="PNG", compress_level=6)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def outline_path(plane: Mask) -> str:
    """Return the outline of a mask as an SVG path, half a voxel outside the centres of its voxels.

    Parameters
    ----------
    plane : ndarray (rows, columns) of bool

    Returns
    -------
    str
        Empty if the mask is.
    """
    rows, columns = np.nonzero(plane)
    if not rows.size:
        return ""
    top, left = int(rows.min()), int(columns.min())
    part = np.pad(plane[top : rows.max() + 1, left : columns.max() + 1], 1).astype(np.float32)
    pieces = []
    for line in find_contours(part, 0.5):
        # from the padded part to the plane, and from the centre of the first voxel to its corner
        points = line - 1 + (top, left) + 0.5
        text = " ".join(f"{x:g} {y:g}" for y, x in np.round(points[:-1], 1).tolist())
        pieces.append(f"M{text}Z")
    return "".join(pieces)


def locate(panel: Panel, *, centre: Sequence[float], half_width: float) -> Panel:
    """Mark a square on a slice."""
    x, y = centre
    frame = (round(x - half_width, 1), round(y - half_width, 1), 2 * half_width, 2 * half_width)
    return replace(panel, frame=frame)
