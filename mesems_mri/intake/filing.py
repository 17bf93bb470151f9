"""Filing of a visit: which of its series become images, and their conversion; see also `publish`."""

import errno
import tempfile
from pathlib import Path

from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import InputError, UsageError
from mesems_mri.files import read_json, write_json
from mesems_mri.images.deface import deface_files
from mesems_mri.intake import folder
from mesems_mri.intake.answers import named_series
from mesems_mri.intake.assess import is_convertible
from mesems_mri.intake.baseline import Parameters
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.contrast import POST, PRE
from mesems_mri.intake.contrast_image import weigh_images
from mesems_mri.intake.convert import ConversionError, convert_series
from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.filing_plan import is_pair
from mesems_mri.intake.visit import WITH_IMAGE, AssessedVisit, SeriesStatus

_WITHOUT_FACE = "Send the series without the face, or agree with the reading centre that it is filed with it"


def is_blocked(context: IntakeContext, visit: AssessedVisit) -> bool:
    """Return whether an open blocking query keeps the visit from being filed."""
    ask = visit.query_factory()
    questions = [ask(p.code, detail=p.detail, blocking=p.blocking) for p in visit.identity_problems]
    return visit.row is None or any(q.blocking and not context.is_answered(q) for q in questions)


def convert_visit(context: IntakeContext, visit: AssessedVisit, staged: Path | None) -> None:
    """Set the status of each series, and convert the images to be filed into the staging folder.

    Parameters
    ----------
    context : IntakeContext
    visit : AssessedVisit
        Changed in place.
    staged : Path or None
        Staging folder; None: nothing is converted (a dry run).
    """
    staged = None if staged is None else staged / visit.submission_id
    blocked = is_blocked(context, visit)
    for one in visit.classified:
        unused = SeriesStatus.QUERY if one.unclear else SeriesStatus.NOT_USED
        visit.status[one.series] = SeriesStatus.BLOCKED if blocked else unused
    if blocked or not visit.session_id:
        return
    filed = folder.filed_images(context.bids_dir, visit.participant_id, visit.session_id)
    named = named_roles(context, visit)
    for role, one in visit.selected_series().items():
        burned = [
            query for query in visit.queries if query.code is QueryCode.BURNED_IN_TEXT and query.role == role
        ]
        if not (is_convertible(visit, one) or _is_accepted(context, visit, role)) or any(
            not context.is_answered(query) for query in burned
        ):
            visit.status[one.series] = SeriesStatus.QUERY
        elif role in filed and _is_already_filed(context, filed[role], one.series):
            visit.status[one.series] = SeriesStatus.UNCHANGED
            visit.voxels[one.series] = filed[role].voxels
            visit.images[role] = folder.image_name(visit.participant_id, visit.session_id, role)
        elif role not in named and (lost := _replaced_row(context, visit, one.series)):
            if role == PRE and is_pair(filed) and POST not in visit.selected_series():
                # the rule that it lost by asks nobody
                visit.status[one.series] = SeriesStatus(lost["status"])
                visit.voxels[one.series] = lost["voxels"]
                continue
            visit.status[one.series] = SeriesStatus.DUPLICATE
            told = f"{role}, {visit.series_name(one.series)}, for which another image was taken"
            visit.add_query(QueryCode.DUPLICATE_SUBMISSION, told, role=role, about=(one.series,))
        elif staged is None:
            visit.status[one.series] = SeriesStatus.FILED
        else:
            _convert_series(context, visit, role, one.series, staged)
    weigh_images(context, visit, staged)
    _query_same_scans(visit)
    if staged is not None and context.request.deface:
        _deface(visit, staged)


def _deface(visit: AssessedVisit, staged: Path) -> None:
    """Remove the face from the images that were made; without that none of them is filed."""
    made = {role: name for role, name in visit.images.items() if (staged / name).is_file()}
    # the record of a defacing before the series was sent: a second one would take what the first has left
    before = [
        role for role, name in made.items() if read_json(folder.sidecar_of(staged / name)).get("Defaced")
    ]
    if before:
        visit.notes.append(f"The face had been removed before sending from {', '.join(before)}.")
    made = {role: name for role, name in made.items() if role not in before}
    if not made:
        return
    try:
        face = deface_files([staged / name for name in made.values()])
    except InputError as error:
        for role in made:
            series = visit.selected_series()[role].series
            visit.status[series] = SeriesStatus.FAILED
            told = f"{role}, {visit.series_name(series)}: the face was not removed, {error}"
            visit.add_query(
                QueryCode.CONVERSION_FAILED,
                told,
                role=role,
                about=(series,),
                detail=("face",),
                action=_WITHOUT_FACE,
            )
            (staged / visit.images.pop(role)).unlink()
        return
    for name in made.values():
        sidecar = folder.sidecar_of(staged / name)
        write_json(sidecar, read_json(sidecar) | {"Defaced": True})
    visit.notes.append(
        f"The face was removed from {len(made)} images, the same part of space from each "
        f"({face.volume_ml:.0f} ml, never closer than {face.nearest_brain_mm:.0f} mm to the brain)."
    )


def _is_already_filed(context: IntakeContext, filed: folder.FiledImage, series: Series) -> bool:
    """Return whether a series is filed already, and defaced if that is requested."""
    return filed.content == context.content_hash(series) and (filed.defaced or not context.request.deface)


