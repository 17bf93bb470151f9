"""Qualification of a site: a submission to protocol from the present scanner, or what it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from mesems_mri.dataset.queries import Query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.report.receipt_page import CheckedItem, SubmissionReceipt
from mesems_mri.report.words import CONTRAST_WORDS

_NOT_OF_THE_SITE = {"scanner", "software"}
"""Items compared with a participant's first visit: the ability of a scanner does not depend on them."""
_CODES = {"FAIL": QueryCode.PROTOCOL_DEVIATION, "UNKNOWN": QueryCode.PROTOCOL_UNKNOWN}


@dataclass(frozen=True)
class Qualification:
    """Qualification of the scanner that a site uses now.

    Parameters
    ----------
    qualified : bool
    machine : str
        Scanner and software of the latest submission.
    by : SubmissionReceipt or None
        The submission by which it is qualified.
    missing : tuple of str
        Gaps of the latest submission; empty when qualified.
    settled : tuple of Query
        Closed queries by which the centre has accepted the gaps of that submission.
    before : str
        Another machine of the site that was qualified, if this one is not.
    """

    qualified: bool
    machine: str = ""
    by: SubmissionReceipt | None = None
    missing: tuple[str, ...] = ()
    settled: tuple[Query, ...] = ()
    before: str = ""


def machine_of(receipt: SubmissionReceipt) -> str:
    """Name scanner and software of a submission; empty when the header names no scanner."""
    if not receipt.scanner:
        return ""
    return f"{receipt.scanner}, software {receipt.software or 'not known'}"


def queries_of(receipt: SubmissionReceipt, queries: Sequence[Query]) -> list[Query]:
    """List the queries about a submission, and those to its site that recur at its visit."""
    return [query for query in queries if _concerns(query, receipt)]


def _concerns(query: Query, receipt: SubmissionReceipt) -> bool:
    if query.visits:
        return f"{receipt.participant_id}/{receipt.session_id}" in query.visit_names
    return query.submission_id == receipt.submission_id


def queries_on_receipt(receipt: SubmissionReceipt, queries: Sequence[Query]) -> list[Query]:
    """List the queries that a receipt shows: about the submission, and those that hold its visit."""
    visit = (receipt.participant_id, receipt.session_id)
    return [
        query
        for query in queries
        if _concerns(query, receipt)
        or (query.blocks_visit and all(visit) and (query.participant_id, query.session_id) == visit)
    ]


def qualify(receipts: Sequence[SubmissionReceipt], queries: Sequence[Query]) -> Qualification:
    """Assess the qualification of a site from its submissions.

    A machine is qualified by one submission that holds all sequences of the protocol, with no item that fails
    or is not known, and no open blocking query. Items that fail or are not known count as settled
    when the centre has closed the query about them. A new scanner or software has to show it again.

    Parameters
    ----------
    receipts : sequence of SubmissionReceipt
        In order of arrival.
    queries : sequence of Query
        As they stand now.

    Returns
    -------
    Qualification
    """
    usable = [receipt for receipt in receipts if receipt.used]
    if not usable:
        return Qualification(False, missing=("No examination with a usable image has been received.",))
    latest = usable[-1]
    machine = machine_of(latest)
    own = [receipt for receipt in usable if machine and machine_of(receipt) == machine]
    shown = next((receipt for receipt in own if not gaps_of(receipt, queries)), None)
    if shown:
        settled = [query for query in queries_of(shown, queries) if query.closed and _settles(query)]
        return Qualification(True, machine, shown, settled=tuple(settled))
    others = [r for r in usable if machine_of(r) not in ("", machine) and not gaps_of(r, queries)]
    return Qualification(
        False,
        machine,
        missing=tuple(gaps_of(latest, queries)),
        before=machine_of(others[-1]) if others else "",
    )


def gaps_of(receipt: SubmissionReceipt, queries: Sequence[Query]) -> list[str]:
    """List the gaps that keep a submission from qualifying its scanner, a sentence each."""
    own = queries_of(receipt, queries)
    gaps = [] if receipt.scanner else ["The header does not name the scanner."]
    gaps += [f"{sequence} was not sent." for sequence in receipt.missing]
    gaps += [f"{query.query_id} is open: {query.what}." for query in own if query.blocks_visit]
    if not receipt.items:
        gaps.append("No item of the protocol could be checked.")
    for result, code in _CODES.items():
        if not _is_settled(own, code):
            items = [i for i in receipt.items if i.result == result and i.name not in _NOT_OF_THE_SITE]
            gaps += [_gap(item) for item in items]
    return gaps


def about(item: CheckedItem, queries: Sequence[Query]) -> list[Query]:
    """List the queries of a submission that an item gave rise to; older ones do not say of which role."""
    changed = item.result == "FAIL" and item.name in _NOT_OF_THE_SITE
    code = QueryCode.SCANNER_CHANGED if changed else _CODES.get(item.result)
    return [query for query in queries if query.code == code and query.role in ("", item.role)]


def _gap(item: CheckedItem) -> str:
    what = f"{CONTRAST_WORDS.get(item.role, item.role)}: {item.words}"
    if item.result == "FAIL":
        return f"{what} is {item.value}, expected {item.limit}."
    return f"{what} is not known ({item.value or 'the header does not say'}), expected {item.limit}."


def _settles(query: Query) -> bool:
    return query.code in _CODES.values()


def _is_settled(queries: Sequence[Query], code: QueryCode) -> bool:
    """Return whether the centre has raised queries of a code and closed all of them."""
    asked = [query for query in queries if query.code == code]
    return bool(asked) and all(query.closed for query in asked)
