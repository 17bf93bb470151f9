"""Score of a change: how likely a focus that was proposed is new or enlarging lesion.

Logistic regression on what both visits say of the focus, fitted to real pairs and to pairs of scans with
drawn lesions (`training/change_score.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from mesems_mri.core.t2.rise import ChangeEvidence
from mesems_mri.core.t2.tissue import mean_by_label, white_surround
from mesems_mri.core.typing import Float64Array, FloatArray, Labels, Spacing

FEATURES: Final = (
    "rise",
    "peak",
    "support",
    "supported",
    "excess",
    "surround",
    "size",
    "thick",
    "network",
    "network_rise",
    "networked",
)
"""Of a focus: mean and highest rise of the contrast that is read (sigmas), mean rise of the second one (0
where there is none) and whether there is one, mean excess now (z), share of white matter around it, log of
its volume, slices of the coarser visit beyond 3 mm, highest log odds of the network now, its mean rise (log
odds), and whether the network read both visits."""
WEIGHTS: Final = (0.0,) * len(FEATURES)
OFFSET: Final = 0.0
"""`python -m training.change_score` prints the numbers."""
_RISE, _PEAK, _SUPPORT, _EXCESS = (0.0, 8.0), (0.0, 15.0), (-2.0, 6.0), (-2.0, 6.0)
_MOST_LOG_ODDS = 4.0
_THIN_SLICES_MM = 3.0
_SMALL_MM3 = 14.0


def describe_foci(
    foci: Labels, evidence: ChangeEvidence, spacing_mm: Spacing, thickness_mm: float
) -> Float64Array:
    """Measure `FEATURES` of each focus.

    Parameters
    ----------
    foci : ndarray of int32, shape (x, y, z)
        Numbered 1..n, on the box of the evidence.
    evidence : ChangeEvidence
        Of the pair of visits.
    spacing_mm : tuple of float
        Voxel size (mm).
    thickness_mm : float
        Slice thickness of the coarser visit.

    Returns
    -------
    ndarray of float64, shape (n + 1, len(FEATURES))
        By label; index 0 is background.
    """
    n = int(foci.max(initial=0))
    z = evidence.difference.z
    none = np.zeros(n + 1)
    support, supported = none, none
    if evidence.support_z is not None:
        support, supported = mean_by_label(evidence.support_z, foci), none + 1.0
    network, network_rise, networked = none, none, none
    if evidence.probability is not None:
        now, then = (_log_odds(probability) for probability in evidence.probability)
        network, network_rise, networked = _highest(now, foci), mean_by_label(now - then, foci), none + 1.0
    volume_mm3 = np.bincount(foci.ravel(), minlength=n + 1) * float(np.prod(spacing_mm))
    return np.column_stack(
        [
            np.clip(mean_by_label(z, foci), *_RISE),
            np.clip(_highest(z, foci), *_PEAK),
            np.clip(support, *_SUPPORT),
            supported,
            np.clip(mean_by_label(evidence.tissue.z, foci), *_EXCESS),
            white_surround(foci, evidence.tissue, spacing_mm),
            np.log(np.maximum(volume_mm3, _SMALL_MM3) / _SMALL_MM3),
            none + max(thickness_mm - _THIN_SLICES_MM, 0.0),
            network,
            network_rise,
            networked,
        ]
    )


def score_foci(features: Float64Array) -> Float64Array:
    """Return the score of each focus by label, 0 to 1; 0 at index 0."""
    certainty = 1.0 / (1.0 + np.exp(-(features @ np.asarray(WEIGHTS) + OFFSET)))
    certainty[0] = 0.0
    return certainty


def _log_odds(probability: FloatArray) -> FloatArray:
    least = 1.0 / (1.0 + np.exp(_MOST_LOG_ODDS))
    clipped = np.clip(probability, least, 1.0 - least)
    return np.asarray(np.log(clipped / (1.0 - clipped)), np.float32)


def _highest(values: FloatArray, foci: Labels) -> Float64Array:
    """Highest value in each focus by label; 0 at index 0."""
    n = int(foci.max(initial=0))
    highest = np.zeros(n + 1)
    if n:
        highest[1:] = ndimage.maximum(values, foci, np.arange(1, n + 1))
    return highest
