"""Answers of the sites, as an intake carries them out."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mesems_mri.dataset.query import ANSWERED, Query
from mesems_mri.dataset.query_answers import AnswerKind
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.identify import Examination, IdentityProblem, match_visit
from mesems_mri.intake.named_volume import VolumeError, take_volume
from mesems_mri.intake.visit import AssessedVisit, SeriesStatus

_OF_THE_VISIT = {QueryCode.NO_SCAN_DATE, QueryCode.VISIT_UNCLEAR, QueryCode.OUTSIDE_WINDOW}
_OF_THE_PERSON = {AnswerKind.PARTICIPANT, AnswerKind.VISIT, AnswerKind.SAME_PERSON}
_USED = (SeriesStatus.FILED, SeriesStatus.UNCHANGED)


def match_as_answered(
    context: IntakeContext, examination: Examination, submission_id: str, sessions: Iterable[str]
) -> tuple[SheetRow | None, list[IdentityProblem], dict[str, str]]:
    """Match an examination with a visit of the schedule, as the site has answered where it has.

    Parameters
    ----------
    context : IntakeContext
    examination : Examination
    submission_id : str
        Name of the examination.
    sessions : iterable of str
        Visits of the participant that hold images, or other examinations of this submission.

    Returns
    -------
    SheetRow or None, list of IdentityProblem
        As of `match_visit`.
    dict of str to str
        By number of the query, why its answer could not be carried out.
    """
    row, problems = match_visit(examination, context.schedule, context.request.site_id)
    failures: dict[str, str] = {}
    for query in context.answers_about(submission_id):
        given = query.given
        if given is None or given.kind not in (AnswerKind.PARTICIPANT, AnswerKind.VISIT, AnswerKind.MERGE):
            continue
        if given.kind is AnswerKind.PARTICIPANT:
            rows = [one for one in context.schedule if one.participant_id == given.value]
            if not rows:
                failures[query.query_id] = f"the visit schedule has no {given.value}"
            elif row is None:
                known = replace(examination, patient_id=rows[0].dicom_patient_id)
                row, problems = match_visit(known, context.schedule, context.request.site_id)
        elif row is not None and query.code in _OF_THE_VISIT:
            wanted = given.value
            if given.kind is AnswerKind.MERGE:
                wanted = _nearest(context.schedule, row, examination.day, set(sessions))
            of_visit = [
                one
                for one in context.schedule
                if (one.participant_id, one.session_id) == (row.participant_id, wanted)
            ]
            if of_visit:
                row, problems = of_visit[0], [one for one in problems if one.code not in _OF_THE_VISIT]
            elif given.kind is AnswerKind.MERGE:
                failures[query.query_id] = "there is no other examination of the participant to merge it with"
            else:
                failures[query.query_id] = f"the visit schedule has no {row.participant_id}/{wanted}"
    return row, problems, failures


def _nearest(schedule: Sequence[SheetRow], row: SheetRow, day: dt.date | None, sessions: set[str]) -> str:
    """Return the visit with another examination that was planned closest to a day."""
    found = [
        one for one in schedule if one.participant_id == row.participant_id and one.session_id in sessions
    ]
    if day is None:
        return found[0].session_id if len(found) == 1 else ""
    dated = [(abs((day - one.planned_date).days), one.session_id) for one in found if one.planned_date]
    return min(dated)[1] if dated else ""


def take_named_volumes(context: IntakeContext, visit: AssessedVisit) -> None:
    """Leave of a series with several volumes the one that the site has named."""
    for query in context.answers_about(visit.submission_id):
        given = query.given
        if given is None or given.kind is not AnswerKind.VOLUME or not query.values:
            continue
        series = [one for one in visit.examination.series if visit.image_id(one) == query.values[0]]
        try:
            chosen = {one: take_volume(one, int(given.value)) for one in series}
        except (VolumeError, ValueError) as error:
            visit.answer_failures[query.query_id] = str(error) or "its files cannot be read"
            continue
        left = tuple(chosen.get(one, one) for one in visit.examination.series)
        visit.examination = replace(visit.examination, series=left)


def named_series(
    context: IntakeContext, visits: Sequence[AssessedVisit], *, anew: bool = False
) -> dict[str, str]:
    """Return the series that answers name for the roles of a visit.

    Parameters
    ----------
    context : IntakeContext
    visits : sequence of AssessedVisit
        Examinations of one visit.
    anew : bool
        Only answers that no intake has carried out yet: these replace what is filed.

    Returns
    -------
    dict of str to str
        ``series_id`` of ``series.tsv`` by role.
    """
    named: dict[str, str] = {}
    for visit in visits:
        for query in context.answers_about(visit.submission_id):
            if anew and query.status != ANSWERED:
                continue
            for role, series_id in _series_of(context, query).items():
                named[role or query.role or _role_of(context, series_id)] = series_id
    named.pop("", None)
    return named | context.request.use


def _series_of(context: IntakeContext, query: Query) -> Mapping[str, str]:
    given = query.given
    if given and given.kind is AnswerKind.ACCEPT and query.code is QueryCode.ALREADY_RECEIVED:
        ids = query.series_id.split(",") if query.series_id else []
        return {role: series_id for series_id in ids if (role := _role_of(context, series_id))}
    return given.series if given else {}


def _role_of(context: IntakeContext, series_id: str) -> str:
    """Return the role that earlier intakes have given a series; empty when they have given none."""
    rows = [row for row in context.earlier_series if row["series_id"] == series_id]
    roles = [row["role"] for row in rows if row["image"] not in ("", "n/a")]
    candidate_of = [row["candidate_of"] for row in rows if row["candidate_of"] not in ("", "n/a")]
    return next(iter([*roles, *candidate_of]), "")


def merged_roles(context: IntakeContext, visits: Sequence[AssessedVisit]) -> set[str]:
    """Return the roles of which the site has said that the days of a visit are to be merged."""
    return {
        query.role
        for visit in visits
        for query in context.answers_about(visit.submission_id)
        if query.code is QueryCode.SEVERAL_CANDIDATES and query.given and query.given.kind is AnswerKind.MERGE
    }


def outcome_of_answers(
    context: IntakeContext, visits: Sequence[AssessedVisit], blocked: Iterable[AssessedVisit]
) -> dict[str, str]:
    """Return of each answer that was due whether it was carried out, by number of its query.

    Parameters
    ----------
    context : IntakeContext
    visits : sequence of AssessedVisit
        Already filed.
    blocked : iterable of AssessedVisit
        Those that are held for participant or visit; what is said of their series is not due yet.

    Returns
    -------
    dict of str to str
        Why it was not; empty when it was.
    """
    found: dict[str, str] = {}
    held = {visit.submission_id for visit in blocked}
    for visit in visits:
        sisters = [other for other in visits if other.name == visit.name]
        for query in context.answers_about(visit.submission_id):
            given = query.given
            if query.status != ANSWERED or given is None:
                continue
            if query.query_id in visit.answer_failures:
                found[query.query_id] = visit.answer_failures[query.query_id]
            elif given.kind in _OF_THE_PERSON or not _roles_due(context, query):
                found[query.query_id] = ""
            elif visit.submission_id not in held:
                found[query.query_id] = _missing_image(sisters, _roles_due(context, query))
    return found


def _roles_due(context: IntakeContext, query: Query) -> set[str]:
    """Return the roles whose image an answer asks for."""
    if query.code in _OF_THE_VISIT or query.code is QueryCode.WRONG_SITE:
        return set()
    named = {role or query.role or _role_of(context, s) for role, s in _series_of(context, query).items()}
    return (named or {query.role}) - {""}


def _missing_image(visits: Sequence[AssessedVisit], roles: set[str]) -> str:
    """Return the reason for which a role has no image; empty when all have one."""
    for role in sorted(roles):
        series = [(visit, v.series) for visit in visits if (v := visit.selected_series().get(role))]
        if any(visit.status.get(one) in _USED for visit, one in series):
            continue
        if not series:
            return f"no series of this submission is used as {role}"
        visit, one = series[-1]
        return _why_unused(visit, role, one)
    return ""


def _why_unused(visit: AssessedVisit, role: str, series: Series) -> str:
    if faults := [fault.text for fault in visit.faults.get(series, [])]:
        failed = [q.what for q in visit.queries if q.code is QueryCode.CONVERSION_FAILED and q.role == role]
        told = f"; {failed[0]}" if failed else ""
        return f"no volume can be made of it ({'; '.join(faults)}{told})"
    failed = [query.what for query in visit.queries if query.role == role and query.blocking]
    return failed[0] if failed else "its image is not filed"
