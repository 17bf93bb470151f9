"""Audit trail: actor, action, subject and time of each entry, hash-chained to the previous one.

The data centre and the reading share it. Entries hold names, numbers and hashes, never a value of a
participant: nothing in them can tell an arm. Only the extras `central` and `review` have SQLAlchemy, so no
module but theirs imports this one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, Text, desc, insert, select

from mesems_mri.dataset.tables import check_forbidden
from mesems_mri.errors import UsageError

BEGIN = "0" * 64
"""Hash that the first entry follows."""
_SEALED = ("number", "at", "actor", "action", "subject", "details", "previous_hash")


def trail_table(metadata: MetaData) -> Table:
    """Make the table of the trail; every database of ours has it under the same name."""
    return Table(
        "audit",
        metadata,
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("at", String(20), nullable=False),
        Column("actor", String(200), nullable=False),
        Column("action", String(40), nullable=False),
        Column("subject", String(200), nullable=False),
        Column("details", Text, nullable=False),  # JSON: names, numbers, hashes; no value of a participant
        Column("previous_hash", String(64), nullable=False),
        Column("hash", String(64), nullable=False),
    )


_TRAIL = trail_table(MetaData())


@dataclass(frozen=True)
class AuditHead:
    """Last entry of the trail; a copy kept elsewhere shows later whether entries were removed.

    Parameters
    ----------
    number : int
        0 for an empty trail.
    hash : str
    """

    number: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NUMBER:HASH``, as the commands print it.

        Raises
        ------
        UsageError
            If it is no entry.
        """
        number, _, digest = text.partition(":")
        if not number.isdigit() or not digest:
            msg = f"--known {text}: is no entry, expected NUMBER:HASH as this command prints it"
            raise UsageError(msg)
        return cls(int(number), digest)


def append(
    connection: Connection, at: str, actor: str, action: str, subject: str, details: Mapping[str, Any]
) -> AuditHead:
    """Add an entry; the caller holds the only writing transaction.

    Parameters
    ----------
    connection : Connection
    at : str
        Time in UTC.
    actor : str
        Account of the machine, or holder of a token.
    action : str
        E.g. ``transfer.accepted``.
    subject : str
        Object of the action.
    details : mapping
        Names, numbers and hashes; no value of a participant.

    Returns
    -------
    AuditHead
        The entry.
    """
    check_forbidden(details, "audit trail")
    last = head(connection)
    entry: dict[str, Any] = {
        "number": last.number + 1,
        "at": at,
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": _canonical(details),
        "previous_hash": last.hash,
    }
    entry["hash"] = _seal(entry)
    connection.execute(insert(_TRAIL).values(entry))
    return AuditHead(entry["number"], entry["hash"])


def head(connection: Connection) -> AuditHead:
    """Return the last entry."""
    row = connection.execute(
        select(_TRAIL.c.number, _TRAIL.c.hash).order_by(desc(_TRAIL.c.number)).limit(1)
    ).first()
    return AuditHead(*row) if row else AuditHead(0, BEGIN)


def listing(connection: Connection) -> Iterator[str]:
    """Yield the entries, one line each."""
    for row in connection.execute(select(_TRAIL).order_by(_TRAIL.c.number)):
        yield f"{row.number}  {row.at}  {row.actor}  {row.action}  {row.subject}  {row.details}"


def verify(connection: Connection, known: AuditHead | None = None) -> list[str]:
    """Check every entry against its seal and the entry before it.

    Parameters
    ----------
    connection : Connection
    known : AuditHead, optional
        An entry that was noted earlier; the trail must still hold it.

    Returns
    -------
    list of str
        Faults, one sentence each; empty when the trail is complete.
    """
    wrong, last, found = [], AuditHead(0, BEGIN), known is None or known == AuditHead(0, BEGIN)
    for row in connection.execute(select(_TRAIL).order_by(_TRAIL.c.number)).mappings():
        number = row["number"]
        if number != last.number + 1:
            wrong.append(f"audit trail: entry {number} follows entry {last.number}; entries are missing")
        elif row["previous_hash"] != last.hash:
            wrong.append(f"audit trail: entry {number} was not written after the entry that stands before it")
        if row["hash"] != _seal({**row}):
            wrong.append(f"audit trail: entry {number} was changed after it was written")
        last = AuditHead(number, row["hash"])
        found = found or last == known
    if not found and known:
        wrong.append(
            f"audit trail: entry {known.number} with the hash {known.hash} is gone; it was noted earlier"
        )
    return wrong


def _seal(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical({name: entry[name] for name in _SEALED}).encode()).hexdigest()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
