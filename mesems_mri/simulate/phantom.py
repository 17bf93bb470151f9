"""Heads of simulated participants: the MNI152 template, deformed, with skull, scalp, face, veins and air.

The template that nilearn ships is skull-stripped, so everything outside the brain is built here from the
distance to its surface. Head space is RAS in mm, close to MNI; every participant has an own smooth map from
head mm to MNI152 mm.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from nilearn import datasets
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.simulate.scanner import TISSUES, Affine, FloatArray

_ORIGIN_MM, _EXTENT_MM = np.array([-96.0, -134.0, -104.0]), np.array([192.0, 246.0, 210.0])
_CENTRE_MM = np.array([0.0, -18.0, 8.0])
_CONTROL_SPACING_MM = 20.0
# Thickness (mm) of the layers around the brain: CSF, dura, and skull with marrow between two tables, scalp.
_CSF_MM, _DURA_MM, _TABLE_MM, _MARROW_MM, _SCALP_MM = 2.0, 1.5, 2.0, 2.0, 5.5


@dataclass(frozen=True, eq=False)
class Head:
    """The anatomy of one participant.

    Parameters
    ----------
    fractions : dict of str to ndarray of float32 (X, Y, Z)
        Share of every tissue of `TISSUES` in a voxel; the rest is air.
    affine : ndarray (4, 4)
        Voxel -> head RAS mm.
    ventricles : ndarray of bool
        Lateral ventricles.
    inside_dura : ndarray of bool
        Brain and its CSF.
    scale, control_mm : ndarray
        Map of head mm to template mm: scaling (3,) about the centre and displacements (3, i, j, k) at the
        control points.
    """

    fractions: dict[str, NDArray[np.float32]]
    affine: Affine
    ventricles: NDArray[np.bool_]
    inside_dura: NDArray[np.bool_]
    scale: FloatArray
    control_mm: FloatArray

    @property
    def parenchyma(self) -> NDArray[np.float32]:
        """Share of white and grey matter in every voxel."""
        return self.fractions["white_matter"] + self.fractions["grey_matter"]

    def to_template(self, points_mm: FloatArray) -> FloatArray:
        """Map head mm (3, n) to MNI152 mm."""
        return _to_template(points_mm, self.scale, self.control_mm)


def _to_template(points_mm: FloatArray, scale: FloatArray, control_mm: FloatArray) -> FloatArray:
    at_control = (points_mm - _ORIGIN_MM[:, None]) / _CONTROL_SPACING_MM
    shift = np.stack([ndimage.map_coordinates(c, at_control, order=3, mode="nearest") for c in control_mm])
    centre = _CENTRE_MM[:, None]
    return (points_mm - centre) / scale[:, None] + centre + shift


@lru_cache(maxsize=1)
def _load_template() -> tuple[dict[str, NDArray[np.float32]], Affine]:
    """Return the template's tissue maps (1 mm) and voxel -> MNI152 mm."""
    image = datasets.load_mni152_wm_template(1)
    white = np.asarray(image.dataobj, dtype=np.float32)
    others: list[Any] = [datasets.load_mni152_gm_template(1), datasets.load_mni152_brain_mask(1)]
    grey, brain = (np.asarray(other.dataobj, dtype=np.float32) for other in others)
    csf = brain * np.clip(1 - white - grey, 0, 1)
    # One person's tissues have sharper borders than the average of 152 people.
    sharp = [np.square(p) for p in (white, grey, csf)]
    total = np.maximum(sum(sharp), 1e-3)
    white, grey, csf = ((brain * p / total).astype(np.float32) for p in sharp)
    maps = {"white_matter": white, "grey_matter": grey, "csf": csf, "brain": brain}
    return maps, np.asarray(image.affine, dtype=np.float64)


def _ramp(distance_mm: FloatArray, start_mm: FloatArray | float, width_mm: float) -> FloatArray:
    """Return the share of a voxel beyond a surface at ``start_mm``."""
    return np.clip((distance_mm - start_mm) / width_mm + 0.5, 0, 1)


def _ellipsoid(
    points_mm: FloatArray, centre_mm: tuple[float, ...], semi_axes_mm: tuple[float, ...]
) -> FloatArray:
    """Return the share (by a soft edge of 2 mm) of an ellipsoid in every voxel; points are (3, ...)."""
    offset = [(points_mm[i] - centre_mm[i]) / semi_axes_mm[i] for i in range(3)]
    radius = np.sqrt(offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2)
    return _ramp((1 - radius) * min(semi_axes_mm), 0.0, 2.0)


