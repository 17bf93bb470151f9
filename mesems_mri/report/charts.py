"""Geometry of small charts; the templates draw them as SVG."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_WIDTH, _HEIGHT = 420.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 12.0, 40.0


@dataclass(frozen=True)
class Point:
    """A point of a curve: place, value, text, link."""

    x: float
    y: float
    text: str = ""
    href: str = ""


@dataclass(frozen=True)
class Curve:
    """Points in order of time; `kind` is the class that the style sheet knows."""

    points: tuple[Point, ...]
    kind: str = "one"
    name: str = ""


@dataclass(frozen=True)
class Chart:
    """Context of the template of a chart.

    Parameters
    ----------
    title, y_label, x_label : str
    width, height : float
        Of the drawing.
    x_ticks, y_ticks : tuple of (float, str)
        Place on the drawing and text.
    notes : tuple of (float, str)
        Text under the ticks, e.g. how many visits are evaluable.
    lines : tuple of (str, str, str)
        Points as SVG, kind and name.
    dots : tuple of (float, float, str, str, str)
        x, y, kind, text and link.
    """

    title: str
    y_label: str
    x_label: str
    width: float = _WIDTH
    height: float = _HEIGHT
    x_ticks: tuple[tuple[float, str], ...] = ()
    y_ticks: tuple[tuple[float, str], ...] = ()
    notes: tuple[tuple[float, str], ...] = ()
    lines: tuple[tuple[str, str, str], ...] = ()
    dots: tuple[tuple[float, float, str, str, str], ...] = field(default=())


def nice_ticks(highest: float, *, whole: bool = False, count: int = 4) -> list[float]:
    """Return round numbers from 0 to at least `highest`.

    Examples
    --------
    >>> nice_ticks(7.3)
    [0.0, 2.0, 4.0, 6.0, 8.0]
    >>> nice_ticks(0, whole=True)
    [0.0, 1.0]
    """
    if highest <= 0:
        return [0.0, 1.0]
    raw = highest / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    return [i * step for i in range(math.ceil(highest / step - 1e-9) + 1)]


def draw_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    x_ticks: Sequence[tuple[float, str]],
    y_label: str,
    x_label: str,
    notes: Sequence[tuple[float, str]] = (),
    whole: bool = False,
) -> Chart:
    """Lay out a line chart that starts at zero.

    Parameters
    ----------
    title : str
    curves : sequence of Curve
        A missing point is a gap: the line goes on with the next point.
    x_ticks, notes : sequence of (float, str)
        Place on the x axis and text.
    y_label, x_label : str
        Quantity with its unit.
    whole : bool
        Ticks of the y axis are whole numbers.

    Returns
    -------
    Chart
    """
    places = [x for x, _ in x_ticks] + [p.x for c in curves for p in c.points]
    low, high = (min(places), max(places)) if places else (0.0, 1.0)
    if high <= low:
        low, high = low - 1, high + 1
    ticks = nice_ticks(max((p.y for c in curves for p in c.points), default=0.0), whole=whole)

    def across(x: float) -> float:
        return round(_LEFT + 10 + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT - 20), 1)

    def up(y: float) -> float:
        return round(_HEIGHT - _BOTTOM - y / ticks[-1] * (_HEIGHT - _TOP - _BOTTOM), 1)

    return Chart(
        title=title,
        y_label=y_label,
        x_label=x_label,
        x_ticks=_apart((across(x), text) for x, text in x_ticks),
        y_ticks=tuple((up(y), f"{y:g}") for y in ticks),
        notes=_apart(((across(x), text) for x, text in notes), gap=34.0),
        lines=tuple(
            (" ".join(f"{across(p.x):g},{up(p.y):g}" for p in c.points), c.kind, c.name)
            for c in curves
            if len(c.points) > 1
        ),
        dots=tuple((across(p.x), up(p.y), c.kind, p.text, p.href) for c in curves for p in c.points),
    )


def _apart(ticks: Iterable[tuple[float, str]], gap: float = 24.0) -> tuple[tuple[float, str], ...]:
    """Leave out the text of ticks that would run into the one before."""
    kept: list[tuple[float, str]] = []
    last = -math.inf
    for x, text in sorted(ticks):
        shown = text if x - last >= gap else ""
        last = x if shown else last
        kept.append((x, shown))
    return tuple(kept)


@dataclass(frozen=True)
class Strip:
    """A number line: earlier values as ticks, this one as a diamond, places in 0 to 100."""

    earlier: tuple[float, ...]
    current: float | None
    text: str


def draw_strip(earlier: Sequence[float], current: float | None, text: str) -> Strip:
    """Lay out values on a line from their smallest to their largest."""
    values = [*earlier, *([] if current is None else [current])]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    width = high - low or 1.0

    def place(value: float) -> float:
        return round(100 * (value - low) / width, 1) if high > low else 50.0

    return Strip(tuple(place(v) for v in earlier), None if current is None else place(current), text)
