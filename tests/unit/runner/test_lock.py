"""One run at a time, and a lock that nobody holds any more is no hindrance."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.runner import lock as lock_module
from mesems_mri.runner.lock import LockHolder, held, read_holder
from mesems_mri.runner.processes import RUN_VARIABLE


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "out")


def holder_of(layout: Layout) -> LockHolder:
    with held(layout) as lock:
        return lock.holder


def leave(layout: Layout, holder: LockHolder) -> None:
    layout.run_lock.write_text(json.dumps(asdict(holder)), encoding="utf-8")


def test_lock_is_there_during_a_run_only(layout: Layout) -> None:
    with held(layout):
        found = read_holder(layout.run_lock)
        assert found is not None
        assert found.pid == os.getpid()
    assert not layout.run_lock.exists()


def test_second_run_is_refused_naming_user_host_process_time_and_command(layout: Layout) -> None:
    with held(layout) as lock, pytest.raises(UsageError) as caught, held(layout):
        pass
    for word in (
        lock.holder.user,
        lock.holder.host,
        str(os.getpid()),
        lock.holder.since,
        lock.holder.command,
    ):
        assert word in str(caught.value)
    assert "remove" not in str(caught.value)


def test_lock_of_a_process_that_is_gone_is_taken_over(layout: Layout) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave(layout, replace(holder_of(layout), pid=gone.pid, run_id="other"))
    with held(layout) as lock:
        assert read_holder(layout.run_lock) == lock.holder
    assert list(layout.run_lock.parent.iterdir()) == []


def test_process_number_that_was_given_again_is_no_holder(layout: Layout) -> None:
    leave(layout, replace(holder_of(layout), ticks=1, run_id="other"))
    with held(layout):
        pass


def test_lock_from_before_a_restart_of_the_machine_is_taken_over(layout: Layout) -> None:
    leave(layout, replace(holder_of(layout), boot="another start", space="another", run_id="other"))
    with held(layout):
        pass


@pytest.mark.parametrize("elsewhere", [{"host": "node17"}, {"space": "pid:[1]"}])
def test_holder_that_cannot_be_seen_is_believed(layout: Layout, elsewhere: dict[str, str]) -> None:
    leave(layout, replace(holder_of(layout), pid=2**22 + 1, run_id="other", **elsewhere))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"remove .*run\.lock if it is surely over"), held(layout):
        pass


def test_orphans_of_a_killed_run_are_ended_before_the_next_begins(layout: Layout) -> None:
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env=os.environ | {RUN_VARIABLE: "killed"},
    )
    leave(layout, replace(holder_of(layout), ticks=1, run_id="killed"))
    with held(layout):
        assert orphan.wait(timeout=10) == -9


def test_lock_that_says_nothing_for_long_is_taken_over(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.run_lock.parent.mkdir(parents=True)
    layout.run_lock.touch()
    monkeypatch.setattr(lock_module, "_UNREADABLE_S", 0.1)
    started_s = time.monotonic()
    with held(layout):
        assert time.monotonic() - started_s > 0.05


def test_lock_that_another_run_has_taken_is_not_removed(layout: Layout) -> None:
    with held(layout) as lock:
        leave(layout, replace(lock.holder, run_id="another"))
    assert layout.run_lock.exists()


def test_slurm_name_is_noted(layout: Layout) -> None:
    with held(layout) as lock:
        lock.note_slurm("run-7")
        found = read_holder(layout.run_lock)
        assert found is not None
        assert found.slurm_run == "run-7"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_folder_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"cannot be written \(.+\); give") as caught,
        held(Layout(tmp_path / place)),
    ):
        pass
    assert str(tmp_path / place) in str(caught.value)
