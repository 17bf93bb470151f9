"""dcm2niix through nipype: the files of one series become NIfTI images with sidecars."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri.errors import ExternalProgramError

_STEM = "image"


@dataclass(frozen=True)
class Converted:
    """An image that dcm2niix has written, and its sidecar as it came."""

    image: Path
    sidecar: dict[str, Any]


def convert(files: Sequence[Path], folder: Path) -> list[Converted]:
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
    list of Converted
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
    return [Converted(image, _sidecar(image)) for image in sorted(target.glob(f"{_STEM}*.nii"))]


def _sidecar(image: Path) -> dict[str, Any]:
    try:
        content = json.loads(image.with_suffix(".json").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
