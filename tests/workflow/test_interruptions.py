"""A run that is refused, stopped, killed, or loses a job: nothing is torn, and the same command goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import hash_visits, mesems

HOLDING = Path(__file__).parents[1] / "holding"
pytestmark = pytest.mark.timeout(1500)


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


class Disturbed:
    """A run that can be held in any step of any visit, so that what happens to it happens there.

    Parameters
    ----------
    bids_dir, out_dir : Path
    hold : Path
        Where the two talk; see ``tests/holding``.
    """

    def __init__(self, bids_dir: Path, out_dir: Path, hold: Path) -> None:
        self.bids_dir, self.out_dir, self.hold = bids_dir, out_dir, hold
        hold.mkdir()

    def start(self, rule: str, session: str) -> tuple[subprocess.Popen[str], int]:
        """Start it; return it and the process that computes the step, which waits."""
        (self.hold / "held").unlink(missing_ok=True)
        (self.hold / "step").write_text(f"{rule} {session}", encoding="utf-8")
        command = [sys.executable, "-m", "mesems_mri", "run", str(self.bids_dir), str(self.out_dir)]
        run = subprocess.Popen(
            [*command, "--cores", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(HOLDING), "MESEMS_HOLD": str(self.hold)},
        )
        while not (self.hold / "held").exists():
            assert run.poll() is None, f"it ended before {rule} of {session}: {run.communicate()[0]}"
            time.sleep(0.02)
        return run, int((self.hold / "held").read_text(encoding="utf-8"))

    def go_on(self) -> None:
        """Let the step that waits go on."""
        (self.hold / "step").unlink(missing_ok=True)

    def processes(self, step: str, session: str) -> list[int]:
        """Find the processes of a step of a visit, parents before children."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                here = os.readlink(folder / "cwd") == str(self.out_dir)  # noqa: PTH115
                if here and step in words and f"--session={session}" in words:
                    found.append(int(folder.name))
        return sorted(found)


@pytest.fixture(scope="module")
def story(bids_dir: Path, undisturbed: dict[str, str]) -> Iterator[dict[str, object]]:
    """One output folder on which everything happens in turn; what was seen on the way."""
    disturbed = Disturbed(bids_dir, bids_dir.parent / "disturbed", bids_dir.parent / "hold")
    try:
        yield disturb(disturbed)
    finally:
        disturbed.go_on()  # whatever has happened, nothing waits for ever


def disturb(disturbed: Disturbed) -> dict[str, object]:
    """Refuse, stop and kill it, kill one of its steps, and let it go on to its end."""
    bids_dir, out_dir = disturbed.bids_dir, disturbed.out_dir
    lock = out_dir / ".mesems" / "run.lock"
    seen: dict[str, object] = {"out_dir": out_dir}

    first, _ = disturbed.start("standardise", "ses-1")
    seen["refused"] = mesems("run", bids_dir, out_dir, code=2).stderr
    seen["holder"] = first.pid
    first.send_signal(signal.SIGINT)
    seen["stopped"] = first.communicate()[0]
    seen["stopped_code"] = first.returncode
    seen["left_after_stop"] = disturbed.processes("standardise", "ses-1")
    seen["lock_after_stop"] = lock.exists()

    second, waiting = disturbed.start("register", "ses-1")
    second.kill()
    second.communicate()
    seen["lock_after_kill"] = lock.exists()

    # This run has to end what the killed one has left, the step that waits above all.
    third, computing = disturbed.start("detect", "ses-1")
    seen["left_after_kill"] = waiting in disturbed.processes("register", "ses-1")
    # The parent of the two watches, the child computes: what the kernel kills when the memory is out.
    seen["at_work"] = disturbed.processes("detect", "ses-1")
    seen["computing"] = computing
    os.kill(computing, signal.SIGKILL)
    disturbed.go_on()
    seen["killed_step"] = third.communicate()[0]
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
    assert story["left_after_kill"] is False


def test_killed_step_is_explained_and_the_other_visit_goes_on(story: dict[str, object]) -> None:
    watching, computing = story["at_work"]  # type: ignore[misc]
    assert computing == story["computing"] != watching
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
