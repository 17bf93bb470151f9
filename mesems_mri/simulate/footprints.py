"""Lesions on the grid of a scan: their share in every voxel, and the masks of one visit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mesems_mri.core.feret import largest_in_plane_diameter_mm
from mesems_mri.images.volume import spacing_of
from mesems_mri.simulate.lesions import Lesion, LesionMaker
from mesems_mri.simulate.scanner import FloatArray, ScanGrid

Box = tuple[slice, slice, slice]
MIN_VOLUME_MM3, MIN_DIAMETER_MM = 14.0, 3.0


@dataclass(frozen=True, eq=False)
class Footprint:
    """A focus on a scan: the box around it and the share (0 to 1) of its voxels."""

    box: Box
    share: NDArray[np.float32]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Voxels of which at least half belong to the focus."""
        return self.share >= 0.5


def _empty() -> Footprint:
    return Footprint((slice(0, 0), slice(0, 0), slice(0, 0)), np.zeros((0, 0, 0), np.float32))


def draw(
    depth: Callable[[FloatArray], FloatArray], lesion: Lesion, grid: ScanGrid, maker: LesionMaker
) -> Footprint:
    """Draw a focus of a lesion on a scan, where it lies in white or grey matter.

    Parameters
    ----------
    depth : callable
        Depth (mm) of head points (3, n) in the focus.
    lesion : Lesion
        Lesion whose centre and reach bound the focus.
    grid : ScanGrid
        Scan on which it is drawn.
    maker : LesionMaker
        Knows the parenchyma of the head.
    """
    spacing = np.array(spacing_of(grid.to_head))
    centre = (np.linalg.inv(grid.to_head) @ np.append(lesion.centre_mm, 1.0))[:3]
    start = np.clip(np.floor(centre - lesion.reach_mm / spacing), 0, grid.shape).astype(int)
    stop = np.clip(np.ceil(centre + lesion.reach_mm / spacing) + 1, 0, grid.shape).astype(int)
    if (stop <= start).any():
        return _empty()
    size = tuple(int(n) for n in stop - start)
    index = np.indices(size).reshape(3, -1) + start[:, None]
    share = np.zeros(index.shape[1])
    # Points within a voxel: two along a side, more along a thick slice.
    sides = [max(2, round(1.5 * side / spacing.min())) for side in spacing]
    within = [(np.arange(n) + 0.5) / n - 0.5 for n in sides]
    offsets = np.stack(np.meshgrid(*within)).reshape(3, -1).T
    for offset in offsets:
        points = grid.to_head[:3, :3] @ (index + offset[:, None]) + grid.to_head[:3, 3:]
        share += np.clip(0.5 + depth(points) / (0.5 * spacing.min()), 0, 1) / len(offsets)
    points = grid.to_head[:3, :3] @ index + grid.to_head[:3, 3:]
    share *= np.clip(maker.parenchyma_at(points), 0, 1)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return Footprint((x, y, z), share.reshape(size).astype(np.float32))


@dataclass(frozen=True, eq=False)
class CountedFocus:
    """A focus that counts at a visit.

    Parameters
    ----------
    lesion : Lesion
        To which it belongs.
    footprint : Footprint
        On the scan where it is counted.
    volume_mm3, diameter_mm : float
        Of its mask.
    centre_mm : ndarray of float64, shape (3,)
        Head mm.
    """

    lesion: Lesion
    footprint: Footprint
    volume_mm3: float
    diameter_mm: float
    centre_mm: FloatArray


def find_foci(
    lesions: Iterable[Lesion], week: float, grid: ScanGrid, maker: LesionMaker, *, enhancing: bool
) -> dict[int, CountedFocus]:
    """Return the foci of a week that are large enough to count, by number of their lesion."""
    foci = {}
    for lesion in lesions:
        if not (lesion.enhances(week) if enhancing else lesion.exists(week)):
            continue
        shape = lesion.enhancing_depth if enhancing else lesion.depth
        footprint = draw(lambda points, shape=shape: shape(points, week), lesion, grid, maker)
        voxels = np.argwhere(footprint.mask)
        volume_mm3 = len(voxels) * grid.voxel_mm3
        diameter_mm = largest_in_plane_diameter_mm(voxels, spacing_mm=spacing_of(grid.affine))
        if volume_mm3 < MIN_VOLUME_MM3 or diameter_mm < MIN_DIAMETER_MM:
            continue
        index = voxels.mean(axis=0) + [part.start for part in footprint.box]
        centre_mm = (grid.to_head @ np.append(index, 1.0))[:3]
        foci[lesion.number] = CountedFocus(lesion, footprint, volume_mm3, diameter_mm, centre_mm)
    return foci


def find_growth(
    now: dict[int, CountedFocus], before: dict[int, CountedFocus], grid: ScanGrid
) -> dict[int, tuple[Footprint, float]]:
    """Return the growth of the lesions that count as enlarging: where, and how much (mm3).

    At least 20 mm3 and half of the lesion of the reference visit, both drawn on the scan of now.
    """
    growth = {}
    for number, focus in now.items():
        if number not in before:
            continue
        earlier = before[number]
        grown = focus.footprint.mask & ~earlier.footprint.mask
        volume_mm3 = float(grown.sum() * grid.voxel_mm3)
        if volume_mm3 >= 20.0 and volume_mm3 >= 0.5 * earlier.volume_mm3:
            growth[number] = (Footprint(focus.footprint.box, grown.astype(np.float32)), volume_mm3)
    return growth


def paint_mask(footprints: Iterable[Footprint], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return the union of footprints as a mask of the whole scan."""
    mask = np.zeros(shape, bool)
    for footprint in footprints:
        mask[footprint.box] |= footprint.mask
    return mask
