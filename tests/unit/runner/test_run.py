"""A run from request to exit code, with a Snakemake that does as it is told."""

import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.standardise import StandardiseRecord
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json, write_text
from mesems_mri.pipeline.visit import COMPUTED
from mesems_mri.runner import run as run_module
from mesems_mri.runner.events import Job, WorkflowEvents
from mesems_mri.runner.run import run
from mesems_mri.runner.snakemake import SnakemakeExit, StoppedError
from tests.unit.pipeline.records import standardised_image
from tests.unit.runner.conftest import Trial, leave_visit
from tests.unit.runner.test_command import after, config_of

VISITS = (("sub-01", "ses-1"), ("sub-01", "ses-2"), ("sub-02", "ses-1"))


@dataclass
class FakeSnakemake:
    """Stands for Snakemake: every start takes the next ending, every plan is `planned`."""

    endings: list[SnakemakeExit] = field(default_factory=list)
    planned: WorkflowEvents = field(default_factory=WorkflowEvents)
    commands: list[list[str]] = field(default_factory=list)
    plans: list[list[str]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def follow(
        self, command: Sequence[str], _log: Path, *, watch: Callable[[WorkflowEvents], None], **_: object
    ) -> SnakemakeExit:
        self.commands.append(list(command))
        self.during()
        ended = self.endings.pop(0) if self.endings else SnakemakeExit(0, WorkflowEvents())
        watch(ended.events)
        return ended

    def plan(self, command: Sequence[str], _: Mapping[str, str] | None = None) -> tuple[WorkflowEvents, str]:
        self.plans.append(list(command))
        return self.planned, "the plan"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSnakemake:
    """Put a fake in the place of Snakemake."""
    fake = FakeSnakemake()
    monkeypatch.setattr(run_module, "follow_snakemake", fake.follow)
    monkeypatch.setattr(run_module, "plan", fake.plan)
    return fake


def lost(*jobs: Job) -> SnakemakeExit:
    return SnakemakeExit(1, WorkflowEvents(started=dict(enumerate(jobs))))


def finish(layout: Layout, participant: str, session: str) -> None:
    """Write what a visit has left that was computed to its end."""
    for step in COMPUTED:
        write_json(
            layout.record(participant, session, step), {"status": "done", "reason": None, "message": ""}
        )
    write_json(layout.metrics(participant, session), {"visit_metrics": {"read_status": "automatic"}})
    write_text(layout.page(participant, session), "page")


def said_by(trial: Trial, **options: object) -> tuple[int, str]:
    said: list[str] = []
    code = run(trial.request(**options), said.append)
    return code, "\n".join(said)


def test_output_in_the_place_of_an_input_is_refused(trial: Trial, fake: FakeSnakemake) -> None:
    with pytest.raises(UsageError, match="the output folder is the input folder"):
        run(trial.request(out_dir=trial.bids_dir), print)
    with pytest.raises(UsageError, match="the folder of lesion masks is the output folder"):
        run(trial.request(lesion_masks=trial.out_dir), print)
    assert not trial.out_dir.exists()


@pytest.mark.parametrize("option", ["until", "force"])
def test_unknown_step_is_refused(trial: Trial, fake: FakeSnakemake, option: str) -> None:
    with pytest.raises(UsageError, match=f"--{option} lesions: no such step"):
        run(trial.request(**{option: "lesions"}), print)


def test_broken_configuration_is_refused_before_anything_is_written(
    trial: Trial, fake: FakeSnakemake, tmp_path: Path
) -> None:
    write_text(tmp_path / "trial.yaml", "no_such_key: 1\n")
    with pytest.raises(UsageError, match="no_such_key"):
        run(trial.request(config_file=tmp_path / "trial.yaml"), print)
    assert not trial.out_dir.exists()


def test_run_leaves_expected_visits_and_history_and_no_lock(trial: Trial, fake: FakeSnakemake) -> None:
    def finish_all() -> None:
        for visit in VISITS:
            finish(trial.layout, *visit)

    job = Job("report", "sub-01", "ses-1")
    fake.during = finish_all
    fake.endings = [SnakemakeExit(0, WorkflowEvents(started={1: job}, finished={1: job}))]
    code, text = said_by(trial)
    assert code == 0
    assert "3 visits done, 0 of them not evaluable; 0 failed" in text
    expected = read_json(trial.layout.expected)["visits"]
    assert expected == {"sub-01": ["ses-1", "ses-2"], "sub-02": ["ses-1"]}
    (made,) = read_json(trial.layout.provenance)["runs"]
    assert made["exit_code"] == 0
    assert made["visits"] == ["sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1"]
    assert not trial.layout.run_lock.exists()


def test_nothing_to_do_is_said(trial: Trial, fake: FakeSnakemake) -> None:
    for visit in VISITS:
        finish(trial.layout, *visit)
    assert "nothing to do" in said_by(trial)[1]


def test_failed_visit_is_run_again_from_its_start(trial: Trial, fake: FakeSnakemake) -> None:
    finish(trial.layout, "sub-01", "ses-1")
    leave_visit(trial.layout, "ses-2", "failed", "step_failed")
    torn = trial.layout.work("sub-02", "ses-1") / ".x.nii.7.tmp"
    write_text(torn, "")
    seen = {}

    def look() -> None:
        seen["done"] = trial.layout.record("sub-01", "ses-1", "detect").is_file()
        seen["failed"] = trial.layout.record("sub-01", "ses-2", "detect").is_file()
        seen["torn"] = torn.exists()

    fake.during = look
    run(trial.request(), lambda _: None)
    assert seen == {"done": True, "failed": False, "torn": False}


def test_only_failed_runs_those_and_nothing_else(trial: Trial, fake: FakeSnakemake) -> None:
    for visit in VISITS:
        finish(trial.layout, *visit)
    assert said_by(trial, only_failed=True) == (0, "no visit has failed; nothing to run")
    assert fake.commands == []
    leave_visit(trial.layout, "ses-2", "failed", "step_failed")
    run(trial.request(only_failed=True), lambda _: None)
    assert config_of(fake.commands[0])["visits"] == ["sub-01/ses-2"]


def test_force_holds_for_the_visits_that_labels_name(trial: Trial, fake: FakeSnakemake) -> None:
    for visit in VISITS:
        finish(trial.layout, *visit)
    run(trial.request(force="detect", session_labels=("2",)), lambda _: None)
    assert after(fake.commands[0], "--forcerun") == [".mesems/sub-01/ses-2/detect.json"]
    run(trial.request(force="detect"), lambda _: None)
    assert after(fake.commands[1], "--forcerun") == ["detect"]


def test_run_goes_on_without_lost_visits_until_no_new_one_is_lost(trial: Trial, fake: FakeSnakemake) -> None:
    job = Job("standardise", "sub-01", "ses-1", mem_mb=4000)
    fake.endings = [lost(job), lost(job)]
    code, text = said_by(trial)
    assert code == 5
    assert len(fake.commands) == 2
    assert text.count("some jobs ended without a record; going on with the other visits") == 1
    assert read_json(trial.layout.record("sub-01", "ses-1", "standardise"))["status"] == "failed"
    assert "not reached: sub-02/ses-1" in text


def test_full_disk_of_snakemake_ends_the_run_with_a_hint(trial: Trial, fake: FakeSnakemake) -> None:
    fake.endings = [SnakemakeExit(1, WorkflowEvents(disk_full=True))]
    code, text = said_by(trial)
    assert code == 5
    assert "is full: free space, then run the same command again" in text


def test_full_disk_before_snakemake_is_an_error_of_one_sentence(trial: Trial, fake: FakeSnakemake) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fake.during = fill
    with pytest.raises(UsageError, match="is full: free space"):
        run(trial.request(), lambda _: None)
    assert not trial.layout.run_lock.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_run_ends_with_the_code_of_its_signal(
    trial: Trial, fake: FakeSnakemake, number: signal.Signals, code: int
) -> None:
    def stop() -> None:
        raise StoppedError(number)

    fake.during = stop
    ended, text = said_by(trial)
    assert ended == code
    assert text.startswith(f"stopped by {number.name}")
    assert read_json(trial.layout.provenance)["runs"][-1]["exit_code"] is None


def test_cleaned_images_are_made_again_where_the_plan_needs_them(trial: Trial, fake: FakeSnakemake) -> None:
    for visit in VISITS:
        finish(trial.layout, *visit)
        record = trial.layout.record(*visit, "standardise")
        removed = StandardiseRecord(images={"FLAIR": standardised_image(file="removed.nii")})
        write_json(record, removed.to_json() | read_json(record))
    write_json(trial.layout.cleaned, {"visits": ["sub-01/ses-1", "sub-01/ses-2"]})
    fake.planned = WorkflowEvents(
        started={1: Job("register", "sub-01", "ses-2"), 2: Job("register", "sub-02", "ses-1")}
    )
    run(trial.request(), lambda _: None)
    there = [trial.layout.record(*visit, "standardise").is_file() for visit in VISITS]
    assert there == [True, False, True]
    assert fake.plans[0][-1] == "--dry-run"


def test_folder_that_was_never_cleaned_costs_no_plan(trial: Trial, fake: FakeSnakemake) -> None:
    run(trial.request(), lambda _: None)
    assert fake.plans == []


def test_plan_of_a_new_folder_creates_nothing(trial: Trial, fake: FakeSnakemake) -> None:
    fake.planned = WorkflowEvents(
        started={1: Job("register", "sub-01", "ses-2", reason="new"), 2: Job("report_study")},
        planned={"register": 1, "report_study": 1},
    )
    code, text = said_by(trial, dry_run=True)
    assert code == 0
    assert text.splitlines() == [
        "sub-01/ses-2: register (new)",
        f"{'register':20} 1",
        f"{'report_study':20} 1",
    ]
    assert fake.commands == []
    assert config_of(fake.plans[0])["out_dir"] != str(trial.out_dir)
    assert not trial.out_dir.exists()


def test_plan_of_a_known_folder_is_made_there(trial: Trial, fake: FakeSnakemake) -> None:
    write_json(trial.layout.expected, {"visits": {}})
    code, text = said_by(trial, dry_run=True)
    assert (code, text) == (0, "nothing to do: everything asked for is there and up to date")
    assert config_of(fake.plans[0])["out_dir"] == str(trial.out_dir)
    assert said_by(trial, dry_run=True, snakemake_options=("--summary",)) == (0, "the plan")


def test_pages_are_made_again_and_nothing_else(trial: Trial, fake: FakeSnakemake) -> None:
    finish(trial.layout, "sub-01", "ses-1")
    leave_visit(trial.layout, "ses-2", "failed", "step_failed")
    code, text = said_by(trial, reports_only=True)
    assert code == 0
    assert "pages of 2 visits made again; nothing else was computed" in text
    assert config_of(fake.commands[0])["reports_only"] is True
    assert trial.layout.record("sub-01", "ses-2", "detect").is_file()  # a failed visit is left as it is
    assert not trial.layout.provenance.exists()
    fake.endings = [SnakemakeExit(1, WorkflowEvents(failed={1: Job("report_study")}))]
    assert "some pages could not be made" in said_by(trial, reports_only=True)[1]


def test_inserted_visit_is_refused_or_computed_with_those_after_it(trial: Trial, fake: FakeSnakemake) -> None:
    finish(trial.layout, "sub-01", "ses-2")
    with pytest.raises(UsageError, match="add --allow-insert"):
        run(trial.request(), print)
    _, text = said_by(trial, allow_insert=True)
    assert "sub-01/ses-2: computed again" in text


def test_outcome_of_the_transfer_is_of_this_run(trial: Trial, fake: FakeSnakemake, tmp_path: Path) -> None:
    write_text(tmp_path / "trial.yaml", "transfer: {destination: /inbox, key_file: /key}\n")
    write_json(trial.layout.transfer_outcome, {"outcome": "of an earlier run"})
    fake.during = lambda: write_json(trial.layout.transfer_outcome, {"outcome": "1 bundle sent"})
    _, text = said_by(trial, transfer=True, config_file=tmp_path / "trial.yaml")
    assert "transfer: 1 bundle sent" in text
    fake.during = lambda: None
    _, text = said_by(trial, transfer=True, config_file=tmp_path / "trial.yaml")
    assert "transfer:" not in text
