"""Where bundles are sent: what every kind of destination can do, and a folder."""

import contextlib
import os
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

from mesems_mri.config import TransferRule
from mesems_mri.errors import BundleError, DeliveryError, UsageError
from mesems_mri.transfer.archive import write_archive
from mesems_mri.transfer.manifest import Receipt, archive_name, receipt_name
from mesems_mri.transfer.outbox import Bundle, check_receipt, parse_receipt

MAX_RECEIPT_BYTES = 64 * 2**10
RECEIPTS = "receipts"
"""Folder of the inbox in which the receiving side leaves its receipts."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a destination is reached; every text may hold ``{site_id}``, and an empty one says nothing.

    Parameters
    ----------
    destination : str
        A folder, ``sftp://[user@]host[:port]/folder`` or ``https://host[:port][/path]``.
    token_file : str
        HTTPS: file with the bearer token.
    ca_file : str
        HTTPS: certificate of the authority that signed the server's (PEM), where the system does not know it.
    ssh_key_file : str
        SFTP: private key; empty: the agent, and the usual keys of the user.
    known_hosts_file : str
        SFTP: host keys; empty: ``~/.ssh/known_hosts``.
    """

    destination: str
    token_file: str = ""
    ca_file: str = ""
    ssh_key_file: str = ""
    known_hosts_file: str = ""

    def of_site(self, site_id: str) -> "Access":
        """Return it with the name of a site put in."""
        return Access(**{name: text.replace("{site_id}", site_id) for name, text in vars(self).items()})


def access_of(rule: TransferRule) -> Access:
    """Return what the configuration says of the destination."""
    return Access(
        destination=rule.destination,
        token_file=rule.token_file,
        ca_file=rule.ca_file,
        ssh_key_file=rule.ssh_key_file,
        known_hosts_file=rule.known_hosts_file,
    )


class Destination(Protocol):
    """Somewhere to send bundles to."""

    def deliver(self, bundle: Bundle) -> Receipt | None:
        """Send a bundle, once or again; return its receipt, None if that is still to come.

        Raises
        ------
        DeliveryError
            If it is worth trying again.
        MesemsError
            If it is not.
        """
        ...

    def receipt(self, bundle: Bundle) -> Receipt | None:
        """Look for the receipt of a bundle that was sent; None if there is none yet."""
        ...


@contextlib.contextmanager
def opened(access: Access) -> Generator[Destination]:
    """Open a destination.

    Raises
    ------
    UsageError
        If it is no destination, or cannot be used as it is given.
    DeliveryError
        If it cannot be reached.
    """
    kind = urlsplit(access.destination).scheme
    if kind == "sftp":
        from mesems_mri.transfer.sftp import SftpInbox

        with SftpInbox.connected(access) as inbox:
            yield inbox
    elif kind in ("https", "http"):
        from mesems_mri.transfer.https import HttpsService

        with HttpsService.connected(access) as service:
            yield service
    elif not kind and access.destination:
        yield FolderInbox(Path(access.destination).expanduser())
    else:
        msg = (
            f"destination {access.destination!r}: expected a folder, sftp://user@host/folder or https://host"
            "; correct it"
        )
        raise UsageError(msg)


class FolderInbox:
    """A folder from which the receiving side takes archives, e.g. on a share.

    Parameters
    ----------
    folder : Path
        The inbox; it must be there, since a share that is not mounted is no inbox.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deliver(self, bundle: Bundle) -> Receipt | None:
        """Write the archive under a temporary name and rename it."""
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

    def receipt(self, bundle: Bundle) -> Receipt | None:
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


def part_name(name: str) -> str:
    """Return a temporary name that no reader of an inbox takes for an archive."""
    return f".{name}.{secrets.token_hex(4)}.part"


def read_receipt(stream: BinaryIO, name: str, bundle: Bundle) -> Receipt:
    """Read the receipt of a bundle; `name` is for the error text.

    Raises
    ------
    BundleError
        If it is too long, no receipt, or one of another bundle.
    """
    content = stream.read(MAX_RECEIPT_BYTES + 1)
    if len(content) > MAX_RECEIPT_BYTES:
        msg = f"{name}: has more than {MAX_RECEIPT_BYTES} bytes, which no receipt has; ask the receiving side"
        raise BundleError(msg)
    return check_receipt(parse_receipt(content, name), bundle)


@contextlib.contextmanager
def _as_delivery_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{folder}: the archive cannot be written ({error.strerror}); see that the inbox can be written"
        raise DeliveryError(msg) from error
