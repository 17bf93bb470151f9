"""A data centre with its service in a process of its own, which can be killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from mesems_mri.central.sites import Role, add_token
from mesems_mri.central.store import Store
from tests.system.postgres import free_port
from tests.unit.central.bundles import Bundle
from tests.unit.central.conftest import Trial, set_up, write_schedule


class Service:
    """The service of a data centre; `url` is its address."""

    def __init__(self, database: str, folder: Path, homes: dict[str, str], *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database, self.folder, self.options = database, folder, options
        store = Store(database)
        self.trial = Trial(store, set_up(store, write_schedule(folder / "visits.tsv", homes)), folder)
        with store.writing() as connection:
            self.tokens = {
                site: add_token(connection, Role.SENDER, f"site {site}", "admin", days=1, site_id=site)
                for site in ("S01", "S02")
            }
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, verify: object = True) -> "Service":
        words = [
            sys.executable,
            "-m",
            "mesems_mri",
            "central",
            "serve",
            "--port",
            str(self.port),
            *self.options,
        ]
        environment = os.environ | {"MESEMS_CENTRAL_DATABASE": self.database}
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        for _ in range(300):
            try:
                httpx.get(f"{self.url}/api/v1/health", verify=verify, timeout=5).raise_for_status()
            except httpx.HTTPError:
                assert self.process.poll() is None, (self.folder / "service.log").read_text()
                time.sleep(0.1)
            else:
                return self
        pytest.fail("the service does not answer")

    def kill(self) -> None:
        """Kill it at once: it has no chance to finish anything."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def peak_mib(self) -> float:
        """The most memory that the process ever had."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    def post(self, archive: Path, digest: str, site: str = "S01", timeout: float = 60) -> httpx.Response:
        with archive.open("rb") as stream:
            return httpx.post(
                f"{self.url}/api/v1/transfers",
                content=stream.read(),
                headers={"Authorization": f"Bearer {self.tokens[site]}", "Idempotency-Key": digest},
                timeout=timeout,
            )

    def send(self, bundle: Bundle) -> httpx.Response:
        return self.post(*self.trial.archive(bundle), bundle.site_id)

    def close(self) -> None:
        self.kill()
        self.trial.store.close()
