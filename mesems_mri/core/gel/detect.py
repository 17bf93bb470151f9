"""Gadolinium-enhancing lesions (GEL) from post- and pre-contrast T1w and T2-type images.

A GEL is brighter after gadolinium beyond what noise and misregistration of this very pair explain, lies in
the parenchyma and has a T2-hyperintense correlate. Most that brightens is none: veins, sinuses, dura, choroid
plexus, pituitary. They are told apart by place (edge of the brain, CSF, priors), by the weak or missing
correlate, and by shape (thin, long, continued by bright vessels outside). Without a classifier place and
correlate are vetoes; to a classifier they are evidence like the others, and only the rim of the brain is
never asked about. Every rejected candidate is kept with its cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from mesems_mri.core.by_label import highest_by_label, mean_by_label
from mesems_mri.core.candidates import Candidates, Piece, gather
from mesems_mri.core.components import label_foci
from mesems_mri.core.gel.candidates import (
    Candidate,
    EnhancementImages,
    EnhancementMaps,
    EnhancementThresholds,
    cut_patches,
    describe,
    gather_maps,
)
from mesems_mri.core.gel.find import find_candidates
from mesems_mri.core.typing import FloatArray, Labels, Mask, Normal, Priors, RealArray, Spacing

Classify = Callable[[FloatArray, FloatArray], FloatArray]
"""Log odds that candidates are GEL, from their patches (`cut_patches`) and the log odds by hand weights."""


@dataclass(frozen=True)
class Rejected:
    """A candidate that is no GEL: centre (voxel), volume (mm3), score (0 to 1) and cause."""

    centre: tuple[float, float, float]
    volume_mm3: float
    score: float
    cause: str


@dataclass(frozen=True)
class Enhancement:
    """Foci (int32 dseg numbered from 1), the score of each (0 to 1), and what was rejected.

    ``candidates`` are all foci that were scored and not accepted, the faint ones included; ``rejected`` names
    those that stand out by themselves and what lies in places where no GEL can lie.
    """

    dseg: Labels
    scores: tuple[float, ...]
    rejected: tuple[Rejected, ...]
    candidates: Candidates


@dataclass(frozen=True)
class ScoredCandidates:
    """Candidates of a visit, score and cause of each, and bright foci in places where no GEL can lie."""

    maps: EnhancementMaps
    candidates: tuple[Candidate, ...]
    scores: tuple[tuple[float, str], ...]
    excluded: tuple[Rejected, ...]
    learned: bool = False


def detect_enhancement(
    post: RealArray,
    pre: RealArray | None,
    *,
    t2_images: Mapping[str, RealArray],
    brain_mask: Mask,
    priors: Priors,
    spacing_mm: Spacing,
    plane_normal: Normal = (0.0, 0.0, 1.0),
    slice_thickness_mm: float | None = None,
    nawm: Mask,
    thresholds: EnhancementThresholds | None = None,
    classify: Classify | None = None,
) -> Enhancement:
    """Detect gadolinium-enhancing lesions.

    Parameters
    ----------
    post, pre : ndarray of float, shape (x, y, z)
        Post- and pre-contrast T1w on one grid, NAWM near 1; they may differ in gain, bias and by less than
        1 mm in position. ``pre=None``: the post-contrast image is read alone, more strictly.
    t2_images : mapping of str to ndarray of float, shape (x, y, z)
        ``FLAIR``, ``T2w``, ``PDw``, those there are (at least one), NAWM scaled to 1.
    brain_mask, nawm : ndarray of bool, shape (x, y, z)
    priors : mapping of str to ndarray of float, shape (x, y, z)
        Tissue probabilities (0 to 1), right to some millimetres. Used when there: ``cortex``, ``deep_grey``,
        ``lateral_ventricles``, ``choroid_plexus``, ``brain``, ``brainstem``, ``cerebellum``.
    spacing_mm : tuple of float
        Voxel size (mm).
    plane_normal, slice_thickness_mm
        Acquired slices of the post-contrast image: normal in array axes and thickness (mm).
    thresholds : EnhancementThresholds, optional
        Defaults when None.
    classify : callable, optional
        Log odds that each candidate is a GEL, from its patch (`gel.candidates.cut_patches`) and the log odds
        by the weights set by hand. None: these alone decide, on fewer candidates: what lies in CSF, plexus or
        at the edge, or has no T2 correlate, is then none.

    Returns
    -------
    Enhancement

    Raises
    ------
    ValueError
        When there is no T2-type image, a shape differs, an image is not finite, or a mask is empty.
    """
    limits = thresholds or EnhancementThresholds()
    images = EnhancementImages(post, pre, t2_images, brain_mask, priors, spacing_mm, nawm)
    scored = score_candidates(images, plane_normal=plane_normal, thresholds=limits, classify=classify)
    return accept_foci(
        scored,
        limits.min_score,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
        thresholds=limits,
    )


def score_candidates(
    images: EnhancementImages,
    *,
    plane_normal: Normal = (0.0, 0.0, 1.0),
    thresholds: EnhancementThresholds | None = None,
    classify: Classify | None = None,
) -> ScoredCandidates:
    """Find candidates and score them; parameters as for `detect_enhancement`."""
    limits = thresholds or EnhancementThresholds()
    _validate(images)
    factor = 1.0 if images.pre is not None else limits.no_pre_factor
    faint = classify is not None
    maps = gather_maps(images, limits, faint=faint)
    candidates = find_candidates(
        maps, limits, plane_normal=plane_normal, nawm=images.nawm, factor=factor, faint=faint
    )
    scores = [score_by_hand(candidate, maps, limits, factor, faint=faint) for candidate in candidates]
    if classify is not None:
        candidates, scores = keep_likeliest(candidates, scores, limits.max_candidates)
        scores = _rescore(scores, candidates, maps, classify)
        scores = _outside_parenchyma(scores, candidates, maps, limits)
    seeds = maps.hot & (maps.z > factor * limits.seed_sigma)
    excluded = _rejected_by_place(seeds, maps, limits)
    return ScoredCandidates(maps, tuple(candidates), tuple(scores), excluded, classify is not None)


def accept_foci(
    scored: ScoredCandidates,
    least: float,
    *,
    plane_normal: Normal,
    slice_thickness_mm: float | None,
    thresholds: EnhancementThresholds | None = None,
) -> Enhancement:
    """Accept candidates that score at least ``least`` (parts where the whole was rejected).

    A ring is accepted as a whole where one of its parts is.
    """
    limits = thresholds or EnhancementThresholds()
    shape, spacing_mm = scored.maps.z.shape, scored.maps.spacing_mm
    rejected = list(scored.excluded)
    accepted = np.zeros(shape, bool)
    score_map = np.zeros(shape, np.float32)
    rejected_wholes: set[int] = set()
    considered: list[Piece] = []
    for number, (candidate, (score, cause)) in enumerate(zip(scored.candidates, scored.scores, strict=True)):
        inside, around = candidate.inside, candidate.around
        if candidate.parent is not None and candidate.parent not in rejected_wholes:
            continue
        if candidate.faint and (accepted[around] & inside).any():
            continue
        considered.append(Piece(inside, around, score, "too_small" if score >= least else cause))
        if score >= least:
            whole = scored.candidates[candidate.parent] if candidate.parent is not None else candidate
            if whole.ring:
                # A part of a ring, open or closed, is the ring.
                inside, around = whole.inside, whole.around
            accepted[around] |= inside
            score_map[around][inside] = np.maximum(score_map[around][inside], score)
            continue
        if scored.learned or cause == "vessel":
            rejected_wholes.add(number)
        # A candidate that stands out on average only is too faint to be shown to a reader.
        if not candidate.faint:
            centre = np.argwhere(inside).mean(axis=0) + [s.start for s in around]
            volume_mm3 = float(inside.sum() * np.prod(spacing_mm))
            rejected.append(Rejected(_triple(centre), volume_mm3, score, cause))
    dseg = label_foci(
        accepted,
        spacing_mm=spacing_mm,
        plane_normal=plane_normal,
        slice_thickness_mm=slice_thickness_mm,
        min_volume_mm3=limits.min_volume_mm3,
        min_diameter_mm=limits.min_diameter_mm,
    )
    scores = highest_by_label(score_map, dseg)[1:]
    return Enhancement(
        dseg,
        tuple(round(float(s), 3) for s in scores),
        tuple(rejected),
        gather(considered, shape, counted=dseg > 0),
    )


def keep_likeliest(
    candidates: list[Candidate], scores: list[tuple[float, str]], most: int
) -> tuple[list[Candidate], list[tuple[float, str]]]:
    """Keep at most so many candidates, by their scores; a part that loses its whole stands for itself."""
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i][0])[:most]
    chosen = sorted(i for i in ranked if scores[i][0] > 0)
    numbers = {old: new for new, old in enumerate(chosen)}
    kept = [
        replace(c, parent=None if c.parent is None else numbers.get(c.parent))
        for c in (candidates[i] for i in chosen)
    ]
    return kept, [scores[i] for i in chosen]


def score_by_hand(
    candidate: Candidate, maps: EnhancementMaps, limits: EnhancementThresholds, factor: float, *, faint: bool
) -> tuple[float, str]:
    """Score a candidate (0 to 1) by weights set by hand, and name the strongest cause for rejection.

    A candidate of score 0 is rejected without a classifier; ``faint``: also score what is below the sigmas
    of the seeds.
    """
    inside, around = candidate.inside, candidate.around
    increase, z = maps.increase[around][inside], maps.z[around][inside]
    weak = z.max() < factor * limits.seed_sigma
    # An average may stand out of the noise with less; but too little contrast is no enhancement on any scan.
    if increase.max() < factor * limits.seed_contrast or (weak and not faint):
        return 0.0, "below_noise"
    features = describe(candidate, maps)
    if features["ventricle"] > limits.max_ventricle and not faint:
        return 0.0, "choroid_plexus"
    evidence = _weigh_features(features)
    score = float(1.0 / (1.0 + np.exp(-sum(evidence.values()))))
    return score, "below_noise" if weak else min(evidence, key=lambda cause: evidence[cause])


def _rescore(
    scores: list[tuple[float, str]], candidates: list[Candidate], maps: EnhancementMaps, classify: Classify
) -> list[tuple[float, str]]:
    """Replace the scores by those of a classifier; the causes stay."""
    asked = [i for i, (score, _) in enumerate(scores) if score > 0]
    if not asked:
        return scores
    by_hand = np.clip([scores[i][0] for i in asked], 1e-6, 1 - 1e-6)
    patches = cut_patches(maps, [candidates[i] for i in asked])
    log_odds = classify(patches, np.log(by_hand / (1 - by_hand)).astype(np.float32))
    revised = list(scores)
    for i, value in zip(asked, log_odds, strict=True):
        revised[i] = (float(1.0 / (1.0 + np.exp(-float(value)))), scores[i][1])
    return revised


def _outside_parenchyma(
    scores: list[tuple[float, str]],
    candidates: list[Candidate],
    maps: EnhancementMaps,
    limits: EnhancementThresholds,
) -> list[tuple[float, str]]:
    """Leave to a reader what lies mostly inside the ventricles of this head: a GEL lies in the parenchyma."""
    kept = []
    for candidate, (score, cause) in zip(candidates, scores, strict=True):
        inside_ventricle = float(maps.ventricle[candidate.around][candidate.inside].mean())
        outside = inside_ventricle > limits.mostly_ventricle
        kept.append((min(score, limits.offered_score), "choroid_plexus") if outside else (score, cause))
    return kept


def _weigh_features(features: Mapping[str, float]) -> dict[str, float]:
    """Evidence for a GEL (above 0) and against (below 0), by the cause it would be rejected for.

    Round weights set by hand; each term is 0 where GEL and look-alikes are about equally frequent.
    """
    return {
        "no_t2_correlate": 4.0 * (features["overlap"] - 0.55)
        + 0.6 * (features["correlate_z"] - 2.0)
        - 2.0 * features["far_from_correlate"],
        "vessel": 3.0 * (features["compact"] - 0.5)
        - 4.0 * max(features["elongation"] - 1.6, 0)
        - 6.0 * (features["continued"] - 0.12)
        # A cut through a vein is as small as the smallest lesion, and there are more of them.
        + 0.8 * min(float(np.log(features["volume_mm3"] / 50.0)), 0.5)
        # No vein inside the brain is as thick as this.
        + min(max(features["radius_mm"] - 2.2, 0), 2.0),
        "choroid_plexus": -5.0 * max(features["ventricle"] - 0.15, 0)
        - 3.0 * max(features["choroid"] - 0.35, 0),
        "csf_space": -8.0 * max(features["csf"] - 0.08, 0) - 6.0 * max(0.6 - features["tissue"], 0),
    }


def _rejected_by_place(
    seeds: Mask, maps: EnhancementMaps, limits: EnhancementThresholds
) -> tuple[Rejected, ...]:
    """Bright foci that lie mostly where no GEL can lie, for the report."""
    places, spacing_mm = maps.places, maps.spacing_mm
    dseg = label_foci(seeds, spacing_mm=spacing_mm, min_volume_mm3=limits.min_volume_mm3)
    number = int(dseg.max())
    if number == 0:
        return ()
    labels = np.arange(1, number + 1)
    volumes = np.bincount(dseg.ravel(), minlength=number + 1)[1:] * float(np.prod(spacing_mm))
    centres = ndimage.center_of_mass(dseg > 0, dseg, labels)
    rejected = []
    taken = np.zeros(number, bool)
    for cause, place in places.items():
        share = mean_by_label(place, dseg)[1:]
        for i in np.flatnonzero((share > 0.5) & ~taken):
            taken[i] = True
            rejected.append(Rejected(_triple(centres[i]), float(volumes[i]), 0.0, cause))
    return tuple(rejected)


def _triple(centre: RealArray | tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = (round(float(c), 1) for c in centre)
    return x, y, z


def _validate(images: EnhancementImages) -> None:
    unknown = set(images.t2_images) - {"FLAIR", "T2w", "PDw"}
    if not images.t2_images or unknown:
        msg = f"t2_images must hold one or more of FLAIR, T2w, PDw, got {sorted(images.t2_images)}"
        raise ValueError(msg)
    if len(images.spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in images.spacing_mm):
        msg = f"spacing_mm must be three numbers above 0 mm, got {tuple(images.spacing_mm)}"
        raise ValueError(msg)
    named = {"post": images.post, **({} if images.pre is None else {"pre": images.pre}), **images.t2_images}
    for name, image in {**named, "brain_mask": images.brain_mask, "nawm": images.nawm}.items():
        if image.shape != images.post.shape or images.post.ndim != 3:
            msg = f"{name} must be 3D and of the shape of post, {images.post.shape}, got {image.shape}"
            raise ValueError(msg)
    for name, image in named.items():
        if not np.isfinite(image).all():
            count = int((~np.isfinite(image)).sum())
            msg = f"{name} must be finite, got {count} NaN or infinite voxels"
            raise ValueError(msg)
    for name, mask in (("brain_mask", images.brain_mask), ("nawm", images.nawm)):
        if np.count_nonzero(mask) < 30:
            msg = f"{name} must hold at least 30 voxels, got {int(np.count_nonzero(mask))}"
            raise ValueError(msg)
