"""Images as planes of a patient: what a scan is in DICOM, and what a scanner makes beside it.

DICOM counts millimetres to the left, to the back and to the head (LPS), NIfTI to the right, front and head.
"""

import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MIN_HEADER_BYTES = 352


@dataclass(frozen=True, eq=False)
class Planes:
    """Parallel slices.

    Parameters
    ----------
    pixels : ndarray of int16, shape (slices, rows, columns)
        Signal, or a difference of signals.
    first_mm : ndarray of float64, shape (3,)
        Centre of the first pixel of the first slice, LPS.
    step_mm : ndarray of float64, shape (3,)
        From one slice to the next.
    across, down : ndarray of float64, shape (3,)
        Directions along a row and along a column, of length 1.
    pixel_mm : tuple of float
        From row to row and from column to column.
    thickness_mm : float
        Of a slice.
    complete : int
        Slices that the scanner made; `pixels` has fewer when the rest got lost.
    """

    pixels: NDArray[np.int16]
    first_mm: FloatArray
    step_mm: FloatArray
    across: FloatArray
    down: FloatArray
    pixel_mm: tuple[float, float]
    thickness_mm: float
    complete: int

    @property
    def three_d(self) -> bool:
        """Return whether the voxels are those of a 3D sequence, as thick as they are wide."""
        return abs(self.spacing_mm - self.pixel_mm[0]) < 0.2 * self.spacing_mm

    @property
    def spacing_mm(self) -> float:
        """From one slice to the next."""
        return float(np.linalg.norm(self.step_mm))

    @property
    def plane(self) -> str:
        """Plane of the slices: ``Tra``, ``Sag`` or ``Cor``."""
        return ("Sag", "Cor", "Tra")[int(np.argmax(np.abs(self.step_mm)))]

    def position(self, index: int) -> FloatArray:
        """Return the centre of the first pixel of a slice."""
        return self.first_mm + index * self.step_mm

    def location(self, index: int) -> float:
        """Return how far along the normal of the slices a slice lies."""
        return float(self.position(index) @ np.cross(self.across, self.down))

    def only(self, number: int) -> "Planes":
        """Return the first slices, the others being lost."""
        return replace(self, pixels=self.pixels[:number])


