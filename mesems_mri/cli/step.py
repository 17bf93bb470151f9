"""Command line of the steps, which the rules of the workflow call; a command is named as its rule."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mesems_mri.config import TrialConfig
    from mesems_mri.dataset.records.base import Json
    from mesems_mri.pipeline.visit import VisitFiles

step_app = typer.Typer(no_args_is_help=True, help="Steps of the workflow, as its rules call them.")


@step_app.callback()
def _limits(
    _mem_mb: Annotated[
        int | None, typer.Option("--mem-mb", help="Memory that the rule asks for, for messages.")
    ] = None,
) -> None:
    """Take the limits of a step."""


BidsDir = Annotated[Path, typer.Option(help="Raw BIDS folder.")]
OutDir = Annotated[Path, typer.Option(help="Output folder.")]
Label = Annotated[str, typer.Option(help="With its prefix.")]
Previous = Annotated[str, typer.Option(help="Record of this step of the previous visit; empty for none.")]
Settings = Annotated[str, typer.Option(help="Part of the configuration as JSON.")]


def _visit(bids_dir: Path, out_dir: Path, participant: str, session: str) -> "VisitFiles":
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.visit import VisitFiles

    return VisitFiles(
        bids_dir=bids_dir.resolve(),
        layout=Layout(out_dir.resolve()),
        participant_id=participant,
        session_id=session,
    )


def _carried(previous: str) -> "Json":
    from mesems_mri.files import read_json

    return read_json(Path(previous)).get("carried", {}) if previous else {}


def _part(settings: str) -> "TrialConfig":
    """Return the part of the configuration that a step is given; the rest cannot be read."""
    from mesems_mri.config import TrialConfig

    return TrialConfig.from_part(settings)


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
        list[str] | None, typer.Option(help="NUMBER: SUBJECT of an open blocking query.")
    ] = None,
) -> None:
    """Standardise a visit: header check, brain extraction, bias-field correction, image quality."""
    from mesems_mri.dataset.bids import Contrast, contrast_named
    from mesems_mri.pipeline.standardise import standardise_visit
    from mesems_mri.pipeline.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    images: dict[Contrast, str] = {}
    for name, path in (item.split("=", 1) for item in image or ()):
        images[contrast_named(name)] = path
    several: dict[Contrast, list[str]] = {}
    for name, path in (item.split("=", 1) for item in ambiguous or ()):
        several.setdefault(contrast_named(name), []).append(path)
    run_step(
        "standardise",
        visit,
        lambda: standardise_visit(
            visit, images, several, _part(settings).intake, open_queries=open_query or ()
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
    """Register every image of a visit to the participant's space, resampled once."""
    from mesems_mri.dataset.records.register import Anchor
    from mesems_mri.pipeline.register import register_visit
    from mesems_mri.pipeline.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    run_step(
        "register",
        visit,
        lambda: register_visit(visit, Anchor.from_carried(carried), rule=_part(settings).quality),
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
    lesion_masks: Annotated[
        Path | None, typer.Option(help="Lesion masks to use instead of detection.")
    ] = None,
) -> None:
    """Detect T2 lesions, their change, enhancing lesions and black holes of a visit."""
    from mesems_mri.dataset.records.detect import history_from_carried
    from mesems_mri.pipeline.detect import detect_lesions
    from mesems_mri.pipeline.visit import run_step

    visit = _visit(bids_dir, out_dir, participant, session)
    carried = _carried(previous)
    run_step(
        "detect",
        visit,
        lambda: detect_lesions(
            visit,
            history_from_carried(carried),
            visit_type=visit_type,
            config=_part(settings),
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
    """Track every focus through the visits, and count."""
    from mesems_mri.dataset.records.measure import RememberedVisits
    from mesems_mri.pipeline.measure import measure_visit, remember_visit
    from mesems_mri.pipeline.visit import run_step
    from mesems_mri.pipeline.visit_record import VisitTableRow, write_visit_record

    visit = _visit(bids_dir, out_dir, participant, session)
    earlier = RememberedVisits.from_carried(_carried(previous))
    table = VisitTableRow(study_id=study, site_id=site, visit_type=visit_type, week=week, day=day)
    config = _part(settings)
    record = run_step(
        "measure",
        visit,
        lambda: measure_visit(visit, earlier, table, focus=config.focus, enhancement=config.enhancement),
        carried=remember_visit(earlier, visit, table).to_json(),
    )
    write_visit_record(visit, record, earlier, table, quality=config.quality, config_sha256=config_sha256)


@step_app.command("compile_quality")
def _compile_quality(bids_dir: BidsDir, settings: Settings, out_dir: OutDir = Path()) -> None:
    """Compile the image quality of all visits, the comparison of the pages."""
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
    from mesems_mri.dataset.records.base import StepRecord
    from mesems_mri.pipeline.report import report_visit
    from mesems_mri.pipeline.visit import REPORT, run_step

    visit = _visit(bids_dir, out_dir, participant, session)

    def write_page() -> StepRecord:
        report_visit(visit, earlier=earlier or (), config=_part(settings))
        return StepRecord()

    if not run_step(REPORT, visit, write_page).done:
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
    """Write the lesion ledger of a participant, and the anchor visit."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.compile import compile_ledger

    compile_ledger(Layout(out_dir.resolve()), participant, records)


@step_app.command("compile_metrics")
def _compile_metrics(settings: Settings, out_dir: OutDir = Path()) -> None:
    """Write the tables of the study."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.dataset.reads import write_study_tables

    write_study_tables(Layout(out_dir.resolve()), _part(settings).periods)


@step_app.command("send_transfer")
def _send_transfer(bids_dir: BidsDir, settings: Settings, out_dir: OutDir = Path()) -> None:
    """Build the bundles of all sites and send them, if every visit of the study is complete."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.transfer.automatic import send_when_complete

    rule = _part(settings).transfer
    send_when_complete(Layout(out_dir.resolve()), bids_dir.resolve(), rule, typer.echo)


@step_app.command("describe_dataset")
def _describe_dataset(out_dir: OutDir = Path()) -> None:
    """Describe the output folder as BIDS asks."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.pipeline.compile import describe_dataset

    describe_dataset(Layout(out_dir.resolve()))
