"""Database of the receiving side: created and opened."""

from sqlalchemy import Connection, insert, select

from mesems_mri.central import schema
from mesems_mri.dataset import audit
from mesems_mri.dataset.database import Database, now
from mesems_mri.errors import UsageError


class Store(Database):
    """An open database of the receiving side."""

    def create(self, study_id: str, by: str) -> None:
        """Make the tables of a study.

        Raises
        ------
        UsageError
            If there are some already, or the database cannot be reached.
        """
        self.make_file()
        with self.explained(), self.writing() as connection:
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
        with self.explained(), self.engine.connect() as connection:
            if not _has_tables(connection):
                msg = f"{self.shown}: is no central database; make one with mesems-mri central init"
                raise UsageError(msg)
            row = connection.execute(select(schema.trial)).one()
        self.check_version(row.database_version, schema.DATABASE_VERSION)
        return row.study_id


def _has_tables(connection: Connection) -> bool:
    return connection.dialect.has_table(connection, schema.trial.name)
