"""Bundles over SFTP to a real OpenSSH server: known host, login by key, exactly once, whatever is killed."""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesems_mri.central.inbox import ingest
from mesems_mri.central.reconcile import ReconciliationState, reconcile
from mesems_mri.central.store import Store as CentralStore
from mesems_mri.config import Access
from mesems_mri.errors import DeliveryError, UsageError
from mesems_mri.transfer.outbox import BundleState, Outbox
from mesems_mri.transfer.send import collect_receipts, send
from mesems_mri.transfer.verify import verify_bundle
from tests.command import mesems
from tests.killing import KILLS, kill_after
from tests.receiver import Store
from tests.small_study import SmallStudy, copy_of
from tests.system import sshd
from tests.system.conftest import missing
from tests.unit.central.conftest import register, write_schedule

BUNDLES = 3


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """A study of which three bundles wait, large enough to be killed in the middle of."""
    study = SmallStudy(tmp_path_factory.mktemp("study"))
    for session in ("ses-w00", "ses-w04", "ses-w12"):
        for number in range(1, 41):
            study.add(f"sub-{number:03}", session)
        study.finish()
        study.build()
    return study


@pytest.fixture
def study(built: SmallStudy, tmp_path: Path) -> SmallStudy:
    return copy_of(built, tmp_path / "copy")


@pytest.fixture
def server() -> Iterator[sshd.Server]:
    if sshd.program() is None:
        missing("OpenSSH")
    with sshd.Server() as running:
        yield running


@pytest.fixture
def access(server: sshd.Server) -> Access:
    return Access(destination=server.url, ssh_key_file=server.key(), known_hosts_file=server.known_hosts())


def states(study: SmallStudy) -> dict[BundleState, int]:
    return dict(Counter(bundle.state for bundle in Outbox(study.layout, "S01").bundles()))


def test_command_line_sends_and_picks_up_receipts(study: SmallStudy, server: sshd.Server) -> None:
    options = ["--to", server.url, "--ssh-key", server.key(), "--known-hosts", server.known_hosts()]
    said = mesems("transfer", "send", study.out_dir, *options).stdout
    assert said.count("delivered; its receipt is still to come") == BUNDLES
    archives = sorted(server.inbox.iterdir())
    assert [verify_bundle(path, study.public_key).sequence for path in archives] == [1, 2, 3]
    store = Store(study.public_key)
    store.empty_inbox(server.inbox)
    said = mesems("transfer", "status", study.out_dir, *options).stdout
    assert "S01: 3 accepted" in said
    assert states(study) == {BundleState.ACCEPTED: 3}


def test_data_centre_receives_what_comes_over_sftp(
    study: SmallStudy, server: sshd.Server, access: Access, tmp_path: Path
) -> None:
    table = write_schedule(tmp_path / "visits.tsv", dict.fromkeys(study.records, "S01"))
    central = CentralStore(str(tmp_path / "central.db"))
    register(central, table, {"S01": study.public_key}, study.study_id)
    send(study.out_dir, access, quiet)
    decided = [taken.decision for taken in ingest(central, server.inbox, by="tester")]
    assert [decision.receipt.status for decision in decided if decision] == ["accepted"] * BUNDLES
    collect_receipts(study.out_dir, access, quiet)
    assert states(study) == {BundleState.ACCEPTED: BUNDLES}
    with central.reading() as connection:
        found = Counter(line.state for line in reconcile(connection))
    assert found == {ReconciliationState.RECEIVED: 3 * 40, ReconciliationState.AWAITED: 40}
    central.close()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"known_hosts_file": ""}, "its host key is not in"),
        ({"known_hosts_file": "other_host_key"}, "has another host key than"),
        ({"ssh_key_file": "other_user_key"}, "refuses the login of mesems-sftp"),
        ({"ssh_key_file": "nothing"}, "no such SSH key"),
    ],
    ids=str,
)
def test_unknown_host_and_wrong_key_send_nothing(
    study: SmallStudy, server: sshd.Server, access: Access, changes: dict[str, str], error: str
) -> None:
    files = {
        "known_hosts_file": server.known_hosts,
        "ssh_key_file": server.key,
    }
    changed = Access(**(vars(access) | {name: files[name](value) for name, value in changes.items()}))
    with pytest.raises(UsageError, match=error):
        send(study.out_dir, changed, quiet)
    assert list(server.inbox.iterdir()) == []
    assert states(study) == {BundleState.PENDING: 3}
    assert len(send(study.out_dir, access, quiet).delivered) == BUNDLES


def test_password_in_the_address_is_refused(study: SmallStudy, access: Access) -> None:
    url = access.destination.replace("@", ":secret@")
    with pytest.raises(UsageError, match="without a password"):
        send(study.out_dir, Access(**(vars(access) | {"destination": url})), quiet)


def test_sender_killed_at_20_points(
    built: SmallStudy, server: sshd.Server, access: Access, tmp_path: Path
) -> None:
    first = copy_of(built, tmp_path / "first")
    start = time.monotonic()
    send(first.out_dir, access, quiet)
    duration = time.monotonic() - start
    shutil.rmtree(tmp_path / "first")
    numbers, killed, halves = random.Random(20), 0, 0
    for _ in range(KILLS):
        for path in server.inbox.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        study = copy_of(built, tmp_path / "copy")
        store = Store(study.public_key)
        killed += kill_after(lambda s=study: send(s.out_dir, access, quiet), numbers.uniform(0, duration))
        halves += len(list(server.inbox.glob(".*.part")))
        store.empty_inbox(server.inbox)  # what is visible is whole, or this raises
        send(study.out_dir, access, quiet)
        store.empty_inbox(server.inbox)
        send(study.out_dir, access, quiet)
        assert sorted(store.bundles.values()) == [1, 2, 3]
        assert states(study) == {BundleState.ACCEPTED: 3}
        assert [path.name for path in server.inbox.iterdir()] == ["receipts"]
    assert killed >= KILLS // 2  # else it is not this that was tested
    assert halves


def test_two_senders_at_once(study: SmallStudy, server: sshd.Server) -> None:
    options = ["--to", server.url, "--ssh-key", server.key(), "--known-hosts", server.known_hosts()]
    said: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: said.append(mesems("transfer", "send", study.out_dir, *options).stdout)
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "\n".join(said).count(": delivered") == BUNDLES
    store = Store(study.public_key)
    store.empty_inbox(server.inbox)
    assert (sorted(store.bundles.values()), store.arrivals) == ([1, 2, 3], BUNDLES)


def test_server_that_comes_back_is_waited_for(study: SmallStudy, server: sshd.Server, access: Access) -> None:
    server.stop()
    with pytest.raises(DeliveryError, match="cannot be reached over SFTP"):
        send(study.out_dir, access, quiet, give_up_after_s=0)
    assert states(study) == {BundleState.PENDING: 3}
    back = threading.Timer(1.5, server.start)
    back.start()
    said: list[str] = []
    assert len(send(study.out_dir, access, said.append, give_up_after_s=60).delivered) == BUNDLES
    back.join()
    assert "it is retried" in said[0]


def test_inbox_that_cannot_be_written_is_no_success(
    study: SmallStudy, server: sshd.Server, access: Access
) -> None:
    shutil.chown(server.inbox, "root")
    with pytest.raises(DeliveryError, match="the archive cannot be written"):
        send(study.out_dir, access, quiet, give_up_after_s=0)
    assert states(study) == {BundleState.PENDING: 3}
