"""Check of the tables of a bundle: values allowed, counts those of the ledger, rows of the site."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesems_mri.central.rejection import RejectedError, RejectionCode
from mesems_mri.dataset.columns import EVALUATED, NEEDS_EARLIER_GEL, SCHEMA_VERSION, Column
from mesems_mri.dataset.counts import visit_counts
from mesems_mri.dataset.tables import parse_value
from mesems_mri.transfer.columns import TABLE_COLUMNS
from mesems_mri.transfer.manifest import DOMAINS, BundleManifest

VISITS, LESIONS, QUERIES, ENDPOINTS = "visit_metrics", "lesions", "queries", "participant_endpoints"
TABLES = {name.removesuffix(".csv"): columns for name, columns in TABLE_COLUMNS.items()}
KEYS = {
    VISITS: ("participant_id", "session_id"),
    LESIONS: ("participant_id", "session_id", "lesion_id"),
    QUERIES: ("query_id",),
    ENDPOINTS: ("participant_id", "period"),
}
"""Columns that name a row, the same in every bundle of a site."""
MAX_ROWS = 200_000
"""Of a table; 1,000 visits have about 20,000 lesion rows."""
_SHOWN = 20
_JOINED = {"qc_flags"}
_PATTERNS = {
    "participant_id": re.compile(r"sub-[A-Za-z0-9]{1,64}"),
    "session_id": re.compile(r"ses-[A-Za-z0-9]{1,64}"),
    "query_id": re.compile(r"Q[0-9]{4,9}"),
    "config_sha256": re.compile(r"[0-9a-f]{64}"),
    "period": re.compile(r"[A-Za-z0-9_.-]{1,64}"),
}
_NAMELESS_QUERY = {"participant_id", "session_id"}  # a query may be about a scan that nobody knows


@dataclass(frozen=True)
class BundleRow:
    """A row of a table.

    Parameters
    ----------
    kind : str
        One of `TABLES`.
    key : str
        Values of the columns `KEYS`, joined with ``/``.
    values : dict
        By column; None for an empty field.
    """

    kind: str
    key: str
    values: dict[str, Any]

    @property
    def content(self) -> str:
        """The row as JSON, in the order of the columns."""
        return json.dumps(self.values, ensure_ascii=False, allow_nan=False)

    @property
    def visit(self) -> tuple[str, str]:
        """Participant and session; empty where the table has none."""
        return self.values.get("participant_id") or "", self.values.get("session_id") or ""


def read_tables(folder: Path, manifest: BundleManifest) -> dict[str, dict[str, BundleRow]]:
    """Read and check the tables of a bundle whose signature and hashes are right.

    Parameters
    ----------
    folder : Path
        The bundle, unpacked.
    manifest : BundleManifest
        Its manifest.

    Returns
    -------
    dict of str to dict of str to BundleRow
        By table and key.

    Raises
    ------
    RejectedError
        With the first faults.
    """
    problems: list[str] = []
    tables: dict[str, dict[str, BundleRow]] = {}
    for kind, columns in TABLES.items():
        entry = manifest.entry(f"{kind}.csv")
        if entry.columns != tuple(columns):
            odd = sorted(set(entry.columns) ^ set(columns)) or ["their order"]
            msg = (
                f"{entry.name}: other columns than those of schema {SCHEMA_VERSION} ({', '.join(odd[:5])}), "
                f"the manifest says {manifest.tables_schema_version}; use the same version on both sides"
            )
            raise RejectedError(RejectionCode.SCHEMA, msg, where=entry.name)
        if entry.rows > MAX_ROWS:
            msg = f"{entry.name}: has {entry.rows} rows, at most {MAX_ROWS} are allowed; ask the data centre"
            raise RejectedError(RejectionCode.TOO_LARGE, msg, where=entry.name)
        rows = tables[kind] = {}
        for place, row in _rows(folder / entry.name, kind, columns, problems):
            if row.key in rows:
                problems.append(f"{place}: {row.key} stands there twice, expected once")
            problems += _foreign(place, row, manifest)
            rows[row.key] = row
            if len(problems) >= _SHOWN:
                break
        _refuse(problems)
    for row in tables[VISITS].values():
        problems += _contradictions(row)
    problems += _ledger_differs(tables)
    for name in DOMAINS:
        problems += _domain_strays(folder / f"{name}.csv", manifest, tables[VISITS].values())
    _refuse(problems)
    return tables


def _refuse(problems: list[str]) -> None:
    if problems:
        shown = [
            f"{problem}; correct it at the reading centre and build again" for problem in problems[:_SHOWN]
        ]
        raise RejectedError(RejectionCode.CONTENT, *shown, where=problems[0].split(":")[0])


def _rows(
    path: Path, kind: str, columns: Mapping[str, Column], problems: list[str]
) -> Iterator[tuple[str, BundleRow]]:
    with path.open(encoding="utf-8", newline="") as stream:
        lines = csv.reader(stream, strict=True)
        next(lines)
        for number, fields in enumerate(lines, start=2):
            place, values = f"{path.name} row {number}", {}
            for (name, column), text in zip(columns.items(), fields, strict=True):
                try:
                    values[name] = _value(name, column, text)
                except ValueError as error:
                    problems.append(f"{place}: {error}")
                    if len(problems) >= _SHOWN:
                        return
            if len(values) == len(columns):
                names = KEYS[kind]
                if empty := [name for name in names if values[name] is None]:
                    problems.append(f"{place}: {empty[0]} is empty, expected what names the row")
                    continue
                yield place, BundleRow(kind, "/".join(str(values[name]) for name in names), values)


def _value(name: str, column: Column, text: str) -> Any:
    value = parse_value(text, column, name)
    if value is None:
        return None
    if column.kind == "text":
        pattern = _PATTERNS.get(name)
        if pattern and not pattern.fullmatch(text):
            msg = f"{name} is {text[:80]!r}, expected {pattern.pattern}"
            raise ValueError(msg)
        if column.levels and name not in _JOINED and ";" in text:
            msg = f"{name} holds several values ({text[:80]!r}), expected one"
            raise ValueError(msg)
        if not text.isprintable() or len(text) > 1000:
            msg = f"{name} has characters that are not printed, or more than 1000"
            raise ValueError(msg)
    elif column.kind != "boolean" and column.units in ("count", "mm3") and value < 0 and name != "growth_mm3":
        msg = f"{name} is {value}, expected 0 or more"
        raise ValueError(msg)
    elif column.kind != "boolean" and abs(value) > 1e9:
        msg = f"{name} is {value}, expected less than 1e9"
        raise ValueError(msg)
    return value


def _foreign(place: str, row: BundleRow, manifest: BundleManifest) -> Iterator[str]:
    """Yield the values of a row that are of another study or site."""
    for name, expected in (("study_id", manifest.study_id), ("site_id", manifest.site_id)):
        if name in row.values and row.values[name] != expected:
            yield f"{place}: {name} is {row.values[name]!r}, expected {expected!r}, that of the manifest"


def _domain_strays(path: Path, manifest: BundleManifest, visits: Iterable[BundleRow]) -> Iterator[str]:
    """Yield the rows of an SDTM domain about another participant, or with a result of what was not done."""
    prefix = f"{manifest.study_id}-{manifest.site_id}-"
    subjects = {prefix + row.visit[0].removeprefix("sub-") for row in visits}
    with path.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream, strict=True), start=2):
            subject = row.get("USUBJID")
            if subject is not None and subject not in subjects:
                yield f"{path.name} row {number}: USUBJID is {subject!r}, of no visit in this bundle"
            if row.get("NVSTAT") == "NOT DONE" and (row.get("NVORRES") or row.get("NVSTRESC")):
                yield f"{path.name} row {number}: has a result although NVSTAT is NOT DONE"


def _contradictions(row: BundleRow) -> Iterator[str]:
    """Yield the values of a visit that contradict its evaluability: law 1, not evaluable is never zero."""
    values, place = row.values, f"visit_metrics.csv {row.key}"
    for name in ("visit_type", "read_status", "qc_status", "software_version", "config_sha256"):
        if values[name] is None:
            yield f"{place}: {name} is empty"
    for part, columns in EVALUATED.items():
        evaluable, reason = values[f"{part}_evaluable"], values[f"{part}_reason"]
        stated = f"{part}_evaluable is {str(evaluable).lower()}"
        if evaluable is None:
            yield f"{place}: {part}_evaluable is empty, expected true or false"
        elif evaluable == bool(reason):
            yield f"{place}: {stated} and {part}_reason is {reason!r}"
        for column in columns:
            # not evaluable is never zero, and what is evaluable has a number
            may_lack = evaluable and column in NEEDS_EARLIER_GEL
            if evaluable is not None and not may_lack and evaluable == (values[column] is None):
                yield f"{place}: {column} is {values[column]}, but {stated}"


def _ledger_differs(tables: Mapping[str, Mapping[str, BundleRow]]) -> Iterator[str]:
    """Yield the counts that are not those of the lesion ledger, from which all counts come."""
    by_visit: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in tables[LESIONS].values():
        by_visit[row.visit].append(row.values)
    visits = {row.visit: row for row in tables[VISITS].values()}
    for visit in by_visit.keys() - visits.keys():
        yield f"lesions.csv {'/'.join(visit)}: the visit is not in visit_metrics.csv"
    for visit, row in visits.items():
        values = row.values
        counts = visit_counts(
            by_visit[visit],
            gel_evaluable=values["gel_evaluable"],
            gel_change_evaluable=values["gel_new_count"] is not None,
            t2_evaluable=values["t2_evaluable"],
            t2_change_evaluable=values["t2_change_evaluable"],
            cua_evaluable=values["cua_evaluable"],
        )
        for name, count in counts.items():
            if name.endswith("_count") and count != values[name]:
                yield f"visit_metrics.csv {row.key}: {name} is {values[name]}, but {count} in lesions.csv"
