"""Database of the receiving side: created, opened, read and written."""

import contextlib
import datetime as dt
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from mesems_mri.central import audit, schema
from mesems_mri.errors import DatasetError, UsageError

_WRITING = 0x6D6573656D73  # "mesems": the advisory lock in PostgreSQL that lets one writer in at a time
_BUSY_SECONDS = 60


def now() -> str:
    """Return the time in UTC as it is stored."""
    return dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """An open database.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE``, ``postgresql://USER@HOST/NAME``, or a file.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
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

    def create(self, study_id: str, by: str) -> None:
        """Make the tables of a study.

        Raises
        ------
        UsageError
            If there are some already, or the database cannot be reached.
        """
        file = self.url.database
        if self.engine.dialect.name == "sqlite" and file:
            with contextlib.suppress(FileExistsError):  # nobody else may read it, not even for a moment
                os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
        with _explained(self), self.writing() as connection:
            if _has_tables(connection):
                msg = f"{self.shown}: is a central database already; go on with mesems-mri central site add"
                raise UsageError(msg)
            schema.metadata.create_all(connection)
            connection.execute(
                insert(schema.trial).values(
                    trial_id=1,
                    study_id=study_id,
                    database_version=schema.DATABASE_VERSION,
                    created_at=now(),
                )
            )
            audit.append(connection, now(), by, "database.created", study_id, {})

    def study(self) -> str:
        """Return the study that the database is for.

        Raises
        ------
        UsageError
            If it is no database of ours, of another version, or cannot be reached.
        """
        with _explained(self), self.engine.connect() as connection:
            if not _has_tables(connection):
                msg = f"{self.shown}: is no central database; make one with mesems-mri central init"
                raise UsageError(msg)
            row = connection.execute(select(schema.trial)).one()
        if row.database_version != schema.DATABASE_VERSION:
            msg = (
                f"{self.shown}: has tables of version {row.database_version}, "
                f"expected {schema.DATABASE_VERSION}; use the mesems-mri that made it"
            )
            raise DatasetError(msg)
        return row.study_id

    @contextlib.contextmanager
    def writing(self) -> Generator[Connection]:
        """Begin an atomic transaction of the only writer."""
        with self.engine.connect().execution_options(mesems_writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITING})
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Generator[Connection]:
        """Begin a transaction that sees the database at one moment."""
        level = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with self.engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection


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
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

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


def _has_tables(connection: Connection) -> bool:
    return connection.dialect.has_table(connection, schema.trial.name)


@contextlib.contextmanager
def _explained(store: Store) -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        msg = f"{store.shown}: the database does not answer ({said}); check the address and that it runs"
        raise UsageError(msg) from error
