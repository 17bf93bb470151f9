"""A step that is killed says so; one that ends by itself is left alone."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.files import write_text
from mesems_mri.runner.supervisor import ChildDeath, available_mb, describe_death

PROGRAM = """
import os, signal, sys
from mesems_mri.runner.supervisor import supervised
death = supervised()
if death is None:
    {work}
    sys.exit(3)
print("parent saw", death.signal.name, death.exit_code, death.peak_mib > 1)
"""


def run(work: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM.format(work=work)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(("name", "code"), [("SIGKILL", 137), ("SIGSEGV", 139)])
def test_death_of_the_child_is_seen_by_the_parent(name: str, code: int) -> None:
    finished = run(f"os.kill(os.getpid(), signal.{name})")
    assert finished.stdout == f"parent saw {name} {code} True\n"
    assert finished.returncode == 0


def test_exit_code_of_the_child_is_passed_on() -> None:
    finished = run("print('child')")
    assert (finished.stdout, finished.returncode) == ("child\n", 3)


def test_child_that_is_stopped_on_purpose_is_no_failure() -> None:
    finished = run("os.kill(os.getpid(), signal.SIGTERM)")
    assert (finished.stdout, finished.returncode) == ("", 143)


def test_explanation_names_memory_asked_used_and_needed_by_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for session, peak in (("ses-1", "812.5"), ("ses-2", "3100.2"), ("ses-3", "NA")):
        path = tmp_path / "logs" / "sub-01" / session / "detect.benchmark.tsv"
        write_text(path, f"s\tmax_rss\n1.0\t{peak}\n")
    death = ChildDeath(signal=signal.SIGKILL, peak_mib=3912.3)
    said = describe_death(death, "detect", layout, mem_mb=4000)
    for part in (
        "exit 137",
        "used 3912 MiB",
        "asks for 4000 MB",
        "up to 3100 MiB",
        "detect:mem_mb=8216",
    ):
        assert part in said


def test_crash_in_a_library_is_not_blamed_on_memory(tmp_path: Path) -> None:
    said = describe_death(ChildDeath(signal=signal.SIGSEGV, peak_mib=10), "measure", Layout(tmp_path))
    assert "exit 139, SIGSEGV" in said
    assert "memory" not in said


def test_machine_has_memory() -> None:
    assert available_mb() > 100
