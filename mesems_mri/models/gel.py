"""Classify candidates for enhancing lesions with the network of this project (`gel.md`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mesems_mri.core.typing import FloatArray
from mesems_mri.models.inference import run_network

NETWORK_WEIGHT = 1.0459
HAND_WEIGHT = 0.1829
OFFSET = -2.8688
"""Calibration of the log odds on held-out patients; `training/gel.py` prints the numbers."""
_BATCH = 16


def network_log_odds(patches: FloatArray, network: str | Path = "gel") -> FloatArray:
    """Run the network on patches of `core.gel.candidates.cut_patches`.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, channels, side, side, side)
        Of any number of candidates.
    network : str or Path
        A network of the package, or the file of another one without its ``.onnx``.

    Returns
    -------
    ndarray of float32, shape (n,)
        Log odds, not calibrated.
    """
    parts = [run_network(str(network), patches[i : i + _BATCH]) for i in range(0, len(patches), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def classify_candidates(patches: FloatArray, by_hand: FloatArray) -> FloatArray:
    """Return the log odds that candidates are GEL, from their patches and the log odds by hand weights.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, channels, side, side, side)
        As for `network_log_odds`.
    by_hand : ndarray of float32, shape (n,)
        Log odds by the weights set by hand.

    Returns
    -------
    ndarray of float32, shape (n,)
        Calibrated on held-out patients.
    """
    learned = network_log_odds(patches)
    odds = np.float32(NETWORK_WEIGHT) * learned + np.float32(HAND_WEIGHT) * by_hand + np.float32(OFFSET)
    return np.asarray(odds, np.float32)
