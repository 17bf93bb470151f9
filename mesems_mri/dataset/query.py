"""A query to a site: its parts, its words, and what it waits for."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from mesems_mri.dataset.query_answers import Answer, fitting_answers, options, read_answer
from mesems_mri.dataset.reasons import QUERIES, QueryCode

OPEN, ANSWERED, CLOSED = "open", "answered", "closed"
INTAKE = "intake"
"""Who closes a query whose answer was carried out, or that another scan answers; no person is called so."""
_LONGEST = 1000


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
        ``open``; ``answered``, while the next intake of its submission has to carry the answer out;
        ``closed``.
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
    answer : str
        Its answer, as `mesems_mri.dataset.query_answers.Answer` writes it.
    answered, answered_by : str
        Day and who.
    visits : str
        Of a query to a site that recurs at visits: ``sub-X/ses-Y`` of each, joined by commas, in the order in
        which they came. Such a query has neither participant nor visit nor submission of its own.
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
    answer: str = ""
    answered: str = ""
    answered_by: str = ""
    visits: str = ""

    @property
    def visit_names(self) -> tuple[str, ...]:
        """The visits at which it recurs."""
        return tuple(self.visits.split(",")) if self.visits else ()

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
        """Return whether its visit is on hold: the query is blocking and not closed."""
        return self.blocking and self.status != CLOSED

    @property
    def is_open(self) -> bool:
        """Return whether it is not closed."""
        return self.status != CLOSED

    @property
    def given(self) -> Answer | None:
        """The answer, if there is one."""
        return read_answer(self.answer)

    @property
    def state(self) -> str:
        """Its state in words, the same in the list and on the pages."""
        if self.status == CLOSED:
            return f"closed on {self.closed} by {self.closed_by}: {self.reason}"
        if self.status == ANSWERED:
            who = f"answered on {self.answered} by {self.answered_by} ({self.answer})"
            return f"{who}; the next intake of submission {self.submission_id or 'at hand'} carries it out"
        why = f"; {self.reason}" if self.reason else ""
        return f"waits for an answer: {options(fitting_answers(self.code, self.detail))}{why}"


COLUMNS = tuple(field.name for field in fields(Query))
"""Columns of ``queries.tsv``."""


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
    visits: str = "",
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
    visits : str
        ``sub-X/ses-Y`` of the visit at which a query to a site was raised.

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
        what=as_line(f"{text.what}: {words}" if words.strip() else text.what),
        action=as_line(action) or text.to_do,
        blocking=text.blocking if blocking is None else blocking,
        site_id=as_line(site_id),
        participant_id=as_line(participant_id),
        session_id=as_line(session_id),
        submission_id=as_line(submission_id),
        role=as_line(role),
        detail=as_line(",".join(str(value) for value in detail)),
        series_id=as_line(series_id),
        visits=as_line(visits),
    )


def as_line(text: str) -> str:
    """Return a text as one line that fits a cell."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1].rstrip() + "…"


def holds_in_words(queries: Iterable[Query]) -> str:
    """Return how many visits queries hold, and how many submissions wait for participant or visit."""
    waiting = [query for query in queries if query.blocks_visit]
    visits = {(query.participant_id, query.session_id) for query in waiting if query.session_id}
    told = "1 visit is on hold" if len(visits) == 1 else f"{len(visits)} visits are on hold"
    unknown = {query.submission_id for query in waiting if not query.session_id}
    if not unknown:
        return told
    wait = "1 submission waits" if len(unknown) == 1 else f"{len(unknown)} submissions wait"
    return f"{told}, {wait} for participant or visit"
