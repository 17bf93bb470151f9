"""Bundles as a reading centre sends them, made from a few numbers."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    SCHEMA_VERSION,
    VISIT_METRICS_COLUMNS,
)
from mesems_mri.dataset.counts import visit_counts
from mesems_mri.transfer.archive import MEMBERS, write_archive
from mesems_mri.transfer.columns import QUERY_COLUMNS
from mesems_mri.transfer.manifest import FILES, MANIFEST, SIGNATURE

STUDY = "MESEMS"
WEEKS = (0, 4, 12, 24)
CONFIG = "c" * 64
_DOMAIN_COLUMNS = ("STUDYID", "DOMAIN", "USUBJID")


def lesion(number: int, focus: str = "gel", **values: Any) -> dict[str, Any]:
    """A row of the ledger without its visit."""
    t2 = "new" if focus == "t2" else None
    gd = "new" if focus == "gel" else "none"
    return {
        "lesion_id": number,
        "focus": focus,
        "parent_lesion_id": None,
        "t2_status": t2,
        "gd_status": gd,
        "active": True,
        "volume_mm3": 20.0,
        "max_diameter_mm": 4.0,
        "x": -20.5,
        "y": 3.0,
        "z": 14.0,
        "region": "periventricular",
        "score": 0.9,
        "decision": "automatic",
    } | values


def visit(
    participant: str, week: int, lesions: Sequence[Mapping[str, Any]] = (), *, reason: str = "", **values: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of a visit and those of its lesions; with a reason, nothing of it is evaluable."""
    who = {
        "study_id": STUDY,
        "site_id": values.pop("site_id", "S01"),
        "participant_id": participant,
        "session_id": values.pop("session_id", f"ses-w{week:02}"),
    }
    evaluable, change = not reason, not reason and week > 0
    counts = visit_counts(
        lesions,
        gel_evaluable=evaluable,
        gel_change_evaluable=change,
        t2_evaluable=evaluable,
        t2_change_evaluable=change,
    )
    change_reason = reason or (None if change else "no_reference_visit")
    row = {
        **who,
        "visit_type": "scheduled",
        "week": week,
        "day_from_baseline": 7 * week,
        **counts,
        "gel_evaluable": evaluable,
        "gel_reason": reason or None,
        "t2_change_evaluable": change,
        "t2_change_reason": change_reason,
        "cua_reason": change_reason,
        "t2_evaluable": evaluable,
        "t2_reason": reason or None,
        "black_hole_volume_mm3": 100.0 if evaluable else None,
        "black_hole_evaluable": evaluable,
        "black_hole_reason": reason or None,
        "brain_volume_mm3": 1_400_000.0 if evaluable else None,
        "brain_evaluable": evaluable,
        "brain_reason": reason or None,
        "qc_status": "pass" if evaluable else "fail",
        "read_status": "automatic",
        "software_version": "0.1.0",
        "config_sha256": CONFIG,
    } | values
    return row, [who | dict(one) for one in lesions]


def query(number: int, participant: str, week: int, **values: Any) -> dict[str, Any]:
    return {
        "query_id": f"Q{number:04}",
        "site_id": "S01",
        "participant_id": participant,
        "session_id": f"ses-w{week:02}",
        "code": "missing_slices",
        "what": "Slices are missing",
        "action": "Send the whole series again",
        "blocking": True,
        "status": "open",
        "opened": "2026-01-05",
    } | values


@dataclass
class Bundle:
    """What a bundle holds; `write` signs it and packs it, in any state."""

    visits: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]] = ()
    queries: Sequence[dict[str, Any]] = ()
    endpoints: Sequence[dict[str, Any]] = ()
    sequence: int = 1
    previous: str | None = None
    site_id: str = "S01"
    study_id: str = STUDY
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """The files of the tables and domains."""
        tables = {
            "visit_metrics.csv": (tuple(VISIT_METRICS_COLUMNS), [row for row, _ in self.visits]),
            "lesions.csv": (tuple(LEDGER_COLUMNS), [row for _, rows in self.visits for row in rows]),
            "queries.csv": (tuple(QUERY_COLUMNS), self.queries),
            "participant_endpoints.csv": (tuple(PARTICIPANT_ENDPOINTS_COLUMNS), self.endpoints),
        }
        content = {}
        for name in FILES:
            if name in tables:
                columns, rows = tables[name]
                content[name] = table(self.columns.get(name, columns), rows)
            else:
                content[name] = table(_DOMAIN_COLUMNS, []) if name.endswith(".csv") else b"SAS transport"
        return content

    def write(self, folder: Path, key: Ed25519PrivateKey, files: Mapping[str, bytes] | None = None) -> str:
        """Write the folder of the bundle; return the SHA-256 of its manifest."""
        files = files or self.files()
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return sign(folder, key, self.head() | {"files": entries(files)} | dict(self.manifest))

    def head(self) -> dict[str, Any]:
        return {
            "schema_version": "1.0.0",
            "tables_schema_version": SCHEMA_VERSION,
            "study_id": self.study_id,
            "site_id": self.site_id,
            "sequence": self.sequence,
            "previous_sha256": self.previous,
            "software_version": "0.1.0",
            "model_versions": {},
            "config_sha256": [CONFIG],
            "visits": {"done": len(self.visits), "not_evaluable": 0, "failed": 0, "waiting": 0},
            "read_status": {"automatic": len(self.visits), "read": 0, "adjudicated": 0, "locked": 0},
            "created": "2026-03-01T12:00:00Z",
        }


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A table as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_text(row.get(name), name) for name in columns])
    return stream.getvalue().encode()


def _text(value: Any, name: str) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str) and (isinstance(value, float) or name.endswith("_mm3")):
        return f"{value:.3f}" if name == "score" else f"{value:.1f}"
    return str(value)


def entries(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The entries of a manifest for files as they are."""
    made = {}
    for name, content in files.items():
        if name.endswith(".csv"):
            rows = list(csv.reader(io.StringIO(content.decode(errors="replace"))))
            made[name] = (rows[0], len(rows) - 1)
    return [
        {
            "name": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "rows": made[name.replace(".xpt", ".csv")][1],
            "columns": made[name.replace(".xpt", ".csv")][0],
        }
        for name, content in files.items()
    ]


def sign(folder: Path, key: Ed25519PrivateKey, manifest: Mapping[str, Any]) -> str:
    """Write and sign a manifest; return its SHA-256."""
    content = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_bytes(key.sign(content))
    return hashlib.sha256(content).hexdigest()


def pack(folder: Path, archive: Path) -> Path:
    """Pack the folder of a bundle."""
    with archive.open("wb") as stream:
        write_archive(folder, stream)
    return archive


__all__ = ["MEMBERS", "Bundle", "entries", "lesion", "pack", "query", "sign", "table", "visit"]
