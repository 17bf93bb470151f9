"""Identification of an examination: its participant and its visit."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import study_day, text
from mesems_mri.intake.spelling import participants_named, participants_spelt, same_person, trial_subject

_SEXES = {"F", "M"}
"""Sexes that can contradict each other: other and unknown contradict none."""
_FAR_DAYS = 28
"""A day that misses every window by more than this is assigned to no visit without a query."""


@dataclass(frozen=True)
class IdentityProblem:
    """A finding about participant or visit, from which a query is made.

    Parameters
    ----------
    code : QueryCode
    words : str
        Details; no name, and no date but in days from the planned one.
    detail : tuple
        The same as values without words, for the ``detail`` of the query.
    blocking : bool or None
        None: as the code says.
    """

    code: QueryCode
    words: str = ""
    detail: tuple[object, ...] = ()
    blocking: bool | None = None


@dataclass(frozen=True, eq=False)
class Examination:
    """The series that one patient ID was given on one day.

    Parameters
    ----------
    patient_id : str
        As the site wrote it, without blanks at its ends.
    day : datetime.date or None
    series : tuple of Series
    """

    patient_id: str
    day: dt.date | None
    series: tuple[Series, ...]

    @property
    def sexes(self) -> set[str]:
        """Sexes that the headers name: ``F``, ``M``, ``O``."""
        return {sex for s in self.series if (sex := text(s.header, "PatientSex").upper()[:1])}

    @property
    def sex(self) -> str:
        """The sex that the headers name; empty when they name none or several."""
        said = self.sexes & _SEXES or self.sexes & {"O"}
        return next(iter(said)) if len(said) == 1 else ""


def group_examinations(series: Iterable[Series]) -> list[Examination]:
    """Sort series by patient ID and day; a series without a date takes the day of its study.

    Returns
    -------
    list of Examination
        In the order of patient ID and day.
    """
    series = list(series)
    study_days = {s.study_uid: day for s in series if s.study_uid and (day := study_day(s.header))}
    found: dict[tuple[str, dt.date | None], list[Series]] = defaultdict(list)
    for one in series:
        day = study_day(one.header) or study_days.get(one.study_uid)
        found[one.patient_id.strip(), day].append(one)
    order = sorted(found, key=lambda key: (key[0], key[1] or dt.date.min))
    return [Examination(patient, day, tuple(found[patient, day])) for patient, day in order]


def match_visit(
    examination: Examination, schedule: Sequence[SheetRow], site_id: str | None = None
) -> tuple[SheetRow | None, list[IdentityProblem]]:
    """Match an examination with a visit of the schedule.

    The patient ID must be one of the schedule, but for its spelling; else ClinicalTrialSubjectID must, which
    is meant for it. In both cases a query says so. The visit is the one whose window holds the day; of
    several, the one planned closest to it. A day outside of all windows goes to the visit whose window it
    misses least, if that is by four weeks at most and by less than half of what it misses any other by.

    Parameters
    ----------
    examination : Examination
    schedule : sequence of SheetRow
    site_id : str, optional
        Sending site.

    Returns
    -------
    SheetRow or None
        None when it is not known whose scan it is; the first row of the participant stands for one whose
        visit is not known, with a problem that says so.
    list of IdentityProblem
    """
    participant_id, problems = identify_participant(examination, schedule)
    rows = [row for row in schedule if row.participant_id == participant_id]
    if not rows:
        return None, problems
    if site_id and rows[0].site_id != site_id:
        told = f"{rows[0].participant_id} is of site {rows[0].site_id}, sent by {site_id}"
        problems.append(IdentityProblem(QueryCode.WRONG_SITE, told, (rows[0].site_id, site_id)))
    if examination.day is None:
        return rows[0], [*problems, IdentityProblem(QueryCode.NO_SCAN_DATE)]
    row, problem = _match_day(examination.day, rows)
    return row or rows[0], problems + ([problem] if problem else [])


def identify_participant(
    examination: Examination, schedule: Sequence[SheetRow]
) -> tuple[str, list[IdentityProblem]]:
    """Return the participant of an examination, empty when not known, and what is to be said about it."""
    alike: list[str] = []
    if examination.patient_id:
        alike, exact = participants_spelt(examination.patient_id, schedule)
        if len(alike) == 1:
            told = f"taken for {alike[0]}"
            problem = IdentityProblem(QueryCode.PATIENT_ID_SPELLING, told, (alike[0],), blocking=False)
            return alike[0], [] if exact else [problem]
    subjects = {trial_subject(series.header, schedule) for series in examination.series} - {""}
    if len(subjects) == 1 and not alike:
        (subject,) = subjects
        told = f"ClinicalTrialSubjectID is that of {subject}"
        detail = (subject, "ClinicalTrialSubjectID")
        return subject, [IdentityProblem(QueryCode.PATIENT_ID_SPELLING, told, detail, blocking=False)]
    return "", [_unknown_participant(examination, schedule, alike)]


def check_identity(
    examination: Examination, row: SheetRow, known_sex: str, birth_hash: str, known_birth_hash: str
) -> list[IdentityProblem]:
    """Compare the person in the headers with the schedule and with earlier visits.

    Parameters
    ----------
    examination : Examination
    row : SheetRow
    known_sex : str
        Of earlier visits, where the schedule does not say.
    birth_hash, known_birth_hash : str
        Keyed hash of the birth date now and at earlier visits; empty where there is none.

    Returns
    -------
    list of IdentityProblem
        What the headers do not say is no problem.
    """
    problems = []
    expected = row.sex or known_sex
    if expected in _SEXES and examination.sexes & _SEXES - {expected}:
        found = sorted(examination.sexes)
        told = f"{row.participant_id} is {expected}, the header says {', '.join(found)}"
        problems.append(IdentityProblem(QueryCode.SEX_DIFFERS, told, (expected, "|".join(found))))
    if birth_hash and known_birth_hash and birth_hash != known_birth_hash:
        problems.append(IdentityProblem(QueryCode.BIRTH_DATE_DIFFERS, row.participant_id))
    births = {text(s.header, "PatientBirthDate") for s in examination.series} - {""}
    names = sorted({text(s.header, "PatientName") for s in examination.series} - {""})
    if len(births) > 1 or not same_person(names):
        what, count = ("birth dates", len(births)) if len(births) > 1 else ("names", len(names))
        told = f"one patient ID with {count} {what} on one day"
        key = "birth_dates" if len(births) > 1 else "names"
        problems.append(IdentityProblem(QueryCode.SEVERAL_PARTICIPANTS, told, (f"{key}={count}",)))
    return problems


def mixed_studies(found: Iterable[Examination], schedule: Sequence[SheetRow] = ()) -> set[str]:
    """Return the studies that hold series of several patient IDs, spellings of one ID not counted."""
    patients: dict[str, set[str]] = defaultdict(set)
    for examination in found:
        known = identify_participant(examination, schedule)[0]
        for series in examination.series:
            patients[series.study_uid].add(known or examination.patient_id.casefold())
    return {study for study, ids in patients.items() if study and len(ids) > 1}


def _match_day(day: dt.date, rows: list[SheetRow]) -> tuple[SheetRow | None, IdentityProblem | None]:
    planned = [(row, row.days_outside(day)) for row in rows]
    missed = sorted(((abs(off), row) for row, off in planned if off is not None), key=lambda pair: pair[0])
    inside = [row for off, row in missed if off == 0]
    if inside:
        nearest = sorted(inside, key=lambda row: _days_from_planned(row, day))
        if len(nearest) == 1 or _days_from_planned(nearest[0], day) < _days_from_planned(nearest[1], day):
            return nearest[0], None
        one, other = (row.session_id for row in nearest[:2])
        return None, IdentityProblem(
            QueryCode.VISIT_UNCLEAR, f"it lies as close to {one} and {other}", (one, other)
        )
    unplanned = [row for row in rows if row.planned_date is None]
    clear = missed and missed[0][0] <= _FAR_DAYS and (len(missed) == 1 or 2 * missed[0][0] < missed[1][0])
    if clear and not unplanned:
        row = missed[0][1]
        off = row.days_outside(day) or 0
        told = f"{row.session_id}: {_days_outside(off)}"
        return row, IdentityProblem(QueryCode.OUTSIDE_WINDOW, told, (row.session_id, f"{off:+d}"))
    if len(unplanned) == 1:
        return unplanned[0], None
    if not missed:
        told = f"{len(unplanned)} visits of the schedule have no date"
        return None, IdentityProblem(QueryCode.VISIT_UNCLEAR, told, (f"undated={len(unplanned)}",))
    nearest_id, off = missed[0][1].session_id, missed[0][1].days_outside(day) or 0
    told = f"the nearest is {nearest_id}: {_days_outside(off)}"
    return None, IdentityProblem(QueryCode.VISIT_UNCLEAR, told, (nearest_id, f"{off:+d}"))


def _days_from_planned(row: SheetRow, day: dt.date) -> int:
    return abs((day - (row.planned_date or day)).days)


def _days_outside(off: int) -> str:
    side = "before the window opens" if off < 0 else "after the window closes"
    return f"{abs(off)} day{'s' if abs(off) > 1 else ''} {side}"


def _unknown_participant(
    examination: Examination, schedule: Sequence[SheetRow], alike: Sequence[str]
) -> IdentityProblem:
    code, count = QueryCode.UNKNOWN_PARTICIPANT, len(examination.series)
    counted = f"series={count}"
    told = f"{count} series" + ("" if examination.patient_id else " without a patient ID")
    detail = (counted,) if examination.patient_id else (counted, "no_patient_id")
    if alike:
        return IdentityProblem(
            code, f"{told}; the ID is as close to that of {' and '.join(alike)}", (*detail, *alike)
        )
    named: dict[str, str] = {}
    for series in examination.series:
        named |= participants_named(series.header, schedule)
    if named:
        where = ", ".join(f"that of {name} stands in {keyword}" for name, keyword in sorted(named.items()))
        return IdentityProblem(code, f"{told}; {where}", (*detail, *sorted(named)))
    return IdentityProblem(code, told, detail)
