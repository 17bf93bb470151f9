"""Sections of the page of the study; it embeds no image, so that a thousand visits stay quick to open."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

from mesems_mri.dataset.bids import natural_key
from mesems_mri.report.charts import Chart, Curve, Point, Strip, draw_chart
from mesems_mri.report.words import QUALITY_WORDS

Row = Mapping[str, Any]
PARTS = {
    "gel": "enhancing lesions",
    "t2_change": "new and enlarging T2 lesions",
    "cua": "combined unique active lesions",
    "t2": "T2-lesion volume",
    "black_hole": "black holes",
    "brain": "brain volume",
}
"""Parts of a visit that are evaluable or not, each with its own reason."""


@dataclass(frozen=True)
class StepTime:
    """Cost of a step over all visits: wall and processor seconds, peak memory."""

    step: str
    count: int
    median_s: float
    longest_s: float
    total_cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Failure:
    """A visit that failed or is not evaluable as a whole, with its message and log (a link; may be empty)."""

    participant_id: str
    session_id: str
    status: str
    message: str
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """Contents of the page of the study.

    Parameters
    ----------
    visits : sequence of mapping
        Rows of ``visit_metrics.tsv``.
    endpoints : sequence of mapping
        Rows of ``participant_endpoints.tsv``.
    quality : sequence of mapping
        Rows of ``site_quality.tsv``.
    failures : sequence of Failure
    steps : sequence of StepTime
    """

    visits: Sequence[Row]
    endpoints: Sequence[Row] = ()
    quality: Sequence[Row] = ()
    failures: Sequence[Failure] = field(default=())
    steps: Sequence[StepTime] = ()


@dataclass(frozen=True)
class SiteQuality:
    """One contrast at one site: median of every measure, and the place of its visits in the study's range."""

    site: str
    contrast: str
    images: int
    medians: Mapping[str, float | None]
    snr: Strip


def visit_href(row: Row) -> str:
    """Return the link from the study's page to the page of a visit."""
    participant, session = row["participant_id"], row["session_id"]
    return f"{participant}/{session}/{participant}_{session}.html"


def participant_href(participant_id: str) -> str:
    """Return the link from the study's page to the page of a participant."""
    return f"{participant_id}/{participant_id}.html"


def flags_of(row: Row) -> list[str]:
    """List the flags of a visit."""
    return [flag for flag in (row["qc_flags"] or "").split(";") if flag]


def columns_of(visits: Sequence[Row]) -> list[tuple[str, str]]:
    """List the visits that participants have, in order of time: label and week."""
    weeks: dict[str, Counter[int]] = {}
    for row in visits:
        known = weeks.setdefault(row["session_id"], Counter())
        if row["week"] is not None:
            known[row["week"]] += 1
    usual = {name: known.most_common(1)[0][0] if known else None for name, known in weeks.items()}

    def order(name: str) -> tuple[bool, int, Any]:
        week = usual[name]
        return (week is None, week or 0, natural_key(name))

    return [(name, "" if usual[name] is None else f"week {usual[name]}") for name in sorted(usual, key=order)]


