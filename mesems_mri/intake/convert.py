"""Convert a series to a BIDS image and its sidecar by dcm2niix (through nipype), and check its geometry."""

import itertools
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.errors import ExternalProgramError, InputError
from mesems_mri.images.converted import ConvertedImage, read_converted
from mesems_mri.intake.conversion_cause import ConversionCause, known_cause
from mesems_mri.intake.deidentify.defacing import read_defacing
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.sidecar import clean_sidecar, write_nifti
from mesems_mri.intake.dicom.geometry import nominal_spacing
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.split import files_of_image
from mesems_mri.intake.dicom.stack import FittedStack, fit_stack, slice_normal
from mesems_mri.intake.dicom.tags import numbers
from mesems_mri.intake.dicom.uniform import write_uniform

_STEM = "image"
_SAME_PLACE_MM, _EXACT_MM = 0.1, 0.005
_ONE_UNIT = 1.05
_SAME_ECHO_MS = 0.3


class ConversionError(Exception):
    """A series gave no image that can be used; the text says why, without anything of the header.

    Parameters
    ----------
    cause : ConversionCause
    told : str
        Numbers that belong to it.
    """

    def __init__(self, cause: ConversionCause, told: str = "") -> None:
        super().__init__(f"{cause.value} ({told})" if told else cause.value)
        self.cause = cause


@dataclass(frozen=True)
class Dcm2niixOutput:
    """An image that dcm2niix has written, and its sidecar as it came."""

    image: Path
    sidecar: dict[str, Any]


@dataclass(frozen=True)
class Dcm2niixRun:
    """The images of a run of dcm2niix, in the order of their names, and the cause it named for a failure."""

    images: list[Dcm2niixOutput]
    cause: ConversionCause | None = None


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
    converted, grid = _convert(series, scratch)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_nifti(converted.image, target)
    except InputError as error:
        raise ConversionError(ConversionCause.NOT_WRITTEN, str(error)) from error
    sidecar = clean_sidecar(converted.sidecar, deidentifier)
    if role.startswith("ce-"):
        sidecar["ContrastBolusIngredient"] = "GADOLINIUM"
    if defacing := read_defacing(series.header):
        sidecar |= defacing.as_sidecar()
    return BidsImage(sidecar, grid.shape, grid.voxels)


def _convert(series: Series, scratch: Path) -> tuple[Dcm2niixOutput, ConvertedImage]:
    """Convert the files as they were sent; where that does not give the volume, copies that are alike."""
    stack = fit_stack(series.slices, nominal_spacing(series))
    if stack and stack.beside_mm > max(_SAME_PLACE_MM * _ONE_UNIT, _ONE_UNIT * stack.rounding_mm):
        raise ConversionError(ConversionCause.NOT_STRAIGHT, f"up to {stack.beside_mm:.1f} mm out of line")
    try:
        found = _attempt(series, stack, files_of_image, scratch / "sent")
    except ConversionError as error:
        if stack is None:
            raise
        refused = error
    else:
        if stack is None or found[2] <= _EXACT_MM:
            return found[:2]
        refused = _misplaced(found[2])
    try:
        converted, grid, apart = _attempt(
            series, stack, lambda one, folder: write_uniform(one, stack, folder), scratch / "uniform"
        )
    except ConversionError:
        raise refused from None
    if apart > _SAME_PLACE_MM:
        raise _misplaced(apart)
    return converted, grid


def _attempt(
    series: Series,
    stack: FittedStack | None,
    write: Callable[[Series, Path], tuple[Path, ...]],
    scratch: Path,
) -> tuple[Dcm2niixOutput, ConvertedImage, float]:
    """Convert files; return the image of the series, and how far it lies from its slices in mm."""
    parts, place = scratch / "parts", scratch / "converted"
    parts.mkdir(parents=True)
    place.mkdir()
    try:
        files = write(series, parts)
    except Exception as error:  # what a damaged file makes pydicom raise may hold values of the file
        raise ConversionError(ConversionCause.FRAMES, type(error).__name__) from None
    converted, grid = _select_output(series, run_dcm2niix(files, place))
    return converted, grid, _distance_from_slices(series, stack, grid)


