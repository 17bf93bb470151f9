"""BIDS in and out: visits and images of the raw data set, names of the products."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids_tables import (
    VisitRow,
    read_scan_day,
    read_sites,
    read_visits,
    refuse_weeks_against_dates,
)
from mesems_mri.dataset.input_tables import refuse_forbidden_columns
from mesems_mri.dataset.journal import finish_interrupted
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.queries import Query, blocking_queries
from mesems_mri.dataset.query import ANSWERED
from mesems_mri.errors import DatasetError, UsageError

T2Contrast = Literal["FLAIR", "T2w", "PDw"]
Contrast = Literal["T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR"]
Weighting = Literal["T1w", "T2w", "PDw", "FLAIR"]

CONTRASTS: tuple[Contrast, ...] = ("T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR")
"""Contrasts that are read, named as in the file names."""
T2_CONTRASTS: tuple[T2Contrast, ...] = ("FLAIR", "T2w", "PDw")
"""Contrasts on which T2 lesions are read, the preferred one first."""
POSTCONTRAST: Final = "ce-gadolinium_T1w"

BIDSIGNORE = (
    "*_xfm.txt",
    "*_metrics.json",
    "*_lesions.tsv",
    "*_candidates.tsv",
    "*_anchor.json",
    "*.html",
    "visit_metrics*",
    "participant_endpoints.*",
    "provenance.json",
    "logs/",
    "benchmarks/",
)

_LABEL = re.compile(r"[a-zA-Z0-9]+")


@dataclass(frozen=True, kw_only=True)
class Session:
    """One visit of one participant, from file names and tables.

    Parameters
    ----------
    participant_id, session_id : str
        With their prefixes ``sub-`` and ``ses-``.
    images : dict of str to str
        The image of each contrast, relative to the BIDS folder.
    ambiguous : dict of str to tuple of str
        Contrasts with several files and no clear choice among them, and the names of those files.
    open_queries : tuple of str
        Number and subject of each open blocking query about the visit.
    week : int or None
        From the visit table, never from the label.
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``.
    acquired : datetime.date or None
        Day of acquisition.
    """

    participant_id: str
    session_id: str
    images: dict[Contrast, str] = field(default_factory=dict)
    ambiguous: dict[Contrast, tuple[str, ...]] = field(default_factory=dict)
    open_queries: tuple[str, ...] = ()
    week: int | None = None
    visit_type: str = "scheduled"
    acquired: dt.date | None = None

    @property
    def stem(self) -> str:
        """Start of the names of all its files."""
        return f"{self.participant_id}_{self.session_id}"


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A participant with the visits in order of time."""

    participant_id: str
    site_id: str
    sessions: tuple[Session, ...]


def contrast_named(name: str) -> Contrast:
    """Return the contrast of a name.

    Raises
    ------
    ValueError
        If it is none of `CONTRASTS`.
    """
    for contrast in CONTRASTS:
        if contrast == name:
            return contrast
    msg = f"contrast must be one of {', '.join(CONTRASTS)}, got {name!r}"
    raise ValueError(msg)


def t2_contrast_named(name: str | None) -> T2Contrast | None:
    """Return the T2 contrast of a name, None for none.

    Raises
    ------
    ValueError
        If it is none of `T2_CONTRASTS`.
    """
    if name is None:
        return None
    for contrast in T2_CONTRASTS:
        if contrast == name:
            return contrast
    msg = f"T2 contrast must be one of {', '.join(T2_CONTRASTS)}, got {name!r}"
    raise ValueError(msg)


def weighting(contrast: Contrast) -> Weighting:
    """Return the weighting of a contrast: that of T1w is the same with and without contrast agent."""
    return "T1w" if contrast == POSTCONTRAST else contrast


def image_name(contrast: str, entities: str, suffix: str) -> str:
    """Name an image of a contrast; the contrast agent comes before the space.

    Examples
    --------
    >>> image_name("ce-gadolinium_T1w", "space-subject_desc-preproc", "T1w.nii.gz")
    'ce-gadolinium_space-subject_desc-preproc_T1w.nii.gz'
    """
    agent = "ce-gadolinium_" if contrast == POSTCONTRAST else ""
    return f"{agent}{entities}_{suffix}"


def preproc_name(contrast: str) -> str:
    """Name the preprocessed image of a contrast."""
    suffix = contrast.removeprefix("ce-gadolinium_")
    return image_name(contrast, "space-subject_desc-preproc", f"{suffix}.nii.gz")


def xfm_name(contrast: str) -> str:
    """Name the transform (xfm) of a contrast to subject space."""
    suffix = contrast.removeprefix("ce-gadolinium_")
    return image_name(contrast, f"from-{suffix}_to-subject_mode-image", "xfm.txt")


@dataclass(frozen=True)
class OwnMask:
    """A lesion mask of a user, and its space: ``orig`` or ``subject``."""

    path: Path
    space: str


