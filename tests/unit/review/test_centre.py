"""A reading centre from log-in to lock: two readers, an adjudicator, a manager, an auditor."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesems_mri.dataset.columns import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.reads import PublishedRead
from mesems_mri.dataset.tables import read_table
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.files import read_json
from mesems_mri.images import nifti
from mesems_mri.review.centre import (
    adjudicate,
    assign,
    check_locks,
    check_tasks,
    lock_visit,
    put_right,
    reopen,
    unlock_visit,
    visit_statuses,
)
from mesems_mri.review.locks import ask_unlock
from mesems_mri.review.publish import MASKS
from mesems_mri.review.report import write_reports
from mesems_mri.review.store import tasks, verify
from tests.unit.review.reading_study import HIDDEN, ReadingStudy
from tests.unit.review.service import Browser, Centre, Page

VISIT = ("sub-001", "ses-w04")


@pytest.fixture
def centre(own_study: ReadingStudy, tmp_path: Path) -> Iterator[Centre]:
    centre = Centre(own_study, tmp_path / "reading.db", re_read_percent=0)
    yield centre
    centre.store.close()


def readers_of(centre: Centre, visit: tuple[str, str] = VISIT) -> list[tuple[str, str]]:
    """Names and tasks of the two readers of a visit."""
    with centre.store.reading() as connection:
        found = tasks(connection, participant_id=visit[0], session_id=visit[1], kind="read")
    return [(task.reader, task.task_id) for task in found]


def stage_of(centre: Centre, visit: tuple[str, str] = VISIT) -> str:
    return str(next(s.stage for s in visit_statuses(centre.desk) if s.visit == visit))


def read_visit(browser: Browser, task_id: str, *, reject_gel: bool = False, add: bool = False) -> Page:
    page = browser.open(task_id)
    if reject_gel:
        gel = page.find(kind="gel", origin="counted")
        page.do("decide", finding_id=gel["finding_id"], decision="rejected")
    if add:
        grown = browser.post(f"{page.path}/grow", {"kind": "t2", "at": list(HIDDEN)}).json()
        page.do("add", preview_id=grown["preview_id"], kind="t2", t2_status="new")
    page.decide_rest()
    page.sign()
    return page


def metrics(study: ReadingStudy) -> dict[tuple[str, str], dict[str, Any]]:
    rows = read_table(study.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    return {(row["participant_id"], row["session_id"]): row for row in rows}


def test_from_log_in_to_lock(centre: Centre) -> None:
    study = centre.study
    before = metrics(study)
    assert stage_of(centre) == "automatic"
    assign(centre.desk, None, "admin")
    assert stage_of(centre) == "assigned"
    (first, first_task), (second, second_task) = readers_of(centre)
    read_visit(centre.browser(first), first_task, reject_gel=True)
    assert stage_of(centre) == "read (1 of 2)"
    read_visit(centre.browser(second), second_task, add=True)
    assert stage_of(centre) == "read (2 of 2)"
    assert metrics(study) == before  # what is not locked stands nowhere outside
    with pytest.raises(UsageError, match="the two reads disagree"):
        lock_visit(centre.desk, VISIT, "max")

    assert adjudicate(centre.desk, None, "max") == [VISIT]
    assert stage_of(centre) == "in adjudication"
    judge = centre.browser("judith")
    (task,) = judge.tasks
    assert (task["stage"], task["label"]) == ("adjudication", "Case 001")
    page = judge.open(task["task_id"])
    disputed = [f for f in page.findings.values() if f["needs_decision"]]
    assert len(disputed) == 2
    gel, added = sorted(disputed, key=lambda f: f["kind"])
    assert {read["reader"] for read in gel["reads"]} == {"A", "B"}
    assert sorted(read["decision"] for read in gel["reads"]) == ["accepted", "rejected"]
    assert sorted(read["decision"] for read in added["reads"]) == ["absent", "accepted"]
    page.sign(status=400)
    page.do("decide", finding_id=gel["finding_id"], decision="accepted")
    page.do("decide", finding_id=added["finding_id"], decision="accepted", t2_status="new")
    page.sign()
    assert stage_of(centre) == "adjudicated"

    read = lock_visit(centre.desk, VISIT, "max")
    assert stage_of(centre) == "locked"
    assert read.version == 1
    now = metrics(study)
    assert now[VISIT]["read_status"] == "locked"
    assert (now[VISIT]["gel_count"], now[VISIT]["t2_new_count"]) == (1, 2)
    assert {k: v for k, v in now.items() if k != VISIT} == {k: v for k, v in before.items() if k != VISIT}
    assert recounted(study) == {
        name: now[VISIT][name] for name in ("gel_count", "t2_new_count", "t2_lesion_count", "cua_count")
    }
    frozen = PublishedRead.from_json(read_json(study.layout.read_version(*VISIT, 1)))
    assert frozen.sha256 == read.sha256
    with centre.store.reading() as connection:
        assert verify(connection) == []
    assert check_locks(centre.desk) == check_tasks(centre.desk) == []


def recounted(study: ReadingStudy) -> dict[str, int]:
    """Counts of the visit by a few lines that share no code with the package."""
    path = study.out_dir / "sub-001" / "sub-001_lesions.tsv"
    with path.open() as stream:
        rows = [r for r in csv.DictReader(stream, delimiter="\t") if r["session_id"] == VISIT[1]]
    rows = [r for r in rows if r["decision"] != "rejected" and float(r["volume_mm3"]) > 0]
    gel = [r for r in rows if r["focus"] == "gel"]
    t2 = [r for r in rows if r["focus"] == "t2"]
    new_gel = [r for r in gel if r["gd_status"] in ("new", "re_enhancing")]
    joined = {r["parent_lesion_id"] for r in new_gel}
    active = [r for r in t2 if r["t2_status"] in ("new", "enlarging") and r["lesion_id"] not in joined]
    return {
        "gel_count": len(gel),
        "t2_new_count": sum(r["t2_status"] == "new" for r in t2),
        "t2_lesion_count": len(t2),
        "cua_count": len(new_gel) + len(active),
    }


def both_agree(centre: Centre, **how: bool) -> None:
    if not readers_of(centre):
        assign(centre.desk, None, "admin")
    for name, task_id in readers_of(centre):
        read_visit(centre.browser(name), task_id, **how)


def test_two_reads_that_agree_are_locked_without_adjudication(centre: Centre) -> None:
    both_agree(centre, reject_gel=True, add=True)
    assert stage_of(centre) == "concordant"
    assert adjudicate(centre.desk, None, "max") == []
    lock_visit(centre.desk, VISIT, "max")
    row = metrics(centre.study)[VISIT]
    assert (row["gel_count"], row["t2_new_count"]) == (0, 2)
    with pytest.raises(UsageError, match="is locked already"):
        lock_visit(centre.desk, VISIT, "max")


def test_locked_visit_is_changed_by_nobody(centre: Centre) -> None:
    both_agree(centre)
    lock_visit(centre.desk, VISIT, "max")
    name, task_id = readers_of(centre)[0]
    page = centre.browser(name).open(task_id)
    said = page.do("undo", status=409)
    assert said["detail"] == "this visit is locked; ask the manager"


def test_rerun_lists_what_would_change_and_changes_nothing(centre: Centre) -> None:
    study = centre.study
    both_agree(centre)
    lock_visit(centre.desk, VISIT, "max")
    locked = study.layout.read_version(*VISIT, 1).read_bytes()
    ledger = [r for r in ledger_rows(study) if r["session_id"] == VISIT[1]]
    study.lesions = {**study.lesions, VISIT[1]: study.lesions[VISIT[1]][:2]}
    study.write()
    centre.restart()
    row = metrics(study)[VISIT]
    assert (row["gel_count"], row["t2_new_count"], row["read_status"]) == (1, 1, "locked")
    assert study.layout.read_version(*VISIT, 1).read_bytes() == locked
    assert [r for r in ledger_rows(study) if r["session_id"] == VISIT[1]] == ledger
    (status,) = [s for s in visit_statuses(centre.desk) if s.visit == VISIT]
    assert status.would_change["gel_count"] == (1, 0)
    others = [s for s in visit_statuses(centre.desk) if s.visit != VISIT]
    assert not any(s.would_change for s in others)
    assert metrics(study)["sub-002", "ses-w04"]["gel_count"] == 0  # not locked: the rerun counts


def ledger_rows(study: ReadingStudy) -> list[dict[str, Any]]:
    return read_table(study.layout.ledger("sub-001"), LEDGER_COLUMNS)


def test_unlocking_needs_a_reason_and_a_second_person_and_makes_v002(centre: Centre) -> None:
    both_agree(centre)
    before = metrics(centre.study)
    lock_visit(centre.desk, VISIT, "max")
    with pytest.raises(UsageError, match="nobody asked"):
        unlock_visit(centre.desk, VISIT, "mona")
    with centre.store.writing() as connection:
        with pytest.raises(UsageError, match="reason is empty"):
            ask_unlock(connection, VISIT, actor="max", reason=" ")
        ask_unlock(connection, VISIT, actor="max", reason="a lesion was overlooked")
    with pytest.raises(UsageError, match="expected another person"):
        unlock_visit(centre.desk, VISIT, "max")
    assert stage_of(centre) == "locked"
    assert unlock_visit(centre.desk, VISIT, "mona") == 1
    assert metrics(centre.study) == before
    assert not (centre.study.out_dir / "visit_metrics_desc-automatic.tsv").exists()
    reopen(centre.desk, VISIT, "mona")
    assert stage_of(centre) == "assigned"
    for name, task_id in readers_of(centre):
        page = centre.browser(name).open(task_id)
        gel = page.find(kind="gel", origin="counted")
        page.do("decide", finding_id=gel["finding_id"], decision="rejected")
        page.sign()
    read = lock_visit(centre.desk, VISIT, "max")
    assert (read.version, metrics(centre.study)[VISIT]["gel_count"]) == (2, 0)
    assert centre.study.layout.read_version(*VISIT, 1).is_file()
    assert check_locks(centre.desk) == []


def test_kill_between_database_and_tables_is_put_right(centre: Centre) -> None:
    both_agree(centre, reject_gel=True)
    lock_visit(centre.desk, VISIT, "max")
    study = centre.study
    study.layout.read(*VISIT).unlink()
    study.layout.product(*VISIT, MASKS["gel"]).unlink()
    study.write()
    assert metrics(study)[VISIT]["gel_count"] == 1
    assert check_locks(centre.desk)
    assert put_right(centre.desk) == [VISIT]
    assert metrics(study)[VISIT]["gel_count"] == 0
    assert check_locks(centre.desk) == []
    assert put_right(centre.desk) == []


@pytest.mark.parametrize("damage", ["record", "mask", "gone", "event", "column", "lock", "task"])
def test_audit_checks_data_as_well_as_the_chain(centre: Centre, damage: str) -> None:
    both_agree(centre)
    lock_visit(centre.desk, VISIT, "max")
    layout = centre.study.layout
    record = layout.read_version(*VISIT, 1)
    mask = record.with_name("v001_t2_dseg.nii.gz")
    if damage == "record":
        content = read_json(record)
        content["visit_metrics"]["gel_count"] = 7
        record.write_text(json.dumps(content))
    elif damage == "mask":
        array, affine = nifti.read_labels(mask)
        nifti.write_labels(mask, np.where(array == 1, 0, array), affine)
    elif damage == "gone":
        mask.unlink()
    else:
        table = damage if damage in ("lock", "task") else "event"
        statement = {
            "event": "UPDATE event SET content = replace(content, 'accepted', 'rejected')",
            "column": "UPDATE event SET actor = 'nobody' WHERE act = 'decide'",
            "lock": "DELETE FROM lock",
            "task": "UPDATE task SET state = 'signed'",
        }[damage]
        with centre.store.engine.begin() as connection:
            for verb in ("update", "delete") if table != "task" else ():
                connection.exec_driver_sql(f"DROP TRIGGER {table}_no_{verb}")
            connection.exec_driver_sql(statement)
    with centre.store.reading() as connection:
        assert verify(connection) + check_tasks(centre.desk) + check_locks(centre.desk)


def test_read_on_an_earlier_run_cannot_be_locked(centre: Centre) -> None:
    both_agree(centre)
    centre.study.lesions = {**centre.study.lesions, VISIT[1]: centre.study.lesions[VISIT[1]][:3]}
    centre.study.write()
    centre.restart()
    assert [s.visit for s in visit_statuses(centre.desk) if s.outdated] == [VISIT]
    with pytest.raises(DatasetError, match="found something else since it was read"):
        lock_visit(centre.desk, VISIT, "max")
    reopen(centre.desk, VISIT, "max")
    for name, task_id in readers_of(centre):
        page = centre.browser(name).open(task_id)
        assert page.find(gone=True)["kind"] == "gel"  # accepted before, and listed now
        page.sign()
    lock_visit(centre.desk, VISIT, "max")
    (row,) = [r for r in ledger_rows(centre.study) if r["focus"] == "gel"]
    assert row["decision"] == "added"


def test_reading_without_candidates_comes_first_and_is_kept(own_study: ReadingStudy, tmp_path: Path) -> None:
    centre = Centre(own_study, tmp_path / "r.db", re_read_percent=0, mode="unassisted_then_assisted")
    assign(centre.desk, None, "admin")
    name, task_id = readers_of(centre)[0]
    browser = centre.browser(name)
    page = browser.open(task_id)
    assert (page.task["stage"], page.findings) == ("unassisted", {})
    row = next(task for task in browser.tasks if task["task_id"] == task_id)
    assert (row["undecided"], row["total"]) == (0, 0)
    assert not page.segmentation().any()
    for kind, at in (("gel", [28, 28, 12]), ("t2", list(HIDDEN))):
        grown = browser.post(f"{page.path}/grow", {"kind": kind, "at": at}).json()
        status = {"t2_status": "new"} if kind == "t2" else {"gd_status": "new"}
        page.do("add", preview_id=grown["preview_id"], kind=kind, **status)
    page.sign()
    assert page.task["stage"] == "assisted"
    assert page.task["state"] == "begun"
    page.load()
    gel = page.find(kind="gel", origin="counted")
    assert gel["decision"] == "accepted"  # what was seen without candidates is carried over
    assert page.find(origin="reader")["kind"] == "t2"
    assert not page.task["can_undo"]
    page.decide_rest()
    page.sign()
    assert page.task["state"] == "signed"
    centre.store.close()


def test_reports_tell_agreement_and_turnaround(own_study: ReadingStudy, tmp_path: Path) -> None:
    centre = Centre(own_study, tmp_path / "r.db", re_read_percent=25)
    assign(centre.desk, None, "admin")
    with centre.store.reading() as connection:
        everything = tasks(connection)
    first = {task.visit: min(t.reader for t in everything if t.visit == task.visit) for task in everything}
    for task in everything:
        has_gel = task.session_id == "ses-w04"
        reject = has_gel and task.kind == "read" and task.reader == first[task.visit]
        read_visit(centre.browser(task.reader), task.task_id, reject_gel=reject)
    written = {
        path.stem: list(csv.DictReader(path.read_text().splitlines(), delimiter="	"))
        for path in write_reports(centre.desk, tmp_path / "reports")
    }
    assert len(written["reads"]) == 9
    between = next(
        r for r in written["agreement"] if r["comparison"] == "between_readers" and r["readers"] == "all"
    )
    assert (between["kind"], between["visits"], between["second_only"], between["same_count"]) == (
        "gel",
        "4",
        "2",
        "2",
    )
    assert any(r["comparison"] == "within_reader" for r in written["agreement"])
    assert {r["signed"] for r in written["turnaround"]} == {r["assigned"] for r in written["turnaround"]}
    run = [r for r in written["against_automatic"] if r["kind"] == "gel"]
    assert sum(int(r["automatic"]) for r in run) == 4
    assert sum(int(r["agreed"]) for r in run) == 2
    centre.store.close()
