"""Answers to queries: a closed list, which of them fit a query, and their form in ``queries.tsv``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import UsageError


class AnswerKind(StrEnum):
    """Closed list of answers, named as the options of ``mesems-mri query answer``."""

    VISIT = "visit"
    PARTICIPANT = "participant"
    VOLUME = "volume"
    SERIES = "series"
    ACCEPT = "accept"
    NOT_ACQUIRED = "not-acquired"
    SAME_PERSON = "same-person"
    MERGE = "merge"


ANSWER_WORDS: Mapping[AnswerKind, str] = {
    AnswerKind.VISIT: "the images are of this visit",
    AnswerKind.PARTICIPANT: "the images are of this participant",
    AnswerKind.VOLUME: "this volume of the series is used, counted from 1",
    AnswerKind.SERIES: "this series is used",
    AnswerKind.ACCEPT: "it is used as it is",
    AnswerKind.NOT_ACQUIRED: "there is no image to be used; the visit goes on without it",
    AnswerKind.SAME_PERSON: "it is the participant all the same",
    AnswerKind.MERGE: "the examinations of several days are one visit",
}
"""Each answer in words."""

_K = AnswerKind
_ROLES = ("T1w", "ce-gadolinium_T1w", "T2w", "PDw", "FLAIR")
_SERIES_ID = re.compile(r"[0-9A-Za-z.#_-]+")
_OF_A_SERIES = (_K.ACCEPT, _K.NOT_ACQUIRED)
_FITTING: Mapping[QueryCode, tuple[AnswerKind, ...]] = {
    QueryCode.UNKNOWN_PARTICIPANT: (_K.PARTICIPANT, _K.NOT_ACQUIRED),
    QueryCode.PATIENT_ID_SPELLING: (_K.SAME_PERSON, _K.ACCEPT),
    QueryCode.SEVERAL_PARTICIPANTS: (_K.SAME_PERSON, _K.NOT_ACQUIRED),
    QueryCode.SEX_DIFFERS: (_K.SAME_PERSON, _K.NOT_ACQUIRED),
    QueryCode.BIRTH_DATE_DIFFERS: (_K.SAME_PERSON, _K.NOT_ACQUIRED),
    QueryCode.NO_SCAN_DATE: (_K.VISIT, _K.NOT_ACQUIRED),
    QueryCode.VISIT_UNCLEAR: (_K.VISIT, _K.MERGE, _K.NOT_ACQUIRED),
    QueryCode.OUTSIDE_WINDOW: (_K.VISIT, _K.MERGE, _K.ACCEPT, _K.NOT_ACQUIRED),
    QueryCode.DUPLICATE_SUBMISSION: (_K.NOT_ACQUIRED,),
    QueryCode.ALREADY_RECEIVED: (_K.SERIES, _K.ACCEPT, _K.NOT_ACQUIRED),
    QueryCode.NOTHING_USABLE: (_K.SERIES, _K.NOT_ACQUIRED),
    QueryCode.MISSING_SEQUENCE: (_K.SERIES, _K.NOT_ACQUIRED),
    QueryCode.SEVERAL_CANDIDATES: (_K.SERIES, _K.MERGE, _K.NOT_ACQUIRED),
    QueryCode.CONTRAST_UNCLEAR: (_K.SERIES, _K.NOT_ACQUIRED),
    QueryCode.SEVERAL_VOLUMES: (_K.VOLUME, _K.NOT_ACQUIRED),
    QueryCode.CONVERSION_FAILED: (_K.NOT_ACQUIRED,),
    QueryCode.IDENTIFIER_LEFT: (_K.NOT_ACQUIRED,),
    QueryCode.NAME_DIFFERS: (_K.SERIES, *_OF_A_SERIES),
}


def fitting_answers(code: QueryCode, detail: str = "") -> tuple[AnswerKind, ...]:
    """Return the answers that fit a query of a code and a detail: only several days can be merged."""
    fitting = _FITTING.get(code, _OF_A_SERIES)
    if code is QueryCode.SEVERAL_CANDIDATES and "days=" not in detail:
        return tuple(kind for kind in fitting if kind is not AnswerKind.MERGE)
    return fitting


def options(kinds: tuple[AnswerKind, ...]) -> str:
    """Return answers as options of the command line, joined by "or"."""
    return " or ".join(f"--{kind}" for kind in kinds)


@dataclass(frozen=True)
class Answer:
    """An answer to a query.

    Parameters
    ----------
    kind : AnswerKind
    value : str
        Visit, participant, number or series; empty for the others.
    """

    kind: AnswerKind
    value: str = ""

    def __str__(self) -> str:
        return f"{self.kind}={self.value}" if self.value else str(self.kind)

    @property
    def series(self) -> dict[str, str]:
        """Series by role; the role is empty where it is that of the query."""
        if self.kind is not AnswerKind.SERIES:
            return {}
        pairs = [part.rpartition(":") for part in self.value.split(",")]
        return {role: series_id for role, _, series_id in pairs}


def read_answer(text: str) -> Answer | None:
    """Read an answer as ``queries.tsv`` holds it; None for an empty one.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> read_answer("visit=ses-w04").value
    'ses-w04'
    """
    if not text:
        return None
    kind, _, value = text.partition("=")
    return Answer(AnswerKind(kind), value)


def refuse_unfit(query_id: str, code: QueryCode, detail: str, answer: Answer) -> None:
    """Refuse an answer that does not fit the code of a query.

    Raises
    ------
    UsageError
        Naming those that fit.
    """
    fitting = fitting_answers(code, detail)
    if answer.kind not in fitting:
        msg = f"{query_id}: --{answer.kind} does not answer {code}; answer it with {options(fitting)}"
        raise UsageError(msg)


def given_answer(
    query_id: str,
    *,
    visit: str | None = None,
    participant: str | None = None,
    volume: int | None = None,
    series: Sequence[str] = (),
    accept: bool = False,
    not_acquired: bool = False,
    same_person: bool = False,
    merge: bool = False,
) -> Answer:
    """Return the answer that options of the command line give.

    Raises
    ------
    UsageError
        If they give none or several, or a value that is none.
    """
    given = [
        answer
        for answer in (
            visit is not None and Answer(_K.VISIT, _label(query_id, "--visit", visit, "ses-")),
            participant is not None
            and Answer(_K.PARTICIPANT, _label(query_id, "--participant", participant, "sub-")),
            volume is not None and Answer(_K.VOLUME, str(volume)),
            bool(series) and Answer(_K.SERIES, ",".join(_series(query_id, one) for one in series)),
            accept and Answer(_K.ACCEPT),
            not_acquired and Answer(_K.NOT_ACQUIRED),
            same_person and Answer(_K.SAME_PERSON),
            merge and Answer(_K.MERGE),
        )
        if answer
    ]
    if len(given) != 1:
        msg = f"{query_id}: {len(given)} answers are given, expected one of {options(tuple(AnswerKind))}"
        raise UsageError(msg)
    return given[0]


def _label(query_id: str, option: str, text: str, prefix: str) -> str:
    label = text.strip().removeprefix(prefix)
    if not (label.isascii() and label.isalnum()):
        msg = f"{query_id}: {option} {text!r} is no label, expected letters and digits like {prefix}w04"
        raise UsageError(msg)
    return prefix + label


def _series(query_id: str, text: str) -> str:
    role, _, series_id = text.strip().rpartition("=")
    if (role and role not in _ROLES) or not _SERIES_ID.fullmatch(series_id):
        msg = (
            f"{query_id}: --series {text!r}, expected the SERIES_ID of series.tsv, or ROLE=SERIES_ID "
            f"with a role of {', '.join(_ROLES)}"
        )
        raise UsageError(msg)
    return f"{role}:{series_id}" if role else series_id
