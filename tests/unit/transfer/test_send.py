"""What a destination answers decides what becomes of a bundle; its receipt is checked and kept."""

import datetime as dt
import ipaddress
import json
import ssl
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mesems_mri.config import Access
from mesems_mri.errors import BundleError, DeliveryError, UsageError
from mesems_mri.transfer.manifest import receipt_name
from mesems_mri.transfer.outbox import BundleState, Outbox, sent_visits
from mesems_mri.transfer.send import Sent, collect_receipts, describe, refuse_rejected, send
from mesems_mri.transfer.verify import manifest_sha256, verify_bundle
from tests.receiver import Answer, Service, Store, receipt
from tests.small_study import SmallStudy, copy_of, small_study

BUNDLES = 3


def quiet(_: str) -> None:
    """Say nothing."""


def states(study: SmallStudy) -> dict[BundleState, int]:
    return dict(Counter(bundle.state for bundle in Outbox(study.layout, "S01").bundles()))


# ---- a folder


def test_bundles_arrive_whole_and_in_order(study: SmallStudy, inbox: Path) -> None:
    sent = send(study.out_dir, Access(destination=str(inbox)), quiet)
    assert sent.delivered == ["S01_000001", "S01_000002", "S01_000003"]
    archives = sorted(inbox.iterdir())
    assert [verify_bundle(path, study.public_key).sequence for path in archives] == [1, 2, 3]
    assert states(study) == {BundleState.SENT: 3}
    assert send(study.out_dir, Access(destination=str(inbox)), quiet) == Sent()


def test_receipts_are_picked_up_checked_and_kept(study: SmallStudy, inbox: Path, store: Store) -> None:
    access = Access(destination=str(inbox))
    send(study.out_dir, access, quiet)
    store.empty_inbox(inbox)
    collect_receipts(study.out_dir, access, quiet)
    assert states(study) == {BundleState.ACCEPTED: 3}
    kept = [b.receipt for b in Outbox(study.layout, "S01").bundles()]
    assert [r.status if r else None for r in kept] == ["accepted"] * 3
    assert list(inbox.glob("*.tar")) == []


@pytest.mark.parametrize(
    "changes",
    [{"manifest_sha256": "0" * 64}, {"sequence": 9}, {"status": "fine"}, {"received_at": "yesterday"}, None],
    ids=str,
)
def test_receipt_that_is_none_of_the_bundle_settles_nothing(
    study: SmallStudy, inbox: Path, changes: dict[str, Any] | None
) -> None:
    send(study.out_dir, Access(destination=str(inbox)), quiet)
    first = Outbox(study.layout, "S01").bundles()[0]
    (inbox / "receipts").mkdir()
    path = inbox / "receipts" / receipt_name(first.sha256)
    answer = receipt(first.sha256, 1)
    path.write_text(json.dumps(answer | changes) if changes else "x" * 70_000)
    with pytest.raises(BundleError, match="receipt"):
        collect_receipts(study.out_dir, Access(destination=str(inbox)), quiet)
    assert states(study) == {BundleState.SENT: 3}
    path.write_text(json.dumps(answer | {"note": "other keys are kept"}))
    collect_receipts(study.out_dir, Access(destination=str(inbox)), quiet)
    assert states(study) == {BundleState.SENT: 2, BundleState.ACCEPTED: 1}


def test_rejection_is_told_with_its_reasons(study: SmallStudy, inbox: Path) -> None:
    access = Access(destination=str(inbox))
    send(study.out_dir, access, quiet)
    first = Outbox(study.layout, "S01").bundles()[0]
    (inbox / "receipts").mkdir()
    path = inbox / "receipts" / receipt_name(first.sha256)
    path.write_text(json.dumps(receipt(first.sha256, 1, "rejected")))
    sent = send(study.out_dir, access, quiet)
    with pytest.raises(BundleError, match="S01_000001: rejected"):
        refuse_rejected(sent)
    said = "\n".join(describe(study.out_dir))
    assert "rejected" in said
    assert "    the week is none of the trial" in said
    assert "S01: 2 sent, no receipt yet; 1 rejected" in said


