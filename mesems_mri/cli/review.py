"""Command line of the reading; heavy imports happen inside the commands."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from mesems_mri.review.desk import Desk


class _FolderFirst(TyperGroup):
    """``review OUT_DIR`` opens the reading of one user; a name of a command goes before a folder."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the command ``open`` before a folder."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["open", *args]
        return super().resolve_command(ctx, args)


review_app = typer.Typer(
    cls=_FolderFirst,
    no_args_is_help=True,
    help="Read visits: `review OUT_DIR` for one user; a reading centre with two readers, adjudication, lock.",
)
user_app = typer.Typer(no_args_is_help=True, help="Accounts of readers, adjudicators, managers, auditors.")
review_app.add_typer(user_app, name="user")

Database = Annotated[
    str,
    typer.Option(
        envvar="MESEMS_REVIEW_DATABASE",
        help="File (SQLite), or postgresql://USER@HOST/NAME; a password is better in the environment.",
    ),
]
_DEFAULT = "reading.db"
Participant = Annotated[str, typer.Argument(help="Participant, with or without sub-.")]
Session = Annotated[str, typer.Argument(help="Session (visit), with or without ses-.")]
User = Annotated[str, typer.Option("--by", help="Name of the manager who does it; asked for the password.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="File with the password; default: it is asked for."),
]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="Name to sign in with.")]


class Role(StrEnum):
    """Roles of accounts."""

    READER = "reader"
    ADJUDICATOR = "adjudicator"
    MANAGER = "manager"
    AUDITOR = "auditor"


class Mode(StrEnum):
    """Modes of reading."""

    ASSISTED = "assisted"
    UNASSISTED_THEN_ASSISTED = "unassisted_then_assisted"


@review_app.command("open")
def _open(
    out_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Output folder of a run.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8321,
) -> None:
    """Read as one user, without accounts, on this machine alone; the same as `review OUT_DIR`."""
    from mesems_mri.review.serve import serve_single

    serve_single(out_dir, port, typer.echo)


@review_app.command()
def init(
    out_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Output folder of a run.")],
    study: Annotated[str, typer.Option(help="Identifier of the study, as in all tables.")],
    mode: Annotated[Mode, typer.Option(help="With candidates, or first without them.")] = Mode.ASSISTED,
    order_hidden: Annotated[
        bool, typer.Option("--order-hidden", help="Hide the order of visits and the prior visit.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of assignment and order.")] = 0,
    re_reads: Annotated[int, typer.Option(min=0, max=100, help="Visits read again, in percent.")] = 10,
    database: Database = _DEFAULT,
) -> None:
    """Make the database of a reading centre."""
    from mesems_mri.review.store import ReadingSettings, ReadingStore
    from mesems_mri.review.visit import list_visits

    settings = ReadingSettings(
        study_id=study,
        out_dir=out_dir.resolve(),
        mode=mode.value,
        order_hidden=order_hidden,
        seed=seed,
        re_read_percent=re_reads,
    )
    visits = list_visits(settings.layout)
    store = ReadingStore(database)
    store.create(settings, _account())
    typer.echo(f"{store.shown} is the reading of {study}: {len(visits)} visits can be read")
    typer.echo("next: mesems-mri review user add NAME --role reader, then review assign, review serve")


@user_app.command("add")
def _add_user(
    name: UserName,
    role: Annotated[Role, typer.Option(help="Role of the account.")],
    password_file: PasswordFile = None,
    database: Database = _DEFAULT,
) -> None:
    """Add an account; its password is asked for."""
    from mesems_mri.review.accounts import Passwords, ReaderRole, add_account

    with _opened(database) as desk:
        hashed = Passwords(desk.store).hash(_password(password_file, confirm=True))
        with desk.store.writing() as connection:
            add_account(connection, name, ReaderRole(role.value), hashed, _account())
    typer.echo(f"{name} is {role.value}")


@user_app.command("password")
def _set_password(name: UserName, password_file: PasswordFile = None, database: Database = _DEFAULT) -> None:
    """Give an account another password; its sessions end."""
    from mesems_mri.review.accounts import Passwords, set_password

    with _opened(database) as desk:
        hashed = Passwords(desk.store).hash(_password(password_file, confirm=True))
        with desk.store.writing() as connection:
            set_password(connection, name, hashed, _account())
    typer.echo(f"{name} has another password")


