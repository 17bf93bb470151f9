"""What enhances in every head, drawn into pairs without contrast: plexus, dura, sinuses, falx, veins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from mesems_mri.core.distance import distance_inside
from mesems_mri.core.typing import FloatArray, Mask
from training.gel_lesions import Pair, add_vessel, draw_places, texture

_SINUS_DEPTH_MM = 8.0


def draw_normal_enhancement(rng: np.random.Generator, pair: Pair) -> Pair:
    """Brighten the second T1w where contrast medium brightens every head.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides how much, and where the veins run.
    pair : Pair
        Left as it is.

    Returns
    -------
    Pair
        With normal enhancement, which is no lesion.
    """
    images = {"pre": pair.pre.copy(), "post": pair.post.copy()}
    images |= {name: image.copy() for name, image in pair.t2_images.items()}
    shape, csf = pair.post.shape, pair.priors["csf"]
    depth = distance_inside(np.pad(pair.brain_mask, 1), (1.0, 1.0, 1.0))[1:-1, 1:-1, 1:-1]
    patchy = np.clip(1 + 0.6 * _coarse_texture(rng, shape), 0, 2)
    plexus = np.clip(2.5 * ndimage.shift(pair.priors["choroid_plexus"], rng.normal(0, 1, 3), order=1), 0, 1)
    dura = np.clip(rng.uniform(0.5, 3.0) * patchy - depth, 0, 1) * pair.brain_mask
    falx = _falx(rng, pair.brain_mask, csf)
    sinus = ndimage.binary_dilation(falx & (depth < _SINUS_DEPTH_MM), iterations=int(rng.integers(1, 4)))
    soft = ndimage.gaussian_filter((falx * rng.uniform(0, 0.6) + sinus).astype(np.float32), 0.7)
    images["post"] += rng.uniform(0.1, 0.8) * plexus * patchy
    images["post"] += rng.uniform(0.2, 1.2) * dura
    images["post"] += rng.uniform(0.2, 1.2) * np.clip(soft, 0, 1)
    veins = np.clip(csf - 0.2, 0, 1) * (depth > 1) * np.exp(-depth / 12)
    for start in draw_places(rng, pair, veins, int(rng.integers(15, 60)), 0.0, []):
        add_vessel(rng, pair, start, images)
    return replace(pair, pre=images.pop("pre"), post=images.pop("post"), t2_images=images)


def _falx(rng: np.random.Generator, mask: Mask, csf: FloatArray) -> Mask:
    """Return the sheet between the hemispheres."""
    middle = float(np.average(np.arange(mask.shape[0]), weights=mask.sum(axis=(1, 2))))
    across = np.abs(np.arange(mask.shape[0]) - middle - rng.normal(0, 1))[:, None, None]
    return (across < rng.uniform(0.8, 2.0)) & (csf > 0.35) & mask


def _coarse_texture(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    small = texture(rng, 1.2, tuple(n // 5 + 2 for n in shape))
    zoom = [n / m for n, m in zip(shape, small.shape, strict=True)]
    return np.asarray(ndimage.zoom(small, zoom, order=1, grid_mode=True, mode="nearest"), np.float32)
