"""Rise of brightness between two visits, and of the probability of a lesion by the network.

Both visits are matched in resolution, bias field and intensity, and subtracted. The difference is divided by
the noise measured in this pair, which is larger at edges: a misregistration of a fraction of a voxel gives a
difference in proportion to the local gradient (Ganiler et al., Neuroradiology 2014;56:363; Moraal et al.,
Radiology 2010;255:154).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.t2.difference import VisitDifference, subtract_visits
from mesems_mri.core.t2.fluid import CSF_BELOW
from mesems_mri.core.t2.growth import ChangeThresholds
from mesems_mri.core.t2.scan import VisitPair
from mesems_mri.core.t2.tissue import TissueMaps, local_white_level
from mesems_mri.core.typing import FloatArray, Mask

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class ChangeEvidence:
    """Maps over the brain box that a change is found and scored by.

    Attributes
    ----------
    tissue : TissueMaps
        Of the current visit.
    difference : VisitDifference
        Of the contrast that is read.
    support_z : ndarray of float32 or None
        Rise of the second contrast in units of its own noise.
    joined_z : ndarray of float32
        Rise of both contrasts together; that of the first where there is no second.
    probability : tuple of two ndarray of float32, or None
        Of a T2 lesion by the network at the current and at the reference visit, the latter the highest
        within one voxel.
    """

    tissue: TissueMaps
    difference: VisitDifference
    support_z: FloatArray | None
    joined_z: FloatArray
    probability: tuple[FloatArray, FloatArray] | None = None


@dataclass(frozen=True, eq=False)
class Growth:
    """Voxels that became hyperintense.

    Attributes
    ----------
    mask : ndarray of bool, shape (x, y, z)
        By the difference, from faint seeds on.
    certain : ndarray of bool, shape (x, y, z)
        Those in components with a seed that is beyond doubt.
    certain_alone : ndarray of bool, shape (x, y, z)
        Those in components with such a seed on the contrast that is read.
    by_network : ndarray of bool, shape (x, y, z)
        Components in which the network's probability rose and that touch nothing of it.
    """

    mask: Mask
    certain: Mask
    certain_alone: Mask
    by_network: Mask


def gather_evidence(pair: VisitPair, tissue: TissueMaps, limits: ChangeThresholds) -> ChangeEvidence:
    """Subtract the visits on each contrast; the pair is cropped to the box of the tissue maps."""
    anatomy, smooth_mm = pair.anatomy, limits.smooth_mm
    difference = subtract_visits(pair.current, pair.reference, anatomy, smooth_mm=smooth_mm)
    probability = None
    if pair.probability is not None:
        now, then = pair.probability
        probability = now, np.asarray(ndimage.maximum_filter(then, size=3), np.float32)
    if pair.support is None:
        return ChangeEvidence(tissue, difference, None, difference.z, probability)
    support_z = subtract_visits(*pair.support, anatomy, smooth_mm=smooth_mm).z
    joined_z = _joined(difference.z, support_z, limits.support_share)
    return ChangeEvidence(tissue, difference, support_z, joined_z, probability)


def find_growth(evidence: ChangeEvidence, pair: VisitPair, limits: ChangeThresholds) -> Growth:
    """Find the voxels that became hyperintense: seeds on the difference, grown and outlined."""
    tissue, difference, anatomy = evidence.tissue, evidence.difference, pair.anatomy
    now, z, rise = difference.current, difference.z, difference.rise
    level = local_white_level(now, anatomy.nawm, anatomy.spacing_mm)
    _, white_sigma = robust_noise(now / level, anatomy.nawm)
    bright = (now / level > 1.0 + limits.bright_sigma * white_sigma) & (tissue.z > limits.bright_z)
    plausible = tissue.allowed & bright
    if pair.current.contrast == "FLAIR":
        # Beside fluid that moved or changed its flow void nothing can be said.
        plausible &= ~ndimage.binary_dilation(difference.reference < CSF_BELOW, _ALL_NEIGHBOURS)
    grown = plausible & (np.maximum(z, evidence.joined_z) > limits.grow_sigma) & (rise > limits.grow_rise)
    reach = [2 * round(limits.outline_reach_mm / step) + 1 for step in anatomy.spacing_mm]
    strongest = ndimage.maximum_filter(np.where(grown, rise, np.float32(0.0)), reach)
    outlined = grown & (rise >= limits.outline_fraction * strongest)
    faint = grown & ((z > limits.faint_sigma) | (evidence.joined_z > limits.supported_faint_sigma))
    alone = grown & (z > limits.seed_sigma) & (rise > limits.seed_rise)
    sure = alone
    if evidence.support_z is not None:
        sure = alone | (grown & (evidence.joined_z > limits.supported_seed_sigma))
    mask = with_seeds(outlined, faint | sure)
    return Growth(
        mask=mask,
        certain=with_seeds(outlined, sure),
        certain_alone=with_seeds(outlined, alone),
        by_network=_rise_of_network(evidence, mask, limits),
    )


def find_fallen(difference: VisitDifference, limits: ChangeThresholds) -> Mask:
    """Find the voxels that darkened, by the thresholds of growth."""
    z, rise = difference.z, difference.rise
    return with_seeds(
        (z < -limits.grow_sigma) & (rise < -limits.grow_rise),
        (z < -limits.seed_sigma) & (rise < -limits.seed_rise),
    )


def with_seeds(mask: Mask, seeds: Mask) -> Mask:
    """Keep the components of a mask that hold a seed."""
    components, n = label_components(mask)
    keep = np.zeros(n + 1, bool)
    keep[np.unique(components[mask & seeds])] = True
    keep[0] = False
    return keep[components]


def _rise_of_network(evidence: ChangeEvidence, mask: Mask, limits: ChangeThresholds) -> Mask:
    """Find where the probability of the network rose and the difference shows nothing."""
    if evidence.probability is None:
        return np.zeros(mask.shape, bool)
    now, then = evidence.probability
    rose = (now >= limits.network_now) & (now - then >= limits.network_rise)
    return rose & ~with_seeds(rose, ndimage.binary_dilation(mask, _ALL_NEIGHBOURS))


def _joined(z: FloatArray, other: FloatArray, most: float) -> FloatArray:
    """Join the rise of two contrasts (Stouffer's method), each in units of its own noise.

    The second may not carry a change that the first hardly shows: bright fluid does.
    """
    limited = np.minimum(other, most * np.maximum(z, 0.0))
    return np.asarray((z + limited) / np.sqrt(2.0), np.float32)
