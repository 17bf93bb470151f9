"""Command line of the intake."""

from pathlib import Path
from typing import Annotated

import typer


def intake(
    dicom_dir: Annotated[Path, typer.Argument(help="Folder or zip archive that a site has sent.")],
    bids_dir: Annotated[Path, typer.Argument(help="Raw BIDS folder to fill.")],
    sheet: Annotated[Path, typer.Option(help="Visit table of the trial, see config/sheet.example.tsv.")],
    protocol: Annotated[
        Path | None, typer.Option(help="Acquisition protocol (YAML), see config/protocol.yaml.")
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Site that has sent it; default: as the sheet says.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Folder of the key; default: BIDS_DIR.key beside the BIDS folder.")
    ] = None,
    dicom_copy: Annotated[
        Path | None,
        typer.Option(help="Also write the examinations that are taken in as DICOM, without names."),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=SERIES_ID", help="The series to use, as the site has answered a query."),
    ] = None,
    deface: Annotated[bool, typer.Option("--deface", help="Remove the face from all images.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what came and what is wrong.")] = False,
) -> None:
    """Check what a site sends, free it of names, and file it as BIDS; what is wrong becomes a query."""
    from mesems_mri.intake.context import IntakeRequest
    from mesems_mri.intake.flow import run_intake
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
