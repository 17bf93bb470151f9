"""Score of a change: how likely a candidate is a new or enlarging lesion.

Evidence with weights set by hand. Weights fitted to real pairs and to pairs with drawn lesions find no more
on patients that were left out (`training/change_score.py` prints both).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import expit, logit

from mesems_mri.core.by_label import highest_by_label, mean_by_label
from mesems_mri.core.t2.growth import ChangeThresholds
from mesems_mri.core.t2.rise import ChangeEvidence, Growth
from mesems_mri.core.t2.tissue import white_surround
from mesems_mri.core.typing import Float64Array, FloatArray, Labels, Spacing

FEATURES: Final = (
    "rise",
    "peak",
    "joined",
    "support",
    "supported",
    "excess",
    "surround",
    "size",
    "thickness",
    "certain",
    "certain_alone",
    "by_network",
    "network",
    "network_rise",
    "networked",
)
"""Of a focus: mean and highest rise of the contrast that is read, mean rise of both contrasts together,
mean rise of the second one (0 where there is none) and whether there is one (rises in sigmas); mean excess
now (z), share of white matter around it, log of its volume, slices of the coarser visit (mm); whether it has
a seed that is beyond doubt, and one on the contrast that is read, and whether the network alone shows it;
highest log odds of the network now, its mean rise (log odds), and whether the network read both visits."""
_MOST_LOG_ODDS = 4.0
_BELOW = 2.0
"""Below the limit the log odds fall faster: of what just misses it hardly any is a lesion."""
_MOST_FAINT = -0.5
"""Largest evidence of a focus without a seed beyond doubt: few are lesions, whatever else speaks for them."""


def describe_foci(
    foci: Labels, evidence: ChangeEvidence, growth: Growth, spacing_mm: Spacing, thickness_mm: float
) -> Float64Array:
    """Measure `FEATURES` of each focus.

    Parameters
    ----------
    foci : ndarray of int32, shape (x, y, z)
        Numbered 1..n, on the box of the evidence.
    evidence : ChangeEvidence
        Of the pair of visits.
    growth : Growth
        That the foci are part of.
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
    z, none = evidence.difference.z, np.zeros(n + 1)
    support, supported = none, none
    if evidence.support_z is not None:
        support, supported = mean_by_label(evidence.support_z, foci), none + 1.0
    network, network_rise, networked = none, none, none
    if evidence.probability is not None:
        now, then = (_log_odds(probability) for probability in evidence.probability)
        network, network_rise, networked = (
            highest_by_label(now, foci),
            mean_by_label(now - then, foci),
            none + 1.0,
        )
    voxels = np.maximum(np.bincount(foci.ravel(), minlength=n + 1), 1)
    masks = (growth.certain, growth.certain_alone, growth.by_network)
    certain, certain_alone, by_network = (highest_by_label(mask, foci) for mask in masks)
    return np.column_stack(
        [
            mean_by_label(z, foci),
            highest_by_label(z, foci),
            mean_by_label(evidence.joined_z, foci),
            support,
            supported,
            mean_by_label(evidence.tissue.z, foci),
            white_surround(foci, evidence.tissue, spacing_mm),
            np.log(voxels * float(np.prod(spacing_mm))),
            none + thickness_mm,
            certain,
            certain_alone,
            by_network,
            network,
            network_rise,
            networked,
        ]
    )


def score_foci(features: Float64Array, limits: ChangeThresholds) -> Float64Array:
    """Return the score of each focus by label, 0 to 1; 0 at index 0.

    Parameters
    ----------
    features : ndarray of float64, shape (n + 1, len(FEATURES))
        Of `describe_foci`.
    limits : ChangeThresholds
        Weights and limits of acceptance.
    """
    of = dict(zip(FEATURES, features.T, strict=True))
    more = limits.accept_per_mm * np.maximum(of["thickness"] - limits.thin_slices_mm, 0.0)
    place = of["excess"] + limits.surround_weight * of["surround"] - more
    alone = of["rise"] + place - limits.accept
    both = of["joined"] + place - limits.supported_accept
    shown = (of["supported"] > 0) & (of["support"] >= limits.support_sigma)
    both = np.where(shown, both, -np.inf)
    faint = np.minimum(np.maximum(alone, both) - limits.faint_accept, _MOST_FAINT)
    seen = np.maximum(
        np.where(of["certain_alone"] > 0, alone, -np.inf), np.where(of["certain"] > 0, both, -np.inf)
    )
    margin = np.maximum(seen, faint)
    certainty = expit(np.where(margin < 0, _BELOW * margin, margin))
    certainty = np.where(of["by_network"] > 0, limits.network_score, certainty)
    certainty[0] = 0.0
    return certainty


def _log_odds(probability: FloatArray) -> FloatArray:
    return np.clip(logit(probability), -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
