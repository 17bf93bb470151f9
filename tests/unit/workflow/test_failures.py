"""A job that is killed leaves no record: its visit is marked as failed and the others go on."""

from pathlib import Path

from mesems_mri.bids import Layout, Participant, Session
from mesems_mri.provenance import read_json, write_json
from mesems_mri.steps.visit import STEPS
from mesems_mri.workflow.failures import mark_lost

VISITS = tuple(Session(participant_id="sub-01", session_id=f"ses-{i}") for i in (1, 2))
PEOPLE = (Participant(participant_id="sub-01", site_id="", sessions=VISITS),)


def leave(layout: Layout, session: str, *steps: str) -> None:
    for step in steps:
        write_json(layout.record("sub-01", session, step), {"status": "done", "carried": {"from": session}})


def status(layout: Layout, session: str, step: str) -> str:
    return read_json(layout.record("sub-01", session, step))["status"]


def test_first_missing_step_is_marked_and_carries_on_what_was_known(tmp_path: Path) -> None:
    layout, lost = Layout(tmp_path), set()
    leave(layout, "ses-1", *STEPS)
    leave(layout, "ses-2", "standardise")
    assert mark_lost(layout, tmp_path, PEOPLE, lost)
    record = read_json(layout.record("sub-01", "ses-2", "register"))
    assert (record["status"], record["reason"]) == ("failed", "step_failed")
    assert record["carried"] == {"from": "ses-1"}
    assert status(layout, "ses-1", "register") == status(layout, "ses-2", "standardise") == "done"
    assert not layout.record("sub-01", "ses-2", "lesions").is_file()


def test_lost_measure_is_made_trivial_and_given_up_when_lost_again(tmp_path: Path) -> None:
    layout, lost = Layout(tmp_path), set()
    leave(layout, "ses-1", *STEPS)
    leave(layout, "ses-2", "standardise", "register", "lesions")
    assert mark_lost(layout, tmp_path, PEOPLE, lost)
    assert status(layout, "ses-2", "lesions") == "failed"
    assert not mark_lost(layout, tmp_path, PEOPLE, lost)


def test_nothing_lost(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for session in ("ses-1", "ses-2"):
        leave(layout, session, *STEPS)
    assert not mark_lost(layout, tmp_path, PEOPLE, set())
