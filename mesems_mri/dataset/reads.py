"""Published reads: what stands in the tables of a visit that a reader has read, in place of the run's counts.

They lie in a folder of their own, apart from what a run can compute again: a rerun never changes one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from mesems_mri.config import Period, TrialConfig
from mesems_mri.dataset.bids import natural_key
from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    VISIT_METRICS_COLUMNS,
)
from mesems_mri.dataset.counts import participant_endpoints
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Json
from mesems_mri.dataset.records.visit import VisitSummary
from mesems_mri.dataset.tables import write_dictionary, write_table
from mesems_mri.files import read_json, write_json

_WOULD_CHANGE = tuple(
    name
    for name, column in VISIT_METRICS_COLUMNS.items()
    if column.kind in ("integer", "number", "boolean") or name.endswith(("_reason", "_session_id"))
)
"""Columns of a visit whose change by a rerun is listed."""


@dataclass(frozen=True, kw_only=True)
class PublishedRead:
    """Read of a visit, as the tables show it.

    Parameters
    ----------
    version : int
        1, 2, ... of a locked visit; 0 of a read that is not locked.
    metrics : mapping
        Row of ``visit_metrics.tsv``.
    lesions : tuple of mapping
        Rows of the ledger.
    automatic : mapping
        Row of the run on which the read was based.
    decisions_sha256 : str
        Hash over all decisions and outlines.
    masks : mapping of str to str
        SHA-256 of each numbered image of the read.
    """

    version: int
    metrics: Json
    lesions: tuple[Json, ...]
    automatic: Json
    decisions_sha256: str
    masks: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Hash over decisions, masks, counts, software and configuration."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "decisions_sha256": self.decisions_sha256,
            "masks": dict(self.masks),
            "software_version": self.metrics["software_version"],
            "config_sha256": self.metrics["config_sha256"],
            "visit_metrics": dict(self.metrics),
            "lesions": [dict(row) for row in self.lesions],
            "automatic": dict(self.automatic),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {"sha256": self.sha256, **self._content()}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            version=content["version"],
            metrics=content["visit_metrics"],
            lesions=tuple(content["lesions"]),
            automatic=content["automatic"],
            decisions_sha256=content["decisions_sha256"],
            masks=content["masks"],
        )


def published_read(layout: Layout, participant_id: str, session_id: str) -> PublishedRead | None:
    """Return the read of a visit that holds, None if there is none."""
    path = layout.read(participant_id, session_id)
    return PublishedRead.from_json(read_json(path)) if path.is_file() else None


def write_read(layout: Layout, participant_id: str, session_id: str, read: PublishedRead) -> None:
    """Publish a read; a locked one is also kept under its version."""
    if read.version:
        write_json(layout.read_version(participant_id, session_id, read.version), read.to_json())
    write_json(layout.read(participant_id, session_id), read.to_json())


def withdraw_read(layout: Layout, participant_id: str, session_id: str) -> None:
    """Take a published read out of the tables; its versions stay."""
    layout.read(participant_id, session_id).unlink(missing_ok=True)


def would_change(read: PublishedRead, now: Json) -> dict[str, tuple[Any, Any]]:
    """List the automatic results that differ between the basis of a read and the present run.

    Returns
    -------
    dict of str to (value, value)
        By column, then and now.
    """
    return {
        name: (read.automatic.get(name), now.get(name))
        for name in _WOULD_CHANGE
        if read.automatic.get(name) != now.get(name)
    }


def summary_of(layout: Layout, record: Path) -> VisitSummary:
    """Read the summary of a visit from its record; a published read stands in place of the run's counts."""
    summary = VisitSummary.from_json(read_json(record))
    read = published_read(layout, summary.metrics["participant_id"], summary.metrics["session_id"])
    if read is None:
        return summary
    return replace(summary, metrics=read.metrics, lesions=read.lesions)


def write_ledger(layout: Layout, participant_id: str, visits: Iterable[VisitSummary]) -> None:
    """Write the lesion ledger of a participant from the visits in order of time."""
    rows = [row for visit in visits for row in visit.lesions]
    write_table(layout.ledger(participant_id), LEDGER_COLUMNS, rows)


def write_study_tables(layout: Layout, periods: Mapping[str, Period]) -> None:
    """Write the tables of the study from the records of all visits that are there.

    As soon as a visit has been read, ``visit_metrics_desc-automatic.tsv`` keeps what the run counted.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    periods : mapping of str to Period
        Periods of the endpoints by name.
    """
    paths = sorted(layout.out_dir.glob("sub-*/ses-*/*_metrics.json"))
    visits = [(summary_of(layout, path), path) for path in paths]
    # Within a participant the order is that of time, which the record knows and the label may not.
    visits.sort(key=lambda visit: (natural_key(visit[0].metrics["participant_id"]), visit[0].visit_index))
    rows = [visit.metrics for visit, _ in visits]
    write_table(layout.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS, rows)
    write_dictionary(layout.out_dir / "visit_metrics.json", VISIT_METRICS_COLUMNS)
    automatic = layout.out_dir / "visit_metrics_desc-automatic.tsv"
    if any(row["read_status"] != "automatic" for row in rows):
        runs = [read_json(path)["visit_metrics"] for _, path in visits]
        write_table(automatic, VISIT_METRICS_COLUMNS, runs)
    else:
        automatic.unlink(missing_ok=True)
    endpoints = participant_endpoints(rows, periods)
    write_table(layout.out_dir / "participant_endpoints.tsv", PARTICIPANT_ENDPOINTS_COLUMNS, endpoints)
    write_dictionary(layout.out_dir / "participant_endpoints.json", PARTICIPANT_ENDPOINTS_COLUMNS)


def update_tables(layout: Layout, participant_ids: Iterable[str]) -> None:
    """Write the ledgers of some participants and the tables of the study anew, after a read was published."""
    for participant_id in sorted(set(participant_ids)):
        paths = layout.out_dir.glob(f"{participant_id}/ses-*/*_metrics.json")
        visits = sorted((summary_of(layout, path) for path in paths), key=lambda visit: visit.visit_index)
        write_ledger(layout, participant_id, visits)
    write_study_tables(layout, trial_config(layout).periods)


def trial_config(layout: Layout) -> TrialConfig:
    """Return the configuration of the last run."""
    runs = read_json(layout.provenance)["runs"] if layout.provenance.is_file() else []
    return TrialConfig.model_validate(runs[-1].get("config", {}) if runs else {})
