"""Connected components, foci, and the rule of the focus.

The only module that labels or filters by size: libraries differ in their default connectivity (6 or 26
neighbours) and in whether a limit is inclusive, so one place decides.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mesems_mri.core.feret import check_spacing, largest_in_plane_diameter_mm
from mesems_mri.core.typing import Coordinates, Float64Array, IntArray, Labels, Mask, Vector

MIN_VOLUME_MM3 = 14.0
"""Smallest volume of a focus: a sphere of 3 mm, in whole voxels of 1 mm."""
MIN_DIAMETER_MM = 3.0
"""Smallest largest in-plane diameter of a focus."""
MAX_HOLE_MM2 = 700.0
"""Largest hole in a plane that is filled: the inside of a ring lesion of 30 mm, not that of a skull."""

_TOLERANCE = 1e-6
_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


def as_mask(mask: npt.ArrayLike, name: str = "mask") -> Mask:
    """Return a 3D array as a mask: any nonzero voxel is inside.

    Parameters
    ----------
    mask : array_like of bool, int or float, shape (x, y, z)
    name : str
        Name of the parameter for the error text.

    Raises
    ------
    ValueError
        If the array is not 3D or holds NaN or infinity.
    """
    array = np.asarray(mask)
    if array.ndim != 3:
        msg = f"{name} must be 3D, got {array.ndim} dimension(s)"
        raise ValueError(msg)
    if array.dtype == np.bool_:
        return array
    if not np.issubdtype(array.dtype, np.integer) and not np.isfinite(array).all():
        msg = f"{name} must be finite, got NaN or infinity"
        raise ValueError(msg)
    return array != 0


def label_components(mask: npt.ArrayLike) -> tuple[Labels, int]:
    """Label the 26-connected components of a mask.

    Parameters
    ----------
    mask : array_like of bool, int or float, shape (x, y, z)
        Any nonzero voxel is inside.

    Returns
    -------
    dseg : ndarray of int32, shape (x, y, z)
        0 is background; components are 1..n in C order of their first voxel.
    n : int

    Raises
    ------
    ValueError
        If the array is not 3D or holds NaN or infinity.
    """
    dseg = np.zeros(np.shape(mask), dtype=np.int32)
    ndimage.label(as_mask(mask), structure=_NEIGHBOURS_26, output=dseg)
    return renumber_by_first_voxel(dseg), int(dseg.max(initial=0))


def renumber_by_first_voxel(dseg: IntArray) -> Labels:
    """Renumber the labels of a dseg 1..n in C order of their first voxel, as int32."""
    renumbered = np.zeros(dseg.shape, dtype=np.int32)
    inside = dseg != 0
    _, first, inverse = np.unique(dseg[inside], return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int32)
    rank[np.argsort(first)] = np.arange(1, first.size + 1, dtype=np.int32)
    renumbered[inside] = rank[inverse] if first.size else 0
    return renumbered


def label_foci(
    mask: npt.ArrayLike,
    *,
    spacing_mm: Vector,
    plane_normal: Vector = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
    min_volume_mm3: float = MIN_VOLUME_MM3,
    min_diameter_mm: float = MIN_DIAMETER_MM,
) -> Labels:
    """Label the foci of a mask: the components that are large enough to be counted.

    A focus is a 26-connected component of at least ``min_volume_mm3`` whose largest in-plane diameter
    (`largest_in_plane_diameter_mm`) is at least ``min_diameter_mm``; both limits are inclusive.

    Parameters
    ----------
    mask : array_like of bool, int or float, shape (x, y, z)
        Any nonzero voxel is inside.
    spacing_mm : sequence of 3 float
        Voxel size along the array axes.
    plane_normal : sequence of 3 float
        Normal of the acquired plane, in array axes (mm).
    slice_thickness_mm : float, optional
        Thickness of the acquired slices; default: the voxel size along the normal.
    min_volume_mm3, min_diameter_mm : float

    Returns
    -------
    dseg : ndarray of int32, shape (x, y, z)
        0 is background; foci are 1..n in C order of their first voxel.

    Raises
    ------
    ValueError
        If the mask is not 3D or holds NaN or infinity, or the geometry is not usable.
    """
    spacing = check_spacing(spacing_mm)
    components, n = label_components(mask)
    voxel_mm3 = float(np.prod(spacing))
    volumes_mm3 = np.bincount(components.ravel(), minlength=n + 1) * voxel_mm3
    is_focus = volumes_mm3 >= min_volume_mm3 - _TOLERANCE
    is_focus[0] = False
    for label, coordinates in label_coordinates(components).items():
        if is_focus[label]:
            diameter_mm = largest_in_plane_diameter_mm(
                coordinates,
                spacing_mm=spacing_mm,
                plane_normal=plane_normal,
                slice_thickness_mm=slice_thickness_mm,
            )
            is_focus[label] = diameter_mm >= min_diameter_mm - _TOLERANCE
    numbers = np.where(is_focus, np.cumsum(is_focus), 0).astype(np.int32)
    return numbers[components]


def label_coordinates(dseg: IntArray) -> dict[int, Coordinates]:
    """Return the voxel coordinates (n, 3) of every label, in C order, by ascending label."""
    coordinates = np.argwhere(dseg)
    labels = dseg[tuple(coordinates.T)]
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    edges = pairwise([*starts, labels.size])
    return {int(v): coordinates[order[a:b]] for v, (a, b) in zip(values, edges, strict=True)}


def close_fragments(
    mask: npt.ArrayLike,
    *,
    spacing_mm: Vector,
    gap_mm: float = 3.0,
    plane_normal: Vector = (0.0, 0.0, 1.0),
    max_hole_mm2: float = MAX_HOLE_MM2,
) -> Mask:
    """Join the fragments of rings and open rings, and fill the rings.

    Gaps of at most ``gap_mm`` between the faces of two voxels are closed (also between fragments that
    enclose nothing), then holes in the acquired plane are filled; a cavity closed in 3D is closed in each
    plane. Fragments further apart stay apart.

    Parameters
    ----------
    mask : array_like of bool, int or float, shape (x, y, z)
        Any nonzero voxel is inside.
    spacing_mm : sequence of 3 float
        Voxel size along the array axes.
    gap_mm : float
        Largest gap that is closed.
    plane_normal : sequence of 3 float
        Normal of the acquired plane, in array axes; the array plane nearest to it is used.
    max_hole_mm2 : float
        Larger holes stay open.

    Returns
    -------
    ndarray of bool, shape (x, y, z)
        Holds all of ``mask``.

    Raises
    ------
    ValueError
        If the mask is not 3D or holds NaN or infinity, or the spacing is not positive.
    """
    original = as_mask(mask)
    spacing = check_spacing(spacing_mm)
    if not original.any():
        return original.copy()
    reach_mm = gap_mm + spacing  # between voxel centres, along each axis
    margin = np.ceil(reach_mm / spacing).astype(int) + 1
    box = tuple(slice(int(c.min()), int(c.max()) + 1) for c in np.nonzero(original))
    padded = np.pad(original[box], [(m, m) for m in margin])
    axis = int(np.argmax(np.abs(np.asarray(plane_normal, dtype=float))))

    # Holes are filled between growing and shrinking, and both within the plane: across planes the shrinking
    # would eat the filled hole again.
    element = _plane_element(spacing, axis, gap_mm)
    max_voxels = max_hole_mm2 * spacing[axis] / np.prod(spacing)
    grown = np.asarray(ndimage.binary_dilation(padded, structure=element), dtype=bool)
    filled = _fill_plane_holes(grown, axis, max_voxels)
    closed = padded | np.asarray(ndimage.binary_erosion(filled, structure=element), dtype=bool)
    closed = _bridge_components(closed, spacing / reach_mm)
    closed = _fill_plane_holes(closed, axis, max_voxels)

    whole = original.copy()
    whole[box] |= closed[tuple(slice(m, -m) for m in margin)]
    return whole


def _plane_element(spacing: Float64Array, axis: int, gap_mm: float) -> Mask:
    """Return an ellipse in the plane across ``axis`` that is one voxel wider than the gap.

    Its width may be even, so that a gap of three voxels is closed and one of four is not.
    """
    width = np.where(np.arange(3) == axis, 1, np.floor(gap_mm / spacing + _TOLERANCE).astype(int) + 1)
    offsets = np.indices(width.tolist()) - (width.reshape(3, 1, 1, 1) - 1) / 2
    return ((2 * offsets / width.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= 1 + _TOLERANCE


def _distance_map(mask: Mask, sampling: Float64Array) -> Float64Array:
    """Return the distance of every voxel to the nearest one inside the mask, both by their centres."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=sampling))


