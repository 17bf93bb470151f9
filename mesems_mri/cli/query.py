"""Command line of the queries to the sites."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mesems_mri.dataset.query import Query

query_app = typer.Typer(no_args_is_help=True, help="Queries to the sites: list, answer, close them.")

QueryId = Annotated[str, typer.Argument(metavar="ID", help="As in the list, e.g. Q0007.")]
BidsDir = Annotated[Path, typer.Argument(help="Raw BIDS folder that intake has filled.")]


class Shown(StrEnum):
    """Status of the queries to list."""

    OPEN = "open"
    ANSWERED = "answered"
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
    from mesems_mri.dataset.query import holds_in_words

    _check_folder(bids_dir)
    queries = read_queries(bids_dir)
    wanted = participant and f"sub-{participant.removeprefix('sub-')}"
    shown = [
        query
        for query in queries
        if (status in (Shown.ALL, query.status) or (status is Shown.OPEN and query.is_open))
        and site in (None, query.site_id)
        and (wanted in (None, query.participant_id) or _recurs_with(query, wanted))
    ]
    for query in shown:
        visit = "/".join(part for part in (query.participant_id, query.session_id) if part)
        visit = visit or query.visits.replace(",", ", ")
        place = ", ".join(part for part in (query.site_id and f"site {query.site_id}", visit) if part)
        waits = "blocking" if query.blocks_visit else query.status
        typer.echo(f"{query.query_id}  {query.code}  {place or 'no visit'}  ({waits}, {query.opened})")
        typer.echo(f"       {query.what}")
        if query.is_open:
            typer.echo(f"       to do: {query.action}")
        typer.echo(f"       {query.state}")
    typer.echo(f"{len(shown)} of {len(queries)} queries; {holds_in_words(shown)}")


def _recurs_with(query: "Query", participant_id: str | None) -> bool:
    return any(name.split("/")[0] == participant_id for name in query.visit_names)


@query_app.command("answer")
def _answer(
    bids_dir: BidsDir,
    query_id: QueryId,
    by: Annotated[str, typer.Option(help="Account or name of the person who answers it.")],
    reason: Annotated[str, typer.Option(help="More that there is to say.")] = "",
    visit: Annotated[str | None, typer.Option(metavar="ses-X", help="Visit of the images.")] = None,
    participant: Annotated[
        str | None, typer.Option(metavar="sub-X", help="Participant of the images.")
    ] = None,
    volume: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Volume of the series to use, from 1.")
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ROLE=]SERIES_ID",
            help="The series to use, as in series.tsv; for the role of the query, or for another one.",
        ),
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="It is used as it is.")] = False,
    not_acquired: Annotated[
        bool, typer.Option("--not-acquired", help="There is no image to be used; the visit goes on.")
    ] = False,
    same_person: Annotated[
        bool, typer.Option("--same-person", help="It is the participant all the same.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="The examinations of several days are one visit.")
    ] = False,
) -> None:
    """Answer a query; the next intake of its submission carries the answer out and closes it."""
    from mesems_mri.dataset.queries import answer_query
    from mesems_mri.dataset.query_answers import given_answer

    _check_folder(bids_dir)
    answer = given_answer(
        query_id,
        visit=visit,
        participant=participant,
        volume=volume,
        series=series or [],
        accept=accept,
        not_acquired=not_acquired,
        same_person=same_person,
        merge=merge,
    )
    query = answer_query(bids_dir, query_id, answer, by=by, reason=reason)
    typer.echo(f"{query.query_id} ({query.code}) is {query.state}")
    _tell_visit(bids_dir, query)


@query_app.command("close")
def _close(
    bids_dir: BidsDir,
    query_id: QueryId,
    by: Annotated[str, typer.Option(help="Account or name of the person who closes it.")],
    reason: Annotated[str, typer.Option(help="Answer of the site, or another reason.")],
) -> None:
    """Close a query that waits for no image; one that does is answered, or another scan is sent."""
    from mesems_mri.dataset.queries import close_query
    from mesems_mri.dataset.query import INTAKE
    from mesems_mri.errors import UsageError

    _check_folder(bids_dir)
    if by.strip() == INTAKE:
        msg = f"{query_id}: --by is {INTAKE}, expected a person; say who closes the query"
        raise UsageError(msg)
    query = close_query(bids_dir, query_id, by=by, reason=reason)
    typer.echo(f"{query.query_id} is closed ({query.code}, by {query.closed_by}, on {query.closed})")
    _tell_visit(bids_dir, query)


def _tell_visit(bids_dir: Path, query: "Query") -> None:
    """Bring the pages up to date, and say what the visit of a query waits for now."""
    from mesems_mri.dataset.queries import blocking_queries
    from mesems_mri.intake.receipt_store import refresh_pages

    if (bids_dir / "sites").is_dir():
        refresh_pages(bids_dir)
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


@query_app.command("restore")
def _restore(
    bids_dir: BidsDir,
    as_it_is: Annotated[
        bool, typer.Option("--as-it-is", help="Take the table as it stands, where its log is lost.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who takes the table as it stands.")] = "",
) -> None:
    """Write the table of the queries as its log has it, after it was changed by hand."""
    from mesems_mri.dataset.queries import restore_queries
    from mesems_mri.errors import UsageError

    _check_folder(bids_dir)
    if as_it_is and not by.strip():
        msg = "--as-it-is: --by is empty; say who takes the table as it stands"
        raise UsageError(msg)
    table = restore_queries(bids_dir, as_it_is=by if as_it_is else "")
    typer.echo(f"{bids_dir / 'queries.tsv'}: {len(table)} queries, as their log has them")


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
    """Rewrite the receipts and the pages of the sites from the present tables."""
    from mesems_mri.dataset.layout import Layout
    from mesems_mri.errors import UsageError
    from mesems_mri.intake.receipt_store import refresh_pages

    _check_folder(bids_dir)
    quality = Layout(out_dir).site_quality() if out_dir else None
    if quality and not quality.is_file():
        msg = f"{out_dir}: holds no image quality; give the output folder of a finished run"
        raise UsageError(msg)
    pages = refresh_pages(bids_dir, key, quality=quality)
    for page in pages:
        typer.echo(f"page: {page}")
    if not pages:
        typer.echo("no site has sent anything yet")


def _check_folder(bids_dir: Path) -> None:
    from mesems_mri.dataset.journal import finish_interrupted
    from mesems_mri.errors import DatasetError

    finish_interrupted(bids_dir)

    if not bids_dir.is_dir():
        msg = f"{bids_dir}: no such BIDS folder; give the folder that intake has filled"
        raise DatasetError(msg)
