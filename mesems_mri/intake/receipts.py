"""SubmissionReceipt of a submission, made from its assessment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mesems_mri.dataset.bids import CONTRASTS
from mesems_mri.dataset.queries import Query, read_queries
from mesems_mri.dataset.query_answers import AnswerKind
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.dicom.acquisition import read_scanner
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.inventory import Inventory
from mesems_mri.intake.receipt_store import (
    pictures_of,
    read_days_from_scan,
    read_receipts,
    refresh_receipt_pages,
    write_receipts,
    write_site_pages,
)
from mesems_mri.intake.visit import STATUS_WORDS, AssessedVisit, SeriesStatus
from mesems_mri.report.qualification import queries_on_receipt
from mesems_mri.report.receipt_page import CheckedItem, SentSeries, SubmissionReceipt


@dataclass(frozen=True)
class _IdentityCheck:
    """A check of participant and visit, and the codes of the queries by which it fails or is unknown."""

    name: str
    words: str
    expected: str
    failed_by: tuple[QueryCode, ...]
    unknown_by: tuple[QueryCode, ...] = ()


_IDENTITY_CHECKS = (
    _IdentityCheck(
        "participant",
        "patient ID of a participant",
        "one of the visit schedule",
        (QueryCode.UNKNOWN_PARTICIPANT, QueryCode.SEVERAL_PARTICIPANTS),
    ),
    _IdentityCheck(
        "site", "sent by the participant's site", "as in the visit schedule", (QueryCode.WRONG_SITE,)
    ),
    _IdentityCheck("sex", "sex in the header", "as in the visit schedule", (QueryCode.SEX_DIFFERS,)),
    _IdentityCheck(
        "birth_date", "birth date in the header", "as at earlier visits", (QueryCode.BIRTH_DATE_DIFFERS,)
    ),
    _IdentityCheck(
        "window",
        "day of the scan",
        "inside the window of a visit",
        (QueryCode.OUTSIDE_WINDOW, QueryCode.VISIT_UNCLEAR),
        (QueryCode.NO_SCAN_DATE,),
    ),
    _IdentityCheck(
        "new",
        "not sent before",
        "new images",
        (QueryCode.DUPLICATE_SUBMISSION, QueryCode.ALREADY_RECEIVED),
    ),
)
_NEEDS_PARTICIPANT = {"site", "sex", "birth_date", "window"}


def write_receipt_pages(
    context: IntakeContext, inventory: Inventory, visits: Sequence[AssessedVisit], queries: Sequence[Query]
) -> None:
    """Write the receipts of a submission, one per examination, and the pages of the sites.

    Parameters
    ----------
    context : IntakeContext
    inventory : Inventory
        Of the submission.
    visits : sequence of AssessedVisit
        Its examinations, already filed.
    queries : sequence of Query
        All queries about the submission, as in the table.
    """
    table = read_queries(context.bids_dir)
    receipts = [make_receipt(context, inventory, visit, table) for visit in visits]
    own = {visit.submission_id for visit in visits}
    others = [query for query in queries if query.submission_id not in own]
    if not visits and others:
        receipts.append(
            SubmissionReceipt(
                submission_id=others[0].submission_id,
                site_id=others[0].site_id,
                received=context.today,
                files=inventory.files,
                queries=tuple(others),
                notes=_unused_file_notes(inventory),
            )
        )
    write_receipts(context.bids_dir, receipts)
    # what this submission has changed is said on the other receipts of its visits too
    known = {visit.name for visit in visits if visit.session_id}
    earlier = [r for r in read_receipts(context.bids_dir) if r.submission_id not in own]
    sisters = [r for r in earlier if f"{r.participant_id}/{r.session_id}" in known]
    refresh_receipt_pages(context.bids_dir, sisters)
    write_site_pages(context.bids_dir, days_from_scan=read_days_from_scan(context.bids_dir, context.private))


def make_receipt(
    context: IntakeContext, inventory: Inventory, visit: AssessedVisit, queries: Sequence[Query]
) -> SubmissionReceipt:
    """Make the receipt of an examination; every text in it is de-identified at its source.

    Parameters
    ----------
    context : IntakeContext
    inventory : Inventory
    visit : AssessedVisit
    queries : sequence of Query
        The whole table; those about the submission and those that hold its visit are shown.

    Returns
    -------
    SubmissionReceipt
    """
    row, clean = visit.row, visit.deidentifier
    own = [query for query in queries if query.submission_id == visit.submission_id]
    scanner = read_scanner(visit.examination.series[0].header)
    serial = clean.serial(scanner.serial) if scanner.serial else ""
    parts = [clean.device(scanner.manufacturer), clean.device(scanner.model), f"({serial})" * bool(serial)]
    missing = [q for q in visit.queries if q.code is QueryCode.MISSING_SEQUENCE]
    receipt = SubmissionReceipt(
        submission_id=visit.submission_id,
        site_id=row.site_id if row else context.request.site_id or "",
        received=context.today,
        participant_id=visit.participant_id,
        session_id=visit.session_id,
        visit_type=row.visit_type if row and visit.session_id else "",
        week=row.week if row and visit.session_id else None,
        protocol=context.protocol.name if context.protocol else "",
        scanner=" ".join(part for part in parts if part),
        software=clean.device(scanner.software),
        files=len({path for series in visit.examination.series for path in series.files}),
        series=tuple(_sent_series(visit)),
        identity=tuple(_identity_items(context, visit, own)),
        items=tuple(
            CheckedItem(
                role=role,
                name=item.name,
                words=item.words,
                result=str(item.result),
                value=item.value,
                limit=item.limit,
            )
            for role in CONTRASTS
            for item in visit.protocol_items.get(role, ())
        ),
        missing=tuple(line.replace("|", " or ") for query in missing for line in query.values),
        notes=(*_unused_file_notes(inventory), *visit.notes),
        pictures=pictures_of(context.bids_dir, visit.images),
    )
    return replace(receipt, queries=tuple(queries_on_receipt(receipt, queries)))


def _sent_series(visit: AssessedVisit) -> Iterable[SentSeries]:
    for one in visit.classified:
        status = visit.status.get(one.series)
        used = status in (SeriesStatus.FILED, SeriesStatus.UNCHANGED)
        what = "" if used or not status else f" Not used: {STATUS_WORDS[status]}."
        part = f" ({visit.deidentified(one.series.part)})" if one.series.part else ""
        yield SentSeries(
            number=str(one.series.series_number or ""),
            description=f"{visit.deidentifier.words(one.series.description)}{part}".strip(),
            role=one.role,
            reason=f"{visit.deidentified(one.reason)}.{what}",
            slices=one.series.frames,
            image=visit.images.get(one.role, "") if used else "",
            faults=tuple(fault.text for fault in visit.faults.get(one.series, ())),
        )


def _identity_items(
    context: IntakeContext, visit: AssessedVisit, queries: Sequence[Query]
) -> Iterable[CheckedItem]:
    for check in _IDENTITY_CHECKS:
        if visit.row is None and check.name in _NEEDS_PARTICIPANT:
            continue
        about = [query for query in queries if query.code in check.failed_by]
        failed = [query for query in about if not _is_settled(query)]
        told = failed[0].what if failed else _missing_information(context, visit, check)
        if about and not failed:
            told = ""
        doubted = any(q.code in check.unknown_by and not _is_settled(q) for q in queries)
        result = "FAIL" if failed else "UNKNOWN" if told or doubted else "PASS"
        yield CheckedItem(
            name=check.name,
            words=check.words,
            result=result,
            value=told or ("" if doubted else _as_expected(about)),
            limit=check.expected,
        )


def _is_settled(query: Query) -> bool:
    """Return whether a query is closed, and not by an answer that its images are not used."""
    refused = query.given is not None and query.given.kind is AnswerKind.NOT_ACQUIRED
    return not query.is_open and not refused


def _as_expected(settled: Sequence[Query]) -> str:
    return f"accepted, see {', '.join(query.query_id for query in settled)}" if settled else "as expected"


def _missing_information(context: IntakeContext, visit: AssessedVisit, check: _IdentityCheck) -> str:
    """Describe the information that a check lacks; empty when it can be decided."""
    headers = [series.header for series in visit.examination.series]
    if check.name == "sex" and not (visit.row and visit.row.sex):
        return "the visit schedule does not say"
    if check.name == "sex" and not any(text(header, "PatientSex") for header in headers):
        return "the header does not say"
    if check.name == "birth_date" and not visit.birth_hash:
        return "the header does not say"
    if check.name == "birth_date" and not (visit.birth_compared or _is_known_participant(context, visit)):
        return "nothing to compare with yet"
    if check.name == "window" and visit.examination.day is None:
        return "the header does not say"
    return ""


def _is_known_participant(context: IntakeContext, visit: AssessedVisit) -> bool:
    """Return whether an earlier submission holds the participant; not this one, which may be sent twice."""
    for receipt in read_receipts(context.bids_dir):
        if receipt.submission_id == visit.submission_id:
            return False
        if receipt.participant_id == visit.participant_id and receipt.used:
            return True
    return False


def _unused_file_notes(inventory: Inventory) -> tuple[str, ...]:
    """Count the files that belong to no series; not by name, since a file may be called like the person."""
    counts = inventory.unused_files.counts
    return tuple(f"{counts[why]} {why.value}." for why in sorted(counts) if counts[why])
