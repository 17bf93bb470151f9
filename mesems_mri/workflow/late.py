"""Visits that arrive between visits that are already done."""

from collections.abc import Collection, Sequence

from mesems_mri.bids import Layout, Participant
from mesems_mri.errors import UsageError


def refuse_late_visits(
    layout: Layout,
    participants: Sequence[Participant],
    asked: Collection[tuple[str, str]],
    *,
    allow_insert: bool,
) -> tuple[str, ...]:
    """Refuse visits that lie before one that is done, since adding them changes what is already read.

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
    for participant in participants:
        done = [layout.metrics(s.participant_id, s.session_id).is_file() for s in participant.sessions]
        # One whose records were removed to run it again, or which a killed run has begun, is no late visit.
        begun = [layout.work(s.participant_id, s.session_id).is_dir() for s in participant.sessions]
        inserted = [
            i
            for i, s in enumerate(participant.sessions)
            if not (done[i] or begun[i]) and any(done[i + 1 :]) and (s.participant_id, s.session_id) in asked
        ]
        names = [s.stem.replace("_", "/") for s in participant.sessions]
        late += [names[i] for i in inserted]
        if inserted:
            again += [name for i, name in enumerate(names) if i > inserted[0] and done[i]]
    if late and not allow_insert:
        msg = (
            f"{', '.join(late)}: lies before visits that are already done and would be computed again; "
            "add --allow-insert, or leave the participant out with --participant-label"
        )
        raise UsageError(msg)
    return tuple(again)
