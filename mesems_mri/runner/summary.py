"""Summary of a run: visits done, not evaluable, failed, and the exit code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.dataset.bids import Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.runner.events import Job
from mesems_mri.runner.rules import Scope, known_steps
from mesems_mri.runner.state import Outcome, VisitState, visit_state

EXIT_VISITS_FAILED = 5
_LOG_LINES = 8


@dataclass
class RunExit:
    """Exit of a run, once Snakemake has ended for good.

    Parameters
    ----------
    code : int
        Its exit code.
    lost : list of Job
        Jobs that started, did not finish, and for which no record could be left.
    until : str or None
        The step after which it was told to stop.
    disk_full : bool
        The disk is full.
    """

    code: int = 0
    lost: list[Job] = field(default_factory=list)
    until: str | None = None
    disk_full: bool = False


def summarise(
    layout: Layout, sessions: Sequence[Session], result: RunExit, say: Callable[[str], None]
) -> int:
    """Report the visits done, not evaluable or failed, with their logs; return the exit code of the run.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    sessions : sequence of Session
        The visits that were asked for.
    result : RunExit
        Exit of the run.
    say : callable
        Takes one line.

    Returns
    -------
    int
        0: every visit done or not evaluable; 5: at least one failed, or a table could not be written.
    """
    states = [
        _as_failed_if_lost(visit_state(layout, s.participant_id, s.session_id), result) for s in sessions
    ]
    groups = {outcome: [s for s in states if s.outcome is outcome] for outcome in Outcome}
    refused, failed = groups[Outcome.NOT_EVALUABLE], groups[Outcome.FAILED]
    if result.until:
        through = sum(result.until in state.steps for state in states)
        say(f"{through} of {len(states)} visits have come to {result.until}; {len(failed)} failed")
    else:
        done = len(groups[Outcome.DONE]) + len(refused)
        say(f"{done} visits done, {len(refused)} of them not evaluable; {len(failed)} failed")
    for state in refused:
        say(f"  not evaluable: {state.name}: {state.reason}: {state.message}")
    for state in failed:
        say(f"  failed: {state.message}")
        _report_log_tail(layout.log(state.participant_id, state.session_id), say, step=state.step)
    waiting = groups[Outcome.WAITING] if result.code != 0 and not result.until else []
    for state in waiting:
        say(f"  not reached: {state.name}: waits for what has failed; run the same command again")
    tables = [job for job in result.lost if known_steps().get(job.rule) in (Scope.PARTICIPANT, Scope.STUDY)]
    for job in tables:
        say(f"  failed: {job.rule}" + (f" of {job.participant_id}" if job.participant_id else ""))
        _report_log_tail(layout.out_dir / "logs" / job.participant_id / f"{job.rule}.log", say)
    if result.disk_full:
        say(f"the disk of {layout.out_dir} is full: free space, then run the same command again")
    _report_places(layout, sessions, say)
    if failed or waiting or tables or result.disk_full:
        return EXIT_VISITS_FAILED
    return 0 if result.code == 0 else 1


def _as_failed_if_lost(state: VisitState, result: RunExit) -> VisitState:
    """Let a visit whose job is lost without a record be a failed one."""
    lost = [
        job
        for job in result.lost
        if (job.participant_id, job.session_id) == (state.participant_id, state.session_id)
    ]
    if not lost or state.outcome is Outcome.FAILED:
        return state
    why = "the disk is full" if result.disk_full else "ended without a record"
    return VisitState(
        participant_id=state.participant_id,
        session_id=state.session_id,
        outcome=Outcome.FAILED,
        steps=state.steps,
        step=lost[0].rule,
        reason="step_failed",
        message=f"{state.name}: {lost[0].rule}: {why}",
    )


def _report_log_tail(log: Path, say: Callable[[str], None], *, step: str = "") -> None:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    start = max((i for i, line in enumerate(lines) if f"---- {step}" in line), default=0) if step else 0
    lines = [line for line in lines[start:] if line.strip()]
    later = next((i for i, line in enumerate(lines) if i and "---- " in line), len(lines))
    for line in lines[:later][-_LOG_LINES:]:
        say(f"    | {line}")
    say(f"    the log: {log}")


def _report_places(layout: Layout, sessions: Sequence[Session], say: Callable[[str], None]) -> None:
    places = {
        "page": layout.out_dir / "index.html",
        "table": layout.out_dir / "visit_metrics.tsv",
        "sums": layout.out_dir / "participant_endpoints.tsv",
    }
    if not places["page"].is_file() and sessions:
        places["page"] = layout.page(sessions[0].participant_id, sessions[0].session_id)
    for name, path in places.items():
        if path.is_file():
            say(f"{name:6} {path}")
    say(f"{'logs':6} {layout.out_dir / 'logs'} (one per visit: sub-X/ses-Y.log)")
