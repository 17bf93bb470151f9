"""The engine of the rigid registration: scans made ready for greedy, and the call of it.

greedy (Yushkevich et al., 2016, https://greedy.readthedocs.io) jitters its samples and adds noise with a seed
from the clock; here neither is left to it, so that equal input gives equal bytes.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from picsl_greedy import Greedy3D
from scipy import linalg, ndimage

from mesems_mri.core.typing import Affine, FloatArray, Mask
from mesems_mri.images.itk import to_itk
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume

_MARGIN_MM: Final = 12.0
_OBLIQUE_MM: Final = 2.5
# The surroundings of the brain steady the optimiser (0.1-0.3 mm on raw scans).
_SURROUNDINGS_MM: Final = 6.0


@dataclass(frozen=True, eq=False)
class RegistrationScan:
    """A scan cropped to the brain, averaged down, clipped to the brain's intensities."""

    volume: Volume
    mask: Mask
    surroundings: FloatArray
    """1 in the mask and close to it, else 0."""
    oblique: Volume
    """The same on an isotropic grid turned against every voxel grid, and its surroundings."""
    oblique_surroundings: FloatArray


def foreground(volume: Volume) -> Mask:
    """Return a crude mask for a scan that has none: above the mean of the positive voxels / 2."""
    bright = volume.array > 0.5 * volume.array[volume.array > 0].mean(dtype=np.float64)
    return bright if bright.any() else np.ones(volume.shape, dtype=bool)


def _crop(volume: Volume, mask: Mask, margin_mm: float) -> tuple[Volume, Mask]:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    sides = []
    for side, size, spacing in zip(box, mask.shape, volume.spacing_mm, strict=True):
        margin = int(np.ceil(margin_mm / spacing))
        sides.append(slice(max(0, side.start - margin), min(size, side.stop + margin)))
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [sides[0].start, sides[1].start, sides[2].start, 1.0])[:3]
    return Volume(volume.array[tuple(sides)], affine), mask[tuple(sides)]


def average_down(volume: Volume, mask: Mask, spacing_mm: float) -> RegistrationScan:
    """Average blocks of voxels to about `spacing_mm`; thick slices stay as they are."""
    cropped, cropped_mask = _crop(volume, mask, _MARGIN_MM)
    factors = [
        max(1, min(n, round(spacing_mm / s))) for n, s in zip(cropped.shape, cropped.spacing_mm, strict=True)
    ]
    n = [size // factor for size, factor in zip(cropped.shape, factors, strict=True)]
    whole = tuple(slice(0, size * factor) for size, factor in zip(n, factors, strict=True))
    blocks = (n[0], factors[0], n[1], factors[1], n[2], factors[2])
    array = cropped.array[whole].reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float64)
    averaged_mask = cropped_mask[whole].reshape(blocks).mean(axis=(1, 3, 5)) >= 0.5
    affine = cropped.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = (cropped.affine @ [*((f - 1) / 2 for f in factors), 1.0])[:3]
    if not averaged_mask.any():
        averaged_mask = np.ones(array.shape, dtype=bool)
    low, high = np.percentile(array[averaged_mask], [0.5, 99.5])
    averaged = Volume(np.clip(array, low, high).astype(np.float32), affine)
    distance_mm = ndimage.distance_transform_edt(~averaged_mask, sampling=averaged.spacing_mm)
    surroundings = (np.asarray(distance_mm) <= _SURROUNDINGS_MM).astype(np.float32)
    grid = _oblique_grid(averaged, averaged_mask, max(spacing_mm, _OBLIQUE_MM, min(averaged.spacing_mm)))
    return RegistrationScan(
        averaged,
        averaged_mask,
        surroundings,
        Volume(resample_image(averaged, grid, np.eye(4)), grid.affine),
        (resample_image(Volume(surroundings, affine), grid, np.eye(4)) > 0.5).astype(np.float32),
    )


def _oblique_grid(volume: Volume, mask: Mask, spacing_mm: float) -> Grid:
    """Return a turned grid around the mask.

    Where two voxel grids coincide, mutual information peaks falsely. greedy jitters its samples against
    that, with a seed from the clock; samples on a grid at odd angles do the same and can be repeated.
    """
    turn = linalg.expm(np.cross(np.eye(3), [0.09, 0.16, 0.12]))
    voxels = np.argwhere(mask)
    centre = (volume.affine @ np.append(voxels.mean(axis=0), 1.0))[:3]
    apart = turn.T @ ((voxels @ volume.affine[:3, :3].T + volume.affine[:3, 3]) - centre).T
    low = np.floor((apart.min(axis=1) - _SURROUNDINGS_MM) / spacing_mm)
    nx, ny, nz = (np.ceil((apart.max(axis=1) + _SURROUNDINGS_MM) / spacing_mm) - low + 1).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing_mm
    affine[:3, 3] = centre + affine[:3, :3] @ low
    return Grid((int(nx), int(ny), int(nz)), affine)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence greedy's optimiser, which reports every stop of its line search on the C streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            for descriptor, original in zip(kept, (1, 2), strict=True):
                os.dup2(descriptor, original)
                os.close(descriptor)


def run_greedy(fixed: RegistrationScan, moving: RegistrationScan, start: Affine, schedule: str) -> Affine:
    """Return the matrix that greedy finds from `start`, or `start` when its optimiser breaks off.

    The start is put into the geometry of the moving image instead of `-ia`: it needs no file.
    """
    placed = np.linalg.inv(start) @ moving.volume.affine
    images = {
        "fixed": to_itk(fixed.oblique.array, fixed.oblique.affine),
        "moving": to_itk(moving.volume.array, placed),
        "fixed_mask": to_itk(fixed.oblique_surroundings, fixed.oblique.affine),
        "moving_mask": to_itk(moving.surroundings, placed),
    }
    command = (
        "-d 3 -a -dof 6 -m NMI -i fixed moving -gm fixed_mask -mm moving_mask "
        f"-ia-identity -n {schedule} -o found -threads 1 -jitter 0 -V 0"
    )
    greedy = Greedy3D()
    try:
        with _quiet():
            greedy.execute(command, out=io.StringIO(), err=io.StringIO(), found=None, **images)
        step = np.asarray(greedy["found"], dtype=np.float64)
    except RuntimeError:
        return start
    if step.shape != (4, 4) or not np.isfinite(step).all():
        return start
    return start @ nearest_rigid(step)


def nearest_rigid(matrix: Affine) -> Affine:
    """Return the rigid transform closest to a 4x4 matrix."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    rigid = matrix.copy()
    rigid[:3, :3] = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
    rigid[3] = (0.0, 0.0, 0.0, 1.0)
    return rigid
