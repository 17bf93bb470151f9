"""Make the pages again, and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mesems_mri.bids import Layout, Participant
from mesems_mri.errors import UsageError
from mesems_mri.workflow.request import RunRequest
from mesems_mri.workflow.snakemake import run_snakemake

REPORT_RULES = ("report_visit", "report_participant", "report_study")


def remake_reports(
    request: RunRequest, layout: Layout, participants: Sequence[Participant], say: Callable[[str], None]
) -> int:
    """Make the pages of the visits that are measured again; compute nothing and change no table.

    Parameters
    ----------
    request : RunRequest
        What was asked for.
    layout : Layout
        Names in the output folder.
    participants : sequence of Participant
        The visits asked for.
    say : callable
        Takes one line.

    Returns
    -------
    int
        0, or 1 if a page could not be made.

    Raises
    ------
    UsageError
        If no visit asked for is measured, or another option contradicts.
    """
    if contrary := [name for name in ("until", "force", "only_failed") if getattr(request, name)]:
        option = contrary[0].replace("_", "-")
        msg = f"--reports-only makes all pages and computes nothing; leave out --{option}"
        raise UsageError(msg)
    sessions = [s for p in participants for s in p.sessions]
    measured = [s for s in sessions if layout.metrics(s.participant_id, s.session_id).is_file()]
    if not measured:
        msg = f"{request.out_dir}: none of the visits asked for is measured; run without --reports-only first"
        raise UsageError(msg)
    study = (layout.out_dir / "visit_metrics.tsv").is_file() and request.level != "participant"
    rules = ("group" if study else "participant", *REPORT_RULES)
    options = ("--allowed-rules", *rules, "--forcerun", *REPORT_RULES)
    ended = run_snakemake(
        replace(
            request,
            level="group" if study else "participant",
            snakemake_options=(*request.snakemake_options, *options),
        ),
        request.participant_labels,
        say,
        dry_run=request.dry_run,
    )
    if ended == 0 and not request.dry_run:
        page = layout.study_page() if study else layout.participant_page(measured[0].participant_id)
        say(f"pages of {len(measured)} visits made again; nothing else was computed; open {page}")
    elif not request.dry_run:
        say(f"some pages could not be made; see {layout.out_dir / 'logs' / 'snakemake.log'}")
    return 0 if ended == 0 else 1
