"""Accounts of a reading centre: passwords, roles, sessions, and a limit of tries."""

import datetime as dt
import hashlib
import re
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, insert, select, update

from mesems_mri.dataset import audit
from mesems_mri.dataset.database import now
from mesems_mri.errors import MesemsError, UsageError
from mesems_mri.review.schema import account, session
from mesems_mri.review.store import ReadingStore

NAME = re.compile(r"[a-z][a-z0-9_.-]{1,31}")
SINGLE = "single"
"""Name of the one who reads without accounts."""
IDLE_MINUTES = 20
SESSION_HOURS = 12
_MIN_PASSWORD, _MAX_PASSWORD = 10, 200
_TRIES = 5
_BLOCKED_MINUTES = 15
_ADDRESS_TRIES = 50
_TOUCH_SECONDS = 30
_AT_ONCE = 2


class ReaderRole(StrEnum):
    """Roles of accounts."""

    READER = "reader"
    ADJUDICATOR = "adjudicator"
    MANAGER = "manager"
    AUDITOR = "auditor"


class SignInError(MesemsError):
    """Name or password is not right."""


class TriesError(MesemsError):
    """Too many tries."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is signed in.

    Parameters
    ----------
    name, role : str
        The role is ``single`` without accounts.
    csrf : str
        Token that every request that changes something must carry.
    """

    name: str
    role: str
    csrf: str


class Passwords:
    """Passwords checked with a limit of tries.

    Parameters
    ----------
    store : ReadingStore
    hasher : PasswordHasher, optional
        Argon2id; default: the least that OWASP recommends, since every signature asks for the password.
    """

    def __init__(self, store: ReadingStore, hasher: PasswordHasher | None = None) -> None:
        self._store = store
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        # An unknown name must take as long as a known one.
        self._nobody = self._hasher.hash(secrets.token_hex(16))
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        self._turn = threading.Semaphore(_AT_ONCE)

    def hash(self, password: str) -> str:
        """Return the hash of a new password.

        Raises
        ------
        UsageError
            If it is too short or too long.
        """
        if not _MIN_PASSWORD <= len(password) <= _MAX_PASSWORD:
            msg = (
                f"the password has {len(password)} characters, expected {_MIN_PASSWORD} to {_MAX_PASSWORD}; "
                "choose another one"
            )
            raise UsageError(msg)
        return self._hasher.hash(password)

    def check(self, name: str, password: str, address: str) -> str:
        """Check name and password.

        Returns
        -------
        str
            The role.

        Raises
        ------
        SignInError
            If they are not right.
        TriesError
            If the account or the address has failed too often.
        """
        self._refuse_address(address)
        with self._store.reading() as connection:
            row = connection.execute(select(account).where(account.c.name == name)).mappings().first()
        if row and row["blocked_until"] and row["blocked_until"] > now():
            msg = f"too many tries; try again in {_BLOCKED_MINUTES} minutes"
            raise TriesError(msg)
        right = self._verify(row["password_hash"] if row else self._nobody, password[:_MAX_PASSWORD])
        if row is None or row["revoked_at"] or not right:
            self._failed(name if row else None, address)
            msg = "name or password is not right"
            raise SignInError(msg)
        if row["failed"]:
            with self._store.writing() as connection:
                connection.execute(
                    update(account).where(account.c.name == name).values(failed=0, blocked_until=None)
                )
        return row["role"]

    def _verify(self, stored: str, password: str) -> bool:
        try:
            with self._turn:
                return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _refuse_address(self, address: str) -> None:
        with self._lock:
            failures = self._failures.get(address, deque())
            while failures and failures[0] < time.monotonic() - 60 * _BLOCKED_MINUTES:
                failures.popleft()
            if len(failures) >= _ADDRESS_TRIES:
                msg = f"too many tries; try again in {_BLOCKED_MINUTES} minutes"
                raise TriesError(msg)

    def _failed(self, name: str | None, address: str) -> None:
        with self._lock:
            self._failures.setdefault(address, deque(maxlen=_ADDRESS_TRIES)).append(time.monotonic())
        with self._store.writing() as connection:
            details: dict[str, object] = {"address": address}
            if name is None:  # what was typed as a name may be a password
                audit.append(connection, now(), "unknown", "account.failed", "unknown", details)
                return
            failed = (connection.scalar(select(account.c.failed).where(account.c.name == name)) or 0) + 1
            blocked = _after(minutes=_BLOCKED_MINUTES) if failed >= _TRIES else None
            connection.execute(
                update(account)
                .where(account.c.name == name)
                .values(failed=0 if blocked else failed, blocked_until=blocked)
            )
            action = "account.blocked" if blocked else "account.failed"
            audit.append(connection, now(), name, action, name, details)


