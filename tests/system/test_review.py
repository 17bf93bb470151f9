"""The reading on a real PostgreSQL: from log-in to lock, with readers at the same time, and its triggers."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, exc, update

from mesems_mri.review import schema
from mesems_mri.review.centre import adjudicate, check_locks, lock_visit, visit_statuses
from mesems_mri.review.progress import VisitStage
from mesems_mri.review.store import tasks, verify
from tests.system.postgres import Postgres
from tests.unit.review.reading_study import ReadingStudy
from tests.unit.review.service import Centre
from tests.unit.review.test_centre import VISIT, metrics, read_visit


@pytest.fixture
def centre(postgres: Postgres, tmp_path: Path) -> Iterator[Centre]:
    centre = Centre(ReadingStudy(tmp_path), postgres.database("reading"), re_read_percent=0)
    yield centre
    centre.store.close()


def test_reading_centre_on_postgresql(centre: Centre) -> None:
    from mesems_mri.review.centre import assign

    assign(centre.desk, None, "admin")
    with centre.store.reading() as connection:
        everything = tasks(connection)
    loser = max(task.reader for task in everything if task.visit == VISIT)

    def read(name: str) -> None:
        browser = centre.browser(name)
        for task in everything:
            if task.reader == name:
                read_visit(browser, task.task_id, reject_gel=task.visit == VISIT and name == loser)

    threads = [threading.Thread(target=read, args=(name,)) for name in {task.reader for task in everything}]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert adjudicate(centre.desk, None, "max") == [VISIT]
    ready = [s.visit for s in visit_statuses(centre.desk) if s.stage is VisitStage.CONCORDANT]
    assert len(ready) == 3
    for visit in ready:
        lock_visit(centre.desk, visit, "max")
        assert metrics(centre.study)[visit]["read_status"] == "locked"
    with centre.store.reading() as connection:
        assert verify(connection) == []
    assert check_locks(centre.desk) == []
    for table in (schema.event, schema.lock, schema.audit):
        for statement in (update(table).values({list(table.c)[-1].name: "x"}), delete(table)):
            with (
                pytest.raises(exc.DBAPIError, match="append-only"),
                centre.store.writing() as connection,
            ):
                connection.execute(statement)