def own_masks(folder: Path, participant_id: str, session_id: str) -> dict[str, OwnMask]:
    """Find the lesion masks that a user gives for a visit, named as our own.

    Parameters
    ----------
    folder : Path
        Laid out as our output: ``sub-X/ses-Y/anat``.
    participant_id, session_id : str
        With their prefixes.

    Returns
    -------
    dict of str to OwnMask
        By ``T2``, ``new``, ``enlarging``, ``enhancing``; of two spaces ``orig``, on which readers draw.
    """
    found = {}
    for desc in ("T2", "new", "enlarging", "enhancing"):
        contrast = POSTCONTRAST if desc == "enhancing" else "FLAIR"
        for space in ("subject", "orig"):
            for suffix in ("mask.nii", "mask.nii.gz"):
                name = image_name(contrast, f"space-{space}_label-L_desc-{desc}", suffix)
                path = Layout(folder).product(participant_id, session_id, name)
                if path.is_file():
                    found[desc] = OwnMask(path, space)
    return found


def check_own_masks(folder: Path) -> None:
    """Refuse a folder of lesion masks that holds none.

    Raises
    ------
    UsageError
        If it is no folder, or nothing in it is named as a lesion mask.
    """
    if not any(folder.glob("sub-*/ses-*/anat/*_label-L_desc-*_mask.nii*")):
        msg = (
            f"{folder}: no sub-X/ses-Y/anat/sub-X_ses-Y_space-orig_label-L_desc-T2_mask.nii.gz or the like; "
            "give the folder with the lesion masks, see docs/own-masks.md"
        )
        raise UsageError(msg)


def natural_key(label: str) -> list[tuple[bool, int, str]]:
    """Return a sort key that puts w4 before w12 and 2 before 10."""
    return [
        (not part.isdigit(), int(part) if part.isdigit() else 0, part)
        for part in re.split(r"(\d+)", label)
        if part
    ]


def index_dataset(
    bids_dir: Path,
    config: TrialConfig,
    *,
    participant_labels: Iterable[str] | None = None,
    session_labels: Iterable[str] | None = None,
) -> tuple[Participant, ...]:
    """List the participants and visits of a raw BIDS data set from file names and tables.

    Parameters
    ----------
    bids_dir : Path
        Raw BIDS folder with ``sub-*/ses-*/anat``.
    config : TrialConfig
        Its visit table is used where ``sessions.tsv`` says nothing.
    participant_labels : iterable of str, optional
        Only these, with or without ``sub-``.
    session_labels : iterable of str, optional
        Only these visits *and the earlier ones that they are computed from*, with or without ``ses-``.

    Returns
    -------
    tuple of Participant
        In natural order of their labels; the visits of each in order of time.

    Raises
    ------
    DatasetError
        If there is nothing to run, or a table cannot be read or has a forbidden column.
    UsageError
        If a label asked for does not exist.
    """
    finish_interrupted(bids_dir)
    if not bids_dir.is_dir():
        msg = f"{bids_dir}: no such BIDS folder; give the folder that holds sub-*"
        raise DatasetError(msg)
    refuse_forbidden_columns(bids_dir)
    sites = read_sites(bids_dir)
    waiting = _blocking_query_subjects(bids_dir)
    folders = sorted((p for p in bids_dir.glob("sub-*") if p.is_dir()), key=lambda p: natural_key(p.name))
    wanted = _wanted(participant_labels, "sub-", {folder.name for folder in folders})
    participants = []
    for folder in folders:
        if wanted is not None and folder.name not in wanted:
            continue
        _check_labels([folder, *(p for p in folder.glob("ses-*") if p.is_dir())])
        sessions = _sessions(bids_dir, folder, config, waiting)
        if sessions:
            participants.append(
                Participant(
                    participant_id=folder.name, site_id=sites.get(folder.name, ""), sessions=tuple(sessions)
                )
            )
    if not participants:
        msg = f"{bids_dir}: no sub-*/ses-*/anat image found; give a BIDS folder with session folders"
        raise DatasetError(msg)
    if session_labels is not None:
        participants = _up_to(participants, session_labels)
    return tuple(participants)


