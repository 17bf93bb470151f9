"""Claim of an archive (the bundle it says it is), decision and receipt."""

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mesems_mri.central.rejection import RejectedError, RejectionCode
from mesems_mri.central.sites import SITE
from mesems_mri.dataset.audit import AuditHead
from mesems_mri.dataset.database import now
from mesems_mri.transfer.archive import MAX_BYTES
from mesems_mri.transfer.manifest import MANIFEST

_SHOWN = 20


@dataclass(frozen=True)
class Claim:
    """Claim of an archive about itself before anything is verified, needed for any receipt.

    Parameters
    ----------
    manifest_sha256 : str
    sequence : int
        1 if it says none.
    site_id : str
        Empty if it says none.
    """

    manifest_sha256: str
    sequence: int
    site_id: str


@dataclass(frozen=True, kw_only=True)
class IssuedReceipt:
    """Receipt as the data centre issues it.

    Parameters
    ----------
    manifest_sha256, status, reasons, received_at, sequence
        As in `mesems_mri.transfer.manifest.TransferReceipt`; the time is text, as it is stored.
    rows : mapping of str to int, optional
        Numbers of rows ``added``, ``changed`` and ``removed``; of an accepted bundle.
    warnings : tuple of str, optional
        Sentences for the sender; of an accepted bundle.
    audit : AuditHead, optional
        Entry of the audit trail; of an accepted bundle.
    """

    manifest_sha256: str
    status: str
    reasons: tuple[str, ...]
    received_at: str
    sequence: int
    rows: Mapping[str, int] | None = None
    warnings: tuple[str, ...] | None = None
    audit: AuditHead | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the receipt in order, without those that it lacks."""
        values = vars(self) | {"audit": self.audit and vars(self.audit)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the receipt that was stored with these keys."""
        made: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        if "audit" in made:
            made["audit"] = AuditHead(**made["audit"])
        return cls(**made)


@dataclass(frozen=True)
class Decision:
    """Decision about a transfer.

    Parameters
    ----------
    receipt : IssuedReceipt
    http_status : int
    """

    receipt: IssuedReceipt
    http_status: int

    @property
    def accepted(self) -> bool:
        """Return whether the bundle is stored, now or before."""
        return self.receipt.status != "rejected"


def read_claim(archive: Path) -> Claim:
    """Read the claim of an archive from its first member; the rest may be missing.

    Raises
    ------
    RejectedError
        If it does not begin with a manifest.
    """
    with archive.open("rb") as stream:
        try:
            member = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "ascii", "strict")
        except (tarfile.TarError, UnicodeDecodeError, ValueError):
            member = None
        if member is None or member.name != MANIFEST or not 0 < member.size <= MAX_BYTES[MANIFEST]:
            msg = f"the transfer: does not begin with {MANIFEST}; send what transfer build made"
            raise RejectedError(RejectionCode.NO_BUNDLE, msg)
        content = stream.read(member.size)
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError):
        manifest = None
    claimed = manifest if isinstance(manifest, dict) else {}
    sequence, site_id = claimed.get("sequence"), claimed.get("site_id")
    return Claim(
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        sequence=sequence if type(sequence) is int and 0 < sequence < 1e6 else 1,
        site_id=site_id if isinstance(site_id, str) and SITE.fullmatch(site_id) else "",
    )


def rejection_receipt(claim: Claim, error: RejectedError) -> IssuedReceipt:
    """Make the receipt of a bundle that is not accepted."""
    return IssuedReceipt(
        manifest_sha256=claim.manifest_sha256,
        status="rejected",
        reasons=shortened(error.reasons),
        received_at=now(),
        sequence=claim.sequence,
    )


def shortened(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the sentences that fit a receipt, each shortened, and the number of the others."""
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return (*(text[:1000] for text in texts[:_SHOWN]), *more)
