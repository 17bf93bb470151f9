"""Probability of T2 lesions by the network of this project (`t2.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from scipy.special import expit

from mesems_mri.core.distance import bounding_box
from mesems_mri.core.typing import FloatArray, Mask, Priors
from mesems_mri.models.inference import run_network

IMAGES: Final = ("FLAIR", "T1w")
"""First channels of the network; FLAIR must be there, a T1w that is missing is 0."""
TISSUES: Final = ("white_matter", "cortex", "lateral_ventricles")
"""Channels after them: the tissue maps of this head."""
_SCALE, _DARKEST, _BRIGHTEST = 2.0, -2.0, 4.0
# Each level of the network halves the grid.
_MULTIPLE = 8
_MARGIN = 8


def scale_image(image: FloatArray) -> FloatArray:
    """Scale an image for the network: 0 at white matter, -2 at fluid and outside the brain.

    Parameters
    ----------
    image : ndarray of float32, shape (x, y, z)
        NAWM median 1; 0 outside the brain.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        -2 to 4.
    """
    return np.clip(_SCALE * (image - np.float32(1.0)), _DARKEST, _BRIGHTEST).astype(np.float32)


def stack_channels(images: Mapping[str, FloatArray], tissue: Priors, brain_mask: Mask) -> FloatArray:
    """Stack what the network sees of a visit.

    Parameters
    ----------
    images : mapping of str to ndarray of float32, shape (x, y, z)
        By contrast, 1 mm, NAWM median 1; those that are not in `IMAGES` are not used.
    tissue : mapping of str to ndarray of float32, shape (x, y, z)
        Probability of each of `TISSUES`, 0 to 1.
    brain_mask : ndarray of bool, shape (x, y, z)
        Brain.

    Returns
    -------
    ndarray of float32, shape (len(IMAGES) + len(TISSUES), x, y, z)
        As the model card says.

    Raises
    ------
    ValueError
        When there is no FLAIR.
    """
    if IMAGES[0] not in images:
        msg = f"the network reads T2 lesions on FLAIR, got {', '.join(images) or 'no image'}"
        raise ValueError(msg)
    stack = np.zeros((len(IMAGES) + len(TISSUES), *brain_mask.shape), np.float32)
    for channel, contrast in enumerate(IMAGES):
        if contrast in images:
            stack[channel] = scale_image(np.where(brain_mask, np.nan_to_num(images[contrast]), 0.0))
    for channel, name in enumerate(TISSUES, start=len(IMAGES)):
        stack[channel] = np.where(brain_mask, tissue[name], 0.0)
    return stack


def lesion_probability(
    images: Mapping[str, FloatArray], tissue: Priors, brain_mask: Mask, network: str | Path = "t2"
) -> FloatArray:
    """Return how likely each voxel is a T2 lesion.

    Parameters
    ----------
    images, tissue, brain_mask
        As for `stack_channels`; 1 mm isotropic, axes to the right, front and top.
    network : str or Path
        A network of the package, or the file of another one without its ``.onnx``.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        0 to 1; 0 outside the brain. Not calibrated.
    """
    probability = np.zeros(brain_mask.shape, np.float32)
    if not brain_mask.any():
        return probability
    box = bounding_box(brain_mask, margin=_MARGIN)
    stack = stack_channels(
        {contrast: image[box] for contrast, image in images.items()},
        {name: tissue[name][box] for name in TISSUES},
        brain_mask[box],
    )
    sides = stack.shape[1:]
    padded = np.pad(stack, [(0, 0), *((0, -side % _MULTIPLE) for side in sides)])
    inside = tuple(slice(0, side) for side in sides)
    probability[box] = expit(run_network(str(network), padded[None])[0, 0][inside])
    return np.asarray(probability * brain_mask, np.float32)
