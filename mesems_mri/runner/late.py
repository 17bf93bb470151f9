"""Late visits: added, or with a query opened or closed, before visits that are already done."""

from collections.abc import Collection, Sequence

from mesems_mri.dataset.bids import Participant, Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import Reason, UsageError
from mesems_mri.files import read_json


def refuse_late_visits(
    layout: Layout,
    participants: Sequence[Participant],
    asked: Collection[tuple[str, str]],
    *,
    allow_insert: bool,
    computed: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Refuse visits before one that is done, since they change later visits that may have been read.

    A visit that was not evaluable for an open query, and has none any more, comes late like one whose scans
    come late; so does one that was evaluated, and now waits for an answer.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    participants : sequence of Participant
        All visits of the data set in order of time.
    asked : collection of (participant_id, session_id)
        Visits asked for.
    allow_insert : bool
        They are accepted.
    computed : collection of str, optional
        Participants of whom everything that is done is brought up to date, whatever visits are asked for;
        None: those of `asked`.

    Returns
    -------
    tuple of str
        With `allow_insert`: the later visits, which are computed again.

    Raises
    ------
    UsageError
        If there is one among those asked for and `allow_insert` is not set.
    """
    late, again = [], []
    computed = {participant_id for participant_id, _ in asked} if computed is None else computed
    for participant in participants:
        done = [layout.metrics(s.participant_id, s.session_id).is_file() for s in participant.sessions]
        of_computed = participant.participant_id in computed
        inserted = _inserted(layout, participant, done, asked, of_computed=of_computed)
        late += [f"{_name(participant.sessions[i])}{why}" for i, why in inserted.items()]
        if inserted:
            first = min(inserted)
            again += [_name(s) for i, s in enumerate(participant.sessions) if i > first and done[i]]
    if late and not allow_insert:
        msg = (
            f"{', '.join(late)}: lies before visits that are already done and would be computed again; "
            "add --allow-insert, or leave the participant out with --participant-label"
        )
        raise UsageError(msg)
    return tuple(again)


def _inserted(
    layout: Layout,
    participant: Participant,
    done: Sequence[bool],
    asked: Collection[tuple[str, str]],
    *,
    of_computed: bool,
) -> dict[int, str]:
    """Return the places of a participant's visits that are late, with the change of a query behind them."""
    inserted = {}
    for i, session in enumerate(participant.sessions):
        if not any(done[i + 1 :]):
            break
        why = _changed_query(layout, session) if done[i] and of_computed else ""
        # One whose records were removed to run it again, or that a killed run has begun, is not late.
        begun = layout.work(session.participant_id, session.session_id).is_dir()
        new = not (done[i] or begun) and (session.participant_id, session.session_id) in asked
        if new or why:
            inserted[i] = why
    return inserted


def _name(session: Session) -> str:
    return f"{session.participant_id}/{session.session_id}"


def _changed_query(layout: Layout, session: Session) -> str:
    """Describe the change of a done visit that was blocked by a query and is not any more, or the reverse."""
    path = layout.record(session.participant_id, session.session_id, "standardise")
    try:
        held = read_json(path).get("reason") == Reason.OPEN_QUERY
    except (OSError, ValueError):  # its records were removed, so that it is run again
        return ""
    if held == bool(session.open_queries):
        return ""
    return " (its query is closed)" if held else " (a query about it is open)"
