"""A visit before one that is done, or whose query changes, is refused unless asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from mesems_mri.dataset.bids import Participant, Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import write_json
from mesems_mri.runner.late import refuse_late_visits

VISITS = tuple(Session(participant_id="sub-01", session_id=f"ses-{i}") for i in (1, 2))
PEOPLE = (Participant(participant_id="sub-01", site_id="", sessions=VISITS),)


def test_late_visit_is_refused_but_one_that_is_run_again_is_not(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_json(layout.metrics("sub-01", "ses-2"), {})
    asked = {("sub-01", "ses-1")}
    with pytest.raises(UsageError, match="sub-01/ses-1"):
        refuse_late_visits(layout, PEOPLE, asked, allow_insert=False)
    refuse_late_visits(layout, PEOPLE, asked, allow_insert=True)
    layout.work("sub-01", "ses-1").mkdir(parents=True)
    refuse_late_visits(layout, PEOPLE, asked, allow_insert=False)


def test_later_visit_that_a_killed_run_has_only_begun_makes_none_late(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.work("sub-01", "ses-2").mkdir(parents=True)
    refuse_late_visits(layout, PEOPLE, {("sub-01", "ses-1")}, allow_insert=False)


def people(*queries: str) -> tuple[Participant, ...]:
    first = replace(VISITS[0], open_queries=queries)
    return (replace(PEOPLE[0], sessions=(first, VISITS[1])),)


def done(layout: Layout, session: str, reason: str | None) -> None:
    write_json(layout.metrics("sub-01", session), {})
    write_json(layout.record("sub-01", session, "standardise"), {"reason": reason})


@pytest.mark.parametrize(
    ("reason", "queries", "words"),
    [
        ("open_query", (), "sub-01/ses-1 .its query is closed.: lies before"),
        (None, ("Q0001: x",), "sub-01/ses-1 .a query about it is open.: lies before"),
        ("missing_scan", ("Q0001: x",), "a query about it is open"),
    ],
)
def test_query_that_changes_what_later_visits_follow_from_is_late(
    tmp_path: Path, reason: str | None, queries: tuple[str, ...], words: str
) -> None:
    layout = Layout(tmp_path)
    done(layout, "ses-1", reason)
    # the last visit may change as it likes
    assert refuse_late_visits(layout, people(*queries), {("sub-01", "ses-1")}, allow_insert=False) == ()
    done(layout, "ses-2", None)
    with pytest.raises(UsageError, match=words):
        refuse_late_visits(layout, people(*queries), {("sub-01", "ses-1")}, allow_insert=False)
    # it is brought up to date with whatever visit of the participant is asked for
    with pytest.raises(UsageError, match=words):
        refuse_late_visits(layout, people(*queries), {("sub-01", "ses-2")}, allow_insert=False)
    asked = {("sub-02", "ses-1")}
    assert refuse_late_visits(layout, people(*queries), asked, allow_insert=False) == ()
    assert refuse_late_visits(layout, people(*queries), asked, allow_insert=True, computed={"sub-01"}) == (
        "sub-01/ses-2",
    )


@pytest.mark.parametrize(
    ("reason", "queries"), [("open_query", ("Q0002: y",)), ("wrong_head", ()), (None, ())]
)
def test_query_that_changes_nothing_is_not_late(
    tmp_path: Path, reason: str | None, queries: tuple[str, ...]
) -> None:
    layout = Layout(tmp_path)
    done(layout, "ses-1", reason)
    done(layout, "ses-2", None)
    refuse_late_visits(layout, people(*queries), {("sub-01", "ses-1")}, allow_insert=False)