@user_app.command("revoke")
def _revoke_user(name: UserName, database: Database = _DEFAULT) -> None:
    """End an account; what was read with it stays."""
    from mesems_mri.review.accounts import revoke_account

    with _opened(database) as desk, desk.store.writing() as connection:
        revoke_account(connection, name, _account())
    typer.echo(f"{name} cannot sign in any more")


@user_app.command("list")
def _list_users(database: Database = _DEFAULT) -> None:
    """List the accounts."""
    from mesems_mri.review.accounts import listing

    with _opened(database) as desk, desk.store.reading() as connection:
        lines = listing(connection)
    typer.echo("\n".join(lines) if lines else "no account yet: mesems-mri review user add")


@review_app.command()
def assign(
    readers: Annotated[
        list[str] | None, typer.Option("--reader", help="Reader (several times); default: all readers.")
    ] = None,
    database: Database = _DEFAULT,
) -> None:
    """Assign every visit that has no readers yet to two of them, and plan the re-reads."""
    from mesems_mri.review.centre import assign as assign_visits

    with _opened(database) as desk:
        made = assign_visits(desk, readers, _account())
    reads = sum(assignment.kind == "read" for assignment in made)
    typer.echo(f"assigned {reads // 2} visits to two readers each, {len(made) - reads} of them once more")
    for name in sorted({assignment.reader for assignment in made}):
        typer.echo(f"  {name}: {sum(assignment.reader == name for assignment in made)}")


@review_app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8321,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Name under which readers reach it (several times).")
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy on this machine or network does the TLS.")
    ] = False,
    database: Database = _DEFAULT,
) -> None:
    """Serve the reading centre."""
    from mesems_mri.review.serve import serve_centre
    from mesems_mri.review.store import ReadingStore

    store = ReadingStore(database)
    store.settings()
    typer.echo(f"reading centre on {host}:{port} (stop with Ctrl-C)")
    serve_centre(
        store,
        host=host,
        port=port,
        names=tuple(name or ()),
        certificate=tls_certificate,
        key=tls_key,
        behind_proxy=behind_proxy,
    )


@review_app.command()
def status(
    visits: Annotated[bool, typer.Option("--visits", help="Also list every visit.")] = False,
    database: Database = _DEFAULT,
) -> None:
    """Print how many visits are at which stage, the backlog of readers, and what a rerun would change."""
    from mesems_mri.review.centre import visit_statuses
    from mesems_mri.review.progress import VisitStage
    from mesems_mri.review.report import backlog

    with _opened(database) as desk:
        statuses = visit_statuses(desk)
        waiting = backlog(desk)
    for stage in VisitStage:
        typer.echo(f"{stage}: {sum(s.stage is stage for s in statuses)}")
    for line in waiting:
        typer.echo(f"{line.reader}: {line.signed} of {line.assigned} signed, {line.shown_turnaround}")
    for entry in statuses:
        name = "/".join(entry.visit)
        if visits:
            typer.echo(f"{name}: {entry.stage}: {', '.join(entry.readers)}")
        if entry.outdated:
            typer.echo(f"{name}: was read on an earlier run; give it back with mesems-mri review reopen")
        if entry.would_change:
            changes = ", ".join(
                f"{column} {then} -> {now}" for column, (then, now) in entry.would_change.items()
            )
            typer.echo(f"{name}: locked (v{entry.version:03}); a rerun would change {changes}")


@review_app.command()
def adjudicate(
    adjudicators: Annotated[
        list[str] | None, typer.Option("--adjudicator", help="Adjudicator (several times); default: all.")
    ] = None,
    database: Database = _DEFAULT,
) -> None:
    """Give every visit whose two reads disagree to an adjudicator."""
    from mesems_mri.review.centre import adjudicate as give

    with _opened(database) as desk:
        given = give(desk, adjudicators, _account())
    typer.echo(f"{len(given)} visits are given to an adjudicator")


@review_app.command()
def lock(
    by: User,
    participant: Annotated[str | None, typer.Argument(help="Participant; default: all that can be.")] = None,
    session: Annotated[str | None, typer.Argument(help="Session (visit).")] = None,
    password_file: PasswordFile = None,
    database: Database = _DEFAULT,
) -> None:
    """Sign and lock a visit, or all concordant and adjudicated ones: they stand in the tables from now on."""
    from mesems_mri.review.centre import lock_visit, visit_statuses
    from mesems_mri.review.events import MEANINGS
    from mesems_mri.review.progress import VisitStage

    with _opened(database) as desk:
        actor = _manager(desk, by, password_file)
        typer.echo(MEANINGS["lock"])
        if participant and session:
            chosen = [_visit(participant, session)]
        else:
            ready = (VisitStage.CONCORDANT, VisitStage.ADJUDICATED)
            chosen = [s.visit for s in visit_statuses(desk) if s.stage in ready]
        for visit in chosen:
            read = lock_visit(desk, visit, actor)
            typer.echo(f"{'/'.join(visit)}: v{read.version:03} {read.sha256}")
    typer.echo(f"locked {len(chosen)} visits")


