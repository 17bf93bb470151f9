"""Affine alignment of the tissue atlas with a head of any contrast.

An image of unknown contrast is explained as a sum of the atlas classes, each with one intensity. For every
trial transform those intensities are the least-squares solution (variable projection), so the share of the
variance that they explain, R2, compares transforms, contrasts and even heads with non-heads on one scale. It
is maximised by Gauss-Newton steps from a coarse search over translation and pitch.

The intensity model and the joint fit of contrast and transform follow unified segmentation (Ashburner and
Friston, NeuroImage 2005;26:839); here only the affine part is fitted. Everything is single-threaded numpy
without BLAS in the sums, so that the transform does not depend on the number of cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mesems_mri.core.typing import Affine, Float64Array, FloatArray, Mask
from mesems_mri.images.likeness import local_agreement
from mesems_mri.images.preparation import blur_and_resample, intensity_ceiling, without_empty_ends
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import INTRACRANIAL_CLASSES, load_atlas

HEAD_CLASSES = (*INTRACRANIAL_CLASSES, "soft_tissue", "skull", "eyes")
# Size of adult heads against MNI152 (which is large) along its axes: mean and spread over real scans of five
# patients; a field of view that cuts the brain must not stretch the atlas to fit.
_MEAN_SCALE = np.array([0.90, 0.95, 0.86])
_SCALE_SD = 0.05
_WIDE_SCALE_SD = 0.12
_SIZES = (1.0, 0.87, 1.13)
_SHEAR_SD = 0.03
# Neighbouring samples are not independent: this many count as one against the prior.
_SAMPLES_PER_OBSERVATION = 150.0
_MARGIN_MM = {False: 24.0, True: 10.0}
_SURROUNDINGS_WEIGHT = 0.2
_CEILING = 2.2
_PIVOT_MM = np.array([0.0, -18.0, 10.0])


@dataclass(frozen=True)
class HeadAlignment:
    """Alignment of the atlas to a head.

    Attributes
    ----------
    from_mni : ndarray of float64, shape (4, 4)
        MNI RAS mm to RAS mm of the image, affine with 12 degrees of freedom.
    explained : float
        Share of the intensity variance in and around the brain that the atlas explains (R2), 0 to 1.
    explained_inside : float
        The same inside the brain only, linear trends of intensity taken out: how well its inner structure
        (white matter, ventricles, cerebellum) fits, whatever the outline. Near 0 for other round things.
    agreement : float
        Mean correlation (-1 to 1) of image and fitted atlas in windows of 15 mm inside the brain: whether the
        folds and ventricles are where a head has them. Bias and outline do not matter. Near 0 for things that
        only have the shape of a head.
    seen : float
        Share of the samples that lie inside the field of view.
    intensities : dict of str to float
        Fitted intensity of each class, in units of the image.
    """

    from_mni: Affine
    explained: float
    explained_inside: float
    agreement: float
    seen: float
    intensities: dict[str, float]


@dataclass(frozen=True)
class _Level:
    """Samples of the atlas at one resolution and the image at the same."""

    points_mm: Float64Array
    classes: Float64Array
    weights: Float64Array
    image: FloatArray
    gradient: tuple[FloatArray, ...]
    to_index: Affine
    push_in: bool
    scale_sd: float


@lru_cache(maxsize=8)
def _atlas_samples(
    spacing_mm: float, names: tuple[str, ...]
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return MNI points (mm) in and around the brain, the class memberships there (air last) and weights."""
    atlas = load_atlas()
    step = max(round(spacing_mm / 2.0), 1)
    sigma = 0.42 * np.sqrt(max((spacing_mm / 2.0) ** 2 - 1.0, 0.0))
    brain = atlas.probability["brain"] > 0.5
    near = ndimage.distance_transform_edt(~brain, sampling=2.0) <= _MARGIN_MM[names == INTRACRANIAL_CLASSES]
    start = step // 2
    thin = (slice(start, None, step),) * 3
    chosen = near[thin]
    memberships = [ndimage.gaussian_filter(atlas.probability[name], sigma)[thin][chosen] for name in names]
    classes = np.stack([*memberships, 1.0 - np.sum(memberships, axis=0)], axis=1).astype(np.float64)
    index = np.argwhere(chosen) * step + start
    # Scalp and neck differ most between heads and are brightest on T1w: they guide, the brain decides.
    within = ndimage.gaussian_filter(brain.astype(np.float32), 1.5)[thin][chosen]
    weights = _SURROUNDINGS_WEIGHT + (1.0 - _SURROUNDINGS_WEIGHT) * within.astype(np.float64)
    return index @ atlas.affine[:3, :3].T + atlas.affine[:3, 3], classes, weights


