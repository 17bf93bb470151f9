"""Outbox of a site on disk: bundles that are pending, sent, accepted or rejected.

A bundle is a folder, and the folder it lies in is its state. It comes into being, and goes from state to
state, by one rename (atomic): a process killed at any moment leaves it complete, in one state.
"""

import contextlib
import fcntl
import hashlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import BundleError, UsageError
from mesems_mri.files import read_json, write_json, write_text
from mesems_mri.transfer.manifest import MANIFEST, BundleManifest, TransferReceipt
from mesems_mri.transfer.tables import read_visits
from mesems_mri.transfer.verify import parse_manifest

_TRIES = 20
_ONE_THREAD = threading.Lock()  # the lock on the file holds processes apart, not the threads of one


class BundleState(StrEnum):
    """State of a bundle; the value is the name of its folder."""

    PENDING = "outbox"
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle on disk.

    Parameters
    ----------
    folder : Path
    state : BundleState
    manifest : BundleManifest
    sha256 : str
        Of the manifest.
    receipt : TransferReceipt or None
    """

    folder: Path
    state: BundleState
    manifest: BundleManifest
    sha256: str
    receipt: TransferReceipt | None = None

    @property
    def name(self) -> str:
        """Name of the bundle: site and number."""
        return self.manifest.folder_name


class Outbox:
    """The bundles of a site.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    site_id : str
    """

    def __init__(self, layout: Layout, site_id: str) -> None:
        self.site_id = site_id
        self.folder = layout.transfer / site_id

    def place(self, manifest: BundleManifest, sha256: str) -> Path:
        """Name the folder of a new bundle, by its hash too: the number of a rejected one is given again."""
        return self.folder / BundleState.PENDING / f"{manifest.folder_name}_{sha256[:12]}"

    def bundles(self, *states: BundleState) -> list[Bundle]:
        """List the bundles in these states, or in all of them, in the order of their numbers."""
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # another process has just moved one on
                return self._list(states)
        msg = f"{self.folder}: a bundle has no {MANIFEST}; restore it, or take its folder away"
        raise BundleError(msg)

    def _list(self, states: tuple[BundleState, ...]) -> list[Bundle]:
        found: dict[str, Bundle] = {}
        for state in states or tuple(BundleState):
            for folder in sorted((self.folder / state).glob("[!.]*/")):
                content = (folder / MANIFEST).read_bytes()
                path = _receipt_path(folder)
                sha256 = hashlib.sha256(content).hexdigest()
                found[sha256] = Bundle(
                    folder=folder,
                    state=state,
                    manifest=parse_manifest(content),
                    sha256=sha256,
                    receipt=_stored_receipt(path),
                )
        return sorted(
            found.values(),
            key=lambda bundle: (bundle.manifest.sequence, bundle.state != BundleState.REJECTED),
        )

    def tip(self) -> Bundle | None:
        """Return the bundle on which the next one is built; what was rejected is no part of the chain."""
        tip: Bundle | None = None
        for bundle in self.bundles(BundleState.ACCEPTED):
            tip = bundle
        waiting = self.bundles(BundleState.SENT, BundleState.PENDING)
        while True:
            wanted = tip.sha256 if tip else None
            following = next((b for b in waiting if b.manifest.previous_sha256 == wanted), None)
            if following is None:
                return tip
            tip = following

    def settle(self, bundle: Bundle, receipt: TransferReceipt) -> None:
        """Store the receipt for a bundle and move it to the folder of its state."""
        state = BundleState.REJECTED if receipt.status == "rejected" else BundleState.ACCEPTED
        target = self.folder / state / bundle.folder.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # first the receipt: a bundle is never settled without one
        write_text(_receipt_path(target), receipt.model_dump_json(indent=1) + "\n")
        bundle.folder.rename(target)

    def mark_sent(self, bundle: Bundle, destination: str, when: str) -> None:
        """Note that a bundle has arrived, and that its receipt is still to come."""
        target = self.folder / BundleState.SENT / bundle.folder.name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json(target.with_name(f"{target.name}.delivery.json"), {"to": destination, "delivered": when})
        bundle.folder.rename(target)

    def put_back(self, bundle: Bundle) -> None:
        """Make a bundle that was sent pending again."""
        bundle.folder.rename(self.folder / BundleState.PENDING / bundle.folder.name)


def outboxes(layout: Layout) -> list[Outbox]:
    """List the outboxes of all sites of which there ever was a bundle."""
    return [Outbox(layout, folder.name) for folder in sorted(layout.transfer.glob("[!.]*/"))]


def sent_visits(layout: Layout) -> set[tuple[str, str]]:
    """Return the visits in the newest bundle sent or accepted, over all sites."""
    visits: set[tuple[str, str]] = set()
    for outbox in outboxes(layout):
        for bundle in outbox.bundles(BundleState.SENT, BundleState.ACCEPTED)[-1:]:
            visits |= read_visits(bundle.folder)
    return visits


def parse_receipt(content: bytes, name: str) -> TransferReceipt:
    """Read a receipt; `name` is for the error text.

    Raises
    ------
    BundleError
        If it is none.
    """
    try:
        return TransferReceipt.model_validate_json(content)
    except ValueError as error:
        msg = f"{name}: is no receipt of a transfer ({type(error).__name__}); ask the receiving side"
        raise BundleError(msg) from error


def check_receipt(receipt: TransferReceipt, bundle: Bundle) -> TransferReceipt:
    """Refuse a receipt that is for another bundle.

    Raises
    ------
    BundleError
    """
    if (receipt.manifest_sha256, receipt.sequence) != (bundle.sha256, bundle.manifest.sequence):
        msg = (
            f"{bundle.name}: got the receipt for number {receipt.sequence} "
            f"({receipt.manifest_sha256[:12]}), expected number {bundle.manifest.sequence} "
            f"({bundle.sha256[:12]}); ask the receiving side"
        )
        raise BundleError(msg)
    return receipt


@contextlib.contextmanager
def locked(layout: Layout, say: Callable[[str], None]) -> Generator[None]:
    """Hold the lock under which one process at a time builds and sends; the system frees it when that dies.

    Raises
    ------
    UsageError
        If the output folder cannot be written.
    """
    path = layout.transfer / ".lock"
    with _ONE_THREAD:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("a", encoding="utf-8")
        except OSError as error:
            msg = f"{path}: cannot be written ({error.strerror}); give an output folder that you may write to"
            raise UsageError(msg) from error
        with stream:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("another transfer of this output folder is on; waiting until it has ended")
                fcntl.lockf(stream, fcntl.LOCK_EX)
            yield


def delivered_at(bundle: Bundle) -> str:
    """Return when a bundle was sent, ISO 8601; empty if none is recorded."""
    path = bundle.folder.with_name(f"{bundle.folder.name}.delivery.json")
    return read_json(path)["delivered"] if path.is_file() else ""


def _stored_receipt(path: Path) -> TransferReceipt | None:
    return parse_receipt(path.read_bytes(), str(path)) if path.is_file() else None


def _receipt_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.receipt.json")
