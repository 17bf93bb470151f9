"""The demonstration is read: who accepts all changes no count, and what is locked stands in the tables."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mesems_mri.dataset.columns import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import read_table
from mesems_mri.review.accounts import ReaderRole
from mesems_mri.review.centre import adjudicate, assign, check_locks, check_tasks, lock_visit, visit_statuses
from mesems_mri.review.progress import VisitStage
from mesems_mri.review.store import tasks, verify
from tests.demonstration import Demonstration
from tests.unit.review.service import Centre

PEOPLE = {"anna": ReaderRole.READER, "ben": ReaderRole.READER, "judith": ReaderRole.ADJUDICATOR}


def table(out_dir: Path, name: str = "visit_metrics.tsv") -> dict[tuple[str, str], dict[str, Any]]:
    rows = read_table(out_dir / name, VISIT_METRICS_COLUMNS)
    return {(row["participant_id"], row["session_id"]): row for row in rows}


def read_all(centre: Centre, rejecting: str = "") -> None:
    """Let both readers read everything; one may reject every enhancing lesion."""
    assign(centre.desk, None, "admin")
    with centre.store.reading() as connection:
        everything = tasks(connection)
    for task in everything:
        page = centre.browser(task.reader).open(task.task_id)
        for finding in list(page.findings.values()):
            if task.reader == rejecting and (finding["kind"], finding["origin"]) == ("gel", "counted"):
                page.do("decide", finding_id=finding["finding_id"], decision="rejected")
        page.decide_rest()
        page.sign()


@pytest.mark.long
def test_demonstration_is_read_and_locked(demo: Demonstration, tmp_path: Path) -> None:
    out_dir = demo.copied(tmp_path / "out").out_dir
    before = table(out_dir)
    study: Any = SimpleNamespace(out_dir=out_dir)
    centre = Centre(study, tmp_path / "reading.db", PEOPLE, re_read_percent=0)
    read_all(centre, rejecting="ben")
    given = adjudicate(centre.desk, None, "admin")
    with_gel = [visit for visit, row in before.items() if row["gel_count"]]
    assert sorted(given) == sorted(with_gel)
    judge = centre.browser("judith")
    for task in judge.tasks:
        page = judge.open(task["task_id"])
        page.decide_rest("accepted")
        page.sign()
    statuses = visit_statuses(centre.desk)
    assert {s.stage for s in statuses} == {VisitStage.CONCORDANT, VisitStage.ADJUDICATED}
    for status in statuses:
        lock_visit(centre.desk, status.visit, "max")
    now = table(out_dir)
    locked = {status.visit for status in statuses}
    assert len(locked) >= 11
    for visit, row in now.items():
        expected = before[visit] | ({"read_status": "locked"} if visit in locked else {})
        assert row == expected  # the adjudicator accepted what the run had counted
    assert table(out_dir, "visit_metrics_desc-automatic.tsv") == before
    for participant in {participant for participant, _ in locked}:
        ledger = read_table(out_dir / participant / f"{participant}_lesions.tsv", LEDGER_COLUMNS)
        assert {row["decision"] for row in ledger} <= {"automatic", "accepted"}
    with centre.store.reading() as connection:
        assert verify(connection) == []
    assert check_locks(centre.desk) == check_tasks(centre.desk) == []
    centre.store.close()
