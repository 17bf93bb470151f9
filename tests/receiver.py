"""A receiving side for tests of the sender: it keeps a bundle once, and answers as it is told."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mesems_mri.transfer.manifest import MANIFEST, receipt_name
from mesems_mri.transfer.verify import verify_bundle

Answer = tuple[int, dict[str, str], bytes]


def receipt(sha256: str, sequence: int, status: str = "accepted", **changes: Any) -> dict[str, Any]:
    """Return a receipt as the receiving side writes it."""
    reasons = ["the week is none of the trial"] if status == "rejected" else []
    return {
        "manifest_sha256": sha256,
        "status": status,
        "reasons": reasons,
        "received_at": "2026-03-31T12:00:00Z",
        "sequence": sequence,
    } | changes


@dataclass
class Store:
    """What was received: each bundle once, by the SHA-256 of its manifest."""

    public_key: Ed25519PublicKey
    bundles: dict[str, int] = field(default_factory=dict)
    arrivals: int = 0

    def take(self, archive: Path) -> dict[str, Any]:
        """Verify an archive, keep what it holds unless it is there, and return the receipt."""
        manifest = verify_bundle(archive, self.public_key)
        with archive.open("rb") as stream:
            head = stream.read(512)
            size = int(head[124:135], 8)
            assert head.startswith(MANIFEST.encode() + b"\0")
            sha256 = hashlib.sha256(stream.read(size)).hexdigest()
        self.arrivals += 1
        status = "duplicate" if sha256 in self.bundles else "accepted"
        self.bundles.setdefault(sha256, manifest.sequence)
        return receipt(sha256, manifest.sequence, status)

    def empty_inbox(self, inbox: Path) -> None:
        """Take every archive from an inbox and leave its receipt."""
        (inbox / "receipts").mkdir(exist_ok=True)
        for archive in sorted(inbox.glob("*.tar")):
            answer = self.take(archive)
            path = inbox / "receipts" / receipt_name(answer["manifest_sha256"])
            temporary = path.with_name(f".{path.name}")
            temporary.write_text(json.dumps(answer))
            temporary.rename(path)
            archive.unlink()


class Service(ThreadingHTTPServer):
    """The HTTPS service, without encryption on the loopback.

    Parameters
    ----------
    store : Store
    folder : Path
        For what arrives.
    """

    daemon_threads = True

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store, self.folder = store, folder
        self.script: list[Callable[[dict[str, Any]], Answer]] = []
        self.requests: list[dict[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a sender that was killed."""


class _Handler(BaseHTTPRequestHandler):
    server: Service  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Answer as the script says, else as a receiving side does."""
        server = self.server
        length = int(self.headers["Content-Length"])
        with server.lock:
            server.requests.append({"path": self.path, **dict(self.headers.items())})
            number = len(server.requests)
        body = self.rfile.read(length)
        if len(body) < length:  # the sender is gone
            return
        path = server.folder / f"{number}.tar"
        path.write_bytes(body)
        with server.lock:
            if server.script:
                key = self.headers["Idempotency-Key"]
                code, headers, content = server.script.pop(0)(receipt(key, 1))
            else:
                answer = server.store.take(path)
                code, headers, content = 201, {}, json.dumps(answer).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent."""
