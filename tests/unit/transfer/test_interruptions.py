"""Killed at any point, or several at once: every bundle arrives once and whole, the outbox ends empty."""

import fcntl
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mesems_mri.config import Access, TransferRule
from mesems_mri.transfer.automatic import send_when_complete
from mesems_mri.transfer.outbox import BundleState, Outbox
from mesems_mri.transfer.send import send
from mesems_mri.transfer.verify import verify_bundle
from tests.killing import in_child, random_points
from tests.receiver import Service, Store
from tests.small_study import SmallStudy, copy_of, small_study, there

BUNDLES = 3


def quiet(_: str) -> None:
    """Say nothing."""


def states(study: SmallStudy) -> dict[BundleState, int]:
    return dict(Counter(bundle.state for bundle in Outbox(study.layout, "S01").bundles()))


# ---- killed, and two at once


def test_sender_to_a_folder_killed_at_20_points(
    three_bundles: SmallStudy, inbox: Path, tmp_path: Path
) -> None:
    access = Access(destination=str(inbox))

    def prepare() -> Callable[[], object]:
        shutil.rmtree(inbox)
        inbox.mkdir()
        study = copy_of(three_bundles, tmp_path / "copy")
        return lambda: send(study.out_dir, access, quiet)

    for point in random_points(prepare):
        assert in_child(prepare(), point)[0] == signal.SIGKILL
        study = there(three_bundles, tmp_path / "copy")
        store = Store(study.public_key)
        store.empty_inbox(inbox)  # what is visible is whole, or this raises
        send(study.out_dir, access, quiet)
        store.empty_inbox(inbox)
        send(study.out_dir, access, quiet)
        assert sorted(store.bundles.values()) == [1, 2, 3]
        assert states(study) == {BundleState.ACCEPTED: 3}
        assert [p.name for p in inbox.iterdir()] == ["receipts"]


def test_sender_over_https_killed_at_20_points(
    three_bundles: SmallStudy, access: Access, service: Service, tmp_path: Path
) -> None:
    def prepare() -> Callable[[], object]:
        study = copy_of(three_bundles, tmp_path / "copy")
        service.store = Store(study.public_key)
        return lambda: send(study.out_dir, access, quiet)

    for point in random_points(prepare):
        assert in_child(prepare(), point)[0] == signal.SIGKILL
        study = there(three_bundles, tmp_path / "copy")
        send(study.out_dir, access, quiet)
        assert sorted(service.store.bundles.values()) == [1, 2, 3]
        assert states(study) == {BundleState.ACCEPTED: 3}


def test_builder_killed_at_20_points(tmp_path: Path) -> None:
    original = small_study(tmp_path / "study")

    def prepare() -> Callable[[], object]:
        return copy_of(original, tmp_path / "copy").build

    for point in random_points(prepare):
        assert in_child(prepare(), point)[0] == signal.SIGKILL
        study = there(original, tmp_path / "copy")
        left = Outbox(study.layout, "S01").bundles()
        for bundle in left:
            verify_bundle(bundle.folder, study.public_key)
        assert len(study.build()) == 1 - len(left)
        assert [b.manifest.sequence for b in Outbox(study.layout, "S01").bundles()] == [1]


def test_two_senders_at_once(study: SmallStudy, access: Access, service: Service) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                send(study.out_dir, access, quiet)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    # one at a time, so that nothing is even sent twice
    assert sorted(service.store.bundles.values()) == [1, 2, 3]
    assert len(service.requests) == BUNDLES
    assert states(study) == {BundleState.ACCEPTED: 3}


def test_waiting_sender_says_so(study: SmallStudy, inbox: Path) -> None:
    path = study.layout.transfer / ".lock"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        stream = path.open("a")
        fcntl.lockf(stream, fcntl.LOCK_EX)
        os.write(writer, b"x")
        time.sleep(0.5)
        os._exit(0)
    os.read(reader, 1)
    said: list[str] = []
    send(study.out_dir, Access(destination=str(inbox)), said.append)
    os.waitpid(child, 0)
    assert "another transfer of this output folder is on" in said[0]


# ---- by itself, at the end of a run


def test_sent_by_itself_when_all_visits_are_complete(tmp_path: Path, inbox: Path) -> None:
    study = small_study(tmp_path / "study")
    rule = TransferRule(destination=str(inbox), key_file=str(study.key))
    waiting = {"sites": study.sites, "visits": {"sub-001": ["ses-w00", "ses-w04", "ses-w12"]}}
    study.layout.expected.write_text(json.dumps(waiting))
    send_when_complete(study.layout, study.bids_dir, rule, quiet)
    outcome = json.loads(study.layout.transfer_outcome.read_text())["outcome"]
    assert outcome == "nothing was sent, as visits are not complete (1 waiting)"
    assert list(inbox.iterdir()) == []
    study.finish()
    send_when_complete(study.layout, study.bids_dir, rule, quiet)
    assert len(list(inbox.glob("*.tar"))) == 1
    send_when_complete(study.layout, study.bids_dir, rule, quiet)
    outcome = json.loads(study.layout.transfer_outcome.read_text())["outcome"]
    assert outcome == "nothing new to send"
