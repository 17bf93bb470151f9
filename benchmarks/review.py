"""Load on a reading centre: 1,000 visits and 20 readers at once.

``python -m benchmarks.review`` makes an output folder of 1,000 small visits, assigns them to 20 readers,
starts the service in a process of its own, lets every reader sign in, list the tasks, read and sign some
visits over HTTP, and prints how long the answers took. Readers begin within the first ten seconds; between
two acts they think for a while (``--think``).
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from mesems_mri.files import read_json, write_json
from mesems_mri.review.accounts import Passwords, ReaderRole, add_account
from mesems_mri.review.centre import assign
from mesems_mri.review.desk import Desk
from mesems_mri.review.events import MEANINGS
from mesems_mri.review.serve import serve_centre
from mesems_mri.review.store import ReadingSettings, ReadingStore
from tests.unit.review.reading_study import SECOND, ReadingStudy

PASSWORD = "only for the benchmark"
SESSIONS = tuple(f"ses-w{week:02}" for week in (0, 4, 12, 24, 28, 36, 48))
_BEGIN_SECONDS = 10
HEAD = "| request | number | p50 ms | p95 ms | max ms |"


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def make_study(folder: Path, participants: int) -> Path:
    """Make a study of many participants: the others are copies of the first one under their names."""
    lesions = dict.fromkeys(SESSIONS[1:], SECOND)
    study = ReadingStudy(folder, participants=1, sessions=SESSIONS)
    study.lesions = {SESSIONS[0]: study.lesions[SESSIONS[0]], **lesions}
    study.write()
    first = study.out_dir / "sub-001"
    for number in range(2, participants + 1):
        name = f"sub-{number:03}"
        for path in first.rglob("*"):
            target = study.out_dir / name / str(path.relative_to(first)).replace("sub-001", name)
            if path.is_dir():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".gz":
                os.link(path, target)
            elif path.name.endswith("_metrics.json"):
                write_json(target, _renamed(read_json(path), name))
            else:
                shutil.copyfile(path, target)
    return study.out_dir


def _renamed(content: object, name: str) -> dict:
    def change(value: object) -> object:
        if isinstance(value, dict):
            return {key: change(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [change(entry) for entry in value]
        return value.replace("sub-001", name) if isinstance(value, str) else value

    changed = change(content)
    assert isinstance(changed, dict)
    return changed


@contextlib.contextmanager
def service(database: str) -> Iterator[str]:
    """Serve in a process of its own; yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            serve_centre(ReadingStore(database), host="127.0.0.1", port=port)
        os._exit(0)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{address}/api/session")
                break
            time.sleep(0.05)
        yield address
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


class Reader:
    """A reader who signs in, lists his tasks and reads some of them."""

    def __init__(self, address: str, name: str, visits: int, think: float) -> None:
        self.client = httpx.Client(base_url=address, timeout=60)
        self.name, self.visits, self.think = name, visits, think
        self.seconds: dict[str, list[float]] = {}
        self.failed = 0

    def ask(self, what: str, method: str, path: str, body: dict | None = None) -> dict:
        """Send a request, note its time, and think."""
        began = time.perf_counter()
        answer = self.client.request(method, path, json=body, headers={"X-CSRF-Token": self.csrf})
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)
        self.failed += answer.status_code != 200
        time.sleep(self.think * random.uniform(0.5, 1.5))
        return answer.json()

    def read(self) -> None:
        """Sign in and read."""
        time.sleep(random.uniform(0, _BEGIN_SECONDS))
        self.csrf = ""
        self.csrf = self.ask("sign in", "POST", "/api/login", {"name": self.name, "password": PASSWORD})[
            "csrf"
        ]
        tasks = self.ask("list of tasks", "GET", "/api/tasks")["tasks"]
        for task in tasks[: self.visits]:
            path = f"/api/tasks/{task['task_id']}"
            page = self.ask("open a visit", "GET", path)
            revision = page["revision"]
            for finding in page["findings"]:
                body = {"revision": revision, "act": "decide", "finding_id": finding["finding_id"]}
                answer = self.ask("decision", "POST", f"{path}/events", body | {"decision": "accepted"})
                revision = answer["revision"]
            body = {"revision": revision, "act": "sign", "meaning": MEANINGS["assisted"]}
            self.ask("signature", "POST", f"{path}/events", body | {"password": PASSWORD})
            self.ask("list of tasks", "GET", "/api/tasks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, default=143)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--visits", type=int, default=3, help="visits that each reader reads")
    parser.add_argument("--think", type=float, default=2.0, help="seconds between two acts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out_dir = make_study(Path(folder), arguments.participants)
        database = f"{folder}/reading.db"
        store = ReadingStore(database)
        store.create(ReadingSettings(study_id="benchmark", out_dir=out_dir), "benchmark")
        names = [f"reader{n:02}" for n in range(1, arguments.readers + 1)]
        hashed = Passwords(store).hash(PASSWORD)
        with store.writing() as connection:
            for name in names:
                add_account(connection, name, ReaderRole.READER, hashed, "benchmark")
        made = assign(Desk(store), None, "benchmark")
        store.close()
        visits = len({(a.participant_id, a.session_id) for a in made})
        with service(database) as address:
            readers = [Reader(address, name, arguments.visits, arguments.think) for name in names]
            threads = [threading.Thread(target=reader.read) for reader in readers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    sys.stdout.write(
        f"{visits} visits, {len(names)} readers at once, {arguments.think} s between two acts\n\n"
    )
    sys.stdout.write(HEAD + "\n|---|---|---|---|---|\n")
    for what in ("list of tasks", "open a visit", "decision", "signature"):
        taken = [1000 * s for reader in readers for s in reader.seconds.get(what, [])]
        row = [f"{quantile(taken, part):.0f}" for part in (0.5, 0.95)] + [f"{max(taken):.0f}"]
        sys.stdout.write(f"| {what} | {len(taken)} | {' | '.join(row)} |\n")
    sys.stdout.write(f"\nrefused: {sum(reader.failed for reader in readers)}\n")


if __name__ == "__main__":
    main()
