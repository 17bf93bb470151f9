"""Voxelwise evidence for enhancing lesions: increase after contrast, T2 correlate, CSF, choroid plexus.

Arrays on one grid throughout; intensities in units of NAWM (median 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from mesems_mri.core.distance import close_mask
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.matching import differential_bias, match_intensity, smooth_mean
from mesems_mri.core.typing import FloatArray, Mask, Priors, RealArray, Spacing


def contrast_increase(
    post: RealArray,
    pre: RealArray | None,
    brain_mask: Mask,
    nawm: Mask,
    spacing_mm: Spacing,
) -> tuple[FloatArray, FloatArray]:
    """Brightening after contrast and its noise (sigma), both slightly smoothed, in units of NAWM.

    The noise is measured in this pair: in NAWM, its local excess (ghosts, edge of the coil), and a share
    that grows with the gradient of the image, as misregistration makes it.
    """
    # The dura enhances everywhere and would pull the match.
    inner = ndimage.binary_erosion(brain_mask, iterations=max(1, round(3.0 / max(spacing_mm))))
    inner = inner if np.count_nonzero(inner) > 1000 else brain_mask
    if pre is None:
        level = np.asarray(post, np.float32)
        # White matter is the brightest normal tissue: its slow variation is the bias of the coil.
        increase = level * differential_bias(level, np.ones_like(level), nawm, spacing_mm, 20.0) - 1.0
        reference = level
    else:
        reference = np.asarray(pre, np.float32)
        matched = match_intensity(post, reference, inner)
        increase = matched * differential_bias(matched, reference, inner, spacing_mm, 20.0) - reference
    width = [0.6 / step for step in spacing_mm]
    weight = ndimage.gaussian_filter(brain_mask.astype(np.float32), width)
    increase = ndimage.gaussian_filter(np.where(brain_mask, increase, 0).astype(np.float32), width)
    increase /= np.maximum(weight, 0.3)
    median, sigma = robust_noise(increase, nawm)
    increase -= median
    sigma = max(sigma, 1e-4)
    gradient_squared = np.zeros(post.shape, np.float32)
    if pre is not None:
        for axis, step in enumerate(spacing_mm):
            slope = ndimage.gaussian_filter(reference, width, order=[int(a == axis) for a in range(3)])
            gradient_squared += (slope / step) ** 2
        edges = gradient_squared[inner]
        low, high = np.quantile(edges, [0.8, 0.95])
        at_edges = (edges >= low) & (edges <= high)
        _, edge_sigma = robust_noise(increase[inner], at_edges)
        mean_squared = float(np.mean(edges[at_edges]))
        gradient_squared *= max(0.0, edge_sigma**2 - sigma**2) / max(mean_squared, 1e-12)
    clipped = np.clip(increase, -3 * sigma, 3 * sigma) ** 2
    # Wide against a lesion, which must not raise its own noise.
    variance = np.maximum(smooth_mean(clipped, inner, spacing_mm, 16.0), sigma**2)
    return increase, np.sqrt(variance + gradient_squared).astype(np.float32)


def find_csf(t1: FloatArray, t2_images: Mapping[str, RealArray], brain_mask: Mask) -> Mask:
    """Find CSF: dark on T1w, and dark on FLAIR, or bright on T2w where there is no FLAIR."""
    dark = brain_mask & (t1 < 0.6)
    if "FLAIR" in t2_images:
        return dark & (t2_images["FLAIR"] < 0.75)
    if "T2w" in t2_images:
        return dark & (t2_images["T2w"] > 2.0)
    return dark & (t1 < 0.5)


def correlate_z(
    t2_images: Mapping[str, RealArray],
    t1: FloatArray,
    brain_mask: Mask,
    priors: Priors,
    nawm: Mask,
    spacing_mm: Spacing,
) -> tuple[FloatArray, FloatArray]:
    """T2 correlate: excess of a voxel over NAWM, or over cortex near the cortex, in sigmas of NAWM.

    Cortex is brighter than NAWM on all these contrasts, and cortical veins must not take it as a correlate.
    FLAIR decides where there is one: on T2w and PDw the CSF next to every pial vein is bright. In the
    brainstem, where FLAIR misses lesions, T2w or PDw may add to it. The second array is the excess on T2w and
    PDw where there is a FLAIR, else the same as the first.
    """
    cortex = ndimage.maximum_filter(prior(priors, "cortex", t1.shape), 3)
    grey = (prior(priors, "cortex", t1.shape) > 0.6) & brain_mask & (t1 > 0.6) & (t1 < 0.95)
    cerebellum = prior(priors, "cerebellum", t1.shape)
    folia = (cerebellum > 0.6) & brain_mask & (t1 > 0.6)
    width = [0.7 / step for step in spacing_mm]
    by_contrast = {}
    for contrast, image in t2_images.items():
        smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), width)
        # What is left of the coil's bias would count as noise.
        smooth *= differential_bias(smooth, np.ones_like(smooth), nawm, spacing_mm, 25.0)
        median, sigma = robust_noise(smooth, nawm)
        grey_level = max(float(np.median(smooth[grey])), median) if grey.sum() > 100 else median
        level = median + (grey_level - median) * np.clip(cortex / 0.5, 0, 1)
        if folia.sum() > 100:
            # White matter and cortex are too finely folded there to be told apart.
            folia_level, folia_sigma = robust_noise(smooth, folia)
            level += np.clip(cerebellum / 0.5, 0, 1) * max(folia_level + folia_sigma - median, 0)
        by_contrast[contrast] = ((smooth - level) / max(sigma, 1e-4)).astype(np.float32)
    if "FLAIR" not in by_contrast:
        level = np.maximum.reduce(list(by_contrast.values()))
        return level, level
    flair = by_contrast.pop("FLAIR")
    if not by_contrast:
        return flair, flair
    low = prior(priors, "brainstem", t1.shape) > 0.5
    support = np.maximum.reduce(list(by_contrast.values()))
    level = np.where(low & (flair > 0) & (t1 > 0.7), np.maximum(flair, support), flair).astype(np.float32)
    return level, support


def find_choroid(csf: Mask, priors: Priors, spacing_mm: Spacing) -> Mask:
    """Find choroid plexus: its prior is high, or it lies inside the outline of a ventricle."""
    shape = csf.shape
    plexus = prior(priors, "choroid_plexus", shape) > 0.25
    ventricle = csf & (ndimage.maximum_filter(prior(priors, "lateral_ventricles", shape), 5) > 0.3)
    plexus |= close_mask(ventricle, 6.0, spacing_mm) & ~csf
    return plexus


def tissue_probability(priors: Priors, shape: tuple[int, ...]) -> FloatArray:
    """Probability of parenchyma; 1 everywhere when no prior of a tissue is there."""
    keys = [k for k in ("white_matter", "cortex", "deep_grey", "cerebellum", "brainstem") if k in priors]
    if not keys:
        return np.ones(shape, np.float32)
    return np.add.reduce([prior(priors, key, shape) for key in keys])


def prior(priors: Priors, key: str, shape: tuple[int, ...]) -> FloatArray:
    """Return a prior as float32; 0 everywhere when it is not there."""
    return np.asarray(priors[key], np.float32) if key in priors else np.zeros(shape, np.float32)
