"""Location of lesions: region of the brain and centre."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mesems_mri.core.components import label_coordinates
from mesems_mri.core.distance import distance_from
from mesems_mri.core.typing import Affine, IntArray, Mask, Priors, Spacing

Region = Literal["periventricular", "juxtacortical", "infratentorial", "deep_white_matter"]


def lesion_regions(
    dseg: IntArray,
    *,
    priors: Priors,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    touch_mm: float = 2.0,
    ventricles: Mask | None = None,
) -> dict[int, Region]:
    """Assign every lesion to the region that counts for dissemination in space (McDonald criteria).

    A lesion mostly in the cerebellum or brain stem is infratentorial; one that comes within ``touch_mm`` of
    a lateral ventricle is periventricular; one that comes within it of the cortex is juxtacortical; the rest
    is deep white matter. Periventricular goes first: a large confluent lesion reaches both.

    Parameters
    ----------
    dseg : ndarray of int, shape (x, y, z)
        Numbered lesions, 3D.
    priors : mapping of str to ndarray of float, shape (x, y, z)
        Tissue probabilities on the same grid: ``lateral_ventricles``, ``cortex``, ``white_matter``,
        ``cerebellum``, ``brainstem``.
    spacing_mm : tuple of float
        Voxel size (mm).
    touch_mm : float
        Distance that counts as touching (mm).
    ventricles : ndarray of bool, shape (x, y, z), optional
        The ventricles of this very head, when known; otherwise the prior above 0.5.

    Returns
    -------
    dict of int to str
        Region by label, ascending.

    Raises
    ------
    ValueError
        When a prior is missing or has another shape.
    """
    _check_priors(priors, dseg)
    if not dseg.any():
        return {}
    infratentorial = priors["cerebellum"] + priors["brainstem"]
    in_ventricle = priors["lateral_ventricles"] > 0.5 if ventricles is None else ventricles
    in_cortex = (priors["cortex"] > 0.5) & (priors["cortex"] > priors["white_matter"])
    near_ventricle = distance_from(in_ventricle, spacing_mm, touch_mm) <= touch_mm
    near_cortex = distance_from(in_cortex, spacing_mm, touch_mm) <= touch_mm
    regions: dict[int, Region] = {}
    for label, coordinates in label_coordinates(dseg).items():
        at = tuple(coordinates.T)
        if float(infratentorial[at].mean()) > 0.5:
            regions[label] = "infratentorial"
        elif near_ventricle[at].any():
            regions[label] = "periventricular"
        elif near_cortex[at].any():
            regions[label] = "juxtacortical"
        else:
            regions[label] = "deep_white_matter"
    return regions


def _check_priors(priors: Priors, dseg: IntArray) -> None:
    for name in ("lateral_ventricles", "cortex", "white_matter", "cerebellum", "brainstem"):
        if name not in priors:
            msg = f"priors must hold {name}"
            raise ValueError(msg)
        if priors[name].shape != dseg.shape:
            msg = f"{name} must have the shape of dseg, {dseg.shape}, got {priors[name].shape}"
            raise ValueError(msg)


def centres(dseg: IntArray, affine: Affine) -> dict[int, tuple[float, float, float]]:
    """Return the centre of mass of every label in physical space.

    Parameters
    ----------
    dseg : ndarray of int, shape (x, y, z)
        Numbered lesions, 3D.
    affine : ndarray of float64, shape (4, 4)
        4x4, array index to mm; may include the transform to MNI space.

    Returns
    -------
    dict of int to tuple of float
        x, y, z (mm) by label, ascending.

    Raises
    ------
    ValueError
        When the affine is not 4x4.
    """
    matrix = np.asarray(affine, float)
    if matrix.shape != (4, 4):
        msg = f"affine must be 4x4, got shape {matrix.shape}"
        raise ValueError(msg)
    placed: dict[int, tuple[float, float, float]] = {}
    for label, coordinates in label_coordinates(dseg).items():
        x, y, z = (matrix[:3, :3] @ coordinates.mean(axis=0) + matrix[:3, 3]).tolist()
        placed[label] = (x, y, z)
    return placed
