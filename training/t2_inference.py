"""Find T2 lesions with a network trained on drawn brains and few real ones (`t2.md`).

Not in the package: no training so far gave a network that is as good as `core.lesions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from mesems_mri.core.typing import FloatArray, Mask
from mesems_mri.models.inference import run_network

CHANNELS: Final = ("FLAIR", "T1w", "T2w")
"""Of the network; a contrast that is missing is 0 everywhere."""
_BRIGHTEST = 3.0
# Each level of the network halves the grid.
_MULTIPLE = 8
_MARGIN = 4


def prepare(images: Mapping[str, FloatArray], brain_mask: Mask) -> FloatArray:
    """Stack the images of a visit as the network takes them.

    Parameters
    ----------
    images : mapping of str to ndarray of float32, shape (x, y, z)
        By contrast, space-subject (1 mm), NAWM median 1. Those that are not in `CHANNELS` are not used.
    brain_mask : ndarray of bool, shape (x, y, z)
        Brain.

    Returns
    -------
    ndarray of float32, shape (len(CHANNELS), x, y, z)
        0 to 3 times NAWM; 0 outside the brain.
    """
    stack = np.zeros((len(CHANNELS), *brain_mask.shape), np.float32)
    for channel, contrast in enumerate(CHANNELS):
        if contrast in images:
            stack[channel] = np.where(brain_mask, np.clip(images[contrast], 0.0, _BRIGHTEST), 0.0)
    return stack


def lesion_probability(images: Mapping[str, FloatArray], brain_mask: Mask, network: Path) -> FloatArray:
    """Return how likely each voxel is a T2 lesion.

    Parameters
    ----------
    images : mapping of str to ndarray of float32, shape (x, y, z)
        As for `prepare`; FLAIR must be there.
    brain_mask : ndarray of bool, shape (x, y, z)
        Brain.
    network : Path
        The ``.onnx`` file.

    Returns
    -------
    ndarray of float32, shape (x, y, z)
        0 to 1; 0 outside the brain. Not calibrated.
    """
    probability = np.zeros(brain_mask.shape, np.float32)
    if not brain_mask.any():
        return probability
    box = tuple(
        slice(max(int(at.min()) - _MARGIN, 0), int(at.max()) + 1 + _MARGIN) for at in np.nonzero(brain_mask)
    )
    stack = prepare({contrast: image[box] for contrast, image in images.items()}, brain_mask[box])
    sides = stack.shape[1:]
    padded = np.pad(stack, [(0, 0), *((0, -side % _MULTIPLE) for side in sides)])
    logits = run_network(str(network.with_suffix("")), padded[None])[0, 0][
        tuple(slice(0, side) for side in sides)
    ]
    probability[box] = 1.0 / (1.0 + np.exp(-logits))
    return probability * brain_mask
