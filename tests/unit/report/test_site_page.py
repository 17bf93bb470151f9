"""The page of a site: qualified or not yet and why, compliance over time, and no day of a scan."""

import datetime as dt
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from mesems_mri.dataset.queries import Query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.report.intake_pages import site_html
from mesems_mri.report.qualification import about, gaps_of, qualify
from mesems_mri.report.receipt_page import SubmissionReceipt
from mesems_mri.report.sections import SECTIONS
from mesems_mri.report.site_page import SitePage, compliance, equipment, quality, turnaround
from tests.unit.report.html import Page
from tests.unit.report.made import quality_row
from tests.unit.report.sent import item, query, receipt, series

UNKNOWN = item("coil", "UNKNOWN")
FAILED = item("slice_thickness", "FAIL", value="3 mm")


def a_page(
    receipts: list[SubmissionReceipt] | None = None, queries: list[Query] | None = None, **changes: Any
) -> SitePage:
    receipts = [receipt(0), receipt(4)] if receipts is None else receipts
    made = SitePage(
        site_id="S01",
        receipts=receipts,
        queries=queries or [],
        hrefs={r.submission_id: f"../receipts/{r.submission_id}.html" for r in receipts},
    )
    return replace(made, **changes)


def text_of(page: SitePage) -> str:
    return " ".join(Page(site_html(page)).text.split())


def busy() -> SitePage:
    queries = [
        query(1, QueryCode.PROTOCOL_DEVIATION, "FLAIR: slice thickness 3 mm"),
        query(2, QueryCode.MISSING_SLICES, "9 of 10"),
        query(3, QueryCode.SEX_DIFFERS, closed="2024-01-09"),
    ]
    rows = [quality_row("sub-01", f"ses-w{n:02}", snr=7.0 + n, week=n) for n in (0, 4)]
    return a_page(
        [receipt(0, items=(FAILED, UNKNOWN)), receipt(4, software="A2")],
        queries,
        quality=rows,
        days_from_scan=[0, 2, 2, 40],
    )


def test_page_is_whole_and_needs_no_other_file() -> None:
    html = site_html(busy())
    page = Page(html)
    assert (page.unbalanced, page.open) == ([], [])
    assert len(page.ids) == len(set(page.ids))
    assert {url for url in page.fetched if not url.startswith("data:")} == set()
    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    keys = [s.key for s in SECTIONS if s.page == "site"]
    assert [i for i in page.ids if i in keys] == keys
    assert "../receipts/in-0.html" in page.links
    assert html == site_html(busy())


def test_site_without_a_submission_is_not_yet_qualified() -> None:
    page = a_page([])
    assert "Not yet qualified. Gaps No examination with a usable image has been received." in text_of(page)
    assert Page(site_html(page)).unbalanced == []


def test_one_submission_to_protocol_qualifies_the_machine() -> None:
    found = qualify([receipt(0, items=(FAILED,)), receipt(4), receipt(8, items=(FAILED,))], [])
    assert found.qualified
    assert found.by == receipt(4)
    assert found.machine == "Maker One (7), software A1"
    text = text_of(a_page())
    assert "Qualified. Maker One (7), software A1 has scanned to protocol: sub-01 · ses-w00" in text
    assert "received 2024-01-03." in text
    assert "Gaps" not in text


@pytest.mark.parametrize(
    ("changes", "queries", "words"),
    [
        ({"items": (FAILED,)}, [], "FLAIR: slice thickness is 3 mm, expected at most 1.5 mm."),
        ({"items": (UNKNOWN,)}, [], "FLAIR: coil is not known (the header does not say), expected"),
        ({"items": ()}, [], "No item of the protocol could be checked."),
        ({"missing": ("FLAIR",)}, [], "FLAIR was not sent."),
        ({"scanner": ""}, [], "The header does not name the scanner."),
        ({}, [query(7, QueryCode.MISSING_SLICES, "9 of 10")], "Q0007 is open: Slices are missing: 9 of 10."),
    ],
)
def test_whatever_is_missing_is_named(changes: dict[str, Any], queries: list[Query], words: str) -> None:
    found = qualify([receipt(0, **changes)], queries)
    assert not found.qualified
    assert any(words in gap for gap in found.missing), found.missing
    assert words in text_of(a_page([receipt(0, **changes)], queries))


