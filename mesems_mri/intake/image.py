"""Turn a series into a BIDS image and its sidecar, and check the one against the other."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.errors import InputError
from mesems_mri.images.converted import ConvertedImage, read_converted
from mesems_mri.intake.dcm2niix import Converted, convert
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.sidecar import clean_sidecar, write_nifti
from mesems_mri.intake.dicom.series import Series, slice_normal
from mesems_mri.intake.dicom.split import files_of_image
from mesems_mri.intake.dicom.tags import numbers

_SAME_PLACE_MM = 0.1
_SAME_ECHO_MS = 0.3


class ConversionError(Exception):
    """A series gave no image that can be used; the text says why, without anything of the header."""


@dataclass(frozen=True)
class Image:
    """An image that was made.

    Parameters
    ----------
    sidecar : dict
        What may stay of the sidecar of the converter.
    shape : tuple of int
    voxels : str
        Hash of the voxels: the same scan under other names has the same.
    """

    sidecar: dict[str, Any]
    shape: tuple[int, ...]
    voxels: str


def make_image(series: Series, deidentifier: Deidentifier, role: str, scratch: Path, target: Path) -> Image:
    """Convert a series, check the image against the headers, and write it without texts.

    Parameters
    ----------
    series : Series
        A series whose slices make one volume.
    deidentifier : Deidentifier
        Of the participant.
    role : str
        What it is.
    scratch : Path
        Empty folder for the files of dcm2niix.
    target : Path
        The image, ``.nii.gz``; the same bytes for the same series.

    Returns
    -------
    Image

    Raises
    ------
    ConversionError
        If dcm2niix gives no image, several, or one that lies elsewhere than the slices do.
    """
    parts, place = scratch / "parts", scratch / "converted"
    parts.mkdir()
    place.mkdir()
    try:
        files = files_of_image(series, parts)
    except Exception as error:  # what a damaged file makes pydicom raise may hold values of the file
        msg = f"its frames cannot be taken apart ({type(error).__name__})"
        raise ConversionError(msg) from None
    converted, grid = _the_one(series, convert(files, place))
    _refuse_other_place(series, grid)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_nifti(converted.image, target)
    except InputError as error:
        raise ConversionError(str(error)) from error
    sidecar = clean_sidecar(converted.sidecar, deidentifier)
    if role.startswith("ce-"):
        sidecar["ContrastBolusIngredient"] = "GADOLINIUM"
    return Image(sidecar, grid.shape, grid.voxels)


def _the_one(series: Series, converted: list[Converted]) -> tuple[Converted, ConvertedImage]:
    """Choose the image of this series: dcm2niix may split a file by echo, or add one corrected for tilt."""
    wanted = series.echo_ms
    volumes = []
    for one in converted:
        echo = one.sidecar.get("EchoTime")
        echo_ms = 1000 * echo if isinstance(echo, int | float) else None
        if len(converted) > 1 and wanted is not None and not _same_echo(echo_ms, wanted):
            continue
        grid = read_converted(one.image)
        if len(grid.shape) == 3 and series.frames in grid.shape:
            volumes.append((one, grid))
    if len(volumes) != 1:
        found = f"{len(converted)} image{'' if len(converted) == 1 else 's'}"
        sent = f"{len(volumes)} have the {series.frames} slices sent"
        msg = f"dcm2niix made {found}, of which {sent}, expected 1"
        raise ConversionError(msg)
    return volumes[0]


def _same_echo(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _SAME_ECHO_MS


def _refuse_other_place(series: Series, grid: ConvertedImage) -> None:
    """Compare the corners of the image with those that the positions of the slices give."""
    expected = _corners_of_slices(series)
    if expected is None:
        return
    ends = [(0, n - 1) for n in grid.shape[:3]]
    found = np.array([grid.affine[:3, :3] @ c + grid.affine[:3, 3] for c in itertools.product(*ends)])
    apart = np.linalg.norm(expected[:, None] - found[None], axis=2).min(axis=1).max()
    if not apart <= _SAME_PLACE_MM:
        msg = f"the image lies {apart:.1f} mm from where the slices do (limit {_SAME_PLACE_MM} mm)"
        raise ConversionError(msg)


def _corners_of_slices(series: Series) -> np.ndarray | None:
    """Return the centres of the eight corner voxels, in the axes of NIfTI."""
    spacing = numbers(series.header, "PixelSpacing")
    placed = [one for one in series.slices if len(one.position) == 3 and len(one.orientation) == 6]
    if len(spacing) != 2 or not placed or not series.matrices:
        return None
    normal = slice_normal(placed[0].orientation)
    if normal is None:
        return None
    placed.sort(key=lambda one: float(np.dot(normal, one.position)))
    rows, columns = series.matrices[0]
    corners = []
    for one in (placed[0], placed[-1]):
        along, down = np.array(one.orientation[:3]), np.array(one.orientation[3:])
        for i, j in itertools.product((0, columns - 1), (0, rows - 1)):
            corners.append(np.array(one.position) + along * spacing[1] * i + down * spacing[0] * j)
    return np.array(corners) * (-1, -1, 1)
