"""HTTPS service under uvicorn."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mesems_mri.central.app import RequestLimits, create_app
from mesems_mri.central.store import Store
from mesems_mri.errors import UsageError

HEADER_SECONDS = 10.0
_HEADER_BYTES = 16 * 1024
_CONNECTIONS = 500
_HERE = ("127.0.0.1", "::1", "localhost")


def deadline_protocol(seconds: float) -> type[H11Protocol]:
    """Make a protocol that closes a connection whose request head does not come in time.

    uvicorn limits the pause between two requests only: one byte every few seconds would hold a connection
    for ever.
    """

    class Deadline(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._deadline:
                self._deadline.cancel()
            super().connection_lost(exc)

        def _arm(self) -> None:
            if self._deadline:
                self._deadline.cancel()
            self._deadline = self.loop.call_later(seconds, self._expire)

        def _expire(self) -> None:
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

    return Deadline


def serve(
    store: Store,
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
    limits: RequestLimits | None = None,
    header_seconds: float = HEADER_SECONDS,
) -> None:
    """Serve until the process is told to stop; transfers that have begun are finished.

    Parameters
    ----------
    store : Store
    host : str
        Address to listen on.
    port : int
    certificate, key : Path, optional
        PEM files for TLS.
    behind_proxy : bool
        A proxy on this machine or network does the TLS.
    limits : RequestLimits, optional
    header_seconds : float
        For the head of a request.

    Raises
    ------
    UsageError
        If tokens would travel unencrypted over a network, the certificate cannot be used, or the database is
        none.
    """
    _check_encryption(host, certificate, key, behind_proxy=behind_proxy)
    store.study()
    uvicorn.run(
        create_app(store, limits),
        host=host,
        port=port,
        http=deadline_protocol(header_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        proxy_headers=behind_proxy,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=60,
    )


def _check_encryption(host: str, certificate: Path | None, key: Path | None, *, behind_proxy: bool) -> None:
    """Refuse to send tokens unencrypted over a network."""
    if bool(certificate) != bool(key):
        msg = f"--tls-{'key' if certificate else 'certificate'}: is missing, expected both or none; give both"
        raise UsageError(msg)
    if certificate and key:
        _check_certificate(certificate, key)
    elif host not in _HERE and not behind_proxy:
        msg = (
            f"--host {host}: without TLS tokens could be read on the way; give --tls-certificate and "
            "--tls-key, or --behind-proxy if a proxy does the TLS"
        )
        raise UsageError(msg)


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        msg = f"{certificate}, {key}: cannot be used for TLS ({error}); give a certificate and its key as PEM"
        raise UsageError(msg) from error
