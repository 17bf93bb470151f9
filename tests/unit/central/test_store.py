"""The database lets one writer in at a time, and whoever reads does not wait."""

import pytest
from sqlalchemy import exc, func, insert, select

from mesems_mri.central import schema
from mesems_mri.central.store import Store
from mesems_mri.dataset import database
from tests.unit.central.conftest import Trial

ROW = {"site_id": "S03", "added_at": "2026-01-01T00:00:00Z", "added_by": "tester"}


def test_second_writer_waits_from_the_beginning(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    other = Store(str(trial.folder / "central.db"))
    with trial.store.writing():  # before it has changed anything: what it reads must stay so until it writes
        with pytest.raises(exc.OperationalError, match="locked"), other.writing():
            pass
        with other.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(schema.site)) == 2
    with other.writing() as connection:
        connection.execute(insert(schema.site).values(ROW))
    other.close()


def test_nothing_of_a_transaction_that_fails_is_there(trial: Trial) -> None:
    def insert_then_fail() -> None:
        with trial.store.writing() as connection:
            connection.execute(insert(schema.site).values(ROW))
            raise KeyError

    with pytest.raises(KeyError):
        insert_then_fail()
    assert len(trial.rows(select(schema.site))) == 2
    with trial.store.writing() as connection:
        connection.execute(insert(schema.site).values(ROW))
    assert len(trial.rows(select(schema.site))) == 3
