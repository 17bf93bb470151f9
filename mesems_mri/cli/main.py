"""Command line of mesems-mri; heavy imports happen inside the commands."""

import logging
import os
import resource
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mesems_mri import __version__
from mesems_mri.cli.central import central_app
from mesems_mri.cli.intake import intake
from mesems_mri.cli.query import query_app
from mesems_mri.cli.review import review_app
from mesems_mri.cli.step import step_app
from mesems_mri.cli.transfer import transfer_app
from mesems_mri.errors import MesemsError

_STARTED = time.time()
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(intake)
app.add_typer(query_app, name="query")
app.add_typer(review_app, name="review")
app.add_typer(transfer_app, name="transfer")
app.add_typer(central_app, name="central")
app.add_typer(step_app, name="step")  # last: the reference ends before it


_LABEL_OPTIONS = ("--participant-label", "--session-label")


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
    for noisy in ("httpx", "matplotlib", "nibabel", "nipype", "paramiko"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    arguments, options = sys.argv[1:], []
    if "--" in arguments:  # before typer takes the first option of Snakemake for an argument of its own
        at = arguments.index("--")
        arguments, options = arguments[:at], arguments[at + 1 :]
    if arguments[:1] == ["step"]:
        _become_supervised(arguments)
    try:
        app(one_label_each(arguments), obj=tuple(options))
    except MesemsError as error:
        if debug:
            raise
        sys.stderr.write(f"mesems-mri: {error}\n")
        sys.exit(error.exit_code)
    finally:
        if sys.argv[1:2] == ["step"]:
            _log_cost()


def one_label_each(arguments: list[str]) -> list[str]:
    """Repeat the option for each label of ``run BIDS_DIR OUT_DIR --participant-label 01 02``.

    That is how BIDS Apps take several (Gorgolewski et al. 2017), and typer cannot. Before the two folders
    an option takes one label, as nothing else could tell a label from a folder.
    """
    if arguments[:1] != ["run"] or any(a.startswith("-") for a in arguments[1:3]):
        return arguments
    repeated = arguments[:3]
    option, labels = None, 0
    for argument in arguments[3:]:
        if argument.startswith("-"):
            option, labels = (argument if argument in _LABEL_OPTIONS else None), 0
        elif option and argument not in tuple(Level):
            labels += 1
            if labels > 1:
                repeated.append(option)
        repeated.append(argument)
    return repeated


def _become_supervised(arguments: list[str]) -> None:
    """Do the work of a step in a child process; if it is killed, the parent leaves its record of failure."""
    from mesems_mri.runner.supervisor import supervised

    step = next((argument for argument in arguments[1:] if not argument.startswith("-")), "")
    log = logging.getLogger("mesems_mri")
    log.info("---- %s, %s, mesems-mri %s", step, time.strftime("%Y-%m-%d %H:%M:%S"), __version__)
    death = supervised()
    if death is None:
        return
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.visit import STEPS, fail_instead
    from mesems_mri.runner.supervisor import describe_death

    asked = next((a.split("=", 1)[1] for a in arguments if a.startswith("--mem-mb=")), "")
    what = describe_death(death, step, Layout(Path()), mem_mb=int(asked) if asked.isdigit() else None)
    log.error("%s %s", step, what)
    if step not in STEPS:
        sys.exit(death.exit_code)
    fail_instead(what)


def _log_cost() -> None:
    """Write the cost of a step to its log, where ``benchmarks/speed.py`` reads it."""
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
        list[str] | None, typer.Option(help="Only these participants (several: after the two folders).")
    ] = None,
    session_label: Annotated[list[str] | None, typer.Option(help="Only up to these visits.")] = None,
    config: Annotated[Path | None, typer.Option(help="Trial configuration (YAML).")] = None,
    profile: Annotated[str, typer.Option(help="Profile: default, slurm, or your own folder.")] = "default",
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores to use at once; default: as in the profile.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this rule.")] = None,
    force: Annotated[str | None, typer.Option(help="Run this rule again for all visits asked for.")] = None,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only visits that failed before.")
    ] = False,
    reports_only: Annotated[
        bool, typer.Option("--reports-only", help="Only make the pages of measured visits again.")
    ] = False,
    allow_insert: Annotated[
        bool, typer.Option("--allow-insert", help="Accept a visit that lies before one already done.")
    ] = False,
    lesion_masks: Annotated[
        Path | None, typer.Option(help="Folder with lesion masks of your own, to count instead of detecting.")
    ] = None,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="When all visits are complete, send them as `transfer` says.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False,
) -> None:
    """Run the analysis. Options of Snakemake may follow after --."""
    from mesems_mri.runner.request import RunRequest
    from mesems_mri.runner.rules import step_named
    from mesems_mri.runner.run import run as run_workflow

    request = RunRequest(
        bids_dir=bids_dir,
        out_dir=out_dir,
        level=level.value if level else "all",
        config_file=config,
        participant_labels=tuple(participant_label or ()),
        session_labels=tuple(session_label or ()),
        profile=profile,
        cores=cores,
        until=step_named(until),
        force=step_named(force),
        only_failed=only_failed,
        reports_only=reports_only,
        allow_insert=allow_insert,
        lesion_masks=lesion_masks,
        transfer=transfer,
        dry_run=dry_run,
        snakemake_options=tuple(context.obj or ()),
    )
    raise typer.Exit(run_workflow(request, typer.echo))