def _fill_plane_holes(mask: Mask, axis: int, max_voxels: float) -> Mask:
    """Fill holes of at most ``max_voxels`` in the planes across ``axis``."""
    structure = ndimage.generate_binary_structure(3, 1)
    across = [slice(None)] * 3
    for end in (0, 2):
        across[axis] = slice(end, end + 1)
        structure[tuple(across)] = False
    holes = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(~mask, structure=structure, output=holes)
    fillable = np.bincount(holes.ravel()) <= max_voxels
    fillable[0] = False
    for other in {0, 1, 2} - {axis}:
        for end in (0, -1):
            fillable[np.take(holes, end, axis=other)] = False
    return mask | fillable[holes]


def _bridge_components(mask: Mask, scale: Float64Array) -> Mask:
    """Connect components whose distance is at most 1 in units of ``scale`` by the shortest way."""
    labels, n = label_components(mask)
    bridged = mask.copy()
    margin = np.ceil(1 / scale).astype(int)
    # A way is no longer than 1 and half a voxel: beyond this reach of a component none begins.
    reach = np.ceil((1 + 0.5 * scale.max()) / scale).astype(int)
    boxes = ndimage.find_objects(labels, n)
    for label, box in enumerate(boxes, start=1):
        around = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))
        nearby = labels[around]
        if not (nearby > label).any():
            continue
        to_this = _distance_map(nearby == label, sampling=scale)
        for other in np.unique(nearby[(to_this <= 1 + _TOLERANCE) & (nearby > label)]):
            about = tuple(
                slice(max(o.start - r - a.start, 0), max(o.stop + r - a.start, 0))
                for o, r, a in zip(boxes[other - 1], reach, around, strict=True)
            )
            here = nearby[about] == other
            distance = to_this[about][here].min()
            to_other = _distance_map(here, sampling=scale)
            # half a voxel of detour, so that the way is connected in every direction
            bridged[around][about] |= to_this[about] + to_other <= distance + 0.5 * scale.max()
    return bridged
