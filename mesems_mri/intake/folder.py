"""The BIDS folder that intake fills: what is filed in it, and how more gets in, late and whole.

Images are made beside the folder and renamed into it; an image that is replaced is kept in ``sourcedata``.
"""

import contextlib
import csv
import fcntl
import io
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri import __version__
from mesems_mri.dataset.bids import CONTRASTS, natural_key
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json, write_text

SERIES_TABLE = "series.tsv"
SERIES_COLUMNS = (
    *("submission_id", "site_id", "participant_id", "session_id", "series_id", "part", "series_number"),
    *("description", "modality", "role", "reason", "candidate_of", "status", "slices", "slices_expected"),
    *("rows", "columns", "in_plane_mm", "spacing_mm", "plane", "faults", "image", "content", "voxels"),
)
SET_ASIDE = Path("sourcedata") / "intake"
"""Where images lie that were replaced, or sent when others of the visit stood already."""
KEPT = ("filed", "set_aside", "replaced")
"""Status of a series whose image is in the folder."""
IGNORED = (SERIES_TABLE, "queries.tsv", ".queries.lock", "receipts", "sites")
_ORIGIN = "IntakeOrigin"


@dataclass(frozen=True)
class Filed:
    """An image of a visit, and where it came from.

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
    """Return the entry of a sidecar that says where an image came from."""
    values = (submission_id, study_id, content, voxels)
    return {_ORIGIN: dict(zip(("Submission", "Study", "Content", "Voxels"), values, strict=True))}


def sidecar_of(image: Path) -> Path:
    """Return the path of the sidecar of an image."""
    return image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def image_name(participant_id: str, session_id: str, role: str) -> str:
    """Return the BIDS name of an image, relative to the folder."""
    return f"{participant_id}/{session_id}/anat/{participant_id}_{session_id}_{role}.nii.gz"


def filed_images(bids_dir: Path, participant_id: str, session_id: str) -> dict[str, Filed]:
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
            found[role] = Filed(image, *values, defaced=bool(sidecar.get("Defaced")))
    return found


@contextlib.contextmanager
def locked(key_folder: Path) -> Generator[None]:
    """Let one intake at a time change a BIDS folder; the system frees the lock of one that dies."""
    path = key_folder / ".lock"
    path.touch(mode=0o600)
    with path.open("a") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"{key_folder}: another intake is running with this key; wait until it has ended"
            raise UsageError(msg) from error
        yield


@contextlib.contextmanager
def stage(bids_dir: Path) -> Generator[Path]:
    """Give a folder on the disk of the BIDS folder in which images are made; it goes, whatever happens."""
    parent = bids_dir.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{bids_dir.name}.intake-", dir=parent))
    except OSError as error:
        msg = f"{parent}: cannot be written ({error.strerror}); give a BIDS folder that you may write to"
        raise UsageError(msg) from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def publish(staged: Path, bids_dir: Path, names: Sequence[str]) -> None:
    """Move images and their sidecars from the stage into the BIDS folder.

    A visit that is not there yet appears whole, in one step; one that is there changes file by file, the
    sidecar after its image.

    Parameters
    ----------
    staged : Path
        The stage.
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


def set_aside(bids_dir: Path, filed: Iterable[Filed]) -> None:
    """Keep images that are about to be replaced, under the submission that they came with."""
    for one in filed:
        for path in (one.image, one.sidecar):
            if path.is_file():
                kept = bids_dir / SET_ASIDE / (one.submission_id or "unknown") / path.relative_to(bids_dir)
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.unlink(missing_ok=True)
                os.link(path, kept)


def keep_aside(staged: Path, bids_dir: Path, name: str, submission_id: str) -> None:
    """Keep an image from the stage that is not filed, under its submission."""
    for path in (Path(name), sidecar_of(Path(name))):
        kept = bids_dir / SET_ASIDE / submission_id / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        (staged / path).replace(kept)