@app.command()
def status(
    out_dir: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write it here, for a program.")
    ] = None,
) -> None:
    """Print the counts of visits expected, done, not evaluable, failed, read, and the present run."""
    from rich.console import Console

    from mesems_mri.dataset.layout import Layout
    from mesems_mri.files import write_json
    from mesems_mri.runner.state import Outcome
    from mesems_mri.runner.status import read_status
    from mesems_mri.transfer.outbox import sent_visits

    layout = Layout(out_dir.resolve())
    found = read_status(layout, sent_visits(layout))
    console = Console()
    if console.is_terminal:
        console.print(found.table())
    else:
        typer.echo(found.text())
    typer.echo(found.running())
    for visit in found.visits:
        if visit.outcome is Outcome.FAILED:
            typer.echo(f"failed: {visit.message}")
    if json_file:
        write_json(json_file, found.to_json())


@app.command()
def clean(
    out_dir: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    intermediate: Annotated[
        bool, typer.Option("--intermediate", help="Remove large files that no later visit needs.")
    ] = False,
) -> None:
    """Free space in an output folder; products, records and ledgers are never touched."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.errors import UsageError
    from mesems_mri.runner.clean import clean_intermediate

    if not intermediate:
        msg = (
            "clean: nothing to remove; --intermediate removes the standardised images, which are made again "
            "when a step needs them"
        )
        raise UsageError(msg)
    removed = clean_intermediate(Layout(out_dir.resolve()))
    typer.echo(f"removed {removed.files} intermediate files, {removed.size / 1e6:.1f} MB")


@app.command()
def simulate(
    bids_dir: Annotated[Path, typer.Argument(help="Folder to create.")],
    participants: Annotated[int, typer.Option(min=1)] = 3,
    sites: Annotated[int, typer.Option(min=1)] = 3,
    sessions: Annotated[str, typer.Option(help="Visits, comma-separated.")] = "w00,w04,w12,w24",
    quick: Annotated[bool, typer.Option("--quick", help="Heads of 2 mm and coarse scans.")] = False,
    dicom: Annotated[
        Path | None, typer.Option(help="Also write it here as submissions of the sites.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Simulate a multi-site trial with its reference standard in derivatives/truth."""
    from mesems_mri.simulate.dicom.manifest import manifest_path
    from mesems_mri.simulate.dicom.trial import check_dicom_dir, write_dicom
    from mesems_mri.simulate.trial import simulate_trial

    if dicom:
        check_dicom_dir(bids_dir, dicom)
    left_out = simulate_trial(
        bids_dir,
        participants=participants,
        sites=sites,
        sessions=tuple(name.strip() for name in sessions.split(",")),
        quick=quick,
        seed=seed,
    )
    typer.echo(f"simulated trial in {bids_dir}, truth in {bids_dir / 'derivatives' / 'truth'}")
    if left_out:
        names = ", ".join(left_out)
        typer.echo(f"left out, as the trial has too few participants or visits: {names}")
    if dicom:
        write_dicom(bids_dir, dicom, seed=seed)
        typer.echo(f"as DICOM in {dicom}, with the visit schedule {dicom / 'sheet.tsv'}")
        typer.echo(f"the names in it, and the role of every series: {manifest_path(dicom)}")


@app.command()
def compare(
    out1: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    out2: Annotated[Path, typer.Argument(help="Output folder of another run on the same data set.")],
    html: Annotated[Path | None, typer.Option(help="Also write a page with pictures here.")] = None,
) -> None:
    """Show the visits and lesions that differ between two runs; a difference is no error (exit code 0)."""
    from mesems_mri.evaluation.compare import compare as compare_runs
    from mesems_mri.report.comparison import format_comparison

    typer.echo(format_comparison(compare_runs(out1, out2, html)))
    if html:
        typer.echo(f"pictures: {html}")


@app.command()
def evaluate(
    out_dir: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    truth_dir: Annotated[Path, typer.Argument(help="Reference standard, in the same names and columns.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Score a run against a reference standard, lesion by lesion."""
    from mesems_mri.evaluation.evaluate import evaluate as evaluate_run
    from mesems_mri.files import write_json

    evaluation = evaluate_run(out_dir, truth_dir)
    typer.echo(evaluation.table())
    if json_file:
        write_json(json_file, evaluation.to_json())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to create.")] = Path("demo"),
    cores: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    full: Annotated[
        bool, typer.Option("--full", help="Heads of 1 mm and scans as a clinic makes them.")
    ] = False,
) -> None:
    """Demonstrate all: simulate a small trial as DICOM, intake, run, evaluation, transfer, pages."""
    from mesems_mri.simulate.demo import run_demo

    raise typer.Exit(run_demo(out, cores=cores, seed=seed, say=typer.echo, full=full))