def _make_level(
    volume: Volume, spacing_mm: float, *, names: tuple[str, ...], push_in: bool, scale_sd: float
) -> _Level:
    image, affine = blur_and_resample(volume, spacing_mm)
    gradient = tuple(
        np.gradient(image, axis=axis).astype(np.float32) if image.shape[axis] > 1 else np.zeros_like(image)
        for axis in range(3)
    )
    points_mm, classes, weights = _atlas_samples(spacing_mm, names)
    return _Level(
        points_mm,
        classes,
        weights,
        image,
        gradient,
        np.asarray(np.linalg.inv(affine), dtype=np.float64),
        push_in,
        scale_sd,
    )


def _matrix(parameters: Float64Array) -> Affine:
    """Return the MNI -> image transform of 3 shifts (mm), 3 rotations, 3 log scales and 3 shears."""
    shift, rotation, log_scale, shear = parameters.reshape(4, 3)
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation), np.sin(rotation)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    stretch = np.diag(np.exp(log_scale))
    stretch[0, 1], stretch[0, 2], stretch[1, 2] = shear
    matrix = np.eye(4)
    matrix[:3, :3] = rz @ ry @ rx @ stretch
    matrix[:3, 3] = _PIVOT_MM + shift - matrix[:3, :3] @ _PIVOT_MM
    return matrix


def _sample(level: _Level, matrix: Affine) -> tuple[Mask, Float64Array, Float64Array]:
    """Return which samples lie in the field of view, their image indices and intensities."""
    to_index = level.to_index @ matrix
    index = to_index[:3, :3] @ level.points_mm.T + to_index[:3, 3:]
    limit = np.array(level.image.shape)[:, None] - 0.5
    inside = np.all((index >= -0.5) & (index <= limit), axis=0)
    index = index[:, inside]
    values = ndimage.map_coordinates(level.image, index, order=1, mode="nearest").astype(np.float64)
    return inside, index, values


def _fit_intensities(
    classes: Float64Array, weights: Float64Array, values: Float64Array
) -> tuple[Float64Array, float, float]:
    """Return class intensities (ridge least squares), residual and total sum of squares."""
    weighted = classes * weights[:, None]
    gram = np.einsum("ni,nj->ij", weighted, classes)
    right = np.einsum("ni,n->i", weighted, values)
    mean = float(np.average(values, weights=weights))
    # A class without samples gets the mean, not a wild value.
    ridge = 1e-3 * len(values)
    beta = np.linalg.solve(gram + ridge * np.eye(len(gram)) / len(gram), right + ridge * mean / len(gram))
    residual = values - np.einsum("ni,i->n", classes, beta)
    return beta, float(np.sum(weights * residual**2)), float(np.sum(weights * (values - mean) ** 2))


def _strain_penalty(parameters: Float64Array, scale_sd: float) -> tuple[float, Float64Array, Float64Array]:
    """Return the penalty on scales and shears, its gradient and its (diagonal) Hessian, each halved."""
    centre = np.zeros(12)
    centre[6:9] = np.log(_MEAN_SCALE)
    weight = np.zeros(12)
    weight[6:9], weight[9:] = scale_sd**-2, _SHEAR_SD**-2
    off = parameters - centre
    return float(np.sum(weight * off**2)), weight * off, weight


def _cost(level: _Level, parameters: Float64Array) -> float:
    """Return the cost of a transform (lower is better)."""
    inside, _, values = _sample(level, _matrix(parameters))
    if np.count_nonzero(inside) < 200:
        return np.inf
    _, residual, total = _fit_intensities(level.classes[inside], level.weights[inside], values)
    if total <= 0:
        return np.inf
    observations = len(inside) / _SAMPLES_PER_OBSERVATION
    share = residual / total
    if level.push_in:
        # Samples outside the field of view count as not explained: nothing is gained by pushing the head out.
        seen = float(level.weights[inside].sum() / level.weights.sum())
        share = seen * share + (1.0 - seen)
    return float(observations * np.log(max(share, 1e-6)) + _strain_penalty(parameters, level.scale_sd)[0])


