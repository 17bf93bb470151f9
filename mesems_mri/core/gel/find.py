"""Candidates for enhancing lesions, found at two scales.

The fine one follows the outline of what is clearly brighter; the coarse one averages over some millimetres
first, so that a faint nodule stands out of the noise as a whole although none of its voxels does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import close_fragments, label_components
from mesems_mri.core.gel.candidates import (
    CROSS,
    CUBE,
    Candidate,
    EnhancementMaps,
    EnhancementThresholds,
    drop_specks,
)
from mesems_mri.core.gel.rings import fill_ring, is_ring
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.typing import Box, Labels, Mask, Normal, Spacing

_LEAST_FRAGMENT = 5
"""Voxels."""
_KNOWN = 0.5
"""A candidate of which so much is in another one is not listed again."""


def find_candidates(
    maps: EnhancementMaps,
    limits: EnhancementThresholds,
    *,
    plane_normal: Normal,
    nawm: Mask,
    factor: float,
    faint: bool,
) -> list[Candidate]:
    """List the candidates, each before the parts it may be cut into; the faint ones come last.

    ``faint``: for a classifier. Then a place is evidence and no veto, but for the rim of the brain; every
    component is also listed with what a veto would have cut off.
    """
    excluded = np.logical_or.reduce(list(maps.places.values()))
    found = _find_compact(maps, excluded, limits, plane_normal, wholes=faint)
    if faint:
        rim = maps.depth_mm <= limits.rim_mm
        known = _drawn(found, maps.z.shape)
        found = _extended(found, _find_compact(maps, rim, limits, plane_normal, wholes=True), known)
        known = _drawn(found, maps.z.shape)
        found += _find_faint(maps, rim, known, limits, nawm, factor)
    return found


def _drawn(candidates: Sequence[Candidate], shape: tuple[int, ...]) -> Mask:
    drawn = np.zeros(shape, bool)
    for candidate in candidates:
        drawn[candidate.around] |= candidate.inside
    return drawn


def _extended(found: list[Candidate], others: Sequence[Candidate], known: Mask) -> list[Candidate]:
    """Return candidates and others that are mostly new; the parents of the others are numbered anew."""
    numbers: dict[int, int] = {}
    extended = list(found)
    for number, other in enumerate(others):
        overlap = int((other.inside & known[other.around]).sum())
        if overlap >= _KNOWN * int(other.inside.sum()):
            continue
        numbers[number] = len(extended)
        parent = None if other.parent is None else numbers.get(other.parent)
        extended.append(replace(other, parent=parent))
    return extended


def _find_compact(
    maps: EnhancementMaps,
    excluded: Mask,
    limits: EnhancementThresholds,
    plane_normal: Normal,
    *,
    wholes: bool,
) -> list[Candidate]:
    """Candidates of the fine scale: what is clearly brighter, cut where it is thin.

    ``wholes``: also each component as it is, before it is cut, unless it is larger than any lesion.
    """
    hot = maps.hot & ~excluded
    if wholes:
        # Specks are no fragments of a ring, and to bridge hundreds of them takes most of the time.
        hot = drop_specks(hot, _LEAST_FRAGMENT)
    closed = close_fragments(hot, spacing_mm=maps.spacing_mm, gap_mm=limits.gap_mm, plane_normal=plane_normal)
    closed &= ~excluded
    voxel_mm3 = float(np.prod(maps.spacing_mm))
    least = limits.min_volume_mm3 / voxel_mm3
    found: list[Candidate] = []
    pieces = _split(closed, maps.spacing_mm, CROSS)
    if wholes:
        parents = _find_wholes(closed, pieces, maps, limits)
        found += parents.values()
        numbers = {component: number for number, component in enumerate(parents)}
        components, _ = label_components(closed)
    queue = _boxes(pieces)
    if wholes:
        queue = [
            replace(piece, parent=numbers.get(int(components[piece.around][piece.inside][0])))
            for piece in queue
        ]
    while queue:
        candidate = queue.pop(0)
        volume = int(candidate.inside.sum())
        if volume < least:
            continue
        found.append(candidate)
        if volume * voxel_mm3 >= limits.recut_volume_mm3:
            # A lesion may hang on a vein by the bridges that join the fragments of a ring: cut it off.
            within = candidate.inside & maps.hot[candidate.around]
            parts = _split(within, maps.spacing_mm, CUBE)
            if parts.max() > 1 or within.sum() < volume:
                queue += _boxes(parts, candidate.around, len(found) - 1)
    return found


def _find_wholes(
    closed: Mask, pieces: Labels, maps: EnhancementMaps, limits: EnhancementThresholds
) -> dict[int, Candidate]:
    """Candidate of each component that is cut into pieces, by its number; rings are filled."""
    components, _ = label_components(closed)
    wholes: dict[int, Candidate] = {}
    for candidate in _boxes(components):
        inside, around = candidate.inside, candidate.around
        extent_mm = [
            np.ptp(np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))) * maps.spacing_mm[axis]
            for axis in range(3)
        ]
        cut = np.unique(pieces[around][inside])
        if max(extent_mm) > limits.max_extent_mm or len(cut) < 2:
            continue
        component = int(components[around][inside][0])
        hot = inside & maps.hot[around]
        ring = is_ring(hot, maps.spacing_mm)
        filled = fill_ring(inside, maps.spacing_mm) if ring else inside
        wholes[component] = replace(candidate, inside=filled, ring=ring)
    return wholes


def _find_faint(
    maps: EnhancementMaps,
    excluded: Mask,
    known: Mask,
    limits: EnhancementThresholds,
    nawm: Mask,
    factor: float,
) -> list[Candidate]:
    """Candidates that stand out only on average over some millimetres."""
    width = [limits.faint_width_mm / step for step in maps.spacing_mm]
    inside = maps.depth_mm > limits.rim_mm
    level = ndimage.gaussian_filter(np.where(inside, maps.increase, 0), width)
    z = ndimage.gaussian_filter(np.where(inside, maps.z, 0), width)
    z /= max(robust_noise(z, nawm)[1], 1e-3)
    size = [2 * round(limits.outline_reach_mm / step) + 1 for step in maps.spacing_mm]
    warm = (z > factor * limits.faint_sigma) & (level > factor * limits.faint_contrast) & ~excluded
    warm &= level >= limits.outline_fraction * ndimage.maximum_filter(level, size)
    components, _ = label_components(ndimage.binary_opening(warm, CROSS) | (warm & known))
    least = limits.min_volume_mm3 / float(np.prod(maps.spacing_mm))
    found = []
    for candidate in _boxes(components):
        volume = int(candidate.inside.sum())
        overlap = int((candidate.inside & known[candidate.around]).sum())
        # A candidate of the fine scale is not listed twice when the coarse one finds nearly the whole of it.
        if volume >= least and overlap < _KNOWN * volume:
            found.append(Candidate(candidate.inside, candidate.around, faint=True))
    return found


def _split(closed: Mask, spacing_mm: Spacing, structure: Mask) -> Labels:
    """Cut what is thin (vessels) off what is compact: opening, cores regrown; the rest are own candidates."""
    cores, n = label_components(ndimage.binary_opening(closed, structure))
    if n == 0:
        return label_components(closed)[0]
    reach = [int(1.8 * min(spacing_mm) / step) for step in spacing_mm]
    beside = ndimage.maximum_filter(cores, [2 * n + 1 for n in reach])
    grown = np.where(cores > 0, cores, np.where(closed, beside, 0))
    rest, _ = label_components(closed & (grown == 0))
    return np.where(rest > 0, rest + n, grown).astype(np.int32)


def _boxes(dseg: Labels, within: Box | None = None, parent: int | None = None) -> list[Candidate]:
    """Candidate of each label, cut out with a margin of 4 voxels."""
    boxes = []
    for label, box in enumerate(ndimage.find_objects(dseg), start=1):
        if box is None:
            continue
        local = tuple(slice(max(s.start - 4, 0), s.stop + 4) for s in box)
        mask = dseg[local] == label
        starts = [s.start for s in within] if within else [0, 0, 0]
        around = tuple(
            slice(s.start + start, s.start + start + n)
            for s, start, n in zip(local, starts, mask.shape, strict=True)
        )
        boxes.append(Candidate(mask, around, parent))
    return boxes
