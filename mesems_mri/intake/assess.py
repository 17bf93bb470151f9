"""Judge what was sent of one visit: roles, slices, protocol, and what to ask the site."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from mesems_mri.dataset.queries import Query, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake.check import Item, check_series, protocol_queries
from mesems_mri.intake.classify import IMAGE_ROLES, Assigned, classify
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.pixels import burned_in
from mesems_mri.intake.dicom.acquisition import Scanner, read_scanner
from mesems_mri.intake.dicom.geometry import Fault, FaultCode, describe_geometry, slice_faults
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.identify import Examination, Problem
from mesems_mri.intake.protocol import Protocol

CONVERTIBLE = {FaultCode.INTERRUPTED}
"""Faults with which the slices that are there still make a volume; the query holds the visit."""
MIN_EXTENT_MM = 100.0
"""No head is covered by less; that the whole brain is in the image is seen later, on the image."""
_POST = "ce-gadolinium_T1w"


@dataclass(eq=False)
class Visit:
    """What was sent of one visit, and what became of it.

    Parameters
    ----------
    examination : Examination
        The series.
    row : SheetRow or None
        The visit of the sheet; None when it is not known whose scan it is.
    session_known : bool
        False when only the participant is known.
    submission_id : str
        Name of the examination, the same whenever it is sent.
    deidentifier : Deidentifier
        Of the participant; one for nobody in particular when it is not known who it is.
    identity : list of Problem
        What is wrong with whose scan it is and of which visit.
    assigned : list of Assigned
        Role of each series.
    faults : dict of Series to list of Fault
    checked : dict of str to list of Item
        Items of the protocol by role.
    queries : list of Query
    status : dict of Series to str
        What becomes of each series.
    images : dict of str to str
        By role, the image in the BIDS folder.
    voxels : dict of Series to str
        Hash of the voxels of each image that was made.
    birth_hash : str
        Keyed hash of the birth date in the headers; empty when there is none.
    birth_compared : bool
        Whether an earlier visit of the same delivery has a birth date to compare it with.
    notes : list of str
        What else the receipt says, a sentence each.
    """

    examination: Examination
    row: SheetRow | None
    session_known: bool
    submission_id: str
    deidentifier: Deidentifier
    identity: list[Problem] = field(default_factory=list)
    assigned: list[Assigned] = field(default_factory=list)
    faults: dict[Series, list[Fault]] = field(default_factory=dict)
    checked: dict[str, list[Item]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    status: dict[Series, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    voxels: dict[Series, str] = field(default_factory=dict)
    birth_hash: str = ""
    birth_compared: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def participant_id(self) -> str:
        """Participant, empty when not known."""
        return self.row.participant_id if self.row else ""

    @property
    def session_id(self) -> str:
        """Visit, empty when not known."""
        return self.row.session_id if self.row and self.session_known else ""

    @property
    def name(self) -> str:
        """Participant and visit as messages name them."""
        return "/".join(part for part in (self.participant_id, self.session_id) if part) or "unknown"

    def ask(
        self,
        code: QueryCode,
        words: str = "",
        *,
        role: str = "",
        about: Sequence[Series] = (),
        detail: tuple[object, ...] = (),
        blocking: bool | None = None,
        action: str = "",
    ) -> None:
        """Note a query to the site, about series if it is: they come first in its detail."""
        ids = dict.fromkeys(self.series_id(series) for series in about)
        images = [self.image_id(series) for series in about]
        query = self.asker()(
            code,
            words=words,
            role=role,
            detail=(*images, *detail),
            series_id=",".join(ids),
            blocking=blocking,
            action=action,
        )
        self.queries.append(query)

    def asker(self) -> Callable[..., Query]:
        """Return `new_query` with participant and visit filled in."""
        site = self.row.site_id if self.row else ""
        return partial(
            new_query,
            site_id=site,
            participant_id=self.participant_id,
            session_id=self.session_id,
            submission_id=self.submission_id,
        )

    def series_id(self, series: Series) -> str:
        """Return the pseudonymised UID of a series, as in ``series.tsv``."""
        return self.deidentifier.uid(series.series_uid)

    def image_id(self, series: Series) -> str:
        """Return the ``series_id``, with the number of the image where it is not the first of its series."""
        images = [one for one in self.examination.series if one.series_uid == series.series_uid]
        at = images.index(series)
        return self.series_id(series) + (f"#{at + 1}" if at else "")

    def series_name(self, series: Series) -> str:
        """Name a series as the site knows it, without what could name the participant."""
        name = self.deidentifier.words(series.description)
        part = f", {self.plain(series.part)}" if series.part else ""
        return f"series {series.series_number} ({name or 'no name'}{part})"

    def plain(self, reason: str) -> str:
        """Free a reason of names: what it quotes of the header is reduced to known words."""
        clean = self.deidentifier
        quoted = re.compile(r"'([^']*)'")
        return clean.scrub(quoted.sub(lambda m: f"'{clean.words(m[1]) or clean.code(m[1])}'", reason))

    def taken(self) -> dict[str, Assigned]:
        """Return the series that was given each image role."""
        return {one.role: one for one in self.assigned if one.role in IMAGE_ROLES}


def judge(
    visit: Visit,
    protocol: Protocol | None,
    reference: Scanner | None,
    roles_filed: Sequence[str] = (),
    use: Mapping[str, str] | None = None,
) -> None:
    """Fill in roles, faults, protocol items and queries of a visit.

    Parameters
    ----------
    visit : Visit
        Changed in place.
    protocol : Protocol or None
        None: nothing is compared.
    reference : Scanner or None
        Scanner of the participant's first visit, as its sidecar names it.
    roles_filed : sequence of str
        Roles of the visit that earlier submissions have filled.
    use : mapping of str to str, optional
        The series to use for a role, as the site has answered: ``series_id`` of ``series.tsv`` by role.
    """
    dose = visit.row.contrast_dose_mmol_kg if visit.row else None
    given = None if dose is None else dose > 0
    visit.assigned = _as_answered(visit, classify(visit.examination.series, contrast_given=given), use or {})
    visit.faults = {s: slice_faults(s) for s in visit.examination.series}
    for problem in visit.identity:
        visit.ask(problem.code, problem.words, detail=problem.detail, blocking=problem.blocking)
    _ask_about_series(visit)
    _ask_about_roles(visit, protocol, set(roles_filed), given)
    if protocol and visit.row:
        _check_protocol(visit, protocol, reference)


def _as_answered(visit: Visit, assigned: list[Assigned], use: Mapping[str, str]) -> list[Assigned]:
    """Give roles as the site has answered; a series that had such a role by itself loses it."""
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
                assigned[at] = replace(one, role=role, reason=reason, candidate_of="", unclear="", doubt="")
            elif role in (one.role, one.candidate_of):
                reason = f"{one.reason}; not taken: the site has named another one"
                assigned[at] = replace(one, role="other", reason=reason, candidate_of=role, unclear="")
    return assigned


def scanner_of(visit: Visit) -> Scanner:
    """Return the scanner of an examination, named as in sidecars."""
    headers = [series.header for series in visit.examination.series]
    magnetic = [header for header in headers if text(header, "Modality") == "MR"]
    return read_scanner(_as_in_sidecars((magnetic or headers)[0], visit.deidentifier))


def usable(visit: Visit, one: Assigned) -> bool:
    """Tell whether a series with an image role can be converted."""
    return not any(f.code not in CONVERTIBLE for f in visit.faults[one.series])


def _ask_about_series(visit: Visit) -> None:
    candidates = [one for one in visit.assigned if one.role in IMAGE_ROLES]
    # with nothing to use, what is wrong with the rest is the best that can be said
    for one in candidates or [a for a in visit.assigned if a.role == "other" and not a.series.copy_of]:
        series, role = one.series, one.role if one.role in IMAGE_ROLES else ""
        name = f"{role}, {visit.series_name(series)}" if role else visit.series_name(series)
        ask = partial(visit.ask, role=role, about=(series,))
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
            ask(QueryCode.NAME_DIFFERS, f"{name}: {visit.plain(one.doubt)}")


def _ask_about_roles(visit: Visit, protocol: Protocol | None, filed: set[str], given: bool | None) -> None:
    taken = visit.taken()
    unclear: dict[tuple[str, str], list[Assigned]] = {}
    for one in visit.assigned:
        if one.unclear:
            unclear.setdefault((one.candidate_of, one.unclear), []).append(one)
    for (role, why), several in unclear.items():
        code = QueryCode.CONTRAST_UNCLEAR if why == "phase" else QueryCode.SEVERAL_CANDIDATES
        told = f"{role}, " + " and ".join(visit.series_name(one.series) for one in several)
        visit.ask(code, told, role=role, about=[one.series for one in several])
    if not taken and not unclear:
        told = "; ".join(
            f"{visit.series_name(one.series)}: {visit.plain(one.reason)}" for one in visit.assigned[:5]
        )
        visit.ask(QueryCode.NOTHING_USABLE, told, detail=(f"series={len(visit.assigned)}",))
        return
    there = filed | set(taken) | {role for role, _ in unclear}
    if {role for role, _ in unclear} & {"T1w", _POST}:
        there |= {"T1w", _POST}  # which of them is there is asked already
    site_id = visit.row.site_id if visit.row else ""
    missing = protocol.missing(there, site_id) if protocol else []
    if given and not protocol and _POST not in there:
        missing.append((_POST,))
    missing = [line for line in missing if not (given is False and line == (_POST,))]
    if missing:
        derived = [one for one in visit.assigned if one.role == "derived" and one.candidate_of]
        told = ", ".join(" or ".join(line) for line in missing)
        if derived:
            told += f" (only derived: {', '.join(visit.series_name(one.series) for one in derived[:3])})"
        visit.ask(QueryCode.MISSING_SEQUENCE, told, detail=tuple("|".join(line) for line in missing))


def _check_protocol(visit: Visit, protocol: Protocol, reference: Scanner | None) -> None:
    if visit.row is None:
        return
    taken = visit.taken()
    before = taken.get("T1w")
    pre = (before.series.header, describe_geometry(before.series)) if before else None
    for role, one in taken.items():
        visit.checked[role] = check_series(
            role,
            _as_in_sidecars(one.series.header, visit.deidentifier),
            describe_geometry(one.series),
            protocol,
            visit.row.site_id,
            reference,
            precontrast=pre if role == _POST else None,
            sheet_dose_mmol_kg=visit.row.contrast_dose_mmol_kg if role == _POST else None,
            scrub=visit.deidentifier.device,
        )
    visit.queries += protocol_queries(
        visit.checked,
        protocol,
        site_id=visit.row.site_id,
        participant_id=visit.participant_id,
        session_id=visit.session_id,
        submission_id=visit.submission_id,
        series_ids={role: visit.series_id(one.series) for role, one in taken.items()},
    )


def _as_in_sidecars(header: Dataset, deidentifier: Deidentifier) -> Dataset:
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