def _refine(level: _Level, parameters: Float64Array, free: npt.NDArray[np.int_], steps: int) -> Float64Array:
    """Improve a transform by damped Gauss-Newton steps over the free parameters."""
    damping = 1e-2
    cost = _cost(level, parameters)
    for _ in range(steps):
        matrix = _matrix(parameters)
        inside, index, values = _sample(level, matrix)
        classes, weights = level.classes[inside], level.weights[inside]
        gradient = np.stack(
            [
                ndimage.map_coordinates(g, index, order=1, mode="nearest").astype(np.float64)
                for g in level.gradient
            ]
        )
        gradient_mm = np.einsum("ij,in->jn", level.to_index[:3, :3], gradient)
        points = level.points_mm[inside]
        columns = np.empty((len(values), len(free)))
        for column, parameter in enumerate(free):
            delta = np.zeros(12)
            delta[parameter] = 1e-4
            change = (_matrix(parameters + delta) - matrix) / 1e-4
            motion = np.einsum("ij,nj->ni", change[:3, :3], points) + change[:3, 3]
            columns[:, column] = np.einsum("in,ni->n", gradient_mm, motion)
        beta, residual_sum, total = _fit_intensities(classes, weights, values)
        residual = values - np.einsum("ni,i->n", classes, beta)
        # Variable projection: what of the motion a change of the class intensities could explain is taken
        # out.
        weighted = classes * weights[:, None]
        gram = np.einsum("ni,nj->ij", weighted, classes) + 1e-6 * len(values) * np.eye(classes.shape[1])
        columns -= np.einsum(
            "ni,ik->nk", classes, np.linalg.solve(gram, np.einsum("ni,nk->ik", weighted, columns))
        )
        weight = len(inside) / _SAMPLES_PER_OBSERVATION / max(residual_sum, 1e-6 * total)
        _, slope, curvature = _strain_penalty(parameters, level.scale_sd)
        weighted = columns * weights[:, None]
        normal = weight * np.einsum("ni,nj->ij", weighted, columns) + np.diag(curvature[free])
        right = -weight * np.einsum("ni,n->i", weighted, residual) - slope[free]
        improved = False
        for _ in range(4):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), right)
            trial = parameters.copy()
            trial[free] += step
            trial_cost = _cost(level, trial)
            if trial_cost < cost - 1e-9:
                improved = True
                break
            damping *= 8.0
        if not improved:
            break
        gained, cost, parameters = cost - trial_cost, trial_cost, trial
        damping = max(damping / 8.0, 1e-4)
        if gained < 0.01:
            break
    return parameters


def _coarse_search(level: _Level, centre_mm: Float64Array, sizes: Sequence[float]) -> list[Float64Array]:
    """Return the best few starts over sizes, shifts and pitches, best first."""
    thin = replace(
        level,
        points_mm=level.points_mm[::3],
        classes=level.classes[::3],
        weights=level.weights[::3],
    )
    candidates: list[tuple[float, Float64Array]] = []
    shifts = product(np.arange(-84.0, 85.0, 14.0), (-28.0, -14.0, 0.0, 14.0, 28.0), (-10.0, 0.0, 10.0))
    for size, pitch, (dz, dy, dx) in product(sizes, np.deg2rad([-20.0, 0.0, 20.0]), list(shifts)):
        parameters = np.zeros(12)
        parameters[:3] = centre_mm - _PIVOT_MM + np.array([dx, dy, dz])
        parameters[3] = pitch
        parameters[6:9] = np.log(_MEAN_SCALE * size)
        candidates.append((_cost(thin, parameters), parameters))
    candidates.sort(key=lambda candidate: candidate[0])
    starts: list[Float64Array] = []
    for _, parameters in candidates:
        apart = [
            np.abs(parameters[[0, 1, 2, 3, 6]] - other[[0, 1, 2, 3, 6]]) / [15, 20, 20, 0.5, 0.05]
            for other in starts
        ]
        if all(np.max(distance) >= 1.0 for distance in apart):
            starts.append(parameters)
        if len(starts) == 3 * len(sizes):
            break
    return starts


