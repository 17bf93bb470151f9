"""Sections of the receipt of a submission: series, protocol compliance, queries to the site."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesems_mri.dataset.queries import Query
from mesems_mri.report.pictures import PictureRow
from mesems_mri.report.words import CONTRAST_WORDS

RESULTS = ("PASS", "FAIL", "UNKNOWN")


@dataclass(frozen=True, kw_only=True)
class CheckedItem:
    """An item that was checked.

    Parameters
    ----------
    role : str
        Series that it belongs to, e.g. ``FLAIR``; empty for the submission as a whole.
    name, words : str
        Key, and its name for readers.
    result : str
        ``PASS``, ``FAIL`` or ``UNKNOWN``.
    value, limit : str
        Value found, empty for none, and the expected one.
    """

    role: str = ""
    name: str
    words: str
    result: str
    value: str = ""
    limit: str = ""


@dataclass(frozen=True, kw_only=True)
class SentSeries:
    """A series as it arrived.

    Parameters
    ----------
    number : str
        Series number.
    description : str
        Series description, de-identified.
    role, reason : str
        Its classification, and the evidence.
    slices : int or None
    image : str
        The image it was converted to; empty when it is not used.
    faults : tuple of str
        Its faults, a phrase each.
    """

    number: str
    description: str
    role: str
    reason: str
    slices: int | None = None
    image: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SubmissionReceipt:
    """Contents of a receipt; no name, no date of a scan.

    Parameters
    ----------
    submission_id, site_id : str
    participant_id, session_id : str
        With their prefixes; empty when they are not known.
    visit_type : str
    week : int or None
    received : datetime.date
        Day of its intake at the centre.
    protocol : str
        Name of the protocol.
    scanner, software : str
        The machine, as far as the headers name it.
    files : int
        Files of this examination; of the whole submission where it holds none.
    series : tuple of SentSeries
        All of them.
    identity : tuple of CheckedItem
        Right participant and visit.
    items : tuple of CheckedItem
        Items of the protocol.
    missing : tuple of str
        Sequences of the protocol that were not sent.
    queries : tuple of Query
        Those about this submission.
    notes : tuple of str
        Remarks, a sentence each.
    pictures : tuple of PictureRow
        The converted images.
    """

    submission_id: str
    site_id: str
    received: dt.date
    participant_id: str = ""
    session_id: str = ""
    visit_type: str = ""
    week: int | None = None
    protocol: str = ""
    scanner: str = ""
    software: str = ""
    files: int = 0
    series: tuple[SentSeries, ...] = ()
    identity: tuple[CheckedItem, ...] = ()
    items: tuple[CheckedItem, ...] = ()
    missing: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[PictureRow, ...] = ()

    @property
    def visit(self) -> str:
        """Participant and visit in words."""
        if not self.participant_id:
            return "participant not known"
        return f"{self.participant_id} · {self.session_id or 'visit not known'}"

    @property
    def used(self) -> int:
        """Count the series that became an image."""
        return sum(bool(series.image) for series in self.series)


@dataclass(frozen=True)
class SubmissionOutcome:
    """Outcome of a submission: a key for colour and sign, a few words, and a sentence."""

    status: str
    short: str
    sentence: str


def submission_outcome(receipt: SubmissionReceipt, queries: Sequence[Query]) -> SubmissionOutcome:
    """Return the outcome of a submission.

    Parameters
    ----------
    receipt : SubmissionReceipt
    queries : sequence of Query
        Those about it, as they stand now.

    Returns
    -------
    SubmissionOutcome
    """
    waiting = [query for query in queries if query.blocks_visit]
    open_ones = [query for query in queries if query.is_open]
    if waiting:
        count = _queries_are(len(waiting))
        return SubmissionOutcome("fail", "on hold", f"The visit waits until {count} answered, see below.")
    if not receipt.used:
        return SubmissionOutcome("fail", "nothing used", "No image of this submission is used.")
    if open_ones:
        count = _queries_are(len(open_ones))
        return SubmissionOutcome(
            "warn", "accepted, with queries", f"The images are accepted; {count} still to be answered."
        )
    return SubmissionOutcome("pass", "accepted", "The images are accepted. There is nothing to do.")


def _queries_are(count: int) -> str:
    return "one query is" if count == 1 else f"{count} queries are"


def count_results(items: Sequence[CheckedItem]) -> dict[str, int]:
    """Count items by result."""
    return {result: sum(item.result == result for item in items) for result in RESULTS}


def summary(receipt: SubmissionReceipt) -> Mapping[str, Any]:
    """Summarise outcome and counts."""
    return {
        "outcome": submission_outcome(receipt, receipt.queries),
        "receipt": receipt,
        "counts": count_results(receipt.items),
        "identity": count_results(receipt.identity),
        "open": sum(query.is_open for query in receipt.queries),
    }


def queries(receipt: SubmissionReceipt) -> Mapping[str, Any] | None:
    """List the queries to the site, those that block the visit first."""
    if not receipt.queries:
        return None
    order = sorted(
        receipt.queries, key=lambda query: (not query.blocks_visit, bool(query.closed), query.query_id)
    )
    return {"queries": order}


def identity(receipt: SubmissionReceipt) -> Mapping[str, Any] | None:
    """List the items checked of participant and visit."""
    return {"items": receipt.identity} if receipt.identity else None


def series(receipt: SubmissionReceipt) -> Mapping[str, Any]:
    """List every series with its classification and the evidence."""
    return {"series": receipt.series, "files": receipt.files, "missing": receipt.missing}


def protocol(receipt: SubmissionReceipt) -> Mapping[str, Any] | None:
    """Lay the items of the protocol out: one row per item, one column per sequence."""
    if not receipt.items:
        return None
    found = {(item.role, item.name): item for item in receipt.items}
    roles = [role for role in CONTRAST_WORDS if any(role == item.role for item in receipt.items)]
    roles += sorted({item.role for item in receipt.items} - set(roles))
    words = {item.name: item.words for item in receipt.items}
    names: list[str] = []
    for role in roles:  # every sequence has its items in the order of the protocol, though not the same ones
        at = 0
        for item in receipt.items:
            if item.role == role:
                if item.name not in names:
                    names.insert(at, item.name)
                at = names.index(item.name) + 1
    return {
        "roles": roles,
        "lines": [(words[name], [found.get((role, name)) for role in roles]) for name in names],
        "name": receipt.protocol,
        "counts": count_results(receipt.items),
        "scanner": receipt.scanner,
        "software": receipt.software,
    }


def pictures(receipt: SubmissionReceipt) -> Mapping[str, Any] | None:
    """Show the images."""
    return {"rows": receipt.pictures} if receipt.pictures else None


def notes(receipt: SubmissionReceipt) -> Mapping[str, Any] | None:
    """List the remarks."""
    return {"notes": receipt.notes} if receipt.notes else None
