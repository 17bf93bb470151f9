"""Which visits have failed, and what is to be done that the others go on."""

from collections.abc import Sequence
from pathlib import Path

from mesems_mri.bids import Layout, Participant, Session
from mesems_mri.errors import MesemsError
from mesems_mri.provenance import read_json
from mesems_mri.steps.visit import STEPS, VisitFiles, run_step


def failed_step(layout: Layout, session: Session) -> str | None:
    """Return the first step of a visit that has failed, or None."""
    for step in STEPS:
        path = layout.record(session.participant_id, session.session_id, step)
        if path.is_file() and read_json(path)["status"] == "failed":
            return step
    return None


def incomplete(layout: Layout, session: Session) -> bool:
    """Tell whether somebody has removed a product that a record says is there."""
    path = layout.record(session.participant_id, session.session_id, "measure")
    return path.is_file() and any(
        not (layout.out_dir / name).is_file() for name in read_json(path).get("products", [])
    )


def forget(layout: Layout, session: Session) -> None:
    """Remove the records of a visit and the metrics that Snakemake asks for, so that it is run again."""
    for step in STEPS:
        layout.record(session.participant_id, session.session_id, step).unlink(missing_ok=True)
    layout.metrics(session.participant_id, session.session_id).unlink(missing_ok=True)


def mark_lost(
    layout: Layout, bids_dir: Path, participants: Sequence[Participant], lost: set[tuple[str, str, str]]
) -> bool:
    """Give visits whose job died without a word a record of failure; tell whether there was a new one.

    A job that is killed (memory, time limit, lost node) cannot write its record, and everything that is
    computed from it would wait for ever.
    """
    marked = False
    for participant in participants:
        earlier: Session | None = None
        for session in participant.sessions:
            visit = VisitFiles(
                bids_dir=bids_dir,
                layout=layout,
                participant_id=session.participant_id,
                session_id=session.session_id,
            )
            for step in STEPS:
                path = layout.record(session.participant_id, session.session_id, step)
                if path.is_file():
                    continue
                carried = {}
                if earlier:
                    kept = "lesions" if step == "measure" else step
                    before = layout.record(earlier.participant_id, earlier.session_id, kept)
                    carried = read_json(before).get("carried", {}) if before.is_file() else {}
                # The visit record is written by the last step; a failure before it makes that step trivial.
                run_step("lesions" if step == "measure" else step, visit, _job_died, carried=carried)
                # One that is lost again although there is nothing left to compute is given up.
                marked = marked or (session.participant_id, session.session_id, step) not in lost
                lost.add((session.participant_id, session.session_id, step))
                break
            earlier = session
    return marked


def _job_died() -> dict[str, object]:
    msg = "the job ended without a word; it may have run out of memory or time"
    raise MesemsError(msg)