def run_dcm2niix(files: Sequence[Path], folder: Path) -> Dcm2niixRun:
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
    Dcm2niixRun
        Without images when dcm2niix found nothing to convert, or failed on these files.

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
    images = [Dcm2niixOutput(image, _sidecar(image)) for image in sorted(target.glob(f"{_STEM}*.nii"))]
    return Dcm2niixRun(images, known_cause(_printed(folder)))


def _printed(folder: Path) -> str:
    found = [folder / name for name in ("stdout.nipype", "stderr.nipype")]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in found if path.is_file())


def _sidecar(image: Path) -> dict[str, Any]:
    try:
        content = json.loads(image.with_suffix(".json").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _select_output(series: Series, run: Dcm2niixRun) -> tuple[Dcm2niixOutput, ConvertedImage]:
    """Choose the image of this series: dcm2niix may split a file by echo, or add one corrected for tilt."""
    wanted, converted = series.echo_ms, run.images
    grids = [(one, read_converted(one.image)) for one in converted]
    volumes = []
    for one, grid in grids:
        echo = one.sidecar.get("EchoTime")
        echo_ms = 1000 * echo if isinstance(echo, int | float) else None
        if len(converted) > 1 and wanted is not None and not _same_echo(echo_ms, wanted):
            continue
        if len(grid.shape) == 3 and series.frames in grid.shape:
            volumes.append((one, grid))
    if len(volumes) == 1:
        return volumes[0]
    told = (
        f"dcm2niix made {len(converted)} image{'' if len(converted) == 1 else 's'} of {series.frames} slices"
    )
    if any(len(grid.shape) > 3 for _, grid in grids):
        cause = ConversionCause.FOUR_D
    elif not converted:
        cause = ConversionCause.NO_IMAGE
    else:
        cause = ConversionCause.SEVERAL if len(converted) > 1 else ConversionCause.OTHER_SIZE
    raise ConversionError(run.cause or cause, told)


def _same_echo(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) <= _SAME_ECHO_MS


def _misplaced(apart: float) -> ConversionError:
    return ConversionError(ConversionCause.ELSEWHERE, f"{apart:.1f} mm away, limit {_SAME_PLACE_MM} mm")


def _distance_from_slices(series: Series, stack: FittedStack | None, grid: ConvertedImage) -> float:
    """Return how far the corners of the image lie from those of the slices, in mm."""
    expected = _corners_of_slices(series, stack)
    if expected is None:
        return 0.0
    ends = [(0, n - 1) for n in grid.shape[:3]]
    found = np.array([grid.affine[:3, :3] @ c + grid.affine[:3, 3] for c in itertools.product(*ends)])
    return float(np.linalg.norm(expected[:, None] - found[None], axis=2).min(axis=1).max())


def _corners_of_slices(series: Series, stack: FittedStack | None) -> np.ndarray | None:
    """Return the centres of the eight corner voxels, in the axes of NIfTI."""
    spacing = numbers(series.header, "PixelSpacing")
    placed = [one for one in series.slices if len(one.position) == 3 and len(one.orientation) == 6]
    normal = slice_normal(placed[0].orientation) if placed else None
    if len(spacing) != 2 or normal is None or not series.matrices:
        return None
    positions = stack.positions if stack else np.array([one.position for one in placed])
    order = np.argsort(positions @ normal)
    along, down = np.array(placed[0].orientation[:3]), np.array(placed[0].orientation[3:])
    rows, columns = series.matrices[0]
    corners = [
        positions[at] + along * spacing[1] * i + down * spacing[0] * j
        for at in (order[0], order[-1])
        for i, j in itertools.product((0, columns - 1), (0, rows - 1))
    ]
    return np.array(corners) * (-1, -1, 1)
