"""Submissions on disk: folders and file names by the conventions of a site, or a zip."""

import io
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.simulate.dicom.common import Study
from mesems_mri.simulate.dicom.timeline import SimulatedSeries

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(eq=False)
class SubmissionFiles:
    """Collects the files of a visit and writes them.

    Parameters
    ----------
    root : Path
        The DICOM folder.
    name : str
        Folder or zip of the submission relative to it.
    comment : str
        Of the zip.
    nested : bool
        Whether the zip holds a zip for every folder in it.
    """

    root: Path
    name: str
    comment: str = ""
    nested: bool = False
    _members: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def zipped(self) -> bool:
        """Return whether it is a zip."""
        return self.name.endswith(".zip")

    def add(self, name: str, content: bytes) -> None:
        """Add a file."""
        if self.zipped:
            self._members.append((name, content))
            return
        path = self.root / self.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def close(self) -> None:
        """Write the zip, if it is one."""
        if not self.zipped:
            return
        members = self._members
        if self.nested:
            folders: dict[str, list[tuple[str, bytes]]] = {}
            for name, content in members:
                folder, _, rest = name.rpartition("/")
                folders.setdefault(folder, []).append((rest, content))
            members = [(f"{folder}.zip", _zip(inner, "")) for folder, inner in folders.items()]
        path = self.root / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_zip(members, self.comment))


def open_submission(root: Path, study: Study, *, nested: bool) -> SubmissionFiles:
    """Begin a submission below the folder of its site, named as the site names it."""
    person, day = study.person, study.start
    name = {
        "ima": f"{person.typed}_{study.session_id.removeprefix('ses-').upper()}_{day:%Y%m%d}",
        "cd": f"{study.patient_id}_{day:%Y-%m-%d}",
        "zip": f"{study.accession}_{person.typed}.zip",
        "tree": f"{person.typed} {person.given} {day:%d%m%y}",
    }[study.conventions.export]
    place = "name of a zip" if name.endswith(".zip") else "name of a folder"
    study.plant(place, name)
    comment = ""
    if name.endswith(".zip"):
        comment = study.plant("comment of a zip", f"Export {person.spoken}, {study.staff.institution}")
    return SubmissionFiles(root, f"{study.site_id}/{name}", comment, nested)


def file_name(study: Study, acquisition: SimulatedSeries, instance: int, count: int) -> str:
    """Name a file of a submission.

    Parameters
    ----------
    study : Study
    acquisition : SimulatedSeries
    instance : int
        Number of the image in its series.
    count : int
        Number of the file in the submission.
    """
    person, start, number = study.person, acquisition.start, acquisition.number
    match study.conventions.export:
        case "ima":
            name = (
                f"{person.typed}.MR.HEAD_MS.{number:04d}.{instance:04d}."
                f"{start:%Y.%m.%d.%H.%M.%S}.{500000 + count}.{71000000 + count}.IMA"
            )
            study.plant("name of a file", person.typed)
            return name
        case "cd":
            return f"DICOM/IM_{count:04d}"
        case "zip":
            study.plant("name of a folder in a zip", person.spoken)
            return f"{person.family} {person.given}/S{number:03d}/i{100000 + count}.MRDC.{instance}"
        case _:
            words = re.sub(r"[^A-Za-z0-9]+", "_", acquisition.description).strip("_")
            return f"{number:04d}_{words}/{study.uid('instance', number, instance)}.dcm"


def _zip(members: list[tuple[str, bytes]], comment: str) -> bytes:
    """Pack files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.comment = comment.encode()
        for name, content in members:
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()
