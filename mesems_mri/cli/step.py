"""Command line of the steps: what the rules of the workflow call; a command is named as its rule."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

step_app = typer.Typer(no_args_is_help=True, help="What the workflow's rules call; named as the rules.")


@step_app.callback()
def _limits(
    _mem_mb: Annotated[
        int | None, typer.Option("--mem-mb", help="Memory that the rule asks for, for messages.")
    ] = None,
) -> None:
    """Say what a step may use."""


BidsDir = Annotated[Path, typer.Option(help="Raw BIDS folder.")]
OutDir = Annotated[Path, typer.Option(help="Output folder.")]
Label = Annotated[str, typer.Option(help="With its prefix.")]
Previous = Annotated[str, typer.Option(help="Record of this step for the visit before; empty for none.")]
Settings = Annotated[str, typer.Option(help="Part of the configuration as JSON.")]


def _visit(bids_dir: Path, out_dir: Path, participant: str, session: str) -> Any:
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.visit import VisitFiles

    return VisitFiles(
        bids_dir=bids_dir.resolve(),
        layout=Layout(out_dir.resolve()),
        participant_id=participant,
        session_id=session,
    )


def _carried(previous: str) -> dict[str, Any]:
    from mesems_mri.files import read_json

    return read_json(Path(previous)).get("carried", {}) if previous else {}


@step_app.command("standardise")
def _standardise_visit(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    out_dir: OutDir = Path(),
    image: Annotated[list[str] | None, typer.Option(help="CONTRAST=FILE in the BIDS folder.")] = None,
    ambiguous: Annotated[list[str] | None, typer.Option(help="CONTRAST=NAME of one file of several.")] = None,
    open_query: Annotated[
        list[str] | None, typer.Option(help="NUMBER: SUBJECT of a query it waits for.")
    ] = None,
) -> None:
    """Check the images of a visit, find the brain, correct the bias field, measure quality."""
    from mesems_mri.pipeline.standardise import standardise_visit
    from mesems_mri.pipeline.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    images = dict(item.split("=", 1) for item in image or ())
    several: dict[str, list[str]] = {}
    for contrast, name in (item.split("=", 1) for item in ambiguous or ()):
        several.setdefault(contrast, []).append(name)
    run_step(
        "standardise",
        visit,
        lambda: standardise_visit(
            visit, images, several, json.loads(settings)["intake"], open_queries=open_query or ()
        ),
    )


@step_app.command("register")
def _register_visit(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    out_dir: OutDir = Path(),
    previous: Previous = "",
) -> None:
    """Bring every image of a visit into the participant's space, resampled once."""
    from mesems_mri.pipeline.register import register_visit
    from mesems_mri.pipeline.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    run_step(
        "register",
        visit,
        lambda: register_visit(visit, carried, settings=json.loads(settings)),
        carried=carried,
    )


@step_app.command("detect")
def _detect_lesions(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    visit_type: Annotated[str, typer.Option()],
    out_dir: OutDir = Path(),
    previous: Previous = "",
    lesion_masks: Annotated[Path | None, typer.Option(help="Masks to take instead.")] = None,
) -> None:
    """Find T2 lesions, their change, enhancing lesions and black holes of a visit."""
    from mesems_mri.pipeline.detect import detect_lesions
    from mesems_mri.pipeline.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    run_step(
        "detect",
        visit,
        lambda: detect_lesions(
            visit,
            carried,
            visit_type=visit_type,
            settings=json.loads(settings),
            masks_dir=lesion_masks and lesion_masks.resolve(),
        ),
        carried=carried,
    )


@step_app.command("measure")
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
    from mesems_mri.pipeline.measure import carry_on, measure_visit
    from mesems_mri.pipeline.visit import run_step
    from mesems_mri.pipeline.visit_record import VisitTableRow, write_visit_record

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


@step_app.command("compile_quality")
def _compile_quality(bids_dir: BidsDir, settings: Settings, out_dir: OutDir = Path()) -> None:
    """Gather the image quality of all visits, with which the pages compare."""
    from mesems_mri.config import TrialConfig
    from mesems_mri.dataset.bids import index_dataset
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.quality import compile_quality

    participants = index_dataset(bids_dir.resolve(), TrialConfig.model_validate_json(settings))
    compile_quality(Layout(out_dir.resolve()), participants)


@step_app.command("report")
def _report_visit(
    bids_dir: BidsDir,
    participant: Label,
    session: Label,
    settings: Settings,
    earlier: Annotated[list[str] | None, typer.Option(help="Earlier visits in order of time.")] = None,
    out_dir: OutDir = Path(),
) -> None:
    """Write the page of a visit; without one the job fails, but nothing is computed from it."""
    from mesems_mri.pipeline.report import report_visit
    from mesems_mri.pipeline.visit import REPORT, run_step

    visit = _visit(bids_dir, out_dir, participant, session)

    def write_page() -> dict[str, Any]:
        report_visit(visit, earlier=earlier or (), settings=json.loads(settings))
        return {"status": "done", "reason": None, "message": ""}

    if run_step(REPORT, visit, write_page)["status"] != "done":
        raise typer.Exit(1)


@step_app.command("report_participant")
def _report_participant(
    participant: Label,
    records: Annotated[list[Path], typer.Argument(help="Visit records in order of time.")],
    out_dir: OutDir = Path(),
) -> None:
    """Write the page of a participant."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.report_study import report_participant

    report_participant(Layout(out_dir.resolve()), participant, records)


@step_app.command("report_study")
def _report_study(out_dir: OutDir = Path()) -> None:
    """Write the page of the study."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.report_study import report_study

    report_study(Layout(out_dir.resolve()))


@step_app.command("compile_ledger")
def _compile_ledger(
    participant: Label,
    records: Annotated[list[Path], typer.Argument(help="Visit records in order of time.")],
    out_dir: OutDir = Path(),
) -> None:
    """Write the lesion ledger of a participant, and which visit fixes the space."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.compile import compile_ledger

    compile_ledger(Layout(out_dir.resolve()), participant, records)


@step_app.command("compile_metrics")
def _compile_metrics(settings: Settings, out_dir: OutDir = Path()) -> None:
    """Write the tables of the study."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.compile import compile_metrics

    compile_metrics(Layout(out_dir.resolve()), json.loads(settings)["periods"])


@step_app.command("send_transfer")
def _send_transfer(bids_dir: BidsDir, settings: Settings, out_dir: OutDir = Path()) -> None:
    """Build the bundles of all sites and send them, if every visit of the study is complete."""
    from mesems_mri.config import TransferRule
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.transfer.automatic import send_when_complete

    rule = TransferRule.model_validate(json.loads(settings)["transfer"])
    send_when_complete(Layout(out_dir.resolve()), bids_dir.resolve(), rule, typer.echo)


@step_app.command("describe_dataset")
def _describe_dataset(out_dir: OutDir = Path()) -> None:
    """Say what the output folder is, in the words of BIDS."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.compile import describe_dataset

    describe_dataset(Layout(out_dir.resolve()))
