"""Request of a run."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Request of ``mesems-mri run``: folders, level, selection, options.

    Parameters
    ----------
    bids_dir, out_dir : Path
        Input and output folder.
    level : str
        ``participant``, ``group``, or both: ``all``.
    config_file : Path or None
        Trial configuration.
    participant_labels, session_labels : tuple of str
        Only these; empty for all.
    profile : str
        Name of a profile that the package ships, or a folder of one's own.
    cores : int or None
        Cores to use at once, on a cluster over all its jobs; None: as in the profile.
    until, force : str or None
        Name of a rule to stop after, or to run again.
    only_failed : bool
        Run only the visits that failed before.
    reports_only : bool
        Make the pages of the visits that are measured again, and nothing else.
    allow_insert : bool
        Accept a visit that lies before one that is already done, and compute the later ones again.
    lesion_masks : Path or None
        Folder with lesion masks to count instead of detecting lesions.
    transfer : bool
        Build and send the bundles for central analysis when all visits of the study are complete.
    dry_run : bool
        Only print the plan.
    snakemake_options : tuple of str
        Passed on as they are.
    """

    bids_dir: Path
    out_dir: Path
    level: str = "all"
    config_file: Path | None = None
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    profile: str = "default"
    cores: int | None = None
    until: str | None = None
    force: str | None = None
    only_failed: bool = False
    reports_only: bool = False
    allow_insert: bool = False
    lesion_masks: Path | None = None
    transfer: bool = False
    dry_run: bool = False
    snakemake_options: tuple[str, ...] = field(default=())
