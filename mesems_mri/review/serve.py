"""The service: for one user on this machine, or for a reading centre."""

from collections.abc import Callable
from pathlib import Path

from mesems_mri.errors import UsageError
from mesems_mri.https import HERE, check_encryption, run_service
from mesems_mri.review.app import create_app
from mesems_mri.review.centre import make_single, put_right
from mesems_mri.review.desk import Desk
from mesems_mri.review.service import ServiceOptions
from mesems_mri.review.store import ReadingSettings, ReadingStore
from mesems_mri.review.visit import list_visits

_HERE = ("127.0.0.1", "localhost", "[::1]")
"""As a browser names this machine."""
_HEADER_BYTES = 32 * 1024
_FINISH_SECONDS = 10


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
    check_encryption(host, certificate, key, behind_proxy=behind_proxy, secret="passwords")
    if not names and host not in HERE:
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
    run_service(
        create_app(desk, options),
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        behind_proxy=behind_proxy,
        header_bytes=_HEADER_BYTES,
        finish_seconds=_FINISH_SECONDS,
        date_header=False,
    )
