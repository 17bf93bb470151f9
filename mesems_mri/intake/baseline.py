"""The acquisition of each image at a participant's first visit, and later ones compared with it."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from pydicom import Dataset

from mesems_mri.files import read_json
from mesems_mri.intake import folder
from mesems_mri.intake.compliance import ProtocolItem, item_result
from mesems_mri.intake.context import IntakeContext
from mesems_mri.intake.dicom.acquisition import read_acquisition
from mesems_mri.intake.dicom.encoding import read_encoding
from mesems_mri.intake.dicom.geometry import SeriesGeometry, describe_geometry
from mesems_mri.intake.visit import AssessedVisit

ENTRY: Final = "IntakeAcquisition"
"""Key of the sidecar that holds the parameters of an image."""
_ALIKE: Final = 0.05
"""Part by which times, angles and sizes may differ: scanners adapt them to the participant."""
_COVERED: Final = 0.9
"""Share of the coverage of the first visit that a later one must reach."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of an acquisition, as far as later visits are compared with it.

    Parameters
    ----------
    dimension, plane : str
        ``2D`` or ``3D``; ``axial``, ``sagittal`` or ``coronal``; empty when not known.
    echo_time_ms, repetition_time_ms, inversion_time_ms, flip_angle_deg : float or None
    in_plane_mm : tuple of float or None
        Pixel as acquired, else as reconstructed.
    thickness_mm, coverage_mm, acceleration : float or None
    deep_learning : str
        Product that reconstructed the image with a network; empty when none is named.
    compressed_sensing : bool
    """

    dimension: str = ""
    plane: str = ""
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    in_plane_mm: tuple[float, ...] | None = None
    thickness_mm: float | None = None
    coverage_mm: float | None = None
    acceleration: float | None = None
    deep_learning: str = ""
    compressed_sensing: bool = False

    @classmethod
    def of_scan(cls, header: Dataset, geometry: SeriesGeometry | None) -> Self:
        """Read the parameters of a scan."""
        scan, encoding = read_acquisition(header, geometry), read_encoding(header, geometry)
        pixel = encoding.in_plane_mm or scan.in_plane_mm
        return cls(
            dimension=scan.dimension,
            plane=geometry.plane if geometry else "",
            echo_time_ms=_rounded(scan.echo_time_ms),
            repetition_time_ms=_rounded(scan.repetition_time_ms),
            inversion_time_ms=_rounded(scan.inversion_time_ms),
            flip_angle_deg=_rounded(scan.flip_angle_deg),
            in_plane_mm=tuple(round(side, 4) for side in pixel) if pixel else None,
            thickness_mm=_rounded(scan.thickness_mm),
            coverage_mm=_rounded(geometry.extent_mm if geometry else None),
            acceleration=encoding.acceleration,
            deep_learning=encoding.deep_learning,
            compressed_sensing=encoding.compressed_sensing,
        )

    def to_sidecar(self) -> dict[str, Any]:
        """Return them as an entry of a sidecar; what is not known is left out."""
        return {ENTRY: {name: value for name, value in asdict(self).items() if value not in (None, "")}}

    @classmethod
    def of_sidecar(cls, sidecar: Mapping[str, Any]) -> Self | None:
        """Read the parameters from a sidecar; of an older one, what dcm2niix wrote."""
        entry = sidecar.get(ENTRY)
        try:
            if isinstance(entry, Mapping):
                pixel = entry.get("in_plane_mm")
                return cls(**{**entry, "in_plane_mm": tuple(pixel) if pixel else None})
            times: dict[str, Any] = {
                name: 1000 * float(sidecar[key]) if key in sidecar else None
                for name, key in (
                    ("echo_time_ms", "EchoTime"),
                    ("repetition_time_ms", "RepetitionTime"),
                    ("inversion_time_ms", "InversionTime"),
                )
            }
            return cls(
                dimension=str(sidecar.get("MRAcquisitionType", "")),
                flip_angle_deg=sidecar.get("FlipAngle"),
                acceleration=float(sidecar.get("ParallelReductionFactorInPlane", 1)),
                **times,
            )
        except (TypeError, ValueError):
            return None


def first_acquisitions(
    context: IntakeContext, visit: AssessedVisit, visits: Sequence[AssessedVisit]
) -> dict[str, Parameters]:
    """Return how each image was acquired at the participant's first visit that has it, if that is earlier.

    Parameters
    ----------
    context : IntakeContext
    visit : AssessedVisit
    visits : sequence of AssessedVisit
        Of the same submission, those assessed before this one with their roles.

    Returns
    -------
    dict of str to Parameters
        By role.
    """
    day = visit.examination.day
    if visit.row is None or day is None or not visit.session_id:
        return {}
    found: dict[str, tuple[dt.date, Parameters]] = {}

    def note(role: str, when: dt.date, read: Callable[[], Parameters | None]) -> None:
        if when < day and (role not in found or when < found[role][0]):
            with contextlib.suppress(OSError, ValueError):
                if (parameters := read()) is not None:
                    found[role] = when, parameters

    for row in context.schedule:
        mine = row.participant_id == visit.participant_id and row.session_id != visit.session_id
        if not (mine and row.planned_date):
            continue
        for role, image in folder.filed_images(context.bids_dir, row.participant_id, row.session_id).items():
            note(role, row.planned_date, lambda image=image: Parameters.of_sidecar(read_json(image.sidecar)))
    for other in visits:
        same = other.participant_id == visit.participant_id and other.session_id not in ("", visit.session_id)
        if same and (when := other.examination.day):
            for role, one in other.selected_series().items():
                series = one.series
                note(
                    role,
                    when,
                    lambda s=series: Parameters.of_scan(s.header, describe_geometry(s)),
                )
    return {role: parameters for role, (_, parameters) in found.items()}


def baseline_items(now: Parameters, first: Parameters) -> Iterator[ProtocolItem]:
    """Compare an acquisition with that of the first visit.

    Parameters
    ----------
    now, first : Parameters

    Yields
    ------
    ProtocolItem
        What neither of them says, and what the first does not say, is not compared.
    """
    for name, one, two in (
        ("baseline_acquisition", now.dimension, first.dimension),
        ("baseline_plane", now.plane, first.plane),
    ):
        if two:
            yield _item(name, one == two if one else None, one, two, (one, two))
    for name, one, two, unit in (
        ("baseline_echo_time", now.echo_time_ms, first.echo_time_ms, "ms"),
        ("baseline_repetition_time", now.repetition_time_ms, first.repetition_time_ms, "ms"),
        ("baseline_inversion_time", now.inversion_time_ms, first.inversion_time_ms, "ms"),
        ("baseline_flip_angle", now.flip_angle_deg, first.flip_angle_deg, "degrees"),
    ):
        if two is not None:
            measured = () if one is None else (one, two)
            yield _item(name, _alike(one, two), _number(one, unit), _number(two, unit), measured)
    if first.in_plane_mm and first.thickness_mm:
        voxel = None if not (now.in_plane_mm and now.thickness_mm) else (*now.in_plane_mm, now.thickness_mm)
        before = (*first.in_plane_mm, first.thickness_mm)
        right = None if voxel is None else _same_voxel(voxel, before)
        measured = ("x".join(f"{side:.3g}" for side in sides) for sides in (voxel or (), before))
        yield _item("baseline_resolution", right, _voxel(voxel), _voxel(before), tuple(measured))
    if first.acceleration is not None or now.acceleration is not None:
        factors = [a.acceleration if a.acceleration is not None else 1.0 for a in (now, first)]
        same = _alike(*factors) and now.compressed_sensing == first.compressed_sensing
        encoded = (_encoded(now), _encoded(first))
        yield _item("baseline_acceleration", same, _acceleration(now), _acceleration(first), encoded)
    elif now.compressed_sensing or first.compressed_sensing:
        same = now.compressed_sensing == first.compressed_sensing
        encoded = (_encoded(now), _encoded(first))
        yield _item("baseline_acceleration", same, _acceleration(now), _acceleration(first), encoded)
    if now.deep_learning or first.deep_learning:
        same = now.deep_learning == first.deep_learning
        named = [a.deep_learning or "no network named" for a in (now, first)]
        measured = (now.deep_learning or "none", first.deep_learning or "none")
        yield _item("baseline_reconstruction", same, named[0], named[1], measured)
    if first.coverage_mm:
        right = None if now.coverage_mm is None else now.coverage_mm >= _COVERED * first.coverage_mm
        limit = f"at least {_COVERED * first.coverage_mm:.0f} mm"
        told = "" if now.coverage_mm is None else f"{now.coverage_mm:.0f} mm"
        yield ProtocolItem("baseline_coverage", item_result(right), told, limit)


def _item(
    name: str, right: bool | None, value: str, before: str, measured: tuple[str | float, ...]
) -> ProtocolItem:
    return ProtocolItem(name, item_result(right), value, f"{before} as at the first visit", measured)


def _encoded(parameters: Parameters) -> str:
    factor = "none" if parameters.acceleration is None else f"{parameters.acceleration:g}"
    return f"{factor}+cs" if parameters.compressed_sensing else factor


def _alike(one: float | None, two: float) -> bool | None:
    return None if one is None else abs(one - two) <= _ALIKE * max(abs(one), abs(two))


def _same_voxel(voxel: tuple[float, ...], before: tuple[float, ...]) -> bool:
    # readout and phase direction may be swapped, which is no other resolution
    pairs = zip((*sorted(voxel[:-1]), voxel[-1]), (*sorted(before[:-1]), before[-1]), strict=False)
    return all(_alike(a, b) for a, b in pairs)


def _acceleration(parameters: Parameters) -> str:
    factor = "" if parameters.acceleration is None else f"factor {parameters.acceleration:g}"
    sensing = "compressed sensing" if parameters.compressed_sensing else ""
    return " and ".join(part for part in (factor, sensing) if part) or "none named"


def _voxel(sides: tuple[float, ...] | None) -> str:
    return "" if sides is None else f"{' x '.join(f'{side:.3g}' for side in sides)} mm"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
