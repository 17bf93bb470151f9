"""Build the command line of Snakemake."""

import importlib.util
import json
import os
import sys
from collections.abc import Collection
from pathlib import Path

import yaml

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import ExternalProgramError, UsageError
from mesems_mri.pipeline.visit import STEPS
from mesems_mri.runner.reports import reports_options
from mesems_mri.runner.request import RunRequest
from mesems_mri.runner.rules import Scope, known_steps, product_of, workflow_folder
from mesems_mri.runner.supervisor import available_mb


def snakemake_command(
    request: RunRequest,
    *,
    out_dir: Path | None = None,
    visits: Collection[tuple[str, str]] | None = None,
    asked: Collection[tuple[str, str]] = (),
    again: Collection[tuple[str, str]] = (),
    dry_run: bool = False,
) -> list[str]:
    """Build the command that runs a request.

    Parameters
    ----------
    request : RunRequest
    out_dir : Path, optional
        Another output folder than that of the request, for a dry run that must not create it.
    visits : collection of (participant_id, session_id), optional
        Only these, and visits that are done already; otherwise the labels of the request decide.
    asked : collection of (participant_id, session_id), optional
        The visits for which ``--force`` holds; empty for all.
    again : collection of (participant_id, session_id), optional
        Visits to run from their first step.
    dry_run : bool
        Only print the plan.

    Returns
    -------
    list of str

    Raises
    ------
    UsageError
        If there is no such profile.
    ExternalProgramError
        If Snakemake is not installed.
    """
    if importlib.util.find_spec("snakemake") is None:
        msg = "Snakemake is not installed in this environment; install mesems-mri with its dependencies"
        raise ExternalProgramError(msg)
    folder = workflow_folder()
    profile = _profile(request.profile)
    target = "participant" if request.level == "participant" else "group"
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", str(folder / "Snakefile")]
    # Our own lock holds the folder; Snakemake's would have to be removed by hand after a kill.
    command += ["--profile", str(profile), "--nolock"]
    command += _resource_limits(request, profile)
    command += ["--config", *_values(request, out_dir or request.out_dir, visits)]
    command += _rule_selection(request, target)
    forced = _forced(request.force, asked) if request.force else []
    forced += [product_of("standardise", Layout(Path()), *visit) for visit in sorted(again)]
    if forced:
        command += ["--forcerun", *forced]
    if dry_run:
        command.append("--dry-run")
    return command + list(request.snakemake_options)


def _resource_limits(request: RunRequest, profile: Path) -> list[str]:
    """Return the options that limit cores and, on this machine, memory."""
    options = ["--cores", str(request.cores)] if request.cores else []
    if not _is_cluster(profile) and not any(o.startswith("--res") for o in request.snakemake_options):
        options += ["--resources", f"mem_mb={available_mb()}"]  # no more at once than the memory holds
    return options


def _rule_selection(request: RunRequest, target: str) -> list[str]:
    """Return the options that restrict a run to some rules, or end it after one."""
    options = []
    if request.reports_only:
        options += reports_options(target)
    elif request.level == "group":
        others = [step for step, scope in known_steps().items() if scope is not Scope.VISIT]
        options += ["--allowed-rules", target, *others]
    if request.until and not _until_step(request):
        options += ["--until", request.until]
    return options


def snakemake_environment(request: RunRequest) -> dict[str, str]:
    """Return the environment that Snakemake is started in.

    Parameters
    ----------
    request : RunRequest

    Returns
    -------
    dict
        That of this process. Where no job goes to a cluster, Slurm is hidden: its plugin asks the controller
        while it is loaded, and waits nine seconds for one that does not answer.
    """
    names_executor = any(o.startswith(("--exec", "-e", "--slurm")) for o in request.snakemake_options)
    if names_executor or _is_cluster(_profile(request.profile)):
        return dict(os.environ)
    return os.environ | {"SLURM_CONF": os.devnull}


def _profile(name: str) -> Path:
    own = Path(name)
    if own.is_dir():
        return own
    shipped = workflow_folder() / "workflow" / "profiles"
    if not (shipped / name).is_dir():
        known = ", ".join(sorted(p.name for p in shipped.iterdir()))
        msg = f"profile {name}: neither a folder nor one of {known}"
        raise UsageError(msg)
    return shipped / name


def _is_cluster(profile: Path) -> bool:
    for path in sorted(profile.glob("config*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("executor", "local") != "local":
            return True
    return False


def _values(request: RunRequest, out_dir: Path, visits: Collection[tuple[str, str]] | None) -> list[str]:
    values: dict[str, object] = {
        "bids_dir": str(request.bids_dir.resolve()),
        "out_dir": str(out_dir.resolve()),
    }
    if request.config_file:
        values["config_file"] = str(request.config_file.resolve())
    if request.lesion_masks:
        values["lesion_masks"] = str(request.lesion_masks.resolve())
    if request.participant_labels:
        values["participant_labels"] = list(request.participant_labels)
    if request.reports_only:
        values["reports_only"] = True
    if request.transfer:
        values["transfer"] = True
    if step := _until_step(request):
        values["until"] = step
    if request.level == "group" and not request.reports_only:
        values["visits"] = []
    elif visits is not None:
        values["visits"] = ["/".join(visit) for visit in sorted(visits)]
    elif request.session_labels:
        values["session_labels"] = list(request.session_labels)
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _until_step(request: RunRequest) -> str | None:
    """Return the step of a visit after which the run ends; None for other rules, which Snakemake ends at."""
    return request.until if request.until in STEPS and request.level != "group" else None


def _forced(step: str, asked: Collection[tuple[str, str]]) -> list[str]:
    """Name the targets to force: files of the visits asked for, so that no other visit is touched."""
    if not asked or known_steps()[step] is not Scope.VISIT:
        return [step]
    return [product_of(step, Layout(Path()), *visit) for visit in sorted(asked)]
