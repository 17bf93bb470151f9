"""Locks of visits: which version holds, who asked to unlock it, who confirmed."""

from sqlalchemy import Connection, insert, select

from mesems_mri.dataset import audit
from mesems_mri.dataset.database import now
from mesems_mri.errors import UsageError
from mesems_mri.review.schema import lock, unlock


def last_version(connection: Connection, visit: tuple[str, str]) -> int:
    """Return the number of the last version of a visit, 0 if it never was locked."""
    query = select(lock.c.version).where(lock.c.participant_id == visit[0], lock.c.session_id == visit[1])
    return max(connection.execute(query).scalars(), default=0)


def held_version(connection: Connection, visit: tuple[str, str]) -> int | None:
    """Return the version of a visit that is locked now, None if it is not."""
    last = last_version(connection, visit)
    if not last:
        return None
    query = select(unlock.c.version).where(
        unlock.c.participant_id == visit[0],
        unlock.c.session_id == visit[1],
        unlock.c.version == last,
        unlock.c.step == "confirmed",
    )
    return last if connection.scalar(query) is None else None


def held_locks(connection: Connection) -> dict[tuple[str, str], tuple[int, str, str]]:
    """Return version, hash and basis of every visit that is locked now."""
    opened = {
        (row.participant_id, row.session_id, row.version)
        for row in connection.execute(select(unlock).where(unlock.c.step == "confirmed"))
    }
    return {
        (row.participant_id, row.session_id): (row.version, row.sha256, row.basis)
        for row in connection.execute(select(lock).order_by(lock.c.version))
        if (row.participant_id, row.session_id, row.version) not in opened
    }


def add_lock(
    connection: Connection,
    visit: tuple[str, str],
    *,
    version: int,
    actor: str,
    meaning: str,
    sha256: str,
    basis: str,
) -> None:
    """Lock a version of a visit, and write it in the trail."""
    values = {
        "participant_id": visit[0],
        "session_id": visit[1],
        "version": version,
        "at": now(),
        "actor": actor,
        "meaning": meaning,
        "sha256": sha256,
        "basis": basis,
    }
    connection.execute(insert(lock).values(values))
    details = {"version": version, "sha256": sha256, "meaning": meaning}
    audit.append(connection, values["at"], actor, "visit.locked", "/".join(visit), details)


def ask_unlock(connection: Connection, visit: tuple[str, str], *, actor: str, reason: str) -> int:
    """Ask to unlock a visit; another person has to confirm it.

    Returns
    -------
    int
        The version.

    Raises
    ------
    UsageError
        If it is not locked, was asked for already, or no reason is given.
    """
    version = _locked(connection, visit)
    if not reason.strip():
        msg = f"unlock {'/'.join(visit)}: the reason is empty; give one with --reason"
        raise UsageError(msg)
    if _asked(connection, visit, version):
        msg = f"unlock {'/'.join(visit)}: it was asked for already; another person confirms it"
        raise UsageError(msg)
    _add_step(connection, visit, version, "asked", actor, reason.strip())
    return version


def confirm_unlock(connection: Connection, visit: tuple[str, str], *, actor: str) -> int:
    """Confirm that a visit is unlocked.

    Returns
    -------
    int
        The version that does not hold any more.

    Raises
    ------
    UsageError
        If nobody asked for it, or the one who asked wants to confirm it.
    """
    version = _locked(connection, visit)
    asked = _asked(connection, visit, version)
    if asked is None:
        msg = f"unlock {'/'.join(visit)}: nobody asked for it yet; ask with --reason"
        raise UsageError(msg)
    if asked == actor:
        msg = f"unlock {'/'.join(visit)}: {actor} asked for it, expected another person to confirm"
        raise UsageError(msg)
    _add_step(connection, visit, version, "confirmed", actor, "")
    return version


def _locked(connection: Connection, visit: tuple[str, str]) -> int:
    version = held_version(connection, visit)
    if version is None:
        msg = f"unlock {'/'.join(visit)}: is not locked; see mesems-mri review status"
        raise UsageError(msg)
    return version


def _asked(connection: Connection, visit: tuple[str, str], version: int) -> str | None:
    query = select(unlock.c.actor).where(
        unlock.c.participant_id == visit[0],
        unlock.c.session_id == visit[1],
        unlock.c.version == version,
        unlock.c.step == "asked",
    )
    return connection.scalar(query)


def _add_step(
    connection: Connection, visit: tuple[str, str], version: int, step: str, actor: str, reason: str
) -> None:
    values = {"participant_id": visit[0], "session_id": visit[1], "version": version, "step": step}
    connection.execute(insert(unlock).values(**values, at=now(), actor=actor, reason=reason))
    details = {"version": version, "reason": reason}
    audit.append(connection, now(), actor, f"visit.unlock_{step}", "/".join(visit), details)
