"""Filing of a visit in the BIDS folder: replacement, quarantine, and the closing of queries it answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mesems_mri.dataset.queries import Query, close_query
from mesems_mri.dataset.query_images import OF_THE_SUBMISSION, waits_for_image
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import InputError
from mesems_mri.intake import folder
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.deidentify.export import write_copy
from mesems_mri.intake.filing import named_roles
from mesems_mri.intake.filing_plan import Waiting, plan_filing
from mesems_mri.intake.rows import write_rows
from mesems_mri.intake.scan_days import update_scans
from mesems_mri.intake.tables import SERIES_COLUMNS
from mesems_mri.intake.visit import AssessedVisit, SeriesStatus

_ANSWERED_BY_ANY_IMAGE = {QueryCode.MISSING_SEQUENCE, QueryCode.NOTHING_USABLE, QueryCode.CONTRAST_UNCLEAR}
"""Queries about the visit as a whole: what a new submission leaves open of them is queried anew."""

_CLOSED_BY_CENTRE = {QueryCode.PROTOCOL_DEVIATION}
"""Queries about a role that only the centre closes, not another scan of the role."""

_COPIED = (SeriesStatus.FILED, SeriesStatus.UNCHANGED, SeriesStatus.QUARANTINED)
"""Statuses of a series that is copied as DICOM."""


def file_visit(
    context: IntakeContext, visit: AssessedVisit, staged: Path, sisters: Sequence[AssessedVisit]
) -> None:
    """File the images of an examination in the BIDS folder, and close the queries that it answers.

    Parameters
    ----------
    context : IntakeContext
    visit : AssessedVisit
        Changed in place.
    staged : Path
        Staging folder.
    sisters : sequence of AssessedVisit
        Other examinations of the same visit and submission; one that loses an image says so.
    """
    if not visit.images:
        return
    staged = staged / visit.submission_id
    _leave_former_visit(context, visit)
    taken = {role: visit.selected_series()[role].series for role in visit.images}
    filed = folder.filed_images(context.bids_dir, visit.participant_id, visit.session_id)
    waiting = _open_blocking_queries(context, visit)
    study = {visit.deidentifier.uid(series.study_uid) for series in taken.values()}
    unchanged = {role for role, series in taken.items() if visit.status[series] == SeriesStatus.UNCHANGED}
    plan = plan_filing(
        set(taken),
        unchanged,
        filed,
        visit.submission_id,
        study,
        _summarise(waiting),
        named_roles(context, visit),
    )
    # an image that the site has told to be of another role is no longer of the one it was filed for
    renamed = {context.content_hash(taken[role]) for role in plan.filed}
    renamed |= {visit.voxels.get(taken[role], "") for role in plan.filed} - {""}
    others = [role for role in set(filed) - set(taken) if {filed[role].content, filed[role].voxels} & renamed]
    plan.replaced.update(others)
    retired = {role: filed[role] for role in sorted(plan.replaced)}
    folder.quarantine_filed(context.bids_dir, retired.values())
    for role in sorted(plan.quarantined):
        name = visit.images.pop(role)
        folder.quarantine_staged(staged, context.bids_dir, name, visit.submission_id)
        visit.status[taken[role]] = SeriesStatus.QUARANTINED
    folder.publish(staged, context.bids_dir, [visit.images[role] for role in sorted(plan.filed)])
    folder.remove(one for role, one in retired.items() if role not in plan.filed)
    _mark_replaced(context, retired.values())
    _mark_in_sisters(retired, sisters)
    _close_answered_queries(context, visit, waiting, plan.filed, set(filed) - set(retired))
    here = {visit.submission_id, *(sister.submission_id for sister in sisters)}
    others = {one.submission_id for one in filed.values()} - here - {""}
    if aside := sorted(plan.quarantined):
        if not plan.quarantined <= plan.settled:
            visit.add_query(
                QueryCode.ALREADY_RECEIVED,
                ", ".join(aside),
                about=[taken[role] for role in aside],
                detail=tuple(aside),
            )
    elif plan.unchanged == set(taken) and others:
        same = sorted(plan.unchanged)
        told = f"{', '.join(same)} of {visit.session_id}"
        visit.add_query(QueryCode.DUPLICATE_SUBMISSION, told, detail=tuple(same))


def _leave_former_visit(context: IntakeContext, visit: AssessedVisit) -> None:
    """Quarantine what the examination has filed in another visit, before the site named the right one."""
    for row in context.schedule:
        if row.participant_id != visit.participant_id or row.session_id == visit.session_id:
            continue
        filed = folder.filed_images(context.bids_dir, row.participant_id, row.session_id)
        former = [one for one in filed.values() if one.submission_id == visit.submission_id]
        if former:
            folder.quarantine_filed(context.bids_dir, former)
            folder.remove(former)
            update_scans(context.bids_dir, row.participant_id, row.session_id, (), "")


def _summarise(waiting: Iterable[Query]) -> Waiting:
    waiting = list(waiting)
    about = {query.role for query in waiting if query.role and query.code not in _CLOSED_BY_CENTRE}
    asked_again = any(query.code is not QueryCode.MISSING_SEQUENCE for query in waiting)
    return Waiting(bool(waiting), asked_again, frozenset(about))


def _mark_in_sisters(retired: Mapping[str, folder.FiledImage], sisters: Iterable[AssessedVisit]) -> None:
    """Mark images as quarantined that another examination of the same submission has replaced."""
    for sister in sisters:
        for role, one in retired.items():
            if one.submission_id == sister.submission_id and role in sister.images:
                del sister.images[role]
                sister.status[sister.selected_series()[role].series] = SeriesStatus.QUARANTINED


def write_dicom_copy(context: IntakeContext, visit: AssessedVisit, out_dir: Path) -> None:
    """Write the filed series of a visit as de-identified DICOM; whole series, all echoes."""
    used = [series for series, status in visit.status.items() if status in _COPIED]
    for uid in sorted({series.series_uid for series in used}):
        parts = [s for s in visit.examination.series if s.series_uid == uid and not s.copy_of]
        files = tuple(dict.fromkeys(file for part in parts for file in part.files))
        try:
            write_copy(replace(parts[0], files=files), out_dir, visit.deidentifier)
        except InputError as error:
            context.say(f"{visit.name}, {visit.series_name(parts[0])}: no DICOM copy: {error}")


def _open_blocking_queries(context: IntakeContext, visit: AssessedVisit) -> list[Query]:
    """Return the open blocking queries of the visit that earlier submissions have raised."""
    mine = (visit.participant_id, visit.session_id)
    return [
        query
        for query in context.earlier_queries
        if query.blocks_visit
        and query.submission_id != visit.submission_id
        and (query.participant_id, query.session_id) == mine
    ]


def _mark_replaced(context: IntakeContext, retired: Iterable[folder.FiledImage]) -> None:
    contents = {one.content for one in retired} - {""}
    for row in context.earlier_series:
        if row["content"] in contents and row["status"] == SeriesStatus.FILED:
            row["status"] = SeriesStatus.REPLACED.value
            row["image"] = f"{folder.QUARANTINE}/{row['submission_id']}/{row['image']}"
    if contents:
        write_rows(context.bids_dir / folder.SERIES_TABLE, context.earlier_series, SERIES_COLUMNS)


def _close_answered_queries(
    context: IntakeContext, visit: AssessedVisit, waiting: Iterable[Query], roles: set[str], left: set[str]
) -> None:
    """Close the queries of earlier submissions that this one answers; open findings are queried anew."""
    if not roles:
        return
    whole = roles >= left
    for query in waiting:
        about = query.role in roles and query.code not in _CLOSED_BY_CENTRE
        meant = whole or about or query.code in _ANSWERED_BY_ANY_IMAGE
        if meant and _has_its_image(context, visit, query, whole=whole):
            reason = f"answered by submission {visit.submission_id}"
            close_query(context.bids_dir, query.query_id, by="intake", reason=reason, today=context.today)


def _has_its_image(context: IntakeContext, visit: AssessedVisit, query: Query, *, whole: bool) -> bool:
    """Return whether a query waits for no image any more, or another one waits for the same image now."""
    if query.code is QueryCode.MISSING_SEQUENCE:
        asked_anew = any(other.code is QueryCode.MISSING_SEQUENCE for other in visit.queries)
        return asked_anew or not waits_for_image(context.bids_dir, query)
    if query.code in OF_THE_SUBMISSION:
        return whole
    return not waits_for_image(context.bids_dir, query)
