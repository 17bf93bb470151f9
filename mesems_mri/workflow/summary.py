"""Say how a run ended."""

from collections.abc import Callable, Sequence

from mesems_mri.bids import Layout, Participant
from mesems_mri.provenance import read_json
from mesems_mri.workflow.failures import failed_step

EXIT_VISITS_FAILED = 5
_RULE_OF = {
    "standardise": "standardise_visit",
    "register": "register_visit",
    "lesions": "detect_lesions",
    "measure": "measure_visit",
    "report": "report_visit",
}


def summarise(
    layout: Layout, participants: Sequence[Participant], code: int, say: Callable[[str], None]
) -> int:
    """Say which visits are done, not evaluable or failed; return the exit code of the run."""
    failed, refused, done = [], [], 0
    for session in (s for p in participants for s in p.sessions):
        name = f"{session.participant_id}/{session.session_id}"
        step = failed_step(layout, session)
        if step:
            failed.append((name, session, step))
            continue
        path = layout.record(session.participant_id, session.session_id, "measure")
        if not path.is_file():
            continue
        if code != 0 and not layout.page(session.participant_id, session.session_id).is_file():
            failed.append((name, session, "report"))
            continue
        done += 1
        content = read_json(path)
        if content["status"] == "not_evaluable":
            refused.append(f"{name}: {content['reason']}: {content['message']}")
    say(f"{done} visits done, {len(refused)} of them not evaluable; {len(failed)} failed")
    for line in refused:
        say(f"  not evaluable: {line}")
    for name, session, step in failed:
        path = layout.record(session.participant_id, session.session_id, step)
        say(f"  failed: {read_json(path)['message'] if path.is_file() else f'{name}: the page is missing'}")
        log = layout.out_dir / "logs" / session.participant_id / session.session_id / f"{_RULE_OF[step]}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        for line in lines[-5:]:
            say(f"    {name} | {line}")
    if failed:
        return EXIT_VISITS_FAILED
    return 0 if code == 0 else 1
