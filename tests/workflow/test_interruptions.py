"""A run that is refused, stopped, killed, or loses a job: nothing is torn, and the same command goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import hash_visits, mesems

pytestmark = [pytest.mark.xdist_group("interruptions"), pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def bids_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two visits that no step can read, so that each step is over as soon as it has started."""
    folder = tmp_path_factory.mktemp("interruptions") / "bids"
    for session in ("ses-1", "ses-2"):
        path = folder / "sub-01" / session / "anat" / f"sub-01_{session}_FLAIR.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no image")
    return folder


def products(out_dir: Path) -> dict[str, str]:
    tables = [*out_dir.glob("*.tsv"), *out_dir.glob("sub-*/*.tsv")]
    return hash_visits(out_dir) | {str(p.relative_to(out_dir)): p.read_text(encoding="utf-8") for p in tables}


@pytest.fixture(scope="module")
def undisturbed(bids_dir: Path) -> dict[str, str]:
    out_dir = bids_dir.parent / "undisturbed"
    mesems("run", bids_dir, out_dir, "--cores", 1)
    return products(out_dir)


def start(bids_dir: Path, out_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mesems_mri", "run", str(bids_dir), str(out_dir), "--cores", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes(step: str, session: str, out_dir: Path) -> list[int]:
    """Find the processes of a step of a visit, parents before children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            here = os.readlink(folder / "cwd") == str(out_dir)  # noqa: PTH115
            if here and step in words and f"--session={session}" in words:
                found.append(int(folder.name))
    return sorted(found)


def wait_for(condition: Callable[[], object], *, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def story(bids_dir: Path, undisturbed: dict[str, str]) -> dict[str, object]:
    """One output folder on which everything happens in turn; what was seen on the way."""
    out_dir = bids_dir.parent / "disturbed"
    seen: dict[str, object] = {"out_dir": out_dir}

    first = start(bids_dir, out_dir)
    wait_for(lambda: processes("standardise", "ses-1", out_dir))
    seen["refused"] = mesems("run", bids_dir, out_dir, code=2).stderr
    seen["holder"] = first.pid
    first.send_signal(signal.SIGINT)
    seen["stopped"] = first.communicate(timeout=180)[0]
    seen["stopped_code"] = first.returncode
    seen["left_after_stop"] = processes("standardise", "ses-1", out_dir)
    seen["lock_after_stop"] = (out_dir / ".mesems" / "run.lock").exists()

    second = start(bids_dir, out_dir)
    wait_for(lambda: processes("register", "ses-1", out_dir))
    second.kill()
    second.communicate(timeout=180)
    seen["lock_after_kill"] = (out_dir / ".mesems" / "run.lock").exists()

    third = start(bids_dir, out_dir)
    # The parent of the two watches, the child computes: what the kernel kills when the memory is out.
    wait_for(lambda: len(processes("detect", "ses-1", out_dir)) == 2)
    os.kill(processes("detect", "ses-1", out_dir)[-1], signal.SIGKILL)
    seen["killed_step"] = third.communicate(timeout=300)[0]
    seen["killed_step_code"] = third.returncode
    seen["table_after_kill"] = (out_dir / "visit_metrics.tsv").read_text(encoding="utf-8")
    seen["resumed"] = mesems("run", bids_dir, out_dir, "--cores", 1).stdout
    return seen


def test_second_run_is_refused_and_names_the_holder(story: dict[str, object]) -> None:
    sentence = str(story["refused"])
    assert f"process {story['holder']}" in sentence
    assert "another run is on, by " in sentence
    assert " since 2" in sentence
    assert sentence.count("\n") == 1


def test_stopped_run_says_how_to_go_on(story: dict[str, object]) -> None:
    assert story["stopped_code"] == 130
    assert "SIGINT" in str(story["stopped"])
    assert "same command" in str(story["stopped"])
    assert story["left_after_stop"] == []
    assert story["lock_after_stop"] is False


def test_lock_of_a_killed_run_is_taken_over(story: dict[str, object]) -> None:
    assert story["lock_after_kill"] is True


def test_killed_step_is_explained_and_the_other_visit_goes_on(story: dict[str, object]) -> None:
    said = str(story["killed_step"])
    assert story["killed_step_code"] == 5, said
    assert "sub-01/ses-1: detect was killed (exit 137), probably out of memory" in said
    assert "the rule asks for 4000 MB" in said
    assert "--set-resources detect:mem_mb=8000" in said
    assert "2 visits done, 1 of them" not in said
    assert "1 visits done, 1 of them not evaluable; 1 failed" in said
    rows = str(story["table_after_kill"]).splitlines()
    assert "step_failed" in rows[1]
    assert "unreadable_file" in rows[2]
    assert str(Path(str(story["out_dir"])) / "logs" / "sub-01" / "ses-1.log") in said


def test_log_of_a_visit_keeps_all_attempts(story: dict[str, object]) -> None:
    log = (Path(str(story["out_dir"])) / "logs" / "sub-01" / "ses-1.log").read_text(encoding="utf-8")
    assert log.count("---- detect") == 2
    assert log.index("---- standardise") < log.index("---- register")
    assert "exit 137" in log


def test_same_command_goes_on_to_the_same_bytes(
    story: dict[str, object], undisturbed: dict[str, str]
) -> None:
    out_dir = Path(str(story["out_dir"]))
    assert "2 visits done, 2 of them not evaluable; 0 failed" in str(story["resumed"])
    assert products(out_dir) == undisturbed
    assert [p for p in out_dir.rglob("*.tmp") if ".snakemake" not in p.parts] == []


def test_second_run_does_nothing(story: dict[str, object], bids_dir: Path) -> None:
    out_dir = Path(str(story["out_dir"]))
    before = {p: p.stat().st_mtime_ns for p in out_dir.glob("sub-*/**/*")}
    assert "nothing to do" in mesems("run", bids_dir, out_dir).stdout
    assert {p: p.stat().st_mtime_ns for p in out_dir.glob("sub-*/**/*")} == before
