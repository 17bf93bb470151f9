"""Run the workflow from start to end."""

import datetime as dt
import sys
from collections.abc import Callable

from mesems_mri.bids import Layout, check_own_masks, index_dataset
from mesems_mri.config import load_config
from mesems_mri.errors import UsageError
from mesems_mri.provenance import machine, software_versions, write_json
from mesems_mri.workflow.failures import failed_step, forget, incomplete, mark_lost
from mesems_mri.workflow.late import refuse_late_visits
from mesems_mri.workflow.reports import remake_reports
from mesems_mri.workflow.request import RunRequest
from mesems_mri.workflow.snakemake import run_snakemake
from mesems_mri.workflow.summary import summarise


def run(request: RunRequest, say: Callable[[str], None]) -> int:
    """Run the workflow and return the exit code.

    Parameters
    ----------
    request : RunRequest
        What to do.
    say : callable
        Takes one line of progress or summary.

    Returns
    -------
    int
        0: every visit done, or not evaluable for a stated reason; 5: at least one visit failed.

    Raises
    ------
    UsageError, DatasetError, ExternalProgramError
        If nothing can be run at all.
    """
    if request.out_dir.resolve() == request.bids_dir.resolve():
        msg = f"{request.out_dir}: the output folder is the input folder; choose another"
        raise UsageError(msg)
    if request.lesion_masks:
        if request.lesion_masks.resolve() == request.out_dir.resolve():
            msg = f"{request.lesion_masks}: the folder of lesion masks is the output folder; choose another"
            raise UsageError(msg)
        check_own_masks(request.lesion_masks)
    config = load_config(request.config_file)
    participants = index_dataset(
        request.bids_dir,
        config,
        participant_labels=request.participant_labels or None,
        session_labels=request.session_labels or None,
    )
    layout = Layout(request.out_dir.resolve())
    if request.reports_only:
        return remake_reports(request, layout, participants, say)
    failed_before = [s for p in participants for s in p.sessions if failed_step(layout, s)]
    if request.only_failed:
        kept = {s.participant_id for s in failed_before}
        participants = tuple(p for p in participants if p.participant_id in kept)
        if not participants:
            say("no visit has failed; nothing to run")
            return 0
        labels = tuple(p.participant_id for p in participants)
    else:
        labels = request.participant_labels
    everything = index_dataset(request.bids_dir, config, participant_labels=labels or None)
    asked = {(s.participant_id, s.session_id) for p in participants for s in p.sessions}
    refuse_late_visits(layout, everything, asked, allow_insert=request.allow_insert)
    if request.dry_run:
        return run_snakemake(request, labels, say, dry_run=True)

    layout.out_dir.mkdir(parents=True, exist_ok=True)
    for session in failed_before:
        forget(layout, session)
    for session in (s for p in participants for s in p.sessions if incomplete(layout, s)):
        forget(layout, session)
    started = dt.datetime.now(tz=dt.UTC)
    lost: set[tuple[str, str, str]] = set()
    while True:
        code = run_snakemake(request, labels, say, dry_run=False)
        if code == 0 or request.until or not mark_lost(layout, request.bids_dir, participants, lost):
            break
        say("some jobs ended without a record; going on with the other visits")
    write_json(
        layout.out_dir / "provenance.json",
        {
            "command": sys.argv,
            "started": started.isoformat(timespec="seconds"),
            "ended": dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
            "bids_dir": str(request.bids_dir.resolve()),
            "config": config.model_dump(mode="json"),
            "config_sha256": config.sha256(),
            "versions": software_versions(),
            "machine": machine(),
        },
    )
    return summarise(layout, participants, code, say)
