"""Assess a visit: roles and slices of its series, protocol compliance, and the queries to the site."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.dataset.queries import Query, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.intake.baseline import Parameters, baseline_items
from mesems_mri.intake.classify import IMAGE_ROLES, ClassifiedSeries, classify_series
from mesems_mri.intake.compliance import (
    SCANNER_ITEMS,
    ItemResult,
    ProtocolItem,
    check_series,
    recurring_value,
)
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.pixels import burned_in
from mesems_mri.intake.dicom.acquisition import Scanner, read_scanner
from mesems_mri.intake.dicom.geometry import FaultCode, describe_geometry, slice_faults
from mesems_mri.intake.dicom.instance import UnusedReason
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.inventory import Inventory
from mesems_mri.intake.protocol import Protocol
from mesems_mri.intake.series_map import MapDifference, MapMatch
from mesems_mri.intake.visit import AssessedVisit

CONVERTIBLE = {FaultCode.INTERRUPTED}
"""Faults with which the slices that are there still make a volume; their query blocks the visit."""
MIN_EXTENT_MM = 100.0
"""No head is covered by less; that the whole brain is in the image is seen later, on the image."""
_CODE_OF_UNUSED = {
    UnusedReason.EMPTY: QueryCode.UNREADABLE_FILES,
    UnusedReason.NO_HEADER: QueryCode.UNREADABLE_FILES,
    UnusedReason.UNREADABLE: QueryCode.UNREADABLE_FILES,
    UnusedReason.NO_UID: QueryCode.UNREADABLE_FILES,
    UnusedReason.TOO_DEEP: QueryCode.UNREADABLE_FILES,
    UnusedReason.MISSING: QueryCode.UNREADABLE_FILES,
    UnusedReason.ARCHIVE: QueryCode.UNSAFE_ARCHIVE,
    UnusedReason.MEMBER: QueryCode.UNSAFE_ARCHIVE,
}


def assess_visit(
    visit: AssessedVisit,
    protocol: Protocol | None,
    reference: Scanner | None,
    roles_filed: Sequence[str] = (),
    use: Mapping[str, str] | None = None,
    match: MapMatch | None = None,
    first: Mapping[str, Parameters] | None = None,
) -> None:
    """Fill in roles, faults, protocol items and queries of a visit.

    Parameters
    ----------
    visit : AssessedVisit
        Changed in place.
    protocol : Protocol or None
        None: nothing is compared.
    reference : Scanner or None
        Scanner of the participant's first visit, as its sidecar names it.
    roles_filed : sequence of str
        Roles of the visit that earlier submissions have filled.
    use : mapping of str to str, optional
        The series to use for a role, as the site has answered: ``series_id`` of ``series.tsv`` by role.
    match : MapMatch, optional
        What the series map of the site says of the series.
    first : mapping of str to Parameters, optional
        By role, how the image was acquired at the participant's first visit.
    """
    dose = visit.row.contrast_dose_mmol_kg if visit.row else None
    given = None if dose is None else dose > 0
    match = match or MapMatch()
    classified = classify_series(
        visit.examination.series,
        contrast_given=given,
        mapped=match.roles,
        agents=protocol.agents if protocol else (),
    )
    visit.classified = _apply_answers(visit, classified, use or {})
    visit.faults = {s: slice_faults(s) for s in visit.examination.series}
    for problem in visit.identity_problems:
        visit.add_query(problem.code, problem.words, detail=problem.detail, blocking=problem.blocking)
    _query_series(visit)
    _query_map(visit, match.differences)
    _query_roles(visit, protocol, set(roles_filed), given)
    if protocol and visit.row:
        _check_protocol(visit, protocol, reference, first or {})


def _apply_answers(
    visit: AssessedVisit, assigned: list[ClassifiedSeries], use: Mapping[str, str]
) -> list[ClassifiedSeries]:
    """Assign roles as the site has answered; a series classified as such a role loses it."""
    ids = {one.series: visit.series_id(one.series) for one in assigned}
    for role, series_id in use.items():
        meant = [one for one in assigned if ids[one.series] == series_id and not one.series.copy_of]
        if not meant:
            continue
        # of several images of one series (echoes) the one that was a candidate
        chosen = next((one for one in meant if role in (one.role, one.candidate_of)), meant[0])
        for at, one in enumerate(assigned):
            if one is chosen:
                reason = f"{one.reason}; used as the site has answered"
                assigned[at] = replace(
                    one,
                    role=role,
                    reason=reason,
                    candidate_of="",
                    unclear="",
                    doubt="",
                    confirmed=True,
                    answered=True,
                )
            elif role in (one.role, one.candidate_of):
                reason = f"{one.reason}; not taken: the site has named another one"
                assigned[at] = replace(one, role="other", reason=reason, candidate_of=role, unclear="")
    return assigned


def scanner_of(visit: AssessedVisit) -> Scanner:
    """Return the scanner of an examination, named as in sidecars."""
    headers = [series.header for series in visit.examination.series]
    magnetic = [header for header in headers if text(header, "Modality") == "MR"]
    return read_scanner(_with_sidecar_scanner((magnetic or headers)[0], visit.deidentifier))


def is_convertible(visit: AssessedVisit, one: ClassifiedSeries) -> bool:
    """Return whether a series with an image role can be converted."""
    return not any(f.code not in CONVERTIBLE for f in visit.faults[one.series])


def _query_series(visit: AssessedVisit) -> None:
    candidates = [one for one in visit.classified if one.role in IMAGE_ROLES]
    # with nothing to use, what is wrong with the rest is the best that can be said
    for one in candidates or [a for a in visit.classified if a.role == "other" and not a.series.copy_of]:
        series, role = one.series, one.role if one.role in IMAGE_ROLES else ""
        name = f"{role}, {visit.series_name(series)}" if role else visit.series_name(series)
        ask = partial(visit.add_query, role=role, about=(series,))
        for fault in visit.faults[series]:
            ask(
                QueryCode(fault.code.value),
                f"{name}: {fault.text}",
                detail=(fault.value,) if fault.value else (),
            )
        if not role:
            continue
        extent = describe_geometry(series).extent_mm
        if extent is not None and extent < MIN_EXTENT_MM and not visit.faults[series]:
            told = f"{extent:.0f} mm are covered, expected at least {MIN_EXTENT_MM:.0f} mm"
            ask(QueryCode.SHORT_COVERAGE, f"{name}: {told}", detail=(f"{extent:.0f}",))
        if why := burned_in(series.header):
            ask(QueryCode.BURNED_IN_TEXT, f"{name}: {why}")
        if one.doubt:
            ask(QueryCode.NAME_DIFFERS, f"{name}: {visit.deidentified(one.doubt)}")


def _query_map(visit: AssessedVisit, differences: Sequence[MapDifference]) -> None:
    """Query what has changed against the series map: once a site, at whichever visit it is seen first."""
    site_id = visit.row.site_id if visit.row else ""
    for change in differences:
        item = change.item.replace("_", " ")
        told = (
            f"{change.role}: another name than before"
            if change.item == "name"
            else f"{change.role}: {item} {change.now or 'not said'}, before {change.before or 'not said'}"
        )
        detail = (change.item, change.before or "none", change.now or "none")
        visit.queries.append(
            new_query(QueryCode.SERIES_CHANGED, words=told, role=change.role, detail=detail, site_id=site_id)
        )


def _query_roles(
    visit: AssessedVisit, protocol: Protocol | None, filed: set[str], given: bool | None
) -> None:
    taken = visit.selected_series()
    unclear: dict[tuple[str, str], list[ClassifiedSeries]] = {}
    for one in visit.classified:
        if one.unclear:
            unclear.setdefault((one.candidate_of, one.unclear), []).append(one)
    for (role, why), several in unclear.items():
        code = QueryCode.CONTRAST_UNCLEAR if why == "phase" else QueryCode.SEVERAL_CANDIDATES
        told = f"{role}, " + " and ".join(visit.series_name(one.series) for one in several)
        visit.add_query(code, told, role=role, about=[one.series for one in several])
    if not taken and not unclear:
        told = "; ".join(
            f"{visit.series_name(one.series)}: {visit.deidentified(one.reason)}"
            for one in visit.classified[:5]
        )
        visit.add_query(QueryCode.NOTHING_USABLE, told, detail=(f"series={len(visit.classified)}",))
        return
    there = filed | set(taken) | {role for role, _ in unclear}
    if {role for role, _ in unclear} & {"T1w", POSTCONTRAST}:
        there |= {"T1w", POSTCONTRAST}  # which of them is there is asked already
    site_id = visit.row.site_id if visit.row else ""
    missing = protocol.missing(there, site_id) if protocol else []
    if given and not protocol and POSTCONTRAST not in there:
        missing.append((POSTCONTRAST,))
    missing = [line for line in missing if not (given is False and line == (POSTCONTRAST,))]
    if missing:
        derived = [one for one in visit.classified if one.role == "derived" and one.candidate_of]
        told = ", ".join(" or ".join(line) for line in missing)
        if derived:
            told += f" (only derived: {', '.join(visit.series_name(one.series) for one in derived[:3])})"
        visit.add_query(QueryCode.MISSING_SEQUENCE, told, detail=tuple("|".join(line) for line in missing))


def _check_protocol(
    visit: AssessedVisit, protocol: Protocol, reference: Scanner | None, first: Mapping[str, Parameters]
) -> None:
    if visit.row is None:
        return
    taken = visit.selected_series()
    before = taken.get("T1w")
    pre = (before.series.header, describe_geometry(before.series)) if before else None
    for role, one in taken.items():
        visit.protocol_items[role] = check_series(
            role,
            _with_sidecar_scanner(one.series.header, visit.deidentifier),
            describe_geometry(one.series),
            protocol,
            visit.row.site_id,
            reference,
            precontrast=pre if role == POSTCONTRAST else None,
            sheet_dose_mmol_kg=visit.row.contrast_dose_mmol_kg if role == POSTCONTRAST else None,
            scrub=visit.deidentifier.device,
        )
        if role in first:
            now = Parameters.of_scan(one.series.header, describe_geometry(one.series))
            visit.protocol_items[role] += baseline_items(now, first[role])
    visit.queries += protocol_queries(
        visit.protocol_items,
        protocol,
        site_id=visit.row.site_id,
        participant_id=visit.participant_id,
        session_id=visit.session_id,
        submission_id=visit.submission_id,
        series_ids={role: visit.series_id(one.series) for role, one in taken.items()},
    )


def protocol_queries(
    checked: Mapping[str, Sequence[ProtocolItem]],
    protocol: Protocol,
    *,
    site_id: str = "",
    participant_id: str = "",
    session_id: str = "",
    submission_id: str = "",
    series_ids: Mapping[str, str] | None = None,
) -> list[Query]:
    """Return the queries about protocol deviations and unknown items.

    Parameters
    ----------
    checked : mapping of str to sequence of ProtocolItem
        By role.
    protocol : Protocol
        It lists the items whose failure blocks a visit.
    site_id, participant_id, session_id, submission_id : str
        Subject of the queries.
    series_ids : mapping of str to str, optional
        ``series_id`` of each role.

    Returns
    -------
    list of Query
        One per role for failed items that block the visit. The others are queries to the site, each the same
        one wherever it recurs: one per role for failed items, one per role for unknown ones, one for a change
        of scanner or software.
    """
    ask = partial(
        new_query,
        site_id=site_id,
        participant_id=participant_id,
        session_id=session_id,
        submission_id=submission_id,
    )
    visit = "/".join(part for part in (participant_id, session_id) if part)
    recurring = partial(new_query, site_id=site_id, visits=visit, blocking=False) if visit else ask
    queries, ids = [], series_ids or {}
    for role, items in checked.items():
        failed = [i for i in items if i.result is ItemResult.FAIL and i.name not in SCANNER_ITEMS]
        unknown = [i for i in items if i.result is ItemResult.UNKNOWN]
        blocking = [i for i in failed if i.name in protocol.blocking]
        if blocking:
            names = tuple(i.name for i in blocking)
            words = f"{role}: {_failures(blocking)}"
            asked = partial(ask, role=role, series_id=ids.get(role, ""), blocking=True)
            queries.append(asked(QueryCode.PROTOCOL_DEVIATION, words=words, detail=names))
        if others := [i for i in failed if i not in blocking]:
            words = f"{role}: {_failures(others)}"
            detail = tuple(recurring_value(i) for i in others)
            queries.append(recurring(QueryCode.PROTOCOL_DEVIATION, words=words, role=role, detail=detail))
        if unknown:
            told = ", ".join(i.words for i in unknown)
            names = tuple(i.name for i in unknown)
            words = f"{role}: {told}"
            queries.append(recurring(QueryCode.PROTOCOL_UNKNOWN, words=words, role=role, detail=names))
    changes = _scanner_changes(checked)
    for block in (True, False):
        some = {name: item for name, item in changes.items() if (name in protocol.blocking) is block}
        if some:
            words = "; ".join(f"{i.name} {i.value}, before {i.limit}" for i in some.values())
            detail = tuple(some) if block else tuple(recurring_value(i) for i in some.values())
            asked = partial(ask, blocking=True) if block else recurring
            queries.append(asked(QueryCode.SCANNER_CHANGED, words=words, detail=detail))
    return queries


def _failures(items: Sequence[ProtocolItem]) -> str:
    return "; ".join(f"{i.words} {i.value}, expected {i.limit}" for i in items)


def _scanner_changes(checked: Mapping[str, Sequence[ProtocolItem]]) -> dict[str, ProtocolItem]:
    """Return the items of the scanner that differ from the first visit, by name."""
    return {
        i.name: i
        for items in checked.values()
        for i in items
        if i.result is ItemResult.FAIL and i.name in SCANNER_ITEMS
    }


def _with_sidecar_scanner(header: Dataset, deidentifier: Deidentifier) -> Dataset:
    """Name the scanner as the sidecar of the reference visit does, so that the two can be compared."""
    names = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
    own = {tag_for_keyword(keyword) for keyword in (*names, "DeviceSerialNumber")}
    marked = Dataset()
    for tag in header.keys():  # noqa: SIM118 - iterating over a header itself decodes every element
        with contextlib.suppress(Exception):  # a damaged element says nothing anyhow
            if tag not in own:
                marked[tag] = header.get_item(tag)  # pyright: ignore[reportArgumentType]
    for keyword in names:
        setattr(marked, keyword, deidentifier.device(text(header, keyword)))
    marked.DeviceSerialNumber = deidentifier.serial(text(header, "DeviceSerialNumber"))
    return marked


def unused_file_queries(inventory: Inventory, site_id: str, submission_id: str) -> list[Query]:
    """Return the queries about files that belong to no series, and about a submission without any.

    Parameters
    ----------
    inventory : Inventory
    site_id, submission_id : str
        Subject of the queries.

    Returns
    -------
    list of Query
        Without file names: a file may be called like the person.
    """
    counts, queries = inventory.unused_files.counts, []
    ask = partial(new_query, site_id=site_id, submission_id=submission_id)
    for why, code in _CODE_OF_UNUSED.items():
        if counts[why]:
            details = sorted({r.detail for r in inventory.unused_files.examples[why] if r.detail})
            told = f"{counts[why]} {why.value}" + (f" ({', '.join(details)})" if details else "")
            queries.append(ask(code, words=told, detail=_counted(counts, [why])))
    if not inventory.series:
        told = (
            "; ".join(f"{counts[why]} {why.value}" for why in UnusedReason if counts[why])
            or "nothing was sent"
        )
        found = _counted(counts, UnusedReason) or ("files=0",)
        queries.append(ask(QueryCode.NOTHING_USABLE, words=told, detail=found))
    return queries


def _counted(counts: Mapping[UnusedReason, int], reasons: Iterable[UnusedReason]) -> tuple[str, ...]:
    return tuple(f"{why.name.lower()}={counts[why]}" for why in reasons if counts[why])
