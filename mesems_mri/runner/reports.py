"""Requests to make the pages again, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace

from mesems_mri.dataset.bids import Participant
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.runner.request import RunRequest

REPORT_RULES = ("report", "report_participant", "report_study")


def reports_request(request: RunRequest, layout: Layout, participants: Sequence[Participant]) -> RunRequest:
    """Check a request to make the pages of measured visits again, and choose its level.

    Parameters
    ----------
    request : RunRequest
        The request as given.
    layout : Layout
        Names in the output folder.
    participants : sequence of Participant
        The visits asked for.

    Returns
    -------
    RunRequest
        Its level is ``group`` where there are tables of the study, else ``participant``.

    Raises
    ------
    UsageError
        If no visit asked for is measured, or another option contradicts.
    """
    if contrary := [name for name in ("until", "force", "only_failed") if getattr(request, name)]:
        option = contrary[0].replace("_", "-")
        msg = f"--reports-only makes all pages and computes nothing; leave out --{option}"
        raise UsageError(msg)
    if not measured(layout, participants):
        msg = f"{request.out_dir}: none of the visits asked for is measured; run without --reports-only first"
        raise UsageError(msg)
    study = (layout.out_dir / "visit_metrics.tsv").is_file() and request.level != "participant"
    return replace(request, level="group" if study else "participant")


def measured(layout: Layout, participants: Sequence[Participant]) -> int:
    """Count the visits that are measured."""
    sessions = [s for p in participants for s in p.sessions]
    return sum(layout.metrics(s.participant_id, s.session_id).is_file() for s in sessions)


def reports_options(level: str) -> list[str]:
    """Return the options by which Snakemake makes pages only."""
    return ["--allowed-rules", level, *REPORT_RULES, "--forcerun", *REPORT_RULES]
