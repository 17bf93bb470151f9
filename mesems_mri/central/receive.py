"""Receipt of a transfer: verified, then stored once in an atomic transaction."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from mesems_mri.central.content import read_tables
from mesems_mri.central.receipts import Claim, Decision, read_claim, rejection_receipt
from mesems_mri.central.rejection import RejectedError, RejectionCode, UnavailableError
from mesems_mri.central.schema import site, trial
from mesems_mri.central.sites import keys_of
from mesems_mri.central.store import Store
from mesems_mri.central.storing import (
    Verified,
    audit_refusal,
    earlier_decision,
    store_bundle,
    store_rejection,
)
from mesems_mri.errors import BundleError, ForbiddenColumnError
from mesems_mri.transfer.archive import extract_archive
from mesems_mri.transfer.keys import is_signed, parse_public_key
from mesems_mri.transfer.manifest import MANIFEST, SIGNATURE, BundleManifest
from mesems_mri.transfer.verify import verify_bundle

RETRY_SECONDS = 60
"""Time for which transient errors of the database are retried; afterwards the sender retries."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Source of a transfer.

    Parameters
    ----------
    by : str
        Actor that submits it, for the audit trail.
    site_id : str
        The only site it may be of; empty: any (the signature decides).
    """

    by: str
    site_id: str = ""


def receive(store: Store, archive: Path, source: Source) -> Decision:
    """Receive the archive of a bundle.

    Parameters
    ----------
    store : Store
    archive : Path
        A file that nobody else changes.
    source : Source

    Returns
    -------
    Decision

    Raises
    ------
    RejectedError
        If the archive has no readable claim.
    UnavailableError
        If the trial is not set up yet, or database or disk do not answer.
    """
    claim = read_claim(archive)
    with tempfile.TemporaryDirectory(prefix="mesems-mri-central-") as folder:
        bundle = Path(folder) / "bundle"
        try:
            decision = _with_retry(store, lambda: _decide(store, archive, bundle, claim, source))
        except RejectedError as error:
            decision = refuse(store, claim, error, source)
        except OSError as error:
            msg = f"the disk of the data centre does not answer ({error.strerror}); send the transfer again"
            raise UnavailableError(msg) from error
    reason = "; ".join(decision.receipt.reasons[:1])
    status = decision.receipt.status
    _log.info("site %s, transfer %d by %s: %s %s", claim.site_id, claim.sequence, source.by, status, reason)
    return decision


def refuse(store: Store, claim: Claim, error: RejectedError, source: Source) -> Decision:
    """Refuse an archive that is not verified: its sender is unproven, so no rejection is stored."""

    def note() -> Decision:
        with store.writing() as connection:
            audit_refusal(connection, "transfer.refused", claim, error, source.by)
        return Decision(rejection_receipt(claim, error), error.code.status)

    return _with_retry(store, note)


def _decide(store: Store, archive: Path, bundle: Path, claim: Claim, source: Source) -> Decision:
    if source.site_id and source.site_id != claim.site_id:
        msg = f"{MANIFEST}: is of site {claim.site_id}, the token of {source.site_id}; use its own token"
        raise RejectedError(RejectionCode.OTHER_SITE, msg)
    with store.reading() as connection:
        # First of all: a sender that missed the answer must get it, even if its key was revoked since.
        if known := earlier_decision(connection, claim):
            return known
        study_id = connection.execute(select(trial.c.study_id)).scalar_one()
        keys = keys_of(connection, claim.site_id)
        if connection.scalar(select(site.c.site_id).where(site.c.site_id == claim.site_id)) is None:
            msg = f"{MANIFEST}: site {claim.site_id} is not registered here; ask the data centre"
            raise RejectedError(RejectionCode.UNKNOWN_SITE, msg)
    fingerprint, manifest = _verify(archive, bundle, keys)
    try:
        _check_study(manifest, study_id)
        tables = read_tables(bundle, manifest)
        return store_bundle(store, Verified(claim, manifest, fingerprint, bundle, tables), source.by)
    except RejectedError as error:
        return store_rejection(store, claim, error, source.by)


def _verify(archive: Path, bundle: Path, keys: Mapping[str, bytes]) -> tuple[str, BundleManifest]:
    """Return the key that signed a bundle, and its manifest, once all of it is verified."""
    try:
        if not bundle.exists():  # it is there already when the database failed once
            extract_archive(archive, bundle)
        parsed = {name: parse_public_key(pem, name) for name, pem in keys.items()}
        manifest = verify_bundle(bundle, parsed.values())
    except ForbiddenColumnError as error:
        raise RejectedError(RejectionCode.FORBIDDEN_COLUMN, str(error)) from error
    except BundleError as error:
        raise RejectedError(RejectionCode.NOT_VERIFIED, str(error)) from error
    content, signature = ((bundle / name).read_bytes() for name in (MANIFEST, SIGNATURE))
    return next(name for name, key in parsed.items() if is_signed(content, signature, key)), manifest


def _check_study(manifest: BundleManifest, study_id: str) -> None:
    if manifest.study_id != study_id:
        msg = f"{MANIFEST}: is of study {manifest.study_id}, expected {study_id}; ask the data centre"
        raise RejectedError(RejectionCode.OTHER_STUDY, msg)


def _with_retry(store: Store, attempt: Callable[[], Decision]) -> Decision:
    """Retry with back-off while the database restarts; an attempt that was committed is not repeated."""
    retrying = Retrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(RETRY_SECONDS),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except DBAPIError as error:
        if not _is_transient(error):
            raise
        said = " ".join(str(error.orig).split())
        msg = f"{store.shown}: the database does not answer ({said}); send the transfer again"
        raise UnavailableError(msg) from error


def _is_transient(error: BaseException) -> bool:
    """Return whether an error of the database is transient."""
    return isinstance(error, OperationalError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
