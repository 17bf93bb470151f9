"""Slices of an object, classic or enhanced: position, kind, and what tells one acquisition from another."""

import datetime as dt
from typing import NamedTuple

from pydicom import Dataset

from mesems_mri.intake.dicom.tags import number, numbers, parse_clock, parse_day, sequence, text, words

_BOLUS = ("ContrastBolusAgent", "ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastBolusStartTime")
READ_TAGS = [
    *("ImageType", "EchoTime", "ImagePositionPatient", "ImageOrientationPatient", "AcquisitionNumber"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate", "ContentTime"),
    *("TemporalPositionIdentifier", "TriggerTime", "ContrastBolusAgentSequence", *_BOLUS),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
"""Attributes that `slices_of` reads."""


class Marks(NamedTuple):
    """Values that differ between acquisitions at the same places; None where the header is silent.

    Parameters
    ----------
    bolus : str
        All bolus tags: only whether they are alike is asked.
    acquisition, temporal : float or None
        Acquisition number; temporal position.
    began, content : float or None
        Start of the acquisition and of the content, in seconds.
    trigger : float or None
        Trigger time in ms.
    """

    bolus: str = ""
    acquisition: float | None = None
    began: float | None = None
    temporal: float | None = None
    trigger: float | None = None
    content: float | None = None


class Slice(NamedTuple):
    """Position of a slice, and its distinction from the others of its series."""

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    echo_ms: float | None
    kind: tuple[str, ...]
    marks: Marks = Marks()


def frames_of(header: Dataset) -> int:
    """Return the number of frames of an object; 1 when it is silent."""
    return max(int(number(header, "NumberOfFrames") or 1), 1)


def slices_of(header: Dataset, frames: int) -> tuple[Slice, ...]:
    """Return the slices of an object; none of a multi-frame object that does not describe its frames."""
    per_frame = sequence(header, "PerFrameFunctionalGroupsSequence")
    if not per_frame:
        position, orientation = (
            numbers(header, "ImagePositionPatient"),
            numbers(header, "ImageOrientationPatient"),
        )
        kind = words(header, "ImageType")
        one = Slice(position, orientation, number(header, "EchoTime"), kind, _marks(header))
        return (one,) if frames == 1 else ()
    shared = (sequence(header, "SharedFunctionalGroupsSequence") or [Dataset()])[0]
    of_object = _marks(header)
    found = []
    for frame in per_frame:
        position, orientation, echo, kind = (), (), None, ()
        for group in (frame, shared):
            position = position or _numbers(group, "PlanePositionSequence", "ImagePositionPatient")
            turned = _numbers(group, "PlaneOrientationSequence", "ImageOrientationPatient")
            orientation = orientation or turned
            echo = echo or next(iter(_numbers(group, "MREchoSequence", "EffectiveEchoTime")), None)
            for item in sequence(group, "MRImageFrameTypeSequence")[:1]:
                kind = kind or words(item, "FrameType")
        marks = _frame_marks(frame, of_object)
        found.append(Slice(position, orientation, echo, kind or words(header, "ImageType"), marks))
    return tuple(found)


def _numbers(group: Dataset, of: str, keyword: str) -> tuple[float, ...]:
    for item in sequence(group, of)[:1]:
        return numbers(item, keyword)
    return ()


def _marks(header: Dataset) -> Marks:
    bolus = [found for keyword in _BOLUS if (found := text(header, keyword))]
    bolus += [text(item, "CodeMeaning") for item in sequence(header, "ContrastBolusAgentSequence")]
    joined = text(header, "AcquisitionDateTime")
    began = _seconds(text(header, "AcquisitionDate"), text(header, "AcquisitionTime"))
    return Marks(
        bolus="|".join(bolus),
        acquisition=number(header, "AcquisitionNumber"),
        began=began if began is not None else _seconds(joined[:8], joined[8:]),
        temporal=number(header, "TemporalPositionIdentifier"),
        trigger=number(header, "TriggerTime"),
        content=_seconds(text(header, "ContentDate"), text(header, "ContentTime")),
    )


def _frame_marks(frame: Dataset, of_object: Marks) -> Marks:
    content = (sequence(frame, "FrameContentSequence") or [Dataset()])[0]
    began = text(content, "FrameAcquisitionDateTime")
    used = [
        f"{number(item, 'ContrastBolusAgentNumber')}={text(item, 'ContrastBolusAgentAdministered')}"
        for item in sequence(frame, "ContrastBolusUsageSequence")
    ]
    own = Marks(
        bolus="|".join([of_object.bolus, *used]) if used else of_object.bolus,
        acquisition=number(content, "FrameAcquisitionNumber"),
        began=_seconds(began[:8], began[8:]),
        temporal=number(content, "TemporalPositionIndex"),
        trigger=next(
            iter(_numbers(frame, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")), None
        ),
    )
    said = {field: mine for field, mine in own._asdict().items() if mine is not None}
    return of_object._replace(**said)


def _seconds(date: str, time: str) -> float | None:
    clock = parse_clock(time)
    if clock is None:
        return None
    day = parse_day(date)
    seconds = 3600 * clock.hour + 60 * clock.minute + clock.second + clock.microsecond / 1e6
    return seconds + 86400 * ((day or dt.date.min).toordinal() - 1)
