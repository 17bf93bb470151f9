"""Export of a series as de-identified DICOM."""

import warnings
from pathlib import Path
from typing import Protocol

import pydicom
from pydicom import Dataset

from mesems_mri.errors import InputError, Reason
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.pixels import burned_in


class Readable(Protocol):
    """A series for export: its files and the header of the first of them."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files on disk, in the order of the instances."""
        ...

    @property
    def header(self) -> Dataset:
        """Header of the first instance."""
        ...


def write_copy(series: Readable, out_dir: Path, deidentifier: Deidentifier) -> list[Path]:
    """Write the instances of a series as de-identified DICOM.

    Parameters
    ----------
    series : Readable
        Files and header of the series.
    out_dir : Path
        Folder of all copies; the series gets ``sub-X/STUDY/SERIES/00001.dcm`` ..., after its new UIDs.
    deidentifier : Deidentifier
        That of the participant.

    Returns
    -------
    list of Path
        The files written; the same series with the same key gives the same names and bytes.

    Raises
    ------
    InputError
        If names may be burned into the pixels, or a file cannot be read; nothing is written then.
    """
    if reason := burned_in(series.header):
        msg = f"the series cannot be passed on as DICOM: {reason}; send it without annotation"
        raise InputError(msg, Reason.OPEN_QUERY)
    deidentifier.learn(series.header)
    header = deidentifier.dataset(series.header)
    folder = out_dir / deidentifier.participant_id / header.StudyInstanceUID / header.SeriesInstanceUID
    folder.mkdir(parents=True, exist_ok=True)
    written: list[tuple[Path, Path]] = []
    try:
        for number, source in enumerate(series.files, start=1):
            target = folder / f"{number:05}.dcm"
            temporary = folder / f".{number:05}.part"
            written.append((temporary, target))
            _write(source, temporary, deidentifier)
        for temporary, target in written:
            temporary.replace(target)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    return [target for _, target in written]


def _write(source: Path, target: Path, deidentifier: Deidentifier) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(source, force=True)
        # what a damaged file makes pydicom raise holds values of the file
        except Exception as error:
            msg = f"an instance of the series cannot be read ({type(error).__name__}); send the series again"
            raise InputError(msg, Reason.UNREADABLE_FILE) from None
        if reason := burned_in(dataset):
            msg = f"the series cannot be passed on as DICOM: {reason}; send it without annotation"
            raise InputError(msg, Reason.OPEN_QUERY)
        cleaned = deidentifier.dataset(dataset)
        if not (cleaned.SOPClassUID and cleaned.SOPInstanceUID):
            msg = "an instance of the series does not say which it is; send the series again"
            raise InputError(msg, Reason.UNREADABLE_FILE)
        pydicom.dcmwrite(target, cleaned, enforce_file_format=True, overwrite=True)