@review_app.command()
def unlock(
    participant: Participant,
    session: Session,
    by: User,
    reason: Annotated[
        str, typer.Option(help="Reason; without it a request of another person is confirmed.")
    ] = "",
    password_file: PasswordFile = None,
    database: Database = _DEFAULT,
) -> None:
    """Ask to unlock a visit with a reason, or confirm what another manager has asked for."""
    from mesems_mri.review.centre import reopen, unlock_visit
    from mesems_mri.review.locks import ask_unlock

    visit = _visit(participant, session)
    with _opened(database) as desk:
        actor = _manager(desk, by, password_file)
        if reason:
            with desk.store.writing() as connection:
                version = ask_unlock(connection, visit, actor=actor, reason=reason)
            typer.echo(f"{'/'.join(visit)}: v{version:03} is unlocked when another manager confirms")
            return
        version = unlock_visit(desk, visit, actor)
        reopen(desk, visit, actor)
    typer.echo(f"{'/'.join(visit)}: v{version:03} does not hold any more; its readers have it again")


@review_app.command()
def reopen(
    participant: Participant,
    session: Session,
    by: User,
    password_file: PasswordFile = None,
    database: Database = _DEFAULT,
) -> None:
    """Give a visit that is signed and not locked to its readers once more, e.g. after a rerun."""
    from mesems_mri.review.centre import reopen as give_back

    visit = _visit(participant, session)
    with _opened(database) as desk:
        give_back(desk, visit, _manager(desk, by, password_file))
    typer.echo(f"{'/'.join(visit)}: its readers have it again")


@review_app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write the tables into.")],
    database: Database = _DEFAULT,
) -> None:
    """Write reads, agreement and turnaround as tables."""
    from mesems_mri.review.report import write_reports

    with _opened(database) as desk:
        for path in write_reports(desk, folder):
            typer.echo(str(path))


@review_app.command()
def audit(
    known: Annotated[
        str | None, typer.Option(help="NUMBER:HASH of an entry noted earlier, which must be there.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Also print the entries.")] = False,
    database: Database = _DEFAULT,
) -> None:
    """Check trail, events and locked reads; exit code 3 if anything was changed or removed."""
    from mesems_mri.dataset import audit as trail
    from mesems_mri.errors import DatasetError
    from mesems_mri.review.centre import check_locks, check_tasks
    from mesems_mri.review.store import verify

    noted = trail.AuditHead.parse(known) if known else None
    with _opened(database) as desk:
        with desk.store.reading() as connection:
            if show:
                for line in trail.listing(connection):
                    typer.echo(line)
            problems = verify(connection, noted)
            last = trail.head(connection)
        problems += [*check_tasks(desk), *check_locks(desk)]
    if problems:
        typer.echo("\n".join(problems))
        msg = f"{database}: the reading is not intact ({len(problems)} problems); restore a copy and compare"
        raise DatasetError(msg)
    typer.echo(f"the reading is intact; note its last entry elsewhere: {last.number}:{last.hash}")


@contextmanager
def _opened(database: str) -> "Iterator[Desk]":
    from mesems_mri.review.desk import Desk
    from mesems_mri.review.store import ReadingStore

    store = ReadingStore(database)
    try:
        yield Desk(store)
    finally:
        store.close()


def _manager(desk: "Desk", name: str, password_file: Path | None) -> str:
    """Ask the manager for the password; return the name."""
    from mesems_mri.errors import UsageError
    from mesems_mri.review.accounts import Passwords, ReaderRole

    role = Passwords(desk.store).check(name, _password(password_file), "command line")
    if role != ReaderRole.MANAGER:
        msg = f"--by {name}: is {role}, expected a manager"
        raise UsageError(msg)
    return name


def _password(file: Path | None, *, confirm: bool = False) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip("\r\n")
    return typer.prompt("Password", hide_input=True, confirmation_prompt=confirm)


def _visit(participant: str, session: str) -> tuple[str, str]:
    return f"sub-{participant.removeprefix('sub-')}", f"ses-{session.removeprefix('ses-')}"


def _account() -> str:
    return f"account {getpass.getuser()}"
