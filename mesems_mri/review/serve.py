"""The service under uvicorn: for one user on this machine, or for a reading centre."""

import ssl
from collections.abc import Callable
from pathlib import Path

import uvicorn

from mesems_mri.errors import UsageError
from mesems_mri.review.app import create_app
from mesems_mri.review.centre import make_single, put_right
from mesems_mri.review.desk import Desk
from mesems_mri.review.service import ServiceOptions
from mesems_mri.review.store import ReadingSettings, ReadingStore
from mesems_mri.review.visit import list_visits

_HERE = ("127.0.0.1", "localhost", "[::1]")
_HEADER_BYTES = 32 * 1024
_CONNECTIONS = 500


def open_single(out_dir: Path) -> Desk:
    """Open the reading of one user in an output folder; it is made when it is not there.

    Raises
    ------
    UsageError
        If the folder is that of a reading centre.
    DatasetError
        If the folder holds no visit that can be read.
    """
    settings = ReadingSettings(study_id="", out_dir=out_dir.resolve(), single=True)
    list_visits(settings.layout)
    settings.layout.reading.mkdir(parents=True, exist_ok=True)
    store = ReadingStore(str(settings.layout.reading / "reading.db"))
    if not store.exists():
        store.create(settings, "single")
    if not store.settings().single:
        msg = f"{out_dir}: is read by a reading centre; go on with mesems-mri review serve"
        raise UsageError(msg)
    desk = Desk(store)
    make_single(desk)
    return desk


def serve_single(out_dir: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve one user on this machine, without accounts, until the process is told to stop."""
    desk = open_single(out_dir)
    put_right(desk)
    say(f"reading {out_dir}: http://127.0.0.1:{port}/ (stop with Ctrl-C)")
    _run(desk, ServiceOptions(hosts=_HERE, secure=False), host="127.0.0.1", port=port)


def serve_centre(
    store: ReadingStore,
    *,
    host: str,
    port: int,
    names: tuple[str, ...] = (),
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
) -> None:
    """Serve a reading centre until the process is told to stop.

    Parameters
    ----------
    store : ReadingStore
    host : str
        Address to listen on.
    port : int
    names : tuple of str
        Names under which readers reach it; default: this machine.
    certificate, key : Path, optional
        PEM files for TLS.
    behind_proxy : bool
        A proxy on this machine or network does the TLS.

    Raises
    ------
    UsageError
        If passwords would travel unencrypted over a network, or the certificate cannot be used.
    """
    if bool(certificate) != bool(key):
        msg = f"--tls-{'key' if certificate else 'certificate'}: is missing, expected both or none; give both"
        raise UsageError(msg)
    here = host in ("127.0.0.1", "::1", "localhost")
    if certificate and key:
        _check_certificate(certificate, key)
    elif not here and not behind_proxy:
        msg = (
            f"--host {host}: without TLS passwords could be read on the way; give --tls-certificate and "
            "--tls-key, or --behind-proxy if a proxy does the TLS"
        )
        raise UsageError(msg)
    if not names and not here:
        msg = "--name: is missing; give the name under which readers reach the service"
        raise UsageError(msg)
    desk = Desk(store)
    if desk.settings.single:
        msg = f"{store.shown}: is the reading of one user; open it with mesems-mri review OUT_DIR"
        raise UsageError(msg)
    put_right(desk)
    encrypted = bool(certificate) or behind_proxy
    options = ServiceOptions(hosts=(*_HERE, *(name.lower() for name in names)), secure=encrypted)
    _run(
        desk,
        options,
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        behind_proxy=behind_proxy,
    )


def _run(
    desk: Desk,
    options: ServiceOptions,
    *,
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
) -> None:
    uvicorn.run(
        create_app(desk, options),  # pyright: ignore[reportArgumentType]
        host=host,
        port=port,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=behind_proxy,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_graceful_shutdown=10,
    )


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        msg = f"{certificate}, {key}: cannot be used for TLS ({error}); give a certificate and its key as PEM"
        raise UsageError(msg) from error
