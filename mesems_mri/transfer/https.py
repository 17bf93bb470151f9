"""Destination that is the HTTPS service of the receiving side."""

import contextlib
import ssl
import tempfile
from collections.abc import Generator, Iterator
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from time import time
from typing import BinaryIO, Self
from urllib.parse import urlsplit

import httpx

from mesems_mri.config import Access
from mesems_mri.errors import BundleError, DeliveryError, UsageError
from mesems_mri.transfer.archive import write_archive
from mesems_mri.transfer.destination import MAX_RECEIPT_BYTES, read_receipt
from mesems_mri.transfer.keys import read_secret
from mesems_mri.transfer.manifest import TransferReceipt
from mesems_mri.transfer.outbox import Bundle

PATH = "/api/v1/transfers"
_TIMEOUT = httpx.Timeout(60, connect=15)
_ANSWERED = {200, 201, 409, 413, 422}
"""Status codes that come with a receipt."""
_FINAL = {400, 401, 403, 404, 405, 411, 415}
"""Status codes after which sending again is of no use."""
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CHUNK = 2**18


class HttpsService:
    """The service of the receiving side.

    Parameters
    ----------
    client : httpx.Client
    url : str
        Address to which bundles are posted.
    """

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client = client
        self._url = url

    @classmethod
    @contextlib.contextmanager
    def connected(cls, access: Access) -> Generator[Self]:
        """Prepare to send; the connection is made with the first bundle.

        Raises
        ------
        UsageError
            If the address is not encrypted, or token or certificate cannot be read.
        """
        url = urlsplit(access.destination)
        here = url.hostname in _LOOPBACK
        if not url.hostname or (url.scheme == "http" and not here):
            msg = f"{access.destination}: is not encrypted; give an address that begins with https://"
            raise UsageError(msg)
        if not access.token_file:
            msg = f"{access.destination}: needs a token; give the file that holds it with --token-file"
            raise UsageError(msg)
        token = read_secret(Path(access.token_file).expanduser(), "token")
        with httpx.Client(
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT,
            verify=_certificates(access.ca_file) if url.scheme == "https" else True,
            follow_redirects=False,  # the token is for this address only
            trust_env=not here,
        ) as client:
            yield cls(client, access.destination.rstrip("/") + PATH)

    def deliver(self, bundle: Bundle) -> TransferReceipt | None:
        """Post the archive; the receipt comes with the answer."""
        with tempfile.TemporaryFile() as archive:
            write_archive(bundle.folder, archive)
            size = archive.tell()
            archive.seek(0)
            headers = {
                "Idempotency-Key": bundle.sha256,
                "Content-Type": "application/x-tar",
                "Content-Length": str(size),
            }
            try:
                post = self._client.stream("POST", self._url, content=_chunks(archive), headers=headers)
                with post as answer:
                    return self._receipt(answer, bundle)
            except httpx.HTTPError as error:
                msg = f"{self._url}: {_describe(error)}; it is retried"
                raise DeliveryError(msg) from error

    def receipt(self, bundle: Bundle) -> TransferReceipt | None:
        """Return None: receipts come with the answer to a bundle."""
        return None

    def _receipt(self, answer: httpx.Response, bundle: Bundle) -> TransferReceipt:
        content = b""
        for part in answer.iter_bytes(_CHUNK):
            content += part
            if len(content) > MAX_RECEIPT_BYTES:
                break
        code = answer.status_code
        if code in _FINAL or answer.is_redirect:
            said = content[:200].decode(errors="replace").strip()
            msg = f"{self._url}: refuses the transfer with {code} ({said or answer.reason_phrase}); "
            msg += "see token and address; the bundle stays in the outbox"
            raise UsageError(msg)
        if code not in _ANSWERED:
            msg = f"{self._url}: answers {code} {answer.reason_phrase}; it is retried"
            raise DeliveryError(msg, _retry_after(answer.headers.get("Retry-After", "")))
        try:
            receipt = read_receipt(BytesIO(content), f"answer {code} of {self._url}", bundle)
        except BundleError as error:  # of something between us and the service, perhaps
            raise DeliveryError(str(error)) from error
        if (receipt.status == "rejected") != (code >= 400):
            msg = (
                f"{self._url}: answers {code}, but the receipt says {receipt.status}; ask the receiving side"
            )
            raise DeliveryError(msg)
        return receipt


def _certificates(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        msg = f"{ca_file}: is no certificate in PEM form ({error}); give that of the authority with --ca-file"
        raise UsageError(msg) from error


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while part := stream.read(_CHUNK):
        yield part


def _retry_after(text: str) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3): a number or a date; 0 for neither."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(text))
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    return 0.0


def _describe(error: httpx.HTTPError) -> str:
    return f"cannot be reached ({error or type(error).__name__})"
