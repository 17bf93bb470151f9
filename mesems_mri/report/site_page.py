"""Sections of the page of a site: qualification, protocol compliance, open queries."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median
from typing import Any

from mesems_mri.dataset.queries import Query
from mesems_mri.dataset.reasons import QUERIES
from mesems_mri.report.charts import Chart, Curve, Point, draw_chart
from mesems_mri.report.history import MIN_VISITS, site_history
from mesems_mri.report.qualification import about, machine_of, qualify, queries_of, queries_on_receipt
from mesems_mri.report.receipt_page import CheckedItem, SubmissionReceipt, count_results, submission_outcome
from mesems_mri.report.words import CONTRAST_WORDS, QUALITY_WORDS

TURNAROUND_DAYS = (1, 3, 7, 14, 28)
"""Days from scan to receipt are shown as counts within these; single ones would date a scan."""
_MIN_TURNAROUND = 3
_CHARTED = ("snr", "cnr")


@dataclass(frozen=True, kw_only=True)
class SitePage:
    """Contents of the page of a site.

    Parameters
    ----------
    site_id : str
    receipts : sequence of SubmissionReceipt
        Its submissions in order of arrival.
    queries : sequence of Query
        Those to the site, as they stand now.
    quality : sequence of mapping
        Rows of ``site_quality.tsv``, of a run; those of other sites are passed over.
    days_from_scan : sequence of int
        From scan to receipt, of all submissions in any order.
    hrefs : mapping of str to str
        Links to the receipts, by submission.
    """

    site_id: str
    receipts: Sequence[SubmissionReceipt]
    queries: Sequence[Query]
    quality: Sequence[Mapping[str, Any]] = ()
    days_from_scan: Sequence[int] = ()
    hrefs: Mapping[str, str] = field(default_factory=dict)

    @property
    def as_of(self) -> str:
        """The latest day of which the page knows, so that the same content makes the same page."""
        days = [receipt.received.isoformat() for receipt in self.receipts]
        return max([*days, *(day for q in self.queries for day in (q.opened, q.closed))], default="")

    def link(self, receipt: SubmissionReceipt) -> str:
        """Return the link to a receipt; empty when there is none."""
        return self.hrefs.get(receipt.submission_id, "")


def qualification(page: SitePage) -> Mapping[str, Any]:
    """Report the qualification of the site, with its gaps."""
    found = qualify(page.receipts, page.queries)
    waiting = [query for query in page.queries if query.blocks_visit]
    return {
        "found": found,
        "href": page.link(found.by) if found.by else "",
        "submissions": len(page.receipts),
        "participants": len({r.participant_id for r in page.receipts if r.participant_id}),
        "counts": count_results([item for r in page.receipts for item in r.items]),
        "open": sum(query.is_open for query in page.queries),
        "waiting": len({(q.participant_id, q.session_id) for q in waiting if q.session_id}),
        "protocols": list(dict.fromkeys(r.protocol for r in page.receipts if r.protocol)),
    }


def compliance(page: SitePage) -> Mapping[str, Any] | None:
    """Count every item over the submissions, and show them in order of arrival."""
    marks: dict[tuple[str, str], list[tuple[CheckedItem, SubmissionReceipt]]] = {}
    for receipt in page.receipts:
        for item in receipt.items:
            marks.setdefault((item.role, item.name), []).append((item, receipt))
    if not marks:
        return None
    roles = list(CONTRAST_WORDS)
    order = sorted(marks, key=lambda key: roles.index(key[0]) if key[0] in roles else len(roles))
    lines = []
    for role, name in order:
        own = marks[role, name]
        counts = count_results([item for item, _ in own])
        same = len({item.limit for item, _ in own}) == 1
        lines.append(
            {
                "role": role,
                "words": own[0][0].words,
                "limit": own[-1][0].limit if same else "differs between participants",
                "counts": counts,
                "share": round(100 * counts["PASS"] / len(own)),
                "marks": [
                    {
                        "result": item.result,
                        "href": page.link(receipt),
                        "text": f"{receipt.visit}: {item.result} {item.value}".rstrip(),
                    }
                    for item, receipt in own
                ],
            }
        )
    return {"lines": lines}


def deviations(page: SitePage) -> Mapping[str, Any] | None:
    """List the deviations from the protocol and the unknown items, the latest first."""
    rows = [
        {
            "receipt": receipt,
            "href": page.link(receipt),
            "item": item,
            "queries": about(item, queries_of(receipt, page.queries)),
        }
        for receipt in reversed(page.receipts)
        for item in receipt.items
        if item.result != "PASS"
    ]
    return {"rows": rows} if rows else None


def quality(page: SitePage) -> Mapping[str, Any]:
    """Draw image quality in order of arrival; compare the latest visit with the earlier ones."""
    visits = list(dict.fromkeys((r.participant_id, r.session_id) for r in page.receipts))
    own = [row for row in page.quality if (row["site_id"] or "") == page.site_id]
    known = {(row["participant_id"], row["session_id"]) for row in own if row["evaluable"]}
    visits = [visit for visit in visits if visit in known]
    charts = [
        _quality_chart(own, visits, contrast, measure)
        for contrast in CONTRAST_WORDS
        for measure in _CHARTED
        if any(row["contrast"] == contrast and row[measure] is not None for row in own)
    ]
    history = site_history(own, *visits[-1]) if visits else []
    return {
        "charts": charts,
        "history": history,
        "latest": " · ".join(visits[-1]) if visits else "",
        "measures": QUALITY_WORDS,
        "min_visits": MIN_VISITS,
    }


def _quality_chart(
    rows: Sequence[Mapping[str, Any]], visits: Sequence[tuple[str, str]], contrast: str, measure: str
) -> Chart:
    points = []
    for row in rows:
        visit = (row["participant_id"], row["session_id"])
        if row["contrast"] == contrast and row[measure] is not None and visit in visits:
            at = visits.index(visit) + 1
            points.append(Point(at, float(row[measure]), f"{' '.join(visit)}: {row[measure]:.3g}"))
    points.sort(key=lambda point: point.x)
    return draw_chart(
        f"{CONTRAST_WORDS[contrast]}, {QUALITY_WORDS[measure][0]}",
        [Curve(tuple(points), "main", CONTRAST_WORDS[contrast])],
        x_ticks=[(float(i + 1), str(i + 1)) for i in range(len(visits))],
        y_label=QUALITY_WORDS[measure][1],
        x_label="visit, in order of arrival",
    )


def equipment(page: SitePage) -> Mapping[str, Any] | None:
    """List the scanners and software in use over time, with the changes."""
    lines: list[dict[str, Any]] = []
    for _, group in groupby(page.receipts, key=lambda r: (r.scanner, r.software)):
        own = list(group)
        first, last = own[0], own[-1]
        changed = []
        if lines:
            before = lines[-1]
            changed += ["scanner"] if before["scanner"] != first.scanner else []
            changed += ["software"] if before["software"] != first.software else []
        lines.append(
            {
                "scanner": first.scanner,
                "software": first.software,
                "since": first.received.isoformat(),
                "until": last.received.isoformat(),
                "count": len(own),
                "participants": len({r.participant_id for r in own if r.participant_id}),
                "changed": changed,
                "href": page.link(first),
            }
        )
    return {"lines": lines} if lines else None


def turnaround(page: SitePage) -> Mapping[str, Any] | None:
    """Report the turnaround: scan to receipt, receipt to a visit without open query, query to answer.

    A submission is received on the day of its intake, and its queries are raised with the receipt.
    """
    visits = _days_to_settle(page)
    settled = [days for days in visits if days is not None]
    answered = [_days(query.opened, query.closed) for query in page.queries if query.closed]
    answered = [days for days in answered if days is not None]
    if not (visits or page.days_from_scan or answered):
        return None
    days = page.days_from_scan if len(page.days_from_scan) >= _MIN_TURNAROUND else ()
    return {
        "settled": (len(settled), median(settled), max(settled)) if settled else None,
        "waiting": len(visits) - len(settled),
        "days": [(limit, sum(d <= limit for d in days)) for limit in TURNAROUND_DAYS] if days else [],
        "scans": len(page.days_from_scan),
        "min_scans": _MIN_TURNAROUND,
        "answered": (len(answered), median(answered), max(answered)) if answered else None,
    }


def _days_to_settle(page: SitePage) -> list[int | None]:
    """Return the days from the first receipt of each visit until no query blocked it; None if one does."""
    received: dict[tuple[str, str], dt.date] = {}
    for receipt in page.receipts:
        if receipt.session_id:
            received.setdefault((receipt.participant_id, receipt.session_id), receipt.received)
    found = []
    for visit, first in received.items():
        asked = [q for q in page.queries if q.blocking and (q.participant_id, q.session_id) == visit]
        days = [_days(first.isoformat(), query.closed) for query in asked]
        found.append(None if None in days else max([0, *(day for day in days if day is not None)]))
    return found


def _days(opened: str, closed: str) -> int | None:
    try:
        return (dt.date.fromisoformat(closed) - dt.date.fromisoformat(opened)).days
    except ValueError:
        return None


def queries(page: SitePage) -> Mapping[str, Any]:
    """List open queries, those that block a visit first, and count the closed ones."""
    open_ones = [query for query in page.queries if query.is_open]
    open_ones.sort(key=lambda query: (not query.blocks_visit, query.opened, query.query_id))
    closed = Counter(query.code for query in page.queries if query.closed)
    return {
        "open": open_ones,
        "closed": [(code, QUERIES[code].what, count) for code, count in closed.most_common()],
    }


def submissions(page: SitePage) -> Mapping[str, Any]:
    """List every submission, the latest first."""
    lines = []
    for receipt in reversed(page.receipts):
        own = queries_on_receipt(receipt, page.queries)
        lines.append(
            {
                "receipt": receipt,
                "href": page.link(receipt),
                "outcome": submission_outcome(receipt, own),
                "counts": count_results(receipt.items),
                "open": sum(query.is_open for query in own),
                "machine": machine_of(receipt) or "not known",
            }
        )
    return {"lines": lines}
