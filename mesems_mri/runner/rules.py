"""The steps that the workflow knows, and what each is about."""

import re
from enum import StrEnum
from functools import cache
from pathlib import Path

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import ExternalProgramError, UsageError
from mesems_mri.pipeline.visit import RULES
from mesems_mri.provenance import PACKAGE_DIR

RECORD_OF = {rule: record for record, rule in RULES.items()}


class Scope(StrEnum):
    """What one job of a rule is about."""

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
    """Return every rule of the workflow, with what one job of it is about, in the order of the files."""
    steps = {}
    for path in sorted((workflow_folder() / "workflow" / "rules").glob("*.smk")):
        blocks = re.split(r"^rule (\w+):$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, text in zip(blocks[1::2], blocks[2::2], strict=True):
            scope = Scope.VISIT if "{session}" in text else Scope.PARTICIPANT
            steps[name] = scope if "{participant}" in text else Scope.STUDY
    return dict(sorted(steps.items(), key=lambda item: (list(Scope).index(item[1]), _place(item[0]))))


def _place(step: str) -> int:
    order = list(RULES.values())
    return order.index(step) if step in order else len(order)


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
    """Name the file, relative to the output folder, that Snakemake knows a step of a visit by."""
    if RECORD_OF.get(step) in (None, "report"):
        path = layout.page(participant_id, session_id)
    else:
        path = layout.record(participant_id, session_id, RECORD_OF[step])
    return path.relative_to(layout.out_dir).as_posix()
