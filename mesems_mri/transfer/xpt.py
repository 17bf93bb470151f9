"""SAS transport files, version 5 (SAS technical note TS-140), written with pyreadstat."""

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesems_mri.errors import BundleError
from mesems_mri.transfer.sdtm_columns import DOMAIN_LABELS, DOMAIN_VARIABLES, Variable

_TIME = b"01JAN60:00:00:00"
"""Day 0 of SAS."""
_TIMES_AT = (144, 160, 464, 480)
"""Offsets of the four times of creation and change in a file with one data set, in bytes."""


def xpt_bytes(domain: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return a domain as SAS transport v5; the same rows give the same bytes.

    Parameters
    ----------
    domain : str
        ``nv``, ``pr``, ``ag``, ``suppag`` or ``di``.
    rows : iterable of mapping

    Returns
    -------
    bytes
        Text is ASCII; any other character is ``?``, as version 5 has no encoding.

    Raises
    ------
    BundleError
        If a text is longer than its variable.
    """
    import pandas as pd
    import pyreadstat

    variables, rows = DOMAIN_VARIABLES[domain], list(rows)
    frame = pd.DataFrame({name: _column(domain, name, v, rows) for name, v in variables.items()})
    for name, variable in variables.items():
        frame[name] = frame[name].astype("float64" if variable.kind == "Num" else "object")
    with tempfile.TemporaryDirectory(prefix="mesems-mri-xpt-") as folder:
        path = Path(folder) / f"{domain}.xpt"
        pyreadstat.write_xport(
            frame,
            path,
            file_label=DOMAIN_LABELS[domain],
            table_name=domain.upper(),
            column_labels=[variable.label for variable in variables.values()],
            file_format_version=5,
        )
        return _without_time(path.read_bytes())


def _column(domain: str, name: str, variable: Variable, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    if variable.kind == "Num":
        return [math.nan if row.get(name) is None else float(row[name]) for row in rows]
    texts = [str(row.get(name) or "").encode("ascii", "replace").decode() for row in rows]
    longest = max(texts, key=len, default="")
    if len(longest) > variable.length:
        msg = (
            f"{domain}.xpt: {name} has {len(longest)} characters ({longest[:40]!r}), "
            f"at most {variable.length} are allowed; use a shorter label"
        )
        raise BundleError(msg)
    # pyreadstat takes the width from the longest text: one padded text makes it the same in every bundle
    return [text.ljust(variable.length) if i == 0 else text for i, text in enumerate(texts)]


def _without_time(content: bytes) -> bytes:
    """Replace the time of writing, which ReadStat lets nobody choose."""
    changed = bytearray(content)
    for at in _TIMES_AT:
        changed[at : at + len(_TIME)] = _TIME
    return bytes(changed)
