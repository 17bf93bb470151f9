"""Queries of a BIDS folder: added, completed, answered and closed, by one process at a time."""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mesems_mri.dataset.query import ANSWERED, CLOSED, COLUMNS, INTAKE, OPEN, Query, as_line, new_query
from mesems_mri.dataset.query_answers import (
    ANSWER_WORDS,
    Answer,
    AnswerKind,
    fitting_answers,
    options,
    refuse_unfit,
)
from mesems_mri.dataset.query_images import refuse_unknown_series, waits_for_image
from mesems_mri.dataset.query_table import (
    LOCK,
    TABLE,
    blocking_queries,
    day_of,
    named_visit,
    read_queries,
    read_with_log,
    restore_queries,
    table_lock,
    write_queries,
)
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import UsageError

__all__ = [
    "COLUMNS",
    "LOCK",
    "TABLE",
    "Query",
    "add_queries",
    "answer_query",
    "blocking_queries",
    "close_query",
    "close_settled",
    "complete_queries",
    "named_visit",
    "new_query",
    "read_queries",
    "restore_queries",
    "settle_answers",
    "table_lock",
]

_ADDED = ("role", "detail", "series_id")
"""Columns that the oldest tables lack."""
_ANSWER = ("answer", "answered", "answered_by")


def add_queries(
    bids_dir: Path, queries: Iterable[Query], *, today: dt.date | None = None
) -> tuple[Query, ...]:
    """Add queries to the table; one that is in it already, open or closed, is not added again.

    One that recurs at further visits gets them added to its own, whether it is open or closed.

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
    with table_lock(bids_dir):
        before, entries = read_with_log(bids_dir)
        table = list(complete_queries(before, wanted))
        known = {query.content: query for query in table}
        for query in wanted:
            if query.content not in known:
                number = 1 + max((int(other.query_id[1:]) for other in table), default=0)
                fresh = dict.fromkeys(("closed", "closed_by", "reason", *_ANSWER), "")
                added = replace(query, query_id=f"Q{number:04}", status=OPEN, opened=day_of(today), **fresh)
                table.append(added)
                known[added.content] = added
            elif (extended := _with_visits(known[query.content], query)) != known[query.content]:
                table[table.index(known[query.content])] = extended
                known[query.content] = extended
        write_queries(bids_dir, table, before, entries, by=INTAKE, today=today)
    return tuple(known[query.content] for query in wanted)


def _with_visits(known: Query, query: Query) -> Query:
    """Return a query of the table with the visits at which it was raised again."""
    visits = dict.fromkeys((*known.visit_names, *query.visit_names))
    return replace(known, visits=",".join(visits))


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
    """Close a query without an answer that changes anything.

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
        If there is no such query, another person or reason has closed it, nobody or no reason is named, or
        it waits for an image that is not filed.
    DatasetError
        If the table is not one that this module wrote.
    """
    by, reason = as_line(by), as_line(reason)
    if not by or not reason:
        msg = f"{query_id}: {'--reason' if by else '--by'} is empty; say who closes the query and why"
        raise UsageError(msg)

    def close(old: Query) -> Query:
        if old.status == CLOSED:
            if (old.closed_by, old.reason) == (by, reason):
                return old
            msg = (
                f"{old.query_id}: was closed on {old.closed} by {old.closed_by} ({old.reason}); "
                "a query is closed once"
            )
            raise UsageError(msg)
        if by != INTAKE and waits_for_image(bids_dir, old):
            fitting = options(fitting_answers(old.code, old.detail))
            msg = (
                f"{old.query_id}: {old.code} waits for an image that is not filed, which closing does not "
                f"change; give mesems-mri query answer with {fitting}, or the intake of another scan"
            )
            raise UsageError(msg)
        return replace(old, status=CLOSED, closed=day_of(today), closed_by=by, reason=reason)

    return _change(bids_dir, query_id, close, by, today)


def answer_query(
    bids_dir: Path, query_id: str, answer: Answer, *, by: str, reason: str = "", today: dt.date | None = None
) -> Query:
    """Answer a query; the next intake of its submission carries the answer out, and closes it.

    That there is no image to be used needs no intake, and neither does an image that is filed already: the
    query is closed at once.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    query_id : str
    answer : Answer
    by, reason : str
        Who answers it, and why if there is more to say.
    today : datetime.date, optional
        Day; None: now, in UTC.

    Returns
    -------
    Query
        As it stands in the table.

    Raises
    ------
    UsageError
        If there is no such query, it is closed, the answer does not fit it, or nobody is named.
    DatasetError
        If the table is not one that this module wrote.
    """
    by, reason = as_line(by), as_line(reason)
    if not by or by == INTAKE:
        msg = f"{query_id}: --by is {by or 'empty'}; say who answers the query"
        raise UsageError(msg)

    def give(old: Query) -> Query:
        if old.status == CLOSED:
            msg = (
                f"{old.query_id}: was closed on {old.closed} by {old.closed_by} ({old.reason}); "
                "there is nothing to answer"
            )
            raise UsageError(msg)
        refuse_unfit(old.query_id, old.code, old.detail, answer)
        refuse_unknown_series(bids_dir, old.query_id, answer.series.values())
        given = replace(
            old,
            status=ANSWERED,
            answer=as_line(str(answer)),
            answered=day_of(today),
            answered_by=by,
            reason=reason,
        )
        told = answer.kind in (AnswerKind.ACCEPT, AnswerKind.SAME_PERSON) and not waits_for_image(
            bids_dir, old
        )
        if answer.kind is AnswerKind.NOT_ACQUIRED or (told and old.code is not QueryCode.ALREADY_RECEIVED):
            why = reason or ANSWER_WORDS[answer.kind]
            return replace(given, status=CLOSED, closed=day_of(today), closed_by=by, reason=why)
        return given

    return _change(bids_dir, query_id, give, by, today)


def settle_answers(bids_dir: Path, carried_out: Mapping[str, str], *, today: dt.date | None = None) -> None:
    """Close answered queries whose answer was carried out, and open again those whose answer was not.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    carried_out : mapping of str to str
        By number of the query, why its answer could not be carried out; empty when it was.
    today : datetime.date, optional
        Day; None: now, in UTC.
    """
    with table_lock(bids_dir):
        before, entries = read_with_log(bids_dir)
        table = [_settle(query, carried_out.get(query.query_id), day_of(today)) for query in before]
        if table == list(before):
            return
        write_queries(bids_dir, table, before, entries, by=INTAKE, today=today)


def close_settled(
    bids_dir: Path, submissions: Collection[str], asked: Iterable[Query], *, today: dt.date | None = None
) -> None:
    """Close queries that an intake of their submission raises no more, and whose image is filed.

    These are blocking, or of a visit that was not known.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    submissions : collection of str
        Submissions of the intake.
    asked : iterable of Query
        All queries that it has raised.
    today : datetime.date, optional
        Day; None: now, in UTC.
    """
    raised = {query.content for query in asked}
    with table_lock(bids_dir):
        before, entries = read_with_log(bids_dir)
        table = list(before)
        for at, query in enumerate(table):
            own = query.is_open and query.submission_id in submissions
            stale = own and query.content not in raised and (query.blocking or not query.session_id)
            if stale and not waits_for_image(bids_dir, query):
                told = "raised no more: the submission was read again, and the image is filed"
                table[at] = replace(query, status=CLOSED, closed=day_of(today), closed_by=INTAKE, reason=told)
        if table != list(before):
            write_queries(bids_dir, table, before, entries, by=INTAKE, today=today)


def _settle(query: Query, failure: str | None, day: str) -> Query:
    if failure is None or query.status != ANSWERED:
        return query
    if failure:
        told = f"{query.answer}, answered by {query.answered_by}, was not carried out: {failure}"
        return replace(query, status=OPEN, reason=as_line(told))
    said = f": {query.reason}" if query.reason else ""
    told = f"{query.answer}, answered by {query.answered_by}{said}"
    return replace(query, status=CLOSED, closed=day, closed_by=INTAKE, reason=as_line(told))


def _change(
    bids_dir: Path, query_id: str, change: Callable[[Query], Query], by: str, today: dt.date | None
) -> Query:
    """Change one query of the table."""
    with table_lock(bids_dir):
        before, entries = read_with_log(bids_dir)
        table = list(before)
        wanted = query_id.strip().upper()
        at = next((i for i, query in enumerate(table) if query.query_id == wanted), None)
        if at is None:
            known = f"{table[0].query_id} to {table[-1].query_id}" if table else "none"
            msg = f"{bids_dir / TABLE}: no query {query_id}, there are {known}; see mesems-mri query list"
            raise UsageError(msg)
        table[at] = change(table[at])
        write_queries(bids_dir, table, before, entries, by=by, today=today)
        return table[at]
