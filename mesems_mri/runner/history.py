"""History of the runs in ``provenance.json``, and the visits of each; no other record has times and paths."""

import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.files import read_json, write_json
from mesems_mri.provenance import machine, software_versions

_KEPT = 200
"""Number of recent runs kept; of older ones, those that made a visit which no later run made again."""


class History:
    """The runs on an output folder.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.runs: list[dict[str, Any]] = []
        try:
            content = read_json(layout.provenance)
        except (OSError, ValueError):
            return
        self.runs = content.get("runs", [content])

    def begin(self, bids_dir: Path, config: TrialConfig, sessions: Sequence[Session]) -> None:
        """Add this run; an earlier one that was killed gets the visits that it has made."""
        if self.runs and self.runs[-1].get("ended") is None:
            self.runs[-1]["visits"] = self._made_since(self.runs[-1]["started"], sessions)
        self.runs.append(
            {
                "command": sys.argv,
                "started": _now(),
                "ended": None,
                "exit_code": None,
                "bids_dir": str(bids_dir.resolve()),
                "visits": [],
                "config": config.model_dump(mode="json"),
                "config_sha256": config.sha256(),
                "versions": software_versions(),
                "machine": machine(),
            }
        )
        self._write()

    def end(self, exit_code: int, sessions: Sequence[Session]) -> None:
        """Record the exit code of this run and the visits that it has made."""
        this = self.runs[-1]
        this["visits"] = self._made_since(this["started"], sessions)
        this["ended"], this["exit_code"] = _now(), exit_code
        self._write()

    def _made_since(self, started: str, sessions: Sequence[Session]) -> list[str]:
        since_s = dt.datetime.fromisoformat(started).timestamp()
        made = []
        for session in sessions:
            path = self._layout.metrics(session.participant_id, session.session_id)
            if path.is_file() and path.stat().st_mtime >= since_s:
                made.append(f"{session.participant_id}/{session.session_id}")
        return made

    def _write(self) -> None:
        later: set[str] = set()
        kept = []
        for age, run in enumerate(reversed(self.runs)):
            if age < _KEPT or set(run.get("visits", ())) - later:
                kept.append(run)
            later |= set(run.get("visits", ()))
        self.runs = kept[::-1]
        write_json(self._layout.provenance, {"schema_version": 1, "runs": self.runs})


def _now() -> str:
    return dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds")
