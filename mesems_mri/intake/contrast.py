"""Contrast phase of T1-weighted series, before or after contrast agent: evidence, weighed.

Every kind of evidence has a vote of its own: name, agent (bolus tags), clock (scan against injection), dose
of the visit schedule, order within the examination; later the image (`mesems_mri.intake.contrast_image`).
Votes that contradict each other decide nothing: the site is asked. A pre-contrast scan taken for the
post-contrast one would be a zero of the primary endpoint, so silence never means *post*.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.intake.contrast_name import phase_of_name
from mesems_mri.intake.dicom.agent import AgentSaid, agent_said, bolus_places
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.tags import moment, parse_clock, text
from mesems_mri.intake.protocol import Agent
from mesems_mri.intake.weighting import acquired_alike

PRE, POST = "T1w", POSTCONTRAST
_ROLE = {"pre": PRE, "post": POST, "": ""}
LATEST_MIN = 90
"""A scan that began longer after the injection shows a wrong clock, not a late scan."""
EARLIEST_MIN = -180
"""The same of a scan that began longer before it."""
_USUAL_MIN = 30
"""A wrong clock is believed only if another one would make it a usual delay."""
_OFFSETS_MIN = (60, -60, 120, -120)
"""By how much the clock of an injector is wrong when nobody set it: summer time, UTC."""
_DAY_MIN = 24 * 60


class Vote(NamedTuple):
    """The vote of one kind of evidence.

    Parameters
    ----------
    kind : str
        ``map``, ``name``, ``agent``, ``clock``, ``dose``, ``order`` or ``image``.
    role : str
        `PRE`, `POST`, or empty: it says nothing.
    because : str
        In words of ours, or of a closed list.
    """

    kind: str
    role: str
    because: str

    @property
    def words(self) -> str:
        """The vote as ``series.tsv`` shows it."""
        said = {PRE: "pre", POST: "post"}.get(self.role, "silent")
        return f"{self.kind} {said} ({self.because})" if self.because else f"{self.kind} {said}"


@dataclass(frozen=True)
class ContrastPhase:
    """Pre- or post-contrast, or unknown, with the evidence.

    Parameters
    ----------
    role : str
        `PRE`, `POST`, or empty: nothing tells, or the votes contradict each other.
    because : str
    votes : tuple of Vote
    confirmed : bool
        False of a post-contrast scan that rests on name and order alone: the image, or the site, must
        confirm it.
    """

    role: str
    because: str
    votes: tuple[Vote, ...] = ()
    confirmed: bool = True

    def vote(self, kind: str) -> str:
        """Return the role for which one kind of evidence votes; empty if it says nothing."""
        return next((vote.role for vote in self.votes if vote.kind == kind), "")


def classify_phases(
    t1w: Sequence[Series],
    contrast_given: bool | None,
    *,
    mapped: Mapping[Series, str] | None = None,
    agents: Sequence[Agent] = (),
) -> list[ContrastPhase]:
    """Return the contrast phase of each T1-weighted series of an examination.

    Bolus tags that all its series have alike say nothing of the single one (some scanners fill them in for
    the whole examination), unless there is only one; a name that series with and without them share says
    nothing either.

    Parameters
    ----------
    t1w : sequence of Series
        All T1-weighted series of one examination.
    contrast_given : bool or None
        Whether the visit was to have contrast agent; None: not known.
    mapped : mapping of Series to str, optional
        Role by the series map of the site; it stands for the name.
    agents : sequence of Agent
        Contrast agents of the protocol.

    Returns
    -------
    list of ContrastPhase
        In the order given.
    """
    said = [agent_said(series.header, agents) for series in t1w]
    tells = len(t1w) == 1 or len({one.given for one in said}) > 1
    names = _name_votes(t1w, said, mapped or {}, tells=tells)
    agent_votes = [_agent_vote(one, tells=tells) for one in said]
    clocks = _clock_votes(t1w, [(n.role, a.role) for n, a in zip(names, agent_votes, strict=True)])
    dose = (
        Vote("dose", PRE, "the visit schedule has a dose of 0")
        if contrast_given is False
        else Vote("dose", "", "")
    )
    found = [_weigh(votes) for votes in zip(names, agent_votes, clocks, [dose] * len(t1w), strict=True)]
    found = _refuse_order(t1w, found)
    agent = contrast_given is True or any(one.given for one in said)
    found = _phases_from_order(t1w, found, agent, contrast_given)
    # one agent named for the whole examination, and a name or the order to say which series
    in_examination = any(one.given for one in said)
    return [_confirm(phase, in_examination) for phase in found]


def _name_votes(
    t1w: Sequence[Series], said: Sequence[AgentSaid], mapped: Mapping[Series, str], *, tells: bool
) -> list[Vote]:
    shared = (
        {s.description for s, one in zip(t1w, said, strict=True) if one.given}
        if tells and len(t1w) > 1
        else set()
    )
    without = {s.description for s, one in zip(t1w, said, strict=True) if not one.given}
    votes = []
    for series in t1w:
        named = phase_of_name(series.description)
        if series in mapped:
            votes.append(Vote("map", mapped[series], "series map of the site"))
        elif series.description in shared & without:
            votes.append(Vote("name", "", "series with and without bolus tags share it"))
        else:
            votes.append(Vote("name", _ROLE[named.phase], named.words))
    return votes


def _agent_vote(said: AgentSaid, *, tells: bool) -> Vote:
    if said.given is None:
        return Vote("agent", "", said.because)
    if said.given and not tells:
        return Vote("agent", "", f"{said.because}, at all series alike")
    return Vote("agent", POST if said.given else PRE, said.because)


def is_after_contrast(series: Series) -> bool:
    """Return whether a series of any weighting was acquired after contrast agent, by its name or its tags."""
    minutes = minutes_after_injection(series)
    by_clock = minutes is None or minutes >= 0
    return phase_of_name(series.description).phase == "post" or (
        agent_said(series.header).given is True and by_clock
    )


def minutes_after_injection(series: Series) -> float | None:
    """Return the minutes from the injection to the start of a scan, over midnight too; negative before it.

    Returns
    -------
    float or None
        From -720 to 720: the injection is told by its clock time alone. None when the header lacks one of
        them.
    """
    started = moment(series.header)
    told = (parse_clock(text(place, "ContrastBolusStartTime")) for place in bolus_places(series.header))
    injected = next((clock for clock in told if clock is not None), None)
    if started is None or injected is None:
        return None
    apart = started - dt.datetime.combine(started.date(), injected)
    return (apart.total_seconds() / 60 + _DAY_MIN / 2) % _DAY_MIN - _DAY_MIN / 2


def _clock_votes(t1w: Sequence[Series], others: Sequence[tuple[str, str]]) -> list[Vote]:
    """Vote by the clock; one that contradicts the rest by whole hours is that of an unset injector."""
    minutes = [minutes_after_injection(series) for series in t1w]
    votes = [_clock_vote(one) for one in minutes]
    rest = [set(other) - {""} for other in others]
    if _agree(votes, rest):
        return votes
    for offset in _OFFSETS_MIN:
        moved = [None if one is None else one + offset for one in minutes]
        usual = any(
            one is not None and 0 <= one <= _USUAL_MIN and other == {POST}
            for one, other in zip(moved, rest, strict=True)
        )
        if usual and _agree([_clock_vote(one) for one in moved], rest):
            side = "ahead" if offset > 0 else "behind"
            because = f"the clock of the injector is {abs(offset)} min {side}"
            return [Vote("clock", "", because if vote.role else vote.because) for vote in votes]
    return votes


def _agree(clocks: Sequence[Vote], rest: Sequence[set[str]]) -> bool:
    return all(other <= {clock.role} for clock, other in zip(clocks, rest, strict=True) if clock.role)


def _clock_vote(minutes: float | None) -> Vote:
    if minutes is None:
        return Vote("clock", "", "")
    if EARLIEST_MIN <= minutes < 0:
        return Vote("clock", PRE, f"the scan began {-minutes:.0f} min before the injection")
    if 0 <= minutes <= LATEST_MIN:
        return Vote("clock", POST, f"{minutes:.0f} min after the injection")
    return Vote("clock", "", f"{abs(minutes):.0f} min from the injection, which no scan is")


def _weigh(votes: Sequence[Vote]) -> ContrastPhase:
    votes = tuple(vote for vote in votes if vote.role or vote.because)
    cast = [vote for vote in votes if vote.role]
    told = "; ".join(f"{_KIND_WORDS[vote.kind]} {vote.because}" for vote in cast)
    if len({vote.role for vote in cast}) > 1:
        return ContrastPhase("", f"contradictory, {told}", votes)
    return ContrastPhase(cast[0].role if cast else "", told, votes)


_KIND_WORDS = {
    "map": "series map:",
    "name": "name says",
    "agent": "agent:",
    "clock": "clock:",
    "dose": "dose:",
}


def _refuse_order(t1w: Sequence[Series], found: list[ContrastPhase]) -> list[ContrastPhase]:
    """Take their phase from series of which a post-contrast one began before a pre-contrast one."""
    times = [moment(series.header) for series in t1w]
    timed = [(time, phase.role) for time, phase in zip(times, found, strict=True) if time and phase.role]
    first_post = min((time for time, role in timed if role == POST), default=None)
    last_pre = max((time for time, role in timed if role == PRE), default=None)
    if first_post is None or last_pre is None or first_post >= last_pre:
        return found
    because = "contradictory, a scan after contrast agent began before one without"
    refused = []
    for time, phase in zip(times, found, strict=True):
        against = (phase.role == POST and time and time < last_pre) or (
            phase.role == PRE and time and time > first_post
        )
        vote = Vote("order", PRE if phase.role == POST else POST, because)
        refused.append(
            ContrastPhase("", f"{because}; {phase.because}", (*phase.votes, vote)) if against else phase
        )
    return refused


def _phases_from_order(
    t1w: Sequence[Series], found: list[ContrastPhase], agent: bool, contrast_given: bool | None
) -> list[ContrastPhase]:
    """Give series without a phase one by when they were acquired, relative to each other."""
    found = list(found)
    times = [moment(series.header) for series in t1w]
    left = [at for at, phase in enumerate(found) if not phase.role and not phase.because]
    known = [(times[at], phase.role, t1w[at]) for at, phase in enumerate(found)]
    first_post = min((time for time, role, _ in known if role == POST and time), default=None)
    pre = [(time, series) for time, role, series in known if role == PRE and time]
    for at in left:
        time = times[at]
        if time and first_post and time != first_post:
            role, side = (PRE, "before") if time < first_post else (POST, "after")
            found[at] = _by_order(found[at], role, f"{side} the series with contrast agent")
        # a repetition of another sequence is no second phase: only what was acquired alike is
        elif (
            time
            and pre
            and not first_post
            and agent
            and time > max(before for before, _ in pre)
            and any(acquired_alike(t1w[at], series) for _, series in pre)
        ):
            found[at] = _by_order(found[at], POST, "after the series without contrast agent")
    left = [at for at in left if not found[at].role]
    if len(left) == len(t1w) == 2 and agent and acquired_alike(*t1w):
        first, second = times
        if first and second and first != second:
            words = ("the first", "the second") if first < second else ("the second", "the first")
            for at, word in enumerate(words):
                role = PRE if word == "the first" else POST
                found[at] = _by_order(found[at], role, f"{word} of two T1w acquired alike")
    elif len(left) == len(t1w) == 1 and not agent and contrast_given is None:
        found[left[0]] = replace(found[left[0]], role=PRE, because="nothing tells of contrast agent")
    return found


def _by_order(phase: ContrastPhase, role: str, because: str) -> ContrastPhase:
    vote = Vote("order", role, because)
    return replace(phase, role=role, because=f"time order: {because}", votes=(*phase.votes, vote))


def _confirm(phase: ContrastPhase, in_examination: bool) -> ContrastPhase:
    own = {vote.kind for vote in phase.votes if vote.role == POST}
    confirmed = phase.role != POST or bool(own & {"agent", "clock"}) or in_examination
    return replace(phase, confirmed=confirmed)
