"""Table of the queries on disk, ``queries.tsv``: read, compared with its log, written under a lock."""

import contextlib
import csv
import datetime as dt
import fcntl
import io
import re
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesems_mri.dataset.query import ANSWERED, CLOSED, COLUMNS, OPEN, Query, as_line
from mesems_mri.dataset.query_answers import AnswerKind, read_answer
from mesems_mri.dataset.query_log import LOG, append_entry, changed_by_hand, fold, read_log
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.files import write_text

TABLE = "queries.tsv"
LOCK = ".queries.lock"
_FORMER_HEADS = (COLUMNS[:-1], COLUMNS[:-4], COLUMNS[:-7])
"""Columns of older versions: without visits, without answers, and without roles either."""
_ID = re.compile(r"Q[0-9]{4,}")
_ONE_THREAD = threading.RLock()  # the lock on the file holds processes apart, not the threads of one
Entries = list[dict[str, Any]]
"""The log."""


def read_queries(bids_dir: Path) -> tuple[Query, ...]:
    """Read all queries of a BIDS folder in the order of their numbers; none when there is no table.

    Of a table of an older version, what its columns lack is empty.

    Raises
    ------
    DatasetError
        If the table is not one that this module wrote, or was changed by hand.
    """
    return read_with_log(bids_dir)[0]


def read_with_log(bids_dir: Path) -> tuple[tuple[Query, ...], Entries]:
    """Return the queries and the log, which is the one to be believed."""
    path = bids_dir / TABLE
    head, found = _read_table(path)
    entries = read_log(bids_dir)
    if entries is None:
        if head in (COLUMNS, COLUMNS[:-1]):
            msg = (
                f"{bids_dir / LOG}: is missing, so that changes of {TABLE} by hand cannot be seen; "
                f"copy it to the table, or mesems-mri query restore {bids_dir} --as-it-is --by WHO"
            )
            raise DatasetError(msg)
        return found, []
    if odd := changed_by_hand({query.query_id: _row(query) for query in found}, entries):
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        msg = (
            f"{path}: was changed by hand, which is no answer ({odd[0]}{more}); "
            f"give mesems-mri query restore {bids_dir}, then mesems-mri query answer"
        )
        raise DatasetError(msg)
    return _queries_of(path, entries), entries


def _queries_of(path: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[Query, ...]:
    """Return the queries as the log leaves them; one of an older version may lack columns."""
    rows = fold(entries).values()
    return tuple(
        _read_row(path, at, COLUMNS, [row.get(c, "") for c in COLUMNS]) for at, row in enumerate(rows)
    )


def _read_table(path: Path) -> tuple[tuple[str, ...], tuple[Query, ...]]:
    try:
        lines = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return (), ()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error}); give back the table that intake wrote"
        raise DatasetError(msg) from error
    try:
        head, *body = [line for line in csv.reader(io.StringIO(lines, newline=""), delimiter="\t") if line]
    except (csv.Error, ValueError) as error:
        msg = f"{path}: is no table ({error}); give back the table that intake wrote"
        raise DatasetError(msg) from error
    if tuple(head) not in (COLUMNS, *_FORMER_HEADS):
        odd = sorted(set(head) ^ set(COLUMNS)) or head
        msg = f"{path}: the columns {', '.join(odd)} are missing, unknown or out of order; restore the table"
        raise DatasetError(msg)
    found = tuple(_read_row(path, number, head, row) for number, row in enumerate(body, start=2))
    ids = [query.query_id for query in found]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        msg = f"{path}: {twice[0]} stands there {ids.count(twice[0])} times, expected once; restore the table"
        raise DatasetError(msg)
    return tuple(head), found


def blocking_queries(bids_dir: Path) -> dict[tuple[str, str], tuple[Query, ...]]:
    """Return the blocking queries of every visit that are not closed, by participant and visit.

    One whose answer names the visit or the participant holds that one too until intake has carried it out.
    """
    held: dict[tuple[str, str], tuple[Query, ...]] = {}
    for query in read_queries(bids_dir):
        if query.blocks_visit:
            for key in dict.fromkeys(((query.participant_id, query.session_id), named_visit(query))):
                held[key] = (*held.get(key, ()), query)
    return held


