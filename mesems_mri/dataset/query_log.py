"""Log of the queries: every change of ``queries.tsv`` with who and when, each line bound to the last one.

The table is made from the log; what the table says otherwise was changed by hand and counts for nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesems_mri.errors import DatasetError
from mesems_mri.files import write_text

LOG = ".queries.log"
Row = Mapping[str, str]


def read_log(bids_dir: Path) -> list[dict[str, Any]] | None:
    """Read the log of a BIDS folder; None when there is none.

    Raises
    ------
    DatasetError
        If a line is not as it was written.
    """
    path = bids_dir / LOG
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({type(error).__name__}); restore it from a backup"
        raise DatasetError(msg) from error
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            whole = entry["hash"] == _digest(entry) and entry["previous"] == _last_hash(entries)
        except (ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            msg = f"{path}: line {number} was changed by hand; restore the file from a backup"
            raise DatasetError(msg)
        entries.append(entry)
    return entries


def append_entry(
    bids_dir: Path,
    entries: Sequence[Mapping[str, Any]],
    changes: Iterable[tuple[str, Row]],
    by: str,
    day: str,
) -> None:
    """Append an entry to the log (atomic write).

    Parameters
    ----------
    bids_dir : Path
    entries : sequence of mapping
        The log as it is.
    changes : iterable of (str, mapping)
        Of each query that changes the event (``opened``, ``answered`` ...) and its row after it.
    by, day : str
        Who and when.
    """
    entry: dict[str, Any] = {
        "day": day,
        "by": by,
        "changes": [{"event": event, "row": dict(row)} for event, row in changes],
        "previous": _last_hash(entries),
    }
    entry["hash"] = _digest(entry)
    lines = [json.dumps(one, ensure_ascii=False) for one in (*entries, entry)]
    write_text(bids_dir / LOG, "\n".join(lines) + "\n")


def fold(entries: Iterable[Mapping[str, Any]]) -> dict[str, Row]:
    """Return the row of each query as the log leaves it, by number."""
    state: dict[str, Row] = {}
    for entry in entries:
        for change in entry["changes"]:
            state[change["row"]["query_id"]] = change["row"]
    return state


def changed_by_hand(table: Mapping[str, Row], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """List what the table says otherwise than the log, a phrase each; empty when it says the same.

    A table that is as the log was before its last entry is that of a command that was interrupted.
    """
    now = fold(entries)
    # an entry of an older version lacks the columns that are newer, and those are empty
    if any(_filled(table) == _filled(logged) for logged in (now, fold(entries[:-1]))):
        return []
    found = []
    for query_id in sorted(set(table) | set(now)):
        here, logged = table.get(query_id), now.get(query_id)
        if here is None:
            found.append(f"{query_id} is gone")
        elif logged is None:
            found.append(f"{query_id} was added")
        else:
            found += [
                f"{query_id} has the {name} {here[name]!r}, expected {logged[name]!r}"
                for name in logged
                if here.get(name) != logged[name]
            ]
    return found or ["the order of its rows"]


def _filled(table: Mapping[str, Row]) -> list[tuple[str, dict[str, str]]]:
    return [(key, {name: value for name, value in row.items() if value}) for key, row in table.items()]


def _last_hash(entries: Sequence[Mapping[str, Any]]) -> str:
    return entries[-1]["hash"] if entries else ""


def _digest(entry: Mapping[str, Any]) -> str:
    content = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
