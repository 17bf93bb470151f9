"""Defects of every simulated trial: always of the same participants and visits.

The slots are counted from the first participant and the first scheduled visit, so that a further participant
or session changes nothing that was there before. docs/simulation.md shows them as a table.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.dataset.columns import Column
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.tables import write_dictionary, write_table
from mesems_mri.errors import Reason

ORDINARY_CONTRASTS = ("T1w", POSTCONTRAST, "FLAIR", "T2w")
ALL_CONTRASTS = (*ORDINARY_CONTRASTS, "PDw")
PARTS = ("gel", "t2", "t2_change", "cua", "black_hole", "brain")
REFUSED_TABLE = Path("sourcedata") / "refused" / "participants.tsv"
UNSCHEDULED_LABEL = "u01"
"""Its digits say nothing of the week, which is in the visit table alone."""
LESION_FREE_PARTICIPANT = 3
"""Index of the participant who has no lesion at any visit: a control."""


class Defect(StrEnum):
    """Closed list of defects and peculiarities of a visit."""

    NO_POSTCONTRAST = "no_postcontrast"
    TRUNCATED = "truncated"
    WRONG_HEAD = "wrong_head"
    NO_FLAIR = "no_flair"
    HALF_COVERAGE = "half_coverage"
    UNSCHEDULED = "unscheduled"
    FORBIDDEN_COLUMN = "forbidden_column"


SLOTS: dict[tuple[int, int], Defect] = {
    (0, 1): Defect.NO_POSTCONTRAST,
    (0, 2): Defect.NO_FLAIR,
    (1, 1): Defect.TRUNCATED,
    (1, 2): Defect.HALF_COVERAGE,
    (2, 1): Defect.WRONG_HEAD,
}
"""Index of the participant and of the scheduled visit -> defect."""
UNSCHEDULED_AFTER = (1, 1)
"""Index of the participant, and of the scheduled visit after which an unscheduled one comes."""

WHOLE_VISIT: dict[Defect, Reason] = {
    Defect.WRONG_HEAD: Reason.WRONG_HEAD,
    Defect.HALF_COVERAGE: Reason.INCOMPLETE_COVERAGE,
}
"""Defects after which nothing of the visit is evaluable."""
GEL_ONLY: dict[Defect, Reason] = {
    Defect.NO_POSTCONTRAST: Reason.NO_POSTCONTRAST,
    Defect.TRUNCATED: Reason.UNREADABLE_FILE,
}
"""Defects of the post-contrast scan: GEL, CUA and black holes are not evaluable."""
NO_T2: dict[Defect, Reason] = {Defect.NO_FLAIR: Reason.MISSING_SCAN}
"""Defects of the FLAIR: T2 lesions, their change, CUA and black holes are not evaluable."""

DEFECT_COLUMNS: dict[str, Column] = {
    "participant_id": Column("Participant; empty for a table of the whole trial"),
    "session_id": Column("Visit"),
    "defect": Column(
        "What is wrong or special",
        levels={
            Defect.NO_POSTCONTRAST: "The post-contrast T1w was not sent",
            Defect.TRUNCATED: "The file of the post-contrast T1w ends in the middle",
            Defect.WRONG_HEAD: "All scans show somebody else",
            Defect.NO_FLAIR: "T2w and PDw instead of the FLAIR, on which T2 lesions are read",
            Defect.HALF_COVERAGE: "All scans show the upper half of the brain",
            Defect.UNSCHEDULED: "An unscheduled visit, nothing wrong with it",
            Defect.FORBIDDEN_COLUMN: "A copy of participants.tsv with a column that would unblind",
        },
    ),
    "file": Column("The file concerned, relative to the data set; empty for the whole visit"),
    **{
        f"{part}_reason": Column(f"Reason expected for {part}; empty: evaluable", levels={}) for part in PARTS
    },
}


def contrasts_of(defect: Defect | None) -> tuple[str, ...]:
    """Return the contrasts that a visit has."""
    if defect is Defect.NO_POSTCONTRAST:
        return tuple(contrast for contrast in ORDINARY_CONTRASTS if contrast != POSTCONTRAST)
    if defect is Defect.NO_FLAIR:
        return tuple(contrast for contrast in ALL_CONTRASTS if contrast != "FLAIR")
    return ORDINARY_CONTRASTS


def unscheduled_week(weeks: Sequence[int], participant: int) -> int | None:
    """Return the week of a participant's unscheduled visit, halfway between two scheduled ones, or None."""
    index, before = UNSCHEDULED_AFTER
    if participant != index or len(weeks) < before + 2 or weeks[before + 1] - weeks[before] < 2:
        return None
    return (weeks[before] + weeks[before + 1]) // 2


def missing_defects(participants: int, weeks: Sequence[int]) -> list[Defect]:
    """Return the defects for which a trial is too small."""
    missing = [d for (p, visit), d in SLOTS.items() if p >= participants or visit >= len(weeks)]
    if participants <= UNSCHEDULED_AFTER[0] or unscheduled_week(weeks, UNSCHEDULED_AFTER[0]) is None:
        missing.append(Defect.UNSCHEDULED)
    return missing


def truncate(path: Path) -> None:
    """Cut off the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def defect_row(
    participant_id: str, session_id: str, defect: Defect, row: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the row of the list of defects, with the reasons of a row of the visit table."""
    anat = f"{participant_id}/{session_id}/anat/{participant_id}_{session_id}_"
    concerned = {Defect.NO_FLAIR: "FLAIR"} | dict.fromkeys(GEL_ONLY, POSTCONTRAST)
    return {
        "participant_id": participant_id,
        "session_id": session_id,
        "defect": defect.value,
        "file": f"{anat}{concerned[defect]}.nii.gz" if defect in concerned else None,
        **{f"{part}_reason": row[f"{part}_reason"] for part in PARTS},
    }


def write_defects(truth: Layout, rows: list[dict[str, Any]]) -> None:
    """Write the list of defects, the refused table last."""
    table = {"defect": Defect.FORBIDDEN_COLUMN.value, "file": REFUSED_TABLE.as_posix()}
    write_table(truth.out_dir / "defects.tsv", DEFECT_COLUMNS, [*rows, table])
    write_dictionary(truth.out_dir / "defects.json", DEFECT_COLUMNS)
