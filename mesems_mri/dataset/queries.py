"""Table of the queries of a BIDS folder: read, extended and closed, by one process at a time."""

import contextlib
import csv
import datetime as dt
import fcntl
import io
import re
import threading
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mesems_mri.dataset.reasons import QUERIES, QueryCode
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.files import write_text

TABLE = "queries.tsv"
LOCK = ".queries.lock"
OPEN, CLOSED = "open", "closed"
_LONGEST = 1000
_ID = re.compile(r"Q[0-9]{4,}")
_ONE_THREAD = threading.Lock()  # the lock on the file holds processes apart, not the threads of one


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query; the names and the order of its parts are those of the columns of ``queries.tsv``.

    Site, participant, session, code, role, detail and submission make a query the same one; the words of
    ``what`` and ``action`` are for people alone, and may be worded anew at any time.

    Parameters
    ----------
    query_id : str
        ``Q0001`` and so on, given when it is added; it is never used again.
    site_id : str
    participant_id, session_id : str
        With their prefixes; empty when it is not known whose scan it is, or of which visit.
    code : QueryCode
    what, action : str
        What is wrong, and what the site should do. No name, and no date of the scan: a true date beside a
        shifted one would give the shift away; say it in days.
    blocking : bool
        The visit is not evaluated before the query is closed.
    status : str
        ``open`` or ``closed``.
    opened, closed : str
        Day, ISO 8601.
    closed_by, reason : str
        Who has closed it, and why.
    submission_id : str
        The submission that it is about.
    role : str
        The image of the protocol that it is about, e.g. ``FLAIR``; empty when it is about none, or several.
    detail : str
        What tells it from the other queries of its code: values joined by commas, each a label, a term of a
        closed list, a number or a pseudonymised UID, none with a comma, and none in words. About a series,
        its ``series_id`` comes first (with ``#2`` for the second image of it, such as an echo). Alternatives
        are joined by ``|``: ``T1w,FLAIR|T2w+PDw`` of missing roles; ``echo_time,coil`` of failed items;
        ``2.25.7,30/32`` of a series with 30 of 32 slices. A code has it always, or never.
    series_id : str
        The series that it is about, as ``series.tsv`` names it; several joined by commas.
    """

    query_id: str = ""
    site_id: str = ""
    participant_id: str = ""
    session_id: str = ""
    code: QueryCode
    what: str
    action: str
    blocking: bool
    status: str = OPEN
    opened: str = ""
    closed: str = ""
    closed_by: str = ""
    reason: str = ""
    submission_id: str = ""
    role: str = ""
    detail: str = ""
    series_id: str = ""

    @property
    def subject(self) -> tuple[str, ...]:
        """Participant, visit, submission and code of the query."""
        return (self.site_id, self.participant_id, self.session_id, str(self.code), self.submission_id)

    @property
    def content(self) -> tuple[str, ...]:
        """Identity of the query: two with the same one are the same query."""
        return (*self.subject, self.role, self.detail)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of ``detail``."""
        return tuple(self.detail.split(",")) if self.detail else ()

    @property
    def blocks_visit(self) -> bool:
        """Return whether its visit is on hold until the query is answered (blocking and open)."""
        return self.blocking and self.status == OPEN


COLUMNS = tuple(field.name for field in fields(Query))
"""Columns of ``queries.tsv``."""
_ADDED = ("role", "detail", "series_id")
"""Columns that older tables lack."""
_KNOWN_HEADS = (COLUMNS, tuple(name for name in COLUMNS if name not in _ADDED))


def new_query(
    code: QueryCode,
    *,
    words: str = "",
    role: str = "",
    detail: tuple[object, ...] = (),
    series_id: str = "",
    action: str = "",
    blocking: bool | None = None,
    site_id: str = "",
    participant_id: str = "",
    session_id: str = "",
    submission_id: str = "",
) -> Query:
    """Word a query; `add_queries` gives it its number.

    Parameters
    ----------
    code : QueryCode
    words : str
        What exactly, for the site: which series, which value, what was expected.
    role : str
    detail : tuple
        The values that tell it from other queries of its code, see `Query`.
    series_id : str
    action : str
        What the site should do, where that of the code does not fit.
    blocking : bool, optional
        True if the visit is on hold until the query is answered; None: as the code says.
    site_id, participant_id, session_id, submission_id : str
        What it is about.

    Returns
    -------
    Query

    Examples
    --------
    >>> query = new_query(QueryCode.MISSING_SLICES, words="FLAIR has 30 of 32", detail=("2.25.7", "30/32"))
    >>> query.what, query.detail
    ('Slices are missing: FLAIR has 30 of 32', '2.25.7,30/32')
    """
    text = QUERIES[code]
    return Query(
        code=code,
        what=_line(f"{text.what}: {words}" if words.strip() else text.what),
        action=_line(action) or text.to_do,
        blocking=text.blocking if blocking is None else blocking,
        site_id=_line(site_id),
        participant_id=_line(participant_id),
        session_id=_line(session_id),
        submission_id=_line(submission_id),
        role=_line(role),
        detail=_line(",".join(str(value) for value in detail)),
        series_id=_line(series_id),
    )


def read_queries(bids_dir: Path) -> tuple[Query, ...]:
    """Read all queries of a BIDS folder in the order of their numbers; none when there is no table.

    Of a table of an older version, without them, role, detail and series are empty.

    Raises
    ------
    DatasetError
        If the table is not one that this module wrote.
    """
    path = bids_dir / TABLE
    try:
        lines = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error}); give back the table that intake wrote"
        raise DatasetError(msg) from error
    try:
        head, *body = [line for line in csv.reader(io.StringIO(lines, newline=""), delimiter="\t") if line]
    except (csv.Error, ValueError) as error:
        msg = f"{path}: is no table ({error}); give back the table that intake wrote"
        raise DatasetError(msg) from error
    if tuple(head) not in _KNOWN_HEADS:
        odd = sorted(set(head) ^ set(COLUMNS)) or head
        msg = f"{path}: the columns {', '.join(odd)} are missing, unknown or out of order; restore the table"
        raise DatasetError(msg)
    found = tuple(_read_row(path, number, head, row) for number, row in enumerate(body, start=2))
    ids = [query.query_id for query in found]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        msg = f"{path}: {twice[0]} stands there {ids.count(twice[0])} times, expected once; restore the table"
        raise DatasetError(msg)
    return found


