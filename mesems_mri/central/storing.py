"""Storage of a decision in one atomic transaction."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, func, insert, select

from mesems_mri.central.admission import check_chain, check_visits
from mesems_mri.central.content import VISITS, BundleRow
from mesems_mri.central.receipts import Claim, Decision, IssuedReceipt, rejection_receipt, shortened
from mesems_mri.central.rejection import RejectedError, RejectionCode
from mesems_mri.central.schedule import current_schedule
from mesems_mri.central.schema import rejection, stored_file, transfer, transfer_file
from mesems_mri.central.sites import keys_of
from mesems_mri.central.store import Store
from mesems_mri.central.versions import compare_rows, store_versions
from mesems_mri.dataset import audit
from mesems_mri.dataset.database import now
from mesems_mri.transfer.manifest import SIGNATURE, BundleManifest


@dataclass(frozen=True)
class Verified:
    """A bundle whose signature, hashes and tables are right.

    Parameters
    ----------
    claim : Claim
    manifest : BundleManifest
    fingerprint : str
        Of the key that signed it.
    folder : Path
    tables : mapping
        Rows by table and key.
    """

    claim: Claim
    manifest: BundleManifest
    fingerprint: str
    folder: Path
    tables: Mapping[str, Mapping[str, BundleRow]]


def earlier_decision(connection: Connection, claim: Claim) -> Decision | None:
    """Return the earlier decision about a bundle, if any."""
    row = connection.scalar(
        select(transfer.c.receipt).where(transfer.c.manifest_sha256 == claim.manifest_sha256)
    )
    if row is not None:
        return Decision(replace(IssuedReceipt.from_json(json.loads(row)), status="duplicate"), 200)
    row = connection.scalar(
        select(rejection.c.receipt).where(rejection.c.manifest_sha256 == claim.manifest_sha256)
    )
    if row is not None:
        content = json.loads(row)
        return Decision(IssuedReceipt.from_json(content["receipt"]), content["http_status"])
    return None


def store_bundle(store: Store, bundle: Verified, by: str) -> Decision:
    """Store a bundle if it is the next one of its site and its visits are those of the trial.

    Raises
    ------
    RejectedError
        If it is not.
    UnavailableError
        If the trial has no visit schedule yet.
    """
    packed = _compressed(bundle.folder)  # before the transaction, which others wait for
    claim, manifest = bundle.claim, bundle.manifest
    with store.writing() as connection:
        if known := earlier_decision(connection, claim):  # two senders at once
            return known
        if bundle.fingerprint not in keys_of(connection, manifest.site_id):
            msg = f"{SIGNATURE}: the key {bundle.fingerprint[:16]} was revoked; sign with a key that holds"
            raise RejectedError(RejectionCode.NOT_VERIFIED, msg)
        check_chain(connection, manifest)
        warnings = check_visits(current_schedule(connection), manifest, bundle.tables[VISITS])
        changes = compare_rows(connection, manifest, bundle.tables)
        warnings += [
            f"visit_metrics.csv {visit}: was locked and has changed; ask the reading centre why"
            for visit in changes.after_lock
        ]
        number, at = (connection.scalar(select(func.max(transfer.c.transfer_id))) or 0) + 1, now()
        details = {
            "transfer_id": number,
            "manifest_sha256": claim.manifest_sha256,
            "sequence": manifest.sequence,
            "fingerprint": bundle.fingerprint,
            "rows": changes.numbers,
        }
        entry = audit.append(connection, at, by, "transfer.accepted", manifest.site_id, details)
        receipt = IssuedReceipt(
            manifest_sha256=claim.manifest_sha256,
            status="accepted",
            reasons=(),
            received_at=at,
            sequence=manifest.sequence,
            rows=changes.numbers,
            warnings=shortened(warnings),
            audit=entry,
        )
        connection.execute(
            insert(transfer).values(
                transfer_id=number,
                manifest_sha256=claim.manifest_sha256,
                site_id=manifest.site_id,
                sequence=manifest.sequence,
                fingerprint=bundle.fingerprint,
                received_at=at,
                received_from=by,
                receipt=json.dumps(receipt.to_json()),
            )
        )
        store_versions(connection, number, changes)
        _store_files(connection, number, packed)
    return Decision(receipt, 201)


def _compressed(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return SHA-256 and zlib-compressed content of each file of a bundle, by name."""
    packed = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        packed[path.name] = (hashlib.sha256(content).hexdigest(), zlib.compress(content, 6))
    return packed


def _store_files(connection: Connection, number: int, packed: Mapping[str, tuple[str, bytes]]) -> None:
    known = select(stored_file.c.sha256).where(stored_file.c.sha256.in_([d for d, _ in packed.values()]))
    there = set(connection.execute(known).scalars())
    if new := {digest: content for digest, content in packed.values() if digest not in there}:
        rows = [{"sha256": digest, "content": content} for digest, content in new.items()]
        connection.execute(insert(stored_file), rows)
    rows = [{"transfer_id": number, "name": name, "sha256": digest} for name, (digest, _) in packed.items()]
    connection.execute(insert(transfer_file), rows)


def store_rejection(store: Store, claim: Claim, error: RejectedError, by: str) -> Decision:
    """Store the rejection of a signed bundle: its sender builds another one in its place."""
    receipt = rejection_receipt(claim, error)
    with store.writing() as connection:
        if known := earlier_decision(connection, claim):
            return known
        connection.execute(
            insert(rejection).values(
                manifest_sha256=claim.manifest_sha256,
                site_id=claim.site_id,
                received_at=receipt.received_at,
                receipt=json.dumps({"receipt": receipt.to_json(), "http_status": error.code.status}),
            )
        )
        audit_refusal(connection, "transfer.rejected", claim, error, by)
    return Decision(receipt, error.code.status)


def audit_refusal(connection: Connection, action: str, claim: Claim, error: RejectedError, by: str) -> None:
    """Record a refusal: its code and place, not the value that was wrong."""
    details = {
        "why": error.code.value,
        "where": error.where,
        "manifest_sha256": claim.manifest_sha256,
        "sequence": claim.sequence,
    }
    audit.append(connection, now(), by, action, claim.site_id or "no site", details)
