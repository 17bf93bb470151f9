"""The BIDS folder that intake fills: what is filed in it, and how more gets in, by an atomic rename.

Images are made beside the folder and renamed into it; an image that is replaced is kept in ``sourcedata``.
"""

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri import __version__
from mesems_mri.dataset.bids import CONTRASTS
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json, write_text

SERIES_TABLE = "series.tsv"
QUARANTINE = Path("sourcedata") / "intake"
"""Images that were replaced, or sent when others of the visit had been filed already."""
IGNORED = (SERIES_TABLE, "queries.tsv", ".queries.lock", ".queries.log", "receipts", "sites")
_ORIGIN = "IntakeOrigin"


@dataclass(frozen=True)
class FiledImage:
    """A filed image of a visit, and its origin.

    Parameters
    ----------
    image : Path
        The NIfTI file; its sidecar lies beside it.
    submission_id, study_id, content, voxels : str
        As its sidecar says; empty for an image that intake did not make.
    defaced : bool
    """

    image: Path
    submission_id: str = ""
    study_id: str = ""
    content: str = ""
    voxels: str = ""
    defaced: bool = False

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the image."""
        return sidecar_of(self.image)


def origin(submission_id: str, study_id: str, content: str, voxels: str) -> dict[str, Any]:
    """Return the origin of an image as an entry of its sidecar."""
    values = (submission_id, study_id, content, voxels)
    return {_ORIGIN: dict(zip(("Submission", "Study", "Content", "Voxels"), values, strict=True))}


def sidecar_of(image: Path) -> Path:
    """Return the path of the sidecar of an image."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def image_name(participant_id: str, session_id: str, role: str) -> str:
    """Return the BIDS name of an image, relative to the folder."""
    return f"{participant_id}/{session_id}/anat/{participant_id}_{session_id}_{role}.nii.gz"


def filed_images(bids_dir: Path, participant_id: str, session_id: str) -> dict[str, FiledImage]:
    """Return the image of each role of a visit that is in the folder."""
    found = {}
    for role in CONTRASTS:
        image = bids_dir / image_name(participant_id, session_id, role)
        if image.is_file():
            try:
                sidecar = read_json(sidecar_of(image))
            except (OSError, ValueError):
                sidecar = {}
            said = sidecar.get(_ORIGIN, {})
            values = (said.get(key, "") for key in ("Submission", "Study", "Content", "Voxels"))
            found[role] = FiledImage(image, *values, defaced=bool(sidecar.get("Defaced")))
    return found


@contextlib.contextmanager
def locked(key_folder: Path) -> Generator[None]:
    """Lock a BIDS folder for one intake at a time; the system releases the lock of a dead process."""
    path = key_folder / ".lock"
    path.touch(mode=0o600)
    with path.open("a") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"{key_folder}: another intake is running with this key; wait until it has ended"
            raise UsageError(msg) from error
        yield


def publish(staged: Path, bids_dir: Path, names: Sequence[str]) -> None:
    """Move images and their sidecars from the staging folder into the BIDS folder.

    A new visit is one atomic rename; a visit that exists is renamed file by file, the sidecar after its
    image.

    Parameters
    ----------
    staged : Path
        The staging folder.
    bids_dir : Path
    names : sequence of str
        Images of one visit, relative to both.
    """
    if not names:
        return
    visit = Path(names[0]).parent.parent
    target = bids_dir / visit
    wanted = [path for name in names for path in (Path(name), sidecar_of(Path(name)))]
    for path in (staged / visit).rglob("*"):
        if path.is_file() and path.relative_to(staged) not in wanted:
            path.unlink()  # made and then held back
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        (staged / visit).rename(target)
        return
    for path in wanted:
        (bids_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (staged / path).replace(bids_dir / path)


def quarantine_filed(bids_dir: Path, filed: Iterable[FiledImage]) -> None:
    """Quarantine filed images that are about to be replaced, under their submission."""
    for one in filed:
        for path in (one.image, one.sidecar):
            if path.is_file():
                kept = bids_dir / QUARANTINE / (one.submission_id or "unknown") / path.relative_to(bids_dir)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.unlink(missing_ok=True)
                os.link(path, kept)


def quarantine_staged(staged: Path, bids_dir: Path, name: str, submission_id: str) -> None:
    """Quarantine a staged image that is not filed, under its submission."""
    for path in (Path(name), sidecar_of(Path(name))):
        kept = bids_dir / QUARANTINE / submission_id / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        (staged / path).replace(kept)


def remove(filed: Iterable[FiledImage]) -> None:
    """Remove images of a visit that were quarantined."""
    for one in filed:
        one.image.unlink(missing_ok=True)
        one.sidecar.unlink(missing_ok=True)


def prepare_folder(bids_dir: Path) -> None:
    """Make the BIDS folder, if it is not there, with what describes it."""
    bids_dir.mkdir(parents=True, exist_ok=True)
    description = bids_dir / "dataset_description.json"
    if not description.exists():
        write_json(
            description,
            {
                "Name": "MRI of a multi-site trial, as received",
                "BIDSVersion": "1.10.0",
                "DatasetType": "raw",
                "GeneratedBy": [{"Name": "mesems-mri intake", "Version": __version__}],
            },
        )
    if not (bids_dir / "README").exists():
        write_text(
            bids_dir / "README",
            "Brain MRI of a multi-site trial, filed by `mesems-mri intake`: checked, de-identified,\n"
            "converted from DICOM. Dates are shifted by another number of days for each participant.\n"
            "series.tsv lists every series that was sent, queries.tsv the queries to the sites.\n",
        )
    ignore = bids_dir / ".bidsignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    if missing := [line for line in IGNORED if line not in lines]:
        write_text(ignore, "\n".join([*lines, *missing]) + "\n")
    if not (bids_dir / "participants.json").exists():
        write_json(
            bids_dir / "participants.json",
            {
                "site_id": {"Description": "Imaging site"},
                "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male", "O": "other"}},
            },
        )
    if not (bids_dir / "sessions.json").exists():
        write_json(
            bids_dir / "sessions.json",
            {
                "acq_time": {"Description": "Day of acquisition, shifted"},
                "week": {"Description": "Scheduled week", "Units": "week"},
                "visit_type": {
                    "Description": "Kind of visit",
                    "Levels": {
                        "scheduled": "Planned visit",
                        "unscheduled": "Any other",
                        "repeat": "Repetition of a planned visit",
                    },
                },
                "contrast_dose_mmol_kg": {"Description": "Dose of contrast agent that the site states"},
                "steroid_within_30d": {"Description": "Steroids within 30 days before the scan"},
            },
        )
