"""Run the workflow: start Snakemake, keep one bad visit from stopping others, say how it ended."""

import datetime as dt
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.bids import Layout, Participant, Session, index_dataset
from mesems_mri.config import load_config
from mesems_mri.errors import ExternalProgramError, MesemsError, UsageError
from mesems_mri.provenance import machine, read_json, software_versions, write_json
from mesems_mri.steps.visit import STEPS, VisitFiles, run_step

EXIT_VISITS_FAILED = 5
_RULE_OF = {
    "standardise": "standardise_visit",
    "register": "register_visit",
    "lesions": "detect_lesions",
    "measure": "measure_visit",
    "report": "report_visit",
}
_DONE = re.compile(r"^(\d+) of (\d+) steps")


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What ``mesems-mri run`` was asked to do.

    Parameters
    ----------
    bids_dir, out_dir : Path
        Input and output folder.
    level : str
        ``participant``, ``group``, or both: ``all``.
    config_file : Path or None
        Trial configuration.
    participant_labels, session_labels : tuple of str
        Only these; empty for all.
    profile : str
        Name of a profile that the package ships, or a folder of one's own.
    cores : int or None
        Cores to use at once, on a cluster over all its jobs; None: what the profile says.
    until, force : str or None
        Name of a rule to stop after, or to run again.
    only_failed : bool
        Run only the visits that failed before.
    allow_insert : bool
        Accept a visit that lies before one that is already done, and compute the later ones again.
    dry_run : bool
        Only say what would be run.
    snakemake_options : tuple of str
        Passed on as they are.
    """

    bids_dir: Path
    out_dir: Path
    level: str = "all"
    config_file: Path | None = None
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    profile: str = "default"
    cores: int | None = None
    until: str | None = None
    force: str | None = None
    only_failed: bool = False
    allow_insert: bool = False
    dry_run: bool = False
    snakemake_options: tuple[str, ...] = field(default=())


def workflow_folder() -> Path:
    """Find the folder of ``Snakefile``: in the checkout, or inside the installed package."""
    package = Path(__file__).parent
    for folder in (package.parent, package / "_workflow"):
        if (folder / "Snakefile").is_file():
            return folder
    msg = f"no Snakefile beside {package}; install the package again"
    raise ExternalProgramError(msg)


def run(request: RunRequest, say: Callable[[str], None]) -> int:
    """Run the workflow and return the exit code.

    Parameters
    ----------
    request : RunRequest
        What to do.
    say : callable
        Takes one line of progress or summary.

    Returns
    -------
    int
        0: every visit done, or not evaluable for a stated reason; 5: at least one visit failed.

    Raises
    ------
    UsageError, DatasetError, ExternalProgramError
        If nothing can be run at all.
    """
    if request.out_dir.resolve() == request.bids_dir.resolve():
        msg = f"{request.out_dir}: the output folder is the input folder; choose another"
        raise UsageError(msg)
    config = load_config(request.config_file)
    participants = index_dataset(
        request.bids_dir,
        config,
        participant_labels=request.participant_labels or None,
        session_labels=request.session_labels or None,
    )
    layout = Layout(request.out_dir.resolve())
    failed_before = [s for p in participants for s in p.sessions if _failed_step(layout, s)]
    if request.only_failed:
        kept = {s.participant_id for s in failed_before}
        participants = tuple(p for p in participants if p.participant_id in kept)
        if not participants:
            say("no visit has failed; nothing to run")
            return 0
        labels = tuple(p.participant_id for p in participants)
    else:
        labels = request.participant_labels
    everything = index_dataset(request.bids_dir, config, participant_labels=labels or None)
    asked = {(s.participant_id, s.session_id) for p in participants for s in p.sessions}
    _refuse_late_visits(layout, everything, asked, allow_insert=request.allow_insert)
    if request.dry_run:
        return _snakemake(request, labels, say, dry_run=True)

    layout.out_dir.mkdir(parents=True, exist_ok=True)
    for session in failed_before:
        _forget(layout, session)
    for session in (s for p in participants for s in p.sessions if _incomplete(layout, s)):
        _forget(layout, session)
    started = dt.datetime.now(tz=dt.UTC)
    lost: set[tuple[str, str, str]] = set()
    while True:
        code = _snakemake(request, labels, say, dry_run=False)
        if code == 0 or request.until or not _mark_lost(layout, request.bids_dir, participants, lost):
            break
        say("some jobs ended without a record; going on with the other visits")
    write_json(
        layout.out_dir / "provenance.json",
        {
            "command": sys.argv,
            "started": started.isoformat(timespec="seconds"),
            "ended": dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
            "bids_dir": str(request.bids_dir.resolve()),
            "config": config.model_dump(mode="json"),
            "config_sha256": config.sha256(),
            "versions": software_versions(),
            "machine": machine(),
        },
    )
    return _summarise(layout, participants, code, say)


def _failed_step(layout: Layout, session: Session) -> str | None:
    for step in STEPS:
        path = layout.record(session.participant_id, session.session_id, step)
        if path.is_file() and read_json(path)["status"] == "failed":
            return step
    return None


def _incomplete(layout: Layout, session: Session) -> bool:
    """Tell whether somebody has removed a product that a record says is there."""
    path = layout.record(session.participant_id, session.session_id, "measure")
    return path.is_file() and any(
        not (layout.out_dir / name).is_file() for name in read_json(path).get("products", [])
    )


def _forget(layout: Layout, session: Session) -> None:
    """Remove the records of a visit and the metrics that Snakemake asks for, so that it is run again."""
    for step in STEPS:
        layout.record(session.participant_id, session.session_id, step).unlink(missing_ok=True)
    layout.metrics(session.participant_id, session.session_id).unlink(missing_ok=True)


def _refuse_late_visits(
    layout: Layout,
    participants: Sequence[Participant],
    asked: Collection[tuple[str, str]],
    *,
    allow_insert: bool,
) -> None:
    late = []
    for participant in participants:
        # One whose records were removed to run it again is no late visit: its folder is still there.
        done = [
            layout.metrics(s.participant_id, s.session_id).is_file()
            or layout.work(s.participant_id, s.session_id).is_dir()
            for s in participant.sessions
        ]
        late += [
            s.stem.replace("_", "/")
            for i, s in enumerate(participant.sessions)
            if not done[i] and any(done[i + 1 :]) and (s.participant_id, s.session_id) in asked
        ]
    if late and not allow_insert:
        msg = (
            f"{', '.join(late)}: lies before visits that are already done and would be computed again; "
            "add --allow-insert, or leave the participant out with --participant-label"
        )
        raise UsageError(msg)


def _mark_lost(
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


def _snakemake(
    request: RunRequest,
    labels: Sequence[str],
    say: Callable[[str], None],
    *,
    dry_run: bool,
) -> int:
    folder = workflow_folder()
    profile = Path(request.profile)
    if not profile.is_dir():
        profile = folder / "workflow" / "profiles" / request.profile
    if not profile.is_dir():
        known = ", ".join(sorted(p.name for p in profile.parent.iterdir()))
        msg = f"profile {request.profile}: neither a folder nor one of {known}"
        raise UsageError(msg)
    values: dict[str, object] = {
        "bids_dir": str(request.bids_dir.resolve()),
        "out_dir": str(request.out_dir.resolve()),
    }
    if request.config_file:
        values["config_file"] = str(request.config_file.resolve())
    if labels:
        values["participant_labels"] = list(labels)
    if request.session_labels:
        values["session_labels"] = list(request.session_labels)
    target = "participant" if request.level == "participant" else "group"
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", str(folder / "Snakefile")]
    command += ["--profile", str(profile)]
    if request.cores:
        command += ["--cores", str(request.cores)]
    command += [
        "--config",
        *(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()),
    ]
    if request.until:
        command += ["--until", request.until]
    if request.force:
        command += ["--forcerun", request.force]
    if dry_run:
        command.append("--dry-run")
    command += request.snakemake_options
    if importlib.util.find_spec("snakemake") is None:
        msg = "Snakemake is not installed in this environment; install mesems-mri with its dependencies"
        raise ExternalProgramError(msg)
    if dry_run:
        return subprocess.run(command, check=False).returncode
    log = request.out_dir.resolve() / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert child.stdout is not None
        tail: list[str] = []
        for line in child.stdout:
            stream.write(line)
            tail = [*tail[-19:], line.rstrip()]
            if match := _DONE.match(line):
                say(f"{match[1]} of {match[2]} jobs done")
        code = child.wait()
    if code != 0 and not any("steps" in line or "Exiting because a job" in line for line in tail):
        telling = [line for line in tail if "Error" in line or "lock" in line.lower()]
        what = (telling or tail or ["no message"])[0]
        if not any(request.out_dir.resolve().glob(".mesems/*/*/*.json")):
            msg = f"Snakemake could not run ({what.strip()}); see {log}"
            raise ExternalProgramError(msg)
    return code


def _summarise(
    layout: Layout, participants: Sequence[Participant], code: int, say: Callable[[str], None]
) -> int:
    failed, refused, done = [], [], 0
    for session in (s for p in participants for s in p.sessions):
        name = f"{session.participant_id}/{session.session_id}"
        step = _failed_step(layout, session)
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
