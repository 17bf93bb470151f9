"""The service is killed while readers decide: nothing decided is lost, nothing stands twice."""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mesems_mri.review.serve import open_single, serve_single
from mesems_mri.review.state import fold
from mesems_mri.review.store import read_events, tasks, verify
from tests.nightly import amount
from tests.unit.review.reading_study import ReadingStudy

KILLS = amount(20, 100)


class Process:
    """The service as a process."""

    def __init__(self, out_dir: Path) -> None:
        self.out_dir = out_dir
        self.port = free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.pid = 0

    def start(self) -> None:
        # A fork has everything imported already, so that it answers at once.
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                serve_single(self.out_dir, self.port, lambda _: None)
            os._exit(0)
        deadline = time.monotonic() + 60
        self.csrf = ""
        while not self.csrf:
            assert time.monotonic() < deadline
            try:
                self.csrf = self.client.get("/api/session").json()["csrf"]
            except httpx.TransportError:
                time.sleep(0.02)

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        if self.pid:
            os.waitpid(self.pid, 0)
        self.pid = 0

    def post(self, path: str, body: dict) -> httpx.Response:
        return self.client.post(path, json=body, headers={"X-CSRF-Token": self.csrf})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Process]:
    service = Process(ReadingStudy(tmp_path, participants=1).out_dir)
    yield service
    service.kill()
    service.client.close()


def test_nothing_decided_is_lost(service: Process) -> None:
    drawn = random.Random(20)
    service.start()
    task = service.client.get("/api/tasks").json()["tasks"][1]["task_id"]
    path = f"/api/tasks/{task}"
    confirmed: list[tuple[int, str, str]] = []
    pending = (0, "", "")
    for _ in range(KILLS):
        page = service.client.get(path).json()
        revision = page["revision"]
        assert revision in (1 + len(confirmed), 2 + len(confirmed))
        if revision == 2 + len(confirmed):  # it was stored, and the answer did not come any more
            confirmed.append(pending)
        killer = threading.Timer(drawn.uniform(0.0, 0.3), os.kill, (service.pid, signal.SIGKILL))
        killer.start()
        try:
            while True:
                finding = drawn.choice(page["findings"])["finding_id"]
                decision = drawn.choice(["accepted", "rejected", "unsure"])
                body = {"revision": revision, "act": "decide", "finding_id": finding, "decision": decision}
                pending = (revision + 1, finding, decision)
                answer = service.post(f"{path}/events", body)
                assert answer.status_code == 200
                revision = answer.json()["revision"]
                confirmed.append(pending)
        except httpx.TransportError:
            pass
        killer.join()
        service.wait()
        service.start()
    last = service.client.get(path).json()
    if last["revision"] == 2 + len(confirmed):
        confirmed.append(pending)
    service.kill()
    desk = open_single(service.out_dir)
    with desk.store.reading() as connection:
        assert verify(connection) == []
        events = read_events(connection, task)
        (stored,) = tasks(connection, task_id=task)
    decided = [(e.revision, *((k, v["decision"]) for k, v in e.after.findings.items())) for e in events[1:]]
    assert [(n, *pair) for n, pair in decided] == confirmed
    assert len(confirmed) > KILLS
    state = fold(events)
    assert stored.revision == state.revision == len(events)
    assert {k: f["decision"] for k, f in by_id(last).items()} == {
        key: finding.decision for key, finding in state.findings.items()
    }
    desk.store.close()


def by_id(page: dict) -> dict[str, dict]:
    return {finding["finding_id"]: finding for finding in page["findings"]}