def _explained_inside(classes: Float64Array, points_mm: Float64Array, values: Float64Array) -> float:
    """Return the share of the variance inside the brain, free of linear trends, that the classes explain."""
    tissue = classes[:, : len(INTRACRANIAL_CLASSES)]
    core = tissue.sum(axis=1) > 0.95
    if np.count_nonzero(core) < 200:
        return 0.0
    trends = np.column_stack([np.ones(np.count_nonzero(core)), points_mm[core] / 100.0])
    full = np.column_stack([trends, tissue[core]])
    sums = []
    for columns in (trends, full):
        gram = np.einsum("ni,nj->ij", columns, columns) + 1e-6 * len(columns) * np.eye(columns.shape[1])
        beta = np.linalg.solve(gram, np.einsum("ni,n->i", columns, values[core]))
        sums.append(float(np.sum((values[core] - np.einsum("ni,i->n", columns, beta)) ** 2)))
    return 1.0 - sums[1] / sums[0] if sums[0] > 0 else 0.0


def align_head(volume: Volume, *, skull_stripped: bool, thorough: bool = False) -> HeadAlignment:
    """Align the atlas to a head.

    Parameters
    ----------
    volume : Volume
        The image: any contrast, orientation and resolution, finite.
    skull_stripped : bool
        True when everything but the brain was removed from the image.
    thorough : bool
        Also start from small and large heads, and follow several starts to the end; for images on which the
        quick way found no head.

    Returns
    -------
    HeadAlignment
        Transform, how much of the image it explains, and the intensity of each class.
    """
    volume = without_empty_ends(volume)
    ceiling = intensity_ceiling(volume.array, _CEILING)
    clipped = Volume(np.clip(volume.array, 0, ceiling).astype(np.float32), volume.affine)
    scale_sd = _WIDE_SCALE_SD if thorough else _SCALE_SD
    names = INTRACRANIAL_CLASSES if skull_stripped else HEAD_CLASSES
    coarse = _make_level(clipped, 8.0, names=names, push_in=True, scale_sd=scale_sd)
    middle = (np.array([*clipped.shape, 1.0]) - [1, 1, 1, 0]) / [2, 2, 2, 1]
    bright = np.argwhere(coarse.image > coarse.image.mean())
    centre_mm = (clipped.affine @ middle)[:3]
    if len(bright):
        to_ras = np.linalg.inv(coarse.to_index)
        centre_mm = to_ras[:3, :3] @ np.median(bright, axis=0) + to_ras[:3, 3]
    rigid, all_free = np.arange(9), np.arange(12)
    sizes = _SIZES if thorough else (1.0,)
    starts = [_refine(coarse, start, rigid, 25) for start in _coarse_search(coarse, centre_mm, sizes)]
    starts = sorted(starts, key=lambda start: _cost(coarse, start))[: 4 if thorough else 1]
    starts = [_refine(coarse, start, all_free, 15) for start in starts]
    # Close to the optimum the field of view no longer matters, and must not pull the atlas into itself.
    level = _make_level(clipped, 4.0, names=names, push_in=False, scale_sd=scale_sd)
    starts = [_refine(level, start, all_free, 25) for start in starts]
    candidates = [_describe(level, clipped, start, names) for start in starts]
    return max(candidates, key=lambda candidate: candidate.explained * candidate.agreement)


def _describe(
    level: _Level, volume: Volume, parameters: Float64Array, names: tuple[str, ...]
) -> HeadAlignment:
    inside, _, values = _sample(level, _matrix(parameters))
    classes, weights = level.classes[inside], level.weights[inside]
    beta, residual, total = _fit_intensities(classes, weights, values)
    intensities = {name: float(value) for name, value in zip((*names, "air"), beta, strict=True)}
    return HeadAlignment(
        from_mni=_matrix(parameters),
        explained=1.0 - residual / total if total > 0 else 0.0,
        explained_inside=_explained_inside(classes, level.points_mm[inside], values),
        agreement=local_agreement(volume, _matrix(parameters), INTRACRANIAL_CLASSES),
        seen=float(inside.mean()),
        intensities=intensities,
    )