def add_account(connection: Connection, name: str, role: ReaderRole, password_hash: str, by: str) -> None:
    """Add an account.

    Raises
    ------
    UsageError
        If the name is none or taken.
    """
    if not NAME.fullmatch(name) or name == SINGLE:
        msg = f"user {name[:40]!r}: is no name (small letters, digits, '.', '_', '-'); choose another one"
        raise UsageError(msg)
    if connection.scalar(select(account.c.name).where(account.c.name == name)) is not None:
        msg = f"user {name}: is there already; names are given once, choose another one"
        raise UsageError(msg)
    connection.execute(
        insert(account).values(
            name=name,
            role=role.value,
            password_hash=password_hash,
            failed=0,
            created_at=now(),
        )
    )
    audit.append(connection, now(), by, "account.added", name, {"role": role.value})


def set_password(connection: Connection, name: str, password_hash: str, by: str) -> None:
    """Give an account another password; its sessions end.

    Raises
    ------
    UsageError
        If there is no such account.
    """
    _require(connection, name)
    values = {"password_hash": password_hash, "failed": 0, "blocked_until": None}
    connection.execute(update(account).where(account.c.name == name).values(values))
    connection.execute(delete(session).where(session.c.name == name))
    audit.append(connection, now(), by, "account.password", name, {})


def revoke_account(connection: Connection, name: str, by: str) -> None:
    """End an account; what was read with it stays.

    Raises
    ------
    UsageError
        If there is no such account.
    """
    _require(connection, name)
    connection.execute(update(account).where(account.c.name == name).values(revoked_at=now()))
    connection.execute(delete(session).where(session.c.name == name))
    audit.append(connection, now(), by, "account.revoked", name, {})


def names_of(connection: Connection, role: ReaderRole) -> list[str]:
    """List the accounts of a role that hold."""
    wanted = select(account.c.name).where(account.c.role == role.value, account.c.revoked_at.is_(None))
    return list(connection.execute(wanted.order_by(account.c.name)).scalars())


def role_of(connection: Connection, name: str) -> ReaderRole | None:
    """Return the role of an account that holds, None if there is no such."""
    wanted = select(account.c.role).where(account.c.name == name, account.c.revoked_at.is_(None))
    role = connection.scalar(wanted)
    return ReaderRole(role) if role else None


def listing(connection: Connection) -> list[str]:
    """Return the accounts, one line each."""
    lines = []
    for row in connection.execute(select(account).order_by(account.c.name)):
        state = f"revoked {row.revoked_at}" if row.revoked_at else f"since {row.created_at}"
        lines.append(f"{row.name}: {row.role} ({state})")
    return lines


def begin_session(connection: Connection, name: str, role: str, address: str) -> tuple[str, Person]:
    """Begin a session; return its token, which the browser alone keeps."""
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    connection.execute(
        insert(session).values(sha256=_hash(token), name=name, csrf=csrf, created_at=now(), seen_at=now())
    )
    audit.append(connection, now(), name, "session.begun", name, {"address": address})
    return token, Person(name=name, role=role, csrf=csrf)


def session_of(store: ReadingStore, token: str) -> Person | None:
    """Return who a session belongs to, None if it is over; it goes on with every request."""
    columns = (session.c.seen_at, session.c.created_at, session.c.csrf, account.c.name, account.c.role)
    wanted = (
        select(*columns)
        .join(account, account.c.name == session.c.name)
        .where(session.c.sha256 == _hash(token), account.c.revoked_at.is_(None))
    )
    with store.reading() as connection:
        row = connection.execute(wanted).first()
    if row is None:
        return None
    if row.seen_at < _after(minutes=-IDLE_MINUTES) or row.created_at < _after(minutes=-60 * SESSION_HOURS):
        with store.writing() as connection:
            connection.execute(delete(session).where(session.c.sha256 == _hash(token)))
            audit.append(connection, now(), row.name, "session.expired", row.name, {})
        return None
    if row.seen_at < _after(seconds=-_TOUCH_SECONDS):  # not every request writes
        with store.writing() as connection:
            connection.execute(update(session).where(session.c.sha256 == _hash(token)).values(seen_at=now()))
    return Person(name=row.name, role=row.role, csrf=row.csrf)


def end_session(connection: Connection, token: str, name: str) -> None:
    """End a session."""
    connection.execute(delete(session).where(session.c.sha256 == _hash(token)))
    audit.append(connection, now(), name, "session.ended", name, {})


def _require(connection: Connection, name: str) -> None:
    if role_of(connection, name) is None:
        msg = f"user {name}: is not known; see mesems-mri review user list"
        raise UsageError(msg)


def _after(**period: float) -> str:
    return (dt.datetime.now(tz=dt.UTC) + dt.timedelta(**period)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
