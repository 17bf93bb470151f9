"""Command line of the queries to the sites."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

query_app = typer.Typer(no_args_is_help=True, help="Queries to the sites: list them, close them.")

BidsDir = Annotated[Path, typer.Argument(help="Raw BIDS folder that intake has filled.")]


class Shown(StrEnum):
    """Status of the queries to list."""

    OPEN = "open"
    CLOSED = "closed"
    ALL = "all"


@query_app.command("list")
def _list(
    bids_dir: BidsDir,
    status: Annotated[Shown, typer.Option(help="Only these.")] = Shown.OPEN,
    site: Annotated[str | None, typer.Option(help="Only those of this site.")] = None,
    participant: Annotated[str | None, typer.Option(help="Only those of this participant.")] = None,
) -> None:
    """List queries with their subject and the action of the site."""
    from mesems_mri.dataset.queries import read_queries

    _check_folder(bids_dir)
    queries = read_queries(bids_dir)
    wanted = participant and f"sub-{participant.removeprefix('sub-')}"
    shown = [
        query
        for query in queries
        if status in (Shown.ALL, query.status)
        and site in (None, query.site_id)
        and wanted in (None, query.participant_id)
    ]
    for query in shown:
        visit = "/".join(part for part in (query.participant_id, query.session_id) if part)
        place = ", ".join(part for part in (query.site_id and f"site {query.site_id}", visit) if part)
        waits = "blocking" if query.blocks_visit else query.status
        typer.echo(f"{query.query_id}  {query.code}  {place or 'no visit'}  ({waits}, {query.opened})")
        typer.echo(f"       {query.what}")
        if query.closed:
            typer.echo(f"       closed on {query.closed} by {query.closed_by}: {query.reason}")
        else:
            typer.echo(f"       to do: {query.action}")
    waiting = {(q.participant_id, q.session_id) for q in shown if q.blocks_visit and q.session_id}
    visits = "1 visit is" if len(waiting) == 1 else f"{len(waiting)} visits are"
    typer.echo(f"{len(shown)} of {len(queries)} queries; {visits} on hold")


@query_app.command("close")
def _close(
    bids_dir: BidsDir,
    query_id: Annotated[str, typer.Argument(metavar="ID", help="As in the list, e.g. Q0007.")],
    by: Annotated[str, typer.Option(help="Account or name of the person who closes it.")],
    reason: Annotated[str, typer.Option(help="Answer of the site, or another reason.")],
) -> None:
    """Close a query; the next run evaluates the visit if no other query blocks it."""
    from mesems_mri.dataset.queries import blocking_queries, close_query

    _check_folder(bids_dir)
    query = close_query(bids_dir, query_id, by=by, reason=reason)
    typer.echo(f"{query.query_id} is closed ({query.code}, by {query.closed_by}, on {query.closed})")
    if (bids_dir / "sites").is_dir():
        typer.echo(f"the pages of the sites are not up to date: mesems-mri query pages {bids_dir}")
    if not query.blocking or not query.session_id:
        return
    visit = f"{query.participant_id}/{query.session_id}"
    left = blocking_queries(bids_dir).get((query.participant_id, query.session_id), ())
    if left:
        typer.echo(f"{visit} is still blocked by {', '.join(other.query_id for other in left)}")
    else:
        typer.echo(
            f"{visit} has no blocking query left: mesems-mri run evaluates it "
            "(with --allow-insert if later visits are done)"
        )


@query_app.command("pages")
def _pages(
    bids_dir: BidsDir,
    out_dir: Annotated[
        Path | None, typer.Option(help="Output folder of a run, for the quality of the images.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Folder of the pseudonymisation key; default: BIDS_DIR.key."),
    ] = None,
) -> None:
    """Rewrite the pages of the sites from the present tables."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.errors import UsageError
    from mesems_mri.intake.receipt_store import read_days_from_scan, write_site_pages

    _check_folder(bids_dir)
    quality = Layout(out_dir).site_quality() if out_dir else None
    if quality and not quality.is_file():
        msg = f"{out_dir}: holds no image quality; give the output folder of a finished run"
        raise UsageError(msg)
    pages = write_site_pages(bids_dir, days_from_scan=read_days_from_scan(bids_dir, key), quality=quality)
    for page in pages:
        typer.echo(f"page: {page}")
    if not pages:
        typer.echo("no site has sent anything yet")


def _check_folder(bids_dir: Path) -> None:
    from mesems_mri.errors import DatasetError

    if not bids_dir.is_dir():
        msg = f"{bids_dir}: no such BIDS folder; give the folder that intake has filled"
        raise DatasetError(msg)
