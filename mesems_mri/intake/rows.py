"""Tables of the BIDS folder as rows of text."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from mesems_mri.files import write_text


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table of the BIDS folder; empty when it does not exist."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def write_rows(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str] = ()) -> None:
    """Write a table, with the columns given and any others that its rows have."""
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    lines = ["\t".join(names)]
    lines += ["\t".join(cell(row.get(name)) for name in names) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def cell(value: object) -> str:
    """Return a value as one line that fits a cell; ``n/a`` when there is none."""
    text = "" if value is None else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "n/a"
