"""Start a real OpenSSH server on the loopback: SFTP only, chrooted, login by key."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

USER = "mesems-sftp"
_CONFIG = """\
# written by tests/system
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
PasswordAuthentication no
UsePAM no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
ChrootDirectory {folder}/root
AllowUsers {user}
LogLevel VERBOSE
"""


def program() -> str | None:
    """Return the path of sshd; None when it is not installed."""
    return shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class Server:
    """An SFTP server with an inbox; a context that ends it.

    The chroot must lie where nobody but root can write, so not below the folder for temporary files.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mesems-sftp-", dir="/run"))
        self.folder.chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("host_key", "other_host_key", "user_key", "other_user_key"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        try:
            pwd.getpwnam(USER)
        except KeyError:
            self._run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER)
        self._run("usermod", "-p", "*", USER)  # else it is locked, and refused by key too
        self.inbox = self.folder / "root" / "inbox"
        self.inbox.mkdir(parents=True)
        shutil.chown(self.inbox, USER)
        config = _CONFIG.format(port=self.port, folder=self.folder, user=USER)
        (self.folder / "sshd_config").write_text(config)
        Path("/run/sshd").mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The inbox as a destination."""
        return f"sftp://{USER}@127.0.0.1:{self.port}/inbox"

    def key(self, name: str = "user_key") -> str:
        """Return the path of a private key."""
        return str(self.folder / name)

    def known_hosts(self, host_key: str = "host_key") -> str:
        """Write a file of known hosts in which the server has this key, none if it is empty."""
        path = self.folder / f"known_{host_key or 'nobody'}"
        line = (self.folder / f"{host_key}.pub").read_text() if host_key else ""
        path.write_text(f"[127.0.0.1]:{self.port} {line}" if line else "")
        return str(path)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(program()), "-D", "-e", "-f", self.folder / "sshd_config"], stderr=log, env=os.environ
            )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stop it; connections that are open go on."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @staticmethod
    def _run(*command: object) -> None:
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
