"""Multiple-sclerosis lesions of a simulated participant: where they are and their shape.

A lesion is a function of place and time, so that it can be drawn exactly on the grid of any scan. Its body is
a superellipsoid with an irregular surface; an enlarging lesion grows a nodule at its edge; an acute one
enhances as a nodule or, the larger ones, as a ring (Gaitan et al. 2011, Ann Neurol 70:22), closed or open
towards the cortex (Masdeu et al. 2000, Neurology 54:1427). Volumes are
lognormal with the parameters of the lesions of 14 mm3 and more in the expert masks of Lesjak et al. 2018
(Neuroinformatics 16:51; geometric mean 55 mm3, standard deviation of the logarithm 1.2), those of acute
lesions 1.6 times as large; the places follow Filippi et al. 2019 (Brain 142:1858).
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from mesems_mri.simulate.phantom import HeadModel, distance_mm
from mesems_mri.simulate.scanner import FloatArray
from mesems_mri.simulate.tissue import TissueProperties

Uptake = Literal["nodule", "ring", "open_ring"]

REGION_SHARES = {
    "periventricular": 0.42,
    "juxtacortical": 0.20,
    "deep_white_matter": 0.28,
    "infratentorial": 0.10,
}
_LOG_VOLUME_MEAN, _LOG_VOLUME_SD = float(np.log(55.0)), 1.2
_GAP_MM = 7.0
_PLACES_MM = 2.0
_RING_WALL_MM = 2.2
# Half of the angle by which an open ring is open.
_OPENING_DEG = 42.0
# Before the first visit: old enough that no status depends on it.
_LONG_AGO_WEEK = -500.0


@dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion of a participant over time.

    Parameters
    ----------
    number : int
        Order of creation in the participant, from 1.
    region : str
        One of `REGION_SHARES`.
    centre_mm : ndarray of float64, shape (3,)
        Head mm.
    semi_axes_mm, rotation, exponent
        Superellipsoid: (3,), (3, 3) from head axes to its own, and power.
    waves_per_mm, phases : ndarray of float64, shapes (n, 3) and (n,)
        Undulation of the surface.
    tissue : TissueProperties
        Relaxation times and gadolinium of the lesion.
    onset_week : float
        Week in which it appears.
    enhancing_weeks : tuple of (float, float)
        Periods in which it enhances, from (included) and to (not included).
    uptake : str
        Enhances as a ``nodule``, a closed ``ring`` or an ``open_ring``.
    opening : ndarray of float64, shape (3,)
        Unit vector from the centre to the gap of an open ring.
    nodule_week, nodule_mm, nodule_radius_mm
        Growth: when a nodule appears, its centre relative to the lesion's, and its radius.
    shrink_week, shrink_to : float
        When it has shrunk, and to which share of its diameter; 0 is resolved.
    """

    number: int
    region: str
    centre_mm: FloatArray
    semi_axes_mm: FloatArray
    rotation: FloatArray
    exponent: float
    waves_per_mm: FloatArray
    phases: FloatArray
    tissue: TissueProperties
    onset_week: float = _LONG_AGO_WEEK
    enhancing_weeks: tuple[tuple[float, float], ...] = ()
    uptake: Uptake = "nodule"
    opening: FloatArray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    nodule_week: float = np.inf
    nodule_mm: FloatArray = field(default_factory=lambda: np.zeros(3))
    nodule_radius_mm: float = 0.0
    shrink_week: float = np.inf
    shrink_to: float = 1.0

    @property
    def reach_mm(self) -> float:
        """Radius of a sphere around the centre that holds the lesion at all times."""
        body = 1.25 * float(self.semi_axes_mm.max()) + 1.0
        return max(body, float(np.linalg.norm(self.nodule_mm)) + 1.25 * self.nodule_radius_mm + 1.0)

    def exists(self, week: float) -> bool:
        """Return whether the lesion is there in a week."""
        return week >= self.onset_week and (week < self.shrink_week or self.shrink_to > 0)

    def enhances(self, week: float) -> bool:
        """Return whether the lesion enhances in a week."""
        return self.exists(week) and any(start <= week < end for start, end in self.enhancing_weeks)

    def _undulation(self, offset_mm: FloatArray) -> FloatArray:
        angle = np.tensordot(self.waves_per_mm, offset_mm, axes=1) + self.phases[:, None]
        return 0.22 * np.cos(angle).mean(axis=0)

    def depth(self, points_mm: FloatArray, week: float) -> FloatArray:
        """Return the depth (about mm, positive inside) of head points (3, n) in the lesion of a week."""
        offset = points_mm - self.centre_mm[:, None]
        wave = self._undulation(offset)
        size = self.shrink_to if week >= self.shrink_week else 1.0
        own = np.abs(self.rotation @ offset) / (max(size, 1e-3) * self.semi_axes_mm[:, None])
        radius = (own**self.exponent).sum(axis=0) ** (1 / self.exponent)
        depth = (1 + wave - radius) * size * self.semi_axes_mm.mean()
        if week >= self.nodule_week:
            nodule = np.linalg.norm(offset - self.nodule_mm[:, None], axis=0)
            depth = np.maximum(depth, (1 + wave) * self.nodule_radius_mm - nodule)
        return depth

    def enhancing_depth(self, points_mm: FloatArray, week: float) -> FloatArray:
        """Return the depth of head points in the enhancing focus as it is counted.

        A closed ring is counted with what it surrounds; the gap of an open one is too wide to be closed.
        """
        if week >= self.nodule_week:
            offset = points_mm - (self.centre_mm + self.nodule_mm)[:, None]
            return self.nodule_radius_mm * (1 + self._undulation(offset)) - np.linalg.norm(offset, axis=0)
        if self.uptake == "open_ring":
            return self.uptake_depth(points_mm, week)
        return self.depth(points_mm, week) - (0.0 if self.uptake == "ring" else 0.2)

    def uptake_depth(self, points_mm: FloatArray, week: float) -> FloatArray:
        """Return the depth in what takes up gadolinium: a ring without what it surrounds."""
        if week >= self.nodule_week or self.uptake == "nodule":
            return self.enhancing_depth(points_mm, week)
        depth = self.depth(points_mm, week)
        wall = np.minimum(depth, _RING_WALL_MM - depth)
        if self.uptake == "ring":
            return wall
        offset = points_mm - self.centre_mm[:, None]
        along = self.opening @ offset
        across = np.sqrt(np.maximum((offset**2).sum(axis=0) - along**2, 0))
        # Distance to the surface of the cone that is cut out.
        angle = np.deg2rad(_OPENING_DEG)
        return np.minimum(wall, across * np.cos(angle) - along * np.sin(angle))


