"""Evidence of contrast agent in two T1w of one head, from the voxels alone.

After gadolinium the venous sinuses, the choroid plexus, the infundibulum and the vessels are brighter than
before it, at many places of the head, and nothing is darker; the parenchyma hardly changes. Noise, motion,
shading and lesions brighten and darken alike, or at one place. So once the parenchyma of both scans has been
matched, the voxels that stand out are counted both ways, and places that agree must prevail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.distance import distance_from, distance_inside
from mesems_mri.core.intensity import robust_noise, same_shape, values_in
from mesems_mri.core.matching import differential_bias, match_intensity
from mesems_mri.core.typing import FloatArray, Mask, RealArray, Spacing

Vote = Literal["post", "pre", ""]
Reason = Literal["", "too_little_brain", "unlike", "no_difference", "both_ways", "unreadable"]

MIN_LIKENESS: Final = 0.5
"""Correlation of the matched parenchyma below which two scans are not compared: another head or sequence."""
_MIN_BRAIN_ML: Final = 150.0
_TISSUE: Final = 0.35
# Sinuses lie in the dura, close to the brain; beyond it comes the marrow of the skull, which is fat.
_AROUND_BRAIN_MM: Final = 3.0
_SHADING_MM: Final = 20.0
# What enhances is brighter than tissue (median 1), and by this share of itself brighter than in the other
# scan: an error of the gain, and shading that is left, change what is bright by a share too.
_LEAST_INCREASE: Final = 0.25
_LEAST_LEVEL: Final = 1.2
_SIGMAS: Final = 4.0
_EDGE_SIGMAS: Final = 2.0
# A scan of lower resolution shows vessels fainter, and their surroundings brighter by as much: over some
# millimetres nothing is left of the difference. Of an enhanced vessel a fifth is left, and of more, more.
_AROUND_MM: Final = 2.5
_LEAST_LEFT: Final = 0.11
_MIN_COMPONENT_MM3: Final = 20.0
# Enhancement is everywhere; a lesion, a flow artefact or the edge of a coil is in one place.
_PLACE_MM: Final = 24.0
_MIN_PLACES: Final = 4
_MIN_VOLUME_MM3: Final = 250.0
# Deep in the brain are choroid plexus and veins, and neither the edge of a field of shading nor fat.
_DEEP_MM: Final = 4.0
_MIN_DEEP_PLACES: Final = 3
_MIN_DEEP_MM3: Final = 200.0
_TIMES: Final = 3.0
_TIMES_PLACES: Final = 2.0


@dataclass(frozen=True)
class ContrastEvidence:
    """Evidence of two T1w for the contrast phase of the second.

    Attributes
    ----------
    vote : str
        ``post``: the second is enhanced against the first; ``pre``: the first against the second; empty: the
        images do not tell.
    reason : str
        Why there is no vote: ``no_difference``, ``both_ways`` (as much darkens as brightens), ``unlike``
        (another head, sequence or no registration), ``too_little_brain``, ``unreadable``.
    brighter_mm3, darker_mm3 : float
        Volume that is much brighter in the second, or in the first.
    brighter_places, darker_places : int
        Number of places (cubes of 24 mm) where the one or the other prevails.
    likeness : float
        Correlation of the matched parenchyma, at most 1.
    """

    vote: Vote = ""
    reason: Reason = ""
    brighter_mm3: float = 0.0
    darker_mm3: float = 0.0
    brighter_places: int = 0
    darker_places: int = 0
    likeness: float = 0.0

    def reversed(self) -> ContrastEvidence:
        """Return the evidence of the same scans in the other order."""
        other: dict[Vote, Vote] = {"post": "pre", "pre": "post", "": ""}
        return replace(
            self,
            vote=other[self.vote],
            brighter_mm3=self.darker_mm3,
            darker_mm3=self.brighter_mm3,
            brighter_places=self.darker_places,
            darker_places=self.brighter_places,
        )


def weigh_contrast(
    first: RealArray, second: RealArray, *, brain: Mask, seen: Mask, spacing_mm: Spacing
) -> ContrastEvidence:
    """Weigh which of two T1w of one head was taken after contrast.

    Parameters
    ----------
    first, second : ndarray of float, shape (x, y, z)
        Registered, of one resolution; any scales and shading.
    brain : ndarray of bool, shape (x, y, z)
        Brain with its CSF. Enhancement is looked for in it and close to it.
    seen : ndarray of bool, shape (x, y, z)
        What both scans show: inside both fields of view, and not where a skull was removed.
    spacing_mm : tuple of float
        Voxel size (mm); the limits are set for about 2 mm.

    Returns
    -------
    ContrastEvidence
        Swapping the scans gives exactly the reverse.

    Raises
    ------
    ValueError
        When the shapes differ or an image is not finite inside the masks.
    """
    for name, array in (("second", second), ("brain", brain), ("seen", seen)):
        same_shape(first, array, name)
    # Always worked on in one order: the match of intensities is not quite the same both ways.
    if np.ascontiguousarray(second).tobytes() < np.ascontiguousarray(first).tobytes():
        return _weigh(second, first, brain, seen, spacing_mm).reversed()
    return _weigh(first, second, brain, seen, spacing_mm)


def _weigh(
    first: RealArray, second: RealArray, brain: Mask, seen: Mask, spacing_mm: Spacing
) -> ContrastEvidence:
    voxel_mm3 = float(np.prod(spacing_mm))
    tissue, region = _tissue_and_region(first, second, brain, seen, spacing_mm)
    if float(tissue.sum()) * voxel_mm3 / 1000 < _MIN_BRAIN_ML:
        return ContrastEvidence(reason="too_little_brain")
    one, other = _matched(first, second, tissue, spacing_mm)
    inside_one, inside_other = values_in(one, tissue), values_in(other, tissue)
    if not (np.ptp(inside_one) > 0 and np.ptp(inside_other) > 0):
        return ContrastEvidence(reason="unlike")
    likeness = round(float(np.corrcoef(inside_one, inside_other)[0, 1]), 3)
    if likeness < MIN_LIKENESS:
        return ContrastEvidence(reason="unlike", likeness=likeness)
    increase, noise = _increase(one, other, tissue, region, spacing_mm)
    strong = region & (np.abs(increase) > np.maximum(noise, _LEAST_INCREASE * np.maximum(one, other)))
    around = ndimage.gaussian_filter(increase, [_AROUND_MM / step for step in spacing_mm])
    strong &= around * np.sign(increase) > _LEAST_LEFT * np.abs(increase)
    brighter = _compact(strong & (increase > 0) & (other > _LEAST_LEVEL), voxel_mm3)
    darker = _compact(strong & (increase < 0) & (one > _LEAST_LEVEL), voxel_mm3)
    up, down = _places(brighter, darker, spacing_mm)
    found = ContrastEvidence(
        brighter_mm3=round(float(brighter.sum()) * voxel_mm3, 1),
        darker_mm3=round(float(darker.sum()) * voxel_mm3, 1),
        brighter_places=up,
        darker_places=down,
        likeness=likeness,
    )
    deep = distance_inside(brain, spacing_mm) >= _DEEP_MM
    return _decide(found, brighter & deep, darker & deep, spacing_mm)


def _tissue_and_region(
    first: RealArray, second: RealArray, brain: Mask, seen: Mask, spacing_mm: Spacing
) -> tuple[Mask, Mask]:
    """Return the parenchyma that both scans show, and the region where enhancement is looked for."""
    tissue = brain & seen
    if tissue.any():
        for image in (first, second):
            tissue = tissue & (image > _TISSUE * float(np.median(image[brain & seen])))
    return tissue, seen & (distance_from(brain, spacing_mm, _AROUND_BRAIN_MM) <= _AROUND_BRAIN_MM)


def _decide(found: ContrastEvidence, brighter: Mask, darker: Mask, spacing_mm: Spacing) -> ContrastEvidence:
    """Return the evidence with its vote, or with the reason why there is none.

    Both masks show what is deep in the brain.
    """
    deep_mm3 = [float(mask.sum() * np.prod(spacing_mm)) for mask in (brighter, darker)]
    deep_places = _places(brighter, darker, spacing_mm)
    volumes, places = (found.brighter_mm3, found.darker_mm3), (found.brighter_places, found.darker_places)
    for vote, way in (("post", 1), ("pre", -1)):
        whole = _prevails(volumes[::way], places[::way], _MIN_VOLUME_MM3, _MIN_PLACES)
        deep = _prevails(deep_mm3[::way], deep_places[::way], _MIN_DEEP_MM3, _MIN_DEEP_PLACES)
        if whole and deep:
            return replace(found, vote=vote)
    little = max(deep_mm3) < _MIN_DEEP_MM3 or max(deep_places) < _MIN_DEEP_PLACES
    return replace(found, reason="no_difference" if little else "both_ways")


def _prevails(mm3: Sequence[float], places: Sequence[int], least_mm3: float, least_places: int) -> bool:
    """Return whether the first direction prevails over the second, in volume and in the number of places."""
    return (
        mm3[0] >= least_mm3
        and places[0] >= least_places
        and mm3[0] >= _TIMES * mm3[1]
        and places[0] >= _TIMES_PLACES * places[1]
    )


def _matched(
    first: RealArray, second: RealArray, tissue: Mask, spacing_mm: Spacing
) -> tuple[FloatArray, FloatArray]:
    """Return both scans in units of the median tissue of the first, their shading alike."""
    one, other = (
        np.maximum(np.asarray(image, np.float32) / np.float32(np.median(image[tissue])), np.float32(1e-3))
        for image in (first, second)
    )
    # Shading first, or its spread passes for a gain; again after the gain, which changes what is left of it.
    other = other * differential_bias(other, one, tissue, spacing_mm, _SHADING_MM)
    other = np.maximum(match_intensity(other, one, tissue), np.float32(1e-3))
    return one, other * differential_bias(other, one, tissue, spacing_mm, _SHADING_MM)


def _increase(
    one: FloatArray, other: FloatArray, tissue: Mask, region: Mask, spacing_mm: Spacing
) -> tuple[FloatArray, FloatArray]:
    """Return the increase from one scan to the other, and what noise and misregistration explain of it."""
    increase = other - one
    median, sigma = robust_noise(increase, tissue)
    increase -= median
    gradient_squared = np.zeros(one.shape, np.float32)
    mean = (one + other) / 2
    for axis, step in enumerate(spacing_mm):
        gradient_squared += (ndimage.sobel(mean, axis=axis) / np.float32(32.0 * step)) ** 2
    edges = gradient_squared[tissue]
    low, high = np.quantile(edges, [0.8, 0.95])
    at_edges = (edges >= low) & (edges <= high)
    _, edge_sigma = robust_noise(increase[tissue], at_edges)
    share = max(edge_sigma**2 - sigma**2, 0.0) / max(float(np.mean(edges[at_edges])), 1e-12)
    edge_noise = _EDGE_SIGMAS * np.sqrt(sigma**2 + share * gradient_squared)
    increase = np.where(region, increase, 0).astype(np.float32)
    return increase, np.maximum(edge_noise, _SIGMAS * sigma).astype(np.float32)


def _compact(mask: Mask, voxel_mm3: float) -> Mask:
    """Return the components of a mask that are more than noise."""
    labels, number = label_components(mask)
    if number == 0:
        return mask
    sizes = np.bincount(labels.ravel()) * voxel_mm3
    sizes[0] = 0
    return np.asarray(sizes[labels] >= _MIN_COMPONENT_MM3)


def _places(brighter: Mask, darker: Mask, spacing_mm: Spacing) -> tuple[int, int]:
    """Return the number of places where the brighter voxels prevail, and where the darker ones do."""
    balance = brighter.astype(np.float32) - darker
    for axis, (size, step) in enumerate(zip(balance.shape, spacing_mm, strict=True)):
        width = max(1, round(_PLACE_MM / step))
        balance = np.add.reduceat(balance, np.arange(0, size, width), axis=axis)
    least = _MIN_COMPONENT_MM3 / float(np.prod(spacing_mm))
    return int((balance >= least).sum()), int((balance <= -least).sum())
