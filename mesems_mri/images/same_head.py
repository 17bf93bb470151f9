"""Wrong-head test: a wrong or mirrored head, or a failed registration, against the right one.

After a rigid registration the folds of one brain lie on each other, whatever the contrast; those of two
brains do not, however alike the outlines. So each place is tested: does its neighbourhood
match best where it is, or better when the other scan is moved by 5 mm in one of 26 directions? Lesions,
contrast, noise and thick slices blur the answer of single places, not the share of places that agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

import numpy as np
from scipy import ndimage

from mesems_mri.core.typing import Affine, FloatArray, Mask
from mesems_mri.images.greedy import average_down, run_greedy
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume

OTHER_CONTRAST_THRESHOLD: Final = 0.37
"""Share of places that match best where they are, from which two scans show one head."""
SAME_CONTRAST_THRESHOLD: Final = 0.6
"""The same for scans of one contrast, where a mirrored head reaches 0.45 and the right one 0.9."""
OTHER_SERIES_THRESHOLD: Final = 0.33
"""Share of places from which two images of a visit show one head, as they are or one of them mirrored."""
SURE_SERIES_THRESHOLD: Final = 0.5
"""Share from which the mirror image need not be asked: mirrored series reach half of it."""
MIRROR_MARGIN: Final = 0.05
"""By so much the right way round is ahead of the other."""
_SPACING_MM: Final = 2.5
# Thick slices keep their in-plane detail: a blur to the thicker slice made right heads score lower.
_RESOLUTION_MM: Final = 2.5
_WINDOW: Final = 5
_SHIFT: Final = 2
_MIN_PLACES: Final = 3000  # 47 ml: less says nothing of a head
_MM_PER_SIGMA: Final = 2.355
_FLAT: Final = 1e-3
_COARSE_MM: Final = 4.0
_COARSE_SCHEDULE: Final = "60"


@dataclass(frozen=True, eq=False)
class HeadComparison:
    """Outcome of the wrong-head test of two registered scans.

    Parameters
    ----------
    same_head : bool
        False for a wrong head, for a mirrored one, and for a registration that failed.
    score : float
        Share of places (0 to 1) that match best where they are; chance is 1/27.
    details : mapping of str to float
        `threshold`, `mask_dice`, `places` (how many were asked), `correlation` (of the two images) and
        `gain` (mean squared local correlation in place, less that of the moved positions, relative to a
        perfect match).
    """

    same_head: bool
    score: float
    details: Mapping[str, float]


def _common_grid(fixed: Volume, mask: Mask) -> Grid:
    """Return a grid along the world axes around the fixed brain."""
    index = np.argwhere(mask)
    low, high = index.min(axis=0), index.max(axis=0)
    corners = np.array([[*corner, 1.0] for corner in product(*zip(low, high, strict=True))]) @ fixed.affine.T
    margin_mm = _SPACING_MM * _SHIFT
    start = np.floor(corners[:, :3].min(axis=0) - margin_mm)
    nx, ny, nz = np.ceil((corners[:, :3].max(axis=0) + margin_mm - start) / _SPACING_MM).astype(int) + 1
    affine = np.diag([_SPACING_MM, _SPACING_MM, _SPACING_MM, 1.0])
    affine[:3, 3] = start
    return Grid((int(nx), int(ny), int(nz)), affine)


def _blurred(volume: Volume, mask: Mask) -> Volume:
    low, high = np.percentile(volume.array[mask], [1, 99])
    sigma = [np.sqrt(max(0.0, _RESOLUTION_MM**2 - s**2)) / _MM_PER_SIGMA / s for s in volume.spacing_mm]
    return Volume(ndimage.gaussian_filter(np.clip(volume.array, low, high), sigma), volume.affine)


def _standardised(image: FloatArray, mask: Mask) -> FloatArray:
    inside = image[mask].astype(np.float64)
    spread = float(inside.std()) or 1.0
    return np.where(mask, (image - inside.mean()) / spread, 0).astype(np.float32)


def _local_match(fixed: FloatArray, moving: FloatArray, fixed_mask: Mask, moving_mask: Mask) -> FloatArray:
    """Return the squared local correlation inside both masks, 0 where there is nothing to compare."""

    def local_sum(image: FloatArray) -> FloatArray:
        return ndimage.uniform_filter(image, _WINDOW, mode="constant")

    both = fixed_mask & moving_mask
    share = local_sum(both.astype(np.float32))
    enough = share > 0.5
    share[~enough] = 1
    f, m = np.where(both, fixed, 0), np.where(both, moving, 0)
    f_mean, m_mean = local_sum(f) / share, local_sum(m) / share
    covariance = local_sum(f * m) / share - f_mean * m_mean
    f_variance = local_sum(f * f) / share - f_mean**2
    m_variance = local_sum(m * m) / share - m_mean**2
    textured = enough & (f_variance > _FLAT) & (m_variance > _FLAT)
    return np.where(textured, covariance**2 / np.maximum(f_variance * m_variance, _FLAT**2), 0).astype(
        np.float32
    )


def compare_heads(
    fixed: Volume,
    moving: Volume,
    matrix: Affine,
    fixed_mask: Mask,
    moving_mask: Mask,
    *,
    same_contrast: bool = False,
) -> HeadComparison:
    """Compare the heads of two rigidly registered scans.

    Parameters
    ----------
    fixed, moving : Volume
        Any contrasts, grids and orientations; whole heads or skull-stripped.
    matrix : ndarray of float64, shape (4, 4)
        RAS mm of the fixed -> RAS mm of the moving scan, from `register_rigid`.
    fixed_mask, moving_mask : ndarray of bool, shape (x, y, z)
        Brain masks on the grids of the scans.
    same_contrast : bool
        Both are T1w (with or without gadolinium), both T2w, or both FLAIR: the threshold is higher, and a
        mirrored head is recognised too, which without this passes for the right one.

    Returns
    -------
    HeadComparison
        Brains that share too little to tell are not confirmed: `same_head` is False, `score` 0.
    """
    (f, f_mask), (m, m_mask) = _on_common_grid(fixed, moving, matrix, fixed_mask, moving_mask)
    score, details = _agreement(f, m, f_mask, m_mask)
    threshold = SAME_CONTRAST_THRESHOLD if same_contrast else OTHER_CONTRAST_THRESHOLD
    return HeadComparison(score >= threshold, score, {"threshold": threshold, **details})


@dataclass(frozen=True, eq=False)
class SeriesComparison:
    """Outcome of the comparison of two images of one visit.

    Parameters
    ----------
    score : float
        Share of places (0 to 1) that match best where they are.
    mirrored_score : float or None
        The same of the mirror image of the moving scan, which was registered too; None where the score left
        no doubt.
    places : float
        How many places were asked.
    """

    score: float
    mirrored_score: float | None
    places: float

    @property
    def verdict(self) -> Literal["same", "mirrored", "other", "unsure"]:
        """Verdict on the two images: one head the same way round, or not.

        ``unsure`` where they share too little to tell, or are hardly more alike than the mirror image is.
        """
        if self.mirrored_score is None:
            return "same"
        ahead = self.score - self.mirrored_score
        if self.places < _MIN_PLACES:
            return "unsure"
        if ahead <= -MIRROR_MARGIN and self.mirrored_score >= OTHER_SERIES_THRESHOLD:
            return "mirrored"
        if self.score < OTHER_SERIES_THRESHOLD:
            return "other"
        return "same" if ahead >= MIRROR_MARGIN else "unsure"

    @property
    def flags(self) -> tuple[str, ...]:
        """Codes of ``qc_flags``."""
        return ("series_unconfirmed",) if self.verdict == "unsure" else ()


def compare_series(
    fixed: Volume,
    moving: Volume,
    matrix: Affine,
    fixed_mask: Mask,
    mirror: Affine,
    *,
    sure: float = SURE_SERIES_THRESHOLD,
) -> SeriesComparison:
    """Compare two images of one visit, the second also as its mirror image.

    Parameters
    ----------
    fixed, moving : Volume
        Any contrasts, grids and orientations.
    matrix : ndarray of float64, shape (4, 4)
        RAS mm of the fixed -> RAS mm of the moving scan, from `register_rigid`.
    fixed_mask : ndarray of bool, shape (x, y, z)
        Brain mask on the grid of the fixed scan.
    mirror : ndarray of float64, shape (4, 4)
        Reflection across the midsagittal plane of the fixed head, RAS mm.
    sure : float
        Score from which the mirror image is not asked.

    Returns
    -------
    SeriesComparison
    """
    score, places = _series_score(fixed, moving, matrix, fixed_mask)
    if score >= sure:
        return SeriesComparison(score, None, places)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    twin = Volume(moving.array, flip @ moving.affine)
    start = flip @ matrix @ mirror
    coarse = average_down(twin, _carried(fixed, fixed_mask, twin, start), _COARSE_MM)
    xfm = run_greedy(average_down(fixed, fixed_mask, _COARSE_MM), coarse, start, _COARSE_SCHEDULE)
    mirrored_score, _ = _series_score(fixed, twin, xfm, fixed_mask)
    return SeriesComparison(score, mirrored_score, places)


def _series_score(fixed: Volume, moving: Volume, matrix: Affine, fixed_mask: Mask) -> tuple[float, float]:
    """Return the share of places that match best where they are, and how many were asked."""
    mask = _carried(fixed, fixed_mask, moving, matrix)
    (f, f_mask), (m, m_mask) = _on_common_grid(fixed, moving, matrix, fixed_mask, mask)
    score, details = _agreement(f, m, f_mask, m_mask)
    return score, details["places"]


def _carried(fixed: Volume, mask: Mask, moving: Volume, matrix: Affine) -> Mask:
    """Return the brain mask of the fixed scan on the grid of the moving one."""
    source = Volume(mask.astype(np.float32), fixed.affine)
    carried = resample_image(source, moving.grid, np.linalg.inv(matrix).astype(np.float64), order=1) > 0.5
    return carried if carried.any() else np.ones(moving.shape, dtype=bool)


def _agreement(f: FloatArray, m: FloatArray, f_mask: Mask, m_mask: Mask) -> tuple[float, dict[str, float]]:
    """Return the share of places that match best where they are, 0 if too few can be asked, and details."""
    dice = 2 * float((f_mask & m_mask).sum()) / max(1.0, float(f_mask.sum() + m_mask.sum()))
    in_place = _local_match(f, m, f_mask, m_mask)
    asked = f_mask & m_mask & (in_place > 0)
    places = int(asked.sum())
    correlation = float(np.corrcoef(f[asked], m[asked])[0, 1]) if places > 1 else 0.0
    details = {"mask_dice": dice, "places": float(places), "correlation": correlation}
    if places < _MIN_PLACES:
        return 0.0, details
    best_moved, chance = _moved_match(f, m, f_mask, m_mask, asked)
    details["gain"] = (float(in_place[asked].mean(dtype=np.float64)) - chance) / (1 - chance)
    return float((in_place[asked] >= best_moved).mean()), details


def _on_common_grid(
    fixed: Volume, moving: Volume, matrix: Affine, fixed_mask: Mask, moving_mask: Mask
) -> list[tuple[FloatArray, Mask]]:
    """Return both scans, standardised inside their brains, and the brain masks on one grid."""
    grid = _common_grid(fixed, fixed_mask)
    resampled = []
    for volume, mask, xfm in ((fixed, fixed_mask, np.eye(4)), (moving, moving_mask, matrix)):
        inside = resample_image(Volume(mask.astype(np.float32), volume.affine), grid, xfm) > 0.5
        image = resample_image(_blurred(volume, mask), grid, xfm)
        resampled.append((_standardised(image, inside) if inside.any() else image, inside))
    return resampled


def _moved_match(
    fixed: FloatArray, moving: FloatArray, fixed_mask: Mask, moving_mask: Mask, asked: Mask
) -> tuple[FloatArray, float]:
    """Return the best match of each place over the moved positions, and the mean match of those (chance)."""
    best_moved = np.zeros(int(asked.sum()), dtype=np.float32)
    mean_moved = []
    for shift in product((-_SHIFT, 0, _SHIFT), repeat=3):
        if not any(shift):
            continue
        rolled, rolled_mask = np.roll(moving, shift, (0, 1, 2)), np.roll(moving_mask, shift, (0, 1, 2))
        moved = _local_match(fixed, rolled, fixed_mask, rolled_mask)[asked]
        np.maximum(best_moved, moved, out=best_moved)
        mean_moved.append(float(moved.mean(dtype=np.float64)))
    return best_moved, float(np.mean(mean_moved))
