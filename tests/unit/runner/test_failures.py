"""A job that is killed leaves no record: its visit is marked as failed and the others go on."""

from pathlib import Path

from mesems_mri.dataset.bids import Participant, Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.measure import MeasuredVisit, MeasureRecord
from mesems_mri.files import read_json, write_json
from mesems_mri.pipeline.visit import COMPUTED, STEPS
from mesems_mri.runner.events import Job
from mesems_mri.runner.failures import lacks_product, record_lost_jobs, remove_records, remove_temporary_files
from mesems_mri.runner.state import Outcome, visit_state

VISITS = tuple(Session(participant_id="sub-01", session_id=f"ses-{i}") for i in (1, 2))
PEOPLE = (Participant(participant_id="sub-01", site_id="", sessions=VISITS),)


def leave(layout: Layout, session: str, *steps: str) -> None:
    for step in steps:
        record = {"status": "done", "reason": None, "message": "", "carried": {"from": session}}
        write_json(layout.record("sub-01", session, step), record)


def status(layout: Layout, session: str, step: str) -> str:
    return read_json(layout.record("sub-01", session, step))["status"]


def job(session: str, rule: str) -> Job:
    return Job(rule, "sub-01", session, mem_mb=4000, runtime="20 min")


def test_lost_step_is_marked_and_carries_on_what_was_known(tmp_path: Path) -> None:
    layout, lost = Layout(tmp_path), set()
    leave(layout, "ses-1", *COMPUTED)
    leave(layout, "ses-2", "standardise")
    assert record_lost_jobs(layout, tmp_path, PEOPLE, [job("ses-2", "register")], lost)
    record = read_json(layout.record("sub-01", "ses-2", "register"))
    assert (record["status"], record["reason"]) == ("failed", "step_failed")
    assert "sub-01/ses-2: register" in record["message"]
    assert "4000 MB and 20 min" in record["message"]
    assert record["carried"] == {"from": "ses-1"}
    assert status(layout, "ses-1", "register") == status(layout, "ses-2", "standardise") == "done"
    assert not layout.record("sub-01", "ses-2", "detect").is_file()


def test_visit_that_only_waits_for_the_lost_one_is_not_marked(tmp_path: Path) -> None:
    layout, lost = Layout(tmp_path), set()
    leave(layout, "ses-1", "standardise")
    leave(layout, "ses-2", "standardise")
    assert record_lost_jobs(layout, tmp_path, PEOPLE, [job("ses-1", "register")], lost)
    assert status(layout, "ses-1", "register") == "failed"
    assert not layout.record("sub-01", "ses-2", "register").is_file()


def test_lost_group_of_jobs_is_marked_where_it_stopped(tmp_path: Path) -> None:
    layout, lost = Layout(tmp_path), set()
    leave(layout, "ses-1", "standardise", "register")
    jobs = [job("ses-1", rule) for rule in STEPS]
    assert record_lost_jobs(layout, tmp_path, PEOPLE, jobs, lost)
    assert status(layout, "ses-1", "register") == "done"
    assert status(layout, "ses-1", "detect") == "failed"


def test_lost_measure_is_made_trivial_and_given_up_when_lost_again(tmp_path: Path) -> None:
    layout, lost = Layout(tmp_path), set()
    leave(layout, "ses-1", *COMPUTED)
    leave(layout, "ses-2", "standardise", "register", "detect")
    assert record_lost_jobs(layout, tmp_path, PEOPLE, [job("ses-2", "measure")], lost)
    assert status(layout, "ses-2", "detect") == "failed"
    assert not record_lost_jobs(layout, tmp_path, PEOPLE, [job("ses-2", "measure")], lost)


def test_lost_page_is_a_failure_but_nothing_waits_for_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    leave(layout, "ses-1", *COMPUTED)
    assert not record_lost_jobs(layout, tmp_path, PEOPLE, [job("ses-1", "report")], set())
    state = visit_state(layout, "sub-01", "ses-1")
    assert (state.outcome, state.step) == (Outcome.FAILED, "report")


def test_nothing_lost(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    leave(layout, "ses-1", *COMPUTED)
    assert not record_lost_jobs(layout, tmp_path, PEOPLE, [], set())
    assert not layout.record("sub-01", "ses-2", "standardise").is_file()


def test_forgotten_visit_has_no_record_and_a_swept_one_no_torn_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    leave(layout, "ses-1", *COMPUTED)
    torn = layout.product("sub-01", "ses-1", "FLAIR.nii.gz").with_name(".x.nii.gz.77.tmp")
    torn.parent.mkdir(parents=True)
    torn.touch()
    whole = torn.with_name("x.nii.gz")
    whole.touch()
    remove_temporary_files(layout, VISITS[0])
    remove_records(layout, VISITS[0])
    assert not torn.exists()
    assert whole.exists()
    assert visit_state(layout, "sub-01", "ses-1").steps == ()


def test_visit_whose_product_was_removed_is_incomplete(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    measured = MeasureRecord(measured=MeasuredVisit(lesions=(), products=("a.nii.gz",)))
    write_json(layout.record("sub-01", "ses-1", "measure"), measured.to_json())
    assert lacks_product(layout, VISITS[0])
    (tmp_path / "a.nii.gz").touch()
    assert not lacks_product(layout, VISITS[0])
