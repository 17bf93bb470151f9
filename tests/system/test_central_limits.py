"""The data centre against bad and slow senders: refused with a reason, in bounded memory, nothing stored."""

import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mesems_mri.transfer.verify import manifest_sha256
from tests.nightly import amount
from tests.system.service import Service
from tests.unit.central import damage
from tests.unit.central.bundles import Bundle, pack, visit
from tests.unit.central.conftest import HOMES

BUNDLES = amount(1_000, 10_000)


@pytest.fixture
def sqlite_service(tmp_path: Path) -> Iterator[Service]:
    service = Service(str(tmp_path / "central.db"), tmp_path / "service", HOMES)
    yield service.start()
    service.close()


def test_body_of_two_gigabytes_is_refused_in_bounded_memory(sqlite_service: Service) -> None:
    service = sqlite_service
    archive, digest = service.trial.archive(Bundle([visit("sub-001", 0)]))
    assert service.post(archive, digest).status_code == 201
    second = Bundle([visit("sub-001", 0), visit("sub-001", 4)], sequence=2, previous=digest)
    archive, digest = service.trial.archive(second)
    before, stored = service.peak_mib(), service.trial.counts()

    def body() -> Iterator[bytes]:
        yield archive.read_bytes()
        part = bytes(2**20)
        for _ in range(2048):
            yield part

    headers = {"Authorization": f"Bearer {service.tokens['S01']}", "Idempotency-Key": digest}
    answer = httpx.post(f"{service.url}/api/v1/transfers", content=body(), headers=headers, timeout=300)
    assert (answer.status_code, answer.json()["status"]) == (413, "rejected")
    assert "larger than this data centre accepts" in answer.json()["reasons"][0]
    assert service.peak_mib() - before < 64
    assert service.trial.counts() == stored
    assert service.post(archive, digest).status_code == 201


def test_slow_heads_are_cut_off_and_others_served(sqlite_service: Service) -> None:
    service = sqlite_service
    slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(100)]
    began = time.monotonic()
    for connection in slow:
        connection.sendall(b"POST /api/v1/transfers HTTP/1.1\r\nHost: x\r\n")
    assert service.send(Bundle([visit("sub-001", 0)])).status_code == 201
    closed: set[int] = set()
    while len(closed) < len(slow) and time.monotonic() - began < 30:
        for number, connection in enumerate(slow):
            if number not in closed:
                try:
                    connection.sendall(b"X-Slow: 1\r\n")
                except OSError:
                    closed.add(number)
        time.sleep(1)
    for connection in slow:
        connection.close()
    assert len(closed) == len(slow)
    assert 9 < time.monotonic() - began < 20


def test_damaged_bundles_by_the_thousand(tmp_path: Path) -> None:
    trial = Service(str(tmp_path / "central.db"), tmp_path / "service", HOMES).trial
    folder = tmp_path / "bundle"
    damage.GOOD.write(folder, trial.keys["S01"])
    began = time.monotonic()
    damage.check_refused(folder, trial.keys["S01"], BUNDLES)
    print(f"{BUNDLES} damaged bundles in {time.monotonic() - began:.0f} s")
    trial.store.close()


def test_damaged_bundles_at_the_service(sqlite_service: Service) -> None:
    service, folder = sqlite_service, sqlite_service.folder / "bundle"
    digest = damage.GOOD.write(folder, service.trial.keys["S01"])
    codes, before = Counter[int](), service.peak_mib()
    for _ in damage.damaged(folder, service.trial.keys["S01"], 100):
        archive = pack(folder, service.folder / "damaged.tar")
        answer = service.post(archive, manifest_sha256(folder))
        codes[answer.status_code] += 1
        assert answer.json()["reasons"]
    assert codes == {422: 100}
    assert service.peak_mib() - before < 64
    assert sum(service.trial.counts().values()) == 0
    damage.GOOD.write(folder, service.trial.keys["S01"])
    assert service.post(pack(folder, service.folder / "right.tar"), digest).status_code == 201


def test_tls_with_a_certificate_of_our_own(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    service = Service(str(tmp_path / "central.db"), tmp_path / "service", HOMES, *options)
    service.url = service.url.replace("http:", "https:")
    trusted = ssl.create_default_context(cafile=str(certificate))
    service.start(trusted)
    archive, digest = service.trial.archive(Bundle([visit("sub-001", 0)]))
    headers = {"Authorization": f"Bearer {service.tokens['S01']}", "Idempotency-Key": digest}
    request = {"content": archive.read_bytes(), "headers": headers}
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.post(f"{service.url}/api/v1/transfers", **request)
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{service.url.replace('https:', 'http:')}/api/v1/transfers", **request)
    assert httpx.post(f"{service.url}/api/v1/transfers", verify=trusted, **request).status_code == 201
    service.close()
