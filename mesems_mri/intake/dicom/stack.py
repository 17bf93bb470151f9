"""Stacks of parallel slices: how far apart they are, and whether rounding explains what is uneven."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mesems_mri.intake.dicom.frames import Slice

SAME_PLACE_MM = 0.02
_TOLERANCE_MM = 0.105
_OF_THIN, _OF_THICK = 0.12, 0.05
"""A slice may lie off its place by 0.1 mm, less where slices are thin, 5 % where they are thick."""
_SAME_COSINE = 2e-3
_DECIMALS = 6
_ONE_UNIT, _HALF_UNIT = 1.05, 0.65
"""Two rounded positions are apart by one unit of the last place more or less, one alone by half a unit."""
_MANY = 3


class Grid(NamedTuple):
    """Places along the slice normal as multiples of one spacing.

    Parameters
    ----------
    spacing : float
        By least squares over all places, mm.
    offset : float
        Place of the first slice on that grid, mm.
    steps : numpy.ndarray
        Number of each place on the grid, from 0; a number is left out where a slice is missing.
    even : bool
        False when no spacing explains the places; then `spacing` is the usual one.
    """

    spacing: float
    offset: float
    steps: np.ndarray
    even: bool

    @property
    def missing(self) -> int:
        """Number of places between the first and the last at which no slice lies."""
        return int(self.steps[-1]) + 1 - len(self.steps) if self.even else 0


class FittedStack(NamedTuple):
    """Positions of the slices of a volume by least squares.

    Parameters
    ----------
    positions : numpy.ndarray
        Of each slice, in the order given, mm.
    normal : numpy.ndarray
    spacing : float
        Distance of neighbouring slices, mm.
    beside_mm : float
        How far a written position lies beside the fitted one, in the plane of the slice, at most.
    rounding_mm : float
        How far rounding may move a position in that plane.
    missing : int
        Places between the first and the last at which no slice lies.
    """

    positions: np.ndarray
    normal: np.ndarray
    spacing: float
    beside_mm: float
    rounding_mm: float
    missing: int


def orientations(slices: Iterable[Slice]) -> list[np.ndarray]:
    """Return the orientations that occur, those that differ by rounding only once."""
    found: list[np.ndarray] = []
    for orientation in dict.fromkeys(one.orientation for one in slices):
        if len(orientation) == 6:
            cosines = np.asarray(orientation)
            if all(np.abs(cosines - other).max() > _SAME_COSINE for other in found):
                found.append(cosines)
    return found


def slice_normal(orientation: tuple[float, ...]) -> np.ndarray | None:
    """Return the unit normal of a slice; None when the orientation is none."""
    if len(orientation) != 6:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None


def written_units(slices: Iterable[Slice]) -> np.ndarray:
    """Return the last decimal place to which each coordinate of the positions is written, as a unit in mm."""
    written = np.array([one.position for one in slices if len(one.position) == 3], dtype=float).reshape(-1, 3)
    units = np.full(3, 10.0**-_DECIMALS)
    for axis in range(3):
        for decimals in range(_DECIMALS):
            scaled = written[:, axis] * 10**decimals
            if np.all(np.abs(scaled - np.round(scaled)) < 1e-6 * np.maximum(1, np.abs(scaled))):
                units[axis] = 10.0**-decimals
                break
    return units


def distinct_places(places: Sequence[float]) -> np.ndarray:
    """Return the places that differ, of sorted ones."""
    array = np.asarray(places, dtype=float)
    return array[np.concatenate(([True], np.diff(array) > SAME_PLACE_MM))] if len(array) else array


def measure_grid(
    places: np.ndarray, unit: float = 0.0, nominal: float | None = None, aligned: bool = True
) -> Grid:
    """Find the spacing of places, and those left out.

    Parameters
    ----------
    places : numpy.ndarray
        Sorted and distinct, at least two, mm.
    unit : float
        How much one unit of the last decimal place of a position moves a slice along its normal, mm.
    nominal : float or None
        Spacing as the header states it.
    aligned : bool
        Whether the normal is an axis of the patient, so that places are multiples of `unit`.

    Returns
    -------
    Grid
        Even where the places are multiples of one spacing: to 0.1 mm, or as far as rounding allows.
    """
    distances = np.diff(places)
    # the lower median: with as many gaps as slices in place, a gap must not pass for the rule
    usual = float(np.sort(distances)[(len(distances) - 1) // 2])
    common = float(np.mean(distances[(distances > 0.5 * usual) & (distances < 1.5 * usual)]))
    whole = np.arange(len(places))
    mean = float(places[-1] - places[0]) / len(distances)
    candidates = [(_steps(distances, common), 0.0)]
    coarse = _HALF_UNIT * unit > _tolerance(common)
    if _ONE_UNIT * unit > _tolerance(common) and (
        not coarse or _rounding_matters(distances, unit, nominal, aligned)
    ):
        candidates.append((whole, unit))
        if coarse and nominal is not None and abs(mean - nominal) * len(distances) <= 0.5 * nominal:
            candidates.reverse()  # the slices fill their extent, so that none is missing
        candidates.append((_steps(distances, nominal or common), unit))
    for steps, moved in candidates:
        grid = _fitted(places, steps, moved)
        if grid is not None:
            return grid
    return Grid(usual, float(places[0]), whole, False)


def fit_stack(slices: Sequence[Slice], nominal: float | None = None) -> FittedStack | None:
    """Fit the positions of the slices of one volume.

    Parameters
    ----------
    slices : sequence of Slice
        In any order, each at a place of its own.
    nominal : float or None
        Spacing as the header states it.

    Returns
    -------
    FittedStack or None
        None when positions are missing, or uneven.
    """
    normal = next((n for n in (slice_normal(s.orientation) for s in slices) if n is not None), None)
    if normal is None or len(slices) < 2 or any(len(s.position) != 3 for s in slices):
        return None
    written = np.array([s.position for s in slices], dtype=float)
    along = written @ normal
    order = np.argsort(along, kind="stable")
    places = along[order]
    if np.any(np.diff(places) <= SAME_PLACE_MM):
        return None
    units = written_units(slices)
    grid = measure_grid(places, float(np.abs(normal) @ units), nominal, is_aligned(normal))
    if not grid.even:
        return None
    steps = np.empty(len(slices))
    steps[order] = grid.steps
    beside = written - np.outer(along, normal)
    middle = beside.mean(axis=0)
    positions = middle + np.outer(grid.offset + grid.spacing * steps, normal)
    apart = float(np.linalg.norm(beside - middle, axis=1).max())
    rounding = 0.0 if is_aligned(normal) else float(np.linalg.norm(units))
    return FittedStack(positions, normal, grid.spacing, apart, rounding, grid.missing)


def is_aligned(normal: np.ndarray) -> bool:
    """Return whether a normal is an axis of the patient."""
    return float(np.abs(normal).max()) > 1 - 1e-6


def _tolerance(spacing: float) -> float:
    return min(max(_TOLERANCE_MM, _OF_THICK * spacing), _OF_THIN * spacing)


def _rounding_matters(distances: np.ndarray, unit: float, nominal: float | None, aligned: bool) -> bool:
    """Return whether rounding can have made distances uneven.

    It cannot where the true spacing is a whole number of units. Where the header does not state the spacing,
    uneven distances must be many: a single one is a shift.
    """
    if not aligned:
        return True
    if nominal is not None:
        return abs(nominal / unit - round(nominal / unit)) * unit > SAME_PLACE_MM
    usual = np.median(distances)
    return int(np.sum(np.abs(distances - usual) > 0.5 * unit)) >= _MANY


def _steps(distances: np.ndarray, spacing: float) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(np.round(distances / spacing)))).astype(int)


def _fitted(places: np.ndarray, steps: np.ndarray, unit: float) -> Grid | None:
    """Fit a line through places on given steps; None if they lie farther from it than allowed."""
    if np.any(np.diff(steps) < 1):
        return None
    centred = steps - steps.mean()
    spacing = float(centred @ places / (centred @ centred))
    offset = float(places.mean() - spacing * steps.mean())
    if spacing <= SAME_PLACE_MM or unit >= 0.5 * spacing:
        return None
    allowed = _tolerance(spacing)
    apart = float(np.abs(np.diff(places) - spacing * np.diff(steps)).max())
    off = float(np.abs(places - offset - spacing * steps).max())
    if apart > max(allowed, _ONE_UNIT * unit) or off > max(allowed, _HALF_UNIT * unit):
        return None
    return Grid(spacing, offset, steps, True)