def make_head(rng: np.random.Generator, *, spacing_mm: float = 2.0) -> Head:
    """Make the head of a participant.

    Parameters
    ----------
    rng : Generator
        Decides scaling, deformation, thickness of the layers and the course of the veins.
    spacing_mm : float
        Isotropic voxel size of the anatomy.
    """
    shape = tuple(int(n) for n in np.round(_EXTENT_MM / spacing_mm) + 1)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = _ORIGIN_MM
    scale = rng.normal(0.95, 0.03) * rng.normal(1.0, 0.02, 3)
    control_shape = tuple(int(n) + 2 for n in _EXTENT_MM / _CONTROL_SPACING_MM)
    control_mm = ndimage.gaussian_filter(rng.standard_normal((3, *control_shape)), (0, 1.2, 1.2, 1.2))
    control_mm *= 2.5 / control_mm.std()

    head_mm = np.indices(shape, dtype=np.float32).reshape(3, -1) * spacing_mm + _ORIGIN_MM[:, None]
    template_mm = _to_template(head_mm, scale, control_mm).astype(np.float32)
    maps, template_affine = _load_template()
    at_template = np.linalg.inv(template_affine) @ np.vstack([template_mm, np.ones_like(template_mm[:1])])
    warped = {
        name: ndimage.map_coordinates(
            ndimage.gaussian_filter(m, spacing_mm / 2.8), at_template[:3], order=1, output=np.float32
        ).reshape(shape)
        for name, m in maps.items()
    }
    where_mm = template_mm.reshape(3, *shape)
    brain = warped.pop("brain")
    outside_mm = _surface_distance(brain > 0.5, spacing_mm)
    thickness = 1 + 0.15 * _smooth_field(shape, 30 / spacing_mm, rng)
    layers, inside_dura = _make_layers(where_mm, outside_mm, thickness, spacing_mm)
    fractions = {name: np.zeros(shape, np.float32) for name in TISSUES}
    fractions |= {name: share.astype(np.float32) for name, share in layers.items()}
    for name, share in warped.items():
        fractions[name] = (fractions[name] + share).astype(np.float32)
    total = np.maximum(sum(fractions.values()), 1.0)
    fractions = {name: (share / total).astype(np.float32) for name, share in fractions.items()}
    ventricles = _find_ventricles(warped["csf"], where_mm)
    _paint(fractions, "choroid_plexus", _choroid_plexus(where_mm) * warped["csf"] * ventricles)
    _paint(fractions, "pituitary", _ellipsoid(where_mm, (0, 2, -33), (6.5, 4.5, 4)))
    _paint(fractions, "blood", _make_veins(where_mm, outside_mm, affine, rng))
    return Head(fractions, affine, ventricles, inside_dura, scale, control_mm)


def distance_mm(mask: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.float32]:
    """Return the distance (mm) of the voxels of a mask to the nearest voxel outside."""
    distance = np.empty(mask.shape, np.float64)
    ndimage.distance_transform_edt(mask, distances=distance)
    return (distance * spacing_mm).astype(np.float32)


def _surface_distance(mask: NDArray[np.bool_], spacing_mm: float) -> FloatArray:
    """Return the distance (mm) to the surface of a mask, negative inside, smoothed within a voxel."""
    return ndimage.gaussian_filter(distance_mm(~mask, spacing_mm) - distance_mm(mask, spacing_mm), 0.7)