@pytest.mark.parametrize(
    ("wrong", "code", "other"),
    [
        (FAILED, QueryCode.PROTOCOL_DEVIATION, QueryCode.PROTOCOL_UNKNOWN),
        (UNKNOWN, QueryCode.PROTOCOL_UNKNOWN, QueryCode.PROTOCOL_DEVIATION),
    ],
)
def test_what_the_centre_has_closed_is_settled_and_says_so(
    wrong: Any, code: QueryCode, other: QueryCode
) -> None:
    made = receipt(0, items=(wrong,))
    assert not qualify([made], [query(1, code)]).qualified
    assert not qualify([made], [query(1, other, closed="2024-01-09")]).qualified
    another = query(1, code, closed="2024-01-09", submission_id="in-5")
    assert not qualify([made], [another]).qualified
    both = [query(1, code, closed="2024-01-09"), query(2, code)]
    assert not qualify([made], both).qualified
    found = qualify([made], both[:1])
    assert found.qualified
    assert found.settled == (both[0],)
    assert "closed on 2024-01-09 by Centre: agreed" in text_of(a_page([made], both[:1]))


def test_open_question_that_holds_nothing_up_does_not_unqualify() -> None:
    assert qualify([receipt(0)], [query(1, QueryCode.OUTSIDE_WINDOW)]).qualified


def test_change_of_the_participants_scanner_is_no_fault_of_the_machine() -> None:
    other = item("scanner", "FAIL", value="Maker One (7)", limit="Maker Two (8)")
    assert gaps_of(receipt(0, items=(item(), other)), []) == []


def test_new_software_has_to_show_it_again() -> None:
    found = qualify([receipt(0), receipt(4, software="A2", items=(FAILED,))], [])
    assert not found.qualified
    assert found.before == "Maker One (7), software A1"
    page = a_page([receipt(0), receipt(4, software="A2", items=(FAILED,))])
    assert "Maker One (7), software A1 was qualified; scanner or software has changed since" in text_of(page)
    assert qualify([receipt(0), receipt(4, software="A2")], []).qualified


def test_submission_of_which_nothing_is_used_proves_nothing() -> None:
    nothing = receipt(4, series=(series(image=""),), software="A2", scanner="")
    assert qualify([receipt(0), nothing], []).qualified
    assert not qualify([nothing], []).qualified


def test_queries_of_an_item_are_those_of_its_sequence() -> None:
    own = query(1, QueryCode.PROTOCOL_DEVIATION, role="FLAIR")
    other = query(2, QueryCode.PROTOCOL_DEVIATION, "not of FLAIR: ", role="T1w")
    unknown = query(3, QueryCode.PROTOCOL_UNKNOWN, role="FLAIR")
    changed = query(4, QueryCode.SCANNER_CHANGED, "software A2")
    everything = [own, other, unknown, changed]
    assert about(FAILED, everything) == [own]
    assert about(UNKNOWN, everything) == [unknown]
    assert about(item("software", "FAIL"), everything) == [changed]
    assert about(item(), everything) == []
    older = query(5, QueryCode.PROTOCOL_DEVIATION, "FLAIR: slice thickness 3 mm")
    assert about(FAILED, [other, older]) == [older]


def test_compliance_counts_every_item_in_order_of_arrival() -> None:
    receipts = [receipt(n, items=(item(result=r),)) for n, r in ((0, "FAIL"), (4, "PASS"), (8, "UNKNOWN"))]
    found = compliance(a_page(receipts))
    assert found
    (line,) = found["lines"]
    assert line["counts"] == {"PASS": 1, "FAIL": 1, "UNKNOWN": 1}
    assert line["share"] == 33
    assert [m["result"] for m in line["marks"]] == ["FAIL", "PASS", "UNKNOWN"]
    text = text_of(a_page(receipts))
    assert "sub-01 · ses-w00: FAIL 1 mm" in text
    html = site_html(a_page(receipts))
    assert 'class="qc qc-fail" href="../receipts/in-0.html"' in html
    assert 'class="qc qc-pass" href' not in html  # what passed is no stop for a keyboard


