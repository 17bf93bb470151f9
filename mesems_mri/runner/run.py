"""Run of the workflow, from the request to the exit code."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from mesems_mri.config import TrialConfig, load_config
from mesems_mri.dataset.bids import Participant, Session, check_own_masks, index_dataset
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import write_json
from mesems_mri.pipeline.visit import FULL_DISK, REPORT
from mesems_mri.runner.clean import without_intermediates
from mesems_mri.runner.command import snakemake_command, snakemake_environment
from mesems_mri.runner.events import WorkflowEvents
from mesems_mri.runner.failures import lacks_product, record_lost_jobs, remove_records, remove_temporary_files
from mesems_mri.runner.history import History
from mesems_mri.runner.late import refuse_late_visits
from mesems_mri.runner.lock import RunLock, held
from mesems_mri.runner.progress import LiveProgress, PlainProgress, Progress
from mesems_mri.runner.reports import measured, reports_request
from mesems_mri.runner.request import RunRequest
from mesems_mri.runner.rules import Scope, check_step, known_steps
from mesems_mri.runner.snakemake import StoppedError, StopRequest, follow_snakemake, plan, stoppable
from mesems_mri.runner.state import Outcome, visit_state
from mesems_mri.runner.summary import RunExit, summarise
from mesems_mri.runner.transfer import check_transfer, clear_transfer_outcome, report_transfer


@dataclass(frozen=True, kw_only=True)
class _ResolvedRequest:
    """A request, resolved against a data set and an output folder."""

    request: RunRequest
    config: TrialConfig
    layout: Layout
    everyone: tuple[Participant, ...]
    participants: tuple[Participant, ...]
    visits: frozenset[tuple[str, str]] | None
    after_inserted: tuple[str, ...] = ()

    @property
    def sessions(self) -> list[Session]:
        """The visits asked for."""
        return [
            s
            for p in self.participants
            for s in p.sessions
            if self.visits is None or (s.participant_id, s.session_id) in self.visits
        ]

    def forced(self) -> set[tuple[str, str]]:
        """List the visits for which ``--force`` holds; empty for all."""
        request = self.request
        if not (request.participant_labels or request.session_labels or request.only_failed):
            return set()
        labels = {f"ses-{label.removeprefix('ses-')}" for label in request.session_labels}
        return {
            (s.participant_id, s.session_id) for s in self.sessions if not labels or s.session_id in labels
        }

    def command(self, *, out_dir: Path | None = None, dry_run: bool = False) -> list[str]:
        """Build the command of Snakemake."""
        return snakemake_command(
            self.request,
            out_dir=out_dir,
            visits=self.visits,
            asked=self.forced(),
            again=self.again() if dry_run else (),
            dry_run=dry_run,
        )

    def again(self) -> set[tuple[str, str]]:
        """List the visits that are run again from the start, since they failed or lack a product."""
        if self.request.level == "group" or self.request.reports_only:
            return set()
        return {
            (s.participant_id, s.session_id)
            for s in self.sessions
            if _has_failed(self.layout, s) or lacks_product(self.layout, s)
        }


def run(request: RunRequest, say: Callable[[str], None]) -> int:
    """Run the workflow and return the exit code.

    Parameters
    ----------
    request : RunRequest
    say : callable
        Takes one line of progress or summary.

    Returns
    -------
    int
        0: every visit done, or not evaluable for a stated reason; 5: at least one visit failed; 130, 143,
        129: stopped by SIGINT, SIGTERM, SIGHUP.

    Raises
    ------
    UsageError, DatasetError, ExternalProgramError
        If nothing can be run at all.
    """
    task = _resolve(request)
    if request.only_failed and not task.visits:
        say("no visit has failed; nothing to run")
        return 0
    if request.dry_run:
        return _report_plan(task, say)
    try:
        with stoppable() as stop, held(task.layout) as lock:
            if request.reports_only:
                return _remake_reports(task, lock, stop, say)
            return _run_locked(task, lock, stop, say)
    except StoppedError as stopped:
        say(f"stopped by {stopped.number.name}; nothing is half-written: run the same command to go on")
        return 128 + stopped.number
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        msg = f"the disk of {task.layout.out_dir} is full: free space, then run the same command again"
        raise UsageError(msg) from error


def _resolve(request: RunRequest) -> _ResolvedRequest:
    if request.out_dir.resolve() == request.bids_dir.resolve():
        msg = f"{request.out_dir}: the output folder is the input folder; choose another"
        raise UsageError(msg)
    if request.lesion_masks:
        if request.lesion_masks.resolve() == request.out_dir.resolve():
            msg = f"{request.lesion_masks}: the folder of lesion masks is the output folder; choose another"
            raise UsageError(msg)
        check_own_masks(request.lesion_masks)
    check_step("--until", request.until)
    check_step("--force", request.force)
    config = load_config(request.config_file)
    check_transfer(request, config)
    layout = Layout(request.out_dir.resolve())
    everyone = index_dataset(request.bids_dir, config)
    participants = index_dataset(
        request.bids_dir,
        config,
        participant_labels=request.participant_labels or None,
        session_labels=request.session_labels or None,
    )
    if request.reports_only:
        request = reports_request(request, layout, participants)
    visits = None
    if request.only_failed:
        visits = frozenset(
            (s.participant_id, s.session_id)
            for p in participants
            for s in p.sessions
            if _has_failed(layout, s)
        )
    task = _ResolvedRequest(
        request=request,
        config=config,
        layout=layout,
        everyone=everyone,
        participants=participants,
        visits=visits,
    )
    asked = set() if request.reports_only else {(s.participant_id, s.session_id) for s in task.sessions}
    # Snakemake updates all measured visits, so a query counts at visits that were not asked for, too.
    nothing = request.reports_only or request.level == "group"
    computed = set() if nothing else {p.participant_id for p in participants}
    after = refuse_late_visits(layout, everyone, asked, allow_insert=request.allow_insert, computed=computed)
    return replace(task, after_inserted=after)


def _has_failed(layout: Layout, session: Session) -> bool:
    return visit_state(layout, session.participant_id, session.session_id).outcome is Outcome.FAILED


def _remake_reports(
    task: _ResolvedRequest, lock: RunLock, stop: StopRequest, say: Callable[[str], None]
) -> int:
    """Make the pages of measured visits again; compute nothing and change no table."""
    result, _ = _run_with_restarts(task, lock, stop, say)
    layout = task.layout
    if result.code != 0 or result.lost:
        say(f"some pages could not be made; see {layout.workflow_log}")
        return summarise(layout, task.sessions, result, say)
    study = task.request.level == "group"
    page = layout.study_page() if study else layout.participant_page(task.sessions[0].participant_id)
    count = measured(layout, task.participants)
    say(f"pages of {count} visits made again; nothing else was computed; open {page}")
    return 0


def _run_locked(task: _ResolvedRequest, lock: RunLock, stop: StopRequest, say: Callable[[str], None]) -> int:
    layout, request = task.layout, task.request
    everything = [s for p in task.everyone for s in p.sessions]
    for name in task.after_inserted:
        say(f"{name}: computed again, since a visit before it has come or its query has changed")
    _write_expected_visits(layout, task.everyone)
    again = task.again()
    for session in task.sessions:
        state = visit_state(layout, session.participant_id, session.session_id)
        if state.outcome in (Outcome.FAILED, Outcome.WAITING):
            remove_temporary_files(layout, session)
        if (session.participant_id, session.session_id) in again:
            remove_records(layout, session)
    _restore_intermediates(task)
    clear_transfer_outcome(layout)
    history = History(layout)
    history.begin(request.bids_dir, task.config, everything)
    result, jobs = _run_with_restarts(task, lock, stop, say)
    if not jobs:
        say("nothing to do: everything asked for is there and up to date")
    code = summarise(layout, task.sessions, result, say)
    if request.transfer:
        report_transfer(layout, say)
    try:
        history.end(code, everything)
    except OSError as error:
        say(f"{layout.provenance}: cannot be written ({error.strerror})")
    return code


def _restore_intermediates(task: _ResolvedRequest) -> None:
    """Request the intermediate images again that were cleaned, where a step of the plan needs them."""
    removed = without_intermediates(task.layout)
    if not removed:
        return
    planned, _ = plan(task.command(dry_run=True), snakemake_environment(task.request))
    for job in planned.started.values():
        visit = (job.participant_id, job.session_id)
        if job.rule == "register" and visit in removed:
            task.layout.record(*visit, "standardise").unlink(missing_ok=True)


def _run_with_restarts(
    task: _ResolvedRequest, lock: RunLock, stop: StopRequest, say: Callable[[str], None]
) -> tuple[RunExit, int]:
    """Start Snakemake again as long as a lost job blocks visits that could go on."""
    lost: set[tuple[str, str, str]] = set()
    result, jobs = RunExit(until=task.request.until), 0
    with _progress(task, say) as progress:

        def watch(events: WorkflowEvents) -> None:
            lock.note_slurm(events.slurm_run)
            progress.watch(events)

        while True:
            ended = follow_snakemake(
                task.command(),
                task.layout.workflow_log,
                run_id=lock.holder.run_id,
                stop=stop,
                watch=watch,
                environment=snakemake_environment(task.request),
            )
            jobs += len(ended.events.started)
            result.code, result.lost = ended.code, ended.events.lost
            result.disk_full = result.disk_full or ended.events.disk_full
            if ended.code == 0:
                return result, jobs
            try:
                again = record_lost_jobs(
                    task.layout, task.request.bids_dir, task.everyone, ended.events.lost, lost
                )
            except OSError as error:
                if error.errno not in FULL_DISK:
                    raise
                result.disk_full = True
                return result, jobs
            if not again:
                return result, jobs
            say("some jobs ended without a record; going on with the other visits")


def _progress(task: _ResolvedRequest, say: Callable[[str], None]) -> Progress:
    console = Console()
    if console.is_terminal and sys.stdout.isatty():
        return LiveProgress(task.layout, task.participants, console)
    until = task.request.until
    last = until if until and known_steps()[until] is Scope.VISIT else REPORT
    return PlainProgress(task.layout, say, last_step=last)


def _write_expected_visits(layout: Layout, everyone: Sequence[Participant]) -> None:
    """Note the visits of the raw data set for ``mesems-mri status``, which does not see it."""
    visits = {p.participant_id: [s.session_id for s in p.sessions] for p in everyone}
    sites = {p.participant_id: p.site_id for p in everyone}
    write_json(layout.expected, {"sites": sites, "visits": visits})


def _report_plan(task: _ResolvedRequest, say: Callable[[str], None]) -> int:
    """Report the plan of a run, and touch nothing."""
    # Snakemake keeps its books in the output folder; one that it has not seen is not to be created.
    with tempfile.TemporaryDirectory(prefix="mesems-mri-plan-") as nowhere:
        used = task.layout.expected.is_file() or (task.layout.out_dir / ".snakemake").is_dir()
        command = task.command(out_dir=None if used else Path(nowhere), dry_run=True)
        events, text = plan(command, snakemake_environment(task.request))
    if task.request.snakemake_options:
        say(text)
        return 0
    for job in events.started.values():
        if job.session_id:
            say(f"{job.participant_id}/{job.session_id}: {job.rule} ({job.reason})")
    for step in known_steps():
        if count := events.planned.get(step):
            say(f"{step:20} {count}")
    if not events.planned:
        say("nothing to do: everything asked for is there and up to date")
    return 0
