"""The data centre under kills, restarts, crowds and bad senders, with SQLite and with PostgreSQL."""

import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import exc, select, text

from mesems_mri.central import schema
from mesems_mri.central.sites import add_key
from mesems_mri.central.versions import current
from mesems_mri.config import Access
from mesems_mri.dataset import audit
from mesems_mri.transfer.keys import public_pem
from mesems_mri.transfer.outbox import BundleState, Outbox
from mesems_mri.transfer.send import send
from tests.small_study import SmallStudy
from tests.system.postgres import Postgres
from tests.system.service import Service
from tests.unit.central.bundles import WEEKS, Bundle, lesion, visit
from tests.unit.central.conftest import HOMES, Trial, set_up, write_schedule

KILLS = 10  # for each database
PEOPLE = {f"sub-{number:04}": "S01" for number in range(1, 251)}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'central.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.database(f"t{abs(hash(request.node.nodeid)) % 10**9}")


@pytest.fixture
def service(database: str, tmp_path: Path) -> Iterator[Service]:
    service = Service(database, tmp_path / "service", HOMES | PEOPLE)
    yield service.start()
    service.close()


def chain(trial: Trial, numbers: list[int]) -> list[tuple[Path, str, Bundle]]:
    """Cumulative bundles of the first so many participants of `PEOPLE`, four visits each."""
    bundles, previous = [], None
    for sequence, number in enumerate(numbers, start=1):
        visits = [visit(p, w, [lesion(1), lesion(2, "t2")]) for p in list(PEOPLE)[:number] for w in WEEKS]
        bundle = Bundle(visits, sequence=sequence, previous=previous)
        archive, previous = trial.archive(bundle)
        bundles.append((archive, previous, bundle))
    return bundles


def check_whole(trial: Trial, bundles: list[tuple[Path, str, Bundle]]) -> int:
    """Check that the first so many bundles are stored, each as a whole, and nothing else; return how many."""
    transfers = trial.rows(select(schema.transfer).order_by(schema.transfer.c.sequence))
    assert [row["manifest_sha256"] for row in transfers] == [d for _, d, _ in bundles[: len(transfers)]]
    rows = trial.rows(select(schema.record))
    assert {row["version"] for row in rows} <= {1}  # nothing was ever changed, so nothing is there twice
    stored = Counter(row["kind"] for row in rows)
    visits = len(bundles[len(transfers) - 1][2].visits) if transfers else 0
    assert (stored["visit_metrics"], stored["lesions"]) == (visits, 2 * visits)
    files = Counter(row["transfer_id"] for row in trial.rows(select(schema.transfer_file)))
    assert set(files.values()) <= {17}
    assert len(files) == len(transfers)
    with trial.store.reading() as connection:
        assert audit.verify(connection) == []
    return len(transfers)


def test_killed_service_stores_all_or_nothing(service: Service) -> None:
    random_ = random.Random(20)
    bundles = chain(service.trial, [5 * n for n in range(1, KILLS + 1)])
    longest, outcomes = 0.3, Counter[str]()
    for number, (archive, digest, _) in enumerate(bundles):
        answer: list[httpx.Response] = []

        def post(archive: Path = archive, digest: str = digest, answer: list = answer) -> None:
            with contextlib.suppress(httpx.HTTPError):  # killed before it could answer
                answer.append(service.post(archive, digest))

        sender = threading.Thread(target=post)
        sender.start()
        time.sleep(random_.uniform(0, longest))
        service.kill()
        sender.join()
        before = check_whole(service.trial, bundles)
        assert before in (number, number + 1)
        assert not answer or before == number + 1  # what was answered is stored
        service.start()
        began = time.monotonic()
        again = service.post(archive, digest).json()["status"]
        if again == "accepted":
            longest = time.monotonic() - began
        assert again == ("accepted" if before == number else "duplicate")
        outcomes[again] += 1
        assert check_whole(service.trial, bundles) == number + 1
    assert outcomes["accepted"] > 0
    print(f"killed before the commit: {outcomes['accepted']}, after it: {outcomes['duplicate']}")


def test_same_bundle_fifty_times_at_once(service: Service) -> None:
    ((archive, digest, _),) = bundles = chain(service.trial, [20])
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: service.post(archive, digest), range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 49}
    receipts = [answer.json() | {"status": ""} for answer in answers]
    assert all(receipt == receipts[0] for receipt in receipts)
    assert check_whole(service.trial, bundles) == 1


def test_two_senders_at_once_do_not_fork_the_chain(service: Service) -> None:
    for number in range(5):
        last = service.trial.rows(select(schema.transfer).order_by(schema.transfer.c.sequence.desc()))
        previous = last[0]["manifest_sha256"] if last else None
        before = [visit(f"sub-{n + 1:04}", 0) for n in range(number)]
        rivals = [
            service.trial.archive(
                Bundle(
                    [*before, visit(f"sub-{number + 1:04}", 0, software_version=version)],
                    sequence=number + 1,
                    previous=previous,
                )
            )
            for version in ("0.1.0", "0.2.0")
        ]
        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(lambda rival: service.post(*rival).status_code, rivals))
        assert sorted(codes) == [201, 409]
    assert len(service.trial.rows(current("S01", "visit_metrics"))) == 5


