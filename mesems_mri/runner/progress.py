"""Progress of a run: a live table on a terminal, one line per visit in a log."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mesems_mri.dataset.bids import Participant
from mesems_mri.dataset.layout import Layout
from mesems_mri.pipeline.visit import STEPS
from mesems_mri.runner.events import Job, WorkflowEvents
from mesems_mri.runner.state import Outcome, visit_state

_GLYPHS = {"waiting": "·", "running": "▸", "done": "●", "not_evaluable": "○", "failed": "✗"}
_STYLES = {
    "waiting": "dim",
    "running": "bold yellow",
    "done": "green",
    "not_evaluable": "cyan",
    "failed": "bold red",
}
_MAX_GLYPHS = 14
"""With more visits than this a cell holds numbers."""
_OTHER_LINES = 9
"""Lines of a terminal beside the rows of the table."""


class Progress(Protocol):
    """Display of the progress of a run."""

    def __enter__(self) -> "Progress": ...
    def __exit__(self, *_: object) -> None: ...
    def watch(self, events: WorkflowEvents) -> None:
        """Update from the events so far."""
        ...


class _EndedJobs:
    """Finds the jobs that have ended since it was last asked."""

    def __init__(self) -> None:
        self._events: WorkflowEvents | None = None
        self._seen: set[int] = set()

    def new(self, events: WorkflowEvents) -> list[Job]:
        if events is not self._events:  # Snakemake was started again
            self._events, self._seen = events, set()
        ended = {**events.finished, **{n: j for n, j in events.failed.items() if j.session_id}}
        fresh = [job for number, job in ended.items() if number not in self._seen]
        self._seen.update(ended)
        return fresh


class PlainProgress:
    """One line per visit, for a log file.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    say : callable
        Takes one line.
    last_step : str
        The rule after which a visit is complete.
    """

    def __init__(self, layout: Layout, say: Callable[[str], None], *, last_step: str) -> None:
        self._layout, self._say, self._last = layout, say, last_step
        self._ended = _EndedJobs()
        self._started_s = time.monotonic()
        self._announced = False
        self._through: set[tuple[str, str]] = set()

    def __enter__(self) -> "PlainProgress":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def watch(self, events: WorkflowEvents) -> None:
        """Report the visits that are complete."""
        if events.started and not self._announced:
            self._announced = True
            self._say(f"{events.planned_visits} visits to run, {events.total} jobs")
        for job in self._ended.new(events):
            visit = (job.participant_id, job.session_id)
            if job.rule != self._last or visit in self._through:
                continue
            self._through.add(visit)
            state = visit_state(self._layout, *visit)
            word = state.outcome.replace("_", " ") if state.outcome is not Outcome.WAITING else "done"
            why = f" ({state.step or state.reason})" if state.step or state.reason else ""
            number = f"{len(self._through)} of {max(events.planned_visits, len(self._through))} visits"
            self._say(f"[{_clock(time.monotonic() - self._started_s)}] {state.name}: {word}{why}; {number}")


class LiveProgress:
    """A table of participants and steps, one sign per visit, for a terminal.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    participants : sequence of Participant
        The rows.
    console : Console
        The terminal.
    """

    def __init__(self, layout: Layout, participants: Sequence[Participant], console: Console) -> None:
        self._layout, self._participants, self._console = layout, participants, console
        self._ended = _EndedJobs()
        self._started_s = time.monotonic()
        self._events = WorkflowEvents()
        self._cells: dict[tuple[str, str, str], str] = {}
        for participant in participants:
            for session in participant.sessions:
                self._read(session.participant_id, session.session_id)
        self._live = Live(get_renderable=self.table, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveProgress":
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def watch(self, events: WorkflowEvents) -> None:
        """Update from the jobs that have ended; the table draws itself."""
        self._events = events
        for job in self._ended.new(events):
            if job.session_id:
                self._read(job.participant_id, job.session_id)

    def _read(self, participant_id: str, session_id: str) -> None:
        state = visit_state(self._layout, participant_id, session_id)
        good = "not_evaluable" if state.outcome is Outcome.NOT_EVALUABLE else "done"
        for rule in STEPS:
            word = "failed" if rule == state.step else good if rule in state.steps else "waiting"
            self._cells[participant_id, session_id, rule] = word

    def table(self) -> Table:
        """Draw the table as it is now."""
        events = self._events
        running = {(j.participant_id, j.session_id, j.rule) for j in list(events.running.values())}
        table = Table(title=self._title(), title_justify="left", expand=False, pad_edge=False)
        table.add_column("participant")
        for heading in STEPS:
            table.add_column(heading, no_wrap=True)
        room = max(self._console.height - _OTHER_LINES, 3)
        shown = sorted(self._participants, key=lambda p: self._urgency(p, running))[:room]
        for participant in sorted(shown, key=self._participants.index):
            table.add_row(
                participant.participant_id, *(self._cell(participant, rule, running) for rule in STEPS)
            )
        if hidden := len(self._participants) - len(shown):
            table.add_row(f"and {hidden} more", *[""] * len(STEPS))
        table.caption = "   ".join(f"{_GLYPHS[word]} {word.replace('_', ' ')}" for word in _GLYPHS)
        table.caption_justify = "left"
        return table

    def _title(self) -> str:
        events = self._events
        took_s = time.monotonic() - self._started_s
        if not events.total:
            return f"making the plan, {_clock(took_s)}"
        title = f"{events.done} of {events.total} jobs done, {_clock(took_s)}"
        if events.done and events.done < events.total:
            left_s = took_s / events.done * (events.total - events.done)
            title += f", about {_clock(left_s)} left"
        return title

    def _urgency(self, participant: Participant, running: set[tuple[str, str, str]]) -> int:
        """Rank the participants to show where there is no room for all: running, failed, unfinished."""
        name = participant.participant_id
        words = [self._cells[name, s.session_id, r] for s in participant.sessions for r in STEPS]
        if any(job[0] == name for job in running):
            return 0
        return 1 if "failed" in words else 2 if "waiting" in words else 3

    def _cell(self, participant: Participant, rule: str, running: set[tuple[str, str, str]]) -> Text:
        words = []
        for session in participant.sessions:
            key = (participant.participant_id, session.session_id, rule)
            words.append("running" if key in running else self._cells[key])
        if len(words) > _MAX_GLYPHS:
            through = sum(word not in ("waiting", "running") for word in words)
            style = _STYLES["failed"] if "failed" in words else ""
            return Text(f"{through}/{len(words)}", style=style)
        return Text.assemble(*((_GLYPHS[word], _STYLES[word]) for word in words))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
