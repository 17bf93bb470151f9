"""One visit from several examinations of a submission: joined role by role, asked where two are meant."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from mesems_mri.dataset.queries import Query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.intake.classify import OTHER, ClassifiedSeries
from mesems_mri.intake.contrast import POST, PRE
from mesems_mri.intake.visit import AssessedVisit


def roles_of(visits: Sequence[AssessedVisit]) -> set[str]:
    """Return the image roles that examinations hold."""
    return {role for visit in visits for role in visit.selected_series()}


def join_examinations(
    several: Sequence[AssessedVisit],
    filed: set[str],
    named: Mapping[str, str],
    merged: Set[str] = frozenset(),
) -> None:
    """Join the assessed examinations of one visit.

    A role that only one of them holds, or holds without a fault, is taken from there. Of T1w the one that was
    acquired together with the post-contrast T1w belongs to it. Any other role that two of them hold is asked,
    and taken from neither, unless one is filed, or an answer has named one.

    Parameters
    ----------
    several : sequence of AssessedVisit
        In chronological order; changed in place.
    filed : set of str
        Roles of the visit that earlier submissions have filed.
    named : mapping of str to str
        The series that an answer names, by role.
    merged : set of str, optional
        Roles that an answer takes from the day of the post-contrast T1, or else from the last day.
    """
    # the post-contrast T1 first, since it decides about others
    for role in sorted(roles_of(several), key=lambda role: (role != POST, role)):
        holders = _prefer_complete(several, role)
        if len(holders) < 2 or role in filed:
            continue
        meant = [visit for visit in holders if _series_id(visit, role) == named.get(role)]
        if meant:
            for visit in holders:
                if visit not in meant:
                    _take_away(visit, role, "not taken: the site has named another one")
        elif role in merged:
            for visit in holders:
                if visit is not _merged_from(several, holders):
                    _take_away(visit, role, "not taken: merged with the day of the post-contrast T1")
        elif role != PRE or not _has_one_post(several, filed):
            _ask(holders, role)
    _leave_to_the_last(several, filed)


def _series_id(visit: AssessedVisit, role: str) -> str:
    return visit.series_id(visit.selected_series()[role].series)


def _merged_from(several: Sequence[AssessedVisit], holders: Sequence[AssessedVisit]) -> AssessedVisit:
    """Return the examination that holds a role of merged days: with the post-contrast T1, else the last."""
    with_post = [visit for visit in several if POST in visit.selected_series()]
    return next((visit for visit in reversed(holders) if visit in with_post), holders[-1])


def _prefer_complete(several: Sequence[AssessedVisit], role: str) -> list[AssessedVisit]:
    """Return the examinations that hold a role; if some are without a fault, the others lose it."""
    holders = [visit for visit in several if role in visit.selected_series()]
    whole = [visit for visit in holders if not visit.faults[visit.selected_series()[role].series]]
    if not whole or len(whole) == len(holders):
        return holders
    for visit in holders:
        if visit not in whole:
            told = "not taken: slices are wrong or missing, and another examination of the visit is complete"
            _take_away(visit, role, told)
    return whole


def _has_one_post(several: Sequence[AssessedVisit], filed: set[str]) -> bool:
    count = sum(POST in visit.selected_series() for visit in several)
    return count == 1 and POST not in filed


def _ask(holders: Sequence[AssessedVisit], role: str) -> None:
    """Ask which of several examinations a role is taken from; the query is about the first of them."""
    first = holders[0]
    chosen = [(visit, visit.selected_series()[role]) for visit in holders]
    ids = [visit.series_id(one.series) for visit, one in chosen]
    names = " and ".join(
        f"{visit.series_name(one.series)} of day {_days_after(first, visit) + 1}" for visit, one in chosen
    )
    first.queries.append(
        first.query_factory()(
            QueryCode.SEVERAL_CANDIDATES,
            words=f"{role}, {names}, of {len(holders)} days",
            role=role,
            detail=(*ids, f"days={len(holders)}"),
            series_id=",".join(ids),
        )
    )
    for visit, _ in chosen:
        _take_away(visit, role, f"one of {len(holders)} examinations of the visit that hold it", "several")


def _days_after(first: AssessedVisit, visit: AssessedVisit) -> int:
    if first.examination.day is None or visit.examination.day is None:
        return 0
    return (visit.examination.day - first.examination.day).days


def _take_away(visit: AssessedVisit, role: str, why: str, unclear: str = "") -> None:
    """Take a role from an examination, and drop what is asked about its series."""

    def without(one: ClassifiedSeries) -> ClassifiedSeries:
        if one.role != role:
            return one
        reason = f"{one.reason}; {why}"
        return replace(one, role=OTHER, candidate_of=role, reason=reason, unclear=unclear, doubt="")

    visit.classified = [without(one) for one in visit.classified]
    visit.protocol_items.pop(role, None)
    kept = (QueryCode.SEVERAL_CANDIDATES, QueryCode.CONTRAST_UNCLEAR)
    visit.queries = [query for query in visit.queries if query.role != role or query.code in kept]


def _leave_to_the_last(several: Sequence[AssessedVisit], filed: set[str]) -> None:
    """Ask about the visit as a whole once, for its last examination, which was assessed with all others."""
    there = bool(filed or roles_of(several) or any(one.unclear for v in several for one in v.classified))
    for visit in several:
        visit.queries = [
            _without_blocking(query) if query.code is QueryCode.NOTHING_USABLE and there else query
            for query in visit.queries
            if query.code is not QueryCode.MISSING_SEQUENCE or visit is several[-1]
        ]


def _without_blocking(query: Query) -> Query:
    return replace(query, blocking=False)
