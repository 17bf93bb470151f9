"""Differences between two output folders: as text, and as a page with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Difference:
    """A value of one visit that the two folders do not share; empty means not evaluable."""

    participant_id: str
    session_id: str
    column: str
    first: str
    second: str

    @property
    def visit(self) -> str:
        """Name of the visit."""
        return f"{self.participant_id}/{self.session_id}"


@dataclass(frozen=True)
class LoneLesion:
    """A lesion that no lesion of the other folder overlaps.

    Parameters
    ----------
    row : mapping
        Its row of the ledger.
    place : int
        The folder that has it, 1 or 2.
    picture : str
        Three planes as a data URI; empty when the page is not asked for.
    """

    row: Mapping[str, str]
    place: int
    picture: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that differs between two output folders.

    Parameters
    ----------
    names : tuple of str
        The two folders.
    settings : list of (str, str, str)
        Version and configuration keys that differ, with both values.
    only : tuple of list of str
        Visits that only the first, only the second has.
    differences : list of Difference
        Of the visits that both have.
    lesions : list of LoneLesion
        Lesions that only one of them has.
    unmatched : list of str
        Visits whose lesions cannot be compared, as subject space differs.
    """

    names: tuple[str, str]
    settings: list[tuple[str, str, str]] = field(default_factory=list)
    only: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    differences: list[Difference] = field(default_factory=list)
    lesions: list[LoneLesion] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Equality of all visits and lesions; versions and configurations may differ."""
        return not (any(self.only) or self.differences or self.lesions or self.unmatched)


def format_comparison(comparison: Comparison) -> str:
    """Return the comparison as text.

    Parameters
    ----------
    comparison : Comparison
        The differences.

    Returns
    -------
    str
        Lines for a terminal.
    """
    lines = [f"1: {comparison.names[0]}", f"2: {comparison.names[1]}"]
    lines += [f"{key}: {one or 'none'} | {two or 'none'}" for key, one, two in comparison.settings]
    for place, visits in enumerate(comparison.only, start=1):
        lines += [f"only in {place}: {visit}" for visit in visits]
    rows = [(d.visit, d.column, d.first or "empty", d.second or "empty") for d in comparison.differences]
    if rows:
        lines += ["", *_aligned([("visit", "column", "1", "2"), *rows])]
    if comparison.lesions:
        lesions = [
            (
                f"{lesion.row['participant_id']}/{lesion.row['session_id']}",
                lesion.row["focus"],
                f"lesion {lesion.row['lesion_id']}",
                f"{lesion.row['volume_mm3']} mm3",
                lesion.row["region"],
                f"only in {lesion.place}",
            )
            for lesion in comparison.lesions
        ]
        lines += ["", *_aligned(lesions)]
    lines += [
        f"{visit}: lesions not compared, the participant's space differs" for visit in comparison.unmatched
    ]
    if comparison.equal:
        lines.append("no difference")
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def settings(comparison: Comparison) -> Mapping[str, Any]:
    """Build the section on versions and configurations."""
    return {"names": comparison.names, "settings": comparison.settings, "equal": comparison.equal}


def visits(comparison: Comparison) -> Mapping[str, Any] | None:
    """Build the section on visits; None when none differs."""
    if not (comparison.differences or any(comparison.only) or comparison.unmatched):
        return None
    return {
        "differences": comparison.differences,
        "only": comparison.only,
        "unmatched": comparison.unmatched,
    }


def lesions(comparison: Comparison) -> Mapping[str, Any] | None:
    """Build the gallery of the lesions that only one folder has; None when there is none."""
    return {"lesions": comparison.lesions} if comparison.lesions else None
