"""Identifiers of a person, which no bundle may hold: patient IDs, names, dates of the scans, addresses."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mesems_mri.dataset.input_tables import read_tsv
from mesems_mri.errors import BundleError
from mesems_mri.transfer.columns import TextTable

_LABELS = {
    "participant_id": re.compile(r"(sub-[a-zA-Z0-9]+)?"),
    "session_id": re.compile(r"(ses-[a-zA-Z0-9]+)?"),
}
_PATTERNS = {
    "a person's name as DICOM writes it": re.compile(r"[^\W\d_]{2,}\^[^\W\d_]"),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.\w"),
}
_DATE = re.compile(
    r"(?<![\d.-])(?:(?:19|20)\d\d([-/]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([./-])(?:0?[1-9]|1[0-2])\2(?:19|20)\d\d)(?![\d.-]*\d)"
)
_FREE_TEXT = {"what", "action", "reason"}
"""Columns that somebody may have written, where a true date would give away by how much dates are shifted."""
_HASHES = {"config_sha256", "SPDEVID", "submission_id"}
"""Columns in which any digits stand, by chance."""
_MIN_ID, _MIN_NUMBER = 4, 5
"""Shorter patient IDs, and shorter ones of digits alone, stand in labels and dates by chance."""


def patient_ids(sheet: Path) -> set[str]:
    """Read the patient IDs of the scans from the visit schedule of a trial, without those that are labels.

    Returns
    -------
    set of str
        Letters and digits only, in lower case.
    """
    ids, labels = set(), set()
    for row in read_tsv(sheet):
        ids.add(_plain(row.get("dicom_patient_id", "")))
        labels |= {_plain(row.get("participant_id", "").removeprefix(p)) for p in ("", "sub-")}
        labels |= {f"sub{label}" for label in labels}
    return {one for one in ids - labels if len(one) >= (_MIN_NUMBER if one.isdigit() else _MIN_ID)}


def refuse_identifiers(tables: Mapping[str, TextTable], patients: Iterable[str] = ()) -> None:
    """Refuse tables in which a value names a person; the message does not repeat the value.

    Parameters
    ----------
    tables : mapping of str to TextTable
        By file name.
    patients : iterable of str
        Patient IDs as `patient_ids` gives them.

    Raises
    ------
    BundleError
        Naming file, row, column and what was found.
    """
    find = _patient_finder(patients)
    seen = set()
    for name, table in tables.items():
        for number, row in enumerate(table.rows, start=1):
            for cell in zip(table.columns, row, strict=True):
                if not cell[1] or cell in seen:
                    continue
                seen.add(cell)
                column, text = cell
                if found := _found(column, text, find):
                    msg = f"{name}: row {number} holds {found} in {column}, which must not leave the centre"
                    source = "queries.tsv" if name == "queries.csv" else "the table it comes from"
                    msg += f"; correct it in {source}"
                    raise BundleError(msg)


def _patient_finder(patients: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that returns whether a text holds one of the patient IDs.

    One with a letter is found however it is written. One of digits alone must be a whole number of the text:
    inside of others, as volumes are, any digits stand.
    """
    known = sorted(set(patients))
    words = "|".join(re.escape(one) for one in known if not one.isdigit())
    numbers = "|".join(one for one in known if one.isdigit())
    word = re.compile(words) if words else None
    number = re.compile(rf"(?<![\d.])(?:{numbers})(?![\d.])") if numbers else None

    def find(text: str) -> bool:
        return bool((word and word.search(_plain(text))) or (number and number.search(text)))

    return find


def _found(column: str, text: str, find_patient: Callable[[str], bool]) -> str | None:
    if column in _LABELS and not _LABELS[column].fullmatch(text):
        return "something that is no label"
    for what, pattern in _PATTERNS.items():
        if pattern.search(text):
            return what
    if column in _FREE_TEXT and _DATE.search(text):
        return "a date"
    if column not in _HASHES and find_patient(text):
        return "a patient ID of the visit schedule"
    return None


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()
