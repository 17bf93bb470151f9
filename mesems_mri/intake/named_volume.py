"""One volume of a series that holds several, as the site has named it."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence

from mesems_mri.intake.dicom.instance import read_header
from mesems_mri.intake.dicom.series import Series, slice_normal
from mesems_mri.intake.dicom.tags import moment, number, sequence

_SAME_PLACE_MM = 0.02


class VolumeError(Exception):
    """A series has no such volume; the text says why."""


def take_volume(series: Series, wanted: int) -> Series:
    """Return the images of one volume of a series.

    Volumes that lie in the same place are told apart by acquisition number and time, then by instance number,
    whether they were acquired one after the other or slice by slice.

    Parameters
    ----------
    series : Series
        A series in which every place holds the same number of slices.
    wanted : int
        Number of the volume, from 1.

    Returns
    -------
    Series
        Files and slices of the volume; the instance UIDs stay those of the series, so that it is known again.

    Raises
    ------
    VolumeError
        If the slices do not make that many volumes.
    """
    members = _members(series)
    places = _by_place(series, members)
    count = min((len(here) for here in places), default=0)
    if not places or count != max(len(here) for here in places):
        msg = "its slices do not make whole volumes"
        raise VolumeError(msg)
    if not 1 <= wanted <= count:
        msg = f"it has {count} volume{'s' if count > 1 else ''}, and none of the number {wanted}"
        raise VolumeError(msg)
    order = _order_of_files(series)
    chosen = sorted(sorted(here, key=lambda at: order(*members[at]))[wanted - 1] for here in places)
    return _only(series, members, chosen)


def _members(series: Series) -> list[tuple[int, int]]:
    """Return file and frame of each slice, in the order of the slices."""
    if series.frames_taken:
        return [(at, frame) for at, frames in enumerate(series.frames_taken) for frame in frames]
    if len(series.files) == len(series.slices):
        return [(at, 0) for at in range(len(series.files))]
    each, rest = divmod(len(series.slices), len(series.files))
    if rest:
        msg = "its files hold different numbers of slices"
        raise VolumeError(msg)
    return [(at, frame) for at in range(len(series.files)) for frame in range(each)]


def _by_place(series: Series, members: list[tuple[int, int]]) -> list[list[int]]:
    """Return the slices of each place along the normal."""
    normal = next((n for n in (slice_normal(s.orientation) for s in series.slices) if n is not None), None)
    if normal is None or any(len(s.position) != 3 for s in series.slices):
        msg = "the header does not say where its slices lie"
        raise VolumeError(msg)
    places: dict[int, list[int]] = defaultdict(list)
    at_mm = [float(np.dot(normal, one.position)) for one in series.slices]
    last, place = None, -1
    for at in sorted(range(len(members)), key=lambda i: at_mm[i]):
        if last is None or at_mm[at] - last > _SAME_PLACE_MM:
            place += 1
        places[place].append(at)
        last = at_mm[at]
    return list(places.values())


def _order_of_files(series: Series):
    """Return a key that orders the slices of one place in time."""
    headers = [read_header(path) for path in series.files]

    def key(file: int, frame: int) -> tuple[float, float, float, int, int]:
        header = headers[file]
        if per_frame := sequence(header, "PerFrameFunctionalGroupsSequence"):
            return (*_frame_time(per_frame[frame]), file, frame)
        when = moment(header)
        return (
            number(header, "TemporalPositionIdentifier") or number(header, "AcquisitionNumber") or 0.0,
            when.timestamp() if when else 0.0,
            float(series.instance_numbers[file] or 0) if series.instance_numbers else 0.0,
            file,
            frame,
        )

    return key


def _frame_time(frame: Dataset) -> tuple[float, float, float]:
    content = (sequence(frame, "FrameContentSequence") or [Dataset()])[0]
    temporal = (sequence(frame, "TemporalPositionSequence") or [Dataset()])[0]
    return (
        number(content, "TemporalPositionIndex") or number(temporal, "TemporalPositionTimeOffset") or 0.0,
        number(content, "FrameAcquisitionNumber") or 0.0,
        0.0,
    )


def _only(series: Series, members: list[tuple[int, int]], chosen: list[int]) -> Series:
    frames_of: dict[int, list[int]] = defaultdict(list)
    for at in chosen:
        file, frame = members[at]
        frames_of[file].append(frame)
    files = sorted(frames_of)
    slices = tuple(series.slices[at] for at in chosen)
    normal = next(n for n in (slice_normal(s.orientation) for s in slices) if n is not None)
    header = series.header
    if per_frame := sequence(read_header(series.files[files[0]]), "PerFrameFunctionalGroupsSequence"):
        header = Dataset()
        header.update(series.header)
        taken = [per_frame[frame] for frame in frames_of[files[0]]]
        header.PerFrameFunctionalGroupsSequence = Sequence(taken)
    return replace(
        series,
        files=tuple(series.files[at] for at in files),
        names=tuple(series.names[at] for at in files),
        header=header,
        positions_mm=tuple(sorted(float(np.dot(normal, one.position)) for one in slices)),
        frames=len(slices),
        slices=slices,
        instance_numbers=tuple(series.instance_numbers[at] for at in files)
        if series.instance_numbers
        else (),
        frames_taken=tuple(tuple(frames_of[at]) for at in files) if series.multi_frame else (),
    )