def read_scan(path: Path) -> Planes:
    """Read a scan of the simulated trial; of a file that breaks off, the slices that are whole."""
    content = path.read_bytes()
    try:
        raw = gzip.decompress(content)
    except EOFError:
        raw = zlib.decompressobj(wbits=31).decompress(content)
    header = nib.Nifti1Header(raw[:348])
    nx, ny, nz = (int(n) for n in header.get_data_shape())
    whole = min(nz, (len(raw) - _MIN_HEADER_BYTES) // (2 * nx * ny))
    pixels = np.frombuffer(raw, "<i2", whole * nx * ny, _MIN_HEADER_BYTES)
    affine = np.asarray(header.get_best_affine(), np.float64)
    return slice_up(pixels.reshape((nx, ny, whole), order="F"), affine, complete=nz)


def slice_up(array: NDArray[np.int16], affine: FloatArray, *, complete: int | None = None) -> Planes:
    """Lay an array out as slices along its third axis, in the way a radiologist looks at them.

    Rows run to the left, or to the back in sagittal slices; columns run to the back, or to the feet in
    sagittal and coronal slices.

    Parameters
    ----------
    array : ndarray of float, shape (x, y, z)
    affine : ndarray of float64, shape (4, 4)
        Voxel -> RAS mm, without shear.
    complete : int or None
        Slices there would be, if some of the last are missing.
    """
    to_lps = _TO_LPS @ affine
    corner = to_lps[:3, 3].copy()
    steps, flips = [], []
    for axis, extent in enumerate(array.shape):
        step = to_lps[:3, axis]
        main = int(np.argmax(np.abs(step)))
        # The slices stay in their order, so that those that are missing are the last.
        backwards = axis < 2 and (step[main] > 0) == (main == 2)
        if backwards:
            corner += (extent - 1) * step
        steps.append(-step if backwards else step)
        flips.append(slice(None, None, -1 if backwards else 1))
    widths = [float(np.linalg.norm(step)) for step in steps]
    return Planes(
        pixels=np.ascontiguousarray(array[tuple(flips)].T),
        first_mm=corner,
        step_mm=steps[2],
        across=steps[0] / widths[0],
        down=steps[1] / widths[1],
        pixel_mm=(widths[1], widths[0]),
        thickness_mm=widths[2],
        complete=array.shape[2] if complete is None else complete,
    )


def reformat(planes: Planes, every: int) -> Planes:
    """Cut the planes the other way (axial instead of sagittal, coronal instead of axial), as an MPR does."""
    axes = (1, 2, 0) if planes.plane == "Sag" else (1, 0, 2)
    steps = [planes.step_mm, planes.down * planes.pixel_mm[0], planes.across * planes.pixel_mm[1]]
    affine = np.eye(4)
    for column, axis in enumerate((axes[2], axes[1], axes[0])):
        affine[:3, column] = steps[axis]
    affine[:3, 3] = planes.first_mm
    other = slice_up(np.transpose(planes.pixels, axes).T, _TO_LPS @ affine)
    return replace(
        other,
        pixels=np.ascontiguousarray(other.pixels[::every]),
        step_mm=other.step_mm * every,
        thickness_mm=other.spacing_mm * every,
        complete=len(range(0, other.complete, every)),
    )


def localizers(planes: Planes, *, matrix: int = 96, pixel_mm: float = 2.7, each: int = 3) -> list[Planes]:
    """Make a localizer: a few thick slices of every orientation, straight to the scanner."""
    centre = (
        planes.first_mm
        + (
            planes.step_mm * (len(planes.pixels) - 1)
            + planes.down * planes.pixel_mm[0] * (planes.pixels.shape[1] - 1)
            + planes.across * planes.pixel_mm[1] * (planes.pixels.shape[2] - 1)
        )
        / 2
    )
    to_index = np.linalg.inv(
        np.stack([planes.step_mm, planes.down * planes.pixel_mm[0], planes.across * planes.pixel_mm[1]], 1)
    )
    found = []
    for across, down in (((0, 1, 0), (0, 0, -1)), ((1, 0, 0), (0, 0, -1)), ((1, 0, 0), (0, 1, 0))):
        across, down = np.array(across, float), np.array(down, float)
        step = np.cross(across, down) * 15.0
        half = pixel_mm * (matrix - 1) / 2
        first = centre - step * (each - 1) / 2 - half * (across + down)
        axes = to_index @ np.stack([step, down * pixel_mm, across * pixel_mm], 1)
        pixels = ndimage.affine_transform(
            planes.pixels,
            axes,
            offset=to_index @ (first - planes.first_mm),  # pyright: ignore[reportArgumentType]
            output_shape=(each, matrix, matrix),
            order=0,
        )
        found.append(Planes(pixels, first, step, across, down, (pixel_mm, pixel_mm), 7.0, each))
    return found


def moved(planes: Planes) -> Planes:
    """Return the slices as they are when the head moved: with ghosts along the columns."""
    ghosts = np.roll(planes.pixels, 7, axis=1).astype(np.int32) + np.roll(planes.pixels, -11, axis=1)
    return replace(planes, pixels=((3 * planes.pixels.astype(np.int32) + ghosts) // 5).astype(np.int16))


def again(planes: Planes) -> Planes:
    """Return the slices of a second scan of the same: with other noise."""
    rng = np.random.default_rng(planes.pixels.shape)
    noise = np.rint(rng.normal(0, 3, planes.pixels.shape)).astype(np.int16)
    return replace(
        planes, pixels=np.where(planes.pixels > 0, np.maximum(planes.pixels + noise, 0), 0).astype(np.int16)
    )


def subtract(after: Planes, before: Planes) -> Planes:
    """Return what is brighter or darker after contrast; both on the same slices."""
    return replace(after, pixels=after.pixels - before.pixels)
