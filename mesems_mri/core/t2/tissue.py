"""Tissue and expected intensity at every voxel of a T2-type scan.

The expected intensity is the mixture of the tissues that may be there: their atlas priors, spread over the
millimetres they may be misplaced by, times what T1w says. Level and spread of each tissue are measured in the
scan itself, so nothing here depends on a scanner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mesems_mri.core.by_label import mean_by_label
from mesems_mri.core.candidates import MOSTLY_OUTSIDE, OFFERED_SCORE
from mesems_mri.core.distance import bounding_box, close_mask, distance_from, distance_inside
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.t2.fluid import find_fluid, find_ventricles
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.typing import Box, Float64Array, FloatArray, Labels, Mask, Priors, Spacing, T2Contrast

NEEDED_PRIORS = (
    "white_matter",
    "cortex",
    "deep_grey",
    "lateral_ventricles",
    "csf",
    "choroid_plexus",
    "cerebellum",
    "brainstem",
)
SMOOTH_MM = 0.6
"""Gaussian sigma against noise: small beside the smallest focus (3 mm)."""
SPREAD_MM = 1.5
"""Gaussian sigma of the misplacement of the priors."""
CHOROID_PRIOR = 0.3
"""Above this probability of choroid plexus no lesion is looked for."""
TISSUE_REACH_MM = 4.0
"""No lesion further than this from where the priors expect tissue of the brain, e.g. beside the cord."""
VENTRICLE_REACH_MM = 10.0
"""Reach of the distance to the lateral ventricles; their lining is thinner by far."""
MIN_TISSUE_VOXELS = 100

# Where fluid is expected but not seen, the tissue beside it has moved in.
_MIXTURE = {
    "white_matter": ("white_matter", "lateral_ventricles"),
    "cortex": ("cortex", "csf"),
    "deep_grey": ("deep_grey",),
    "cerebellum": ("cerebellum",),
    "brainstem": ("brainstem",),
}


@dataclass(frozen=True, eq=False)
class TissueMaps:
    """Maps over the brain box of a scan.

    Attributes
    ----------
    box : tuple of slice
        Place of the maps in the full array.
    excess : ndarray of float32, shape (x, y, z)
        Smoothed intensity above the expected one, in units of NAWM.
    z : ndarray of float32, shape (x, y, z)
        The same in units of the spread expected there.
    allowed : ndarray of bool, shape (x, y, z)
        Places of possible lesions: brain without fluid, septum, choroid plexus and the very edge.
    white : ndarray of bool, shape (x, y, z)
        Intensity of normal white matter.
    surroundings : ndarray of bool, shape (x, y, z)
        Possible surroundings of a lesion: everything in the brain but the ventricles.
    from_ventricle_mm : ndarray of float32, shape (x, y, z)
        Distance to the lateral ventricles; may be infinite beyond `VENTRICLE_REACH_MM`.
    csf : ndarray of float32, shape (x, y, z)
        Probability of cerebrospinal fluid around the brain, 0 to 1.
    """

    box: Box
    excess: FloatArray
    z: FloatArray
    allowed: Mask
    white: Mask
    surroundings: Mask
    from_ventricle_mm: FloatArray
    csf: FloatArray


def describe_tissue(scan: T2Scan, anatomy: Anatomy) -> TissueMaps | None:
    """Describe the tissue of a scan.

    Parameters
    ----------
    scan : T2Scan
    anatomy : Anatomy
        On the same grid.

    Returns
    -------
    TissueMaps or None
        None when the brain mask or the NAWM is empty.

    Raises
    ------
    ValueError
        When shapes differ, a needed prior is missing, the contrast is unknown or the image is not finite.
    """
    _check(scan, anatomy)
    brain_mask, spacing_mm = anatomy.brain_mask, anatomy.spacing_mm
    if not (anatomy.nawm & brain_mask).any():
        return None
    box = bounding_box(brain_mask, margin=2)
    brain, nawm = brain_mask[box], anatomy.nawm[box] & brain_mask[box]
    prior = {name: np.asarray(anatomy.priors[name][box], np.float32) for name in NEEDED_PRIORS}
    sigma = [SMOOTH_MM / step for step in spacing_mm]
    seen = np.asarray(np.where(brain, np.nan_to_num(scan.image[box]), 0.0), np.float32)
    smooth = np.asarray(ndimage.gaussian_filter(seen, sigma), np.float32)
    smooth /= local_white_level(smooth, nawm, spacing_mm)
    t1w = None if anatomy.t1w is None else np.asarray(np.nan_to_num(anatomy.t1w[box]), np.float32)
    fluid = find_fluid(smooth, scan.contrast, brain, prior, t1w)
    ventricles = find_ventricles(fluid, prior, spacing_mm)
    expected, spread = expected_intensity(smooth, brain & ~fluid, prior, spacing_mm, t1w)
    z = (smooth - expected) / spread
    allowed = _allowed_places(brain, fluid, ventricles, prior, spacing_mm)
    if scan.contrast != "FLAIR":
        # Beside bright fluid partial volume looks like a lesion.
        allowed &= ~ndimage.binary_dilation(fluid, np.ones((3, 3, 3), bool))
    return TissueMaps(
        box=box,
        excess=np.asarray(smooth - expected, np.float32),
        z=np.asarray(z, np.float32),
        allowed=allowed,
        white=_normal_white(smooth, brain, nawm, prior, t1w),
        surroundings=brain & ~ventricles,
        from_ventricle_mm=distance_from(ventricles, spacing_mm, reach_mm=VENTRICLE_REACH_MM),
        csf=prior["csf"],
    )


def _normal_white(smooth: FloatArray, brain: Mask, nawm: Mask, prior: Priors, t1w: FloatArray | None) -> Mask:
    """Find what has the intensity of normal white matter, on T1w too where there is one."""
    _, white_sigma = robust_noise(smooth, nawm)
    white = brain & (np.abs(smooth - 1.0) < 2.0 * white_sigma)
    if t1w is not None:
        _, t1w_sigma = robust_noise(t1w, nawm)
        white &= np.abs(t1w - 1.0) < 2.5 * t1w_sigma
    else:
        white &= prior["white_matter"] + prior["brainstem"] + prior["deep_grey"] > 0.3
    return white


def _allowed_places(brain: Mask, fluid: Mask, ventricles: Mask, prior: Priors, spacing_mm: Spacing) -> Mask:
    """Find the places of possible lesions: tissue of the brain, away from its edge and choroid plexus."""
    inside = (brain & ~fluid) | ventricles | (fluid & (prior["lateral_ventricles"] > 0.3))
    edge_mm = distance_inside(inside, spacing_mm)
    closed = close_mask(ventricles, 6.0, spacing_mm)
    allowed = brain & ~fluid & ~closed & (edge_mm > 1.0) & (prior["choroid_plexus"] < CHOROID_PRIOR)
    # The mask holds everything inside the dura, and below the medulla that is vessels and nerve roots.
    parenchyma = np.sum([prior[name] for name in _MIXTURE], axis=0) + prior["lateral_ventricles"]
    return allowed & (distance_from(parenchyma > 0.3, spacing_mm) <= TISSUE_REACH_MM)


def white_surround(foci: Labels, tissue: TissueMaps, spacing_mm: Spacing) -> Float64Array:
    """Share of normal white matter in the surroundings (1.5 to 3.5 mm away) of each focus.

    Parameters
    ----------
    foci : ndarray of int32, shape (x, y, z)
        Numbered foci on the box of ``tissue``.
    tissue : TissueMaps
        Description of the scan.
    spacing_mm : tuple of float
        Voxel size (mm).

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        0 to 1 by label; index 0 is background.
    """
    share = np.zeros(int(foci.max(initial=0)) + 1)
    margin = [round(3.5 / step) + 1 for step in spacing_mm]
    for label, box in enumerate(ndimage.find_objects(foci), start=1):
        if box is None:
            continue
        around = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(box, margin, strict=True))
        distance_mm = distance_from(foci[around] == label, spacing_mm)
        # The first layer outside a focus is partial volume and tells nothing.
        shell = (distance_mm > 1.5) & (distance_mm <= 3.5) & tissue.surroundings[around]
        share[label] = float(tissue.white[around][shell].mean()) if shell.any() else 0.0
    return share


def mostly_csf(foci: Labels, tissue: TissueMaps) -> npt.NDArray[np.bool_]:
    """Return by label whether a focus lies mostly in the cerebrospinal fluid around the brain.

    A lesion lies in the tissue: none of the rated ones is mostly fluid (`benchmarks/t2_curve.py` counts).
    """
    return mean_by_label(tissue.csf, foci) > MOSTLY_OUTSIDE


def at_most_offered(score: Float64Array, outside: npt.NDArray[np.bool_]) -> Float64Array:
    """Return scores by label, of what lies outside the tissue no more than `OFFERED_SCORE`."""
    return np.where(outside, np.minimum(score, OFFERED_SCORE), score)


def expected_intensity(
    smooth: FloatArray,
    solid: Mask,
    priors: Priors,
    spacing_mm: Spacing,
    t1w: FloatArray | None,
) -> tuple[FloatArray, FloatArray]:
    """Intensity expected of healthy tissue and its spread, from a mixture of tissues.

    Parameters
    ----------
    smooth : ndarray of float32, shape (x, y, z)
        Scan, NAWM at 1.
    solid : ndarray of bool, shape (x, y, z)
        Brain without fluid.
    priors : mapping of str to ndarray of float, shape (x, y, z)
        TissueMaps probabilities.
    spacing_mm : tuple of float
        Voxel size (mm).
    t1w : ndarray of float32, shape (x, y, z), or None
        T1w of the visit, NAWM at 1, when there is one.

    Returns
    -------
    tuple of two ndarray of float32, shape (x, y, z)
        Mean and standard deviation of the mixture.
    """
    total = np.zeros(smooth.shape, np.float32)
    mean = np.zeros(smooth.shape, np.float32)
    square = np.zeros(smooth.shape, np.float32)
    blur = [SPREAD_MM / step for step in spacing_mm]
    for name, parts in _MIXTURE.items():
        typical = solid & (priors[name] > 0.7) & (smooth > 0.8)
        if np.count_nonzero(typical) < MIN_TISSUE_VOXELS:
            continue
        level, sigma = robust_noise(smooth, typical)
        prior = np.sum([priors[part] for part in parts], axis=0, dtype=np.float32)
        weight = np.asarray(ndimage.gaussian_filter(prior, blur), np.float32) + np.float32(1e-4)
        if t1w is not None:
            t1w_level, t1w_sigma = robust_noise(t1w, typical)
            t1w_sigma = max(t1w_sigma, 0.05)
            deviation = np.square((t1w - np.float32(t1w_level)) / np.float32(t1w_sigma))
            # Never below 0.05: a lesion in white matter may have any T1 intensity.
            weight *= (np.exp(-0.5 * np.minimum(deviation, 9.0)) + np.float32(0.05)) / np.float32(t1w_sigma)
        total += weight
        mean += weight * np.float32(level)
        square += weight * np.float32(sigma**2 + level**2)
    if not total.any():
        _, sigma = robust_noise(smooth, solid)
        return np.ones_like(smooth), np.full_like(smooth, max(sigma, 1e-3))
    mean /= total
    variance = square / total - mean**2
    return mean, np.sqrt(np.maximum(variance, np.float32(1e-6)))


def local_white_level(
    image: FloatArray, nawm: Mask, spacing_mm: Spacing, sigma_mm: float = 15.0
) -> FloatArray:
    """Level of the white matter around every voxel: what bias correction left over.

    Parameters
    ----------
    image : ndarray of float, shape (x, y, z)
        Image with NAWM median about 1.
    nawm : ndarray of bool, shape (x, y, z)
        Normal-appearing white matter; only these voxels are averaged.
    spacing_mm : tuple of float
        Voxel size (mm).
    sigma_mm : float
        Width of the Gaussian (mm).

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        Level, pulled to the median of NAWM where there is no white matter near.
    """
    median, _ = robust_noise(image, nawm)
    step = [max(1, round(3.0 / spacing)) for spacing in spacing_mm]
    blocks = tuple(slice(None, None, s) for s in step)
    sigma = [sigma_mm / (spacing * s) for spacing, s in zip(spacing_mm, step, strict=True)]
    off = np.where(nawm, image - np.float32(median), np.float32(0.0))
    weight = ndimage.uniform_filter(nawm.astype(np.float32), size=step)[blocks]  # pyright: ignore[reportArgumentType]
    deviation = ndimage.uniform_filter(off, size=step)[blocks]  # pyright: ignore[reportArgumentType]
    weight = ndimage.gaussian_filter(weight, sigma)
    deviation = ndimage.gaussian_filter(deviation, sigma)
    coarse = deviation / (weight + 0.05)
    fine = ndimage.affine_transform(
        coarse, np.diag(1.0 / np.asarray(step)), output_shape=image.shape, order=1, mode="nearest"
    )
    return np.asarray(np.maximum(median + fine, 0.1 * median), np.float32)


def _check(scan: T2Scan, anatomy: Anatomy) -> None:
    """Raise ValueError unless the scan and the anatomy fit together."""
    if scan.contrast not in get_args(T2Contrast):
        msg = f"contrast must be FLAIR, T2w or PDw, got {scan.contrast!r}"
        raise ValueError(msg)
    missing = [name for name in NEEDED_PRIORS if name not in anatomy.priors]
    if missing:
        msg = f"priors must hold {', '.join(missing)}"
        raise ValueError(msg)
    arrays = {"brain_mask": anatomy.brain_mask, "nawm": anatomy.nawm}
    arrays |= {name: anatomy.priors[name] for name in NEEDED_PRIORS}
    if anatomy.t1w is not None:
        arrays["t1w"] = anatomy.t1w
    for name, array in arrays.items():
        if array.shape != scan.image.shape:
            msg = f"{name} must have the shape of the image, {scan.image.shape}, got {array.shape}"
            raise ValueError(msg)
    if not np.isfinite(scan.image[anatomy.brain_mask]).all():
        msg = "image must be finite inside brain_mask"
        raise ValueError(msg)
