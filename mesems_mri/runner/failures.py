"""Failed and incomplete visits: records of failure in the place of lost ones, so that the others go on."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from mesems_mri.dataset.bids import Participant, Session
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Json, StepRecord
from mesems_mri.dataset.records.measure import MeasureRecord
from mesems_mri.files import TEMPORARY, read_json
from mesems_mri.pipeline.visit import COMPUTED, REPORT, STEPS, VisitFiles, fail_instead, run_step
from mesems_mri.runner.events import Job
from mesems_mri.runner.state import Outcome, visit_state


def lacks_product(layout: Layout, session: Session) -> bool:
    """Return whether a product named in the record of a visit was removed."""
    path = layout.record(session.participant_id, session.session_id, "measure")
    if not path.is_file():
        return False
    measured = MeasureRecord.from_json(read_json(path)).measured
    return any(not (layout.out_dir / name).is_file() for name in (measured.products if measured else ()))


def remove_records(layout: Layout, session: Session) -> None:
    """Remove the records of a visit and the metrics that Snakemake asks for, so that it is run again."""
    for step in STEPS:
        layout.record(session.participant_id, session.session_id, step).unlink(missing_ok=True)
    layout.metrics(session.participant_id, session.session_id).unlink(missing_ok=True)


def remove_temporary_files(layout: Layout, session: Session) -> None:
    """Remove the temporary files of a killed step."""
    folders = [
        layout.work(session.participant_id, session.session_id),
        layout.metrics(session.participant_id, session.session_id).parent,
        layout.product(session.participant_id, session.session_id, "").parent,
    ]
    for folder in folders:
        for path in folder.glob(TEMPORARY):
            with contextlib.suppress(OSError):
                path.unlink()


def record_lost_jobs(
    layout: Layout,
    bids_dir: Path,
    participants: Sequence[Participant],
    jobs: Sequence[Job],
    lost: set[tuple[str, str, str]],
) -> bool:
    """Write a record of failure for visits whose job died without one.

    A job that is killed together with the process that watches it (time limit, lost node) cannot write its
    record, and everything that is computed from it would wait for ever.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    bids_dir : Path
        Raw BIDS folder.
    participants : sequence of Participant
        The visits in order of time.
    jobs : sequence of Job
        Jobs that started and did not finish.
    lost : set of (participant_id, session_id, step)
        Those known so far; new ones are added.

    Returns
    -------
    bool
        True if there is a new one, so that a restart makes sense.
    """
    dead = {(job.participant_id, job.session_id, job.rule): job for job in jobs}
    marked = False
    for participant in participants:
        earlier: Session | None = None
        for session in participant.sessions:
            for step in COMPUTED:
                if layout.record(session.participant_id, session.session_id, step).is_file():
                    continue
                job = dead.get((session.participant_id, session.session_id, step))
                if job is None:
                    break  # it has not been tried
                # The visit record is written by the last step; a failure before it makes that step trivial.
                record = "detect" if step == "measure" else step
                carried = _carried(layout, earlier, record)
                _write_failed_record(layout, bids_dir, session, record, job, carried)
                # One that is lost again although there is nothing left to compute is given up.
                marked = marked or (session.participant_id, session.session_id, step) not in lost
                lost.add((session.participant_id, session.session_id, step))
                break
            else:
                job = dead.get((session.participant_id, session.session_id, REPORT))
                state = visit_state(layout, session.participant_id, session.session_id)
                if job and state.outcome is Outcome.WAITING:
                    _write_failed_record(layout, bids_dir, session, REPORT, job, {})
            earlier = session
    return marked


def _carried(layout: Layout, earlier: Session | None, step: str) -> Json:
    if earlier is None:
        return {}
    path = layout.record(earlier.participant_id, earlier.session_id, step)
    return read_json(path).get("carried", {}) if path.is_file() else {}


def _write_failed_record(
    layout: Layout, bids_dir: Path, session: Session, step: str, job: Job, carried: Json
) -> None:
    visit = VisitFiles(
        bids_dir=bids_dir,
        layout=layout,
        participant_id=session.participant_id,
        session_id=session.session_id,
    )

    limits = " and ".join(part for part in (f"{job.mem_mb} MB" if job.mem_mb else "", job.runtime) if part)
    fail_instead(
        "ended without a record, killed or over its limits"
        + (f" of {limits}" if limits else "")
        + f"; ask for more with -- --set-resources {job.rule}:mem_mb=... {job.rule}:runtime=..."
    )
    run_step(step, visit, StepRecord, carried=carried)
