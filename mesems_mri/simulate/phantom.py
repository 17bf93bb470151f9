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

from mesems_mri.simulate.scanner import Affine, FloatArray
from mesems_mri.simulate.tissue import TISSUES
from mesems_mri.simulate.veins import make_veins

_ORIGIN_MM, _EXTENT_MM = np.array([-96.0, -134.0, -104.0]), np.array([192.0, 246.0, 210.0])
_CENTRE_MM = np.array([0.0, -18.0, 8.0])
_CONTROL_SPACING_MM = 20.0
# What is smooth (the map to the template, distances to surfaces) is computed on this grid and interpolated.
_COARSE_MM = 2.0
# Thickness (mm) of the layers around the brain: CSF, dura, and skull with marrow between two tables, scalp.
_CSF_MM, _DURA_MM, _TABLE_MM, _MARROW_MM, _SCALP_MM = 2.0, 1.5, 2.0, 2.0, 5.5


@dataclass(frozen=True, eq=False)
class HeadModel:
    """The anatomy of one participant.

    Parameters
    ----------
    fractions : dict of str to ndarray of float32, shape (x, y, z)
        Share of every tissue of `TISSUES` in a voxel; the rest is air.
    affine : ndarray of float64, shape (4, 4)
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
    def centre_mm(self) -> FloatArray:
        """Middle of the brain, head mm."""
        return _CENTRE_MM

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
def _load_template(spacing_mm: float) -> tuple[dict[str, NDArray[np.float32]], Affine]:
    """Return the template's tissue maps (1 mm, smoothed for a coarser grid) and voxel -> MNI152 mm."""
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
    maps = {name: ndimage.gaussian_filter(m, spacing_mm / 2.8) for name, m in maps.items()}
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


def make_head(rng: np.random.Generator, *, spacing_mm: float = 2.0) -> HeadModel:
    """Make the head of a participant.

    Parameters
    ----------
    rng : Generator
        Decides scaling, deformation, thickness of the layers and the course of the veins.
    spacing_mm : float
        Isotropic voxel size of the anatomy.
    """
    scale = rng.normal(0.95, 0.03) * rng.normal(1.0, 0.02, 3)
    control_shape = tuple(int(n) + 2 for n in _EXTENT_MM / _CONTROL_SPACING_MM)
    control_mm = ndimage.gaussian_filter(rng.standard_normal((3, *control_shape)), (0, 1.2, 1.2, 1.2))
    control_mm *= 2.5 / control_mm.std()
    where_mm, affine = _map_grid(spacing_mm, scale, control_mm)
    warped = _warp_template(where_mm, spacing_mm)
    brain = warped.pop("brain")
    outside_mm, depth_mm, thickness = _measure_surfaces(spacing_mm, scale, control_mm, rng)
    layers, inside_dura = _make_layers(where_mm, outside_mm, depth_mm, thickness, spacing_mm)
    fractions = {name: np.zeros(brain.shape, np.float32) for name in TISSUES}
    fractions |= layers
    for name, share in warped.items():
        fractions[name] = fractions[name] + share
    total = sum(fractions.values())
    # CSF fills what the brain leaves free inside the dura.
    fractions["csf"] += np.where(outside_mm < _CSF_MM, np.clip(1 - total, 0, 1), 0).astype(np.float32)
    total = np.maximum(sum(fractions.values()), 1.0)
    for share in fractions.values():
        share /= total
    ventricles = _find_ventricles(warped["csf"], where_mm)
    _paint(fractions, "choroid_plexus", _choroid_plexus(where_mm) * warped["csf"] * ventricles)
    _paint(fractions, "pituitary", _ellipsoid(where_mm, (0, 2, -33), (6.5, 4.5, 4)))
    _paint(fractions, "blood", make_veins(outside_mm, affine, _CENTRE_MM, rng))
    return HeadModel(fractions, affine, ventricles, inside_dura, scale, control_mm)


def _grid(spacing_mm: float) -> tuple[tuple[int, ...], Affine]:
    shape = tuple(int(n) for n in np.round(_EXTENT_MM / spacing_mm) + 1)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = _ORIGIN_MM
    return shape, affine


