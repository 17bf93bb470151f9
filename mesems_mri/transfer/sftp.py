"""Destination that is an inbox on an SFTP server."""

import contextlib
import errno
from collections.abc import Generator
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import paramiko

from mesems_mri.config import Access
from mesems_mri.errors import DeliveryError, UsageError
from mesems_mri.transfer.archive import write_archive
from mesems_mri.transfer.destination import RECEIPTS, part_name, read_receipt
from mesems_mri.transfer.manifest import TransferReceipt, archive_name, receipt_name
from mesems_mri.transfer.outbox import Bundle

_TIMEOUT_S = 30


class _UnknownHostError(Exception):
    """The host key is not in the file of known hosts."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise _UnknownHostError(hostname)


class SftpInbox:
    """An inbox on an SFTP server; the host key must be known, and the login is by key.

    Parameters
    ----------
    sftp : paramiko.SFTPClient
    folder : str
        The inbox on the server.
    name : str
        For messages.
    """

    def __init__(self, sftp: paramiko.SFTPClient, folder: str, name: str) -> None:
        self._sftp = sftp
        self._folder = folder
        self._name = name

    @classmethod
    @contextlib.contextmanager
    def connected(cls, access: Access) -> Generator[Self]:
        """Log in.

        Raises
        ------
        UsageError
            If the host is unknown or another one, or refuses the key.
        DeliveryError
            If it cannot be reached.
        """
        url = urlsplit(access.destination)
        if not url.hostname or url.password:
            msg = f"{access.destination}: expected sftp://user@host/folder without a password; correct it"
            raise UsageError(msg)
        client = paramiko.SSHClient()
        known = Path(access.known_hosts_file or "~/.ssh/known_hosts").expanduser()
        try:
            client.load_host_keys(str(known))
        except OSError as error:
            msg = f"{known}: the known hosts cannot be read ({error.strerror}); give --known-hosts"
            raise UsageError(msg) from error
        client.set_missing_host_key_policy(_Refuse())
        with client:
            try:
                _connect(client, access, known)
                # server and client are never idle within a file for longer
                sftp = client.open_sftp()
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(_TIMEOUT_S)
            except (paramiko.SSHException, OSError, EOFError) as error:
                msg = f"{url.hostname}: cannot be reached over SFTP ({_describe(error)}); it is retried"
                raise DeliveryError(msg) from error
            yield cls(sftp, unquote(url.path).rstrip("/") or ".", access.destination)

    def deliver(self, bundle: Bundle) -> TransferReceipt | None:
        """Write the archive under a temporary name and rename it (atomic write)."""
        if found := self.receipt(bundle):
            return found
        name = archive_name(bundle.manifest, bundle.sha256)
        try:
            there = self._sftp.listdir(self._folder)
            for left in there:  # of a sender that was killed
                if left.startswith(f".{name}.") and left.endswith(".part"):
                    self._sftp.remove(f"{self._folder}/{left}")
            if name not in there:
                self._write(bundle, name)
        except (paramiko.SSHException, OSError, EOFError) as error:
            msg = f"{self._name}: the archive cannot be written ({_describe(error)}); it is retried"
            raise DeliveryError(msg) from error
        return None

    def receipt(self, bundle: Bundle) -> TransferReceipt | None:
        """Read the receipt that the receiving side has left, if it has."""
        path = f"{self._folder}/{RECEIPTS}/{receipt_name(bundle.sha256)}"
        try:
            with self._sftp.open(path, "rb") as stream:
                return read_receipt(stream, path, bundle)  # pyright: ignore[reportArgumentType]
        except FileNotFoundError:
            return None
        except (paramiko.SSHException, OSError, EOFError) as error:
            msg = f"{self._name}: receipts cannot be read ({_describe(error)}); it is retried"
            raise DeliveryError(msg) from error

    def _write(self, bundle: Bundle, name: str) -> None:
        temporary, target = f"{self._folder}/{part_name(name)}", f"{self._folder}/{name}"
        with self._sftp.open(temporary, "wbx") as stream:
            stream.set_pipelined(True)
            write_archive(bundle.folder, stream)  # pyright: ignore[reportArgumentType]
            size = stream.tell()
        if self._sftp.stat(temporary).st_size != size:  # what was pipelined is not confirmed one by one
            raise OSError(errno.EIO, "the file did not arrive completely")
        try:
            self._sftp.posix_rename(temporary, target)
        except OSError as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            self._sftp.rename(temporary, target)  # a server without the extension of OpenSSH


def _connect(client: paramiko.SSHClient, access: Access, known: Path) -> None:
    url = urlsplit(access.destination)
    host = url.hostname or ""
    key = str(Path(access.ssh_key_file).expanduser()) if access.ssh_key_file else None
    try:
        client.connect(
            host,
            port=url.port or 22,
            username=url.username,
            key_filename=key,
            allow_agent=key is None,
            look_for_keys=key is None,
            timeout=_TIMEOUT_S,
            banner_timeout=_TIMEOUT_S,
            auth_timeout=_TIMEOUT_S,
        )
    except _UnknownHostError as error:
        msg = f"{host}: its host key is not in {known}; ask its operator for the key and add it"
        raise UsageError(msg) from error
    except paramiko.BadHostKeyException as error:
        msg = f"{host}: has another host key than {known} says; ask its operator before you send anything"
        raise UsageError(msg) from error
    except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as error:
        msg = f"{host}: refuses the login of {url.username or 'this user'}; give its key with --ssh-key"
        raise UsageError(msg) from error
    except FileNotFoundError as error:
        msg = f"{key}: no such SSH key; give the private key with --ssh-key"
        raise UsageError(msg) from error


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