def by_participant(visits: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Sort the visits by participant and label, participants in the order of the table."""
    table: dict[str, dict[str, Row]] = {}
    for row in visits:
        table.setdefault(row["participant_id"], {})[row["session_id"]] = row
    return table


def totals(page: StudyPage) -> Mapping[str, Any]:
    """Add up the whole study."""
    visits = page.visits
    evaluable = {part: sum(bool(v[f"{part}_evaluable"]) for v in visits) for part in PARTS}
    return {
        "participants": len({v["participant_id"] for v in visits}),
        "sites": len({v["site_id"] for v in visits if v["site_id"]}),
        "visits": len(visits),
        "evaluable": evaluable,
        "parts": PARTS,
        "gel": _known_sum(visits, "gel_count"),
        "new": _known_sum(visits, "t2_new_count"),
        "enlarging": _known_sum(visits, "t2_enlarging_count"),
        "failed": sum(f.status == "failed" for f in page.failures),
        "versions": sorted({v["software_version"] for v in visits}),
        "configurations": sorted({v["config_sha256"][:12] for v in visits}),
    }


def grid(page: StudyPage) -> Mapping[str, Any]:
    """Lay out participants by visits."""
    columns = columns_of(page.visits)
    lines = []
    for participant, own in by_participant(page.visits).items():
        has = {v["qc_status"] for v in own.values()}
        has |= {"gap" for v in own.values() if _main_reason(v)}
        has |= {"active" for v in own.values() if v["cua_count"] or v["gel_count"]}
        lines.append(
            {
                "participant": participant,
                "href": participant_href(participant),
                "site": next(iter(own.values()))["site_id"] or "",
                "cells": [
                    {"visit": own[name], "href": visit_href(own[name]), "reason": _main_reason(own[name])}
                    if name in own
                    else None
                    for name, _ in columns
                ],
                "gel": _known_sum(own.values(), "gel_count"),
                "active": _known_sum(own.values(), "cua_count"),
                "has": " ".join(sorted(has)),
            }
        )
    return {"columns": columns, "lines": lines}


def _main_reason(visit: Row) -> str | None:
    """Return the reason of a missing count; a first visit without reference visit is no gap."""
    reasons = [visit["gel_reason"], visit["t2_change_reason"], visit["t2_reason"]]
    return next((r for r in reasons if r and r != "no_reference_visit"), None)


def _known_sum(rows: Any, column: str) -> int | None:
    known = [row[column] for row in rows if row[column] is not None]
    return sum(known) if known else None


def gaps(page: StudyPage) -> Mapping[str, Any]:
    """Count the reasons per part of a visit; list visits that failed or are not evaluable as a whole."""
    counted: dict[str, Counter[str]] = {}
    for visit in page.visits:
        for part in PARTS:
            if visit[f"{part}_reason"]:
                counted.setdefault(visit[f"{part}_reason"], Counter())[part] += 1
    order = sorted(counted, key=lambda code: (code == "no_reference_visit", -counted[code].total(), code))
    return {
        "reasons": [(code, counted[code]) for code in order],
        "parts": PARTS,
        "failures": [(f, visit_href(_names(f))) for f in page.failures],
    }


def _names(failure: Failure) -> Row:
    return {"participant_id": failure.participant_id, "session_id": failure.session_id}


def curves(page: StudyPage) -> Mapping[str, Any] | None:
    """Draw counts and volumes over the scheduled visits: participants, and the mean of those evaluable."""
    scheduled = [v for v in page.visits if v["visit_type"] == "scheduled"]
    if not scheduled:
        return None
    names = [name for name, _ in columns_of(scheduled)]
    by_week = all(v["week"] is not None for v in scheduled)

    def place(visit: Row) -> float:
        return float(visit["week"]) if by_week else float(names.index(visit["session_id"]))

    def new_and_enlarging(visit: Row) -> float | None:
        if visit["t2_new_count"] is None or visit["t2_enlarging_count"] is None:
            return None
        return visit["t2_new_count"] + visit["t2_enlarging_count"]

    charts = [
        _study_chart(scheduled, place, by_week, title, unit, quantity, whole)
        for title, unit, quantity, whole in (
            ("Enhancing lesions", "count", lambda v: v["gel_count"], True),
            ("New and enlarging T2 lesions", "count", new_and_enlarging, True),
            ("T2-lesion volume", "mm³", lambda v: v["t2_lesion_volume_mm3"], False),
        )
    ]
    return {"charts": charts}


def _study_chart(
    visits: Sequence[Row],
    place: Callable[[Row], float],
    by_week: bool,
    title: str,
    unit: str,
    quantity: Callable[[Row], float | None],
    whole: bool,
) -> Chart:
    labels = {place(v): f"{v['week']}" if by_week else v["session_id"].removeprefix("ses-") for v in visits}
    known: dict[float, list[float]] = {x: [] for x in labels}
    lines = []
    for participant, own in by_participant(visits).items():
        points = []
        for visit in sorted(own.values(), key=place):
            value = quantity(visit)
            if value is not None:
                known[place(visit)].append(float(value))
                words = f"{participant} {visit['session_id']}: {value:g}"
                points.append(Point(place(visit), float(value), words, visit_href(visit)))
        lines.append(Curve(tuple(points), "one", participant))
    middle = [
        Point(x, mean(values), f"mean of {len(values)}: {mean(values):.2f}")
        for x, values in sorted(known.items())
        if values
    ]
    return draw_chart(
        title,
        [*lines, Curve(tuple(middle), "main", "mean")],
        x_ticks=sorted(labels.items()),
        notes=[(x, f"n={len(values)}") for x, values in sorted(known.items())],
        y_label=unit,
        x_label="week" if by_week else "visit",
        whole=whole,
    )


def endpoints(page: StudyPage) -> Mapping[str, Any] | None:
    """List the sums of every participant over the periods of the trial."""
    if not page.endpoints:
        return None
    return {"rows": [(row, participant_href(row["participant_id"])) for row in page.endpoints]}


def sites(page: StudyPage) -> Mapping[str, Any]:
    """Set sites side by side: visits, flags, scanners, quality."""
    by_site: dict[str, list[Row]] = {}
    for visit in page.visits:
        by_site.setdefault(visit["site_id"] or "", []).append(visit)
    lines = []
    for site in sorted(by_site, key=natural_key):
        own = by_site[site]
        images = [q for q in page.quality if (q["site_id"] or "") == site]
        lines.append(
            {
                "site": site,
                "participants": len({v["participant_id"] for v in own}),
                "visits": len(own),
                "status": Counter(v["qc_status"] for v in own),
                "gel": sum(bool(v["gel_evaluable"]) for v in own),
                "change": sum(bool(v["t2_change_evaluable"]) for v in own),
                "flags": Counter(flag for v in own for flag in flags_of(v)).most_common(),
                "scanners": sorted({_scanner(q) for q in images} - {""}),
            }
        )
    return {"lines": lines, "quality": _site_quality(page.quality), "measures": QUALITY_WORDS}


def _scanner(image: Row) -> str:
    field_t = image["field_strength_t"]
    parts = [image["manufacturer"], image["model"], f"{field_t:g} T" if field_t else None]
    return " ".join(part for part in parts if part)


def _site_quality(quality: Sequence[Row]) -> list[SiteQuality]:
    """Summarise the images; the line of every contrast spans the SNR of the whole study."""
    usable = [q for q in quality if q["evaluable"]]
    found = []
    for contrast in dict.fromkeys(q["contrast"] for q in usable):
        images = [q for q in usable if q["contrast"] == contrast]
        values = [q["snr"] for q in images if q["snr"] is not None]
        low, high = min(values, default=0.0), max(values, default=1.0)
        for site in sorted({q["site_id"] or "" for q in images}, key=natural_key):
            own = [q for q in images if (q["site_id"] or "") == site]
            medians = {}
            for measure in QUALITY_WORDS:
                known = [q[measure] for q in own if q[measure] is not None]
                medians[measure] = median(known) if known else None
            places = tuple(
                round(100 * (q["snr"] - low) / (high - low), 1) if high > low else 50.0
                for q in own
                if q["snr"] is not None
            )
            strip = Strip(places, None, f"SNR of {len(places)} images of site {site or 'unknown'}")
            found.append(SiteQuality(site, contrast, len(own), medians, strip))
    return found


def visits(page: StudyPage) -> Mapping[str, Any]:
    """List every visit."""
    lines = []
    for visit in page.visits:
        has = [visit["qc_status"], visit["visit_type"]]
        has += ["gap"] if _main_reason(visit) else []
        has += ["active"] if visit["cua_count"] or visit["gel_count"] else []
        lines.append(
            {"visit": visit, "href": visit_href(visit), "flags": flags_of(visit), "has": " ".join(has)}
        )
    return {"lines": lines}


def runtime(page: StudyPage) -> Mapping[str, Any] | None:
    """List the cost of every step."""
    return {"steps": page.steps} if page.steps else None
