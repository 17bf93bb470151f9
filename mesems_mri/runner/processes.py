"""Processes of this machine: identity over time, and those of a run."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

RUN_VARIABLE = "MESEMS_RUN"
"""Environment variable that all processes of a run inherit; its value names the run."""
_PROC = Path("/proc")


def boot_id() -> str:
    """Identify this start of the machine; empty where the system does not tell."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def pid_space() -> str:
    """Identify the space in which process numbers count: a container may have its own on the same host."""
    try:
        return os.readlink(_PROC / "self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""


def started_ticks(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine did; None when it is gone or cannot be seen.

    Parameters
    ----------
    pid : int
        Number of the process. Numbers are given again; number and start together are not.
    """
    try:
        # The name, in brackets, may hold blanks and brackets.
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = fields.rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(rest[18])


def is_alive(pid: int, ticks: int | None) -> bool:
    """Return whether a process is still the one that started at `ticks`."""
    if _PROC.is_dir() and ticks is not None:
        return started_ticks(pid) == ticks
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def of_run(run_id: str) -> list[int]:
    """List the processes of a run, this one excepted, that this user may see."""
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    found = []
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def kill_run(run_id: str, *, wait_s: float = 10) -> int:
    """Kill the processes left of a run on this machine; all writes are atomic, so that no file is damaged.

    Parameters
    ----------
    run_id : str
        Name of the run.
    wait_s : float
        Longest wait until they are gone.

    Returns
    -------
    int
        Their number.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + wait_s
    while (left := [pid for pid in of_run(run_id) if started_ticks(pid) is not None]) and (
        time.monotonic() < deadline
    ):
        for pid in left:  # again, since one may have started another in between
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        time.sleep(0.02)
    return len(killed)


def cancel_slurm(run_name: str) -> None:
    """Cancel the Slurm jobs of a run that can no longer do it itself."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["scancel", f"--name={run_name}"], check=False, capture_output=True, timeout=60)
