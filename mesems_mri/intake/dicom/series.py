"""Grouping of the instances of a submission into series, one per image."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.sequence import Sequence

from mesems_mri.intake.dicom.expected import Expected, expected_slices
from mesems_mri.intake.dicom.frames import Slice
from mesems_mri.intake.dicom.instance import Instance, as_derived, read_header
from mesems_mri.intake.dicom.sop_class import ObjectKind
from mesems_mri.intake.dicom.stack import orientations, slice_normal
from mesems_mri.intake.dicom.tags import number, quoted, sequence, text
from mesems_mri.intake.dicom.volumes import PlacedSlice, split_volumes

_SAME_ECHO_MS = 0.3
_MIN_JOINED = 3
"""So many instances with a series UID each are one series, if they are alike."""
_LARGE_ELEMENT = 32 << 10
"""Private elements of this size are blocks for the vendor's own programs; headers are held without them."""


@dataclass(frozen=True, eq=False)
class Series:
    """The instances that make one image: of one series, and of one echo, kind and acquisition of it.

    Parameters
    ----------
    files : tuple of Path
        Files on disk, real or taken out of an archive, sorted by instance number.
    names : tuple of str
        The same files as the site called them, relative to the folder it sent (``a.zip!x/y`` in an archive).
    header : Dataset
        Of the first instance, without pixel data; of an enhanced object with the frames of this image only.
    instance_uids : tuple of str
        In the order of `files`.
    positions_mm : tuple of float
        Position of every slice along the slice normal, sorted; of every frame if there are several in a file.
    frames : int
        Number of slices in all.
    multi_frame : bool
        Whether a file holds several slices.
    slices : tuple of Slice
        Where each slice lies, in the order of the files and frames.
    instance_numbers : tuple of int or None
        In the order of `files`.
    matrices : tuple of (rows, columns)
        All that occur.
    damage : tuple of str
        What is wrong with the pixel data of an instance, one text a file that is damaged.
    expected : Expected or None
        How many slices the scanner says there are.
    part : str
        Empty, or what tells this image from the others of the same series, e.g. ``echo 2 of 2 (80 ms)``.
    siblings : int
        Slices of all images of the same series, this one among them.
    copy_of : str
        Name of a file of the series with the same instance UIDs, when this is a second copy of it.
    copy : int
        0, or which copy this is: 2 for the second one.
    frames_taken : tuple of tuple of int
        Of each file the frames of this image; empty when it is all of them.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    header: Dataset
    instance_uids: tuple[str, ...]
    positions_mm: tuple[float, ...]
    frames: int
    multi_frame: bool
    slices: tuple[Slice, ...] = ()
    instance_numbers: tuple[int | None, ...] = ()
    matrices: tuple[tuple[int, int], ...] = ()
    damage: tuple[str, ...] = ()
    expected: Expected | None = None
    part: str = ""
    siblings: int = 0
    copy_of: str = ""
    copy: int = 0
    frames_taken: tuple[tuple[int, ...], ...] = ()

    @property
    def series_uid(self) -> str:
        """Series Instance UID, as the site sent it."""
        return text(self.header, "SeriesInstanceUID")

    @property
    def study_uid(self) -> str:
        """Study Instance UID, as the site sent it."""
        return text(self.header, "StudyInstanceUID")

    @property
    def patient_id(self) -> str:
        """Patient ID, as the site sent it."""
        return text(self.header, "PatientID")

    @property
    def description(self) -> str:
        """Series Description, as the site sent it; the Protocol Name when there is none."""
        return text(self.header, "SeriesDescription") or text(self.header, "ProtocolName")

    @property
    def series_number(self) -> int:
        """Series Number; 0 when there is none."""
        return int(number(self.header, "SeriesNumber") or 0)

    @property
    def echo_ms(self) -> float | None:
        """Echo time of this image."""
        echoes = [one.echo_ms for one in self.slices if one.echo_ms is not None]
        return echoes[0] if echoes else number(self.header, "EchoTime")


def group_into_series(instances: Iterable[Instance]) -> list[Series]:
    """Group instances into series.

    A series with several echoes or kinds of image (magnitude and phase) is several images and becomes several
    `Series`; a second copy of the same instances becomes one of its own, so that none is lost silently.

    Parameters
    ----------
    instances : iterable of Instance
        In any order.

    Returns
    -------
    list of Series
        In the order of study, series number, part and file name.
    """
    by_series: dict[tuple[str, int], list[Instance]] = defaultdict(list)
    seen: Counter[tuple[object, ...]] = Counter()
    first_names: dict[str, str] = {}
    for instance in sorted(_with_known_class(instances), key=lambda i: i.name):
        where = instance.slices[0].position if instance.slices else ()
        # instances that share a UID but lie elsewhere are no copies, but a fault that geometry reports
        key = (instance.sop_uid, instance.number, where)
        by_series[instance.series_uid, seen[key]].append(instance)
        seen[key] += 1
        first_names.setdefault(instance.sop_uid, instance.name)
    found: list[Series] = []
    for members, copy, joined in _join_single(by_series):
        original = first_names[members[0].sop_uid] if copy else ""
        images = _images(members, joined=joined)
        found += [replace(one, copy=copy + 1 if copy else 0, copy_of=original) for one in images]
    return sorted(
        found, key=lambda s: (s.study_uid, s.series_number, s.series_uid, s.copy_of, s.part, s.names)
    )


def _with_known_class(instances: Iterable[Instance]) -> list[Instance]:
    """Take objects of an unknown class for images only where a study has no MR image of a known one."""
    instances = list(instances)
    known = {one.study_uid for one in instances if one.kind is ObjectKind.MR}
    return [
        replace(one, slices=as_derived(one.slices))
        if one.kind is ObjectKind.UNKNOWN and one.study_uid in known
        else one
        for one in instances
    ]


def _join_single(
    by_series: dict[tuple[str, int], list[Instance]],
) -> Iterator[tuple[list[Instance], int, bool]]:
    """Yield the instances of each series, with the number of the copy, and whether series were joined.

    Some exports give each slice a series UID of its own, or even a study UID: those that are alike in all
    that the slices of a series have in common are one.
    """
    of_study = Counter(one.study_uid for members in by_series.values() for one in members)
    alike: dict[tuple[object, ...], list[Instance]] = defaultdict(list)
    for (_, copy), members in by_series.items():
        one = members[0]
        if len(members) > 1 or not one.likeness:
            yield members, copy, False
        else:
            study = one.study_uid if of_study[one.study_uid] > 1 else ""
            alike[study, copy, one.matrix, *one.likeness].append(one)
    for key, members in alike.items():
        copy = int(key[1])  # pyright: ignore[reportArgumentType]
        if len(members) >= _MIN_JOINED:
            yield members, copy, True
        else:
            yield from (([one], copy, False) for one in members)


def _in_study(series: Series) -> tuple[str, int, str, int, str, tuple[str, ...]]:
    return (
        series.study_uid,
        series.series_number,
        series.series_uid,
        series.copy,
        series.part,
        series.names,
    )


def _order(instance: Instance) -> tuple[bool, int, str]:
    return instance.number is None, instance.number or 0, instance.name


def _order_of_joined(instance: Instance) -> tuple[object, ...]:
    # whatever the files are called: the first of them gives the series its UID
    return instance.number or 0, instance.slices[0].position, instance.sop_uid


def _images(members: list[Instance], *, joined: bool = False) -> Iterator[Series]:
    """Split the instances of a series by echo, kind of image and acquisition."""
    members = sorted(members, key=_order_of_joined if joined else _order)
    slices = [one for member in members for one in member.slices]
    # Echoes of one acquisition lie alike; where they do not, the series is a mixture, which geometry reports.
    mixed = len(orientations(slices)) > 1
    echoes = {} if mixed else _clusters({s.echo_ms for s in slices if s.echo_ms is not None})
    parts: dict[tuple[int, tuple[str, ...]], list[tuple[Instance, list[int]]]] = defaultdict(list)
    for member in members:
        frames: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
        for at, one in enumerate(member.slices):
            frames[echoes.get(one.echo_ms, -1), one.kind].append(at)
        for key, chosen in frames.items() or [((-1, ()), [])]:
            parts[key].append((member, chosen))
    kinds = {kind for _, kind in parts}
    siblings = sum(len(m.slices) for m in members)
    for (echo, kind), chosen in sorted(parts.items()):
        ms = next((v for v, cluster in echoes.items() if cluster == echo), None)
        told = "no echo time" if ms is None else f"echo {echo + 1} of {max(echoes.values()) + 1} ({ms:g} ms)"
        names = [told] if _several(parts, 0) else []
        names += [quoted("\\".join(kind))] if len(kinds) > 1 else []
        volumes = _volumes(chosen, joined=joined)
        largest = max(_count(volume) for volume, _ in volumes)
        for volume, acquisition in volumes:
            part = ", ".join([*names, acquisition] if acquisition else names)
            # the largest acquisition shows that no count of slices means all of them together
            beside = siblings if _count(volume) == largest else _count(volume)
            one = _series(volume, part, beside, split=len(parts) > 1 or len(volumes) > 1)
            yield _with_own_start(one) if acquisition else one


def _volumes(
    chosen: list[tuple[Instance, list[int]]], *, joined: bool
) -> list[tuple[list[tuple[Instance, list[int]]], str]]:
    """Split the slices of an image by acquisition, and sort them by instance again."""
    placed = [
        PlacedSlice((number_of_file, at), member.slices[at], member.number)
        for number_of_file, (member, frames) in enumerate(chosen)
        for at in frames
    ]
    found = split_volumes(placed, by_number=joined) if placed else []
    if len(found) < 2:
        return [(chosen, "")]
    volumes = []
    for volume in found:
        frames: dict[int, list[int]] = defaultdict(list)
        for number_of_file, at in sorted(one.source for one in volume.slices):
            frames[number_of_file].append(at)
        volumes.append(([(chosen[at][0], frames[at]) for at in sorted(frames)], volume.told))
    return volumes


def _count(volume: list[tuple[Instance, list[int]]]) -> int:
    return sum(len(frames) for _, frames in volume)


def _with_own_start(series: Series) -> Series:
    """Give the header of an acquisition inside an enhanced object the time of its own frames."""
    for frame in sequence(series.header, "PerFrameFunctionalGroupsSequence")[:1]:
        for content in sequence(frame, "FrameContentSequence")[:1]:
            if began := text(content, "FrameAcquisitionDateTime"):
                series.header.AcquisitionDateTime = began
    return series


def _several(parts: Iterable[tuple[int, tuple[str, ...]]], index: int) -> bool:
    return len({key[index] for key in parts} - {-1}) > 1


def _clusters(echoes: set[float]) -> dict[float | None, int]:
    """Give each echo time a number, those that differ by rounding only the same."""
    numbers: dict[float | None, int] = {}
    last, cluster = None, -1
    for echo in sorted(echoes):
        if last is None or echo - last > _SAME_ECHO_MS:
            cluster += 1
        numbers[echo], last = cluster, echo
    return numbers


def _series(chosen: list[tuple[Instance, list[int]]], part: str, siblings: int, *, split: bool) -> Series:
    members = [member for member, _ in chosen]
    slices = tuple(member.slices[at] for member, frames in chosen for at in frames)
    header = read_header(members[0].path)
    expected = expected_slices(header)
    parted = split and any(len(frames) < len(member.slices) for member, frames in chosen)
    if parted:
        per_frame = sequence(header, "PerFrameFunctionalGroupsSequence")
        header.PerFrameFunctionalGroupsSequence = Sequence([per_frame[at] for at in chosen[0][1]])
    _drop_large_elements(header)
    return Series(
        files=tuple(m.path for m in members),
        names=tuple(m.name for m in members),
        header=header,
        instance_uids=tuple(m.sop_uid for m in members),
        positions_mm=_positions(slices),
        frames=len(slices),
        multi_frame=any(m.multi_frame for m in members),
        slices=slices,
        instance_numbers=tuple(m.number for m in members),
        matrices=tuple(sorted({m.matrix for m in members})),
        damage=tuple(m.damage for m in members if m.damage),
        expected=expected,
        part=part,
        siblings=siblings,
        frames_taken=tuple(tuple(frames) for _, frames in chosen) if parted else (),
    )


def _drop_large_elements(header: Dataset) -> None:
    for tag in list(header.keys()):
        if not tag.is_private:
            continue
        try:
            element = header.get_item(tag)
            large = isinstance(element.value, bytes) and len(element.value) > _LARGE_ELEMENT  # pyright: ignore[reportOptionalMemberAccess]
        except Exception:  # damaged: of no use either
            large = True
        if large:
            del header[tag]


def _positions(slices: tuple[Slice, ...]) -> tuple[float, ...]:
    normal = next((n for n in (slice_normal(s.orientation) for s in slices) if n is not None), None)
    if normal is None:
        return ()
    return tuple(sorted(float(np.dot(normal, s.position)) for s in slices if len(s.position) == 3))
