"""Do some work in a child process that is killed on the way."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable

KILLS = 20
_EVENTS = ("fcntl", "glob", "open", "os", "shutil", "socket", "tempfile")


def in_child(work: Callable[[], object], kill_at: int = -1) -> tuple[int, int]:
    """Do some work in a child that kills itself at its nth event; return the signal and how many there were.

    Events are what Python audits: every file opened, renamed, removed, every folder made, every connection.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, _: object) -> None:
            nonlocal count
            if event.partition(".")[0] in _EVENTS:
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = 0
        try:
            work()
        except BaseException:
            code = 1
        os.write(writer, count.to_bytes(4))
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        counted = int.from_bytes(stream.read())
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), counted


def random_points(prepare: Callable[[], Callable[[], object]]) -> list[int]:
    """Return the numbers of events at which to kill; `prepare` returns work to be done from the start."""
    prepare()()  # here, so that no child has to load what is loaded at the first time only
    ended, events = in_child(prepare())
    assert ended == 0
    assert events > KILLS
    return sorted(random.Random(20).sample(range(1, events + 1), KILLS))


def kill_after(work: Callable[[], object], seconds: float) -> bool:
    """Do some work in a child and kill it after some time; return whether it was still at it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
