"""Versions of every row: additions, changes and removals by a transfer, with their reasons."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Select, and_, func, insert, select

from mesems_mri.central.content import LESIONS, QUERIES, TABLES, VISITS, BundleRow
from mesems_mri.central.rejection import RejectedError, RejectionCode
from mesems_mri.central.schema import record
from mesems_mri.transfer.manifest import BundleManifest

_NAMES = ("site_id", "kind", "record_key")
_NOT_VALUES = ("software_version", "config_sha256", "read_status")


class Changes(NamedTuple):
    """Changes that a bundle brings.

    Parameters
    ----------
    versions : list of dict
        Rows of ``record``, without their transfer.
    numbers : dict of str to int
        Of rows ``added``, ``changed`` and ``removed``.
    after_lock : tuple of str
        Visits that were locked and have changed all the same.
    """

    versions: list[dict[str, Any]]
    numbers: dict[str, int]
    after_lock: tuple[str, ...]


class _Stored(NamedTuple):
    version: int
    content: str
    removed: bool


def current(site_id: str | None = None, kind: str | None = None) -> Select[Any]:
    """Select the last version of the rows of a site and a table, removed ones included."""
    wanted = [
        column == value for column, value in ((record.c.site_id, site_id), (record.c.kind, kind)) if value
    ]
    last = (
        select(
            record.c.site_id, record.c.kind, record.c.record_key, func.max(record.c.version).label("version")
        )
        .where(*wanted)
        .group_by(*(record.c[name] for name in _NAMES))
        .subquery()
    )
    same = and_(*(record.c[name] == last.c[name] for name in (*_NAMES, "version")))
    return select(record).join(last, same)


def compare_rows(
    connection: Connection, manifest: BundleManifest, tables: Mapping[str, Mapping[str, BundleRow]]
) -> Changes:
    """Make a version of each row that is new, has changed or is gone; one that stayed as it was needs none.

    Raises
    ------
    RejectedError
        If a visit or a query that was received is gone: a bundle holds all that is known of a site.
    """
    old: dict[str, dict[str, _Stored]] = {kind: {} for kind in TABLES}
    for row in connection.execute(current(manifest.site_id)):
        old[row.kind][row.record_key] = _Stored(row.version, row.content, row.removed)
    _refuse_withdrawn(old, tables)
    why = _Reasons(old, tables)
    new: list[dict[str, Any]] = []
    numbers = {"added": 0, "changed": 0, "removed": 0}
    after_lock = set()
    for kind, rows in tables.items():
        for key, row in rows.items():
            content, before = row.content, old[kind].get(key)
            if before and not before.removed and before.content == content:
                continue
            differing = _differing(before, row) if before else ()
            reason = why.of(row, differing) if before else ""
            new.append(_version(manifest, row, content, before, differing, reason))
            numbers["changed" if before else "added"] += 1
            if before and why.was_locked(row.visit) and kind in (VISITS, LESIONS):
                after_lock.add("/".join(row.visit))
        for key in old[kind].keys() - rows.keys():
            before = old[kind][key]
            if not before.removed:
                row = BundleRow(kind, key, _load(before.content))
                reason = why.of(row, ())
                new.append(_version(manifest, row, before.content, before, (), reason, removed=True))
                numbers["removed"] += 1
    return Changes(new, numbers, tuple(sorted(after_lock)))


def store_versions(connection: Connection, transfer_id: int, changes: Changes) -> None:
    """Write the versions that a transfer brought."""
    if changes.versions:
        rows = [version | {"transfer_id": transfer_id} for version in changes.versions]
        connection.execute(insert(record), rows)


class _Reasons:
    """Reasons for the change of a row, as far as the bundle tells."""

    def __init__(
        self, old: Mapping[str, Mapping[str, _Stored]], tables: Mapping[str, Mapping[str, BundleRow]]
    ) -> None:
        self._before = {key: _load(stored.content) for key, stored in old[VISITS].items()}
        self._after = {key: row.values for key, row in tables[VISITS].items()}
        self._closed: dict[tuple[str, str], list[str]] = {}
        for key, row in tables[QUERIES].items():
            was = old[QUERIES].get(key)
            if row.values["status"] == "closed" and was and _load(was.content)["status"] != "closed":
                self._closed.setdefault(row.visit, []).append(key)

    def was_locked(self, visit: tuple[str, str]) -> bool:
        """Return whether a visit was locked before."""
        return self._before.get("/".join(visit), {}).get("read_status") == "locked"

    def of(self, row: BundleRow, differing: tuple[str, ...]) -> str:
        """Describe in one line why a row has changed."""
        if row.kind == QUERIES:
            values = row.values
            closed = f"closed by {values['closed_by']}: {values['reason']}"
            return closed if values["status"] == "closed" else "query worded anew"
        visit = "/".join(row.visit)
        before, after = self._before.get(visit, {}), self._after.get(visit, {})
        causes = [
            f"{name} {before[name]} to {after[name]}"
            for name in _NOT_VALUES
            if before and after and before[name] != after[name]
        ]
        if closed := self._closed.get(row.visit):
            causes.append(f"closed {', '.join(closed)}")
        if not causes and visit not in self._after:  # a period of a participant
            causes.append("follows the visits")
        return "; ".join(causes) or "same software, configuration and reading; ask the reading centre"


def _refuse_withdrawn(
    old: Mapping[str, Mapping[str, _Stored]], tables: Mapping[str, Mapping[str, BundleRow]]
) -> None:
    gone = [
        f"{kind} {key}"
        for kind in (VISITS, QUERIES)
        for key in sorted(old[kind].keys() - tables[kind].keys())
    ]
    if gone:
        reasons = [
            f"{what}: was received and is not in this bundle, expected all that is known of the site; "
            "build it from the whole output folder"
            for what in gone
        ]
        raise RejectedError(RejectionCode.WITHDRAWN_ROW, *reasons, where=gone[0])


def _version(
    manifest: BundleManifest,
    row: BundleRow,
    content: str,
    before: _Stored | None,
    differing: tuple[str, ...],
    reason: str,
    *,
    removed: bool = False,
) -> dict[str, Any]:
    participant, session = row.visit
    return {
        "site_id": manifest.site_id,
        "kind": row.kind,
        "record_key": row.key,
        "version": before.version + 1 if before else 1,
        "participant_id": participant,
        "session_id": session,
        "content": content,
        "removed": removed,
        "changed": ";".join(differing),
        "reason": reason,
    }


def _differing(before: _Stored, row: BundleRow) -> tuple[str, ...]:
    values = _load(before.content)
    return tuple(name for name, value in row.values.items() if values.get(name) != value)


def _load(content: str) -> dict[str, Any]:
    return json.loads(content)


def history(connection: Connection, participant_id: str, session_id: str) -> Iterator[RowMapping]:
    """Yield every version of the row of a visit, the first one first."""
    wanted = select(record).where(
        record.c.kind == VISITS, record.c.participant_id == participant_id, record.c.session_id == session_id
    )
    yield from connection.execute(wanted.order_by(record.c.version)).mappings()
