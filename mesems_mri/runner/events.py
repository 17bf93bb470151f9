"""Events in the output of Snakemake: jobs that have started, ended and failed."""

import re
from dataclasses import dataclass, field

from mesems_mri.pipeline.visit import STEPS

_RULE = re.compile(r"^(?: {4})?(?:local)?rule (\w+):$")  # deeper in, it is the list of a failed group
_ERROR = re.compile(r"^\s*(?:Error in rule \w+:|jobs:)$")
_JOBID = re.compile(r"^\s+jobid: (\d+)$")
_WILDCARD = re.compile(r"(participant|session)=([^,\s]+)")
_MEMORY = re.compile(r"\bmem_mb=(\d+)")
_RUNTIME = re.compile(r"\bruntime=(\d+)")
_FINISHED = re.compile(r"^\s*Finished jobid: (\d+)")
_STEPS = re.compile(r"^(\d+) of (\d+) steps")
_SLURM = re.compile(r"SLURM run ID: (\S+)")
_COUNT = re.compile(r"^(\w+)\s+(\d+)$")
_REASON = re.compile(r"^\s+reason: (.+)$")
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
TARGETS = ("group", "participant")
"""Rules without products; they stand for the targets."""


@dataclass
class Job:
    """A job that Snakemake has announced."""

    rule: str
    participant_id: str = ""
    session_id: str = ""
    reason: str = ""
    mem_mb: int | None = None
    runtime: str = ""


@dataclass
class WorkflowEvents:
    """Events read so far.

    Parameters
    ----------
    started, finished, failed : dict of int to Job
        By Snakemake's number; the numbers start anew with each start of Snakemake.
    planned : dict of str to int
        Number of jobs of each rule.
    done, total : int
        Jobs done, and jobs in all.
    slurm_run : str
        Name that all Slurm jobs of this run bear.
    disk_full : bool
        Snakemake met a full disk.
    """

    started: dict[int, Job] = field(default_factory=dict)
    finished: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, Job] = field(default_factory=dict)
    planned: dict[str, int] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    slurm_run: str = ""
    disk_full: bool = False
    _current: Job | None = None
    _in_error: bool = False
    _in_plan: bool = False

    @property
    def running(self) -> dict[int, Job]:
        """Jobs that have started and not ended."""
        ended = self.finished.keys() | self.failed.keys()
        return {number: job for number, job in self.started.items() if number not in ended}

    @property
    def planned_visits(self) -> int:
        """Visits of which at least one job is planned."""
        return max((n for rule, n in self.planned.items() if rule in STEPS), default=0)

    @property
    def lost(self) -> list[Job]:
        """Jobs that have started and did not finish, once Snakemake has ended."""
        return [job for number, job in self.started.items() if number not in self.finished]

    def read(self, line: str) -> None:
        """Parse one line."""
        line = line.rstrip("\n")
        if match := _RULE.match(line):
            self._current, self._in_error = Job(match[1]), False
        elif _ERROR.match(line):
            self._current, self._in_error = None, True
        elif match := _JOBID.match(line):
            self._numbered(int(match[1]))
        elif match := _FINISHED.match(line):
            number = int(match[1])
            self.finished[number] = self.started.get(number, Job(""))
        elif match := _STEPS.match(line):
            self.done, self.total = int(match[1]), int(match[2])
        elif match := _SLURM.search(line):
            self.slurm_run = match[1]
        elif self._current and line.startswith(" "):
            self._described(line)
        elif line == "Job stats:":
            self._in_plan, self.planned = True, {}
        elif self._in_plan and (match := _COUNT.match(line)):
            if match[1] == "total":
                self._in_plan, self.total = False, int(match[2])
            elif match[1] not in TARGETS:
                self.planned[match[1]] = int(match[2])
        self.disk_full = self.disk_full or bool(_FULL.search(line))

    def _numbered(self, number: int) -> None:
        if self._in_error:
            self.failed[number] = self.started.get(number, Job(""))
        elif self._current:
            self.started[number] = self._current

    def _described(self, line: str) -> None:
        assert self._current is not None
        if match := _REASON.match(line):
            self._current.reason = match[1]
        elif line.strip().startswith("wildcards: "):
            found = dict(_WILDCARD.findall(line))
            self._current.participant_id = found.get("participant", "")
            self._current.session_id = found.get("session", "")
        elif line.strip().startswith("resources: "):
            memory, runtime = _MEMORY.search(line), _RUNTIME.search(line)
            self._current.mem_mb = int(memory[1]) if memory else None
            self._current.runtime = f"{runtime[1]} min" if runtime else ""
