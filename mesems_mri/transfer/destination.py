"""Contract of a destination of bundles, which the module of each kind fulfils."""

import secrets
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from mesems_mri.config import TransferRule
from mesems_mri.errors import BundleError
from mesems_mri.transfer.manifest import Receipt
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
