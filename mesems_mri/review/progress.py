"""Stages of a visit on its way to the lock, and the rule by which readers are assigned."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from mesems_mri.errors import UsageError

TaskKind = Literal["read", "re_read", "adjudication", "single"]


class VisitStage(StrEnum):
    """Stages of a visit."""

    AUTOMATIC = "automatic"
    ASSIGNED = "assigned"
    READ_1 = "read (1 of 2)"
    READ_2 = "read (2 of 2)"
    """Both reads are signed and not compared yet."""
    CONCORDANT = "concordant"
    IN_ADJUDICATION = "in adjudication"
    ADJUDICATED = "adjudicated"
    LOCKED = "locked"


def visit_stage(
    reads_signed: Sequence[bool],
    *,
    concordant: bool | None,
    adjudication_signed: bool | None,
    locked: bool,
) -> VisitStage:
    """Return the stage of a visit.

    Parameters
    ----------
    reads_signed : sequence of bool
        Of its two reads, those that are assigned.
    concordant : bool or None
        The two reads agree; None as long as they cannot be compared.
    adjudication_signed : bool or None
        None: no adjudicator has it.
    locked : bool
    """
    if locked:
        return VisitStage.LOCKED
    if adjudication_signed is not None:
        return VisitStage.ADJUDICATED if adjudication_signed else VisitStage.IN_ADJUDICATION
    if concordant:
        return VisitStage.CONCORDANT
    signed = sum(reads_signed)
    if signed == 0:
        return VisitStage.ASSIGNED if reads_signed else VisitStage.AUTOMATIC
    return VisitStage.READ_2 if signed >= 2 else VisitStage.READ_1


@dataclass(frozen=True)
class Assignment:
    """One visit for one reader.

    Parameters
    ----------
    reader, participant_id, session_id : str
    kind : str
        ``read`` or ``re_read``.
    """

    reader: str
    participant_id: str
    session_id: str
    kind: TaskKind = "read"


def assign_reads(
    visits: Iterable[tuple[str, str]],
    readers: Sequence[str],
    *,
    seed: int,
    re_read_share: float = 0.1,
    known: Iterable[Assignment] = (),
    order_hidden: bool = False,
) -> list[Assignment]:
    """Assign every visit to two readers, and the planned share of visits to one of them once more.

    All visits of a participant go to the same two readers, so that each has the prior visit beside the
    current one. The two with the fewest visits so far get the next participant; ties and order are drawn by
    the seed. A visit that is assigned already stays with its readers.

    Parameters
    ----------
    visits : iterable of (str, str)
        Participant and session, in order of time within a participant.
    readers : sequence of str
    seed : int
    re_read_share : float
        Share of the visits that one of their readers reads again, 0 to 1.
    known : iterable of Assignment
        Made before.
    order_hidden : bool
        The visits of a participant are mixed with all others, instead of in order of time.

    Returns
    -------
    list of Assignment
        The new ones, each reader's in the order of reading; a re-read comes later than the read, among the
        visits of others, so that nothing tells it from a read.

    Raises
    ------
    UsageError
        If there are fewer than two readers.
    """
    people = sorted(set(readers))
    if len(people) < 2:
        msg = f"assign: {len(people)} readers, expected at least 2; add one with mesems-mri review user add"
        raise UsageError(msg)
    before = list(known)
    there = {(a.participant_id, a.session_id) for a in before if a.kind == "read"}
    by_participant: dict[str, list[str]] = {}
    for participant, session in visits:
        by_participant.setdefault(participant, []).append(session)
    pairs = _known_pairs(before)
    load = {name: sum(a.reader == name for a in before if a.kind == "read") for name in people}
    drawn = random.Random(f"{seed}/order")
    order = sorted(by_participant)
    drawn.shuffle(order)
    # The participants with the most visits first, so that the last ones even out the loads.
    order.sort(key=lambda participant: -len(by_participant[participant]))
    new: list[Assignment] = []
    for participant in order:
        rank = {name: random.Random(f"{seed}/{participant}/{name}").random() for name in people}
        pair = pairs.get(participant) or sorted(people, key=lambda name: (load[name], rank[name]))[:2]
        for session in by_participant[participant]:
            if (participant, session) not in there:
                new += [Assignment(reader, participant, session) for reader in pair]
                for reader in pair:
                    load[reader] = load.get(reader, 0) + 1
    random.Random(f"{seed}/reading").shuffle(order)
    place = {participant: n for n, participant in enumerate(order)}
    new.sort(key=lambda a: place[a.participant_id])  # stable: the visits of one stay in order of time
    if order_hidden:
        random.Random(f"{seed}/hidden").shuffle(new)
    return _interleaved(new, _re_reads(new, before, seed=seed, share=re_read_share), seed=seed)


def _interleaved(reads: Sequence[Assignment], again: Sequence[Assignment], *, seed: int) -> list[Assignment]:
    """Put each re-read between two participants of its reader, after the visits of its own participant."""
    ordered: list[Assignment] = []
    for reader in sorted({a.reader for a in reads}):
        own = [a for a in reads if a.reader == reader]
        for late in [a for a in again if a.reader == reader]:
            last = max(n for n, a in enumerate(own) if a.participant_id == late.participant_id)
            between = [
                n for n in range(last + 1, len(own)) if own[n].participant_id != own[n - 1].participant_id
            ]
            places = [*between[len(between) // 2 :], len(own)]
            drawn = random.Random(f"{seed}/again/{late.participant_id}/{late.session_id}")
            own.insert(drawn.choice(places), late)
        ordered += own
    return ordered


def _known_pairs(before: Iterable[Assignment]) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    for assignment in before:
        if assignment.kind == "read":
            readers = pairs.setdefault(assignment.participant_id, [])
            if assignment.reader not in readers:
                readers.append(assignment.reader)
    return pairs


def _re_reads(
    new: Sequence[Assignment], before: Iterable[Assignment], *, seed: int, share: float
) -> list[Assignment]:
    """Choose the visits that one of their two readers reads again, spread evenly over the readers."""
    visits = sorted({(a.participant_id, a.session_id) for a in new})
    drawn = random.Random(f"{seed}/again")
    drawn.shuffle(visits)
    wanted = round(share * len(visits))
    load: dict[str, int] = {}
    for assignment in before:
        if assignment.kind == "re_read":
            load[assignment.reader] = load.get(assignment.reader, 0) + 1
    readers: Mapping[tuple[str, str], list[str]] = {
        visit: [a.reader for a in new if (a.participant_id, a.session_id) == visit]
        for visit in visits[:wanted]
    }
    again = []
    for (participant, session), pair in readers.items():
        reader = min(pair, key=lambda name: (load.get(name, 0), name))
        load[reader] = load.get(reader, 0) + 1
        again.append(Assignment(reader, participant, session, "re_read"))
    return again
