"""The series map of a site at work: matched with an examination, and written from answers and dummy runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mesems_mri.intake.classify import IMAGE_ROLES, classify_series
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.series_map import (
    MapMatch,
    deidentified_scanner,
    learned_scanner,
    load_series_map,
    match_series,
    scanner_of_map,
    write_series_map,
)
from mesems_mri.intake.visit import AssessedVisit


def match_with_map(context: IntakeContext, visit: AssessedVisit) -> MapMatch:
    """Match the series of a visit with the series map of its site; nothing without one."""
    site_id = visit.row.site_id if visit.row else context.request.site_id or ""
    series = _magnetic(visit.examination.series)
    if not series or not context.request.series_map:
        return MapMatch()
    known = load_series_map(context.request.series_map, site_id)
    clean = visit.deidentifier
    scanner = scanner_of_map(known, deidentified_scanner(series[0], clean.device, clean.serial))
    return match_series(scanner, series, _name_of(context, clean)) if scanner else MapMatch()


def remember_series(context: IntakeContext, visits: Sequence[AssessedVisit]) -> list[Path]:
    """Write the series of visits into the series maps of their sites.

    Only roles that one series alone could be, or that the site has answered, are remembered.

    Returns
    -------
    list of Path
        The files.
    """
    written = []
    for visit in visits:
        roles = {role: one.series for role, one in visit.selected_series().items() if not one.doubt}
        site_id = visit.row.site_id if visit.row else ""
        if site_id and roles:
            series = visit.examination.series
            written.append(_write(context, site_id, series, roles, visit.deidentifier))
    return list(dict.fromkeys(written))


def learn_dummy_run(
    context: IntakeContext, site_id: str, series: Sequence[Series]
) -> tuple[Path | None, list[str]]:
    """Write the series map of a site from its dummy run, which belongs to no visit.

    Parameters
    ----------
    context : IntakeContext
    site_id : str
    series : sequence of Series
        Of the submission.

    Returns
    -------
    Path or None
        The file; None when no series has a role.
    list of str
        What became of each series, de-identified.
    """
    clean = context.deidentifier(None)
    for one in series:
        clean.learn(one.header)
    answered = {series_id: role for role, series_id in context.request.use.items()}
    ids = {one: clean.uid(one.series_uid) for one in series}
    named = {one: answered[ids[one]] for one in series if ids[one] in answered}
    agents = context.protocol.agents if context.protocol else ()
    classified = classify_series(series, mapped=named, agents=agents)
    roles = {one.role: one.series for one in classified if one.role in IMAGE_ROLES and not one.doubt}
    lines = [
        f"{one.role:19}  series {one.series.series_number} "
        f"({clean.words(one.series.description) or 'no name'}, {ids[one.series]}): {clean.scrub(one.reason)}"
        for one in classified
    ]
    return (_write(context, site_id, series, roles, clean) if roles else None), lines


def _write(
    context: IntakeContext,
    site_id: str,
    series: Sequence[Series],
    roles: dict[str, Series],
    clean: Deidentifier,
) -> Path:
    folder = context.series_map_folder
    scanner = deidentified_scanner(next(iter(roles.values())), clean.device, clean.serial)
    learned = learned_scanner(scanner, roles, _magnetic(series), _name_of(context, clean))
    return write_series_map(folder, load_series_map(folder, site_id), site_id, learned)


def _name_of(context: IntakeContext, clean: Deidentifier) -> Callable[[str], tuple[str, str]]:
    """Make the function that names a series: as typed if every word is allow-listed; and by a keyed hash."""

    def name_of(description: str) -> tuple[str, str]:
        folded = " ".join(description.split())
        key = context.keyed_hash("series name", folded.casefold())[:16] if folded else ""
        return (folded if clean.words(folded) == folded else ""), key

    return name_of


def _magnetic(series: Sequence[Series]) -> list[Series]:
    return [one for one in series if text(one.header, "Modality").upper() == "MR"]
