"""Command line of the receiving side; heavy imports happen inside the commands."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mesems_mri.central.store import Store

central_app = typer.Typer(
    no_args_is_help=True, help="The receiving side: sites, transfers, expected against received visits."
)
site_app = typer.Typer(no_args_is_help=True, help="Sites that send: their public keys and tokens.")
central_app.add_typer(site_app, name="site")

Database = Annotated[
    str,
    typer.Option(
        envvar="MESEMS_CENTRAL_DATABASE",
        help="File (SQLite), or postgresql://USER@HOST/NAME; a password is better in the environment.",
    ),
]
_DEFAULT = "central.db"
SiteId = Annotated[str, typer.Argument(metavar="SITE", help="Label of the site, as in the visit schedule.")]
Days = Annotated[int, typer.Option(min=1, max=1100, help="Validity of the token in days.")]


class OversightRole(StrEnum):
    """Roles of tokens that ``central token`` makes."""

    DATA_MANAGER = "data_manager"
    AUDITOR = "auditor"


@central_app.command()
def init(
    study: Annotated[str, typer.Option(help="Identifier of the study, as in all tables.")],
    database: Database = _DEFAULT,
) -> None:
    """Create the database of a study."""
    from mesems_mri.central.store import Store

    store = Store(database)
    store.create(study, _account())
    typer.echo(f"{store.shown} is the central database of {study}")
    typer.echo("next: mesems-mri central site add SITE --key FILE, then central schedule FILE")


@central_app.command()
def schedule(
    table: Annotated[Path, typer.Argument(help="Visit schedule of the trial (tab-separated).")],
    reason: Annotated[str, typer.Option(help="Reason for loading or replacing it, for the audit trail.")],
    database: Database = _DEFAULT,
) -> None:
    """Load the visit schedule, or a new version of it."""
    from mesems_mri.central.schedule import read_schedule, replace_schedule

    visits, content = read_schedule(table), table.read_bytes()
    with _opened(database) as store, store.writing() as connection:
        number = replace_schedule(connection, visits, content, by=_account(), reason=reason)
    participants = len({visit.participant_id for visit in visits})
    typer.echo(f"version {number} of the visit schedule: {participants} participants, {len(visits)} visits")


@site_app.command("add")
def _add(
    site: SiteId,
    key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Public key (transfer keygen).")],
    days: Days = 365,
    token: Annotated[bool, typer.Option(help="Also make a token, for a site that sends over HTTPS.")] = True,
    database: Database = _DEFAULT,
) -> None:
    """Register a site with its public key, and make its token."""
    from mesems_mri.central.sites import Role, add_key, add_site, add_token

    with _opened(database) as store, store.writing() as connection:
        add_site(connection, site, _account())
        fingerprint = add_key(connection, site, key.read_bytes(), _account())
        value = token and add_token(
            connection, Role.SENDER, f"site {site}", _account(), days=days, site_id=site
        )
    typer.echo(f"site {site}, key {fingerprint}: compare it with the site over the telephone")
    if value:
        _show_token(value, days)


@site_app.command("key")
def _key(
    site: SiteId,
    key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Public key (transfer keygen).")],
    database: Database = _DEFAULT,
) -> None:
    """Register another public key of a site; the old one is valid until it is revoked."""
    from mesems_mri.central.sites import add_key

    with _opened(database) as store, store.writing() as connection:
        fingerprint = add_key(connection, site, key.read_bytes(), _account())
    typer.echo(f"site {site}, key {fingerprint}: compare it with the site over the telephone")


@site_app.command("token")
def _token(site: SiteId, days: Days = 365, database: Database = _DEFAULT) -> None:
    """Make another token of a site; the old one is valid until it expires or is revoked."""
    from mesems_mri.central.sites import Role, add_token

    with _opened(database) as store, store.writing() as connection:
        value = add_token(connection, Role.SENDER, f"site {site}", _account(), days=days, site_id=site)
    _show_token(value, days)


@site_app.command("list")
def _list(database: Database = _DEFAULT) -> None:
    """List sites with their keys, and all tokens."""
    from mesems_mri.central.sites import listing

    with _opened(database) as store, store.reading() as connection:
        lines = listing(connection)
    typer.echo("\n".join(lines) if lines else "no site yet: mesems-mri central site add")


@central_app.command("token")
def _role_token(
    holder: Annotated[str, typer.Argument(help="Recipient of the token.")],
    role: Annotated[OversightRole, typer.Option(help="Role of the token.")],
    days: Days = 365,
    database: Database = _DEFAULT,
) -> None:
    """Make a token for the reconciliation list or the audit trail."""
    from mesems_mri.central.sites import Role, add_token

    with _opened(database) as store, store.writing() as connection:
        value = add_token(connection, Role(role.value), holder, _account(), days=days)
    _show_token(value, days)


@central_app.command()
def revoke(
    identifier: Annotated[
        str, typer.Argument(help="A token, or the start of a key, as central site list shows.")
    ],
    database: Database = _DEFAULT,
) -> None:
    """End a token or a public key at once."""
    from mesems_mri.central.sites import revoke as revoke_it

    with _opened(database) as store, store.writing() as connection:
        typer.echo(f"{revoke_it(connection, identifier, _account())} is revoked")


@central_app.command()
def ingest(
    inboxes: Annotated[list[Path], typer.Argument(help="Folders in which archives arrive.")],
    site: Annotated[str | None, typer.Option(help="The only site that may send here.")] = None,
    database: Database = _DEFAULT,
) -> None:
    """Receive the archives of inboxes and write receipts; exit code 5 if something was rejected."""
    from mesems_mri.central.inbox import ingest as ingest_inbox

    refused = 0
    with _opened(database) as store:
        for inbox in inboxes:
            for archive in ingest_inbox(store, inbox, by=_account(), site_id=site or ""):
                if archive.decision is None:
                    typer.echo(f"{archive.name}: is no transfer and was left; remove it")
                    refused += 1
                    continue
                receipt = archive.decision.receipt
                typer.echo(f"{archive.name}: {receipt.status}")
                for line in [*receipt.reasons, *(receipt.warnings or ())]:
                    typer.echo(f"  {line}")
                refused += not archive.decision.accepted
    raise typer.Exit(5 if refused else 0)


@central_app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8443,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A proxy does the TLS.")] = False,
    max_mb: Annotated[int, typer.Option(min=1, max=512, help="Largest transfer, in MiB.")] = 512,
    database: Database = _DEFAULT,
) -> None:
    """Receive transfers over HTTPS until stopped."""
    from mesems_mri.central.app import RequestLimits
    from mesems_mri.central.serve import serve as serve_app

    with _opened(database) as store:
        serve_app(
            store,
            host=host,
            port=port,
            certificate=tls_certificate,
            key=tls_key,
            behind_proxy=behind_proxy,
            limits=RequestLimits(body_bytes=max_mb * 2**20),
        )


@central_app.command()
def reconcile(
    site: Annotated[str | None, typer.Option(help="Only this site.")] = None,
    tsv: Annotated[Path | None, typer.Option(help="Also write the whole list here.")] = None,
    all_visits: Annotated[bool, typer.Option("--all", help="Show visits that are in order, too.")] = False,
    database: Database = _DEFAULT,
) -> None:
    """Reconcile the visits received with the visit schedule."""
    from mesems_mri.central.reconcile import as_table, describe
    from mesems_mri.central.reconcile import reconcile as reconcile_visits
    from mesems_mri.files import write_text

    with _opened(database) as store, store.reading() as connection:
        lines = reconcile_visits(connection, site)
    typer.echo("\n".join(describe(lines, all_visits=all_visits)) or "no visit is expected, none was received")
    if tsv:
        write_text(tsv, as_table(lines))
        typer.echo(f"the whole list: {tsv}")


@central_app.command("audit")
def _audit(
    known: Annotated[
        str | None,
        typer.Option(metavar="NUMBER:HASH", help="An entry noted earlier that must be there still."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Also print the entries.")] = False,
    database: Database = _DEFAULT,
) -> None:
    """Check the audit trail; exit code 3 if an entry was changed or removed."""
    from mesems_mri.dataset import audit
    from mesems_mri.errors import DatasetError

    noted = audit.AuditHead.parse(known) if known else None
    with _opened(database) as store, store.reading() as connection:
        if show:
            for line in audit.listing(connection):
                typer.echo(line)
        problems = audit.verify(connection, noted)
        last = audit.head(connection)
    if problems:
        typer.echo("\n".join(problems))
        fault = f"the audit trail is not intact ({len(problems)} problems)"
        msg = f"{database}: {fault}; restore a copy and compare"
        raise DatasetError(msg)
    typer.echo(f"the audit trail is intact; note its last entry elsewhere: {last.number}:{last.hash}")


@contextmanager
def _opened(database: str) -> "Iterator[Store]":
    from mesems_mri.central.store import Store

    store = Store(database)
    try:
        store.study()
        yield store
    finally:
        store.close()


def _account() -> str:
    return f"account {getpass.getuser()}"


def _show_token(value: str, days: int) -> None:
    typer.echo(f"token (shown this once, valid for {days} days): {value}")
