"""A PostgreSQL of our own for the tests of this folder, on the loopback interface."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

_DEBIAN = "/usr/lib/postgresql/15/bin"


def installed() -> bool:
    """Tell whether its programs are there; Debian keeps them out of the usual path."""
    return shutil.which("initdb", path=f"{os.environ['PATH']}:{_DEBIAN}") is not None


def free_port() -> int:
    """Return a port that nothing listens on."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A server in a folder of its own; it refuses to run as root, so everything is done as `postgres`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mesems-postgres-"))
        shutil.chown(self.folder, "postgres")
        self.port = free_port()
        self._run(f"initdb -D {self.folder}/data -A trust -U central")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = self.folder / "log"
        self._run(f"pg_ctl -D {self.folder}/data -o '{options}' -l {log} -w -t 60 start")

    def stop(self, mode: str = "fast") -> None:
        self._run(f"pg_ctl -D {self.folder}/data -m {mode} -w -t 60 stop")

    def database(self, name: str) -> str:
        """Make an empty database; return its address."""
        self._run(f"createdb -h 127.0.0.1 -p {self.port} -U central {name}")
        return f"postgresql://central@127.0.0.1:{self.port}/{name}"

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def _run(self, command: str) -> None:
        subprocess.run(
            ["su", "postgres", "-s", "/bin/sh", "-c", f"PATH=$PATH:{_DEBIAN} {command}"],
            check=True,
            capture_output=True,
            cwd="/",
            timeout=120,
        )
