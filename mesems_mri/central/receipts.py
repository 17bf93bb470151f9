"""Which bundle an archive claims to be, and what is answered."""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri.central.rejection import RejectedError, RejectionCode
from mesems_mri.central.sites import SITE
from mesems_mri.central.store import now
from mesems_mri.transfer.archive import MAX_BYTES
from mesems_mri.transfer.manifest import MANIFEST

_SHOWN = 20


@dataclass(frozen=True)
class Claim:
    """What an archive says of itself before anything is verified, to be able to answer at all.

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


@dataclass(frozen=True)
class Decision:
    """What became of a transfer.

    Parameters
    ----------
    receipt : dict
        `mesems_mri.transfer.manifest.TransferReceipt`, with ``warnings`` and, if accepted, numbers of rows.
    http_status : int
    """

    receipt: dict[str, Any]
    http_status: int

    @property
    def accepted(self) -> bool:
        """Tell whether the bundle is stored, now or before."""
        return self.receipt["status"] != "rejected"


def read_claim(archive: Path) -> Claim:
    """Read which bundle an archive says it is, from its first member; the rest may be missing.

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
    said = manifest if isinstance(manifest, dict) else {}
    sequence, site_id = said.get("sequence"), said.get("site_id")
    return Claim(
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        sequence=sequence if type(sequence) is int and 0 < sequence < 1e6 else 1,
        site_id=site_id if isinstance(site_id, str) and SITE.fullmatch(site_id) else "",
    )


def rejection_receipt(claim: Claim, error: RejectedError) -> dict[str, Any]:
    """Word the receipt of a bundle that is not accepted."""
    return {
        "manifest_sha256": claim.manifest_sha256,
        "status": "rejected",
        "reasons": shortened(error.reasons),
        "received_at": now(),
        "sequence": claim.sequence,
    }


def shortened(texts: Sequence[str]) -> list[str]:
    """Return what fits a receipt."""
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return [*(text[:1000] for text in texts[:_SHOWN]), *more]
