"""What has become of a visit, how a run ends, how far a study is, and which run made what."""

from pathlib import Path

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json, write_text
from mesems_mri.pipeline.visit import STEPS
from mesems_mri.runner.clean import clean_intermediate, without_intermediates
from mesems_mri.runner.events import Events, Job
from mesems_mri.runner.history import History
from mesems_mri.runner.lock import held
from mesems_mri.runner.progress import PlainProgress
from mesems_mri.runner.state import Outcome, visit_state
from mesems_mri.runner.status import COUNTED, read_status
from mesems_mri.runner.summary import Result, summarise

SESSIONS = [Session(participant_id="sub-01", session_id=f"ses-{i}") for i in (1, 2, 3, 4)]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An output folder with a visit done, one not evaluable, one failed, one waiting."""
    layout = Layout(tmp_path)
    write_json(layout.expected, {"visits": {"sub-01": [s.session_id for s in SESSIONS]}})
    for session, status, reason in (
        ("ses-1", "done", None),
        ("ses-2", "not_evaluable", "wrong_head"),
        ("ses-3", "failed", "step_failed"),
    ):
        for step in STEPS:
            message = "" if status == "done" else f"sub-01/{session}: it is so"
            record = {"status": status, "reason": reason, "message": message}
            write_json(layout.record("sub-01", session, step), record)
        row = {"gel_reason": reason, "read_status": "locked" if session == "ses-1" else "automatic"}
        write_json(layout.metrics("sub-01", session), {"visit_metrics": row})
        write_text(layout.page("sub-01", session), "page")
    write_json(layout.record("sub-01", "ses-4", "standardise"), {"status": "done"})
    write_text(layout.log("sub-01", "ses-3"), "---- standardise\nearly\n---- register\nlate\n")
    return layout


def test_each_visit_has_one_outcome(layout: Layout) -> None:
    states = [visit_state(layout, "sub-01", s.session_id) for s in SESSIONS]
    assert [s.outcome for s in states] == ["done", "not_evaluable", "failed", "waiting"]
    assert (states[1].reason, states[2].step) == ("wrong_head", "standardise")
    layout.page("sub-01", "ses-1").unlink()
    assert visit_state(layout, "sub-01", "ses-1").outcome is Outcome.WAITING


def test_summary_names_what_failed_with_the_end_of_its_log(layout: Layout) -> None:
    said: list[str] = []
    assert summarise(layout, SESSIONS, Result(code=1), said.append) == 5
    text = "\n".join(said)
    assert "2 visits done, 1 of them not evaluable; 1 failed" in text
    assert "not evaluable: sub-01/ses-2: wrong_head" in text
    assert "    | early" in text
    assert "late" not in text
    assert str(layout.log("sub-01", "ses-3")) in text
    assert "not reached: sub-01/ses-4" in text


def test_summary_without_failure_is_success(layout: Layout) -> None:
    assert summarise(layout, SESSIONS[:2], Result(), lambda _: None) == 0


def test_lost_table_and_full_disk_are_failures(layout: Layout) -> None:
    said: list[str] = []
    result = Result(code=1, lost=[Job("compile_metrics")], disk_full=True)
    assert summarise(layout, SESSIONS[:1], result, said.append) == 5
    assert any("failed: compile_metrics" in line for line in said)
    assert any("is full: free space" in line for line in said)


def test_status_counts_every_visit_once(layout: Layout) -> None:
    status = read_status(layout)
    assert status.total == dict(zip(COUNTED, (4, 1, 1, 1, 1, 0, 1, 1, 0), strict=True))
    assert "no run is on" in status.running()
    with held(layout) as lock:
        running = read_status(layout)
        assert running.running() == f"running: {lock.holder}"
        assert running.to_json()["running"]["user"] == lock.holder.user


def test_status_of_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read_status(Layout(tmp_path / "other"))


def test_clean_keeps_what_a_later_visit_needs(layout: Layout) -> None:
    files = {}
    for session in ("ses-1", "ses-2", "ses-4"):
        names = [f".mesems/sub-01/{session}/{c}_desc-standardised.nii" for c in ("FLAIR", "T1w")]
        record = layout.record("sub-01", session, "standardise")
        write_json(record, {**read_json(record), "images": {n: {"file": n} for n in names}})
        for name in names:
            write_text(layout.out_dir / name, "x" * 10)
        files[session] = [layout.out_dir / name for name in names]
    record = layout.record("sub-01", "ses-1", "register")
    anchor = {"file": files["ses-1"][0].relative_to(layout.out_dir).as_posix()}
    write_json(record, {**read_json(record), "carried": {"anchor": anchor}})
    cleaned = clean_intermediate(layout)
    assert (cleaned.files, cleaned.size) == (3, 30)
    assert [path.is_file() for path in files["ses-1"]] == [True, False]
    assert not any(path.is_file() for path in files["ses-2"])
    assert all(path.is_file() for path in files["ses-4"])  # not finished
    assert without_intermediates(layout) == {("sub-01", "ses-1"), ("sub-01", "ses-2")}
    assert not layout.run_lock.exists()


def test_clean_is_refused_during_a_run(layout: Layout) -> None:
    with held(layout), pytest.raises(UsageError, match="another run is on"):
        clean_intermediate(layout)


def test_history_tells_which_run_made_a_visit(layout: Layout) -> None:
    config = TrialConfig()
    first = History(layout)
    first.begin(layout.out_dir, config, SESSIONS)
    for session in SESSIONS[:2]:  # made again, and then the run is killed
        write_json(layout.metrics("sub-01", session.session_id), {})
    layout.metrics("sub-01", "ses-3").unlink()
    second = History(layout)
    second.begin(layout.out_dir, config, SESSIONS)
    second.end(0, SESSIONS)
    runs = read_json(layout.provenance)["runs"]
    assert [run["exit_code"] for run in runs] == [None, 0]
    assert runs[0]["visits"] == ["sub-01/ses-1", "sub-01/ses-2"]
    assert runs[1]["ended"]


def test_log_gets_one_line_a_visit(layout: Layout) -> None:
    said: list[str] = []
    progress = PlainProgress(layout, said.append, last_step="report")
    events = Events(planned={"report": 2}, total=9)
    for number, (rule, session) in enumerate([("detect", "ses-1"), ("report", "ses-1"), ("report", "ses-2")]):
        events.started[number] = events.finished[number] = Job(rule, "sub-01", session)
        progress.watch(events)
    assert said[0] == "2 visits to run, 9 jobs"
    assert [line.split("] ")[1] for line in said[1:]] == [
        "sub-01/ses-1: done; 1 of 2 visits",
        "sub-01/ses-2: not evaluable (wrong_head); 2 of 2 visits",
    ]