def remove(filed: Iterable[Filed]) -> None:
    """Take images out of a visit that were set aside."""
    for one in filed:
        one.image.unlink(missing_ok=True)
        one.sidecar.unlink(missing_ok=True)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table of our own; empty when it is not there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def write_rows(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str] = ()) -> None:
    """Write a table, with the columns given and any others that its rows have."""
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    lines = ["\t".join(names)]
    lines += ["\t".join(_cell(row.get(name)) for name in names) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def update_series(bids_dir: Path, new: Sequence[Mapping[str, str]]) -> None:
    """Add series to ``series.tsv``; one that stands there already is brought up to date.

    A row stays in its place, and none is ever removed. That an image which was filed is sent again does not
    change what its row says.
    """
    rows: dict[tuple[str, ...], dict[str, str]] = {
        _series_key(row): row for row in read_rows(bids_dir / SERIES_TABLE)
    }
    for row in new:
        whole = {name: _cell(row.get(name)) for name in SERIES_COLUMNS}
        known = rows.get(_series_key(whole))
        if known is not None and known["status"] in KEPT and whole["status"] not in KEPT:
            continue
        if whole["status"] == "unchanged":  # filed by an intake that died before it could write it down
            whole["status"] = "filed"
        rows[_series_key(whole)] = whole
    write_rows(bids_dir / SERIES_TABLE, list(rows.values()), SERIES_COLUMNS)


def read_sexes(bids_dir: Path) -> dict[str, str]:
    """Read the sex of each participant from ``participants.tsv``; without those of whom it is not known."""
    rows = read_rows(bids_dir / "participants.tsv")
    return {row["participant_id"]: row["sex"] for row in rows if row.get("sex", "n/a") in ("F", "M", "O")}


def update_participants(bids_dir: Path, rows: Iterable[SheetRow], sexes: Mapping[str, str]) -> None:
    """Add participants to ``participants.tsv``, and their site and sex; other columns stay.

    Parameters
    ----------
    bids_dir : Path
    rows : iterable of SheetRow
        A row of each participant.
    sexes : mapping of str to str
        What the headers say, for those of whom the sheet does not say it.
    """
    path = bids_dir / "participants.tsv"
    table = {row.get("participant_id", ""): row for row in read_rows(path)}
    known = read_sexes(bids_dir)
    for row in rows:
        name = row.participant_id
        entry = table.setdefault(name, {"participant_id": name})
        entry["site_id"] = row.site_id
        entry["sex"] = row.sex or known.get(name) or sexes.get(name, "")
    ordered = [table[name] for name in sorted(table, key=natural_key)]
    write_rows(path, ordered, ("participant_id", "site_id", "sex"))


def update_sessions(bids_dir: Path, sheet: Sequence[SheetRow], days: Mapping[str, str]) -> None:
    """Write the visit table of a participant: visits that came, and those planned before the last of them.

    Parameters
    ----------
    bids_dir : Path
    sheet : sequence of SheetRow
        All visits of the participant.
    days : mapping of str to str
        Shifted day of each visit that came now, by session.
    """
    participant_id = sheet[0].participant_id
    path = bids_dir / participant_id / f"{participant_id}_sessions.tsv"
    table = {row.get("session_id", ""): row for row in read_rows(path)}
    came = {name for name in table if (bids_dir / participant_id / name).is_dir()} | set(days)
    planned = [row.planned_date for row in sheet if row.session_id in came and row.planned_date]
    last = max(planned, default=None)
    for row in sheet:
        due = last is not None and row.planned_date is not None and row.planned_date <= last
        if row.session_id not in came and not (due and row.visit_type == "scheduled"):
            continue
        known = table.setdefault(row.session_id, {"session_id": row.session_id})
        known["acq_time"] = days.get(row.session_id) or known.get("acq_time", "")
        known["week"] = "" if row.week is None else str(row.week)
        known["visit_type"] = row.visit_type
        dose, steroid = row.contrast_dose_mmol_kg, row.steroid_within_30d
        known["contrast_dose_mmol_kg"] = "" if dose is None else f"{dose:g}"
        known["steroid_within_30d"] = "" if steroid is None else str(steroid).lower()
    ordered = [table[name] for name in sorted(table, key=natural_key)]
    write_rows(path, ordered, ("session_id", "acq_time", "week", "visit_type"))


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
            "Brain MRI of a multi-site trial, taken in by `mesems-mri intake`: checked, freed of names,\n"
            "converted from DICOM. Dates are shifted by another number of days for each participant.\n"
            "series.tsv lists every series that was sent, queries.tsv what the sites were asked.\n",
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


def _series_key(row: Mapping[str, str]) -> tuple[str, ...]:
    return row["series_id"], row["part"], row["content"]


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "n/a"
