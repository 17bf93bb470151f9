"""Images that a query waits for: which are meant, and whether they are filed."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import UsageError

_POST = "ce-gadolinium_T1w"
OF_THE_SUBMISSION = {
    QueryCode.UNKNOWN_PARTICIPANT,
    QueryCode.SEVERAL_PARTICIPANTS,
    QueryCode.WRONG_SITE,
    QueryCode.SEX_DIFFERS,
    QueryCode.BIRTH_DATE_DIFFERS,
    QueryCode.NO_SCAN_DATE,
    QueryCode.VISIT_UNCLEAR,
}
"""Queries for which all images of their submission wait."""
_MADE = {"filed", "replaced", "set_aside"}
"""Status of a series whose image was made."""
_ONLY_TOLD = {QueryCode.UNREADABLE_FILES, QueryCode.UNSAFE_ARCHIVE, QueryCode.PROTOCOL_UNKNOWN}
"""Queries that no image waits for, even where a protocol makes them blocking."""


class Asked(Protocol):
    """The parts of a query that say which image it waits for."""

    @property
    def code(self) -> QueryCode:
        """Code of the query."""
        ...

    @property
    def blocking(self) -> bool:
        """True if its visit is on hold until it is closed."""
        ...

    @property
    def participant_id(self) -> str:
        """Participant."""
        ...

    @property
    def session_id(self) -> str:
        """Visit."""
        ...

    @property
    def submission_id(self) -> str:
        """Submission."""
        ...

    @property
    def role(self) -> str:
        """Image of the protocol."""
        ...

    @property
    def values(self) -> tuple[str, ...]:
        """Values of its detail."""
        ...


def waits_for_image(bids_dir: Path, query: Asked) -> bool:
    """Return whether a query waits for an image that is not filed.

    Such a query is freed by an answer or by another scan, never by closing it: the visit would be evaluated
    without the image, and nobody would see that it is missing.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    query : Query

    Returns
    -------
    bool
    """
    if not query.blocking or query.code in _ONLY_TOLD:
        return False
    if query.code in OF_THE_SUBMISSION or not query.session_id:
        statuses = list(_statuses(bids_dir, query.submission_id))
        if statuses or not query.session_id:
            return bool(statuses) and not _MADE & set(statuses)
    visit = bids_dir / query.participant_id / query.session_id / "anat"
    stem = f"{query.participant_id}_{query.session_id}_"
    there = {path.name.removeprefix(stem).split(".")[0] for path in visit.glob(f"{stem}*.nii*")}
    if query.code is QueryCode.MISSING_SEQUENCE:
        return any(not _is_there(line, there) for line in query.values)
    if query.code is QueryCode.CONTRAST_UNCLEAR:
        return not there >= {"T1w", _POST}
    return query.role not in there if query.role else not there


def refuse_unknown_series(bids_dir: Path, query_id: str, series_ids: Iterable[str]) -> None:
    """Refuse an answer that names a series which was never sent.

    Raises
    ------
    UsageError
        Naming the first of them.
    """
    rows = list(_rows(bids_dir))
    known = {row.get("series_id") for row in rows}
    for series_id in series_ids:
        if rows and series_id not in known:
            msg = f"{query_id}: no series {series_id} was sent; give a series_id of {bids_dir / 'series.tsv'}"
            raise UsageError(msg)


def _is_there(line: str, there: set[str]) -> bool:
    """Return whether one of the alternatives of a missing sequence (``FLAIR|T2w+PDw``) is there."""
    return any(set(alternative.split("+")) <= there for alternative in line.split("|"))


def _statuses(bids_dir: Path, submission_id: str) -> Iterator[str]:
    """Yield the status of each series of a submission, as ``series.tsv`` has it."""
    for row in _rows(bids_dir):
        if row.get("submission_id") == submission_id:
            yield row.get("status") or ""


def _rows(bids_dir: Path) -> Iterator[dict[str, str]]:
    try:
        with (bids_dir / "series.tsv").open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    except FileNotFoundError:
        return
