"""An image with its place in the world, and the grids that images are resampled to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import NDArray

from mesems_mri.core.typing import Affine, Float64Array, FloatArray, Normal, Spacing

Scalar = TypeVar("Scalar", bound=np.generic)

# Below this ratio between the largest and the next spacing a scan counts as isotropic (3D).
_THICK_SLICE_RATIO: Final = 1.3


def spacing_of(affine: Affine) -> Spacing:
    """Return the voxel spacing (mm) of a 4x4 voxel -> RAS mm affine."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(x), float(y), float(z)


def corners_of(shape: Sequence[int]) -> Float64Array:
    """Return the eight outer corners of a grid, homogeneous voxel coordinates, shape (4, 8)."""
    edges = [(-0.5, n - 0.5) for n in shape[:3]]
    points = [(x, y, z, 1.0) for x in edges[0] for y in edges[1] for z in edges[2]]
    return np.array(points, dtype=np.float64).T


def corner_distance_mm(shape: Sequence[int], one: Affine, other: Affine) -> float:
    """Return the largest distance (mm) that two affines put between the same corner of a grid."""
    apart = (one - other)[:3] @ corners_of(shape)
    return float(np.linalg.norm(apart, axis=0).max())


def as_ras(array: FloatArray, affine: Affine) -> tuple[FloatArray, Spacing]:
    """Reorient an image to the nearest RAS axes, by flips and swaps.

    Parameters
    ----------
    array : ndarray of float32, shape (x, y, z)
        Intensities in file order.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm.

    Returns
    -------
    array : ndarray of float32, shape (x, y, z)
        The same voxels.
    spacing_mm : tuple of float
        Voxel spacing along the new axes (mm).
    """
    orientation = io_orientation(affine)
    spacing = spacing_of(affine)
    order = np.argsort(orientation[:, 0])
    x, y, z = (spacing[int(axis)] for axis in order)
    return apply_orientation(array, orientation), (x, y, z)


def in_canonical_order(array: NDArray[Scalar], affine: Affine) -> tuple[NDArray[Scalar], Affine]:
    """Return an image in the one storage order in which all is computed: the nearest RAS axes.

    Parameters
    ----------
    array : ndarray, shape (x, y, z)
        Voxels in file order.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm.

    Returns
    -------
    array : ndarray, shape (x, y, z)
        The same voxels, in the same places of the world, whatever the order of the file.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm, rounded to less than a micrometre: a header stores it in single precision, so that
        the corner of the grid depends on the order of the file beyond that.
    """
    orientation = io_orientation(affine)
    turned = affine @ inv_ornt_aff(orientation, array.shape)
    turned[:3, :3] = np.round(turned[:3, :3], 6)
    turned[:3, 3] = np.round(turned[:3, 3], 3)
    return np.ascontiguousarray(apply_orientation(array, orientation)), turned + 0.0


def from_canonical_order(array: NDArray[Scalar], affine: Affine) -> NDArray[Scalar]:
    """Return an array in canonical order in the order of the file that has the affine.

    Parameters
    ----------
    array : ndarray, shape (x, y, z)
        As `in_canonical_order` gives it.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm of the file.
    """
    canonical = axcodes2ornt("RAS")
    return np.ascontiguousarray(apply_orientation(array, ornt_transform(canonical, io_orientation(affine))))


@dataclass(frozen=True, eq=False)
class Grid:
    """Grid that images are resampled to.

    Parameters
    ----------
    shape : tuple of int
        Three matrix sizes.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm.
    """

    shape: tuple[int, int, int]
    affine: Affine

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel spacing along the array axes (mm)."""
        return spacing_of(self.affine)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel (mm3)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True, eq=False)
class Volume:
    """A three-dimensional image with its place in the world.

    Parameters
    ----------
    array : ndarray of float32, shape (x, y, z)
        Intensities.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm, without shear.
    """

    array: FloatArray
    affine: Affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Matrix size."""
        x, y, z = self.array.shape
        return x, y, z

    @property
    def grid(self) -> Grid:
        """The grid of the image."""
        return Grid(self.shape, self.affine)

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel spacing along the array axes (mm)."""
        return spacing_of(self.affine)

    @property
    def slice_axis(self) -> int:
        """Array axis along which slices are stacked: the clearly coarsest one, else the last."""
        spacing = np.array(self.spacing_mm)
        axis = int(np.argmax(spacing))
        others = np.delete(spacing, axis)
        return axis if spacing[axis] >= _THICK_SLICE_RATIO * others.max() else 2

    @property
    def plane_normal(self) -> Normal:
        """Unit vector along the slice direction, in array axes."""
        x, y, z = (float(axis == self.slice_axis) for axis in range(3))
        return x, y, z

    @property
    def slice_thickness_mm(self) -> float:
        """Distance between neighbouring slices (mm); a gap between slices is counted in."""
        return self.spacing_mm[self.slice_axis]

    def world_plane_normal(self) -> Float64Array:
        """Return the unit vector along the slice direction in RAS mm, shape (3,)."""
        column = self.affine[:3, self.slice_axis]
        return column / np.linalg.norm(column)


def _subject_grid() -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = (-98.0, -134.0, -72.0)
    return Grid((197, 233, 189), affine)


SUBJECT_GRID: Final = _subject_grid()
"""Subject space: RAS, 1 mm isotropic, the grid of nilearn's MNI152 1 mm template."""
