"""The receipt: what arrived, whether it is to protocol, and what the site should do."""

import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesems_mri.dataset.queries import Query
from mesems_mri.dataset.reasons import QUERIES, QueryCode
from mesems_mri.dataset.tables import FORBIDDEN_COLUMNS
from mesems_mri.report import qualification, receipt_page, site_page
from mesems_mri.report.intake_pages import receipt_html
from mesems_mri.report.page import Link
from mesems_mri.report.receipt_page import SubmissionReceipt, protocol, submission_outcome
from mesems_mri.report.sections import SECTIONS
from tests.unit.report.html import Page
from tests.unit.report.sent import POST, item, query, receipt, series

ODD = '<script>alert("1")</script>&amp;\'"ä{{ 7*7 }}'
BLOCKING = query(1, QueryCode.MISSING_SLICES, "FLAIR has 9 of 10")
SOFT = query(2, QueryCode.OUTSIDE_WINDOW, "2 days after the window closes")


def text_of(made: SubmissionReceipt) -> str:
    return " ".join(Page(receipt_html(made)).text.split())


def full() -> SubmissionReceipt:
    return receipt(queries=(SOFT, BLOCKING, query(3, QueryCode.SEX_DIFFERS, closed="2024-01-05")))


def test_page_is_whole_and_needs_no_other_file() -> None:
    html = receipt_html(full(), links=[Link("Site S01", "../sites/S01.html")])
    page = Page(html)
    assert (page.unbalanced, page.open) == ([], [])
    assert len(page.ids) == len(set(page.ids))
    assert {url for url in page.fetched if not url.startswith("data:")} == set()
    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    assert "../sites/S01.html" in page.links
    keys = [s.key for s in SECTIONS if s.page == "receipt"]
    assert [i for i in page.ids if i in keys] == keys
    assert html == receipt_html(full(), links=[Link("Site S01", "../sites/S01.html")])
    assert page.images == 3


def test_empty_submission_still_has_a_receipt() -> None:
    made = SubmissionReceipt(submission_id="in-9", site_id="", received=receipt().received)
    text = text_of(made)
    assert "Receipt · participant not known" in text
    assert "Nothing used" in text
    assert Page(receipt_html(made)).unbalanced == []


@pytest.mark.parametrize(
    ("queries", "changes", "status", "words"),
    [
        ((), {}, "pass", "Accepted. The images are accepted. There is nothing to do."),
        ((SOFT,), {}, "warn", "one query is still to be answered"),
        ((SOFT, BLOCKING), {}, "fail", "The visit waits until one query is answered"),
        ((BLOCKING,), {"series": ()}, "fail", "On hold."),
        ((), {"series": (series(image=""),)}, "fail", "Nothing used."),
        ((query(1, QueryCode.MISSING_SLICES, closed="2024-01-04"),), {}, "pass", "There is nothing to do"),
    ],
)
def test_outcome_says_whether_the_site_has_something_to_do(
    queries: tuple[Query, ...], changes: dict[str, Any], status: str, words: str
) -> None:
    made = receipt(queries=queries, **changes)
    assert submission_outcome(made, queries).status == status
    assert words in text_of(made)


def test_queries_come_with_number_fault_and_action_blocking_ones_first() -> None:
    text = text_of(full())
    assert text.index("Q0001") < text.index("Q0002") < text.index("Q0003")
    assert "Q0001: ✕ blocking: the visit is on hold" in text
    assert "Slices are missing: FLAIR has 9 of 10" in text
    assert f"Action: {QUERIES[QueryCode.MISSING_SLICES].to_do}" in text
    assert "Q0002: open" in text
    assert "closed on 2024-01-05 by Centre: agreed" in text
    assert "Action:" not in text_of(receipt())


