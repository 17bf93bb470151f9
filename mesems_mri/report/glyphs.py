"""Signs of lesion status: shape, colour and word together.

The colours are those of Okabe and Ito, which readers with any kind of colour vision can tell apart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Glyph:
    """The sign of a status.

    Parameters
    ----------
    key : str
        Name of the SVG symbol on the page.
    word : str
        Name of the status.
    colour : str
        Fill, ``#rrggbb``.
    path : str
        SVG path around the origin, about 12 units wide.
    hollow : bool
        Only the outline is drawn.
    """

    key: str
    word: str
    colour: str
    path: str
    hollow: bool = False


def _polygon(corners: int, *, radius: float = 6.0, inner: float | None = None, turn: float = 0.0) -> str:
    count = corners * (2 if inner else 1)
    points = []
    for i in range(count):
        angle = math.radians(turn - 90 + 360 * i / count)
        r = inner if inner and i % 2 else radius
        points.append(f"{r * math.cos(angle):.2f} {r * math.sin(angle):.2f}")
    return "M" + "L".join(points) + "Z"


def _circle(radius: float) -> str:
    return f"M{-radius} 0A{radius} {radius} 0 1 1 {radius} 0A{radius} {radius} 0 1 1 {-radius} 0Z"


T2_GLYPHS = {
    "new": Glyph("new", "new", "#E69F00", _polygon(4, radius=6.5)),
    "enlarging": Glyph("enlarging", "enlarging", "#F0E442", _polygon(3, radius=6.8)),
    "stable": Glyph("stable", "stable", "#0072B2", _circle(4.2)),
    "shrinking": Glyph("shrinking", "shrinking", "#009E73", _polygon(3, radius=6.8, turn=180)),
    "resolved": Glyph("resolved", "resolved", "#999999", "M-4-4L4 4M-4 4L4-4", hollow=True),
    "not_evaluable": Glyph("present", "present, change not evaluable", "#56B4E9", "M-4-4H4V4H-4Z"),
}
"""Signs of T2 lesions by ``t2_status``."""

GD_GLYPHS = {
    "new": Glyph("gd-new", "enhancing, new", "#D55E00", _polygon(5, radius=7.0, inner=3.0)),
    "re_enhancing": Glyph("gd-again", "enhancing again", "#D55E00", _polygon(8, radius=6.8, inner=4.0)),
    "persistent": Glyph("gd-still", "enhancing, persistent", "#CC79A7", _polygon(6)),
    "baseline": Glyph("gd-first", "enhancing at the first visit", "#CC79A7", _circle(5.2)),
    "none": Glyph("gd-none", "not enhancing", "#999999", _circle(4.2), hollow=True),
    "not_evaluable": Glyph("gd-unknown", "enhancement not evaluable", "#999999", _circle(4.2), hollow=True),
}
"""Signs of enhancing lesions by ``gd_status``."""

ALL_GLYPHS = (*T2_GLYPHS.values(), *(g for k, g in GD_GLYPHS.items() if k not in ("none", "not_evaluable")))
"""The signs that a page defines and its legend explains."""


def glyph_of(row: Mapping[str, Any]) -> Glyph:
    """Return the sign of a row of the ledger."""
    if row["focus"] == "gel":
        return GD_GLYPHS.get(row["gd_status"], GD_GLYPHS["not_evaluable"])
    return T2_GLYPHS.get(row["t2_status"], T2_GLYPHS["not_evaluable"])
