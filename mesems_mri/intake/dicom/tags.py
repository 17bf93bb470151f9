"""Read single values of a header, wherever an enhanced or a classic object keeps them."""

import datetime as dt
import math
import re
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.multival import MultiValue

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# What an enhanced object calls a value that every classic one has under another name.
_ENHANCED_NAME = {
    "EchoTime": "EffectiveEchoTime",
    "InversionTime": "InversionTimes",
    "ImagedNucleus": "ResonantNucleus",
}
_CLOCK = re.compile(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?")


def value(header: Dataset, keyword: str) -> object | None:
    """Return the value of a tag, from the top, else from the functional groups of the first frame.

    Parameters
    ----------
    header : Dataset
        Header of a classic or an enhanced object.
    keyword : str
        As DICOM names it in a classic object, e.g. ``"EchoTime"``.

    Returns
    -------
    object or None
        None when the tag is absent, empty or cannot be read: a header is not ours to trust.
    """
    for dataset in _places(header):
        for name in (keyword, _ENHANCED_NAME.get(keyword)):
            found = _get(dataset, name) if name else None
            if found is not None:
                return found
    return None


def number(header: Dataset, keyword: str, index: int = 0) -> float | None:
    """Return a value as a finite number, the `index`-th where there are several; None if it is none."""
    found = numbers(header, keyword)
    return found[index] if index < len(found) else None


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all values of a tag as finite numbers; none at all if one of them is no number."""
    return as_numbers(value(header, keyword))


def as_numbers(found: object) -> tuple[float, ...]:
    """Return the value of a tag as finite numbers; none if one of them is no number."""
    if found is None:
        return ()
    parts = found if isinstance(found, MultiValue | list | tuple) else (found,)
    try:
        converted = tuple(float(part) for part in parts)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        return ()
    return converted if all(math.isfinite(part) for part in converted) else ()


def text(header: Dataset, keyword: str) -> str:
    """Return a value as one line of text, several values joined by a backslash; empty if absent."""
    found = value(header, keyword)
    if found is None:
        return ""
    parts = found if isinstance(found, MultiValue | list | tuple) else (found,)
    return "\\".join(" ".join(str(part).replace("\0", " ").split()) for part in parts)


def words(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a tag in upper case, e.g. of ``ImageType``."""
    return tuple(part.strip().upper() for part in text(header, keyword).split("\\") if part.strip())


def quoted(words: str) -> str:
    """Quote a value of a header; quoted parts are de-identified before they are shown."""
    return f"'{' '.join(words.replace(chr(39), ' ').split())[:40].strip()}'"


def sequence(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none when it is absent, empty or damaged."""
    found = _get(dataset, keyword)
    try:
        items = list(found) if found is not None else []  # pyright: ignore[reportCallIssue, reportArgumentType]
    except TypeError:
        return []
    return [item for item in items if isinstance(item, Dataset)]


def moment(header: Dataset) -> dt.datetime | None:
    """Return the start of the acquisition, from the most to the least direct tag; None without any."""
    for keyword in ("AcquisitionDateTime", "FrameAcquisitionDateTime"):
        digits = text(header, keyword)
        day, clock = parse_day(digits[:8]), parse_clock(digits[8:])
        if day and clock is not None:
            return dt.datetime.combine(day, clock)
    for date, time in (
        ("AcquisitionDate", "AcquisitionTime"),
        ("SeriesDate", "SeriesTime"),
        ("ContentDate", "ContentTime"),
        ("StudyDate", "AcquisitionTime"),
        ("StudyDate", "SeriesTime"),
        ("StudyDate", "StudyTime"),
    ):
        day, clock = parse_day(text(header, date)), parse_clock(text(header, time))
        if day and clock is not None:
            return dt.datetime.combine(day, clock)
    return None


def study_day(header: Dataset) -> dt.date | None:
    """Return the day of the examination."""
    for keyword in ("StudyDate", "AcquisitionDate", "SeriesDate", "ContentDate"):
        if day := parse_day(text(header, keyword)):
            return day
    found = moment(header)
    return found.date() if found else None


def parse_day(digits: str) -> dt.date | None:
    """Read a DICOM date, also in the old form with dots."""
    digits = digits.replace(".", "").replace("-", "").strip()
    if not re.fullmatch(r"\d{8}", digits):
        return None
    try:
        return dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def parse_clock(digits: str) -> dt.time | None:
    """Read a DICOM time."""
    match = _CLOCK.match(digits.replace(":", "").strip())
    if not match:
        return None
    hour, minute, second, fraction = match.groups()
    try:
        return dt.time(int(hour), int(minute or 0), int(second or 0), int((fraction or "0").ljust(6, "0")))
    except ValueError:
        return None


def _places(header: Dataset) -> Iterator[Dataset]:
    yield header
    for keyword in _GROUPS:
        for group in sequence(header, keyword)[:1]:
            for element_tag in list(group.keys()):
                yield from sequence(group, keyword_for_tag(element_tag))[:1]


def _get(dataset: Dataset, keyword: str) -> object | None:
    if not keyword or tag_for_keyword(keyword) is None:
        return None
    try:
        found = dataset.get(keyword)
    except Exception:  # any damage of one element: pydicom raises what its parts raise
        return None
    if found is None or (isinstance(found, str | bytes | MultiValue | list | tuple) and len(found) == 0):
        return None
    return found
