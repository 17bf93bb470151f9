"""Command line of mesems-mri; heavy imports happen inside the commands."""

import json
import logging
import os
import resource
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mesems_mri import __version__
from mesems_mri.errors import MesemsError

_STARTED = time.time()
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
step_app = typer.Typer(no_args_is_help=True, help="What the workflow's rules call; named as the rules.")
app.add_typer(step_app, name="step")


class Level(StrEnum):
    """Levels of analysis."""

    PARTICIPANT = "participant"
    GROUP = "group"


def main() -> None:
    """Run the command line; an error made on purpose is one sentence and its exit code."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, format="%(levelname)s %(message)s")
    for noisy in ("matplotlib", "nibabel", "nipype"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    arguments, options = sys.argv[1:], []
    if "--" in arguments:  # before typer takes the first option of Snakemake for an argument of its own
        at = arguments.index("--")
        arguments, options = arguments[:at], arguments[at + 1 :]
    try:
        app(arguments, obj=tuple(options))
    except MesemsError as error:
        if debug:
            raise
        sys.stderr.write(f"mesems-mri: {error}\n")
        sys.exit(error.exit_code)
    finally:
        if sys.argv[1:2] == ["step"]:
            _log_cost()


def _log_cost() -> None:
    """Write what a step has cost to its log, where ``benchmarks/speed.py`` reads it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    logging.getLogger("mesems_mri").info(
        "cost: %.2f CPU s, %.2f s, %.0f MiB peak",
        sum(u.ru_utime + u.ru_stime for u in used),
        time.time() - _STARTED,
        max(u.ru_maxrss for u in used) / 1024,
    )