def test_bundles_out_of_order_and_after_a_gap(service: Service) -> None:
    bundles = chain(service.trial, [1, 2, 3])
    assert service.post(*bundles[2][:2]).status_code == 409
    assert check_whole(service.trial, bundles) == 0
    assert service.post(*bundles[0][:2]).status_code == 201
    assert service.post(*bundles[1][:2]).status_code == 201
    # what was refused leaves the chain, the next bundle takes its number
    assert service.post(*bundles[2][:2]).json()["status"] == "rejected"
    again = Bundle([*bundles[2][2].visits, visit("sub-0004", 0)], sequence=3, previous=bundles[1][1])
    assert service.send(again).status_code == 201


def test_database_refuses_to_change_what_was_received(service: Service) -> None:
    assert service.send(Bundle([visit("sub-001", 0)])).status_code == 201
    statements = ["UPDATE record SET content = '{}'", "DELETE FROM audit", "UPDATE transfer SET sequence = 9"]
    if service.trial.store.engine.dialect.name == "postgresql":
        statements += ["TRUNCATE record", "TRUNCATE audit"]
    for statement in statements:
        with (
            pytest.raises(exc.DBAPIError, match="is append-only"),
            service.trial.store.writing() as connection,
        ):
            connection.execute(text(statement))


def thousand_visits(folder: Path, database: str) -> tuple[Trial, Path]:
    """A data centre and an inbox with one bundle of 1,000 visits and 20,000 lesion rows."""
    from mesems_mri.central.store import Store

    store = Store(database)
    trial = Trial(store, set_up(store, write_schedule(folder / "v.tsv", PEOPLE)), folder)
    lesions = [lesion(n, "t2") for n in range(1, 20)] + [lesion(20)]
    bundle = Bundle([visit(p, w, lesions) for p in PEOPLE for w in WEEKS])
    archive, digest = trial.archive(bundle)
    inbox = folder / "inbox"
    inbox.mkdir()
    archive.rename(inbox / f"S01_000001_{digest}.tar")
    return trial, inbox


def ingest(database: str, inbox: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mesems_mri", "central", "ingest", str(inbox)],
        env=os.environ | {"MESEMS_CENTRAL_DATABASE": database},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_thousand_visits_in_ten_seconds(database: str, tmp_path: Path) -> None:
    """Seconds of a core, which a busy machine does not stretch as it does those of the clock."""
    trial, inbox = thousand_visits(tmp_path, database)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = ingest(database, inbox)
    told, _ = process.communicate(timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert process.returncode == 0, told
    stored = Counter(row["kind"] for row in trial.rows(select(schema.record.c.kind)))
    assert (stored["visit_metrics"], stored["lesions"]) == (1000, 20_000)
    print(f"1,000 visits, 20,000 lesion rows, {trial.store.engine.dialect.name}: {seconds:.1f} s")
    trial.store.close()
    assert seconds < 10


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarts_in_the_middle_of_an_ingest(postgres: Postgres, tmp_path: Path, mode: str) -> None:
    from mesems_mri.central.store import Store

    database = postgres.database(f"restart_{mode}")
    store = Store(database)
    trial = Trial(store, set_up(store, write_schedule(tmp_path / "v.tsv", PEOPLE)), tmp_path)
    bundles = chain(trial, [12 * n for n in range(1, 21)])
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, (archive, digest, _) in enumerate(bundles, start=1):
        shutil.copy(archive, inbox / f"S01_{number:06}_{digest}.tar")
    store.close()
    process, restarts, random_ = ingest(database, inbox), 0, random.Random(15)
    while process.poll() is None and not (inbox / "receipts").exists():
        time.sleep(0.01)
    while process.poll() is None and restarts < 6:
        time.sleep(random_.uniform(0, 0.6))
        postgres.stop(mode)
        time.sleep(0.2)
        postgres.start()
        restarts += 1
    told, _ = process.communicate(timeout=300)
    if process.returncode == 4:  # it waits for a while only; the next one goes on
        process = ingest(database, inbox)
        told += process.communicate(timeout=300)[0]
    assert process.returncode == 0, told
    assert restarts >= 3
    assert check_whole(trial, bundles) == 20
    receipts = [json.loads(path.read_text()) for path in (inbox / "receipts").iterdir()]
    assert {receipt["status"] for receipt in receipts} <= {"accepted", "duplicate"}
    assert len(receipts) == 20
    print(f"{restarts} restarts ({mode}); received once: 20 bundles")
    store.close()


def test_real_sender_reaches_a_service_that_is_killed(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path / "study")
    for number in range(1, 9):
        for session in ("ses-w00", "ses-w04"):
            study.add(f"sub-{number:04}", session)
        study.finish()
        study.build()
    service = Service(str(tmp_path / "central.db"), tmp_path / "service", HOMES | PEOPLE)
    with service.trial.store.writing() as connection:
        add_key(connection, "S01", public_pem(study.public_key), "admin")
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(service.tokens["S01"])
    access = Access(destination=service.url, token_file=str(token))
    sender = threading.Thread(target=send, args=(study.out_dir, access, lambda _: None))
    random_ = random.Random(8)
    sender.start()
    kills = 0
    while sender.is_alive() and kills < 4:
        service.start()
        time.sleep(random_.uniform(0, 0.3))
        service.kill()
        kills += 1
    service.start()
    sender.join(120)
    bundles = Outbox(study.layout, "S01").bundles()
    assert [bundle.state for bundle in bundles] == [BundleState.ACCEPTED] * 8
    rows = service.trial.rows(select(schema.record).where(schema.record.c.kind == "visit_metrics"))
    assert sorted(row["record_key"] for row in rows) == sorted(
        f"sub-{number:04}/{session}" for number in range(1, 9) for session in ("ses-w00", "ses-w04")
    )
    print(f"{kills} kills; 8 bundles, 16 visits, each once")
    service.close()
