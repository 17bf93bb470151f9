"""Build the command line of Snakemake and start it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mesems_mri.errors import ExternalProgramError, UsageError
from mesems_mri.provenance import PACKAGE_DIR
from mesems_mri.workflow.request import RunRequest

_DONE = re.compile(r"^(\d+) of (\d+) steps")


def workflow_folder() -> Path:
    """Find the folder of ``Snakefile``: in the checkout, or inside the installed package."""
    for folder in (PACKAGE_DIR.parent, PACKAGE_DIR / "_workflow"):
        if (folder / "Snakefile").is_file():
            return folder
    msg = f"no Snakefile beside {PACKAGE_DIR}; install the package again"
    raise ExternalProgramError(msg)


def run_snakemake(
    request: RunRequest,
    labels: Sequence[str],
    say: Callable[[str], None],
    *,
    dry_run: bool,
) -> int:
    """Run Snakemake, its output in ``logs/snakemake.log``; return its exit code.

    Raises
    ------
    UsageError
        If there is no such profile.
    ExternalProgramError
        If Snakemake is missing or could not start a job.
    """
    folder = workflow_folder()
    profile = Path(request.profile)
    if not profile.is_dir():
        profile = folder / "workflow" / "profiles" / request.profile
    if not profile.is_dir():
        known = ", ".join(sorted(p.name for p in profile.parent.iterdir()))
        msg = f"profile {request.profile}: neither a folder nor one of {known}"
        raise UsageError(msg)
    values: dict[str, object] = {
        "bids_dir": str(request.bids_dir.resolve()),
        "out_dir": str(request.out_dir.resolve()),
    }
    if request.config_file:
        values["config_file"] = str(request.config_file.resolve())
    if request.lesion_masks:
        values["lesion_masks"] = str(request.lesion_masks.resolve())
    if labels:
        values["participant_labels"] = list(labels)
    if request.session_labels:
        values["session_labels"] = list(request.session_labels)
    if request.reports_only:
        values["reports_only"] = True
    target = "participant" if request.level == "participant" else "group"
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", str(folder / "Snakefile")]
    command += ["--profile", str(profile)]
    if request.cores:
        command += ["--cores", str(request.cores)]
    command += [
        "--config",
        *(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()),
    ]
    if request.until:
        command += ["--until", request.until]
    if request.force:
        command += ["--forcerun", request.force]
    if dry_run:
        command.append("--dry-run")
    command += request.snakemake_options
    if importlib.util.find_spec("snakemake") is None:
        msg = "Snakemake is not installed in this environment; install mesems-mri with its dependencies"
        raise ExternalProgramError(msg)
    if dry_run:
        return subprocess.run(command, check=False).returncode
    log = request.out_dir.resolve() / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert child.stdout is not None
        tail: list[str] = []
        for line in child.stdout:
            stream.write(line)
            tail = [*tail[-19:], line.rstrip()]
            if match := _DONE.match(line):
                say(f"{match[1]} of {match[2]} jobs done")
        code = child.wait()
    if code != 0 and not any("steps" in line or "Exiting because a job" in line for line in tail):
        telling = [line for line in tail if "Error" in line or "lock" in line.lower()]
        what = (telling or tail or ["no message"])[0]
        if not any(request.out_dir.resolve().glob(".mesems/*/*/*.json")):
            msg = f"Snakemake could not run ({what.strip()}); see {log}"
            raise ExternalProgramError(msg)
    return code
