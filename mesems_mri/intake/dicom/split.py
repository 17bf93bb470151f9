"""Frames of one image of a multi-frame object, written alone for conversion."""

import warnings
from pathlib import Path

import pydicom
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import UID

from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import number, sequence, text


def files_of_image(series: Series, folder: Path) -> tuple[Path, ...]:
    """Return files that hold the frames of a series and no others.

    Parameters
    ----------
    series : Series
        The series.
    folder : Path
        Empty folder for what must be written.

    Returns
    -------
    tuple of Path
        The files as they were sent, unless they hold other images too (echoes of an enhanced object).

    Raises
    ------
    ValueError
        If the frames of a file cannot be taken apart.
    """
    if not series.frames_taken:
        return series.files
    written = []
    for number_of_file, (file, frames) in enumerate(zip(series.files, series.frames_taken, strict=True)):
        target = folder / f"{number_of_file:06d}.dcm"
        _write(file, frames, target, text(series.header, "AcquisitionDateTime"))
        written.append(target)
    return tuple(written)


def _write(file: Path, frames: tuple[int, ...], target: Path, began: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(file)
        per_frame = sequence(dataset, "PerFrameFunctionalGroupsSequence")
        pixels = dataset.PixelData
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        if syntax.is_compressed and not syntax.is_deflated:
            whole = list(generate_frames(pixels, number_of_frames=len(per_frame)))
            dataset.PixelData = encapsulate([whole[at] for at in frames])
        else:
            rows, columns = number(dataset, "Rows") or 0, number(dataset, "Columns") or 0
            samples = number(dataset, "SamplesPerPixel") or 1
            size = int(rows * columns * samples * (number(dataset, "BitsAllocated") or 16)) // 8
            if size * len(per_frame) > len(pixels):
                msg = "frames are missing"
                raise ValueError(msg)
            dataset.PixelData = b"".join(pixels[size * at : size * (at + 1)] for at in frames)
        dataset.PerFrameFunctionalGroupsSequence = Sequence([per_frame[at] for at in frames])
        dataset.NumberOfFrames = len(frames)
        if began:  # of these frames, where an object holds several acquisitions
            dataset.AcquisitionDateTime = began
        pydicom.dcmwrite(target, dataset)
