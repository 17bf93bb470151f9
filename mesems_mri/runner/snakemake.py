"""Snakemake as a process: started, followed line by line, stopped."""

import codecs
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.errors import ExternalProgramError
from mesems_mri.runner.events import WorkflowEvents
from mesems_mri.runner.processes import RUN_VARIABLE, kill_run
from mesems_mri.runner.supervisor import die_with_parent

_STOP_S = 15
_STOP_SLURM_S = 90
"""Seconds that Snakemake may take to cancel its jobs."""
_LOOK_S = 0.5
"""Seconds between two looks at the request to stop."""


def limit_scheduler_timers() -> None:
    """Let Snakemake's scheduler arm one timer at a time; the workflow calls this in Snakemake's own process.

    Whenever Snakemake (9.27) looks for jobs that may start, it arms a timer to look again, because of its
    limit of jobs in a second. A finished job makes it look as well, so that every one of them leaves one more
    chain of timers that goes on for ever: after some hundred jobs it looks hundreds of times a second, and a
    trial of a thousand visits would keep a core busy with it. One timer does the same.
    """
    from snakemake.scheduling.job_scheduler import JobScheduler

    armed = threading.Event()

    def arm(scheduler: JobScheduler, delay: float) -> None:
        def look() -> None:
            armed.clear()  # first: the look that follows arms the next timer
            scheduler._open_jobs.release()

        if not armed.is_set():
            armed.set()
            timer = threading.Timer(delay, look)
            timer.daemon = True  # the end of a run need not wait for it
            timer.start()

    JobScheduler._schedule_reevalutation = arm


class StoppedError(BaseException):
    """Somebody stops the run; no `Exception`, so that nothing on the way takes it for a failure.

    Parameters
    ----------
    number : signal.Signals
        The signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class SnakemakeExit:
    """Exit of Snakemake.

    Parameters
    ----------
    code : int
        Exit code.
    events : WorkflowEvents
        Events of its jobs.
    tail : deque of str
        Its last lines.
    """

    code: int
    events: WorkflowEvents
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=40))


@dataclass
class StopRequest:
    """Request to stop a run: the signal, None as long as there is none."""

    number: signal.Signals | None = None


@contextlib.contextmanager
def stoppable() -> Generator[StopRequest]:
    """Note SIGINT, SIGTERM and SIGHUP instead of dying of them.

    An exception raised in a handler would be swallowed wherever Python swallows exceptions, as in hooks of
    a fork, and the run would go on.
    """
    asked = StopRequest()

    def note(number: int, _frame: object) -> None:
        asked.number = asked.number or signal.Signals(number)

    before = {
        number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow_snakemake(
    command: Sequence[str],
    log: Path,
    *,
    run_id: str,
    stop: StopRequest,
    watch: Callable[[WorkflowEvents], None],
    environment: Mapping[str, str] | None = None,
) -> SnakemakeExit:
    """Run Snakemake to its end.

    Parameters
    ----------
    command : sequence of str
        As `snakemake_command` builds it.
    log : Path
        File to which its output is appended.
    run_id : str
        Name that its processes inherit.
    stop : StopRequest
        Set when somebody stops the run.
    watch : callable
        Takes the events so far, after every line.
    environment : mapping of str to str, optional
        As `snakemake_environment` makes it; that of this process if None.

    Returns
    -------
    SnakemakeExit

    Raises
    ------
    ExternalProgramError
        If it could not start a single job.
    StoppedError
        If somebody stopped it; then nothing of it is left running.
    """
    ended = SnakemakeExit(0, WorkflowEvents())
    child = _start(command, run_id, environment or os.environ)
    try:
        with _log_writer(log) as write:
            for line in _output_lines(child, stop):
                write(line)
                ended.tail.append(line.rstrip())
                ended.events.read(line)
                watch(ended.events)
        ended.code = child.wait()
    except BaseException:
        _stop(child, run_id, wait_s=_STOP_SLURM_S if ended.events.slurm_run else _STOP_S)
        raise
    finally:
        assert child.stdout is not None
        child.stdout.close()
    if ended.code != 0 and not (ended.events.failed or ended.events.lost or ended.events.disk_full):
        msg = f"Snakemake could not run ({_error_line(ended.tail)}); see {log}"
        raise ExternalProgramError(msg)
    return ended


def _start(command: Sequence[str], run_id: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start Snakemake in a session of its own, whose processes bear the name of the run."""
    parent = os.getpid()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, "PYTHONUNBUFFERED": "1", RUN_VARIABLE: run_id},
        start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the others in order
        preexec_fn=lambda: die_with_parent(parent, signal.SIGINT),
    )


def _output_lines(child: subprocess.Popen[bytes], stop: StopRequest) -> Generator[str]:
    """Yield the output of a process line by line; between two lines the request to stop is checked."""
    assert child.stdout is not None
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    rest = ""
    while True:
        if stop.number:
            raise StoppedError(stop.number)
        if not select.select([child.stdout], [], [], _LOOK_S)[0]:
            continue
        chunk = os.read(child.stdout.fileno(), 65536)
        *lines, rest = (rest + decode(chunk, final=not chunk)).split("\n")
        yield from (f"{line}\n" for line in lines)
        if not chunk:
            if rest:
                yield rest
            return


def plan(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[WorkflowEvents, str]:
    """Return the plan of Snakemake (dry run).

    Parameters
    ----------
    command : sequence of str
        As `snakemake_command` builds it.
    environment : mapping of str to str, optional
        As `snakemake_environment` makes it; that of this process if None.

    Returns
    -------
    events : WorkflowEvents
        The jobs it would start.
    text : str
        Its output.

    Raises
    ------
    ExternalProgramError
        If it could not make one.
    """
    finished = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
    )
    text = finished.stdout + finished.stderr
    if finished.returncode != 0:
        msg = f"Snakemake could not make a plan ({_error_line(text.splitlines())})"
        raise ExternalProgramError(msg)
    events = WorkflowEvents()
    for line in text.splitlines():
        events.read(line)
    return events, text


def _stop(child: subprocess.Popen[bytes], run_id: str, *, wait_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        child.kill()
    kill_run(run_id)
    child.wait()


@contextlib.contextmanager
def _log_writer(log: Path) -> Generator[Callable[[str], None]]:
    """Open the log to append to; one that cannot be written, as on a full disk, must not end the run."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = log.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        sys.stderr.write(f"{log}: cannot be written ({error.strerror}); going on without it\n")
        yield lambda _: None
        return

    def write(line: str) -> None:
        with contextlib.suppress(OSError):
            stream.write(line)

    try:
        yield write
    finally:
        with contextlib.suppress(OSError):
            stream.close()


def _error_line(lines: Sequence[str]) -> str:
    lines = [line.strip() for line in lines if line.strip()]
    for number, line in enumerate(lines):
        if "Error" in line or "Exception" in line or "error:" in line:
            more = lines[number + 1] if line.endswith(":") and number + 1 < len(lines) else ""
            return f"{line} {more}".strip()
    return lines[-1] if lines else "no message"
