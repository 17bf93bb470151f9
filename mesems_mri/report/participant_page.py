"""Sections of the page of a participant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesems_mri.dataset.records.visit import VisitSummary
from mesems_mri.report.charts import Chart, Curve, Point, draw_chart
from mesems_mri.report.timeline import active_rows, draw_timeline, visit_href

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ParticipantPage:
    """Content of the page of a participant: its visits in order of time."""

    records: Sequence[VisitSummary]

    @property
    def metrics(self) -> list[Row]:
        """Rows of ``visit_metrics.tsv``."""
        return [record.metrics for record in self.records]

    @property
    def rows(self) -> list[Row]:
        """Rows of the ledger."""
        return [row for record in self.records for row in record.lesions]


def visits(page: ParticipantPage) -> Mapping[str, Any]:
    """List the visits: counts, reasons, quality, link."""
    lines = [
        {"metrics": m, "message": record.message, "href": visit_href(m)}
        for record, m in zip(page.records, page.metrics, strict=True)
    ]
    return {"lines": lines}


def timeline(page: ParticipantPage) -> Mapping[str, Any]:
    """Draw the lesions that are new, enlarging or enhancing at some visit."""
    rows = active_rows(page.rows)
    whole = draw_timeline(page.metrics, page.rows) if len(rows) < len(page.rows) else None
    return {"active": draw_timeline(page.metrics, rows) if rows else None, "whole": whole}


def curves(page: ParticipantPage) -> Mapping[str, Any] | None:
    """Draw counts and volumes over the visits."""
    if len(page.records) < 2:
        return None
    return {"charts": visit_charts(page.metrics)}


def ledger(page: ParticipantPage) -> Mapping[str, Any] | None:
    """List all rows of the ledger."""
    return {"rows": page.rows, "hrefs": [visit_href(row) for row in page.rows]} if page.rows else None


def visit_charts(metrics: Sequence[Row]) -> list[Chart]:
    """Draw the counts and volumes of one participant; a visit that is not evaluable is a gap."""
    weeks = all(m["week"] is not None for m in metrics)
    places = [float(m["week"]) if weeks else float(i) for i, m in enumerate(metrics)]
    names = [f"{m['week']}" if weeks else m["session_id"].removeprefix("ses-") for m in metrics]
    ticks = list(zip(places, names, strict=True))

    def curve(column: str, kind: str, words: str) -> Curve:
        points = [
            Point(x, float(m[column]), f"{m['session_id']}: {m[column]:g} {words}", visit_href(m))
            for x, m in zip(places, metrics, strict=True)
            if m[column] is not None
        ]
        return Curve(tuple(points), kind, words)

    def chart(title: str, y_label: str, *shown: Curve, whole: bool) -> Chart:
        return draw_chart(
            title,
            shown,
            x_ticks=ticks,
            y_label=y_label,
            x_label="week" if weeks else "visit",
            whole=whole,
        )

    return [
        chart("Enhancing lesions", "count", curve("gel_count", "main", "enhancing lesions"), whole=True),
        chart(
            "New T2 lesions (line), enlarging ones (dashed)",
            "count",
            curve("t2_new_count", "main", "new T2 lesions"),
            curve("t2_enlarging_count", "second", "enlarging T2 lesions"),
            whole=True,
        ),
        chart(
            "T2-lesion volume",
            "mm³",
            curve("t2_lesion_volume_mm3", "main", "mm³ of T2 lesions"),
            whole=False,
        ),
        chart(
            "Black-hole volume",
            "mm³",
            curve("black_hole_volume_mm3", "main", "mm³ of black holes"),
            whole=False,
        ),
    ]
