"""Evidence of contrast agent in a T1w, by comparison with another T1w of the same head.

Made for intake: it takes scans as they were converted (other grids, a few millimetres of motion, thick
slices, with or without skull), costs a few CPU seconds and never raises on an odd image.
"""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from scipy import linalg, ndimage

from mesems_mri.core.gel.evidence import ContrastEvidence, weigh_contrast
from mesems_mri.core.matching import match_resolution
from mesems_mri.core.typing import Affine, Float64Array, FloatArray, Mask
from mesems_mri.errors import InputError
from mesems_mri.images.anatomy import Anatomy, segment_anatomy
from mesems_mri.images.mni_alignment import align_to_mni
from mesems_mri.images.nifti import read_image
from mesems_mri.images.preparation import blur_and_resample
from mesems_mri.images.resampling import field_of_view, resample_image
from mesems_mri.images.volume import Grid, Volume

_SPACING_MM: Final = 2.0
_LEVELS_MM: Final = (8.0, 4.0)
_STEPS: Final = 15
_MAX_SAMPLES: Final = 20_000
_INSIDE_STRIPPED_MM: Final = 2.0
_TISSUE: Final = 0.35
_MIN_STRIPPED_BACKGROUND: Final = 0.3
_MAX_STRIPPED_ML: Final = 2200.0
# As for a whole brain or a part of one (`images.brain`).
_MIN_AGREEMENT: Final = 0.6


def compare_t1(pre: Path, post: Path) -> ContrastEvidence:
    """Compare two T1w files of one head: whether the second is enhanced against the first.

    Parameters
    ----------
    pre, post : Path
        NIfTI files: the T1w taken for the one before contrast (or that of the last visit), and the one taken
        for the one after it.

    Returns
    -------
    ContrastEvidence
        A file that cannot be read, shows no head or another head gives no vote, and the reason.
    """
    try:
        first, second = (read_image(path, header_repair=True)[0] for path in (pre, post))
        return compare_volumes(first, second)
    except (InputError, ValueError, np.linalg.LinAlgError):
        return ContrastEvidence(reason="unreadable")


def compare_volumes(first: Volume, second: Volume) -> ContrastEvidence:
    """Compare two T1w of one head that need not be registered.

    Parameters
    ----------
    first, second : Volume
        Any grids and scales; finite.

    Returns
    -------
    ContrastEvidence
        Of the second against the first; swapping them gives exactly the reverse.
    """
    if _fingerprint(second) < _fingerprint(first):
        return _compare(second, first).reversed()
    return _compare(first, second)


def _fingerprint(volume: Volume) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(volume.array).tobytes() + volume.affine.tobytes()).digest()


def _compare(first: Volume, second: Volume) -> ContrastEvidence:
    # Positive: air of a signed image and the ringing around a head say nothing.
    first, second = (Volume(np.maximum(v.array, 0), v.affine) for v in (first, second))
    if any(min(v.shape) < 2 or not v.array.any() for v in (first, second)):
        return ContrastEvidence(reason="unreadable")
    fine = [_at(first, _SPACING_MM), _at(second, _SPACING_MM)]
    matrix = np.eye(4)
    for level_mm in _LEVELS_MM:
        matrix = _register(_at(fine[0], level_mm), _at(fine[1], level_mm), matrix)
    stripped = [_brain_of_stripped(volume) for volume in fine]
    anatomy = segment_anatomy(first)
    if align_to_mni(anatomy).agreement < _MIN_AGREEMENT:
        return ContrastEvidence(reason="unlike")
    grid = _grid_around(first, anatomy.mask)
    images, seen = [], np.ones(grid.shape, bool)
    for volume, brain, other, xfm in zip(fine, stripped, (second, first), (np.eye(4), matrix), strict=True):
        images.append(resample_image(_with_profile_of(volume, other), grid, xfm, order=3))
        seen &= field_of_view(volume, grid, xfm)
        if brain is not None:
            edge = Volume(brain.astype(np.float32), volume.affine)
            seen &= resample_image(edge, grid, xfm) > 0.99
    return weigh_contrast(
        images[0], images[1], brain=_brain_on(grid, anatomy), seen=seen, spacing_mm=grid.spacing_mm
    )


def _at(volume: Volume, spacing_mm: float) -> Volume:
    return Volume(*blur_and_resample(volume, spacing_mm))


def _with_profile_of(volume: Volume, other: Volume) -> Volume:
    """Blur an image on its isotropic grid along the slices of the other one, to their thickness."""
    normal = np.linalg.solve(volume.affine[:3, :3], other.world_plane_normal()) * volume.spacing_mm
    x, y, z = (float(c) for c in normal / np.linalg.norm(normal))
    thickness_mm = other.slice_thickness_mm
    if thickness_mm <= 1.1 * _SPACING_MM:
        return volume
    blurred = match_resolution(
        volume.array,
        spacing_mm=volume.spacing_mm,
        plane_normal=(x, y, z),
        thickness_mm=_SPACING_MM,
        target_thickness_mm=thickness_mm,
    )
    return Volume(blurred, volume.affine)


