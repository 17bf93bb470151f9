"""The progress of a run: a line per visit in a log, a table on a terminal."""

import io
import re

from rich.console import Console

from mesems_mri.dataset.bids import Participant, Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.runner.events import Job, WorkflowEvents
from mesems_mri.runner.progress import LiveProgress, PlainProgress
from tests.unit.runner.conftest import SESSIONS, leave_visit

PEOPLE = (Participant(participant_id="sub-01", site_id="", sessions=tuple(SESSIONS)),)


def test_log_gets_one_line_per_visit(layout: Layout) -> None:
    said: list[str] = []
    progress = PlainProgress(layout, said.append, last_step="report")
    events = WorkflowEvents(planned={"report": 2}, total=9)
    for number, (rule, session) in enumerate([("detect", "ses-1"), ("report", "ses-1"), ("report", "ses-2")]):
        events.started[number] = events.finished[number] = Job(rule, "sub-01", session)
        progress.watch(events)
    assert said[0] == "2 visits to run, 9 jobs"
    assert [line.split("] ")[1] for line in said[1:]] == [
        "sub-01/ses-1: done; 1 of 2 visits",
        "sub-01/ses-2: not evaluable (wrong_head); 2 of 2 visits",
    ]


def test_visit_is_counted_once_when_snakemake_is_started_again(layout: Layout) -> None:
    said: list[str] = []
    progress = PlainProgress(layout, said.append, last_step="report")
    for _ in range(2):  # numbers of jobs start anew
        job = Job("report", "sub-01", "ses-3")
        progress.watch(WorkflowEvents(started={1: job}, finished={1: job}, planned={"report": 1}, total=1))
    assert [line.split("] ")[-1] for line in said] == [
        "1 visits to run, 1 jobs",
        "sub-01/ses-3: failed (standardise); 1 of 1 visits",
    ]


def drawn(
    layout: Layout, people: tuple[Participant, ...], events: WorkflowEvents, height: int = 30
) -> list[str]:
    console = Console(width=120, height=height, record=True, file=io.StringIO())
    progress = LiveProgress(layout, people, console)
    progress.watch(events)
    console.print(progress.table())
    lines = (re.sub("[│┃]", " ", line).strip() for line in console.export_text().splitlines())
    return [line for line in lines if line]


def test_table_has_one_sign_per_visit_and_step(layout: Layout) -> None:
    job = Job("register", "sub-01", "ses-4")
    lines = drawn(layout, PEOPLE, WorkflowEvents(started={7: job}, done=1, total=4))
    assert lines[0].startswith("1 of 4 jobs done, 0:00:0")
    row = next(line.split() for line in lines if line.startswith("sub-01"))
    # done, not evaluable, failed at the first step, standardised and now registered
    assert row[1:] == ["●○✗●", "●○·▸", "●○··", "●○··", "●○··"]


def test_many_visits_are_numbers(layout: Layout) -> None:
    visits = tuple(Session(participant_id="sub-01", session_id=f"ses-{i}") for i in range(1, 16))
    people = (Participant(participant_id="sub-01", site_id="", sessions=visits),)
    row = next(line.split() for line in drawn(layout, people, WorkflowEvents()) if line.startswith("sub-01"))
    assert row[1:] == ["4/15", "2/15", "2/15", "2/15", "2/15"]


def test_running_and_failed_participants_are_shown_first_where_there_is_no_room(layout: Layout) -> None:
    people = tuple(
        Participant(
            participant_id=f"sub-0{i}",
            site_id="",
            sessions=(Session(participant_id=f"sub-0{i}", session_id="ses-1"),),
        )
        for i in range(1, 7)
    )
    leave_visit(layout, "ses-1", "failed", "step_failed")  # of sub-01
    events = WorkflowEvents(started={1: Job("detect", "sub-05", "ses-1")}, total=9)
    lines = drawn(layout, people, events, height=1)
    assert [line.split()[0] for line in lines if line.startswith("sub-")] == ["sub-01", "sub-02", "sub-05"]
    assert any(line.startswith("and 3 more") for line in lines)
