"""Pseudonymisation key of a trial, stored apart from all that is passed on."""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mesems_mri.errors import UsageError

_SECRET = "secret.hex"
_BYTES = 32
_OTHERS = 0o077
_MIN_SHIFT_DAYS = 55_152
"""151 years: a scan of any year up to 2076 gets a date of 1925 or earlier, where BIDS wants shifted dates."""
_SHIFT_RANGE_DAYS = 3653
"""The shifts of two participants differ by up to ten years."""


@dataclass(frozen=True)
class Keys:
    """The pseudonymisation key of a trial and the values derived from it.

    Parameters
    ----------
    folder : Path
        Where it is stored.
    secret : bytes
        Whoever has it can tell which scan became which; it is never printed.
    """

    folder: Path
    secret: bytes = field(repr=False)

    def offset_days(self, participant_id: str) -> int:
        """Return the date shift of a participant in days.

        Parameters
        ----------
        participant_id : str
            With or without ``sub-``.

        Returns
        -------
        int
            Whole days, negative, the same for all visits, another for each participant. It follows from the
            secret and is stored nowhere, so that two programs at once cannot come to different ones.
        """
        label = participant_id.removeprefix("sub-")
        number = int.from_bytes(hmac.digest(self.secret, f"offset\0{label}".encode(), hashlib.sha256)[:8])
        return -(_MIN_SHIFT_DAYS + number % _SHIFT_RANGE_DAYS)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the key, which may be published: equal for equal keys."""
        return hmac.digest(self.secret, b"fingerprint", hashlib.sha256)[:8].hex()


def default_folder(bids_dir: Path) -> Path:
    """Return the default folder of the key of a BIDS folder: beside it."""
    bids_dir = bids_dir.resolve()
    return bids_dir.with_name(f"{bids_dir.name}.key")


def open_keys(folder: Path, bids_dir: Path | None = None, *, create: bool = True) -> Keys:
    """Read the pseudonymisation key of a trial, and create it where there is none.

    Parameters
    ----------
    folder : Path
        Folder of the key: for its owner alone (mode 0700, the file in it 0600), outside of the BIDS folder.
    bids_dir : Path, optional
        The BIDS folder.
    create : bool
        Whether to make a key if there is none. False once there are visits made with a key: with another one
        their dates and UIDs would no longer fit together.

    Returns
    -------
    Keys

    Raises
    ------
    UsageError
        If the folder or the key can be read by others, lies inside a BIDS folder, is missing or damaged.
    """
    folder = folder.absolute()
    _refuse_inside_bids(folder, bids_dir)
    path = folder / _SECRET
    try:
        if create:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.exists():
            _refuse_open_to_others(folder, folder.stat(), stat.S_ISDIR, "a folder", "700")
        if create and not path.exists():
            _create(path)
        text = _read(path)
    except FileNotFoundError as error:
        msg = (
            f"{path}: the key of this trial is missing; give the folder of the key with --key or restore it, "
            "the visits that are there were made with it"
        )
        raise UsageError(msg) from error
    except OSError as error:
        msg = f"{path}: the key cannot be opened ({error.strerror}); give a folder of your own with --key"
        raise UsageError(msg) from error
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _BYTES:
        msg = (
            f"{path}: the key has {len(text)} characters, expected {2 * _BYTES} hexadecimal ones; restore it"
        )
        raise UsageError(msg)
    return Keys(folder, secret)


def _refuse_inside_bids(folder: Path, bids_dir: Path | None) -> None:
    place = folder.resolve()
    data_sets = [p for p in (place, *place.parents) if (p / "dataset_description.json").exists()]
    if bids_dir is not None and place.is_relative_to(bids_dir.resolve()):
        data_sets.append(bids_dir)
    if data_sets:
        msg = f"{folder}: the key lies inside the BIDS folder {data_sets[0]}; keep it outside, see --key"
        raise UsageError(msg)


def _refuse_open_to_others(
    path: Path, status: os.stat_result, kind: Callable[[int], bool], name: str, mode: str
) -> None:
    if not kind(status.st_mode):
        msg = f"{path}: expected {name}; give the folder of the key"
        raise UsageError(msg)
    if status.st_mode & _OTHERS:
        found = stat.S_IMODE(status.st_mode)
        msg = f"{path}: others can open it (mode {found:04o}, expected 0{mode}); chmod {mode} it"
        raise UsageError(msg)


def _create(path: Path) -> None:
    """Write the key atomically: under another name, then linked, so that only the first one counts."""
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:  # another program was faster: its key is the one
            return
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as file:
        _refuse_open_to_others(path, os.fstat(file.fileno()), stat.S_ISREG, "a file", "600")
        return file.read(4 * _BYTES).strip()
