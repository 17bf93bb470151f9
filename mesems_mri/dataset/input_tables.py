"""Input tables: strict reading of tab-separated text; columns that would unblind the analysis are refused."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mesems_mri.dataset.tables import check_forbidden
from mesems_mri.errors import DatasetError

_NOTHING = {"", "n/a", "na", "none", "unknown"}
_NOT_INPUT = {"derivatives", "sourcedata", "code"}
"""Folders of a BIDS data set that hold no input of ours."""
_SEPARATORS = re.compile(r"[\t,;|]")


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Read a table of the input, refusing columns that would unblind the analysis.

    Returns
    -------
    list of dict
        One for each row, by column; a missing value (``n/a``) is empty.

    Raises
    ------
    ForbiddenColumnError
        If it has a forbidden column.
    DatasetError
        If it is no tab-separated UTF-8 table.
    """
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        return []
    check_forbidden(_columns(lines[0]), path)
    try:
        head, *body = csv.reader(lines, delimiter="\t", strict=True)
    except csv.Error as error:
        msg = f"{path}: the table cannot be read ({error}); save it as tab-separated UTF-8 text"
        raise DatasetError(msg) from error
    names = [name.strip() for name in head]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        msg = f"{path}: several columns are named {twice[0]!r}, expected one; correct the table"
        raise DatasetError(msg)
    rows = []
    for number, fields in enumerate(body, start=1):
        if len(fields) > len(names):
            msg = f"{path}: row {number} has {len(fields)} fields, expected {len(names)}; correct the table"
            raise DatasetError(msg)
        row = {name: " ".join(text.split()) for name, text in zip(names, fields, strict=False) if name}
        rows.append({name: "" if text.casefold() in _NOTHING else text for name, text in row.items()})
    return rows


def refuse_forbidden_columns(bids_dir: Path) -> None:
    """Refuse a data set with a forbidden column in any table, those that are not read included.

    Tables are ``.tsv`` and ``.csv`` files anywhere but in ``derivatives``, ``sourcedata`` and ``code``, and
    the JSON files that describe the columns of a table (beside it, or at the root).

    Raises
    ------
    ForbiddenColumnError
        If a column or a described column is forbidden.
    DatasetError
        If a table is no UTF-8 text, so that its columns are not known.
    """
    for path in _tables(bids_dir):
        if path.suffix.lower() == ".json":
            try:
                content = json.loads(_text(path))
            except ValueError:
                continue  # a broken dictionary names no column
            check_forbidden(content if isinstance(content, dict) else [], path)
        else:
            first = next((line for line in _text(path).splitlines() if line.strip()), "")
            check_forbidden(_columns(first), path)


def _tables(bids_dir: Path) -> Iterator[Path]:
    for place in sorted(bids_dir.iterdir()):
        if place.is_dir() and place.name not in _NOT_INPUT and not place.name.startswith("."):
            paths = sorted(p for p in place.rglob("*") if p.suffix.lower() in (".tsv", ".csv", ".json"))
        else:
            paths = [place]
        for path in paths:
            kind = path.suffix.lower()
            # The sidecar of an image describes no column; there are many of them.
            described = kind == ".json" and (path.parent == bids_dir or path.with_suffix(".tsv").is_file())
            if path.is_file() and (kind in (".tsv", ".csv") or described):
                yield path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: the table cannot be read ({error}); save it as tab-separated UTF-8 text"
        raise DatasetError(msg) from error


def _columns(line: str) -> list[str]:
    """Return the names in the head of a table, whatever separates them."""
    return [name.strip().strip("\"'") for name in _SEPARATORS.split(line)]
