"""Supervision of a step, so that one that is killed leaves a record.

The process that a rule starts forks: the child computes, the parent waits. When the child is killed, most
often because the memory ran out, the parent leaves the record of failure that the child could not leave, and
all other visits go on.
"""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from mesems_mri.dataset.layout import Layout

_PR_SET_PDEATHSIG = 1
_ON_PURPOSE = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
"""Signals by which somebody stops a run; no failure of the visit."""


@dataclass(frozen=True, kw_only=True)
class ChildDeath:
    """Death of the process of a step.

    Parameters
    ----------
    signal : signal.Signals
        What killed it.
    peak_mib : float
        The most memory it had.
    """

    signal: signal.Signals
    peak_mib: float

    @property
    def exit_code(self) -> int:
        """Exit code that a shell gives it."""
        return 128 + self.signal


def supervised() -> ChildDeath | None:
    """Fork; return None in the child, which does the work, and its death in the parent.

    The parent does not return when the child ends by itself or is stopped on purpose.
    """
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        die_with_parent(parent)
        return None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child has it too, and ends
    _, status, used = os.wait4(child, 0)
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    number = signal.Signals(os.WTERMSIG(status))
    if number in _ON_PURPOSE:
        os._exit(128 + number)
    return ChildDeath(signal=number, peak_mib=used.ru_maxrss / 1024)


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent dies (Linux only), so that no orphan writes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died before the call
            os.kill(os.getpid(), number)


def describe_death(death: ChildDeath, step: str, layout: Layout, *, mem_mb: int | None = None) -> str:
    """Describe the death of a step, its probable cause, and what to do.

    Parameters
    ----------
    death : ChildDeath
        Signal and peak memory.
    step : str
        Name of the rule.
    layout : Layout
        Names in the output folder, where the costs of the other visits are.
    mem_mb : int, optional
        Memory in MB (10**6 byte) that the rule asks for.

    Returns
    -------
    str
        The predicate of a sentence whose subject is the step.
    """
    if death.signal != signal.SIGKILL:
        name = f"exit {death.exit_code}, {death.signal.name}"
        return f"crashed ({name}); a library or the machine is at fault: see the log of the visit"
    parts = [f"it used {death.peak_mib:.0f} MiB"]
    if mem_mb:
        parts.append(f"the rule asks for {mem_mb} MB")
    others = [peak for path in layout.benchmarks(step) if (peak := _peak_mib(path)) is not None]
    if others:
        parts.append(f"other visits needed up to {max(others):.0f} MiB for this step")
    more = 2 * max(mem_mb or 0, round(death.peak_mib * 1.05))
    return (
        f"was killed (exit 137), probably out of memory: {', '.join(parts)}; run fewer at once with --cores, "
        f"or ask for more, on a cluster with -- --set-resources {step}:mem_mb={more}"
    )


def _peak_mib(benchmark: Path) -> float | None:
    """Read the peak from a benchmark file of Snakemake; None where it was too short to be measured."""
    try:
        header, row, *_ = benchmark.read_text(encoding="utf-8").splitlines()
        return float(dict(zip(header.split("\t"), row.split("\t"), strict=True))["max_rss"])
    except (OSError, ValueError, KeyError):
        return None


def available_mb() -> int:
    """Return the memory in MB that this machine, or the container it runs in, has in all."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limits) // 10**6