def test_deviations_name_their_question() -> None:
    assert "✕ FAIL 3 mm at most 1.5 mm Q0001 open" in text_of(busy())


def test_limit_that_differs_between_participants_is_not_one() -> None:
    receipts = [receipt(n, items=(item("software", limit=f"A{n}"),)) for n in (0, 4)]
    found = compliance(a_page(receipts))
    assert found
    assert found["lines"][0]["limit"] == "differs between participants"


def test_scanner_and_software_over_time() -> None:
    versions = ("A1", "A1", "A2", "A1")
    found = equipment(a_page([receipt(n, software=v) for n, v in enumerate(versions)]))
    assert found
    told = [(line["software"], line["count"], line["changed"]) for line in found["lines"]]
    assert told == [("A1", 2, []), ("A2", 1, ["software"]), ("A1", 1, ["software"])]
    assert "▲ software changed" in text_of(busy())


def test_quality_stands_in_order_of_arrival_and_leaves_other_sites_out() -> None:
    rows = [quality_row("sub-01", f"ses-w{n:02}", snr=9.0 - n, week=n) for n in (4, 0)]
    rows += [quality_row("sub-01", "ses-w00", site_id="S02", snr=99.0)]
    found = quality(a_page(quality=rows))
    (chart,) = found["charts"]
    assert [text for _, _, _, text, _ in chart.dots] == ["sub-01 ses-w00: 9", "sub-01 ses-w04: 5"]
    assert found["latest"] == "sub-01 · ses-w04"
    assert "mesems-mri run measures the quality" in text_of(a_page())


def test_no_single_scan_can_be_dated_from_the_page() -> None:
    few, more = a_page(days_from_scan=[5, 17]), a_page(days_from_scan=[5, 17, 3])
    told = turnaround(few)
    assert told
    assert told["days"] == []
    assert "shown from 3 scans on" in text_of(few)
    assert "within 3 days: 1 of 3; within 7 days: 2 of 3" in text_of(more)
    assert not re.search(r"\b17\b", text_of(more))  # neither the days themselves nor their sum or mean


def test_turnaround_of_visits_and_answers() -> None:
    queries = [
        query(1, QueryCode.SEX_DIFFERS, closed="2024-01-09"),
        query(2, QueryCode.OUTSIDE_WINDOW),  # nothing waits for it
        query(3, QueryCode.MISSING_SLICES, session_id="ses-w08"),
    ]
    receipts = [receipt(n, received=dt.date(2024, 1, 2)) for n in (0, 4, 8)]
    text = text_of(a_page(receipts, queries))
    assert (
        "Receipt to a visit without blocking query 2 median 3.5 days, longest 7 days; 1 still waits" in text
    )
    assert "Query to answer 1 median 6 days, longest 6 days" in text


def test_open_questions_stand_before_answered_ones() -> None:
    text = text_of(busy())
    assert text.index("Q0002") < text.index("Q0001")
    assert "✕ blocking since 2024-01-03" in text
    assert "The sex in the header is not that of the participant sex_differs" in text


def test_site_with_all_visits_of_a_trial_stays_usable() -> None:
    items = tuple(item(f"item_{i}", role=role) for role in ("T1w", "T2w", "PDw", "FLAIR") for i in range(12))
    receipts = [receipt(n, items=items, pictures=()) for n in range(100)]
    begun = time.process_time()
    html = site_html(a_page(receipts))
    assert time.process_time() - begun < 3.0
    assert len(html) < 3_000_000


def test_page_does_not_depend_on_the_day_it_is_made() -> None:
    assert "as of 2024-02-12" in text_of(a_page())
    later = query(1, QueryCode.SEX_DIFFERS, closed="2024-03-01")
    assert "as of 2024-03-01" in text_of(a_page(queries=[later]))
    assert dt.date.today().isoformat() not in site_html(busy())
