"""Find every series that a site has sent, from headers alone."""

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from mesems_mri.dicom.tags import text


@dataclass(frozen=True, eq=False)
class Series:
    """The instances that make one image: of one series, and of one echo and kind where a series has several.

    Parameters
    ----------
    files : tuple of Path
        Files on disk, real or taken out of an archive, sorted by instance number.
    names : tuple of str
        The same files as the site called them, relative to the folder it sent (``a.zip!x/y`` in an archive).
    header : Dataset
        Of the first instance, without pixel data.
    instance_uids : tuple of str
        In the order of `files`.
    positions_mm : tuple of float
        Position of every slice along the slice normal, sorted; of every frame if there are several in a file.
    frames : int
        Number of slices in all.
    multi_frame : bool
        Whether a file holds several slices.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    header: Dataset
    instance_uids: tuple[str, ...]
    positions_mm: tuple[float, ...]
    frames: int
    multi_frame: bool

    @property
    def series_uid(self) -> str:
        """Series Instance UID, as the site sent it."""
        return text(self.header, "SeriesInstanceUID")

    @property
    def study_uid(self) -> str:
        """Study Instance UID, as the site sent it."""
        return text(self.header, "StudyInstanceUID")

    @property
    def patient_id(self) -> str:
        """Patient ID, as the site sent it."""
        return text(self.header, "PatientID")

    @property
    def description(self) -> str:
        """Series Description, as the site sent it."""
        return text(self.header, "SeriesDescription")
