"""Tables on disk: atomic writing, reading, column dictionaries, and the forbidden columns."""

import csv
import io
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mesems_mri.dataset.columns import SCHEMA_VERSION, Column
from mesems_mri.errors import DatasetError, ForbiddenColumnError
from mesems_mri.files import write_json, write_text

FORBIDDEN_COLUMNS = (
    "arm",
    "armcd",
    "actarm",
    "actarmcd",
    "trt*",
    "treatment*",
    "group",
    "allocation",
    "randomi[sz]ation*",
    "edss",
    "relapse*",
    "sdmt",
    "nhpt",
    "t25fw",
)
"""Patterns of columns that would unblind the analysis, ignoring case, space, ``_`` and other marks."""

Row = Mapping[str, Any]


def check_forbidden(columns: Iterable[str], path: Path | str) -> None:
    """Refuse a table that would unblind the analysis.

    Parameters
    ----------
    columns : iterable of str
        Names of its columns.
    path : Path or str
        The table, for the error text.

    Raises
    ------
    ForbiddenColumnError
        If a column matches `FORBIDDEN_COLUMNS`.
    """
    for name in columns:
        plain = "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())
        if any(fnmatchcase(plain, pattern) for pattern in FORBIDDEN_COLUMNS):
            msg = f"{path}: the column {name!r} would unblind the analysis; remove it from the table"
            raise ForbiddenColumnError(msg)


def write_table(path: Path, columns: Mapping[str, Column], rows: Iterable[Row], *, missing: str = "") -> None:
    r"""Write a table as tab-separated text (atomic write).

    Parameters
    ----------
    path : Path
    columns : mapping of str to Column
        All columns in order; a value that a row lacks is empty.
    rows : iterable of mapping
    missing : str
        Text of an empty value; BIDS has ``n/a``.

    Raises
    ------
    ValueError
        If a row has an unknown column or a value that its column cannot hold.
    """
    texts = ([cell or missing for cell in cells] for cells in table_cells(path.name, columns, rows))
    lines = ["\t".join(columns), *("\t".join(cells) for cells in texts)]
    write_text(path, "\n".join(lines) + "\n")


def table_cells(name: str, columns: Mapping[str, Column], rows: Iterable[Row]) -> Iterator[list[str]]:
    """Yield the texts of each row, in the order of the columns; `name` is for the error text.

    Raises
    ------
    ValueError
        If a row has an unknown column or a value that its column cannot hold.
    """
    for row in rows:
        unknown = [column for column in row if column not in columns]
        if unknown:
            msg = f"{name}: unknown column(s) {', '.join(unknown)}"
            raise ValueError(msg)
        yield [_format(row.get(name), column, name) for name, column in columns.items()]


def read_table(path: Path, columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Read a table that `write_table` wrote; empty fields become None.

    Raises
    ------
    DatasetError
        If the columns are not those expected or a value is not of its kind.
    """
    reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8")), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(reader, [])
    if header != list(columns):
        odd = sorted(set(header) ^ set(columns)) or header
        msg = f"{path}: columns are not those of schema {SCHEMA_VERSION} ({', '.join(odd)}); run again"
        raise DatasetError(msg)
    try:
        return [
            {name: _parse(text, columns[name]) for name, text in zip(header, fields, strict=True)}
            for fields in reader
        ]
    except ValueError as error:
        msg = f"{path}: line {reader.line_num}: {error}; run again"
        raise DatasetError(msg) from error


def parse_value(text: str, column: Column, name: str) -> Any:
    """Return the value of a field, exactly as `write_table` would have written it; None if it is empty.

    Raises
    ------
    ValueError
        If the column cannot hold it, or it is written in another way (``1`` where there is one decimal).
    """
    value = _parse(text, column)
    if (written := _format(value, column, name)) != text:
        msg = f"{name} must be written as {written}, got {text!r}"
        raise ValueError(msg)
    return value


def write_dictionary(path: Path, columns: Mapping[str, Column]) -> None:
    """Write the column dictionary of a table (BIDS sidecar: Description, Units, Levels)."""
    dictionary: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    for name, column in columns.items():
        entry: dict[str, Any] = {"Description": column.description}
        if column.units:
            entry["Units"] = column.units
        if column.kind == "boolean":
            entry["Levels"] = {"true": "Yes", "false": "No"}
        elif column.levels:
            entry["Levels"] = column.levels
        dictionary[name] = entry
    write_json(path, dictionary)


def _format(value: Any, column: Column, name: str) -> str:
    """Return the text of a value."""
    if value is None or value == "":
        return ""
    if column.kind == "boolean":
        if not isinstance(value, bool):
            msg = f"{name} must be true or false, got {value!r}"
            raise ValueError(msg)
        return "true" if value else "false"
    if column.kind == "integer":
        if isinstance(value, bool) or int(value) != value:
            msg = f"{name} must be a whole number, got {value!r}"
            raise ValueError(msg)
        return str(int(value))
    if column.kind == "number":
        if not math.isfinite(value):
            msg = f"{name} must be finite, got {value!r}"
            raise ValueError(msg)
        return f"{round(float(value), column.decimals) + 0.0:.{column.decimals}f}"  # + 0.0: never -0.0
    text = str(value)
    if any(mark in text for mark in "\t\r\n"):
        msg = f"{name} must be one line without tabs, got {text!r}"
        raise ValueError(msg)
    levels = column.levels
    if levels and any(part not in levels for part in text.split(";")):
        msg = f"{name} must be one of {', '.join(levels)}, got {text!r}"
        raise ValueError(msg)
    return text


def _parse(text: str, column: Column) -> Any:
    """Return the value of a text; None if it is empty."""
    if text == "":
        return None
    if column.kind == "boolean":
        return {"true": True, "false": False}[text] if text in ("true", "false") else _refuse(text)
    if column.kind == "integer":
        return int(text)
    return float(text) if column.kind == "number" else text


def _refuse(text: str) -> None:
    msg = f"expected true or false, got {text!r}"
    raise ValueError(msg)
