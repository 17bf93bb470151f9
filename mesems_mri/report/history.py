"""Compare the quality of a visit's images with that of its site so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from mesems_mri.report.charts import Strip, draw_strip
from mesems_mri.report.words import QUALITY_WORDS

MIN_VISITS = 8
"""With fewer earlier visits of a site nothing is flagged as unusual."""
_UNUSUAL = 3.0
_MAD_TO_SIGMA = 1.4826

Row = Mapping[str, Any]


@dataclass(frozen=True)
class HistoryRow:
    """A measure of one image beside the same measure of the site's earlier visits.

    Parameters
    ----------
    contrast, measure : str
    value : float or None
    count : int
        Earlier visits of the site with this contrast and measure.
    middle, low, high : float or None
        Median and range of the earlier visits.
    unusual : bool or None
        Clearly worse than the site's earlier visits; None if there are too few.
    strip : Strip
        To be drawn.
    """

    contrast: str
    measure: str
    value: float | None
    count: int
    middle: float | None
    low: float | None
    high: float | None
    unusual: bool | None
    strip: Strip


def is_earlier(other: Row, this: Row) -> bool:
    """Return whether a visit is earlier than another: by day if both have one, else by week or place."""
    for name in ("acquired", "week", "position"):
        if other[name] not in (None, "") and this[name] not in (None, ""):
            return other[name] < this[name]
    return False


def site_history(rows: Sequence[Row], participant_id: str, session_id: str) -> list[HistoryRow]:
    """Compare each measure of a visit with the earlier visits of its site.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of ``site_quality.tsv``, whatever visits they hold: later ones are passed over, so that a page
        never depends on what came after it.
    participant_id, session_id : str
        The visit.

    Returns
    -------
    list of HistoryRow
    """
    own = [r for r in rows if r["participant_id"] == participant_id and r["session_id"] == session_id]
    found = []
    for this in own:
        before = [
            r
            for r in rows
            if r["site_id"] == this["site_id"]
            and r["contrast"] == this["contrast"]
            and (r["participant_id"], r["session_id"]) != (participant_id, session_id)
            and is_earlier(r, this)
        ]
        for measure in QUALITY_WORDS:
            values = [r[measure] for r in before if r[measure] is not None]
            value = this[measure]
            if value is None and not values:
                continue
            found.append(
                HistoryRow(
                    contrast=this["contrast"],
                    measure=measure,
                    value=value,
                    count=len(values),
                    middle=median(values) if values else None,
                    low=min(values, default=None),
                    high=max(values, default=None),
                    unusual=_unusual(value, values, QUALITY_WORDS[measure][2]),
                    strip=draw_strip(values, value, f"{measure} of this visit and of {len(values)} earlier"),
                )
            )
    return found


def _unusual(value: float | None, earlier: Sequence[float], better: int) -> bool | None:
    if value is None or len(earlier) < MIN_VISITS:
        return None
    middle = median(earlier)
    spread = _MAD_TO_SIGMA * median(abs(v - middle) for v in earlier)
    worse = (middle - value) * better
    # the spread of so few values may be small by chance, so the value must lie outside their range too
    outside = all((other - value) * better > 0 for other in earlier)
    return outside and worse > _UNUSUAL * spread