def blocking_queries(bids_dir: Path) -> dict[tuple[str, str], tuple[Query, ...]]:
    """Return the open blocking queries of every visit, by participant and visit."""
    held: dict[tuple[str, str], tuple[Query, ...]] = {}
    for query in read_queries(bids_dir):
        if query.blocks_visit:
            key = (query.participant_id, query.session_id)
            held[key] = (*held.get(key, ()), query)
    return held


def add_queries(
    bids_dir: Path, queries: Iterable[Query], *, today: dt.date | None = None
) -> tuple[Query, ...]:
    """Add queries to the table; one that is in it already, open or closed, is not added again.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    queries : iterable of Query
        As `new_query` words them.
    today : datetime.date, optional
        Day on which they are opened; None: now, in UTC.

    Returns
    -------
    tuple of Query
        The same queries as they stand in the table, with their numbers.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    DatasetError
        If the table is not one that this module wrote.
    """
    wanted = list(queries)
    if not wanted:
        return ()
    with _locked(bids_dir):
        table = list(complete_queries(read_queries(bids_dir), wanted))
        known = {query.content: query for query in table}
        for query in wanted:
            if query.content not in known:
                number = 1 + max((int(other.query_id[1:]) for other in table), default=0)
                added = replace(
                    query,
                    query_id=f"Q{number:04}",
                    status=OPEN,
                    opened=_day(today),
                    closed="",
                    closed_by="",
                    reason="",
                )
                table.append(added)
                known[added.content] = added
        _write(bids_dir, table)
    return tuple(known[query.content] for query in wanted)


