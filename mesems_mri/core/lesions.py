"""T2 lesions and black holes of one visit, without learning.

A lesion is brighter than the tissue expected at its place: white matter where the prior says white matter,
grey matter where cortex or deep grey is expected or where cerebrospinal fluid is near. Certain voxels are
seeds, and a lesion is grown from them down to half of its own contrast (cf. Schmidt et al., NeuroImage
2012;59:3774 for the seed-and-grow idea on FLAIR).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components, label_foci
from mesems_mri.core.intensity import robust_noise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mesems_mri.core.intensity import BoolArray, FloatArray

T2Contrast = Literal["FLAIR", "T2w", "PDw"]
Spacing = tuple[float, float, float]
_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class LesionThresholds:
    """What makes a voxel a lesion; sigmas are the robust deviation of NAWM or grey matter in the same scan.

    Attributes
    ----------
    seed_white, seed_grey
        Sigmas above white (grey) matter from which a voxel seeds a lesion.
    grow_white, grow_grey
        Sigmas down to which a lesion grows.
    half_contrast
        A voxel belongs to a lesion when it has this fraction of the contrast of the brightest voxel near.
    near_mm
        How near that brightest voxel is looked for.
    smooth_mm
        Gaussian sigma of the smoothing before thresholds, against noise.
    csf_below
        Darker than this fraction of NAWM is CSF on FLAIR and T1w.
    sulcus_mm
        Nearer to sulcal CSF or to the brain edge than this is expected to be cortex.
    lining_mm
        Nearer to a ventricle than this is its lining, unless the lesion also reaches further.
    """

    seed_white: float = 3.0
    seed_grey: float = 3.0
    grow_white: float = 2.0
    grow_grey: float = 2.0
    half_contrast: float = 0.45
    near_mm: float = 4.0
    smooth_mm: float = 0.6
    csf_below: float = 0.65
    sulcus_mm: float = 3.0
    lining_mm: float = 2.0


@dataclass(frozen=True)
class T2Segmentation:
    """Lesions of one visit.

    Attributes
    ----------
    mask
        Voxels of all foci, bool.
    score
        0 outside; inside, how sure the focus is, 0 to 1, the same for all its voxels. Not a probability.
    """

    mask: BoolArray
    score: FloatArray


def segment_t2_lesions(
    image: FloatArray,
    *,
    contrast: T2Contrast,
    brain_mask: BoolArray,
    priors: Mapping[str, FloatArray],
    spacing_mm: Spacing,
    slice_thickness_mm: float,
    plane_normal: Spacing,
    nawm: BoolArray,
    t1w: FloatArray | None = None,
    thresholds: LesionThresholds | None = None,
) -> T2Segmentation:
    """Segment the T2 lesions of one scan.

    Parameters
    ----------
    image
        FLAIR, T2w or PDw, bias-corrected, scaled so that the NAWM median is 1.
    contrast
        Contrast of the image. On T2w and PDw cerebrospinal fluid is bright and is excluded.
    brain_mask
        Brain, same grid.
    priors
        Tissue probabilities on the same grid: ``white_matter``, ``cortex``, ``deep_grey``,
        ``lateral_ventricles``, ``csf``, ``choroid_plexus``, ``cerebellum``, ``brainstem``. They may be
        misplaced by some millimetres.
    spacing_mm
        Voxel size (mm).
    slice_thickness_mm
        Slice thickness of the acquisition (mm).
    plane_normal
        Normal of the acquired slices, unit vector in array axes.
    nawm
        Normal-appearing white matter, same grid.
    t1w
        Pre-contrast T1w of the same visit on the same grid, NAWM median 1; helps to find CSF and cortex.
    thresholds
        Default: `LesionThresholds`.

    Returns
    -------
    T2Segmentation
        Every component of the mask is a focus (`components.label_foci`).

    Raises
    ------
    ValueError
        When shapes differ, a needed prior is missing, the contrast is unknown or the image is not finite.
    """
    limits = thresholds or LesionThresholds()
    _check(image, contrast, brain_mask, priors, nawm, t1w)
    mask = np.zeros(image.shape, bool)
    score = np.zeros(image.shape, np.float32)
    if not brain_mask.any() or not nawm.any():
        return T2Segmentation(mask, score)
    inner = _bounding_box(brain_mask, margin=2)
    cut_t1w = None if t1w is None else np.asarray(t1w[inner], np.float32)
    tissue = _Tissue.of(
        np.asarray(image[inner], np.float32),
        contrast,
        brain_mask[inner],
        {name: prior[inner] for name, prior in priors.items()},
        spacing_mm,
        nawm[inner],
        cut_t1w,
        limits,
    )
    foci, focus_score = _grow_foci(tissue, spacing_mm, slice_thickness_mm, plane_normal, limits)
    mask[inner] = foci > 0
    score[inner] = focus_score[foci]
    return T2Segmentation(mask, score)


def segment_black_holes(
    t1w: FloatArray,
    *,
    t2_mask: BoolArray,
    nawm: BoolArray,
    csf: BoolArray,
    gel_mask: BoolArray | None,
    spacing_mm: Spacing,
    plane_normal: Spacing = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
) -> BoolArray:
    """Segment the T1-hypointense part of T2 lesions.

    A black hole lies inside a T2 lesion, is darker than the midpoint between NAWM and CSF on pre-contrast
    T1w, is a focus by size and does not enhance at this visit.

    Parameters
    ----------
    t1w
        Pre-contrast T1w, any intensity scale.
    t2_mask
        T2 lesions of the same visit, same grid.
    nawm, csf
        Where the two levels are measured; medians are used, so a few wrong voxels do no harm.
    gel_mask
        Enhancing lesions of the visit; None when the visit has no post-contrast scan.
    spacing_mm
        Voxel size (mm).
    plane_normal, slice_thickness_mm
        Geometry of the acquired slices, for the in-plane diameter.

    Returns
    -------
    ndarray of bool
        Black holes.

    Raises
    ------
    ValueError
        When shapes differ, ``nawm`` or ``csf`` is empty, or CSF is not darker than NAWM.
    """
    white, _ = robust_noise(t1w, nawm)
    fluid, _ = robust_noise(t1w, csf)
    if fluid >= white:
        msg = f"t1w must be darker in csf than in nawm, got medians {fluid:.6g} and {white:.6g}"
        raise ValueError(msg)
    dark = t2_mask & (t1w < (white + fluid) / 2.0)
    if gel_mask is not None:
        # A whole dark component is dropped, not only its enhancing voxels: the oedema around an enhancing
        # nodule is dark for weeks and is no black hole.
        components, n = label_components(dark)
        touched = np.unique(components[ndimage.binary_dilation(gel_mask, _ALL_NEIGHBOURS)])
        keep = np.ones(n + 1, bool)
        keep[touched] = False
        keep[0] = False
        dark = keep[components]
    return (
        label_foci(
            dark, spacing_mm=spacing_mm, plane_normal=plane_normal, slice_thickness_mm=slice_thickness_mm
        )
        > 0
    )


@dataclass(frozen=True)
class _Tissue:
    """What is seen and what is expected at every voxel of the cropped brain."""

    smooth: FloatArray  # intensity relative to the white matter around it
    seed_level: FloatArray
    grow_level: FloatArray
    white_sigma: float
    allowed: BoolArray
    lining: BoolArray

    @classmethod
    def of(
        cls,
        image: FloatArray,
        contrast: T2Contrast,
        brain: BoolArray,
        priors: Mapping[str, FloatArray],
        spacing_mm: Spacing,
        nawm: BoolArray,
        t1w: FloatArray | None,
        limits: LesionThresholds,
    ) -> _Tissue:
        sigma = [limits.smooth_mm / step for step in spacing_mm]
        smooth = ndimage.gaussian_filter(np.where(brain, np.nan_to_num(image), 0.0), sigma)
        smooth /= local_white_level(smooth, nawm, spacing_mm)
        _, white_sigma = robust_noise(smooth, nawm)
        fluid = _find_fluid(smooth, contrast, brain, priors, t1w, limits)
        ventricles = find_ventricles(fluid, priors, spacing_mm)
        outside = ndimage.distance_transform_edt((brain & ~fluid) | ventricles, sampling=spacing_mm)
        from_ventricle = _distance_from(ventricles, spacing_mm)
        # Misplaced priors: the probabilities are spread over the few millimetres they may be wrong by.
        spread = [2.0 / step for step in spacing_mm]
        grey = ndimage.gaussian_filter(priors["cortex"] + priors["deep_grey"], spread)
        white = ndimage.gaussian_filter(
            priors["white_matter"] + priors["brainstem"] + priors["lateral_ventricles"], spread
        )
        grey_weight = grey / np.maximum(grey + white, 1e-3)
        edge_weight = np.clip(1.5 - outside / (2.0 * limits.sulcus_mm), 0.0, 1.0)
        grey_weight = np.clip(np.maximum(grey_weight, edge_weight * (grey_weight > 0.1)), 0.0, 1.0)
        in_cortex = brain & ~fluid & (priors["cortex"] > 0.5) & (smooth > 0.8)
        grey_mean, grey_sigma = robust_noise(smooth, in_cortex) if in_cortex.any() else (1.0, white_sigma)
        grey_mean, grey_sigma = max(grey_mean, 1.0), max(grey_sigma, white_sigma)

        def level(white_sigmas: float, grey_sigmas: float) -> FloatArray:
            at_white = 1.0 + white_sigmas * white_sigma
            at_grey = max(grey_mean + grey_sigmas * grey_sigma, at_white)
            return np.asarray(at_white + grey_weight * (at_grey - at_white), np.float32)

        closed = _close(ventricles, 6.0, spacing_mm)
        lining = brain & (closed | (from_ventricle <= limits.lining_mm))
        allowed = brain & ~fluid & ~closed & (outside > 1.0) & (priors["choroid_plexus"] < 0.3)
        return cls(
            np.asarray(smooth, np.float32),
            level(limits.seed_white, limits.seed_grey),
            level(limits.grow_white, limits.grow_grey),
            white_sigma,
            allowed,
            lining,
        )


def local_white_level(
    image: FloatArray, nawm: BoolArray, spacing_mm: Spacing, sigma_mm: float = 15.0
) -> FloatArray:
    """Level of the white matter around every voxel: what bias correction left over.

    Parameters
    ----------
    image
        Image with NAWM median about 1.
    nawm
        Normal-appearing white matter; only these voxels are averaged.
    spacing_mm
        Voxel size (mm).
    sigma_mm
        Width of the Gaussian (mm).

    Returns
    -------
    ndarray of float32
        Level, pulled to the median of NAWM where there is no white matter near.
    """
    median, _ = robust_noise(image, nawm)
    step = [max(1, round(3.0 / spacing)) for spacing in spacing_mm]
    blocks = tuple(slice(None, None, s) for s in step)
    sigma = [sigma_mm / (spacing * s) for spacing, s in zip(spacing_mm, step, strict=True)]
    weight = ndimage.uniform_filter(nawm.astype(np.float32), step)[blocks]
    deviation = ndimage.uniform_filter(np.where(nawm, image - median, 0.0).astype(np.float32), step)[blocks]
    weight = ndimage.gaussian_filter(weight, sigma)
    deviation = ndimage.gaussian_filter(deviation, sigma)
    coarse = deviation / (weight + 0.05)
    fine = ndimage.affine_transform(
        coarse, np.diag(1.0 / np.asarray(step)), output_shape=image.shape, order=1, mode="nearest"
    )
    return np.asarray(np.maximum(median + fine, 0.1 * median), np.float32)


def _find_fluid(
    smooth: FloatArray,
    contrast: T2Contrast,
    brain: BoolArray,
    priors: Mapping[str, FloatArray],
    t1w: FloatArray | None,
    limits: LesionThresholds,
) -> BoolArray:
    """Find cerebrospinal fluid: dark on FLAIR; bright on T2w and PDw, dark on T1w."""
    if contrast == "FLAIR":
        return brain & (smooth < limits.csf_below)
    expected = np.maximum(priors["csf"], priors["lateral_ventricles"])
    if t1w is not None:
        # Black holes are dark too, hence the lower limit away from where fluid is expected.
        return brain & (t1w < np.where(expected > 0.1, limits.csf_below, 0.5 * limits.csf_below))
    certain = brain & (expected > 0.8)
    level = float(np.median(smooth[certain])) if certain.any() else 3.0
    return brain & (smooth > (1.0 + level) / 2.0) & (expected > 0.05)


def find_ventricles(fluid: BoolArray, priors: Mapping[str, FloatArray], spacing_mm: Spacing) -> BoolArray:
    """Find the lateral ventricles: fluid connected to where the prior expects them, and near it.

    Parameters
    ----------
    fluid
        Cerebrospinal fluid.
    priors
        ``lateral_ventricles`` is used.
    spacing_mm
        Voxel size (mm).

    Returns
    -------
    ndarray of bool
        Lateral ventricles.
    """
    expected = priors["lateral_ventricles"]
    near = _distance_from(expected > 0.3, spacing_mm) <= 4.0
    candidates, n = label_components(fluid & near)
    hit = np.zeros(n + 1, bool)
    hit[np.unique(candidates[expected > 0.5])] = True
    hit[0] = False
    return hit[candidates]


def _grow_foci(
    tissue: _Tissue,
    spacing_mm: Spacing,
    slice_thickness_mm: float,
    plane_normal: Spacing,
    limits: LesionThresholds,
) -> tuple[np.ndarray, FloatArray]:
    """Grow seeds to foci; return the dseg and the score of each label (index 0 is background)."""
    contrast = tissue.smooth - 1.0
    seeds = tissue.allowed & (tissue.smooth > tissue.seed_level)
    size = [2 * int(limits.near_mm / step) + 1 for step in spacing_mm]
    brightest = ndimage.maximum_filter(np.where(seeds, contrast, 0.0), size)
    grown = (
        tissue.allowed & (tissue.smooth > tissue.grow_level) & (contrast > limits.half_contrast * brightest)
    )
    components, n = label_components(grown | seeds)
    counts = np.bincount(components.ravel(), minlength=n + 1)
    seeded = np.bincount(components[seeds], minlength=n + 1)
    in_lining = np.bincount(components[tissue.lining], minlength=n + 1)
    keep = (seeded > 0) & (in_lining < 0.8 * np.maximum(counts, 1))
    keep[0] = False
    foci = label_foci(
        keep[components],
        spacing_mm=spacing_mm,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
    )
    n_foci = int(foci.max(initial=0))
    excess = (tissue.smooth - tissue.grow_level) / max(tissue.white_sigma, 1e-6)
    index = np.arange(1, n_foci + 1)
    peak = np.asarray(ndimage.mean(excess, foci, index)) if n_foci else np.zeros(0)
    score = np.zeros(n_foci + 1, np.float32)
    score[1:] = 1.0 / (1.0 + np.exp(-peak))
    return foci, score


def _close(mask: BoolArray, radius_mm: float, spacing_mm: Spacing) -> BoolArray:
    """Close gaps in a mask: what lies between the two lateral ventricles is septum and fornix."""
    if not mask.any():
        return mask.copy()
    near = _distance_from(mask, spacing_mm) <= radius_mm / 2.0
    return np.asarray(ndimage.distance_transform_edt(near, sampling=spacing_mm) > radius_mm / 2.0) | mask


def _distance_from(mask: BoolArray, spacing_mm: Spacing) -> FloatArray:
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing_mm), np.float32)


def _bounding_box(mask: BoolArray, margin: int) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, mask.shape, strict=True)
    )


def _check(
    image: FloatArray,
    contrast: str,
    brain_mask: BoolArray,
    priors: Mapping[str, FloatArray],
    nawm: BoolArray,
    t1w: FloatArray | None,
) -> None:
    if contrast not in ("FLAIR", "T2w", "PDw"):
        msg = f"contrast must be FLAIR, T2w or PDw, got {contrast!r}"
        raise ValueError(msg)
    needed = (
        "white_matter",
        "cortex",
        "deep_grey",
        "lateral_ventricles",
        "csf",
        "choroid_plexus",
        "cerebellum",
        "brainstem",
    )
    missing = [name for name in needed if name not in priors]
    if missing:
        msg = f"priors must hold {', '.join(missing)}"
        raise ValueError(msg)
    arrays = {"brain_mask": brain_mask, "nawm": nawm, **{name: priors[name] for name in needed}}
    if t1w is not None:
        arrays["t1w"] = t1w
    for name, array in arrays.items():
        if array.shape != image.shape:
            msg = f"{name} must have the shape of the image, {image.shape}, got {array.shape}"
            raise ValueError(msg)
    if not np.isfinite(image[brain_mask]).all():
        msg = "image must be finite inside brain_mask"
        raise ValueError(msg)
