"""The simulated scanners: sampling of a head, slice profile, coil bias, noise and scan files.

Magnitude noise is Rician (Gudbjartsson and Patz 1995, Magn Reson Med 34:910) and independent in every image.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.images.volume import spacing_of
from mesems_mri.simulate.sites import Site, SliceGeometry

FloatArray = NDArray[np.floating]
Affine = NDArray[np.float64]
# Full width at half maximum of a Gaussian, in standard deviations.
_FWHM_SIGMAS = float(np.sqrt(8 * np.log(2)))


@dataclass(frozen=True, eq=False)
class ScanGrid:
    """Voxels of a scan and where the head lay in it.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray of float64, shape (4, 4)
        Voxel -> scanner RAS mm, as in the header.
    to_head : ndarray of float64, shape (4, 4)
        Voxel -> head mm.
    """

    shape: tuple[int, int, int]
    affine: Affine
    to_head: Affine

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(spacing_of(self.affine)))

    def split_slices(self, points: int) -> "ScanGrid":
        """Return the planes within the slices: ``points`` from one to the next, and beyond both ends."""
        if points == 1:
            return self
        within = np.diag([1, 1, 1 / points, 1.0])
        within[2, 3] = -1.0  # the profile reaches as far as the middle of the next slice
        nx, ny, nz = self.shape
        return ScanGrid((nx, ny, (nz + 1) * points + 1), self.affine @ within, self.to_head @ within)

    def cropped(self, axis: int, start: int, stop: int) -> "ScanGrid":
        """Return the part of the grid from one plane (included) to another (not included)."""
        shape = list(self.shape)
        shape[axis] = stop - start
        shift = np.eye(4)
        shift[axis, 3] = start
        nx, ny, nz = shape
        return ScanGrid((nx, ny, nz), self.affine @ shift, self.to_head @ shift)


def rigid(rotation_deg: FloatArray, translation_mm: FloatArray) -> Affine:
    """Return the 4x4 matrix that rotates about x, then y, then z, and then translates."""
    x, y, z = np.deg2rad(rotation_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    matrix[:3, 3] = translation_mm
    return matrix


def make_grid_affine(site: Site, geometry: SliceGeometry) -> Affine:
    """Return voxel -> scanner RAS mm of a site's slices, centred on the isocentre."""
    axes = np.zeros((4, 4))
    axes[3, 3] = 1.0
    for array_axis, world_axis in enumerate(geometry.world_axes):
        axes[world_axis, array_axis] = site.flip[world_axis] * geometry.spacing_mm[array_axis]
    affine = rigid(np.array(site.tilt_deg), np.zeros(3)) @ axes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(geometry.shape) - 1) / 2)
    return affine


def spline_coefficients(image: FloatArray) -> NDArray[np.float32]:
    """Return the cubic spline coefficients of an image."""
    coefficients = np.empty(image.shape, np.float32)
    ndimage.spline_filter(image, 3, output=coefficients)  # pyright: ignore[reportArgumentType]
    return coefficients


def sample_head(
    image: FloatArray, head_affine: Affine, shape: tuple[int, int, int], to_head: Affine, *, order: int = 3
) -> NDArray[np.float32]:
    """Sample a head image on the voxels of a scan.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        Cubic spline coefficients of the image (`spline_coefficients`); the image itself for order 1.
    head_affine : ndarray of float64, shape (4, 4)
        Head voxel -> head mm.
    shape : tuple of int
        Shape of the scan.
    to_head : ndarray of float64, shape (4, 4)
        Scan voxel -> head mm.
    order : int
        Of the spline.

    Returns
    -------
    ndarray of float32
        Of the scan's shape.
    """
    matrix = np.linalg.inv(head_affine) @ to_head
    scan = np.empty(shape, np.float32)
    ndimage.affine_transform(
        image,
        matrix[:3, :3],
        offset=matrix[:3, 3],  # pyright: ignore[reportArgumentType]
        output=scan,
        order=order,
        prefilter=False,
    )
    return scan


def excite_slices(planes: FloatArray, points: int) -> FloatArray:
    """Average planes (X, Y, Z) over the profile of every slice; the inverse of `ScanGrid.split_slices`."""
    if points == 1:
        return planes
    offsets = np.arange(-points, points + 1) / points
    weights = np.exp(-0.5 * (offsets * _FWHM_SIGMAS) ** 2).astype(np.float32)
    weights /= weights.sum()
    number = (planes.shape[2] - 1) // points - 1
    slices = np.zeros((*planes.shape[:2], number), np.float32)
    for start, weight in enumerate(weights):
        slices += weight * planes[:, :, start : start + points * (number - 1) + 1 : points]
    return slices


def acquire(
    signal: FloatArray, affine: Affine, site: Site, *, sigma: float, gain: float, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Make a magnitude image: coil bias, Rician noise, receiver gain and rounding.

    Parameters
    ----------
    signal : ndarray of float, shape (x, y, z)
        Noise-free signal.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> scanner mm, for the bias.
    site : Site
        Whose coil bias is applied.
    sigma : float
        Noise of the real and the imaginary part, in units of the signal.
    gain : float
        Stored units per unit of signal.
    rng : Generator
        Noise is drawn from it.
    """
    index = np.ogrid[tuple(slice(n) for n in signal.shape)]
    position = [
        (affine[axis, 3] + sum(affine[axis, k] * index[k] for k in range(3))) / 100 for axis in range(3)
    ]
    bias = 1 + sum(c * p for c, p in zip(site.bias, position, strict=False))
    bias = bias - site.bias[3] * sum(p**2 for p in position)
    noise = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    magnitude = np.hypot(signal * np.clip(bias, 0.2, None) + noise[0], noise[1])
    return np.clip(np.rint(gain * magnitude), 0, np.iinfo(np.int16).max).astype(np.int16)


def write_scan(path: Path, array: NDArray[np.int16], affine: Affine) -> None:
    """Write a scan as int16 in scanner space (form code 1); equal input gives equal bytes."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    # A quaternion in single precision turns by up to 0.03 degrees; let both forms say the same.
    image.set_sform(image.get_qform(), code=1)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))
