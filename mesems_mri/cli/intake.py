"""Command line of the intake."""

from pathlib import Path
from typing import Annotated

import typer


def intake(
    dicom_dir: Annotated[Path, typer.Argument(help="Submission of a site: a folder or zip archive.")],
    bids_dir: Annotated[Path, typer.Argument(help="Raw BIDS folder to fill.")],
    sheet: Annotated[Path, typer.Option(help="Visit schedule of the trial, see config/sheet.example.tsv.")],
    protocol: Annotated[
        Path | None, typer.Option(help="Acquisition protocol (YAML), see config/protocol.yaml.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Sending site; default: as in the visit schedule.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Folder of the pseudonymisation key; default: BIDS_DIR.key."),
    ] = None,
    dicom_copy: Annotated[
        Path | None,
        typer.Option(help="Also write the filed examinations as de-identified DICOM."),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=SERIES_ID", help="The series to use, as the site has answered a query."),
    ] = None,
    series_map: Annotated[
        Path | None,
        typer.Option(help="Folder of the series maps; default: series-map beside the protocol or schedule."),
    ] = None,
    remember: Annotated[
        bool, typer.Option("--remember", help="Write the series used into the series map of the site.")
    ] = False,
    dummy_run: Annotated[
        bool,
        typer.Option("--dummy-run", help="Dummy run of a site: write its series map, file nothing."),
    ] = False,
    deface: Annotated[
        bool,
        typer.Option("--deface", help="Remove the face from all images that do not record its removal."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report the submission and its findings.")
    ] = False,
) -> None:
    """Check, de-identify and file a submission as BIDS; every finding becomes a query to the site."""
    from mesems_mri.intake.context import IntakeRequest
    from mesems_mri.intake.flow import run_intake
    from mesems_mri.intake.series_map import FOLDER
    from mesems_mri.intake.summary import summary_lines

    request = IntakeRequest(
        submission=dicom_dir,
        bids_dir=bids_dir,
        sheet=sheet,
        protocol=protocol,
        site_id=site,
        key_folder=key,
        dicom_copy=dicom_copy,
        use=_roles(use or []),
        series_map=series_map or (protocol or sheet).parent / FOLDER,
        remember=remember,
        dummy_run=dummy_run,
        deface=deface,
        dry_run=dry_run,
    )
    submission = run_intake(request, typer.echo)
    for line in summary_lines(submission, dry_run=dry_run):
        typer.echo(line)


def _roles(use: list[str]) -> dict[str, str]:
    from mesems_mri.dataset.bids import CONTRASTS
    from mesems_mri.errors import UsageError

    roles = {}
    for text in use:
        role, _, series_id = text.partition("=")
        if role not in CONTRASTS or not series_id:
            msg = (
                f"--use {text}: expected ROLE=SERIES_ID with a role of {', '.join(CONTRASTS)}; see series.tsv"
            )
            raise UsageError(msg)
        roles[role] = series_id
    return roles