@dataclass(frozen=True, eq=False)
class LesionState:
    """All lesions of a participant up to one visit, and what happened since the previous visit."""

    lesions: tuple[Lesion, ...] = ()

    def room_for(self, centre_mm: FloatArray, reach_mm: float) -> bool:
        """Return whether a sphere keeps its distance from all lesions."""
        return all(
            np.linalg.norm(centre_mm - other.centre_mm) > reach_mm + other.reach_mm + _GAP_MM
            for other in self.lesions
        )


class LesionMaker:
    """Draws lesions in the white matter of one head.

    Parameters
    ----------
    head : HeadModel
        Anatomy in which they lie.
    """

    def __init__(self, head: HeadModel) -> None:
        self._head = head
        self._parenchyma = head.parenchyma
        self._spacing_mm = float(head.affine[0, 0])
        # Places on a grid of 2 mm or so are enough.
        step = max(1, round(_PLACES_MM / self._spacing_mm))
        places_mm = step * self._spacing_mm
        white, grey, ventricles = (
            array[::step, ::step, ::step]
            for array in (head.fractions["white_matter"], head.fractions["grey_matter"], head.ventricles)
        )
        grid = np.indices(white.shape).reshape(3, -1)[:, (white > 0.85).ravel()]
        points = places_mm * grid + head.affine[:3, 3:]
        template = head.to_template(points)
        x, y, z = template
        to_ventricle = distance_mm(np.logical_not(ventricles), places_mm)[tuple(grid)]
        to_cortex = distance_mm(grey <= 0.6, places_mm)[tuple(grid)]
        below = ((np.abs(x) < 12) & (y > -42) & (y < -16) & (z > -50) & (z < -14)) | (
            (np.abs(x) > 8) & (np.abs(x) < 34) & (y > -76) & (y < -48) & (z > -46) & (z < -26)
        )
        above = (z > -8) & ~((np.abs(x) < 14) & (y > -40) & (y < 0) & (z < 8))
        periventricular = above & (to_ventricle < 8)
        juxtacortical = above & (to_cortex < 5) & (to_ventricle > 14) & (z > 4)
        deep = above & ~periventricular & (to_cortex > 6) & (to_ventricle > 10)
        self._points_mm = points
        self._places = {
            "periventricular": np.flatnonzero(periventricular),
            "juxtacortical": np.flatnonzero(juxtacortical),
            "deep_white_matter": np.flatnonzero(deep),
            "infratentorial": np.flatnonzero(below),
        }

    def parenchyma_at(self, points_mm: FloatArray) -> FloatArray:
        """Return the share of white and grey matter at head points (3, n)."""
        index = (points_mm - self._head.affine[:3, 3:]) / self._spacing_mm
        return ndimage.map_coordinates(self._parenchyma, index, order=1)

    def make_lesion(
        self, state: LesionState, rng: np.random.Generator, *, acute: bool, smallest_mm3: float
    ) -> Lesion:
        """Draw a lesion that keeps clear of the others and of CSF."""
        for _ in range(400):
            lesion = self._draw(len(state.lesions) + 1, rng, acute=acute, smallest_mm3=smallest_mm3)
            if state.room_for(lesion.centre_mm, lesion.reach_mm) and self._covered(lesion) > 0.85:
                return lesion
        msg = "no room is left in the white matter for another lesion; ask for fewer sessions"
        raise ValueError(msg)

    def grow(
        self, state: LesionState, lesion: Lesion, week: float, rng: np.random.Generator
    ) -> Lesion | None:
        """Return the lesion with a nodule that appears in a week, or None where there is no room."""
        others = LesionState(tuple(other for other in state.lesions if other.number != lesion.number))
        for _ in range(60):
            direction = rng.standard_normal(3)
            direction /= np.linalg.norm(direction)
            size = float(np.cbrt(np.prod(lesion.semi_axes_mm)))
            radius = max(3.6, size * rng.uniform(0.85, 1.1))
            edge = float(1 / np.linalg.norm(lesion.rotation @ direction / lesion.semi_axes_mm))
            grown = replace(
                lesion,
                nodule_week=week,
                nodule_mm=direction * (edge + 0.45 * radius),
                nodule_radius_mm=radius,
            )
            if others.room_for(grown.centre_mm, grown.reach_mm - 3) and self._covered(grown, week) > 0.88:
                return grown
        return None

    def _draw(self, number: int, rng: np.random.Generator, *, acute: bool, smallest_mm3: float) -> Lesion:
        region = str(rng.choice(list(REGION_SHARES), p=list(REGION_SHARES.values())))
        volume_mm3 = 0.0
        while not smallest_mm3 <= volume_mm3 <= 2500:
            volume_mm3 = float(rng.lognormal(_LOG_VOLUME_MEAN, _LOG_VOLUME_SD)) * (1.6 if acute else 1.0)
        if region == "infratentorial":
            volume_mm3 = min(volume_mm3, 250.0)
        place = int(rng.choice(self._places[region]))
        centre = self._points_mm[:, place] + rng.uniform(-0.5, 0.5, 3) * _PLACES_MM
        rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        axes = np.exp(rng.normal(0, 0.18, 3))
        exponent = float(rng.uniform(1.7, 2.6))
        axes *= np.cbrt(volume_mm3 / (4 / 3 * np.pi * np.prod(axes)))
        wavelength_mm = 2 * axes.mean()
        directions = rng.standard_normal((5, 3))
        waves = directions / np.linalg.norm(directions, axis=1, keepdims=True) * 2 * np.pi / wavelength_mm
        # T1 and T2 of plaques: Larsson et al. 1989 (Magn Reson Med 11:337); longest T1 in black holes.
        dark = 1.0 if not acute and rng.random() < 0.3 else 0.0
        t1_ratio = float(rng.uniform(1.4, 1.7) + dark * rng.uniform(0.9, 1.4))
        t2_ms = float(rng.uniform(130, 190) + 30 * dark)
        tissue = TissueProperties(
            (650 * t1_ratio, 850 * t1_ratio),
            (t2_ms, 0.93 * t2_ms),
            0.84,
            float(rng.uniform(0.18, 0.45)),
            leaky=True,
        )
        uptake: Uptake = "nodule"
        if axes.min() > 3.6 and rng.random() < 0.7:
            uptake = "open_ring" if rng.random() < 0.5 else "ring"
        outwards = centre - self._head.centre_mm
        phases = rng.uniform(0, 2 * np.pi, 5)
        lesion = Lesion(
            number,
            region,
            centre,
            axes,
            rotation,
            exponent,
            waves,
            phases,
            tissue,
            uptake=uptake,
            opening=outwards / np.linalg.norm(outwards),
        )
        # The irregular surface changes the volume; scale to what was drawn.
        return replace(lesion, semi_axes_mm=axes * np.cbrt(volume_mm3 / _volume_mm3(lesion)))

    def _covered(self, lesion: Lesion, week: float = 0.0) -> float:
        """Return the share of the lesion that lies in white and grey matter."""
        steps = np.arange(-lesion.reach_mm, lesion.reach_mm + 1, 1.0)
        points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, -1)
        points = points + lesion.centre_mm[:, None]
        inside = points[:, lesion.depth(points, week) > 0]
        return float((self.parenchyma_at(inside) > 0.6).mean())


def _volume_mm3(lesion: Lesion) -> float:
    """Return the volume of the body of a lesion."""
    step_mm = lesion.reach_mm / 12
    steps = np.arange(-12, 13) * step_mm
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, -1)
    inside = lesion.depth(points + lesion.centre_mm[:, None], lesion.onset_week) > 0
    return float(np.count_nonzero(inside) * step_mm**3)
