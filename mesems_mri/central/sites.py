"""Sites that send, their public keys, and access tokens with roles."""

import datetime as dt
import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from mesems_mri.central.schema import public_key, site, token
from mesems_mri.dataset import audit
from mesems_mri.dataset.database import now
from mesems_mri.errors import UsageError
from mesems_mri.transfer.keys import fingerprint as fingerprint_of
from mesems_mri.transfer.keys import parse_public_key, public_pem

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Label of a site, as in the visit schedule of the intake."""
_PREFIX = "mesems_"


class Role(StrEnum):
    """Role of the holder of a token."""

    SENDER = "sender"
    DATA_MANAGER = "data_manager"
    AUDITOR = "auditor"


@dataclass(frozen=True)
class TokenHolder:
    """Holder of a token.

    Parameters
    ----------
    name : str
    role : Role
    site_id : str
        Of a sender; empty for the other roles.
    """

    name: str
    role: Role
    site_id: str


def add_site(connection: Connection, site_id: str, by: str) -> None:
    """Register a site that sends.

    Raises
    ------
    UsageError
        If the label is none, or the site is there already.
    """
    if not SITE.fullmatch(site_id):
        msg = f"site {site_id!r}: is no label (letters, digits, '.', '_', '-'); use that in the schedule"
        raise UsageError(msg)
    if _is_known(connection, site_id):
        msg = f"site {site_id}: is registered already; add a key with mesems-mri central site key"
        raise UsageError(msg)
    connection.execute(insert(site).values(site_id=site_id, added_at=now(), added_by=by))
    audit.append(connection, now(), by, "site.added", site_id, {})


def add_key(connection: Connection, site_id: str, pem: bytes, by: str) -> str:
    """Register a public key of a site, beside those it has; one key may sign for several sites.

    Returns
    -------
    str
        Its fingerprint, as `mesems_mri.transfer.keys.fingerprint` makes it.

    Raises
    ------
    UsageError
        If the site is not known, the text is no Ed25519 public key, or the key is registered already.
    """
    _require(connection, site_id)
    key = parse_public_key(pem, f"key of site {site_id}")
    fingerprint = fingerprint_of(key)
    same = select(public_key.c.fingerprint).where(
        public_key.c.site_id == site_id, public_key.c.fingerprint == fingerprint
    )
    if connection.scalar(same) is not None:
        msg = f"site {site_id}: the key {fingerprint[:16]} is or was registered; make another one"
        raise UsageError(msg)
    connection.execute(
        insert(public_key).values(
            fingerprint=fingerprint, site_id=site_id, pem=public_pem(key).decode(), added_at=now()
        )
    )
    audit.append(connection, now(), by, "key.added", site_id, {"fingerprint": fingerprint})
    return fingerprint


def keys_of(connection: Connection, site_id: str) -> dict[str, bytes]:
    """Return the keys of a site that hold, by fingerprint."""
    wanted = select(public_key.c.fingerprint, public_key.c.pem).where(
        public_key.c.site_id == site_id, public_key.c.revoked_at.is_(None)
    )
    return {fingerprint: pem.encode() for fingerprint, pem in connection.execute(wanted)}


def add_token(
    connection: Connection, role: Role, holder: str, by: str, *, days: int, site_id: str | None = None
) -> str:
    """Make a token; it is shown this once and stored as a hash.

    Parameters
    ----------
    connection : Connection
    role : Role
    holder : str
        Recipient, for the audit trail.
    by : str
        Actor, for the audit trail.
    days : int
        Validity in days.
    site_id : str, optional
        The site that a sender sends for.

    Returns
    -------
    str
        The token.

    Raises
    ------
    UsageError
        If a sender has no site, another role has one, or the site is not known.
    """
    if (role is Role.SENDER) != bool(site_id):
        msg = f"token of {holder}: a sender has a site and no other role has one; the role is {role}"
        raise UsageError(msg)
    if site_id:
        _require(connection, site_id)
    # 256 random bits cannot be guessed, so a plain hash keeps them as well as a slow one
    secret, token_id = secrets.token_urlsafe(32), secrets.token_hex(4)
    value = f"{_PREFIX}{secret}"
    expires = (dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    connection.execute(
        insert(token).values(
            token_id=token_id,
            sha256=_hash(value),
            role=role.value,
            site_id=site_id,
            holder=holder,
            created_at=now(),
            expires_at=expires,
        )
    )
    details = {"token_id": token_id, "role": role.value, "expires_at": expires}
    audit.append(
        connection, now(), by, "token.added", holder, details | ({"site_id": site_id} if site_id else {})
    )
    return value


def revoke(connection: Connection, identifier: str, by: str) -> str:
    """End a token (by its token_id) or a public key (by the start of its fingerprint), for every site.

    Returns
    -------
    str
        Description of what was revoked.

    Raises
    ------
    UsageError
        If nothing that holds, or more than one thing, is meant.
    """
    tokens = connection.execute(
        select(token.c.token_id).where(token.c.token_id == identifier, token.c.revoked_at.is_(None))
    ).scalars()
    keys = connection.execute(
        select(public_key.c.fingerprint.distinct()).where(
            public_key.c.fingerprint.startswith(identifier, autoescape=True),
            public_key.c.revoked_at.is_(None),
        )
    ).scalars()
    found = [("token", name) for name in tokens] + [("key", name) for name in keys]
    if len(found) != 1 or len(identifier) < 8:
        msg = f"{identifier}: {len(found)} tokens and keys begin so, expected 1; see central site list"
        raise UsageError(msg)
    ((kind, name),) = found
    table, column = (token, token.c.token_id) if kind == "token" else (public_key, public_key.c.fingerprint)
    holds = (column == name, table.c.revoked_at.is_(None))
    connection.execute(update(table).where(*holds).values(revoked_at=now()))
    audit.append(connection, now(), by, f"{kind}.revoked", name, {})
    return f"{kind} {name}"


def holder_of(connection: Connection, value: str) -> TokenHolder | str:
    """Return the holder of a token, or the reason why it is not valid."""
    row = connection.execute(select(token).where(token.c.sha256 == _hash(value))).mappings().first()
    if row is None:
        return "the token is not known"
    if row["revoked_at"]:
        return f"the token {row['token_id']} was revoked on {row['revoked_at']}"
    if row["expires_at"] <= now():
        return f"the token {row['token_id']} expired on {row['expires_at']}"
    return TokenHolder(row["holder"], Role(row["role"]), row["site_id"] or "")


def listing(connection: Connection) -> list[str]:
    """Return the sites with their keys, and all tokens, one line each."""
    lines = []
    for row in connection.execute(select(site).order_by(site.c.site_id)):
        lines.append(f"site {row.site_id} (added {row.added_at} by {row.added_by})")
        wanted = select(public_key).where(public_key.c.site_id == row.site_id).order_by(public_key.c.added_at)
        for key in connection.execute(wanted):
            state = f"revoked {key.revoked_at}" if key.revoked_at else "holds"
            lines.append(f"  key {key.fingerprint} (added {key.added_at}, {state})")
    for row in connection.execute(select(token).order_by(token.c.created_at, token.c.token_id)):
        state = f"revoked {row.revoked_at}" if row.revoked_at else f"until {row.expires_at}"
        of = f" of site {row.site_id}" if row.site_id else ""
        lines.append(f"token {row.token_id}: {row.role}{of}, {row.holder} ({state})")
    return lines


def _is_known(connection: Connection, site_id: str) -> bool:
    return connection.scalar(select(site.c.site_id).where(site.c.site_id == site_id)) is not None


def _require(connection: Connection, site_id: str) -> None:
    if not _is_known(connection, site_id):
        msg = f"site {site_id}: is not registered; add it with mesems-mri central site add"
        raise UsageError(msg)


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