def _replaced_row(context: IntakeContext, visit: AssessedVisit, series: Series) -> dict[str, str] | None:
    """Return the row of a series that was sent before and replaced; a duplicate does not replace it back."""
    content = context.content_hash(series)
    lost = (SeriesStatus.REPLACED, SeriesStatus.QUARANTINED)
    for row in context.earlier_series:
        mine = row["submission_id"] == visit.submission_id
        if mine and row["content"] == content and row["status"] in lost:
            return row
    return None


def _convert_series(
    context: IntakeContext, visit: AssessedVisit, role: str, series: Series, staged: Path
) -> None:
    name = folder.image_name(visit.participant_id, visit.session_id, role)
    place = Path(tempfile.mkdtemp(dir=context.scratch))
    try:
        image = convert_series(series, visit.deidentifier, role, place, staged / name)
        study = visit.deidentifier.uid(series.study_uid)
        acquired = Parameters.of_scan(series.header, describe_geometry(series)).to_sidecar()
        source = folder.origin(visit.submission_id, study, context.content_hash(series), image.voxels)
        write_json(folder.sidecar_of(staged / name), image.sidecar | acquired | source)
    except ConversionError as error:
        visit.status[series] = SeriesStatus.FAILED
        told = f"{role}, {visit.series_name(series)}: {error}"
        visit.add_query(QueryCode.CONVERSION_FAILED, told, role=role, about=(series,))
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            msg = f"{context.bids_dir}: the disk is full; nothing was filed, free some space and run again"
            raise UsageError(msg) from error
        raise
    visit.voxels[series] = image.voxels
    if twin := _visit_with_voxels(context, visit, image.voxels):
        visit.status[series] = SeriesStatus.BLOCKED
        told = f"{role}, {visit.series_name(series)} has the voxels of {twin}"
        visit.add_query(
            QueryCode.DUPLICATE_SUBMISSION, told, role=role, about=(series,), detail=(twin,), blocking=True
        )
        return
    if role not in named_roles(context, visit) and (row := _row_of_same_scan(context, visit, series)):
        visit.status[series] = SeriesStatus.DUPLICATE
        if row["role"] != role:
            told = (
                f"{role}, {visit.series_name(series)} has the voxels of {row['role']} of {visit.session_id}"
            )
            detail = (row["role"],)
            visit.add_query(
                QueryCode.DUPLICATE_SUBMISSION, told, role=role, about=(series,), detail=detail, blocking=True
            )
        return
    context.visit_by_voxels.setdefault(image.voxels, visit.name)
    visit.status[series] = SeriesStatus.FILED
    visit.images[role] = name


def _row_of_same_scan(context: IntakeContext, visit: AssessedVisit, series: Series) -> dict[str, str] | None:
    """Return the row of an image of the visit with the same voxels: the same scan under other UIDs."""
    content, mine = context.content_hash(series), (visit.participant_id, visit.session_id)
    for row in context.earlier_series:
        same = row["voxels"] == visit.voxels[series] and row["content"] != content
        if same and (row["participant_id"], row["session_id"]) == mine and row["status"] in WITH_IMAGE:
            return row
    return None


def _query_same_scans(visit: AssessedVisit) -> None:
    """Query once all scans of a visit that were sent before under other UIDs."""
    asked = {query.role for query in visit.queries if query.code is QueryCode.DUPLICATE_SUBMISSION}
    taken = visit.selected_series()
    same = [
        role
        for role in sorted(taken)
        if visit.status[taken[role].series] is SeriesStatus.DUPLICATE and role not in asked
    ]
    if same:
        about = [taken[role].series for role in same]
        told = f"{', '.join(same)} of {visit.session_id}, with other UIDs"
        visit.add_query(QueryCode.DUPLICATE_SUBMISSION, told, about=about, detail=tuple(same))


def _visit_with_voxels(context: IntakeContext, visit: AssessedVisit, voxels: str) -> str:
    """Name another visit, of an earlier or of this intake, whose image has the same voxels."""
    for row in context.earlier_series:
        other = (row["participant_id"], row["session_id"])
        mine = other == (visit.participant_id, visit.session_id)
        moved = row["submission_id"] == visit.submission_id and other[0] == visit.participant_id
        if row["voxels"] == voxels and row["status"] in WITH_IMAGE and not (mine or moved):
            return "/".join(other)
    seen = context.visit_by_voxels.get(voxels, visit.name)
    return seen if seen != visit.name else ""


def named_roles(context: IntakeContext, visit: AssessedVisit) -> set[str]:
    """Return the roles for which an answer that is due names a series of the examination."""
    ids = {visit.series_id(series) for series in visit.examination.series}
    named = named_series(context, [visit], anew=True)
    return {role for role, series_id in named.items() if series_id in ids}


def _is_accepted(context: IntakeContext, visit: AssessedVisit, role: str) -> bool:
    """Return whether the reading centre takes a series with its faults."""
    codes = {fault.code.value for fault in visit.faults[visit.selected_series()[role].series]}
    asked = [query for query in visit.queries if query.role == role and query.code.value in codes]
    return bool(asked) and all(context.is_accepted(query) for query in asked)
