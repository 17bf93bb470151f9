"""Database of the data centre and of the reading: opened, read, written, and guarded against changes.

Only the extras `central` and `review` have SQLAlchemy, so no module but theirs imports this one.
"""

import contextlib
import datetime as dt
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from sqlalchemy import DDL, Column, Connection, Engine, String, Table, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from mesems_mri.errors import DatasetError, UsageError

_WRITING = 0x6D6573656D73  # "mesems": the advisory lock in PostgreSQL that lets one writer in at a time
_BUSY_SECONDS = 60
_CONNECTIONS = 20


def now() -> str:
    """Return the time in UTC as it is stored."""
    return dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_column(name: str, *, nullable: bool = False) -> Column[str]:
    """Return a column of a time in UTC, ISO 8601, as text: it is hashed as it stands, in every database."""
    return Column(name, String(20), nullable=nullable)


class Database:
    """An open database.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE``, ``postgresql://USER@HOST/NAME``, or a file.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self._writer = threading.Lock()
        try:
            self.engine = _engine(self.url)
        except NoSuchModuleError as error:
            msg = f"{self.shown}: {error}; give sqlite:///FILE or postgresql://USER@HOST/NAME"
            raise UsageError(msg) from error

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def make_file(self) -> None:
        """Make the file of an SQLite database; nobody else may read it, not even for a moment."""
        file = self.url.database
        if self.engine.dialect.name == "sqlite" and file:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))

    @contextlib.contextmanager
    def writing(self) -> Generator[Connection]:
        """Begin an atomic transaction of the only writer."""
        # Threads wait in line here: SQLite itself lets them poll, with ever longer pauses.
        with (
            self._writer,
            self.engine.connect().execution_options(mesems_writes=True) as connection,
            connection.begin(),
        ):
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITING})
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Generator[Connection]:
        """Begin a transaction that sees the database at one moment."""
        level = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    def check_version(self, found: int, expected: int) -> None:
        """Refuse tables of another version.

        Raises
        ------
        DatasetError
            If they are.
        """
        if found != expected:
            msg = f"{self.shown}: has tables of version {found}, expected {expected}; "
            msg += "use the mesems-mri that made it"
            raise DatasetError(msg)

    @contextlib.contextmanager
    def explained(self) -> Generator[None]:
        """Turn an error of the database into one sentence.

        Raises
        ------
        UsageError
            If the database cannot be reached.
        """
        try:
            yield
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            msg = f"{self.shown}: the database does not answer ({said}); check the address and that it runs"
            raise UsageError(msg) from error


def protect(table: Table) -> None:
    """Let the database itself refuse to change or remove a row."""
    name = table.name
    for verb in ("UPDATE", "DELETE"):
        sqlite = (
            f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
        )
        event.listen(table, "after_create", DDL(sqlite).execute_if(dialect="sqlite"))
    function = (
        f"CREATE FUNCTION {name}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{name} is append-only'; END $$"
    )
    trigger = (
        f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_append_only()"
    )
    for statement in (function, trigger):
        event.listen(table, "after_create", DDL(statement).execute_if(dialect="postgresql"))


def _parse(url: str) -> URL:
    if "://" not in url:
        return URL.create("sqlite", database=str(Path(url).absolute()))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        msg = "the database address cannot be read; give sqlite:///FILE or postgresql://USER@HOST/NAME"
        raise UsageError(msg) from error
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        # a connection that PostgreSQL dropped when it restarted is noticed before it is used
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=_CONNECTIONS, max_overflow=_CONNECTIONS
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's sqlite3 would begin transactions of its own, too late
        connection.execute("PRAGMA journal_mode=WAL")  # whoever reads does not wait for the writer
        connection.execute("PRAGMA synchronous=FULL")  # what was committed survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("mesems_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
