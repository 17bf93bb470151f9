"""Contract of a destination of bundles, which the module of each kind fulfils."""

import secrets
from typing import BinaryIO, Protocol

from mesems_mri.errors import BundleError
from mesems_mri.transfer.manifest import TransferReceipt
from mesems_mri.transfer.outbox import Bundle, check_receipt, parse_receipt

MAX_RECEIPT_BYTES = 64 * 2**10
RECEIPTS = "receipts"
"""Folder of the inbox in which the receiving side leaves its receipts."""


class Destination(Protocol):
    """Destination of bundles."""

    def deliver(self, bundle: Bundle) -> TransferReceipt | None:
        """Send a bundle, once or repeatedly; return its receipt, None if that is pending.

        Raises
        ------
        DeliveryError
            If it is transient: sending is retried.
        MesemsError
            If it is not.
        """
        ...

    def receipt(self, bundle: Bundle) -> TransferReceipt | None:
        """Look for the receipt of a bundle that was sent; None if there is none yet."""
        ...


def part_name(name: str) -> str:
    """Return a temporary name that no reader of an inbox takes for an archive."""
    return f".{name}.{secrets.token_hex(4)}.part"


def read_receipt(stream: BinaryIO, name: str, bundle: Bundle) -> TransferReceipt:
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
