"""Veins and sinuses of a simulated head; they enhance and are no lesions."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.simulate.scanner import Affine, FloatArray


def make_veins(
    outside_mm: FloatArray, affine: Affine, centre_mm: FloatArray, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the share of sinuses, cortical, deep and medullary veins in every voxel.

    Parameters
    ----------
    outside_mm : ndarray of float, shape (x, y, z)
        Distance to the surface of the brain, negative inside.
    affine : ndarray of float64, shape (4, 4)
        Voxel -> head RAS mm.
    centre_mm : ndarray of float64, shape (3,)
        Middle of the brain.
    rng : Generator
        Decides the course of the smaller veins.
    """
    spacing_mm = float(affine[0, 0])
    brain_mm = np.argwhere(outside_mm < 0) * spacing_mm + affine[:3, 3]
    veins = np.zeros(outside_mm.shape, np.float32)
    mid = brain_mm[np.abs(brain_mm[:, 0]) < 12]
    angles = np.deg2rad(np.arange(-12, 190, 2))
    sagittal = []
    for angle in angles:
        direction = np.array([0.0, np.cos(angle), np.sin(angle)])
        along = (mid - centre_mm) @ direction
        across = np.abs((mid - centre_mm)[:, 1] * np.sin(angle) - (mid - centre_mm)[:, 2] * np.cos(angle))
        sagittal.append(centre_mm + direction * (along[across < 4].max() + 2.0))
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
                _cortical_vein(start, side, outside_mm, affine, centre_mm, rng),
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
    start_mm: FloatArray,
    side: int,
    outside_mm: FloatArray,
    affine: Affine,
    centre_mm: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """Return a course (60, 3) from the superior sagittal sinus down the surface of one hemisphere."""
    arm = start_mm - centre_mm
    turn = np.deg2rad(np.linspace(0, rng.uniform(30, 75), 60))
    drift = np.cumsum(rng.normal(0, 0.012, 60)) + np.linspace(0, rng.uniform(-0.3, 0.1), 60)
    length = np.hypot(arm[1], arm[2])
    tilt = np.arctan2(arm[2], arm[1]) + drift
    directions = np.stack(
        [side * np.sin(turn), np.cos(turn) * np.cos(tilt), np.cos(turn) * np.sin(tilt)], axis=1
    )
    radii = np.arange(0.35 * length, 1.3 * length, 0.5)
    rays = centre_mm + radii[None, :, None] * directions[:, None, :]
    index = (rays - affine[:3, 3]) / affine[0, 0]
    depth = ndimage.map_coordinates(outside_mm, np.moveaxis(index, 2, 0), order=1, mode="nearest")
    at_surface = radii[np.argmax(depth > 0.8, axis=1)]
    return centre_mm + ndimage.gaussian_filter1d(at_surface, 2.0)[:, None] * directions


def _add_tube(
    veins: NDArray[np.float32], affine: Affine, course_mm: FloatArray, radii_mm: FloatArray
) -> None:
    """Add the share that a tube around a course (n, 3) fills in every voxel, counted in cells of 0.5 mm."""
    cell_mm = 0.5
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(course_mm, axis=0), axis=1))])
    steps = np.arange(0, length[-1], cell_mm)
    points = np.stack([np.interp(steps, length, course_mm[:, i]) for i in range(3)], axis=1)
    radius = np.interp(steps, length, radii_mm[: len(length)])
    reach = np.arange(-np.ceil(radius.max() / cell_mm), np.ceil(radius.max() / cell_mm) + 1) * cell_mm
    ball = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.linalg.norm(ball, axis=1)[None] <= radius[:, None]
    cells = (points[:, None] + ball[None])[inside]
    per_voxel = round(affine[0, 0] / cell_mm)
    fine_shape = tuple(per_voxel * n for n in veins.shape)
    index = np.floor((cells - affine[:3, 3] + affine[0, 0] / 2) / cell_mm).astype(np.int64)
    index = index[((index >= 0) & (index < fine_shape)).all(axis=1)]
    # Every cell once, however often the course passes it.
    index = np.unique(np.ravel_multi_index(tuple(index.T), fine_shape))
    voxels = tuple(axis // per_voxel for axis in np.unravel_index(index, fine_shape))
    np.add.at(veins, voxels, np.float32(1 / per_voxel**3))
    np.clip(veins, 0, 1, out=veins)
