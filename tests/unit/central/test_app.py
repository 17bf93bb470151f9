"""The service: who may ask what, and what is answered."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from mesems_mri.central import schema
from mesems_mri.central.app import RequestLimits, create_app
from mesems_mri.central.receive import Source, receive
from mesems_mri.central.serve import serve
from mesems_mri.central.sites import Role, add_token, revoke
from mesems_mri.central.store import Store
from mesems_mri.errors import UsageError
from tests.unit.central.bundles import STUDY, Bundle, lesion, visit
from tests.unit.central.conftest import Trial

FIRST = Bundle([visit("sub-001", 0, [lesion(1)])])


class Client:
    """Requests to a service without a network."""

    def __init__(self, app: FastAPI) -> None:
        self.transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://central") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@pytest.fixture
def client(trial: Trial) -> Client:
    return Client(create_app(trial.store, RequestLimits(body_bytes=300_000)))


def token(
    trial: Trial, role: Role = Role.SENDER, site_id: str | None = "S01", days: int = 30
) -> dict[str, str]:
    with trial.store.writing() as connection:
        site_id = site_id if role is Role.SENDER else None
        value = add_token(connection, role, f"a {role}", "admin", days=30, site_id=site_id)
    return {"Authorization": f"Bearer {value}"}


def send(client: Client, archive: Path, digest: str, headers: dict[str, str]):
    with archive.open("rb") as stream:
        return client.post(
            "/api/v1/transfers", content=stream.read(), headers={"Idempotency-Key": digest} | headers
        )


def test_transfer_is_accepted_then_a_duplicate(trial: Trial, client: Client) -> None:
    archive, digest = trial.archive(FIRST)
    headers = token(trial)
    first, second = (send(client, archive, digest, headers) for _ in range(2))
    assert (first.status_code, first.json()["status"]) == (201, "accepted")
    assert (second.status_code, second.json()) == (200, first.json() | {"status": "duplicate"})
    rows = client.get("/api/v1/transfers", headers=headers).json()
    assert [(row["sequence"], row["manifest_sha256"]) for row in rows] == [(1, digest)]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (None, 201, ""),
        ("expire", 401, "expired on"),
        ("revoke", 401, "was revoked on"),
        ("none", 401, "has no token"),
        ("other", 401, "is not known"),
        ("basic", 401, "has no token"),
    ],
)
def test_token_must_hold(trial: Trial, client: Client, change: str | None, status: int, words: str) -> None:
    archive, digest = trial.archive(FIRST)
    headers = token(trial)
    with trial.store.writing() as connection:
        if change == "expire":
            past = (dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            connection.execute(update(schema.token).values(expires_at=past))
        elif change == "revoke":
            revoke(connection, connection.scalar(select(schema.token.c.token_id)) or "", "admin")
    headers = {
        "none": {},
        "other": {"Authorization": "Bearer mesems_guess"},
        "basic": {"Authorization": "Basic bWVzZW1z"},
    }.get(change or "", headers)
    answer = send(client, archive, digest, headers)
    assert answer.status_code == status
    assert words in str(answer.json())
    assert trial.counts()["transfer"] == (status == 201)


def test_token_is_stored_as_a_hash(trial: Trial) -> None:
    value = token(trial)["Authorization"].split()[1]
    trial.store.close()
    content = b"".join(path.read_bytes() for path in trial.folder.glob("central.db*"))
    assert value.encode() not in content
    assert value[7:].encode() not in content


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/transfers", {Role.SENDER, Role.DATA_MANAGER}),
        ("/api/v1/reconciliation", {Role.SENDER, Role.DATA_MANAGER}),
        ("/api/v1/audit", {Role.AUDITOR}),
    ],
)
def test_each_role_sees_its_own_part(trial: Trial, client: Client, path: str, allowed: set[Role]) -> None:
    assert client.get(path).status_code == 401
    for role in Role:
        answer = client.get(path, headers=token(trial, role))
        assert answer.status_code == (200 if role in allowed else 403)


def test_only_a_sender_may_send(trial: Trial, client: Client) -> None:
    archive, digest = trial.archive(FIRST)
    assert send(client, archive, digest, token(trial, Role.DATA_MANAGER)).status_code == 403
    other = send(client, archive, digest, token(trial, site_id="S02"))
    assert (other.status_code, other.json()["status"]) == (422, "rejected")
    assert "is of site S01, the token of S02" in other.json()["reasons"][0]
    assert send(client, archive, digest, token(trial)).status_code == 201


def test_sender_sees_its_own_site_only(trial: Trial, client: Client) -> None:
    mine = client.get("/api/v1/reconciliation", headers=token(trial)).json()
    everything = client.get("/api/v1/reconciliation", headers=token(trial, Role.DATA_MANAGER)).json()
    assert {line["site_id"] for line in mine} == {"S01"}
    assert {line["site_id"] for line in everything} == {"S01", "S02"}


def test_body_that_is_too_large_gets_a_receipt(trial: Trial, client: Client) -> None:
    archive, digest = trial.archive(FIRST)
    headers = token(trial)
    small = archive.read_bytes()
    archive.write_bytes(small + bytes(300_000))
    answer = send(client, archive, digest, headers)
    assert answer.status_code == 413
    assert (answer.json()["status"], answer.json()["manifest_sha256"]) == ("rejected", digest)
    archive.write_bytes(small)
    assert send(client, archive, digest, headers).status_code == 201


def test_key_must_be_that_of_the_manifest(trial: Trial, client: Client) -> None:
    archive, digest = trial.archive(FIRST)
    headers = token(trial)
    for key in ("", "0" * 64):
        assert send(client, archive, key, headers).status_code == 400
    assert trial.counts()["transfer"] == 0
    assert send(client, archive, digest, headers).status_code == 201


def test_what_is_no_archive_is_said_in_a_sentence(trial: Trial, client: Client) -> None:
    answer = client.post("/api/v1/transfers", content=b"hello", headers=token(trial))
    assert (answer.status_code, "does not begin with manifest.json" in answer.json()["detail"]) == (422, True)


def test_trial_without_a_visit_table_asks_the_sender_to_wait(tmp_path: Path) -> None:
    from tests.unit.central.conftest import set_up, write_schedule

    complete = Store(str(tmp_path / "central.db"))
    trial = Trial(complete, set_up(complete, write_schedule(tmp_path / "visits.tsv")), tmp_path)
    archive, digest = trial.archive(FIRST)
    headers = token(trial)
    with complete.engine.begin() as connection:
        for name in ("expected_visit", "schedule"):
            connection.exec_driver_sql(f"DROP TRIGGER {name}_no_delete")
            connection.exec_driver_sql(f"DELETE FROM {name}")
    answer = send(Client(create_app(complete)), archive, digest, headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "not loaded yet" in answer.json()["detail"]
    complete.close()


def test_database_that_is_away_is_no_verdict(
    trial: Trial, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesems_mri.central.receive.RETRY_SECONDS", 0)
    archive, digest = trial.archive(FIRST)
    headers = token(trial)
    trial.store.close()
    database, away = trial.folder / "central.db", trial.folder / "away"
    database.rename(away)
    database.mkdir()
    for answer in (send(client, archive, digest, headers), client.get("/api/v1/health")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert "does not answer" in answer.json()["detail"]
    database.rmdir()
    away.rename(database)
    assert send(client, archive, digest, headers).status_code == 201


def test_health_names_the_study_and_pages_load_nothing_from_elsewhere(client: Client) -> None:
    assert client.get("/api/v1/health").json() == {"status": "ok", "study_id": STUDY}
    assert client.get("/docs").status_code == 404


def test_nothing_is_served_in_the_clear_over_a_network(trial: Trial, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without TLS tokens could be read"):
        serve(trial.store, host="0.0.0.0", port=1)
    with pytest.raises(UsageError, match="--tls-key: is missing"):
        serve(trial.store, host="0.0.0.0", port=1, certificate=tmp_path / "c.pem")
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="cannot be used for TLS"):
        serve(trial.store, host="0.0.0.0", port=1, certificate=tmp_path / "c.pem", key=tmp_path / "c.pem")


def test_answer_of_the_service_is_that_of_an_inbox(trial: Trial, client: Client) -> None:
    archive, digest = trial.archive(FIRST)
    answer = send(client, archive, digest, token(trial)).json()
    assert receive(trial.store, archive, Source(by="inbox")).receipt.to_json() == answer | {
        "status": "duplicate"
    }