def _version(show: bool) -> None:
    if show:
        typer.echo(f"mesems-mri {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Count active multiple-sclerosis lesions on the MRI of multi-site trials.

    Research software, not a medical device. --debug shows tracebacks.
    """


@app.command()
def run(
    context: typer.Context,
    bids_dir: Annotated[Path, typer.Argument(help="Raw BIDS folder.")],
    out_dir: Annotated[Path, typer.Argument(help="Output folder (BIDS derivatives).")],
    level: Annotated[
        Level | None, typer.Argument(help="Only this level; default: participant, then group.")
    ] = None,
    participant_label: Annotated[
        list[str] | None, typer.Option(help="Only this participant; may be repeated.")
    ] = None,
    session_label: Annotated[
        list[str] | None, typer.Option(help="Only up to this visit; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Trial configuration (YAML).")] = None,
    profile: Annotated[
        str, typer.Option(help="Profile: default, slurm, or a folder of your own.")
    ] = "default",
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores to use at once; default: what the profile says.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this rule.")] = None,
    force: Annotated[str | None, typer.Option(help="Run this rule again for all visits asked for.")] = None,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only visits that failed before.")
    ] = False,
    allow_insert: Annotated[
        bool, typer.Option("--allow-insert", help="Accept a visit that lies before one already done.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be run.")] = False,
) -> None:
    """Run the analysis. Options of Snakemake may follow after --."""
    from mesems_mri.workflow import RunRequest
    from mesems_mri.workflow import run as run_workflow

    request = RunRequest(
        bids_dir=bids_dir,
        out_dir=out_dir,
        level=level.value if level else "all",
        config_file=config,
        participant_labels=tuple(participant_label or ()),
        session_labels=tuple(session_label or ()),
        profile=profile,
        cores=cores,
        until=until,
        force=force,
        only_failed=only_failed,
        allow_insert=allow_insert,
        dry_run=dry_run,
        snakemake_options=tuple(context.obj or ()),
    )
    raise typer.Exit(run_workflow(request, typer.echo))


@app.command()
def simulate(
    bids_dir: Annotated[Path, typer.Argument(help="Folder to create.")],
    participants: Annotated[int, typer.Option(min=1)] = 3,
    sites: Annotated[int, typer.Option(min=1)] = 2,
    sessions: Annotated[str, typer.Option(help="Visits, comma-separated.")] = "w00,w04,w12,w24",
    quick: Annotated[bool, typer.Option("--quick", help="Heads of 2 mm; so far the only kind.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Simulate a small multi-site trial with its truth in derivatives/truth."""
    from mesems_mri.errors import UsageError
    from mesems_mri.simulate.trial import simulate_trial

    if not quick:
        msg = "only the quick simulation exists so far; add --quick"
        raise UsageError(msg)
    simulate_trial(
        bids_dir,
        participants=participants,
        sites=sites,
        sessions=tuple(name.strip() for name in sessions.split(",")),
        quick=quick,
        seed=seed,
    )
    typer.echo(f"simulated trial in {bids_dir}, truth in {bids_dir / 'derivatives' / 'truth'}")


@app.command()
def evaluate(
    out_dir: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    truth_dir: Annotated[Path, typer.Argument(help="Truth, in the same names and columns.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Score a run against truth, lesion by lesion."""
    from mesems_mri.provenance import write_json
    from mesems_mri.steps.evaluate import evaluate as evaluate_run

    evaluation = evaluate_run(out_dir, truth_dir)
    typer.echo(evaluation.table())
    if json_file:
        write_json(json_file, evaluation.to_json())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to create.")] = Path("demo"),
    cores: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Simulate a small trial, run it, score it, and say where the report is."""
    from mesems_mri.demo import run_demo

    raise typer.Exit(run_demo(out, cores=cores, seed=seed, say=typer.echo))


BidsDir = Annotated[Path, typer.Option(help="Raw BIDS folder.")]
OutDir = Annotated[Path, typer.Option(help="Output folder.")]
Label = Annotated[str, typer.Option(help="With its prefix.")]
Previous = Annotated[str, typer.Option(help="Record of this step for the visit before; empty for none.")]
Settings = Annotated[str, typer.Option(help="Part of the configuration as JSON.")]


def _visit(bids_dir: Path, out_dir: Path, participant: str, session: str) -> Any:
    from mesems_mri.bids import Layout
    from mesems_mri.steps.visit import VisitFiles

    return VisitFiles(
        bids_dir=bids_dir.resolve(),
        layout=Layout(out_dir.resolve()),
        participant_id=participant,
        session_id=session,
    )


def _carried(previous: str) -> dict[str, Any]:
    from mesems_mri.provenance import read_json

    return read_json(Path(previous)).get("carried", {}) if previous else {}


@step_app.command("standardise_visit")
def _standardise_visit(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    out_dir: OutDir = Path(),
    image: Annotated[list[str] | None, typer.Option(help="CONTRAST=FILE in the BIDS folder.")] = None,
    ambiguous: Annotated[list[str] | None, typer.Option(help="Contrast with several files.")] = None,
) -> None:
    """Check the images of a visit, find the brain, correct the bias field, measure quality."""
    from mesems_mri.steps.standardise import standardise_visit
    from mesems_mri.steps.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    images = dict(item.split("=", 1) for item in image or ())
    run_step(
        "standardise",
        visit,
        lambda: standardise_visit(visit, images, tuple(ambiguous or ()), json.loads(settings)["intake"]),
    )


@step_app.command("register_visit")
def _register_visit(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    out_dir: OutDir = Path(),
    previous: Previous = "",
) -> None:
    """Bring every image of a visit into the participant's space, resampled once."""
    from mesems_mri.steps.register import register_visit
    from mesems_mri.steps.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    run_step(
        "register",
        visit,
        lambda: register_visit(visit, carried, settings=json.loads(settings)),
        carried=carried,
    )


@step_app.command("detect_lesions")
def _detect_lesions(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    visit_type: Annotated[str, typer.Option()],
    out_dir: OutDir = Path(),
    previous: Previous = "",
) -> None:
    """Find T2 lesions, their change, enhancing lesions and black holes of a visit."""
    from mesems_mri.steps.lesions import detect_lesions
    from mesems_mri.steps.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    run_step(
        "lesions",
        visit,
        lambda: detect_lesions(visit, carried, visit_type=visit_type, settings=json.loads(settings)),
        carried=carried,
    )


@step_app.command("measure_visit")
def _measure_visit(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    visit_type: Annotated[str, typer.Option()],
    study: Annotated[str, typer.Option()],
    config_sha256: Annotated[str, typer.Option()],
    out_dir: OutDir = Path(),
    previous: Previous = "",
    site: Annotated[str, typer.Option()] = "",
    week: Annotated[int | None, typer.Option()] = None,
    day: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Give every focus its identity through the visits, and count."""
    from mesems_mri.steps.measure import carry_on, measure_visit
    from mesems_mri.steps.visit import run_step
    from mesems_mri.steps.visit_record import VisitTableRow, write_visit_record

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    table = VisitTableRow(study_id=study, site_id=site, visit_type=visit_type, week=week, day=day)
    rules = json.loads(settings)
    record = run_step(
        "measure",
        visit,
        lambda: measure_visit(visit, carried, table, settings=rules),
        carried=carry_on(carried, visit, table),
    )
    write_visit_record(visit, record, carried, table, settings=rules, config_sha256=config_sha256)


@step_app.command("report_visit")
def _report_visit(bids_dir: BidsDir, participant: Label, session: Label, out_dir: OutDir = Path()) -> None:
    """Write the page of a visit."""
    from mesems_mri.steps.report import report_visit

    report_visit(_visit(bids_dir, out_dir, participant, session))


@step_app.command("compile_ledger")
def _compile_ledger(
    participant: Label,
    records: Annotated[list[Path], typer.Argument(help="Visit records in order of time.")],
    out_dir: OutDir = Path(),
) -> None:
    """Write the lesion ledger of a participant, and which visit fixes the space."""
    from mesems_mri.bids import Layout
    from mesems_mri.steps.compile import compile_ledger

    compile_ledger(Layout(out_dir.resolve()), participant, records)


@step_app.command("compile_metrics")
def _compile_metrics(settings: Settings, out_dir: OutDir = Path()) -> None:
    """Write the tables of the study."""
    from mesems_mri.bids import Layout
    from mesems_mri.steps.compile import compile_metrics

    compile_metrics(Layout(out_dir.resolve()), json.loads(settings)["periods"])


@step_app.command("describe_dataset")
def _describe_dataset(out_dir: OutDir = Path()) -> None:
    """Say what the output folder is, in the words of BIDS."""
    from mesems_mri.bids import Layout
    from mesems_mri.steps.compile import describe_dataset

    describe_dataset(Layout(out_dir.resolve()))