def complete_queries(table: Iterable[Query], asked: Sequence[Query]) -> tuple[Query, ...]:
    """Fill in role, detail and series of older queries, which lack them, from the same ones raised again.

    A query about the same subject is such a query again: one that reads the same if there is one, else the
    first. So no older query is asked twice, whatever its words have become since.

    Parameters
    ----------
    table : iterable of Query
        As they stand in the table.
    asked : sequence of Query
        As `new_query` words them, all of a submission.

    Returns
    -------
    tuple of Query
        The table.
    """
    table = list(table)
    known = {query.content for query in table}
    for same_words in (True, False):
        for query in asked:
            if query.content in known:
                continue
            for at, old in enumerate(table):
                blank = not (old.role or old.detail or old.series_id)
                if blank and old.subject == query.subject and (old.what == query.what or not same_words):
                    table[at] = replace(old, **{name: getattr(query, name) for name in _ADDED})
                    known.add(query.content)
                    break
    return tuple(table)


def close_query(
    bids_dir: Path, query_id: str, *, by: str, reason: str, today: dt.date | None = None
) -> Query:
    """Close a query.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    query_id : str
    by, reason : str
        Who closes it and why; both are needed.
    today : datetime.date, optional
        Day; None: now, in UTC.

    Returns
    -------
    Query
        As it stands in the table.

    Raises
    ------
    UsageError
        If there is no such query, another person or reason has closed it, or nobody or no reason is named.
    DatasetError
        If the table is not one that this module wrote.
    """
    by, reason = _line(by), _line(reason)
    if not by or not reason:
        msg = f"{query_id}: {'--reason' if by else '--by'} is empty; say who closes the query and why"
        raise UsageError(msg)
    with _locked(bids_dir):
        table = list(read_queries(bids_dir))
        wanted = query_id.strip().upper()
        at = next((i for i, query in enumerate(table) if query.query_id == wanted), None)
        if at is None:
            known = f"{table[0].query_id} to {table[-1].query_id}" if table else "none"
            msg = f"{bids_dir / TABLE}: no query {query_id}, there are {known}; see mesems-mri query list"
            raise UsageError(msg)
        old = table[at]
        if old.status == CLOSED:
            if (old.closed_by, old.reason) == (by, reason):
                return old
            msg = (
                f"{old.query_id}: was closed on {old.closed} by {old.closed_by} ({old.reason}); "
                "a query is closed once"
            )
            raise UsageError(msg)
        table[at] = replace(old, status=CLOSED, closed=_day(today), closed_by=by, reason=reason)
        _write(bids_dir, table)
        return table[at]


@contextlib.contextmanager
def _locked(bids_dir: Path) -> Generator[None]:
    """Hold the lock of the table: one process and thread at a time; the system frees it when one dies."""
    path = bids_dir / LOCK
    with _ONE_THREAD:
        try:
            stream = path.open("a", encoding="utf-8")
        except OSError as error:
            msg = f"{path}: cannot be written ({error.strerror}); give a BIDS folder that you may write to"
            raise UsageError(msg) from error
        with stream:
            fcntl.lockf(stream, fcntl.LOCK_EX)
            yield


def _write(bids_dir: Path, queries: Sequence[Query]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for query in queries:
        row = {name: getattr(query, name) for name in COLUMNS}
        row["blocking"] = "true" if query.blocking else "false"
        writer.writerow(str(row[name]) for name in COLUMNS)
    write_text(bids_dir / TABLE, stream.getvalue())


def _read_row(path: Path, number: int, head: Sequence[str], row: Sequence[str]) -> Query:
    values = dict(zip(head, row, strict=False))
    levels = {"code": set(QueryCode), "blocking": {"true", "false"}, "status": {OPEN, CLOSED}}
    odd = [f"{name} {values.get(name)!r}" for name, known in levels.items() if values.get(name) not in known]
    if not _ID.fullmatch(values["query_id"]):
        odd.insert(0, f"query_id {values['query_id']!r}")
    if len(row) != len(head):
        odd.insert(0, f"{len(row)} fields instead of {len(head)}")
    if odd:
        msg = f"{path}: line {number} has {odd[0]}, which no query has; restore the table"
        raise DatasetError(msg)
    code, blocking = QueryCode(values.pop("code")), values.pop("blocking") == "true"
    return Query(code=code, blocking=blocking, **values)


def _line(text: str) -> str:
    """Return a text as one line that fits a cell."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def _day(today: dt.date | None) -> str:
    return (today or dt.datetime.now(tz=dt.UTC).date()).isoformat()
