"""A service under uvicorn, as the data centre and the reading run theirs: TLS, deadlines and limits.

Only the extras `central` and `review` have uvicorn, so no module but theirs imports this one.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mesems_mri.errors import UsageError

HERE = ("127.0.0.1", "::1", "localhost")
"""Addresses that no other machine can reach."""
HEADER_SECONDS = 10.0
_CONNECTIONS = 500


def check_encryption(
    host: str, certificate: Path | None, key: Path | None, *, behind_proxy: bool, secret: str
) -> None:
    """Refuse to let secrets travel unencrypted over a network.

    Parameters
    ----------
    host : str
        Address to listen on.
    certificate, key : Path, optional
        PEM files for TLS.
    behind_proxy : bool
        A proxy does the TLS.
    secret : str
        What could be read on the way, e.g. ``tokens``.

    Raises
    ------
    UsageError
        If they would, or the certificate cannot be used.
    """
    if bool(certificate) != bool(key):
        msg = f"--tls-{'key' if certificate else 'certificate'}: is missing, expected both or none; give both"
        raise UsageError(msg)
    if certificate and key:
        _check_certificate(certificate, key)
    elif host not in HERE and not behind_proxy:
        msg = (
            f"--host {host}: without TLS {secret} could be read on the way; give --tls-certificate and "
            "--tls-key, or --behind-proxy if a proxy does the TLS"
        )
        raise UsageError(msg)


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        msg = f"{certificate}, {key}: cannot be used for TLS ({error}); give a certificate and its key as PEM"
        raise UsageError(msg) from error


def run_service(
    app: Any,
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
    header_bytes: int = 16 * 1024,
    header_seconds: float = HEADER_SECONDS,
    finish_seconds: int = 60,
    date_header: bool = True,
) -> None:
    """Serve an application until the process is told to stop; requests that have begun are finished.

    Parameters
    ----------
    app : ASGI application
    host : str
        Address to listen on.
    port : int
    certificate, key : Path, optional
        PEM files for TLS, checked by `check_encryption`.
    behind_proxy : bool
        Believe the headers of a proxy.
    header_bytes : int
        Largest head of a request.
    header_seconds : float
        For the head of a request.
    finish_seconds : int
        For requests that have begun when it stops.
    date_header : bool
        Tell the time in every answer.
    """
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=_deadline_protocol(header_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        date_header=date_header,
        proxy_headers=behind_proxy,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=header_bytes,
        timeout_graceful_shutdown=finish_seconds,
    )


def _deadline_protocol(seconds: float) -> type[H11Protocol]:
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
