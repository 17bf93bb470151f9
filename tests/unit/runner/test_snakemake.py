"""Start, follow and stop a program that speaks like Snakemake."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from mesems_mri.errors import ExternalProgramError
from mesems_mri.runner.command import snakemake_environment
from mesems_mri.runner.events import WorkflowEvents
from mesems_mri.runner.processes import of_run
from mesems_mri.runner.request import RunRequest
from mesems_mri.runner.snakemake import (
    StoppedError,
    StopRequest,
    follow_snakemake,
    limit_scheduler_timers,
    plan,
    stoppable,
)


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def ignore(_: WorkflowEvents) -> None:
    pass


def test_output_is_followed_and_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    seen: list[int] = []
    command = program("print('1 of 2 steps (50%) done'); print('2 of 2 steps (100%) done')")
    for _ in range(2):
        ended = follow_snakemake(
            command, log, run_id="t1", stop=StopRequest(), watch=lambda e: seen.append(e.done)
        )
    assert ended.code == 0
    assert seen == [1, 2, 1, 2]
    assert log.read_text(encoding="utf-8").count("2 of 2") == 2


def test_one_that_cannot_start_a_job_is_an_error_with_its_first_telling_line(tmp_path: Path) -> None:
    command = program("print('hm'); print('WorkflowError:'); print('    nothing fits'); raise SystemExit(1)")
    with pytest.raises(ExternalProgramError, match="WorkflowError: nothing fits") as caught:
        follow_snakemake(command, tmp_path / "log", run_id="t2", stop=StopRequest(), watch=ignore)
    assert str(tmp_path / "log") in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "options", "hidden"),
    [("default", (), True), ("slurm", (), False), ("default", ("--executor", "slurm"), False)],
)
def test_slurm_is_hidden_where_no_job_goes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, options: tuple[str, ...], hidden: bool
) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    request = RunRequest(
        bids_dir=tmp_path, out_dir=tmp_path / "out", profile=profile, snakemake_options=options
    )
    environment = snakemake_environment(request)
    say = program("import os; print(os.environ['SLURM_CONF'])")
    expected = os.devnull if hidden else "/etc/slurm/slurm.conf"
    assert plan(say, environment)[1].strip() == expected
    log = tmp_path / "log"
    follow_snakemake(say, log, run_id="t5", stop=StopRequest(), watch=ignore, environment=environment)
    assert log.read_text(encoding="utf-8").strip() == expected


def test_failed_job_is_no_error_of_snakemake(tmp_path: Path) -> None:
    command = program("print('Error in rule x:'); print('    jobid: 3'); raise SystemExit(1)")
    ended = follow_snakemake(command, tmp_path / "log", run_id="t3", stop=StopRequest(), watch=ignore)
    assert ended.code == 1
    assert list(ended.events.failed) == [3]


def test_log_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").touch()
    ended = follow_snakemake(
        program("print('x')"), tmp_path / "logs" / "log", run_id="t4", stop=StopRequest(), watch=ignore
    )
    assert ended.code == 0
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("obeys", [True, False])
def test_stopped_run_leaves_no_process(
    tmp_path: Path, number: signal.Signals, obeys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesems_mri.runner.snakemake._STOP_S", 0.3)
    run_id = f"stop-{number}-{obeys}"
    deaf = "" if obeys else "signal.signal(signal.SIGINT, signal.SIG_IGN);"
    # A grandchild in a session of its own is what a library may start.
    command = program(
        f"import signal, subprocess, sys, time; {deaf}"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
        "print('started', flush=True); time.sleep(600)"
    )

    def send(_: WorkflowEvents) -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()

    started_s = time.monotonic()
    with pytest.raises(StoppedError) as caught, stoppable() as stop:
        follow_snakemake(command, tmp_path / "log", run_id=run_id, stop=stop, watch=send)
    assert caught.value.number == number
    assert of_run(run_id) == []
    assert time.monotonic() - started_s < 30


def test_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_plan_that_cannot_be_made_is_an_error() -> None:
    with pytest.raises(ExternalProgramError, match="MissingInput"):
        plan(program("import sys; sys.exit('MissingInputException in rule x')"))
    events, text = plan(program("print('Job stats:'); print('detect  2'); print('total  2')"))
    assert events.planned == {"detect": 2}
    assert "Job stats" in text


def test_scheduler_arms_one_timer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scheduler:
        """What a timer needs of Snakemake's scheduler."""

        _open_jobs = threading.Semaphore(0)

    method = "_schedule_reevalutation"  # spelt so by Snakemake
    monkeypatch.setattr(JobScheduler, method, getattr(JobScheduler, method))  # restored afterwards
    limit_scheduler_timers()
    arm = getattr(JobScheduler, method)
    scheduler = Scheduler()
    for _ in range(2):  # once it has fired, it can be armed again
        for _ in range(5):
            arm(scheduler, 0.05)
        assert scheduler._open_jobs.acquire(timeout=5)
        assert not scheduler._open_jobs.acquire(timeout=0.2)


def test_workflow_arms_one_timer(repository: Path) -> None:
    assert "\nlimit_scheduler_timers()\n" in (repository / "workflow" / "rules" / "common.smk").read_text()