def _smooth_field(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> FloatArray:
    """Return a smooth random field of mean 0 and standard deviation 1."""
    step = max(1, int(sigma / 3))
    coarse = rng.standard_normal([n // step + 2 for n in shape])
    coarse = ndimage.gaussian_filter(coarse, sigma / step)
    factors = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    fine = np.asarray(ndimage.zoom(coarse, factors, order=1))
    return (fine - fine.mean()) / fine.std()


def _make_layers(
    where_mm: FloatArray, outside_mm: FloatArray, thickness: FloatArray, spacing_mm: float
) -> tuple[dict[str, FloatArray], NDArray[np.bool_]]:
    """Return the tissues around the brain and the space inside the dura."""
    edges = np.cumsum([_CSF_MM, _DURA_MM, _TABLE_MM, _MARROW_MM, _TABLE_MM, _SCALP_MM])
    # CSF and dura keep their thickness; skull and scalp vary.
    starts = [edges[0], edges[1], *(edges[1] + (edge - edges[1]) * thickness for edge in edges[2:])]
    beyond = [_ramp(outside_mm, start, spacing_mm) for start in starts]
    in_brain = 1 - _ramp(outside_mm, 0.0, spacing_mm)
    face = np.maximum(
        _ellipsoid(where_mm, (0, 38, -58), (64, 58, 62)), _ellipsoid(where_mm, (0, -40, -100), (62, 62, 95))
    )
    face *= beyond[4]
    nose = _ellipsoid(where_mm, (0, 98, -58), (13, 16, 22)) * beyond[4]
    flesh = np.maximum(np.maximum(face, nose), beyond[4] - beyond[5])
    depth_mm = ndimage.gaussian_filter(distance_mm(flesh + 1 - beyond[4] > 0.5, spacing_mm), 0.7)
    under_skin = _ramp(depth_mm, _SCALP_MM, 2 * spacing_mm) * flesh
    air = np.maximum(
        _ellipsoid(where_mm, (0, 62, -52), (15, 24, 16)), _ellipsoid(where_mm, (0, 22, -72), (13, 10, 30))
    )
    eyes = sum(_ellipsoid(where_mm, (side * 33, 64, -36), (12, 12, 12)) for side in (-1, 1)) * beyond[4]
    solid = (1 - air) * (1 - eyes)
    layers = {
        "csf": _layer_between(1 - in_brain, beyond[0]),
        "dura": _layer_between(beyond[0], beyond[1]),
        "cortical_bone": beyond[1] - beyond[2] + beyond[3] - beyond[4],
        "marrow": beyond[2] - beyond[3],
        "fat": (flesh - under_skin) * solid,
        "muscle": under_skin * solid,
        "vitreous": eyes,
    }
    return layers, outside_mm < _CSF_MM


def _layer_between(inner: FloatArray, outer: FloatArray) -> FloatArray:
    """Return the share of the layer between two surfaces."""
    return np.clip(inner - outer, 0, 1)


def _find_ventricles(csf: FloatArray, where_mm: FloatArray) -> NDArray[np.bool_]:
    """Return the lateral ventricles: deep CSF around them in the template."""
    x, y, z = where_mm
    near = (np.abs(x) < 38) & (y > -60) & (y < 38) & (z > -18) & (z < 32)
    # The third ventricle and the cisterns lie in the midline or below.
    return (csf > 0.5) & near & ((np.abs(x) > 3) | (z > 6)) & (z > -4 - 0.35 * (np.abs(x) - 12))


def _choroid_plexus(where_mm: FloatArray) -> FloatArray:
    """Return the choroid plexus: a glomus in each atrium and a thin strand in each body."""
    shares = [_ellipsoid(where_mm, (side * 24, -40, 12), (7, 7, 8)) for side in (-1, 1)]
    shares += [_ellipsoid(where_mm, (side * 9, -16, 18), (3, 16, 2.5)) for side in (-1, 1)]
    return np.max(shares, axis=0)


def _paint(fractions: dict[str, NDArray[np.float32]], name: str, share: FloatArray) -> None:
    """Put a tissue in the place of what is there."""
    for other in fractions:
        fractions[other] *= (1 - share).astype(np.float32)
    fractions[name] += share.astype(np.float32)


def _make_veins(
    where_mm: FloatArray, outside_mm: FloatArray, affine: Affine, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the share of sinuses, cortical, deep and medullary veins in every voxel."""
    spacing_mm = float(affine[0, 0])
    brain_mm = np.argwhere(outside_mm < 0) * spacing_mm + _ORIGIN_MM
    veins = np.zeros(outside_mm.shape, np.float32)
    mid = brain_mm[np.abs(brain_mm[:, 0]) < 12]
    angles = np.deg2rad(np.arange(-12, 190, 2))
    sagittal = []
    for angle in angles:
        direction = np.array([0.0, np.cos(angle), np.sin(angle)])
        along = (mid - _CENTRE_MM) @ direction
        across = np.abs((mid - _CENTRE_MM)[:, 1] * np.sin(angle) - (mid - _CENTRE_MM)[:, 2] * np.cos(angle))
        sagittal.append(_CENTRE_MM + direction * (along[across < 4].max() + 2.0))
    sagittal = np.array(sagittal)
    sagittal[:, 0] = 0
    _add_tube(veins, affine, sagittal, np.linspace(1.5, 4.0, len(sagittal)))
    torcula = sagittal[-1]
    for side in (-1, 1):
        lateral = np.array([torcula, [side * 32, -94, -20], [side * 56, -72, -30], [side * 60, -52, -36]])
        _add_tube(veins, affine, _curve(lateral), np.full(80, 3.3))
        internal = np.array([[side * 2.0, 2, 12], [side * 2, -20, 15], [side * 1, -40, 8]])
        _add_tube(veins, affine, _curve(internal), np.full(80, 1.2))
        for _ in range(8):
            start = sagittal[rng.integers(20, len(sagittal) - 25)]
            _add_tube(
                veins,
                affine,
                _cortical_vein(start, side, outside_mm, affine, rng),
                np.full(60, rng.uniform(1.0, 1.6)),
            )
    straight = np.array([[0, -40, 8], [0, -60, 2], torcula])
    _add_tube(veins, affine, _curve(straight), np.full(80, 2.2))
    for _ in range(3):
        side = rng.choice([-1, 1])
        start = np.array([side * rng.uniform(20, 30), rng.uniform(-30, 25), rng.uniform(22, 32)])
        steps = np.array([[0, 0, 0], [side * 5, rng.uniform(-4, 4), 8], [side * 8, 0, 20]])
        _add_tube(veins, affine, _curve(start + steps), np.full(80, rng.uniform(0.6, 0.9)))
    return veins


def _curve(knots_mm: FloatArray, number: int = 80) -> FloatArray:
    """Return points (number, 3) along a line through the knots, rounded at its corners."""
    steps = np.linspace(0, len(knots_mm) - 1, number)
    line = np.stack([np.interp(steps, range(len(knots_mm)), knots_mm[:, i]) for i in range(3)], axis=1)
    return ndimage.gaussian_filter1d(line, number / 20, axis=0, mode="nearest")


def _cortical_vein(
    start_mm: FloatArray, side: int, outside_mm: FloatArray, affine: Affine, rng: np.random.Generator
) -> FloatArray:
    """Return a course (60, 3) from the superior sagittal sinus down the surface of one hemisphere."""
    arm = start_mm - _CENTRE_MM
    turn = np.deg2rad(np.linspace(0, rng.uniform(30, 75), 60))
    drift = np.cumsum(rng.normal(0, 0.012, 60)) + np.linspace(0, rng.uniform(-0.3, 0.1), 60)
    length = np.hypot(arm[1], arm[2])
    tilt = np.arctan2(arm[2], arm[1]) + drift
    directions = np.stack(
        [side * np.sin(turn), np.cos(turn) * np.cos(tilt), np.cos(turn) * np.sin(tilt)], axis=1
    )
    radii = np.arange(0.35 * length, 1.3 * length, 0.5)
    rays = _CENTRE_MM + radii[None, :, None] * directions[:, None, :]
    index = (rays - _ORIGIN_MM) / affine[0, 0]
    depth = ndimage.map_coordinates(outside_mm, np.moveaxis(index, 2, 0), order=1, mode="nearest")
    at_surface = radii[np.argmax(depth > 0.8, axis=1)]
    return _CENTRE_MM + ndimage.gaussian_filter1d(at_surface, 2.0)[:, None] * directions


def _add_tube(
    veins: NDArray[np.float32], affine: Affine, course_mm: FloatArray, radii_mm: FloatArray
) -> None:
    """Add the share that a tube around a course (n, 3) takes in every voxel, counted in cells of 0.5 mm."""
    cell_mm = 0.5
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(course_mm, axis=0), axis=1))])
    steps = np.arange(0, length[-1], cell_mm)
    points = np.stack([np.interp(steps, length, course_mm[:, i]) for i in range(3)], axis=1)
    radius = np.interp(steps, length, radii_mm[: len(length)])
    reach = np.arange(-np.ceil(radius.max() / cell_mm), np.ceil(radius.max() / cell_mm) + 1) * cell_mm
    ball = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.linalg.norm(ball, axis=1)[None] <= radius[:, None]
    cells = (points[:, None] + ball[None])[inside]
    cells = np.unique(np.floor((cells - affine[:3, 3] + affine[0, 0] / 2) / cell_mm).astype(np.int32), axis=0)
    per_voxel = round(affine[0, 0] / cell_mm)
    voxels = cells // per_voxel
    voxels = voxels[((voxels >= 0) & (voxels < veins.shape)).all(axis=1)]
    np.add.at(veins, tuple(voxels.T), np.float32(1 / per_voxel**3))
    np.clip(veins, 0, 1, out=veins)
