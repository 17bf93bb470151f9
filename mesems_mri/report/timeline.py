"""Timeline of a participant: one row per lesion, one column per visit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesems_mri.report.glyphs import Glyph, glyph_of
from mesems_mri.report.words import REGION_WORDS, reason_text

ROW_HEIGHT = 22.0
_LABEL_WIDTH, _HEAD_HEIGHT, _COLUMN_WIDTH = 190.0, 46.0, 92.0

Row = Mapping[str, Any]


@dataclass(frozen=True)
class VisitColumn:
    """A visit: place, name, and the reason if lesions are not evaluable (else empty)."""

    x: float
    name: str
    under: str
    gap: str
    href: str


@dataclass(frozen=True)
class Mark:
    """A lesion at a visit."""

    x: float
    y: float
    glyph: Glyph
    volume: str
    title: str
    href: str


@dataclass(frozen=True)
class Timeline:
    """Context of the template of a timeline.

    Parameters
    ----------
    width, height : float
    columns : tuple of VisitColumn
    names : tuple of (float, str, str)
        Height of a row, the lesion's name, its region.
    lives : tuple of (float, float, float)
        Lines from the first to the last visit of a lesion: x, x, y.
    marks : tuple of Mark
    """

    width: float
    height: float
    columns: tuple[VisitColumn, ...]
    names: tuple[tuple[float, str, str], ...]
    lives: tuple[tuple[float, float, float], ...]
    marks: tuple[Mark, ...]


def lesion_order(rows: Sequence[Row]) -> list[tuple[int, str]]:
    """Return the lesions (number, focus): each enhancing one after the T2 lesion that it lies in."""
    parent: dict[tuple[int, str], int] = {}
    for row in rows:
        key = (row["lesion_id"], row["focus"])
        if row["focus"] == "gel":
            parent[key] = row["parent_lesion_id"] or parent.get(key, 0) or row["lesion_id"]
        else:
            parent[key] = row["lesion_id"]
    return sorted(parent, key=lambda key: (parent[key], key[1] == "gel", key[0]))


def active_rows(rows: Sequence[Row]) -> list[Row]:
    """Return all rows of the lesions that are new, enlarging or enhancing at any visit."""
    keys = {
        (r["lesion_id"], r["focus"])
        for r in rows
        if r["focus"] == "gel" or r["t2_status"] in ("new", "enlarging")
    }
    return [r for r in rows if (r["lesion_id"], r["focus"]) in keys]


def draw_timeline(visits: Sequence[Row], rows: Sequence[Row]) -> Timeline:
    """Lay out the timeline.

    Parameters
    ----------
    visits : sequence of mapping
        Rows of ``visit_metrics.tsv`` of one participant in order of time.
    rows : sequence of mapping
        Rows of the ledger.

    Returns
    -------
    Timeline
    """
    x_of = {visit["session_id"]: _LABEL_WIDTH + (i + 0.5) * _COLUMN_WIDTH for i, visit in enumerate(visits)}
    by_lesion: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        by_lesion.setdefault((row["lesion_id"], row["focus"]), []).append(row)
    names, lives, marks = [], [], []
    for i, key in enumerate(lesion_order(rows)):
        y = _HEAD_HEIGHT + (i + 0.5) * ROW_HEIGHT
        seen = [row for row in by_lesion[key] if row["session_id"] in x_of]
        region = next((r["region"] for r in reversed(seen) if r["region"]), "")
        name = f"{'GEL' if key[1] == 'gel' else 'T2'} {key[0]}"
        names.append((y, name, REGION_WORDS.get(region, region or "")))
        places = [x_of[row["session_id"]] for row in seen]
        if len(places) > 1:
            lives.append((min(places), max(places), y))
        marks += [_mark(row, name, x_of[row["session_id"]], y) for row in seen]
    return Timeline(
        width=_LABEL_WIDTH + _COLUMN_WIDTH * len(visits),
        height=_HEAD_HEIGHT + ROW_HEIGHT * len(names) + 8,
        columns=tuple(_visit_column(visit, x_of[visit["session_id"]]) for visit in visits),
        names=tuple(names),
        lives=tuple(lives),
        marks=tuple(marks),
    )


def _visit_column(visit: Row, x: float) -> VisitColumn:
    """Return the head of the column of a visit."""
    reason = reason_text(visit["t2_reason"]) if not visit["t2_evaluable"] else None
    return VisitColumn(
        x=x,
        name=visit["session_id"].removeprefix("ses-"),
        under="" if visit["week"] is None else f"week {visit['week']}",
        gap=reason.short if reason else "",
        href=visit_href(visit),
    )


def _mark(row: Row, name: str, x: float, y: float) -> Mark:
    """Return the mark of a lesion at a visit."""
    glyph = glyph_of(row)
    volume = f"{row['volume_mm3']:.0f}"
    return Mark(
        x=x,
        y=y,
        glyph=glyph,
        volume="" if row["t2_status"] == "resolved" and row["focus"] == "t2" else volume,
        title=f"{name}, {row['session_id']}: {glyph.word}, {volume} mm3",
        href=f"{visit_href(row)}#lesion-{row['lesion_id']}",
    )


def visit_href(row: Row) -> str:
    """Return the link from a participant's page to the page of a visit."""
    return f"{row['session_id']}/{row['participant_id']}_{row['session_id']}.html"
