"""Files of a bundle: one converter to CSV for all tables, and the dictionary of their columns."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesems_mri.dataset.tables import table_cells
from mesems_mri.transfer.columns import QUERY_COLUMNS, TABLE_COLUMNS, TextTable
from mesems_mri.transfer.sdtm import domains
from mesems_mri.transfer.sdtm_columns import DOMAIN_VARIABLES, NV_TESTS
from mesems_mri.transfer.study import SiteStudy
from mesems_mri.transfer.xpt import xpt_bytes

DICTIONARY = ("file", "column", "description", "type", "units", "decimals", "values")


def bundle_tables(site: SiteStudy) -> tuple[dict[str, TextTable], dict[str, bytes]]:
    """Make the files of a bundle.

    Returns
    -------
    tables : dict of str to TextTable
        Of every CSV file.
    contents : dict of str to bytes
        Of every file but manifest and signature.

    Raises
    ------
    BundleError
        If a text is too long for SAS transport.
    ValueError
        If a value breaks the schema of its table.
    """
    queries = [{name: getattr(query, name) for name in QUERY_COLUMNS} for query in site.queries]
    rows = {
        "visit_metrics.csv": site.metrics,
        "lesions.csv": site.lesions,
        "queries.csv": queries,
        "participant_endpoints.csv": site.endpoints,
    }
    tables = {
        name: TextTable(list(columns), list(table_cells(name, columns, rows[name])))
        for name, columns in TABLE_COLUMNS.items()
    }
    contents = {}
    for name, domain in domains(site).items():
        variables = list(DOMAIN_VARIABLES[name])
        tables[f"{name}.csv"] = TextTable(
            variables, [[_text(row.get(v)) for v in variables] for row in domain]
        )
        contents[f"{name}.xpt"] = xpt_bytes(name, domain)
    tables["dictionary.csv"] = TextTable(DICTIONARY, dictionary())
    contents |= {name: csv_bytes(table) for name, table in tables.items()}
    return tables, contents


def csv_bytes(table: TextTable) -> bytes:
    """Return a table as CSV (RFC 4180, but a line feed alone ends a line), UTF-8."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return stream.getvalue().encode()


def dictionary() -> list[list[str]]:
    """Explain every column of every file of a bundle, in the order of `DICTIONARY`."""
    lines: list[list[str]] = []
    for name, columns in TABLE_COLUMNS.items():
        for column, c in columns.items():
            decimals = str(c.decimals) if c.kind == "number" else ""
            levels: Mapping[str, str] = {"true": "Yes", "false": "No"} if c.kind == "boolean" else c.levels
            values = "; ".join(f"{value} = {meaning}" for value, meaning in levels.items())
            lines.append([name, column, c.description, c.kind, c.units, decimals, values])
    for domain, variables in DOMAIN_VARIABLES.items():
        for variable, v in variables.items():
            values = ""
            if variable == "NVTESTCD":
                values = "; ".join(f"{r.code} = {r.column} of visit_metrics.csv" for r in NV_TESTS)
            elif variable in ("NVREASND", "PRREASND", "AGREASND"):
                values = "reason codes, as gel_reason of visit_metrics.csv"
            for kind in ("csv", "xpt"):
                lines.append([f"{domain}.{kind}", variable, v.label, v.kind, "", "", values])
    return lines


def _text(value: Any) -> str:
    """Return the text of a value of a domain."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return "" if value is None else str(value)


def read_visits(bundle: Path) -> set[tuple[str, str]]:
    """Return participant and session of every visit in a bundle."""
    with (bundle / "visit_metrics.csv").open(encoding="utf-8", newline="") as stream:
        return {(row["participant_id"], row["session_id"]) for row in csv.DictReader(stream)}
