"""Run lock: one run at a time on an output folder; a file names the lock holder.

The file is created with O_EXCL, which network file systems honour where they do not honour flock. A stale
lock of this machine is recognised by number and start of its process; one of another machine cannot be.
"""

import contextlib
import datetime as dt
import getpass
import json
import os
import shlex
import sys
import time
import uuid
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import write_text
from mesems_mri.pipeline.visit import FULL_DISK
from mesems_mri.provenance import host_name
from mesems_mri.runner.processes import (
    boot_id,
    cancel_slurm,
    is_alive,
    kill_run,
    pid_space,
    started_ticks,
)

_UNREADABLE_S = 60
"""A lock that stays unreadable for so long was left by a machine that went down while writing it."""


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """The process that holds the lock of an output folder.

    Parameters
    ----------
    user, host : str
        User name and host name.
    pid : int
        Number of the process.
    ticks : int or None
        When it started, in ticks since the machine did.
    boot, space : str
        Which start of the machine, and in which space process numbers count.
    since : str
        Local time, ISO 8601.
    command : str
        What was asked for.
    run_id : str
        Name that all its processes bear.
    slurm_run : str
        Name that all its Slurm jobs bear; empty when there are none.
    """

    user: str
    host: str
    pid: int
    ticks: int | None
    boot: str
    space: str
    since: str
    command: str
    run_id: str
    slurm_run: str = ""

    def is_visible(self) -> bool:
        """Return whether this process can see if the holder is alive."""
        return self.host == host_name() and self.space == pid_space()

    def is_stale(self) -> bool:
        """Return whether the lock is stale: its holder ran on this machine and does no more."""
        if self.host != host_name():
            return False
        if self.boot and boot_id() and self.boot != boot_id():
            return True
        return self.space == pid_space() and not is_alive(self.pid, self.ticks)

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}) since {self.since}: {self.command}"


class RunLock:
    """The lock that this process holds.

    Parameters
    ----------
    path : Path
        The file.
    holder : LockHolder
        This process.
    """

    def __init__(self, path: Path, holder: LockHolder) -> None:
        self.path = path
        self.holder = holder

    def note_slurm(self, name: str) -> None:
        """Note the name of the Slurm jobs, so that the next holder can cancel them."""
        if name and name != self.holder.slurm_run:
            self.holder = replace(self.holder, slurm_run=name)
            with contextlib.suppress(OSError):
                write_text(self.path, _text(self.holder))

    def release(self) -> None:
        """Remove the file, if it is still this process's."""
        with contextlib.suppress(OSError):
            found = read_holder(self.path)
            if found and found.run_id == self.holder.run_id:
                self.path.unlink()


def read_holder(path: Path) -> LockHolder | None:
    """Read the lock holder of an output folder; None without one, or when it cannot be read."""
    try:
        return LockHolder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def held(layout: Layout) -> Generator[RunLock]:
    """Hold the lock of an output folder; processes left of a killed run on this machine are ended first.

    Parameters
    ----------
    layout : Layout
        Names in the output folder, which is created when it is not there.

    Raises
    ------
    UsageError
        If another run holds it, or it cannot be written.
    """
    lock = RunLock(layout.run_lock, _this_process())
    try:
        layout.run_lock.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise
        what = error.strerror or str(error)
        msg = f"{layout.out_dir}: cannot be written ({what}); give an output folder that you may write to"
        raise UsageError(msg) from error
    try:
        yield lock
    finally:
        lock.release()


def _acquire(lock: RunLock) -> None:
    deadline = time.monotonic() + 30
    while not _create(lock.path, _text(lock.holder)):
        other = read_holder(lock.path)
        if other is None:  # gone, or being written
            if not _is_old(lock.path) and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            if not _is_old(lock.path) and lock.path.exists():
                msg = f"{lock.path}: cannot be read; if no run is on, remove this file"
                raise UsageError(msg)
        elif not other.is_stale():
            msg = f"{lock.path.parent.parent}: another run is on, by {other}; wait until it has ended" + (
                "" if other.is_visible() else f", or remove {lock.path} if it is surely over"
            )
            raise UsageError(msg)
        if _replace_stale(lock, other):
            return


def _replace_stale(lock: RunLock, other: LockHolder | None) -> bool:
    """Take over a stale lock; only one process at a time may try."""
    guard = lock.path.with_name(f"{lock.path.name}.takeover")
    if not _create(guard, _text(lock.holder)):
        if _is_old(guard):
            guard.unlink(missing_ok=True)
        time.sleep(0.05)
        return False
    try:
        if read_holder(lock.path) != other:  # somebody was faster
            return False
        if other:
            kill_run(other.run_id)
            if other.slurm_run:
                cancel_slurm(other.slurm_run)
        write_text(lock.path, _text(lock.holder))
    finally:
        guard.unlink(missing_ok=True)
    return True


def _create(path: Path, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:  # a full disk must not leave a lock that says nothing
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return True


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _UNREADABLE_S
    except OSError:
        return False


def _text(holder: LockHolder) -> str:
    return json.dumps(asdict(holder), indent=1, ensure_ascii=False) + "\n"


def _this_process() -> LockHolder:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        user = str(os.getuid())
    return LockHolder(
        user=user,
        host=host_name(),
        pid=os.getpid(),
        ticks=started_ticks(os.getpid()),
        boot=boot_id(),
        space=pid_space(),
        since=dt.datetime.now().astimezone().isoformat(timespec="seconds"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        run_id=uuid.uuid4().hex,
    )
