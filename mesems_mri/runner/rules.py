"""Rules of the workflow and their scope: a visit, a participant, the study."""

import re
from enum import StrEnum
from functools import cache
from pathlib import Path

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import ExternalProgramError, UsageError
from mesems_mri.pipeline.visit import REPORT, STEPS
from mesems_mri.provenance import PACKAGE_DIR

_FORMER_NAMES = {
    "standardise_visit": "standardise",
    "register_visit": "register",
    "detect_lesions": "detect",
    "measure_visit": "measure",
    "report_visit": "report",
}
"""Names of the steps in version 0.1.0: command lines of running trials keep working."""


class Scope(StrEnum):
    """Scope of one job of a rule."""

    VISIT = "visit"
    PARTICIPANT = "participant"
    STUDY = "study"


def workflow_folder() -> Path:
    """Find the folder of ``Snakefile``: in the checkout, or inside the installed package."""
    for folder in (PACKAGE_DIR.parent, PACKAGE_DIR / "_workflow"):
        if (folder / "Snakefile").is_file():
            return folder
    msg = f"no Snakefile beside {PACKAGE_DIR}; install the package again"
    raise ExternalProgramError(msg)


@cache
def known_steps() -> dict[str, Scope]:
    """Return every rule of the workflow with its scope, in the order of the files."""
    steps = {}
    for path in sorted((workflow_folder() / "workflow" / "rules").glob("*.smk")):
        blocks = re.split(r"^rule (\w+):$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, text in zip(blocks[1::2], blocks[2::2], strict=True):
            scope = Scope.VISIT if "{session}" in text else Scope.PARTICIPANT
            steps[name] = scope if "{participant}" in text else Scope.STUDY
    return dict(sorted(steps.items(), key=lambda item: (list(Scope).index(item[1]), _place(item[0]))))


def _place(step: str) -> int:
    return STEPS.index(step) if step in STEPS else len(STEPS)


def step_named(text: str | None) -> str | None:
    """Return the present name of a step that a user names by its present or former name."""
    return _FORMER_NAMES.get(text, text) if text else None


def check_step(option: str, step: str | None) -> None:
    """Refuse a step that does not exist.

    Raises
    ------
    UsageError
        Naming the steps there are.
    """
    if step is not None and step not in known_steps():
        msg = f"{option} {step}: no such step; known are {', '.join(known_steps())}"
        raise UsageError(msg)


def product_of(step: str, layout: Layout, participant_id: str, session_id: str) -> str:
    """Name the target of a step of a visit, relative to the output folder."""
    if step in STEPS and step != REPORT:
        path = layout.record(participant_id, session_id, step)
    else:
        path = layout.page(participant_id, session_id)
    return path.relative_to(layout.out_dir).as_posix()
