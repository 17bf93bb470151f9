"""Convert a series to a BIDS image and its sidecar by dcm2niix (through nipype), and check its geometry."""

import itertools
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.errors import ExternalProgramError, InputError
from mesems_mri.images.converted import ConvertedImage, read_converted
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.sidecar import clean_sidecar, write_nifti
from mesems_mri.intake.dicom.series import Series, slice_normal
from mesems_mri.intake.dicom.split import files_of_image
from mesems_mri.intake.dicom.tags import numbers

_STEM = "image"
_SAME_PLACE_MM = 0.1
_SAME_ECHO_MS = 0.3


class ConversionError(Exception):
    """A series gave no image that can be used; the text says why, without anything of the header."""


@dataclass(frozen=True)
class Dcm2niixOutput:
    """An image that dcm2niix has written, and its sidecar as it came."""

    image: Path
    sidecar: dict[str, Any]


@dataclass(frozen=True)
class BidsImage:
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


def convert_series(
    series: Series, deidentifier: Deidentifier, role: str, scratch: Path, target: Path
) -> BidsImage:
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
    BidsImage

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
    converted, grid = _select_output(series, run_dcm2niix(files, place))
    _refuse_misplaced(series, grid)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_nifti(converted.image, target)
    except InputError as error:
        raise ConversionError(str(error)) from error
    sidecar = clean_sidecar(converted.sidecar, deidentifier)
    if role.startswith("ce-"):
        sidecar["ContrastBolusIngredient"] = "GADOLINIUM"
    return BidsImage(sidecar, grid.shape, grid.voxels)


def run_dcm2niix(files: Sequence[Path], folder: Path) -> list[Dcm2niixOutput]:
    """Convert the files of one series.

    Parameters
    ----------
    files : sequence of Path
        All of them, and only them.
    folder : Path
        Empty folder for the images and for links to the files: dcm2niix converts whatever lies in a folder,
        and the names that it prints are ours, not those of the site.

    Returns
    -------
    list of Dcm2niixOutput
        In the order of their names; empty when dcm2niix found nothing to convert, or failed on these files.

    Raises
    ------
    ExternalProgramError
        If dcm2niix is missing.
    """
    os.environ.setdefault("NO_ET", "1")  # nipype phones home otherwise
    logging.getLogger("nipype").setLevel(logging.ERROR)
    import dcm2niix
    from nipype.interfaces.dcm2nii import Dcm2niix

    if not Path(dcm2niix.bin).is_file():
        msg = f"dcm2niix is missing at {dcm2niix.bin}; install the package dcm2niix"
        raise ExternalProgramError(msg)
    source, target = folder / "in", folder / "out"
    source.mkdir()
    target.mkdir()
    for number, file in enumerate(files):
        (source / f"{number:06d}.dcm").symlink_to(file.resolve())
    run = Dcm2niix(command=dcm2niix.bin, terminal_output="file_split")
    run.inputs.source_dir = str(source)
    run.inputs.output_dir = str(target)
    run.inputs.out_filename = _STEM
    run.inputs.compress = "n"
    run.inputs.bids_format = True
    run.inputs.anon_bids = True
    # what it prints lands in this folder and goes with it
    run.run(cwd=str(folder), ignore_exception=True)
    return [Dcm2niixOutput(image, _sidecar(image)) for image in sorted(target.glob(f"{_STEM}*.nii"))]


def _sidecar(image: Path) -> dict[str, Any]:
    try:
        content = json.loads(image.with_suffix(".json").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _select_output(series: Series, converted: list[Dcm2niixOutput]) -> tuple[Dcm2niixOutput, ConvertedImage]:
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


def _refuse_misplaced(series: Series, grid: ConvertedImage) -> None:
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
