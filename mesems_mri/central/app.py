"""HTTPS service: transfers in, receipts, the reconciliation list and the audit trail out."""

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from mesems_mri.central.receipts import Decision, read_claim
from mesems_mri.central.receive import Source, receive, refuse
from mesems_mri.central.reconcile import reconcile
from mesems_mri.central.rejection import RejectedError, RejectionCode, UnavailableError
from mesems_mri.central.schema import transfer
from mesems_mri.central.sites import Role, TokenHolder, holder_of
from mesems_mri.central.store import Store
from mesems_mri.dataset import audit
from mesems_mri.errors import MesemsError, UsageError
from mesems_mri.transfer.archive import MAX_ARCHIVE_BYTES

_RETRY_SECONDS = "10"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RequestLimits:
    """Limits of a request.

    Parameters
    ----------
    body_bytes : int
        Of a transfer; the excess is read and discarded, so that the sender gets an answer.
    body_seconds : float
        For the whole body.
    at_once : int
        Transfers that are verified and stored at one time; the others wait on disk, not in memory.
    """

    body_bytes: int = MAX_ARCHIVE_BYTES
    body_seconds: float = 300
    at_once: int = 2


def create_app(store: Store, limits: RequestLimits | None = None) -> FastAPI:
    """Make the service over an open database.

    Parameters
    ----------
    store : Store
    limits : RequestLimits, optional
    """
    # the interactive pages load their scripts from elsewhere
    app = FastAPI(title="mesems-mri central", docs_url=None, redoc_url=None, openapi_url=None)
    _answer_outages(app, store)
    _add_transfers(app, store, limits or RequestLimits())
    _add_oversight(app, store)
    return app


def _answer_outages(app: FastAPI, store: Store) -> None:
    """Answer 503 while the service cannot decide, so that the sender retries."""

    @app.exception_handler(UnavailableError)
    @app.exception_handler(UsageError)  # the database is away
    async def unavailable(_: Request, error: MesemsError) -> JSONResponse:
        return _retry_later(str(error))

    @app.exception_handler(DBAPIError)
    async def no_database(_: Request, error: DBAPIError) -> JSONResponse:
        _log.error("%s: %s", store.shown, error.orig)
        return _retry_later("the database does not answer; send it again")


def _retry_later(detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, 503, headers={"Retry-After": _RETRY_SECONDS})


def _add_transfers(app: FastAPI, store: Store, limits: RequestLimits) -> None:
    """Add the routes of the transfers: one that receives them, one that lists them."""
    turn = asyncio.Semaphore(limits.at_once)

    @app.post("/api/v1/transfers")
    async def post_transfer(
        request: Request, holder: Annotated[TokenHolder, Depends(_allowed(store, Role.SENDER))]
    ) -> JSONResponse:
        source = Source(by=f"{holder.name} (token)", site_id=holder.site_id)
        with tempfile.NamedTemporaryFile(prefix="mesems-mri-central-") as file:
            complete = await _read_body(request, file, limits)
            key = request.headers.get("idempotency-key", "").strip().strip('"')
            async with turn:
                decision = await run_in_threadpool(_decide, store, Path(file.name), source, key, complete)
        return JSONResponse(decision.receipt.to_json(), decision.http_status)

    @app.get("/api/v1/transfers")
    async def get_transfers(
        holder: Annotated[TokenHolder, Depends(_allowed(store, Role.SENDER, Role.DATA_MANAGER))],
    ) -> list[dict[str, Any]]:
        return await run_in_threadpool(_transfers, store, holder.site_id)


def _add_oversight(app: FastAPI, store: Store) -> None:
    """Add the routes that read alone: health, reconciliation list, audit trail."""

    @app.get("/api/v1/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "study_id": await run_in_threadpool(store.study)}

    @app.get("/api/v1/reconciliation")
    async def get_reconciliation(
        holder: Annotated[TokenHolder, Depends(_allowed(store, Role.SENDER, Role.DATA_MANAGER))],
    ) -> list[dict[str, Any]]:
        return await run_in_threadpool(_reconciliation, store, holder.site_id)

    @app.get("/api/v1/audit")
    async def get_audit(
        _: Annotated[TokenHolder, Depends(_allowed(store, Role.AUDITOR))],
    ) -> dict[str, Any]:
        return await run_in_threadpool(_audit_state, store)


def _allowed(store: Store, *roles: Role) -> Callable[[Request], Awaitable[TokenHolder]]:
    """Make the check of the token of a request, before its body is read."""

    async def check(request: Request) -> TokenHolder:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            msg = "the request has no token; send Authorization: Bearer TOKEN"
            raise _unauthorized(msg)
        holder = await run_in_threadpool(_look_up, store, value.strip())
        if isinstance(holder, str):
            msg = f"{holder}; ask the data centre for another one"
            raise _unauthorized(msg)
        if holder.role not in roles:
            detail = f"the token is of a {holder.role}, expected a {' or '.join(roles)}; use another one"
            raise HTTPException(403, detail)
        return holder

    return check


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


def _look_up(store: Store, token: str) -> TokenHolder | str:
    with store.reading() as connection:
        return holder_of(connection, token)


async def _read_body(request: Request, file: Any, limits: RequestLimits) -> bool:
    """Write the body to disk; return whether all of it was within the limit."""
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                file.write(part[: max(limits.body_bytes - size, 0)])
                size += len(part)
    except TimeoutError as error:
        detail = f"the body did not come within {limits.body_seconds:g} s; send it again"
        raise HTTPException(408, detail, {"Connection": "close"}) from error
    except OSError as error:
        msg = f"the disk of the data centre cannot be written ({error.strerror}); send the transfer again"
        raise UnavailableError(msg) from error
    file.flush()
    return size <= limits.body_bytes


def _decide(store: Store, archive: Path, source: Source, key: str, complete: bool) -> Decision:
    try:
        claim = read_claim(archive)
        if key != claim.manifest_sha256:
            msg = f"Idempotency-Key: is {key[:80]!r}, expected the SHA-256 of the manifest; send that"
            raise HTTPException(400, msg)
        if not complete:
            msg = "the transfer: is larger than this data centre accepts; ask it for its limit"
            return refuse(store, claim, RejectedError(RejectionCode.TOO_LARGE, msg), source)
        return receive(store, archive, source)
    except RejectedError as error:
        status = error.code.status if complete else RejectionCode.TOO_LARGE.status
        raise HTTPException(status, str(error)) from error


def _transfers(store: Store, site_id: str) -> list[dict[str, Any]]:
    columns = [c for c in transfer.c if c.name in ("site_id", "sequence", "manifest_sha256", "received_at")]
    wanted = select(*columns).order_by(transfer.c.site_id, transfer.c.sequence)
    if site_id:
        wanted = wanted.where(transfer.c.site_id == site_id)
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(wanted).mappings()]


def _reconciliation(store: Store, site_id: str) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return [vars(line) for line in reconcile(connection, site_id or None)]


def _audit_state(store: Store) -> dict[str, Any]:
    with store.reading() as connection:
        return {"head": vars(audit.head(connection)), "problems": audit.verify(connection)}