def test_every_series_is_listed_with_role_and_reason() -> None:
    made = receipt(
        series=(series(faults=("9 slices, expected 10",)), series(number="9", role="derived", image=""))
    )
    text = text_of(made)
    assert (
        "5 t2_flair_3d FLAIR inversion time 1800 ms ✕ 9 slices, expected 10 176 sub-01/ses-w00/anat" in text
    )
    assert "9 t2_flair_3d derived inversion time 1800 ms 176 not used" in text


def test_missing_sequence_is_told_twice() -> None:
    text = text_of(receipt(missing=("FLAIR or T2w+PDw",)))
    assert "Sequences missing 1 FLAIR or T2w+PDw" in text
    assert "Missing: FLAIR or T2w+PDw." in text


def test_items_stand_in_the_order_of_the_protocol_and_what_is_not_asked_is_no_pass() -> None:
    items = [item(name, role=role) for role, names in (
        ("T1w", ("field", "thickness", "coil")),
        (POST, ("field", "thickness", "coil", "dose", "scanner")),
        ("FLAIR", ("field", "thickness", "inversion", "coil", "scanner")),
    ) for name in names]  # fmt: skip
    found = protocol(receipt(items=tuple(items)))
    assert found
    assert found["roles"] == ["T1w", POST, "FLAIR"]
    assert [words for words, _ in found["lines"]] == [
        "field",
        "thickness",
        "inversion",
        "coil",
        "dose",
        "scanner",
    ]
    assert [cell and cell.name for cell in dict(found["lines"])["inversion"]] == [None, None, "inversion"]
    assert text_of(receipt(items=tuple(items))).count("not in the protocol") == 5


@pytest.mark.parametrize("result", ["PASS", "FAIL", "UNKNOWN"])
def test_result_is_told_by_sign_word_and_value(result: str) -> None:
    sign = {"PASS": "✓", "FAIL": "✕", "UNKNOWN": "?"}[result]
    text = text_of(receipt(items=(item(result=result),), identity=()))
    value = "" if result == "UNKNOWN" else " 1 mm"
    assert f"Slice thickness {sign} {result}{value} at most 1.5 mm" in text
    counted = {"PASS": "1 of 1 items", "FAIL": "0 of 1 items 1 fail", "UNKNOWN": "0 of 1 items 1 unknown"}[
        result
    ]
    assert counted in text


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30) | st.just(ODD))
def test_no_text_breaks_the_page_or_runs_in_it(odd: str) -> None:
    made = receipt(
        submission_id=odd,
        site_id=odd,
        participant_id=odd,
        session_id=odd,
        scanner=odd,
        series=(series(description=odd, reason=odd, role=odd, faults=(odd,)),),
        items=(item(odd, value=odd, limit=odd, words=odd, role=odd),),
        notes=(odd,),
        missing=(odd,),
        queries=(query(1, QueryCode.MISSING_SLICES, odd, reason=odd, closed="2024-01-01"),),
    )
    html = receipt_html(made)
    assert html.count("<script>") == 1  # our own
    page = Page(html)
    assert page.unbalanced == []
    if odd == ODD:
        assert ODD in page.text


def test_nothing_that_a_page_is_made_of_could_hold_a_name_an_arm_or_steroids() -> None:
    known = [
        made
        for module in (receipt_page, qualification, site_page)
        for made in vars(module).values()
        if is_dataclass(made)
    ]
    names = {field.name for made in known for field in fields(made)}
    assert {"participant_id", "identity", "settled"} <= names
    assert not [n for n in names if re.search(r"steroid|^name$|birth|patient|weight|sex|acquired|scan_day", n)
                and n != "name"]  # fmt: skip
    html = receipt_html(full())
    assert not re.search(r"steroid|randomi[sz]|allocat|treatment|\bEDSS\b|relapse", html, re.I)
    assert not any(re.search(rf"\b{pattern.strip('*')}\b", text_of(full()), re.I)
                   for pattern in FORBIDDEN_COLUMNS if pattern.isalpha() and pattern != "group")  # fmt: skip