def _foreground(array: FloatArray) -> Mask:
    bright = array[array > 0.5 * array[array > 0].mean(dtype=np.float64)]
    return array > _TISSUE * np.median(bright)


def _brain_of_stripped(volume: Volume) -> Mask | None:
    """Return what is left of an image whose skull was removed, without its edge; None if it has its skull."""
    left = ndimage.binary_fill_holes(volume.array > 0)
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    if 1 - left.mean() < _MIN_STRIPPED_BACKGROUND or left.sum() * voxel_ml > _MAX_STRIPPED_ML:
        return None
    steps = max(1, round(_INSIDE_STRIPPED_MM / min(volume.spacing_mm)))
    return np.asarray(ndimage.binary_erosion(left, iterations=steps))


def _grid_around(volume: Volume, brain: Mask) -> Grid:
    """Return a grid along the axes of the scanner around the brain."""
    index = np.argwhere(brain)
    place_mm = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    low = np.floor(place_mm.min(axis=0) - 8.0)
    x, y, z = np.ceil((place_mm.max(axis=0) + 8.0 - low) / _SPACING_MM).astype(int) + 1
    affine = np.diag([_SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = low
    return Grid((int(x), int(y), int(z)), affine)


def _brain_on(grid: Grid, anatomy: Anatomy) -> Mask:
    return anatomy.on(grid, "brain") > 0.5


def _register(fixed: Volume, moving: Volume, start: Affine) -> Affine:
    """Register two scans of one contrast by a rotation and a shift: least squares, robust to what enhances.

    Gauss-Newton steps with a gain and an offset; costs a hundredth of the search that knows no contrast.
    """
    index = np.argwhere(_foreground(fixed.array))
    index = index[:: max(1, len(index) // _MAX_SAMPLES)]
    place_mm = index @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    wanted = fixed.array[tuple(index.T)].astype(np.float64)
    to_index = np.linalg.inv(moving.affine)
    gradient = [ndimage.sobel(moving.array, axis=axis) / np.float32(32.0) for axis in range(3)]
    limit = np.array(moving.shape)[:, None] - 1
    matrix = start
    for _ in range(_STEPS):
        moved_mm = place_mm @ matrix[:3, :3].T + matrix[:3, 3]
        where = (moved_mm @ to_index[:3, :3].T + to_index[:3, 3]).T
        inside = np.all((where >= 0) & (where <= limit), axis=0)
        if np.count_nonzero(inside) < 500:
            return start
        where, moved_mm = where[:, inside], moved_mm[inside]
        values = ndimage.map_coordinates(moving.array, where, order=1).astype(np.float64)
        slope = np.stack([ndimage.map_coordinates(g, where, order=1) for g in gradient]).astype(np.float64)
        turned = np.asarray(to_index[:3, :3].T @ slope, np.float64)
        step = _gauss_newton(values, wanted[inside], turned, moved_mm)
        matrix = step @ matrix
        if np.abs(step - np.eye(4)).max() < 1e-3:
            break
    return matrix


def _gauss_newton(
    values: Float64Array, wanted: Float64Array, slope: Float64Array, moved_mm: Float64Array
) -> Affine:
    """Return the rigid step that brings the values of the moving scan closest to those that are wanted."""
    line = np.column_stack([values, np.ones_like(values)])
    weight = np.ones(len(values))
    for _ in range(3):
        fit = np.linalg.lstsq(line * weight[:, None], wanted * weight, rcond=None)[0]
        residual = wanted - line @ fit
        sigma = 1.4826 * float(np.median(np.abs(residual))) + 1e-9
        weight = 1 / np.sqrt(1 + (residual / (2 * sigma)) ** 2)
    centre = moved_mm.mean(axis=0)
    columns = np.hstack([slope.T, np.cross(moved_mm - centre, slope.T)]) * fit[0]
    weighted = line * (weight**2)[:, None]
    columns -= line @ np.linalg.solve(weighted.T @ line, weighted.T @ columns)
    normal = columns.T @ (columns * (weight**2)[:, None])
    normal += 1e-9 * np.trace(normal) * np.eye(6)
    turn = np.linalg.solve(normal, columns.T @ (weight**2 * residual))
    step = np.eye(4)
    step[:3, :3] = linalg.expm(np.cross(np.eye(3), turn[3:]))
    step[:3, 3] = centre + turn[:3] - step[:3, :3] @ centre
    return step
