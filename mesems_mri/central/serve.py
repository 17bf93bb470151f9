"""HTTPS service of the data centre."""

from pathlib import Path

from mesems_mri.central.app import RequestLimits, create_app
from mesems_mri.central.store import Store
from mesems_mri.https import HEADER_SECONDS, check_encryption, run_service


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
    check_encryption(host, certificate, key, behind_proxy=behind_proxy, secret="tokens")
    store.study()
    run_service(
        create_app(store, limits),
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        behind_proxy=behind_proxy,
        header_seconds=header_seconds,
    )
