"""Alignment of a head to MNI space by its tissues: those the network sees, those of the atlas.

No intensity takes part, so that one method serves every contrast, a stripped brain as well as a head.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from picsl_greedy import Greedy3D
from scipy import ndimage

from mesems_mri.core.typing import Affine, Float64Array, FloatArray
from mesems_mri.images.anatomy import Anatomy
from mesems_mri.images.itk import to_itk
from mesems_mri.models.atlas import Atlas, load_atlas

_STEP: Final = 2
_SPACING_MM: Final = 4.0
_SMOOTH: Final = 0.6
# Lesions turn white matter to cortex in the eyes of the network; what holds the brain together goes first.
_WEIGHTS: Final = {
    "brain": 1.0,
    "white_matter": 0.5,
    "deep_grey": 1.0,
    "lateral_ventricles": 0.5,
    "cerebellum": 1.0,
    "brainstem": 1.0,
}
_TURN_DEG: Final = (-20.0, 0.0, 20.0)
_SHIFT_MM: Final = 12.0
_MEAN_SCALE: Final = 1.1
"""The MNI brain is larger than most: scale of a head to it."""


@dataclass(frozen=True, eq=False)
class MniAlignment:
    """Affine alignment of a head to MNI space.

    Attributes
    ----------
    to_mni : ndarray of float64, shape (4, 4)
        RAS mm of the image to MNI RAS mm, 12 degrees of freedom.
    agreement : float
        Overlap of the tissues seen with those of the atlas, 0 to 1: mean of the soft Dice coefficients, each
        weighted by the share of the tissue that lies in the field of view.
    """

    to_mni: Affine
    agreement: float


def tissue_of_atlas(atlas: Atlas, name: str) -> FloatArray:
    """Return the class of the atlas that is a class of the network: there the ventricles hold the plexus."""
    own = atlas.probability[name]
    return own + atlas.probability["choroid_plexus"] if name == "lateral_ventricles" else own


def align_to_mni(anatomy: Anatomy) -> MniAlignment:
    """Align a head to MNI space.

    Parameters
    ----------
    anatomy : Anatomy
        Tissues of the head; parts of the brain may lie outside the field of view.

    Returns
    -------
    MniAlignment
    """
    atlas = load_atlas()
    fixed = {name: _thinned(anatomy.map_of(name)) for name in _WEIGHTS}
    moving = {name: _thinned(tissue_of_atlas(atlas, name)) for name in _WEIGHTS}
    step = np.diag([_STEP, _STEP, _STEP, 1.0])
    fixed_affine, moving_affine = anatomy.grid.affine @ step, atlas.affine @ step
    to_mni = _start(fixed, fixed_affine, moving, moving_affine)
    for freedom in (7, 12):
        placed = np.linalg.inv(to_mni) @ moving_affine
        to_mni = to_mni @ _refine(fixed, fixed_affine, moving, placed, freedom)
    return MniAlignment(to_mni, _agreement(fixed, fixed_affine, moving, moving_affine, to_mni))


def _thinned(probability: FloatArray) -> FloatArray:
    smooth = ndimage.gaussian_filter(probability, _SMOOTH)
    return np.ascontiguousarray(smooth[::_STEP, ::_STEP, ::_STEP])


def _start(
    fixed: dict[str, FloatArray], fixed_affine: Affine, moving: dict[str, FloatArray], moving_affine: Affine
) -> Affine:
    """Return the best of some shifts along the body and turns about the ears, for parts of heads as well."""
    index = np.argwhere(fixed["brain"] > 0.5)
    index = index[:: max(1, len(index) // 4000)]
    points = index @ fixed_affine[:3, :3].T + fixed_affine[:3, 3]
    wanted = np.stack([fixed[name][tuple(index.T)] for name in _WEIGHTS])
    centre = points.mean(axis=0)
    target = np.argwhere(moving["brain"] > 0.5).mean(axis=0) @ moving_affine[:3, :3].T + moving_affine[:3, 3]
    to_index = np.linalg.inv(moving_affine)
    best, chosen = np.inf, np.eye(4)
    for turn in np.deg2rad(_TURN_DEG):
        for shift in np.arange(-6, 7) * _SHIFT_MM:
            matrix = np.eye(4)
            cos, sin = np.cos(turn), np.sin(turn)
            matrix[:3, :3] = _MEAN_SCALE * np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
            matrix[:3, 3] = target + np.array([0.0, 0.0, shift]) - matrix[:3, :3] @ centre
            where = to_index @ matrix
            at = (points @ where[:3, :3].T + where[:3, 3]).T
            seen = np.stack([ndimage.map_coordinates(moving[name], at, order=1) for name in _WEIGHTS])
            cost = float(np.sum((seen - wanted) ** 2))
            if cost < best:
                best, chosen = cost, matrix
    return chosen


def _refine(
    fixed: dict[str, FloatArray],
    fixed_affine: Affine,
    moving: dict[str, FloatArray],
    placed: Affine,
    freedom: int,
) -> Affine:
    """Return the step, from the fixed to the placed moving maps, of least squared difference."""
    images, pairs = {}, []
    for name, weight in _WEIGHTS.items():
        images[f"f_{name}"] = to_itk(fixed[name], fixed_affine)
        images[f"m_{name}"] = to_itk(moving[name], placed)
        pairs.append(f"-w {weight} -i f_{name} m_{name}")
    greedy, silent = Greedy3D(), io.StringIO()
    greedy.execute(
        f"-d 3 -a -dof {freedom} -m SSD {' '.join(pairs)} -ia-identity -n 40x40 -o found -threads 1 "
        "-jitter 0 -V 0",
        out=silent,
        err=silent,
        found=None,
        **images,
    )
    return np.asarray(greedy["found"], dtype=np.float64)


def _agreement(
    fixed: dict[str, FloatArray],
    fixed_affine: Affine,
    moving: dict[str, FloatArray],
    moving_affine: Affine,
    to_mni: Affine,
) -> float:
    matrix: Float64Array = np.linalg.inv(moving_affine) @ to_mni @ fixed_affine
    overlap, share = [], []
    for name in _WEIGHTS:
        placed = ndimage.affine_transform(
            moving[name], matrix[:3, :3], matrix[:3, 3], output_shape=fixed[name].shape, order=1
        )
        total = float(placed.sum() + fixed[name].sum())
        overlap.append(2.0 * float(np.minimum(placed, fixed[name]).sum()) / max(total, 1.0))
        share.append(float(placed.sum()) * abs(np.linalg.det(matrix[:3, :3])) / float(moving[name].sum()))
    return float(np.average(overlap, weights=np.clip(share, 1e-3, 1.0)))
