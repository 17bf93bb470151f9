"""A transfer is stored as a whole, once and in order, and every version stays."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from mesems_mri.central.receive import Source, receive
from mesems_mri.central.schema import audit as trail
from mesems_mri.central.schema import record, rejection, transfer
from mesems_mri.central.sites import add_key, revoke
from mesems_mri.central.versions import current, history
from mesems_mri.dataset import audit
from mesems_mri.transfer.keys import public_pem
from mesems_mri.transfer.manifest import TransferReceipt
from tests.unit.central.bundles import Bundle, lesion, query, visit
from tests.unit.central.conftest import Trial

BASELINE = visit("sub-001", 0, [lesion(1), lesion(2, "t2")])
WEEK4 = visit("sub-001", 4, [lesion(3)])


def test_accepted_transfer_is_stored_and_answered(trial: Trial) -> None:
    archive, digest = trial.archive(Bundle([BASELINE, WEEK4], [query(1, "sub-002", 0)]))
    decision = receive(trial.store, archive, Source(by="tester"))
    assert decision.http_status == 201
    receipt = TransferReceipt.model_validate_json(json.dumps(decision.receipt.to_json()))
    assert (receipt.manifest_sha256, receipt.status, receipt.reasons) == (digest, "accepted", ())
    assert decision.receipt.rows == {"added": 6, "changed": 0, "removed": 0}
    assert trial.counts()["record"] == 6
    stored = trial.rows(current("S01", "visit_metrics"))
    assert [json.loads(row["content"])["gel_count"] for row in stored] == [1, 1]


def test_files_are_kept_as_they_came_each_content_once(trial: Trial) -> None:
    import zlib

    from mesems_mri.central.schema import stored_file, transfer_file

    bundle = Bundle([BASELINE])
    first = trial.send(bundle)
    trial.send(Bundle([BASELINE, WEEK4], sequence=2, previous=first.receipt.manifest_sha256))
    joined = select(transfer_file, stored_file.c.content).join(stored_file)
    kept = {(row["transfer_id"], row["name"]): zlib.decompress(row["content"]) for row in trial.rows(joined)}
    assert kept[1, "visit_metrics.csv"] == bundle.files()["visit_metrics.csv"]
    assert len(kept) == 2 * 17
    # of the second: manifest, signature, visits, lesions
    assert trial.counts()["stored_file"] == len({*kept.values()})
    assert len({content for (number, _), content in kept.items() if number == 2} -
               {content for (number, _), content in kept.items() if number == 1}) == 4  # fmt: skip


def test_duplicate_gets_the_receipt_of_before_and_adds_nothing(trial: Trial) -> None:
    archive, _ = trial.archive(Bundle([BASELINE]))
    first = receive(trial.store, archive, Source(by="tester"))
    before = trial.counts()
    for _ in range(49):
        again = receive(trial.store, archive, Source(by="tester"))
        assert again.http_status == 200
        assert again.receipt == replace(first.receipt, status="duplicate")
    assert trial.counts() == before


def test_duplicate_is_answered_after_the_key_was_revoked(trial: Trial) -> None:
    archive, _ = trial.archive(Bundle([BASELINE]))
    receive(trial.store, archive, Source(by="tester"))
    with trial.store.writing() as connection:
        (row,) = connection.execute(select(transfer.c.fingerprint))
        revoke(connection, row.fingerprint, "admin")
    assert receive(trial.store, archive, Source(by="tester")).receipt.status == "duplicate"
    refused = trial.send(Bundle([BASELINE, WEEK4], sequence=2, previous="0" * 64))
    assert "no signature of this manifest" in refused.receipt.reasons[0]


def test_key_can_be_rotated(trial: Trial) -> None:
    first = trial.send(Bundle([BASELINE]))
    key = Ed25519PrivateKey.generate()
    following = Bundle([BASELINE, WEEK4], sequence=2, previous=first.receipt.manifest_sha256)
    archive, _ = trial.archive(following, key)
    assert not receive(trial.store, archive, Source(by="tester")).accepted
    with trial.store.writing() as connection:
        add_key(connection, "S01", public_pem(key.public_key()), "admin")
    assert receive(trial.store, archive, Source(by="tester")).accepted


@pytest.mark.parametrize(
    ("sequence", "follows", "status", "words"),
    [
        (2, "first", 201, ""),
        (3, "first", 409, "leaves a gap, expected 2"),
        (1, None, 409, "was received with another content"),
        (2, "other", 409, "follows"),
    ],
    ids=["next", "gap", "replay", "fork"],
)
def test_bundles_of_a_site_form_one_chain(
    trial: Trial, sequence: int, follows: str | None, status: int, words: str
) -> None:
    first = trial.send(Bundle([BASELINE])).receipt.manifest_sha256
    before = trial.counts()
    previous = {"first": first, "other": "0" * 64, None: None}[follows]
    decision = trial.send(Bundle([BASELINE, WEEK4], sequence=sequence, previous=previous))
    assert decision.http_status == status
    assert words in " ".join(decision.receipt.reasons)
    assert (trial.counts() == before) == (status == 409)


def test_second_bundle_of_a_fork_is_refused(trial: Trial) -> None:
    first = trial.send(Bundle([BASELINE])).receipt.manifest_sha256
    assert trial.send(Bundle([BASELINE, WEEK4], sequence=2, previous=first)).accepted
    other = trial.send(Bundle([BASELINE, visit("sub-002", 0)], sequence=2, previous=first))
    assert other.http_status == 409
    assert {row["record_key"] for row in trial.rows(current("S01", "visit_metrics"))} == {
        "sub-001/ses-w00",
        "sub-001/ses-w04",
    }


def test_refused_bundle_stays_refused_and_its_successor_takes_its_number(trial: Trial) -> None:
    stranger = Bundle([visit("sub-101", 0)])
    archive, digest = trial.archive(stranger)
    first = receive(trial.store, archive, Source(by="tester"))
    assert first.http_status == 422
    assert receive(trial.store, archive, Source(by="tester")).receipt == first.receipt
    assert [row["manifest_sha256"] for row in trial.rows(select(rejection))] == [digest]
    assert trial.send(Bundle([BASELINE])).accepted


def test_corrected_value_supersedes_with_who_when_and_why(trial: Trial) -> None:
    read = visit("sub-001", 0, [lesion(1, decision="rejected"), lesion(2, "t2")], read_status="read")
    first = trial.send(Bundle([BASELINE, WEEK4]))
    second = trial.send(Bundle([read, WEEK4], sequence=2, previous=first.receipt.manifest_sha256))
    assert second.receipt.rows == {"added": 0, "changed": 2, "removed": 0}
    with trial.store.reading() as connection:
        old, new = history(connection, "sub-001", "ses-w00")
        who = connection.execute(select(transfer).where(transfer.c.transfer_id == new["transfer_id"])).one()
    assert (old["version"], json.loads(old["content"])["gel_count"]) == (1, 1)
    assert (new["version"], json.loads(new["content"])["gel_count"]) == (2, 0)
    assert set(new["changed"].split(";")) >= {"gel_count", "read_status"}
    assert new["reason"] == "read_status automatic to read"
    assert (who.received_from, who.received_at) == ("tester", second.receipt.received_at)


def test_lesion_that_is_gone_is_removed_and_stays_in_the_history(trial: Trial) -> None:
    first = trial.send(Bundle([BASELINE]))
    fewer = visit("sub-001", 0, [lesion(1)], software_version="0.2.0")
    second = trial.send(Bundle([fewer], sequence=2, previous=first.receipt.manifest_sha256))
    assert second.receipt.rows == {"added": 0, "changed": 1, "removed": 1}
    (row,) = [r for r in trial.rows(select(record)) if r["removed"]]
    assert (row["record_key"], row["version"]) == ("sub-001/ses-w00/2", 2)
    assert row["reason"] == "software_version 0.1.0 to 0.2.0"
    back = trial.send(Bundle([BASELINE], sequence=3, previous=second.receipt.manifest_sha256))
    assert back.receipt.rows["changed"] == 2
    assert sum(r["removed"] for r in trial.rows(current("S01"))) == 0


@pytest.mark.parametrize("what", ["visit", "query"])
def test_visit_or_query_that_was_received_cannot_vanish(trial: Trial, what: str) -> None:
    asked = [query(1, "sub-001", 4)]
    first = trial.send(Bundle([BASELINE, WEEK4], asked)).receipt.manifest_sha256
    less = {"visit": ([BASELINE], asked), "query": ([BASELINE, WEEK4], [])}[what]
    decision = trial.send(Bundle(*less, sequence=2, previous=first))
    assert decision.http_status == 422
    assert "was received and is not in this bundle" in decision.receipt.reasons[0]


def test_closed_query_is_the_reason_of_a_change(trial: Trial) -> None:
    waits = visit("sub-001", 4, reason="open_query")
    asked = query(1, "sub-001", 4)
    first = trial.send(Bundle([BASELINE, waits], [asked])).receipt.manifest_sha256
    closed = asked | {
        "status": "closed",
        "closed": "2026-02-01",
        "closed_by": "J. Doe",
        "reason": "sent again",
    }
    assert trial.send(Bundle([BASELINE, WEEK4], [closed], sequence=2, previous=first)).accepted
    changed = {r["record_key"]: r["reason"] for r in trial.rows(current("S01")) if r["version"] == 2}
    assert changed == {"sub-001/ses-w04": "closed Q0001", "Q0001": "closed by J. Doe: sent again"}


def test_change_of_a_locked_visit_is_pointed_out(trial: Trial) -> None:
    locked = visit("sub-001", 0, [lesion(1)], read_status="locked")
    first = trial.send(Bundle([locked])).receipt.manifest_sha256
    other = visit("sub-001", 0, [lesion(1), lesion(2)], read_status="locked")
    second = trial.send(Bundle([other], sequence=2, previous=first))
    assert list(second.receipt.warnings or ()) == [
        "visit_metrics.csv sub-001/ses-w00: was locked and has changed; ask the reading centre why"
    ]


def test_visit_outside_its_window_and_one_not_planned_are_taken_and_pointed_out(trial: Trial) -> None:
    late = visit("sub-001", 4, day_from_baseline=28 + 5 + 2)
    extra = visit("sub-001", 6, session_id="ses-u01", visit_type="unscheduled")
    decision = trial.send(Bundle([BASELINE, late, extra]))
    assert decision.accepted
    assert list(decision.receipt.warnings or ()) == [
        "visit_metrics.csv sub-001/ses-w04: 2 days after its window",
        "visit_metrics.csv sub-001/ses-u01: the visit is not in the visit schedule",
    ]


@pytest.mark.parametrize(
    ("week", "values", "words"),
    [
        (12, {"session_id": "ses-w04"}, "week is 12, expected 4"),
        (4, {"visit_type": "repeat"}, "visit_type is repeat, expected scheduled"),
    ],
)
def test_visit_that_contradicts_the_visit_table_is_refused(
    trial: Trial, week: int, values: dict[str, str], words: str
) -> None:
    decision = trial.send(Bundle([BASELINE, visit("sub-001", week, **values)]))
    assert decision.http_status == 422
    assert words in decision.receipt.reasons[0]


def test_token_of_another_site_does_not_serve(trial: Trial) -> None:
    assert not trial.send(Bundle([BASELINE]), site_id="S02").accepted
    assert trial.send(Bundle([BASELINE]), site_id="S01").accepted


def test_audit_trail_tells_what_happened_and_no_value(trial: Trial) -> None:
    trial.send(Bundle([BASELINE]))
    placebo = visit("sub-001", 4, visit_type="placebo")
    trial.send(Bundle([BASELINE, placebo], sequence=2, previous="0" * 64))
    entries = trial.rows(select(trail))
    assert [row["action"] for row in entries][-2:] == ["transfer.accepted", "transfer.rejected"]
    assert "placebo" not in json.dumps([dict(row) for row in entries])
    assert json.loads(entries[-1]["details"])["where"] == "visit_metrics.csv row 3"
    with trial.store.reading() as connection:
        assert audit.verify(connection) == []
