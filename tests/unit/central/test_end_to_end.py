"""Bundles of the sending side, as it builds and sends them, at the receiving side."""

import json
from pathlib import Path

import pytest

from mesems_mri.central.content import TABLES
from mesems_mri.central.inbox import ingest
from mesems_mri.central.reconcile import ReconciliationState, reconcile
from mesems_mri.central.schedule import read_schedule, replace_schedule
from mesems_mri.central.store import Store
from mesems_mri.central.versions import current, history
from mesems_mri.config import Access
from mesems_mri.transfer import manifest
from mesems_mri.transfer.columns import TABLE_COLUMNS
from mesems_mri.transfer.outbox import BundleState, Outbox
from mesems_mri.transfer.send import collect_receipts, send
from tests.small_study import SmallStudy, missing_visit
from tests.unit.central.conftest import register, write_schedule


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    study = SmallStudy(tmp_path / "study")
    study.add("sub-001", "ses-w00")
    study.add("sub-001", "ses-w04", **missing_visit())
    study.add("sub-002", "ses-w00")
    study.finish()
    return study


@pytest.fixture
def store(tmp_path: Path, study: SmallStudy) -> Store:
    store = Store(str(tmp_path / "central.db"))
    table = write_schedule(tmp_path / "visits.tsv", {"sub-001": "S01", "sub-002": "S01"})
    register(store, table, {"S01": study.public_key}, study.study_id)
    return store


def travel(study: SmallStudy, store: Store, inbox: Path) -> list[str]:
    """Build, send, receive, pick up the receipt; return what became of it."""
    inbox.mkdir(exist_ok=True)
    access = Access(destination=str(inbox))
    study.build()
    send(study.out_dir, access, quiet)
    taken = [one.decision for one in ingest(store, inbox, by="tester")]
    collect_receipts(study.out_dir, access, quiet)
    return [reason for d in taken if d for reason in [d.receipt.status, *d.receipt.reasons]]


def test_visits_arrive_with_their_values_and_corrections(
    study: SmallStudy, store: Store, tmp_path: Path
) -> None:
    assert travel(study, store, tmp_path / "inbox") == ["accepted"]
    study.add("sub-002", "ses-w04", gel_count=1)
    study.records["sub-002"].pop(0)
    study.add("sub-002", "ses-w00", read_status="read", qc_flags="no_t1w")
    study.finish()
    assert travel(study, store, tmp_path / "inbox") == ["accepted"]
    with store.reading() as connection:
        visits = {
            row.record_key: json.loads(row.content)
            for row in connection.execute(current("S01", "visit_metrics"))
        }
        states = {f"{v.participant_id}/{v.session_id}": v.state for v in reconcile(connection)}
        old, new = history(connection, "sub-002", "ses-w00")
    assert len(visits) == 4
    assert (visits["sub-001/ses-w00"]["gel_count"], visits["sub-001/ses-w04"]["gel_count"]) == (1, None)
    assert (old["version"], new["version"]) == (1, 2)
    assert "qc_flags" in new["changed"].split(";")
    assert new["reason"] == "read_status automatic to read"
    assert states["sub-001/ses-w04"] is ReconciliationState.NOT_EVALUABLE
    assert states["sub-002/ses-w24"] is ReconciliationState.AWAITED
    outbox = Outbox(study.layout, "S01").bundles()
    assert [bundle.state for bundle in outbox] == [BundleState.ACCEPTED] * 2
    store.close()


def test_rejected_bundle_makes_place_for_the_next(study: SmallStudy, store: Store, tmp_path: Path) -> None:
    study.add("sub-101", "ses-w00")
    study.finish()
    status, reason = travel(study, store, tmp_path / "inbox")
    assert (status, "sub-101: is not in the visit schedule" in reason) == ("rejected", True)
    table = write_schedule(tmp_path / "visits.tsv", {f"sub-{n}": "S01" for n in ("001", "002", "101")})
    with store.writing() as connection:
        replace_schedule(connection, read_schedule(table), table.read_bytes(), by="admin", reason="late")
    study.add("sub-001", "ses-w12")  # otherwise built within one second, it would be the same bundle
    study.finish()
    assert travel(study, store, tmp_path / "inbox") == ["accepted"]
    store.close()


def test_every_table_of_a_bundle_has_columns() -> None:
    assert tuple(TABLE_COLUMNS) == manifest.TABLES
    assert [f"{name}.csv" for name in TABLES] == list(manifest.TABLES)
