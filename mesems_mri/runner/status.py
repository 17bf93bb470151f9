"""Status of a study, from the output folder alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from mesems_mri.dataset.bids import natural_key
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import published_read
from mesems_mri.errors import Reason
from mesems_mri.files import read_json
from mesems_mri.runner.lock import LockHolder, read_holder
from mesems_mri.runner.state import Outcome, VisitState, no_run, visit_state

COUNTED = (
    "expected",
    "done",
    "not_evaluable",
    "failed",
    "waiting",
    "in_query",
    "read",
    "locked",
    "sent",
)
"""Counts of visits; the first is the sum of the next four."""
_READ = {"read", "adjudicated", "locked"}


@dataclass
class Status:
    """Status of a study.

    Parameters
    ----------
    participants : dict of str to dict of str to int
        For each participant the counts named in `COUNTED`.
    visits : list of VisitState
        Every visit that is expected.
    holder : LockHolder or None
        The lock holder of the present run.
    holder_is_stale : bool
        The run that holds it was killed on this machine.
    """

    participants: dict[str, dict[str, int]] = field(default_factory=dict)
    visits: list[VisitState] = field(default_factory=list)
    holder: LockHolder | None = None
    holder_is_stale: bool = False

    @property
    def total(self) -> dict[str, int]:
        """The counts over all participants."""
        return {name: sum(counts[name] for counts in self.participants.values()) for name in COUNTED}

    def running(self) -> str:
        """Describe the present run, if there is one, in one sentence."""
        if self.holder is None:
            return "no run is on"
        if self.holder_is_stale:
            return f"the last run was killed: {self.holder}; the same command goes on"
        return f"running: {self.holder}"

    def to_json(self) -> dict[str, Any]:
        """Return it for a program."""
        on = self.holder is not None and not self.holder_is_stale
        return {
            "schema_version": 1,
            "running": {"user": self.holder.user, "host": self.holder.host, "since": self.holder.since}
            if on and self.holder
            else None,
            "total": self.total,
            "participants": self.participants,
            "visits": [
                {
                    "participant_id": state.participant_id,
                    "session_id": state.session_id,
                    "state": str(state.outcome),
                    "step": state.step,
                    "reason": state.reason,
                    "message": state.message,
                }
                for state in self.visits
            ],
        }

    def text(self) -> str:
        """Return it as lines of equal width, which no terminal has to fit."""
        rows = [["participant", *(name.replace("_", " ") for name in COUNTED)]]
        rows += [[p, *(str(c[name]) for name in COUNTED)] for p, c in self.participants.items()]
        rows.append(["total", *(str(self.total[name]) for name in COUNTED)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        )

    def table(self) -> Table:
        """Return it for a reader."""
        table = Table(pad_edge=False)
        table.add_column("participant")
        for name in COUNTED:
            table.add_column(name.replace("_", " "), justify="right")
        for participant, counts in self.participants.items():
            table.add_row(participant, *(str(counts[name]) for name in COUNTED))
        table.add_section()
        table.add_row("total", *(str(self.total[name]) for name in COUNTED), style="bold")
        return table


def read_status(layout: Layout, sent: Collection[tuple[str, str]] = ()) -> Status:
    """Read the status of a study.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    sent : collection of (str, str)
        Participant and session of the visits that were sent to central analysis.

    Raises
    ------
    UsageError
        If nothing has ever been run there.
    """
    expected = _expected(layout)
    if not expected:
        raise no_run(layout)
    status = Status()
    for participant, sessions in expected.items():
        states = [visit_state(layout, participant, session) for session in sessions]
        status.visits += states
        counts = _count(layout, states)
        counts["sent"] = sum((participant, session) in sent for session in sessions)
        status.participants[participant] = counts
    status.holder = read_holder(layout.run_lock)
    status.holder_is_stale = bool(status.holder and status.holder.is_stale())
    return status


def _expected(layout: Layout) -> dict[str, list[str]]:
    """List the visits that the raw data had at the last run, and those that earlier runs have left."""
    visits: dict[str, list[str]] = {}
    if layout.expected.is_file():
        visits = {name: list(sessions) for name, sessions in read_json(layout.expected)["visits"].items()}
    for path in layout.out_dir.glob("sub-*/ses-*/*_metrics.json"):
        sessions = visits.setdefault(path.parent.parent.name, [])
        if path.parent.name not in sessions:
            sessions.append(path.parent.name)
            sessions.sort(key=natural_key)
    return dict(sorted(visits.items(), key=lambda item: natural_key(item[0])))


def _count(layout: Layout, states: Sequence[VisitState]) -> dict[str, int]:
    counts: dict[str, int] = {name: 0 for name in COUNTED}
    counts["expected"] = len(states)
    for state in states:
        counts[state.outcome] += 1
        path = layout.metrics(state.participant_id, state.session_id)
        if state.outcome is Outcome.WAITING or not path.is_file():
            continue
        row: Mapping[str, Any] = read_json(path)["visit_metrics"]
        reasons = {value for name, value in row.items() if name.endswith("_reason")}
        counts["in_query"] += str(Reason.OPEN_QUERY) in reasons
        read = published_read(layout, state.participant_id, state.session_id)
        read_status = (read.metrics if read else row)["read_status"]
        counts["read"] += read_status in _READ
        counts["locked"] += read_status == "locked"
    return counts