def _map_grid(
    spacing_mm: float, scale: FloatArray, control_mm: FloatArray
) -> tuple[NDArray[np.float32], Affine]:
    """Return MNI152 mm (3, X, Y, Z) of every voxel, and the affine of the grid."""
    coarse_mm = max(spacing_mm, _COARSE_MM)
    shape, _ = _grid(coarse_mm)
    head_mm = np.indices(shape, dtype=np.float32).reshape(3, -1) * coarse_mm + _ORIGIN_MM[:, None]
    where_mm = _to_template(head_mm, scale, control_mm).astype(np.float32).reshape(3, *shape)
    return np.stack([_refine(axis, spacing_mm) for axis in where_mm]), _grid(spacing_mm)[1]


def _refine(coarse: FloatArray, spacing_mm: float) -> NDArray[np.float32]:
    """Interpolate something smooth from the coarse grid onto the grid of the head."""
    shape, _ = _grid(spacing_mm)
    if coarse.shape == shape:
        return coarse.astype(np.float32)
    fine = np.empty(shape, np.float32)
    ndimage.affine_transform(
        coarse,
        np.diag([spacing_mm / _COARSE_MM] * 3),
        output=fine,
        order=1,
        mode="nearest",
    )
    return fine


def _warp_template(where_mm: NDArray[np.float32], spacing_mm: float) -> dict[str, NDArray[np.float32]]:
    """Return the template's tissue maps at the points (3, X, Y, Z) in MNI152 mm."""
    maps, affine = _load_template(spacing_mm)
    inverse = np.linalg.inv(affine).astype(np.float32)
    index = np.tensordot(inverse[:3, :3], where_mm, axes=1) + inverse[:3, 3][:, None, None, None]
    return {name: ndimage.map_coordinates(m, index, order=1, output=np.float32) for name, m in maps.items()}


def _measure_surfaces(
    spacing_mm: float, scale: FloatArray, control_mm: FloatArray, rng: np.random.Generator
) -> tuple[NDArray[np.float32], ...]:
    """Return distance to the brain, depth under the skin (mm) and relative thickness of skull and scalp."""
    coarse_mm = max(spacing_mm, _COARSE_MM)
    where_mm, _ = _map_grid(coarse_mm, scale, control_mm)
    brain = _warp_template(where_mm, coarse_mm)["brain"]
    outside_mm = _surface_distance(brain > 0.5, coarse_mm)
    thickness = 1 + 0.15 * _smooth_field(brain.shape, 30 / coarse_mm, rng)
    beyond = _beyond_layers(outside_mm, thickness, coarse_mm)
    head = _flesh(where_mm, beyond) + 1 - beyond[4] > 0.5
    depth_mm = ndimage.gaussian_filter(distance_mm(head, coarse_mm), 0.7)
    outside_mm, depth_mm, thickness = (_refine(m, spacing_mm) for m in (outside_mm, depth_mm, thickness))
    return outside_mm, depth_mm, thickness


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


def _beyond_layers(
    outside_mm: FloatArray, thickness: FloatArray, spacing_mm: float
) -> list[NDArray[np.float32]]:
    """Return the share of a voxel beyond CSF, dura, the layers of the skull, and scalp."""
    edges = np.cumsum([_CSF_MM, _DURA_MM, _TABLE_MM, _MARROW_MM, _TABLE_MM, _SCALP_MM])
    # CSF and dura keep their thickness; skull and scalp vary.
    starts = [edges[0], edges[1], *(edges[1] + (edge - edges[1]) * thickness for edge in edges[2:])]
    return [_ramp(outside_mm, start, spacing_mm).astype(np.float32) for start in starts]


def _flesh(where_mm: FloatArray, beyond: list[NDArray[np.float32]]) -> FloatArray:
    """Return the share of scalp, face, neck and nose."""
    face = np.maximum(
        _ellipsoid(where_mm, (0, 38, -58), (64, 58, 62)), _ellipsoid(where_mm, (0, -40, -100), (62, 62, 95))
    )
    nose = _ellipsoid(where_mm, (0, 98, -58), (13, 16, 22))
    return np.maximum(np.maximum(face, nose) * beyond[4], beyond[4] - beyond[5])


def _make_layers(
    where_mm: FloatArray,
    outside_mm: FloatArray,
    depth_mm: FloatArray,
    thickness: FloatArray,
    spacing_mm: float,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Return the tissues around the brain and the space inside the dura."""
    beyond = _beyond_layers(outside_mm, thickness, spacing_mm)
    in_brain = 1 - _ramp(outside_mm, 0.0, spacing_mm)
    flesh = _flesh(where_mm, beyond)
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
    return {name: share.astype(np.float32) for name, share in layers.items()}, outside_mm < _CSF_MM


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
