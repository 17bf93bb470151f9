"""Geometry of a series: position and spacing of its slices, and their faults."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.stack import (
    SAME_PLACE_MM,
    Grid,
    distinct_places,
    is_aligned,
    measure_grid,
    orientations,
    slice_normal,
    written_units,
)
from mesems_mri.intake.dicom.tags import number, numbers

MIN_SLICES = 3
"""Fewer make no volume whose spacing could be checked."""
_SHEAR_MM, _SHEAR_UNITS = 0.1, 1.5
_TILT_DEGREES = 0.5


class FaultCode(StrEnum):
    """Closed list of faults of the slices of a series."""

    NO_GEOMETRY = "no_geometry"
    TOO_FEW_SLICES = "too_few_slices"
    INTERRUPTED = "interrupted"
    MISSING_SLICES = "missing_slices"
    DUPLICATE_SLICES = "duplicate_slices"
    SEVERAL_VOLUMES = "several_volumes"
    UNEVEN_SPACING = "uneven_spacing"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_MATRIX = "mixed_matrix"
    GANTRY_TILT = "gantry_tilt"
    DAMAGED_PIXELS = "damaged_pixels"
    SHARED_UIDS = "shared_uids"


@dataclass(frozen=True)
class Fault:
    """A fault of the slices of a series.

    Parameters
    ----------
    code : FaultCode
        What it is.
    text : str
        Value and expectation, e.g. ``17 slices, expected 35 (Siemens protocol)``.
    value : str
        The value without words, e.g. ``17/35``; empty when there is none.
    """

    code: FaultCode
    text: str
    value: str = ""


@dataclass(frozen=True)
class SeriesGeometry:
    """The grid of a series in numbers; None where the header does not say.

    Parameters
    ----------
    slices : int
        Slices that are there.
    rows, columns : int or None
        Size of a slice.
    in_plane_mm : tuple of float or None
        Distance of rows and of columns.
    spacing_mm : float or None
        Distance of slice centres, measured from their positions, else as the header says.
    thickness_mm : float or None
        Thickness of a slice.
    gap_mm : float or None
        Spacing less thickness; never below 0 (slices of a 3D scan may overlap).
    extent_mm : float or None
        How much is covered along the slice normal.
    plane : str
        ``axial``, ``sagittal`` or ``coronal``, the closest one; empty when there is no orientation.
    tilt_degrees : float or None
        Angle of the slice normal to the axis of that plane.
    """

    slices: int
    rows: int | None
    columns: int | None
    in_plane_mm: tuple[float, float] | None
    spacing_mm: float | None
    thickness_mm: float | None
    gap_mm: float | None
    extent_mm: float | None
    plane: str
    tilt_degrees: float | None


def describe_geometry(series: Series) -> SeriesGeometry:
    """Measure the grid of a series.

    Parameters
    ----------
    series : Series
        The series.

    Returns
    -------
    SeriesGeometry
    """
    rows, columns = series.matrices[0] if series.matrices else (None, None)
    spacing = _in_plane(series)
    thickness = _positive(number(series.header, "SliceThickness"))
    grid = series_grid(series)
    distance = grid.spacing if grid else nominal_spacing(series)
    plane, tilt = _plane(series)
    last = thickness or distance
    positions = series.positions_mm
    return SeriesGeometry(
        slices=series.frames,
        rows=rows,
        columns=columns,
        in_plane_mm=spacing,
        spacing_mm=None if distance is None else round(distance, 4),
        thickness_mm=thickness,
        gap_mm=max(0.0, round(distance - thickness, 4)) if distance and thickness else None,
        extent_mm=round(positions[-1] - positions[0] + last, 3) if positions and last else None,
        plane=plane,
        tilt_degrees=tilt,
    )


def series_grid(series: Series) -> Grid | None:
    """Measure the grid on which the slices of a series lie; None with fewer than two places."""
    places = distinct_places(series.positions_mm)
    normal = next((n for n in (slice_normal(s.orientation) for s in series.slices) if n is not None), None)
    if len(places) < 2 or normal is None:
        return None
    unit = float(np.abs(normal) @ written_units(series.slices))
    return measure_grid(places, unit, nominal_spacing(series), is_aligned(normal))


def nominal_spacing(series: Series) -> float | None:
    """Return the distance of slice centres that the header states."""
    return _positive(number(series.header, "SpacingBetweenSlices"))


def slice_faults(series: Series) -> list[Fault]:
    """List the faults of the slices of a series.

    Parameters
    ----------
    series : Series
        The series.

    Returns
    -------
    list of Fault
        The gravest first; empty when the slices make one volume.
    """
    faults = [_damage(series)] if series.damage else []
    if len(series.matrices) > 1:
        sizes = [f"{rows} x {columns}" for rows, columns in series.matrices]
        told = f"slices of {', '.join(sizes)}, expected one size"
        faults.append(Fault(FaultCode.MIXED_MATRIX, told, "|".join(sizes).replace(" ", "")))
    turned = orientations(series.slices)
    if len(turned) > 1:
        told = f"slices in {len(turned)} orientations, expected one"
        faults.append(Fault(FaultCode.MIXED_ORIENTATION, told, str(len(turned))))
    if not turned or len(series.positions_mm) < series.frames or not series.frames:
        faults.append(Fault(FaultCode.NO_GEOMETRY, "position or orientation of a slice is missing"))
        return faults
    faults += _number_faults(series)
    if len(turned) == 1:
        faults += _position_faults(series) + _tilt_faults(series)
    if len(set(series.instance_uids)) < len(series.instance_uids):
        shared = len(series.instance_uids) - len(set(series.instance_uids))
        told = f"{shared} instances have the UID of another one"
        faults.append(Fault(FaultCode.SHARED_UIDS, told, str(shared)))
    return faults


def _damage(series: Series) -> Fault:
    damaged, files = len(series.damage), len(series.files)
    told = f"{damaged} of {files} files: {series.damage[0]}"
    return Fault(FaultCode.DAMAGED_PIXELS, told, f"{damaged}/{files}")


def _number_faults(series: Series) -> list[Fault]:
    faults = []
    expected = series.expected
    # A vendor may count the slices of all echoes together.
    if expected and series.frames < expected.slices and series.siblings < expected.slices:
        there = f"{series.frames} slices, expected {expected.slices} ({expected.source})"
        faults.append(Fault(FaultCode.INTERRUPTED, there, f"{series.frames}/{expected.slices}"))
    if series.frames < MIN_SLICES:
        number_of = f"{series.frames} slice{'s' if series.frames > 1 else ''}"
        told = f"{number_of}, expected at least {MIN_SLICES}"
        faults.append(Fault(FaultCode.TOO_FEW_SLICES, told, str(series.frames)))
    return faults


def _position_faults(series: Series) -> list[Fault]:
    places = np.asarray(series.positions_mm)
    distinct = distinct_places(series.positions_mm)
    faults = []
    if len(distinct) < len(places):
        times, rest = divmod(len(places), len(distinct))
        even = not rest and len(distinct_places(series.positions_mm[::times])) == len(distinct)
        if even and np.all(places[::times] - distinct < SAME_PLACE_MM):
            text = f"{times} volumes of {len(distinct)} slices, expected one"
            faults.append(Fault(FaultCode.SEVERAL_VOLUMES, text, f"{times}x{len(distinct)}"))
        else:
            twice = len(places) - len(distinct)
            text = f"{twice} slices lie where another one lies"
            faults.append(Fault(FaultCode.DUPLICATE_SLICES, text, str(twice)))
    distances, grid = np.diff(distinct), series_grid(series)
    if len(distances) < 2 or grid is None:
        return faults
    if not grid.even:
        usual = grid.spacing
        text = f"distances of {distances.min():.2f} to {distances.max():.2f} mm, expected {usual:.2f} mm"
        found = f"{distances.min():.2f}..{distances.max():.2f}/{usual:.2f}"
        faults.append(Fault(FaultCode.UNEVEN_SPACING, text, found))
    elif missing := grid.missing:
        at = distinct[int(np.argmax(np.diff(grid.steps)))]
        planned = len(distinct) + missing
        text = f"{missing} of {planned} slices missing, the first after {at:.1f} mm"
        faults.append(Fault(FaultCode.MISSING_SLICES, text, f"{missing}/{planned}@{at:.1f}"))
    return faults


def _tilt_faults(series: Series) -> list[Fault]:
    """Find slices that are shifted against each other, as a tilted gantry does: a sheared volume."""
    tilt = number(series.header, "GantryDetectorTilt") or 0.0
    if abs(tilt) > _TILT_DEGREES:
        told = f"gantry tilted by {tilt:.1f} degrees, expected 0"
        return [Fault(FaultCode.GANTRY_TILT, told, f"{tilt:.1f}deg")]
    normal = slice_normal(series.slices[0].orientation)
    corners = np.asarray([s.position for s in series.slices if len(s.position) == 3])
    if normal is None or len(corners) < 2:
        return []
    order = np.argsort(corners @ normal, kind="stable")
    beside = (corners - np.outer(corners @ normal, normal))[order]
    shift = float(np.linalg.norm(np.diff(beside, axis=0), axis=1).max())
    drift = float(np.linalg.norm(np.polyfit(np.arange(len(beside)), beside, 1)[0]))
    rounding = 0.0 if is_aligned(normal) else _SHEAR_UNITS * float(written_units(series.slices).max())
    if shift > max(_SHEAR_MM, rounding) or drift > _SHEAR_MM:
        text = f"neighbouring slices are shifted by {shift:.2f} mm in their plane, expected none"
        return [Fault(FaultCode.GANTRY_TILT, text, f"{shift:.2f}mm")]
    return []


def _in_plane(series: Series) -> tuple[float, float] | None:
    spacing = numbers(series.header, "PixelSpacing")
    return (spacing[0], spacing[1]) if len(spacing) == 2 and min(spacing) > 0 else None


def _plane(series: Series) -> tuple[str, float | None]:
    normal = next((n for n in (slice_normal(s.orientation) for s in series.slices) if n is not None), None)
    if normal is None:
        return "", None
    axis = int(np.argmax(np.abs(normal)))
    angle = float(np.degrees(np.arccos(min(1.0, abs(float(normal[axis]))))))
    return ("sagittal", "coronal", "axial")[axis], round(angle, 2)


def _positive(found: float | None) -> float | None:
    return found if found is not None and found > 0 else None