def test_again_sends_what_the_inbox_has_lost(study: SmallStudy, inbox: Path, store: Store) -> None:
    access = Access(destination=str(inbox))
    send(study.out_dir, access, quiet)
    lost = sorted(inbox.glob("*.tar"))[0]
    lost.unlink()
    assert send(study.out_dir, access, quiet).delivered == []
    assert len(send(study.out_dir, access, quiet, again=True).delivered) == BUNDLES
    store.empty_inbox(inbox)
    send(study.out_dir, access, quiet)
    assert states(study) == {BundleState.ACCEPTED: 3}
    assert store.arrivals == BUNDLES  # what was still there was not written again


def test_inbox_that_is_not_mounted_is_not_created(study: SmallStudy, inbox: Path) -> None:
    inbox.rmdir()
    with pytest.raises(DeliveryError, match="no such inbox"):
        send(study.out_dir, Access(destination=str(inbox)), quiet, give_up_after_s=0)
    assert not inbox.exists()
    assert states(study) == {BundleState.PENDING: 3}


def test_every_site_has_its_own_chain_and_place(tmp_path: Path) -> None:
    study = small_study(tmp_path, participants=4, sites=2)
    study.build()
    for site in ("S01", "S02"):
        (tmp_path / f"inbox-{site}").mkdir()
    send(study.out_dir, Access(destination=str(tmp_path / "inbox-{site_id}")), quiet, sites=("S02",))
    assert [len(list((tmp_path / f"inbox-{site}").iterdir())) for site in ("S01", "S02")] == [0, 1]
    send(study.out_dir, Access(destination=str(tmp_path / "inbox-{site_id}")), quiet)
    assert [len(list((tmp_path / f"inbox-{site}").iterdir())) for site in ("S01", "S02")] == [1, 1]
    assert len(sent_visits(study.layout)) == 8


def test_site_that_cannot_be_sent_stops_no_other(tmp_path: Path, service: Service) -> None:
    study = small_study(tmp_path / "study", participants=4, sites=2)
    service.store.public_key = study.public_key
    study.build()
    token = tmp_path / "S02.token"
    token.write_text("secret")
    token.chmod(0o600)
    access = Access(destination=service.url, token_file=str(tmp_path / "{site_id}.token"))
    with pytest.raises(UsageError, match=r"S01\.token: the token cannot be read"):
        send(study.out_dir, access, quiet)
    found = {site: [b.state for b in Outbox(study.layout, site).bundles()] for site in ("S01", "S02")}
    assert found == {"S01": [BundleState.PENDING], "S02": [BundleState.ACCEPTED]}


# ---- HTTPS


def test_request_is_that_of_the_contract(study: SmallStudy, access: Access, service: Service) -> None:
    sent = send(study.out_dir, access, quiet)
    assert sent.accepted == ["S01_000001", "S01_000002", "S01_000003"]
    assert states(study) == {BundleState.ACCEPTED: 3}
    first = Outbox(study.layout, "S01").bundles()[0]
    request = {name.lower(): value for name, value in service.requests[0].items()}
    assert request["path"] == "/api/v1/transfers"
    assert request["authorization"] == "Bearer secret"
    assert request["idempotency-key"] == first.sha256 == manifest_sha256(first.folder)
    assert request["content-type"] == "application/x-tar"
    assert int(request["content-length"]) == (service.folder / "1.tar").stat().st_size


def answers(code: int, content: Any = None, **headers: str) -> Callable[[dict[str, Any]], Answer]:
    def answer(wanted: dict[str, Any]) -> Answer:
        body = wanted | content if isinstance(content, dict) else content
        return code, headers, body if isinstance(body, bytes) else json.dumps(body).encode()

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        answers(503, b"busy"),
        answers(500, b""),
        answers(429, b"", **{"Retry-After": "0"}),
        answers(200, b"<html>a proxy</html>"),
        answers(200, {"manifest_sha256": "0" * 64}),
        answers(200, {"sequence": 7}),
        answers(200, {"status": "rejected"}),
        answers(422, {"status": "accepted"}),
        answers(200, b"x" * 1_000_000),
    ],
)
def test_what_is_no_answer_is_asked_again(
    study: SmallStudy, access: Access, service: Service, store: Store, answer: Callable[..., Answer]
) -> None:
    service.script = [answer]
    said: list[str] = []
    assert len(send(study.out_dir, access, said.append).accepted) == BUNDLES
    assert len(service.requests) == BUNDLES + 1
    assert sorted(store.bundles.values()) == [1, 2, 3]
    assert any("(in " in line for line in said)


