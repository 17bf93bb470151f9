"""Destination that is a folder, e.g. on a share."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mesems_mri.errors import DeliveryError
from mesems_mri.transfer.archive import write_archive
from mesems_mri.transfer.destination import RECEIPTS, part_name, read_receipt
from mesems_mri.transfer.manifest import TransferReceipt, archive_name, receipt_name
from mesems_mri.transfer.outbox import Bundle


class FolderInbox:
    """A folder from which the receiving side takes archives, e.g. on a share.

    Parameters
    ----------
    folder : Path
        The inbox; it must be there, since a share that is not mounted is no inbox.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deliver(self, bundle: Bundle) -> TransferReceipt | None:
        """Write the archive under a temporary name and rename it (atomic write)."""
        if not self.folder.is_dir():
            msg = f"{self.folder}: no such inbox; mount or create the folder"
            raise DeliveryError(msg)
        if found := self.receipt(bundle):
            return found
        target = self.folder / archive_name(bundle.manifest, bundle.sha256)
        with _as_delivery_error(self.folder):
            for left in self.folder.glob(f".{target.name}.*.part"):  # of a sender that was killed
                left.unlink(missing_ok=True)
            if target.exists():
                return None
            temporary = target.with_name(part_name(target.name))
            try:
                with temporary.open("xb") as stream:
                    write_archive(bundle.folder, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.rename(target)
            finally:
                temporary.unlink(missing_ok=True)
        return None

    def receipt(self, bundle: Bundle) -> TransferReceipt | None:
        """Read the receipt that the receiving side has left, if it has."""
        path = self.folder / RECEIPTS / receipt_name(bundle.sha256)
        try:
            with path.open("rb") as stream:
                return read_receipt(stream, str(path), bundle)
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"{path}: cannot be read ({error.strerror}); ask the receiving side"
            raise DeliveryError(msg) from error


@contextlib.contextmanager
def _as_delivery_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{folder}: the archive cannot be written ({error.strerror}); see that the inbox can be written"
        raise DeliveryError(msg) from error
