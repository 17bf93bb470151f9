"""Archives in a folder are received in order, answered with receipts, and taken away."""

import json
import os
from pathlib import Path

import pytest

from mesems_mri.central.inbox import ingest
from mesems_mri.central.rejection import UnavailableError
from mesems_mri.errors import UsageError
from mesems_mri.transfer.manifest import TransferReceipt
from tests.unit.central.bundles import Bundle, lesion, visit
from tests.unit.central.conftest import Trial

BASELINE = visit("sub-001", 0, [lesion(1)])
WEEK4 = visit("sub-001", 4)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def land(trial: Trial, inbox: Path, bundle: Bundle) -> str:
    archive, digest = trial.archive(bundle)
    archive.rename(inbox / f"{bundle.site_id}_{bundle.sequence:06}_{digest}.tar")
    return digest


def receipt(inbox: Path, digest: str) -> TransferReceipt:
    return TransferReceipt.model_validate_json((inbox / "receipts" / f"{digest}.receipt.json").read_text())


def statuses(trial: Trial, inbox: Path, **options: str) -> list[str]:
    taken = ingest(trial.store, inbox, by="tester", **options)
    return [one.decision.receipt.status if one.decision else "left" for one in taken]


def test_archives_are_taken_in_the_order_of_their_numbers(trial: Trial, inbox: Path) -> None:
    first = land(trial, inbox, Bundle([BASELINE]))
    second = land(trial, inbox, Bundle([BASELINE, WEEK4], sequence=2, previous=first))
    names = sorted(inbox.iterdir(), reverse=True)  # the later one lands first
    for path in names:
        os.utime(path, (names.index(path), names.index(path)))
    assert statuses(trial, inbox) == ["accepted", "accepted"]
    assert [receipt(inbox, digest).status for digest in (first, second)] == ["accepted"] * 2
    assert [path.name for path in inbox.iterdir()] == ["receipts"]
    assert statuses(trial, inbox) == []


def test_interrupted_ingest_goes_on_where_it_was(trial: Trial, inbox: Path, monkeypatch) -> None:
    digest = land(trial, inbox, Bundle([BASELINE]))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mesems_mri.central.inbox.write_text", crash)
    with pytest.raises(KeyboardInterrupt):  # stored, but not answered yet
        statuses(trial, inbox)
    monkeypatch.undo()
    assert trial.counts()["transfer"] == 1
    assert statuses(trial, inbox) == ["duplicate"]
    assert receipt(inbox, digest).status == "duplicate"
    assert trial.counts()["transfer"] == 1


def test_rejected_archive_is_answered_and_taken_away(trial: Trial, inbox: Path) -> None:
    digest = land(trial, inbox, Bundle([visit("sub-101", 0)]))
    assert statuses(trial, inbox) == ["rejected"]
    assert "belongs to site S02" in receipt(inbox, digest).reasons[0]
    assert list(inbox.glob("*.tar")) == []


@pytest.mark.parametrize("what", ["renamed", "garbage", "empty"])
def test_archive_that_is_not_what_its_name_says(trial: Trial, inbox: Path, what: str) -> None:
    digest = land(trial, inbox, Bundle([BASELINE]))
    (path,) = inbox.glob("*.tar")
    whole = path.read_bytes()
    named = inbox / path.name.replace(digest, "0" * 64)
    path.rename(named)
    named.write_bytes({"renamed": whole, "garbage": b"x" * 2000, "empty": b""}[what])
    assert statuses(trial, inbox) == ["rejected"]
    assert receipt(inbox, "0" * 64).status == "rejected"
    path.write_bytes(whole)
    assert statuses(trial, inbox) == ["accepted"]


def test_what_is_no_transfer_is_left_and_said(trial: Trial, inbox: Path) -> None:
    (inbox / "notes.txt").write_text("hello")
    (inbox / ".S01_000001.tar.x7.part").write_text("on its way")
    secret = trial.folder / "secret"
    secret.write_text("secret")
    (inbox / f"S01_000001_{'a' * 64}.tar").symlink_to(secret)
    os.mkfifo(inbox / f"S01_000002_{'b' * 64}.tar")
    assert statuses(trial, inbox) == ["left"] * 3
    assert secret.read_text() == "secret"
    assert len(list(inbox.iterdir())) == 4


def test_receipts_do_not_leave_the_inbox(trial: Trial, inbox: Path) -> None:
    elsewhere = trial.folder / "elsewhere"
    elsewhere.mkdir()
    (inbox / "receipts").symlink_to(elsewhere)
    land(trial, inbox, Bundle([BASELINE]))
    with pytest.raises(UsageError, match="is no folder"):
        statuses(trial, inbox)
    assert list(elsewhere.iterdir()) == []


def test_inbox_of_one_site_takes_no_other(trial: Trial, inbox: Path) -> None:
    land(trial, inbox, Bundle([BASELINE]))
    assert statuses(trial, inbox, site_id="S02") == ["rejected"]
    land(trial, inbox, Bundle([BASELINE]))
    assert statuses(trial, inbox, site_id="S01") == ["accepted"]


def test_archive_stays_while_the_database_does_not_answer(trial: Trial, inbox: Path, monkeypatch) -> None:
    monkeypatch.setattr("mesems_mri.central.receive.RETRY_SECONDS", 0)
    land(trial, inbox, Bundle([BASELINE]))
    database = trial.folder / "central.db"
    trial.store.close()
    database.rename(trial.folder / "away")
    database.mkdir()
    with pytest.raises(UnavailableError, match="does not answer"):
        statuses(trial, inbox)
    assert len(list(inbox.glob("*.tar"))) == 1
    database.rmdir()
    (trial.folder / "away").rename(database)
    assert statuses(trial, inbox) == ["accepted"]
    assert json.loads(next((inbox / "receipts").iterdir()).read_text())["status"] == "accepted"
