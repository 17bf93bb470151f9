"""Write the pages of the participants and of the study."""

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import (
    PARTICIPANT_ENDPOINTS_COLUMNS,
    SITE_QUALITY_COLUMNS,
    VISIT_METRICS_COLUMNS,
)
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import summary_of
from mesems_mri.dataset.records.base import StepRecord, outcome_of
from mesems_mri.dataset.tables import read_table
from mesems_mri.files import read_json, write_text
from mesems_mri.report.page import Link, render_page
from mesems_mri.report.participant_page import ParticipantPage
from mesems_mri.report.study_page import Failure, StepTime, StudyPage

STEP_ORDER = (
    "standardise",
    "register",
    "detect",
    "measure",
    "compile_quality",
    "report",
    "compile_ledger",
    "report_participant",
    "compile_metrics",
)
"""Steps in the order in which the table of costs lists them; others follow."""


def report_participant(layout: Layout, participant_id: str, records: Sequence[Path]) -> None:
    """Write the page of a participant.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    participant_id : str
        With its prefix.
    records : sequence of Path
        Visit records in order of time.
    """
    visits = [summary_of(layout, path) for path in records]
    first = visits[0].metrics
    named = [f"Study {first['study_id']}"] if first["study_id"] != TrialConfig().study_id else []
    named += [f"Site {first['site_id']}"] if first["site_id"] else []
    page = render_page(
        "participant",
        ParticipantPage(visits),
        title=participant_id,
        subtitle=" · ".join([*named, _many(len(visits), "visit")]),
        links=[Link("Study", "../index.html")],
    )
    write_text(layout.participant_page(participant_id), page)


def report_study(layout: Layout) -> None:
    """Write the page of the study from its tables, the visit records and the logs.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    """
    visits = read_table(layout.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    endpoints = layout.out_dir / "participant_endpoints.tsv"
    quality = layout.site_quality()
    content = StudyPage(
        visits=visits,
        endpoints=read_table(endpoints, PARTICIPANT_ENDPOINTS_COLUMNS) if endpoints.is_file() else [],
        quality=read_table(quality, SITE_QUALITY_COLUMNS) if quality.is_file() else [],
        failures=[f for v in visits if (f := _failure(layout, v["participant_id"], v["session_id"]))],
        steps=step_times(layout.out_dir / "logs"),
    )
    names = sorted({v["study_id"] for v in visits if v["study_id"]} - {TrialConfig().study_id})
    participants = len({v["participant_id"] for v in visits})
    page = render_page(
        "study",
        content,
        title=f"Study {', '.join(names)}" if names else "Study",
        subtitle=f"{_many(participants, 'participant')} · {_many(len(visits), 'visit')}",
    )
    write_text(layout.study_page(), page)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _failure(layout: Layout, participant_id: str, session_id: str) -> Failure | None:
    """Return the failure of a visit with the log that tells it; None if the visit is done."""
    path = layout.metrics(participant_id, session_id)
    record = outcome_of(read_json(path)) if path.is_file() else StepRecord()
    if record.done:
        return None
    folder = layout.out_dir / "logs" / participant_id / session_id
    logs = sorted(folder.glob("*.log"), key=lambda log: _place(log.stem))
    telling = [
        log for log in logs if "failed\nTraceback" in log.read_text(encoding="utf-8", errors="replace")
    ]
    chosen = telling or logs[-1:]
    log = chosen[0].relative_to(layout.out_dir).as_posix() if chosen else ""
    return Failure(participant_id, session_id, record.status, record.message, log)


def step_times(folder: Path) -> list[StepTime]:
    """Summarise the benchmark files of Snakemake below a folder, by step."""
    measured: dict[str, list[dict[str, float]]] = {}
    for path in folder.rglob("*.benchmark.tsv"):
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                values = {name: _seconds(row.get(name)) for name in ("s", "cpu_time", "max_rss")}
                measured.setdefault(path.name.removesuffix(".benchmark.tsv"), []).append(values)
    return [
        StepTime(
            step=step,
            count=len(rows),
            median_s=median(row["s"] for row in rows),
            longest_s=max(row["s"] for row in rows),
            total_cpu_s=sum(row["cpu_time"] for row in rows),
            peak_mb=max(row["max_rss"] for row in rows),
        )
        for step, rows in sorted(measured.items(), key=lambda item: (_place(item[0]), item[0]))
    ]


def _place(step: str) -> int:
    return STEP_ORDER.index(step) if step in STEP_ORDER else len(STEP_ORDER)


def _seconds(text: str | None) -> float:
    """Return a number of a benchmark file; Snakemake writes NA or - for a job too short to be measured."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