def _blocking_query_subjects(bids_dir: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return number and subject of the open blocking queries of each visit."""
    return {
        visit: tuple(f"{query.query_id}: {query.what}{_answered(query)}" for query in queries)
        for visit, queries in blocking_queries(bids_dir).items()
    }


def _answered(query: Query) -> str:
    return " (answered; the next intake carries it out)" if query.status == ANSWERED else ""


def _check_labels(folders: Iterable[Path]) -> None:
    for folder in folders:
        prefix, label = folder.name[:4], folder.name[4:]
        if not _LABEL.fullmatch(label):
            msg = (
                f"{folder}: the label {label!r} is not made of letters and digits only, as BIDS wants; "
                f"rename or remove the folder {prefix}{label}"
            )
            raise DatasetError(msg)


def _wanted(labels: Iterable[str] | None, prefix: str, known: set[str]) -> set[str] | None:
    if labels is None:
        return None
    wanted = {prefix + label.removeprefix(prefix) for label in labels}
    if unknown := sorted(wanted - known):
        msg = f"{', '.join(unknown)}: not in the data set; known are {', '.join(sorted(known)) or 'none'}"
        raise UsageError(msg)
    return wanted


def _up_to(participants: list[Participant], labels: Iterable[str]) -> list[Participant]:
    known = {s.session_id for p in participants for s in p.sessions}
    wanted = _wanted(labels, "ses-", known) or set()
    chosen = []
    for participant in participants:
        last = max((i for i, s in enumerate(participant.sessions) if s.session_id in wanted), default=None)
        if last is not None:
            sessions = participant.sessions[: last + 1]
            chosen.append(
                Participant(
                    participant_id=participant.participant_id, site_id=participant.site_id, sessions=sessions
                )
            )
    return chosen


def _sessions(
    bids_dir: Path, folder: Path, config: TrialConfig, waiting: Mapping[tuple[str, str], tuple[str, ...]]
) -> list[Session]:
    found = {p.name for p in folder.glob("ses-*") if p.is_dir()}
    planned = {f"ses-{visit.session_id.removeprefix('ses-')}": visit for visit in config.visits}
    table = folder / f"{folder.name}_sessions.tsv"
    listed = read_visits(table)
    sessions = []
    for name in sorted(found | set(listed) | set(planned), key=natural_key):
        row, visit = listed.get(name, VisitRow()), planned.get(name)
        week = visit.week if visit and row.week is None else row.week
        unplanned = "unscheduled" if planned and name not in listed else "scheduled"
        default_type = visit.visit_type if visit else unplanned
        images, ambiguous = _images(bids_dir, folder.name, name, config)
        sessions.append(
            Session(
                participant_id=folder.name,
                session_id=name,
                images=images,
                ambiguous=ambiguous,
                open_queries=waiting.get((folder.name, name), ()),
                week=week,
                visit_type=row.visit_type or default_type,
                acquired=row.acquired or read_scan_day(folder / name),
            )
        )
    scheduled = [(s.session_id, s.week, s.acquired) for s in sessions if s.visit_type == "scheduled"]
    refuse_weeks_against_dates(table, scheduled)
    sessions = _in_order_of_time(sessions)
    # A planned visit without any file counts as missing once a later visit is there, or once the
    # site's own table lists it; a visit that is not due yet is no gap.
    last = max((i for i, s in enumerate(sessions) if s.session_id in found), default=-1)
    return [s for i, s in enumerate(sessions) if i <= last or s.session_id in listed] if last >= 0 else []


def _in_order_of_time(sessions: list[Session]) -> list[Session]:
    if all(s.acquired is not None or not s.images for s in sessions) and any(s.acquired for s in sessions):
        dated = [s for s in sessions if s.acquired]
        if len(dated) == len(sessions):
            return sorted(sessions, key=lambda s: (s.acquired or dt.date.min, natural_key(s.session_id)))
    if all(s.week is not None for s in sessions):
        return sorted(sessions, key=lambda s: (s.week or 0, natural_key(s.session_id)))
    return sorted(sessions, key=lambda s: natural_key(s.session_id))


def _images(
    bids_dir: Path, participant_id: str, session_id: str, config: TrialConfig
) -> tuple[dict[Contrast, str], dict[Contrast, tuple[str, ...]]]:
    candidates: dict[str, list[Path]] = {}
    stem = f"{participant_id}_{session_id}_"
    for path in sorted((bids_dir / participant_id / session_id / "anat").glob(f"{stem}*.nii*")):
        name = path.name.removesuffix(".gz")
        if not name.endswith(".nii"):
            continue
        *entities, suffix = name.removesuffix(".nii").removeprefix(stem).split("_")
        enhanced = any(entity.startswith("ce-") for entity in entities)
        contrast = f"ce-gadolinium_{suffix}" if enhanced else suffix
        if contrast in CONTRASTS and not any(e.startswith(("space-", "desc-", "rec-")) for e in entities):
            candidates.setdefault(contrast, []).append(path)
    images: dict[Contrast, str] = {}
    ambiguous: dict[Contrast, tuple[str, ...]] = {}
    for contrast in CONTRASTS:
        paths = candidates.get(contrast, [])
        chosen = paths
        if len(paths) > 1 and contrast in config.intake.select:
            chosen = [path for path in paths if config.intake.select[contrast] in path.name]
        if len(chosen) == 1:
            images[contrast] = chosen[0].relative_to(bids_dir).as_posix()
        elif paths:  # a choice that fits none, or several, is no choice
            ambiguous[contrast] = tuple(path.name.removeprefix(stem) for path in paths)
    return images, ambiguous