@pytest.mark.parametrize("code", [401, 403, 404, 302])
def test_what_no_repetition_can_help_stops_at_once(
    study: SmallStudy, access: Access, service: Service, code: int
) -> None:
    service.script = [answers(code, b"the token has expired", Location="http://127.0.0.1:9/")] * 2
    with pytest.raises(UsageError, match=f"refuses the transfer with {code}"):
        send(study.out_dir, access, quiet)
    assert len(service.requests) == 1
    assert states(study) == {BundleState.PENDING: 3}


@pytest.mark.parametrize("code", [409, 413, 422])
def test_rejected_bundle_leaves_the_chain(
    study: SmallStudy, access: Access, service: Service, code: int
) -> None:
    service.script = [answers(code, {"status": "rejected", "reasons": ["no"]})]
    sent = send(study.out_dir, access, quiet, sites=["S01"])
    assert sent.rejected == ["S01_000001"]
    assert len(service.requests) == BUNDLES


def test_duplicate_is_as_good_as_accepted(study: SmallStudy, access: Access, store: Store) -> None:
    for bundle in Outbox(study.layout, "S01").bundles():
        store.bundles[bundle.sha256] = bundle.manifest.sequence
    assert len(send(study.out_dir, access, quiet).accepted) == BUNDLES
    assert len(store.bundles) == BUNDLES


def test_retry_after_is_heeded_and_patience_ends(study: SmallStudy, access: Access, service: Service) -> None:
    service.script = [answers(503, b"", **{"Retry-After": "1"})]
    start = time.monotonic()
    assert len(send(study.out_dir, access, quiet).accepted) == BUNDLES
    assert time.monotonic() - start >= 1
    in_an_hour = dt.datetime.now(tz=dt.UTC) + dt.timedelta(hours=1)
    other = copy_of(study, study.out_dir.parent / "other")
    for bundle in Outbox(other.layout, "S01").bundles():
        Outbox(other.layout, "S01").put_back(bundle)
    service.script = [answers(503, b"", **{"Retry-After": f"{in_an_hour:%a, %d %b %Y %H:%M:%S GMT}"})] * 2
    with pytest.raises(DeliveryError, match="answers 503"):
        send(other.out_dir, access, quiet, give_up_after_s=60)
    assert states(other) == {BundleState.PENDING: 3}


def test_nobody_listens(study: SmallStudy, access: Access, service: Service) -> None:
    service.shutdown()
    service.server_close()
    with pytest.raises(DeliveryError, match="cannot be reached"):
        send(study.out_dir, access, quiet, give_up_after_s=0)
    assert states(study) == {BundleState.PENDING: 3}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"destination": "http://central.example.org"}, "is not encrypted"),
        ({"destination": "ftp://central.example.org"}, "expected a folder"),
        ({"token_file": ""}, "needs a token"),
        ({"destination": "https://127.0.0.1", "ca_file": "/dev/null"}, "is no certificate"),
    ],
)
def test_destination_that_cannot_be_used_is_refused(
    study: SmallStudy, access: Access, changes: dict[str, str], error: str
) -> None:
    with pytest.raises(UsageError, match=error):
        send(study.out_dir, Access(**(vars(access) | changes)), quiet)


def test_certificate_must_be_of_the_authority_that_is_given(
    study: SmallStudy, access: Access, service: Service, tmp_path: Path
) -> None:
    for name in ("server", "other"):
        write_certificate(tmp_path / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    service.socket = context.wrap_socket(service.socket, server_side=True)
    url = service.url.replace("http://", "https://")
    other = Access(destination=url, token_file=access.token_file, ca_file=str(tmp_path / "other.crt"))
    with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
        send(study.out_dir, other, quiet, give_up_after_s=0)
    right = Access(destination=url, token_file=access.token_file, ca_file=str(tmp_path / "server.crt"))
    assert len(send(study.out_dir, right, quiet).accepted) == BUNDLES


def write_certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(tz=dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
