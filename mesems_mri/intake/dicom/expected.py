"""Expected number of slices of a series, as the scanner recorded it."""

import re
from typing import NamedTuple

from pydicom import DataElement, Dataset

from mesems_mri.intake.dicom.tags import as_numbers, number, numbers, sequence, text

# The protocol of a Siemens scanner, text inside a private element: slices of a 2D, partitions of a 3D scan.
_SLICES = re.compile(rb"sSliceArray\.lSize\s*=\s*(\d+)")
_PARTITIONS = re.compile(rb"sKSpace\.lImagesPerSlab\s*=\s*(\d+)")
_SIEMENS = ((0x0029, (0x1020, 0x1120, 0x1210)), (0x0021, (0x1019, 0x1119, 0x10FE)))
_PRIVATE_COUNTS = (
    # private creator, group, element within its block, what it is
    ("Philips Imaging DD 001", 0x2001, 0x18, "Philips number of slices"),
    ("GEMS_RELA_01", 0x0021, 0x4F, "GE locations in acquisition"),
)
_MANY = 100_000


class Expected(NamedTuple):
    """An expected number of slices, and its source."""

    slices: int
    source: str


def expected_slices(header: Dataset) -> Expected | None:
    """Return the expected number of slices of a series.

    Parameters
    ----------
    header : Dataset
        Of one instance.

    Returns
    -------
    Expected or None
        None when no tag says it: then a series that ends early cannot be told from a short one.
    """
    for keyword in ("NumberOfSlices", "ImagesInAcquisition"):
        if found := _count(number(header, keyword)):
            return Expected(found, keyword)
    for creator, group, element, what in _PRIVATE_COUNTS:
        if found := _count(_private_number(header, creator, group, element)):
            return Expected(found, what)
    stack = [
        int(position)
        for frame in sequence(header, "PerFrameFunctionalGroupsSequence")
        for content in sequence(frame, "FrameContentSequence")[:1]
        for position in numbers(content, "InStackPositionNumber")
    ]
    if stack and (found := _count(max(stack))):
        return Expected(found, "InStackPositionNumber")
    if "SIEMENS" in text(header, "Manufacturer").upper() and (found := _siemens(header)):
        return Expected(found, "Siemens protocol")
    return None


def _siemens(header: Dataset) -> int:
    three_d = text(header, "MRAcquisitionType") == "3D"
    for group, elements in _SIEMENS:
        for element in elements:
            content = _bytes(header, group, element)
            slabs, partitions = _SLICES.search(content), _PARTITIONS.search(content)
            if slabs and not three_d:
                return _count(float(slabs[1]))
            if partitions and three_d:
                return _count(float(partitions[1]) * float(slabs[1] if slabs else 1))
    return 0


def _bytes(header: Dataset, group: int, element: int) -> bytes:
    try:
        found = header.get((group, element))
    except Exception:  # a damaged element is as good as none
        return b""
    content = found.value if isinstance(found, DataElement) else None
    return content if isinstance(content, bytes) else b""


def _private_number(header: Dataset, creator: str, group: int, element: int) -> float | None:
    try:
        found = header.private_block(group, creator)[element].value
    except Exception:  # absent, or damaged
        return None
    values = as_numbers(found)
    return values[0] if values else None


def _count(found: float | None) -> int:
    return int(found) if found is not None and 0 < found < _MANY else 0
