"""Allow-list of DICOM attributes with the rule of each, and the confidentiality profile of the standard.

``profile.tsv`` is Table E.1-1 of DICOM PS3.15 (column *basic*: edition 2026c; the columns of the options:
2024c). ``retained.tsv`` is the allow-list: what an MR image needs to be opened, measured and checked against
a protocol, each with the rule that de-identifies its value. **Every other attribute is removed**, private
ones too, so that an attribute that a vendor or a later edition adds is removed as well; some that have to be
there are emptied.
"""

import csv
from enum import StrEnum
from functools import cache
from importlib.resources import files

from pydicom.datadict import tag_for_keyword

METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113109", "Retain Device Identity Option"),
)
"""Profile and options, as (0012,0064) codes them (PS3.16, CID 7050)."""


class CleaningRule(StrEnum):
    """De-identification rule of a retained attribute."""

    NUMBER = "number"
    """A number too small for a record number or a date."""
    CODE = "code"
    """Only words that the standard or a vendor defines."""
    WORDS = "words"
    """Reduced to words that name nobody (Clean Descriptors)."""
    DEVICE = "device"
    """Reduced in the same way; what is lost leaves a keyed mark, so that a change still shows."""
    SERIAL = "serial"
    """Replaced by a keyed mark: the same device stays recognisable, and a number typed there does not."""
    UID = "uid"
    """Replaced by a keyed hash, unless the standard defines it."""
    DATE = "date"
    """Shifted by the offset of the participant."""
    TIME = "time"
    """The time of day stays."""
    ITEMS = "items"
    """A sequence, cleaned in turn."""
    CODED = "coded"
    """A sequence of codes of which the allow-listed ones are retained, in the words of the standard."""
    PIXELS = "pixels"


KNOWN_CODES = {
    ("SRT", "T-A0100"): "Brain",
    ("SCT", "12738006"): "Brain",
    ("SRT", "T-D1100"): "Head",
    ("SCT", "69536005"): "Head",
    ("SRT", "T-D1000"): "Head and Neck",
    ("SCT", "774007"): "Head and Neck",
    ("DCM", "121311"): "Localizer",
    ("DCM", "121322"): "Source image for image processing operation",
    ("SCT", "7140000"): "Contrast agent",
    ("SCT", "58281002"): "Gadolinium",
    ("SCT", "768763008"): "Gadolinium",
    ("SCT", "407976008"): "Gadobutrol",
    ("SCT", "712714000"): "Gadoterate meglumine",
    ("SCT", "353946009"): "Gadoteridol",
    ("SRT", "G-D101"): "Intravenous route",
    ("SCT", "47625008"): "Intravenous route",
}
"""Codes of the allow-list, with their meaning; the text beside a code is the site's and is not read."""


@cache
def retained_attributes() -> dict[int, CleaningRule]:
    """Return the rule of each retained attribute, by its tag."""
    return {_tag(row["keyword"]): CleaningRule(row["rule"]) for row in _rows("retained.tsv")}


@cache
def emptied_attributes() -> frozenset[int]:
    """Return the attributes that the profile empties instead of removing them (action Z), by their tags."""
    rows = [row for row in _rows("profile.tsv") if row["basic"] in ("Z", "Z/D")]
    return frozenset(int(row["tag"].replace(",", ""), 16) for row in rows) - retained_attributes().keys()


@cache
def table() -> dict[str, dict[str, str]]:
    """Return Table E.1-1: the actions of each attribute by column, by its tag as ``gggg,eeee``."""
    return {row["tag"]: row for row in _rows("profile.tsv")}


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("mesems_mri.intake.deidentify") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        msg = f"retained.tsv: DICOM has no attribute {keyword}"
        raise ValueError(msg)
    return tag
