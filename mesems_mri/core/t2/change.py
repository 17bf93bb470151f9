"""New and enlarging T2 lesions between two registered visits, by subtraction.

Both visits are brought to one resolution, one bias field and one intensity scale, and subtracted. The
difference is divided by the noise measured in this pair, which is larger at edges: a misregistration of a
fraction of a voxel gives a difference in proportion to the local gradient (Ganiler et al., Neuroradiology
2014;56:363; Moraal et al., Radiology 2010;255:154).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from mesems_mri.core.components import label_components
from mesems_mri.core.intensity import robust_noise
from mesems_mri.core.t2.difference import Support, difference_noise, match_visits, rise_of
from mesems_mri.core.t2.fluid import CSF_BELOW
from mesems_mri.core.t2.growth import ChangeThresholds, Geometry, classify_growth
from mesems_mri.core.t2.tissue import describe_tissue, local_white_level, mean_by_label, white_surround
from mesems_mri.core.typing import FloatArray, Labels, Mask, Normal, Priors, Spacing, T2Contrast

_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class T2Change:
    """Change between two visits.

    Attributes
    ----------
    new, enlarging
        Numbered foci (int32), each 1..n on its own, on the grid of the images.
    lesions
        T2 lesions of this visit, carried on from the reference visit (`_carry_on`).
    score
        0 outside foci; inside, how sure the focus is, 0 to 1, the same for all its voxels.
    candidates
        Numbered foci (int32) that were considered, those that were turned down included.
    candidate_scores
        Score of each candidate, from number 1 on.
    details
        Measured quantities: ``difference_sigma`` (noise of the difference in NAWM, units of NAWM),
        ``edge_shift_mm`` (misregistration that would explain the noise at edges), ``thickness_mm``
        (that both visits were matched to).
    """

    new: Labels
    enlarging: Labels
    lesions: Mask
    score: FloatArray
    candidates: Labels
    candidate_scores: tuple[float, ...] = ()
    details: dict[str, float] = field(default_factory=dict)


def detect_t2_change(
    current: FloatArray,
    reference: FloatArray,
    *,
    current_lesions: Mask,
    reference_lesions: Mask,
    brain_mask: Mask,
    nawm: Mask,
    priors: Priors,
    spacing_mm: Spacing,
    current_thickness_mm: float,
    reference_thickness_mm: float,
    plane_normal: Normal,
    contrast: T2Contrast = "FLAIR",
    current_t1w: FloatArray | None = None,
    support: Support | None = None,
    thresholds: ChangeThresholds | None = None,
) -> T2Change:
    """Detect new and enlarging T2 lesions.

    Parameters
    ----------
    current, reference
        Same contrast at this and at the reference visit, on one grid, each bias-corrected and with NAWM
        median 1.
    current_lesions, reference_lesions
        T2 lesions of the two visits.
    brain_mask
        Brain covered by both visits.
    nawm
        Normal-appearing white matter of both visits.
    priors
        Tissue probabilities on the same grid (see `lesions.segment_t2_lesions`).
    spacing_mm
        Voxel size (mm).
    current_thickness_mm, reference_thickness_mm
        Slice thickness of the two acquisitions (mm).
    plane_normal
        Normal of the slices of the coarser acquisition, unit vector in array axes.
    contrast
        Contrast of both images.
    current_t1w
        T1w of this visit on the same grid, NAWM median 1, when there is one.
    support
        Another T2-type contrast of both visits. A change that both contrasts show may be fainter: the noise
        of two series is independent, and so are flow and the edge of the fluid, which are no lesions.
    thresholds
        Default: `ChangeThresholds`.

    Returns
    -------
    T2Change

    Raises
    ------
    ValueError
        When shapes differ or an image is not finite inside the brain.
    """
    limits = thresholds or ChangeThresholds()
    _check(current, reference, current_lesions, reference_lesions, brain_mask, nawm, support)
    thickness_mm = max(current_thickness_mm, reference_thickness_mm)
    new = np.zeros(current.shape, np.int32)
    enlarging = np.zeros(current.shape, np.int32)
    candidates = np.zeros(current.shape, np.int32)
    candidate_scores: list[float] = []
    score = np.zeros(current.shape, np.float32)
    details = {"thickness_mm": float(thickness_mm)}
    if np.array_equal(current, reference):
        return T2Change(new, enlarging, reference_lesions.copy(), score, candidates, details=details)
    tissue = describe_tissue(
        current,
        contrast=contrast,
        brain_mask=brain_mask,
        priors=priors,
        spacing_mm=spacing_mm,
        nawm=nawm,
        t1w=current_t1w,
    )
    if tissue is None:
        return T2Change(new, enlarging, current_lesions.copy(), score, candidates, details=details)

    cut = tissue.box
    brain, white = brain_mask[cut], nawm[cut] & brain_mask[cut]
    now, then = match_visits(
        current[cut],
        reference[cut],
        brain,
        spacing_mm,
        (current_thickness_mm, reference_thickness_mm),
        plane_normal,
        limits,
    )
    rise = now - then
    sigma, details["difference_sigma"], details["edge_shift_mm"] = difference_noise(
        rise, now, then, brain, white, spacing_mm
    )
    z = rise / sigma
    other = None if support is None else rise_of(support, cut, brain, white, spacing_mm, limits)
    both = z if other is None else _joined(z, other, limits.support_share)
    level = local_white_level(now, white, spacing_mm)
    _, white_sigma = robust_noise(now / level, white)
    bright = (now / level > 1.0 + limits.bright_sigma * white_sigma) & (tissue.z > limits.bright_z)
    plausible = tissue.allowed & bright
    if contrast == "FLAIR":
        # Beside fluid that moved or changed its flow void nothing can be said.
        plausible &= ~ndimage.binary_dilation(then < CSF_BELOW, _ALL_NEIGHBOURS)
    grown = plausible & (np.maximum(z, both) > limits.grow_sigma) & (rise > limits.grow_rise)
    seeds = grown & (z > limits.seed_sigma) & (rise > limits.seed_rise)
    reach = [2 * round(limits.outline_reach_mm / step) + 1 for step in spacing_mm]
    strongest = ndimage.maximum_filter(np.where(grown, rise, np.float32(0.0)), reach)
    outlined = grown & (rise >= limits.outline_fraction * strongest)
    by_itself = growth = _with_seeds(outlined, seeds)
    if other is not None:
        growth = _with_seeds(outlined, seeds | (grown & (both > limits.supported_seed_sigma)))

    more = limits.accept_per_mm * max(thickness_mm - limits.thin_slices_mm, 0.0)
    geometry = Geometry(spacing_mm, plane_normal, float(thickness_mm), limits.min_diameter_mm)
    for dseg, foci in zip(
        (new, enlarging),
        classify_growth(growth, current_lesions[cut], reference_lesions[cut], geometry, limits),
        strict=True,
    ):
        place = mean_by_label(tissue.z, foci)
        place += limits.surround_weight * white_surround(foci, tissue, spacing_mm) - more
        margin = mean_by_label(z, foci) + place - limits.accept
        if other is not None:
            margin = np.where(mean_by_label(by_itself.astype(np.float32), foci) > 0, margin, -np.inf)
            supported = mean_by_label(both, foci) + place - limits.supported_accept
            shown = mean_by_label(other, foci) >= limits.support_sigma
            margin = np.maximum(margin, np.where(shown, supported, -np.inf))
        certainty = (1.0 / (1.0 + np.exp(-margin))).astype(np.float32)
        kept = certainty >= limits.min_score
        kept[0] = False
        numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
        dseg[cut] = numbers[foci]
        score[cut] = np.where(kept[foci], certainty[foci], score[cut])
        candidates[cut] = np.where(foci > 0, foci + len(candidate_scores), candidates[cut])
        candidate_scores += certainty[1:].tolist()
    fallen = _with_seeds(
        (z < -limits.grow_sigma) & (rise < -limits.grow_rise),
        (z < -limits.seed_sigma) & (rise < -limits.seed_rise),
    )
    lesions = current_lesions & ~brain_mask  # where the reference visit shows nothing
    lesions[cut] |= _carry_on(
        current_lesions[cut],
        reference_lesions[cut] & brain,
        growth=growth,
        fallen=fallen,
        changed=(new[cut] > 0) | (enlarging[cut] > 0),
        geometry=geometry,
        limits=limits,
    )
    return T2Change(new, enlarging, lesions, score, candidates, tuple(candidate_scores), details)


def _joined(z: FloatArray, other: FloatArray, most: float) -> FloatArray:
    """Join the rise of two contrasts (Stouffer's method), each in units of its own noise.

    The second may not carry a change that the first hardly shows: bright fluid does.
    """
    limited = np.minimum(other, most * np.maximum(z, 0.0))
    return np.asarray((z + limited) / np.sqrt(2.0), np.float32)


def _with_seeds(candidates: Mask, seeds: Mask) -> Mask:
    """Keep the components of the candidates that hold a seed."""
    components, n = label_components(candidates)
    keep = np.zeros(n + 1, bool)
    keep[np.unique(components[candidates & seeds])] = True
    keep[0] = False
    return keep[components]


def _carry_on(
    current_lesions: Mask,
    reference_lesions: Mask,
    *,
    growth: Mask,
    fallen: Mask,
    changed: Mask,
    geometry: Geometry,
    limits: ChangeThresholds,
) -> Mask:
    """Carry the lesions of the reference visit on to this one, changed only where the images changed.

    Two segmentations of one unchanged head differ by many times the change that a trial looks for, mostly in
    whole lesions near the limit of acceptance. So a lesion of the reference visit stays as it was drawn,
    loses what darkened beyond the noise of the difference and is no lesion any more, and gains what
    brightened; what is separate from it is a lesion only as a new focus.
    """
    lesions = reference_lesions & (current_lesions | ~fallen)
    beside = _with_seeds(
        growth & current_lesions, ndimage.binary_dilation(reference_lesions, _ALL_NEIGHBOURS)
    )
    foci = geometry.label_foci(lesions | beside | changed, limits.min_volume_mm3)
    return (foci > 0) | changed


def _check(
    current: FloatArray,
    reference: FloatArray,
    current_lesions: Mask,
    reference_lesions: Mask,
    brain_mask: Mask,
    nawm: Mask,
    support: Support | None,
) -> None:
    images = {"current": current, "reference": reference}
    if support is not None:
        images |= {"support.current": support.current, "support.reference": support.reference}
    arrays = {
        **images,
        "current_lesions": current_lesions,
        "reference_lesions": reference_lesions,
        "brain_mask": brain_mask,
        "nawm": nawm,
    }
    for name, array in arrays.items():
        if array.shape != current.shape:
            msg = f"{name} must have the shape of current, {current.shape}, got {array.shape}"
            raise ValueError(msg)
    for name, image in images.items():
        if not np.isfinite(image[brain_mask]).all():
            msg = f"{name} must be finite inside brain_mask"
            raise ValueError(msg)
