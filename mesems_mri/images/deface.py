"""Defacing: the face is removed from the images of a visit, the same part of space from all, never brain.

The face is what lies in front of and below a plane of MNI space that runs from the forehead to behind the
palate; the anatomy model puts MNI space onto the head. Everything near a brain is left as it is: near the
brain of any image of the visit, and near that of the model.
"""

import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from scipy import ndimage

from mesems_mri.core.typing import Affine, Mask
from mesems_mri.errors import InputError, Reason
from mesems_mri.images.brain import BrainExtraction, extract_brain
from mesems_mri.images.nifti import read_image
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume, corners_of
from mesems_mri.models.atlas import load_atlas

MARGIN_MM: Final = 6.0
"""Nothing closer than this to a brain is removed; half a slice of 5 mm and the error of a mask lie in it."""
_FOREHEAD: Final = (85.0, 25.0)
_PALATE: Final = (12.0, -75.0)
"""Two points of the plane, MNI y and z: above the eyebrows, and behind the soft palate."""
_SPACING_MM: Final = 2.0
_PROBABLE_BRAIN: Final = 0.3
_COMPRESSION: Final = 6


@dataclass(frozen=True, eq=False)
class Face:
    """The part of space that is removed from every image of a visit.

    Parameters
    ----------
    mask : ndarray of bool, shape (x, y, z)
        On `grid`, along the axes of the scanner.
    grid : Grid
    nearest_brain_mm : float
        Distance of the closest removed place to a brain; infinite when nothing is removed.
    """

    mask: Mask
    grid: Grid
    nearest_brain_mm: float

    @property
    def volume_ml(self) -> float:
        """Volume removed from images that cover all of it."""
        return float(self.mask.sum()) * self.grid.voxel_volume_mm3 / 1000

    def of_image(self, volume: Volume) -> Mask:
        """Return which voxels of an image lie in the face."""
        to_grid = np.linalg.inv(self.grid.affine) @ volume.affine
        removed = np.zeros(volume.shape, dtype=bool)
        j, k = (
            axis.ravel() for axis in np.meshgrid(*(np.arange(n) for n in volume.shape[1:]), indexing="ij")
        )
        for i in range(volume.shape[0]):  # a plane at a time: a whole image of indices is large
            index = np.stack([np.full_like(j, i), j, k, np.ones_like(j)])
            nearest = np.rint((to_grid @ index)[:3]).astype(int)
            inside = np.all((nearest >= 0) & (nearest < np.array(self.mask.shape)[:, None]), axis=0)
            plane = np.zeros(len(j), dtype=bool)
            plane[inside] = self.mask[tuple(nearest[:, inside])]
            removed[i] = plane.reshape(volume.shape[1:])
        return removed


def find_face(volumes: Sequence[Volume]) -> Face:
    """Find the face in the images of one visit.

    Parameters
    ----------
    volumes : sequence of Volume
        All images of the visit, as they came from the scanner; the first one that shows a brain places the
        plane.

    Returns
    -------
    Face

    Raises
    ------
    InputError
        If none of them shows a brain: then it is not known what must not be cut.
    """
    found: list[tuple[Volume, BrainExtraction]] = []
    refused: InputError | None = None
    for volume in volumes:
        try:
            found.append((volume, extract_brain(volume)))
        except InputError as error:
            refused = refused or error
    if not found:
        msg = f"the face cannot be found: {refused}"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    grid = _common_grid(volumes)
    if all(extraction.skull_stripped for _, extraction in found):
        return Face(np.zeros(grid.shape, dtype=bool), grid, float("inf"))
    to_mni = found[0][1].to_mni
    brain = _brain_of_model(to_mni, grid)
    for volume, extraction in found:
        own = Volume(extraction.mask.astype(np.float32), volume.affine)
        brain |= resample_image(own, grid, np.eye(4)) > 0.01
    distance = ndimage.distance_transform_edt(~brain, sampling=_SPACING_MM)
    mask = _in_front_and_below(to_mni, grid) & (distance >= MARGIN_MM)
    nearest = float(distance[mask].min()) if mask.any() else float("inf")
    return Face(mask, grid, nearest)


def deface_files(paths: Sequence[Path]) -> Face:
    """Remove the face from the images of one visit, in place; nothing else of the files changes.

    Parameters
    ----------
    paths : sequence of Path
        ``.nii.gz``, the same bytes for the same images.

    Returns
    -------
    Face
        The part removed.

    Raises
    ------
    InputError
        If an image cannot be read, or none shows a brain; then no file is changed.
    """
    volumes = [read_image(path)[0] for path in paths]
    face = find_face(volumes)
    for path, volume in zip(paths, volumes, strict=True):
        _blank(path, face.of_image(volume))
    return face


def _common_grid(volumes: Sequence[Volume]) -> Grid:
    corners = np.vstack([corners_of(volume.shape).T @ volume.affine.T for volume in volumes])[:, :3]
    start = np.floor(corners.min(axis=0) - _SPACING_MM)
    shape = np.ceil((corners.max(axis=0) + _SPACING_MM - start) / _SPACING_MM).astype(int) + 1
    affine = np.diag([_SPACING_MM, _SPACING_MM, _SPACING_MM, 1.0])
    affine[:3, 3] = start
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _brain_of_model(to_mni: Affine, grid: Grid) -> Mask:
    atlas = load_atlas()
    placed = resample_image(Volume(atlas.probability["brain"], atlas.affine), grid, to_mni)
    return placed > _PROBABLE_BRAIN


def _in_front_and_below(to_mni: Affine, grid: Grid) -> Mask:
    rise = (_FOREHEAD[1] - _PALATE[1]) / (_FOREHEAD[0] - _PALATE[0])
    matrix = to_mni @ grid.affine
    i, j, k = (np.arange(n) for n in grid.shape)
    y, z = (
        (row[0] * i + row[3])[:, None, None] + (row[1] * j)[:, None] + row[2] * k
        for row in (matrix[1], matrix[2])
    )
    return z < _PALATE[1] + rise * (y - _PALATE[0])


def _blank(path: Path, removed: Mask) -> None:
    """Write the raw value of intensity 0 into voxels, and leave every other byte of the file as it is."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.nifti1.Nifti1Header.from_fileobj(io.BytesIO(raw))  # pyright: ignore[reportAttributeAccessIssue]
    slope, inter = header.get_slope_inter()
    zero = 0 if slope is None else round(-(inter or 0.0) / slope)
    dtype, offset = np.dtype(header.get_data_dtype()), int(header["vox_offset"])
    data = np.frombuffer(raw, dtype, removed.size, offset)  # pyright: ignore[reportCallIssue, reportArgumentType]
    voxels = data.reshape(removed.shape, order="F")
    limits = np.iinfo(voxels.dtype) if voxels.dtype.kind in "iu" else None
    voxels[removed] = zero if limits is None else min(max(zero, limits.min), limits.max)
    path.write_bytes(gzip.compress(bytes(raw), compresslevel=_COMPRESSION, mtime=0))