def named_visit(query: Query) -> tuple[str, str]:
    """Return participant and visit of a query, as its answer names them if it does."""
    given = query.given
    if given and given.kind is AnswerKind.VISIT:
        return query.participant_id, given.value
    return query.participant_id, query.session_id


def restore_queries(bids_dir: Path, *, as_it_is: str = "", today: dt.date | None = None) -> tuple[Query, ...]:
    """Write the table as the log has it.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    as_it_is : str
        Who takes the table as it stands instead, where its log is lost.
    today : datetime.date, optional
        Day; None: now, in UTC.

    Returns
    -------
    tuple of Query
        The table.

    Raises
    ------
    UsageError
        If there is no log, and nobody takes the table as it is.
    """
    with table_lock(bids_dir):
        entries = read_log(bids_dir)
        if entries is None:
            if not as_line(as_it_is):
                msg = f"{bids_dir / LOG}: is missing, so that nothing can be restored; copy it to the table"
                raise UsageError(msg)
            table = _read_table(bids_dir / TABLE)[1]
            write_queries(bids_dir, table, (), [], by=as_line(as_it_is), today=today)
            return table
        table = _queries_of(bids_dir / TABLE, entries)
        _write_table(bids_dir, table)
        return table


@contextlib.contextmanager
def table_lock(bids_dir: Path) -> Generator[None]:
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


def write_queries(
    bids_dir: Path,
    queries: Sequence[Query],
    before: Sequence[Query],
    entries: Sequence[Mapping[str, Any]],
    *,
    by: str,
    today: dt.date | None,
) -> None:
    """Write the log, then the table; a table that is behind its log is that of an interrupted command."""
    old = {query.query_id: query for query in before}
    adopted = [("adopted", _row(query)) for query in before] if not entries else []
    changes = [
        (_event(old.get(query.query_id), query), _row(query))
        for query in queries
        if old.get(query.query_id) != query
    ]
    if adopted or changes:
        append_entry(bids_dir, entries, [*adopted, *changes], by, day_of(today))
    _write_table(bids_dir, queries)


def _event(old: Query | None, new: Query) -> str:
    if old is None:
        return "opened"
    return "completed" if old.status == new.status and old.answer == new.answer else new.status


def _row(query: Query) -> dict[str, str]:
    row = {name: str(getattr(query, name)) for name in COLUMNS}
    return row | {"blocking": "true" if query.blocking else "false"}


def _write_table(bids_dir: Path, queries: Sequence[Query]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(query).values() for query in queries)
    write_text(bids_dir / TABLE, stream.getvalue())


def _read_row(path: Path, number: int, head: Sequence[str], row: Sequence[str]) -> Query:
    values = dict(zip(head, row, strict=False))
    levels = {"code": set(QueryCode), "blocking": {"true", "false"}, "status": {OPEN, ANSWERED, CLOSED}}
    odd = [f"{name} {values.get(name)!r}" for name, known in levels.items() if values.get(name) not in known]
    if not _ID.fullmatch(values["query_id"]):
        odd.insert(0, f"query_id {values['query_id']!r}")
    try:
        read_answer(values.get("answer", ""))
    except ValueError:
        odd.append(f"answer {values['answer']!r}")
    if len(row) != len(head):
        odd.insert(0, f"{len(row)} fields instead of {len(head)}")
    if odd:
        msg = f"{path}: line {number} has {odd[0]}, which no query has; restore the table"
        raise DatasetError(msg)
    code, blocking = QueryCode(values.pop("code")), values.pop("blocking") == "true"
    return Query(code=code, blocking=blocking, **values)


def day_of(today: dt.date | None) -> str:
    """Return a day as ISO 8601; None: now, in UTC."""
    return (today or dt.datetime.now(tz=dt.UTC).date()).isoformat()
