"""Agreement of detected lesions with reference lesions: found, false, matched one to one, volumes.

The lesion-wise rule is the one of the MSSEG-2 challenge (Commowick et al., Sci Rep 2018;8:13650): a reference
lesion is found when at least 10 % of it is covered by detections of which at most 70 % lie outside the
reference; a detection is true when the same holds with the roles exchanged. A mask of the whole white matter
therefore finds nothing, and neither does a detection of a few voxels inside a large lesion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from mesems_mri.core.components import MIN_VOLUME_MM3, as_mask, label_components
from mesems_mri.core.tally import ROUNDING, SIZE_CLASSES_MM3, Agreement, FocusOutcome, Tally, size_class
from mesems_mri.core.typing import Float64Array, Mask, RealArray

MIN_COVERED = 0.10
MAX_OUTSIDE = 0.70

Counts = npt.NDArray[np.int64]


def compare_masks(
    truth: npt.ArrayLike,
    detection: npt.ArrayLike,
    *,
    spacing_mm: Sequence[float],
    ignore: npt.ArrayLike | None = None,
    min_volume_mm3: float = MIN_VOLUME_MM3,
) -> Agreement:
    """Compare detected with reference lesions on one grid.

    Parameters
    ----------
    truth, detection : array_like of bool, shape (x, y, z)
        Masks on the same grid. Lesions are their 26-connected components.
    spacing_mm : sequence of three float
        Voxel size.
    ignore : array_like of bool, shape (x, y, z), optional
        Voxels without a reference standard. They count on neither side; a component of which more than half
        is ignored is in no count, unless it is a detection that hits a reference lesion all the same.
    min_volume_mm3 : float
        Smaller components are in no count: those of the reference become ignored voxels (a detection there
        is no false alarm), those of the detections are left out.

    Returns
    -------
    Agreement
        Counts, volumes and the outcome of every component.

    Raises
    ------
    ValueError
        If a shape or a voxel size does not fit.
    """
    truth_mask, detection_mask, ignore_mask, corner = _crop(truth, detection, ignore)
    voxel_mm3 = _voxel_volume_mm3(spacing_mm)
    lesions = _Components.of(truth_mask, voxel_mm3, min_volume_mm3, corner)
    detected = _Components.of(detection_mask, voxel_mm3, min_volume_mm3, corner)
    truth_out = lesions.small | (lesions.share_in(ignore_mask) > 0.5)
    ignore_mask = ignore_mask | np.concatenate(([False], truth_out))[lesions.dseg]

    valid = ~ignore_mask
    overlap, truth_voxels, detection_voxels = _counted_overlap(lesions, detected, valid)
    found = _hit(overlap, truth_voxels, detection_voxels)
    true = _hit(overlap.T, detection_voxels, truth_voxels)
    detection_out = detected.small | ((detected.share_in(ignore_mask) > 0.5) & ~true)
    pairs = _match(overlap, truth_voxels, detection_voxels)
    counted = list(_reference_outcomes(lesions, truth_out, found, pairs))
    counted += _detection_outcomes(detected, detection_out, true)
    overall, by_size = _add_up(counted)
    both = int(np.count_nonzero(truth_mask & detection_mask & valid))
    return Agreement(
        overall=overall,
        by_size=by_size,
        truth_volume_mm3=float(truth_voxels.sum()) * voxel_mm3,
        detection_volume_mm3=float(detection_voxels.sum()) * voxel_mm3,
        overlap_mm3=both * voxel_mm3,
        ignored_truth=int(truth_out.sum()),
        ignored_detections=int(detection_out.sum()),
        foci=tuple(outcome for outcome, _ in counted),
    )


@dataclass(frozen=True, eq=False)
class _Components:
    """Components of one side; component ``i + 1`` of the dseg stands at index ``i``."""

    dseg: Counts
    size: Counts
    volumes_mm3: RealArray
    centres: list[tuple[float, float, float]]
    small: Mask
    """Components below the minimum volume."""

    @classmethod
    def of(cls, mask: Mask, voxel_mm3: float, min_volume_mm3: float, corner: Counts) -> Self:
        """Label a mask that was cropped at a corner of the whole array."""
        labels, n = label_components(mask)
        dseg = labels.astype(np.int64)
        size = _voxels(dseg, n)
        small = size * voxel_mm3 < min_volume_mm3 - ROUNDING
        return cls(dseg, size, size * voxel_mm3, _centres(dseg, size, corner), small)

    def share_in(self, mask: Mask) -> Float64Array:
        """Return the share of each component that lies in a mask."""
        return _voxels(np.where(mask, self.dseg, 0), self.size.size) / self.size


def _counted_overlap(
    lesions: _Components, detected: _Components, valid: Mask
) -> tuple[Counts, Counts, Counts]:
    """Count the voxels that each lesion shares with each detection, and those of each side.

    Only counted voxels enter; the identity of a component stays that of the whole mask.
    """
    counted_truth = np.where(valid, lesions.dseg, 0)
    counted_detection = np.where(valid, detected.dseg, 0)
    overlap = _overlap(counted_truth, counted_detection, lesions.size.size, detected.size.size)
    overlap[:, detected.small] = 0
    return (
        overlap,
        _voxels(counted_truth, lesions.size.size),
        _voxels(counted_detection, detected.size.size),
    )


def _reference_outcomes(
    lesions: _Components, out: Mask, found: Mask, pairs: Mapping[int, int]
) -> Iterator[tuple[FocusOutcome, Tally]]:
    """Yield what became of every reference lesion, and its part in the tally."""
    for i in np.flatnonzero(~lesions.small).tolist():
        outcome = "ignored" if out[i] else "found" if found[i] else "missed"
        tally = Tally() if out[i] else Tally(truth=1, found=int(found[i]), matched=int(i in pairs))
        yield FocusOutcome("truth", outcome, float(lesions.volumes_mm3[i]), lesions.centres[i]), tally


def _detection_outcomes(detected: _Components, out: Mask, true: Mask) -> Iterator[tuple[FocusOutcome, Tally]]:
    """Yield what became of every detection, and its part in the tally."""
    for j in np.flatnonzero(~detected.small).tolist():
        outcome = "ignored" if out[j] else "true" if true[j] else "false"
        tally = Tally() if out[j] else Tally(detections=1, true_detections=int(true[j]))
        yield FocusOutcome("detection", outcome, float(detected.volumes_mm3[j]), detected.centres[j]), tally


def _add_up(counted: Iterable[tuple[FocusOutcome, Tally]]) -> tuple[Tally, dict[str, Tally]]:
    """Add the tallies of all components, and of those of each size class."""
    overall, by_size = Tally(), {name: Tally() for name in SIZE_CLASSES_MM3}
    for outcome, tally in counted:
        overall += tally
        name = size_class(outcome.volume_mm3)
        if name is not None:
            by_size[name] += tally
    return overall, by_size


def _voxel_volume_mm3(spacing_mm: Sequence[float]) -> float:
    spacing = np.asarray(spacing_mm, dtype=float)
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        msg = f"spacing_mm must be three positive numbers of mm, got {spacing_mm!r}"
        raise ValueError(msg)
    return float(np.prod(spacing))


def _crop(
    truth: npt.ArrayLike, detection: npt.ArrayLike, ignore: npt.ArrayLike | None
) -> tuple[Mask, Mask, Mask, Counts]:
    """Masks cropped to the box of both, and its corner."""
    truth_mask = as_mask(truth, "truth")
    detection_mask = as_mask(detection, "detection")
    ignore_mask = np.zeros_like(truth_mask) if ignore is None else as_mask(ignore, "ignore")
    for name, mask in (("truth", truth_mask), ("detection", detection_mask), ("ignore", ignore_mask)):
        if mask.shape != truth_mask.shape:
            msg = f"{name} must have the shape of truth {truth_mask.shape}, got {mask.shape}"
            raise ValueError(msg)
    used = truth_mask | detection_mask
    if not used.any():
        empty = np.zeros((1, 1, 1), dtype=bool)
        return empty, empty.copy(), empty.copy(), np.zeros(3, dtype=np.int64)
    spans = [np.flatnonzero(used.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(span[0], span[-1] + 1) for span in spans)
    corner = np.array([span[0] for span in spans], dtype=np.int64)
    return truth_mask[box], detection_mask[box], ignore_mask[box], corner


def _voxels(dseg: Counts, n: int) -> Counts:
    return np.bincount(dseg.ravel(), minlength=n + 1)[1:]


def _overlap(truth: Counts, detection: Counts, n_truth: int, n_detection: int) -> Counts:
    """Count the common voxels, shape (n_truth, n_detection)."""
    codes = truth.ravel() * (n_detection + 1) + detection.ravel()
    table = np.bincount(codes, minlength=(n_truth + 1) * (n_detection + 1))
    return table.reshape(n_truth + 1, n_detection + 1)[1:, 1:]


def _hit(overlap: Counts, voxels: Counts, other_voxels: Counts) -> Mask:
    """Return the components (rows) that are hit by components of the other side (columns), as a mask."""
    inside = overlap.sum(axis=0)
    qualifies = (other_voxels > 0) & (other_voxels - inside <= MAX_OUTSIDE * other_voxels + ROUNDING)
    covered = overlap[:, qualifies].sum(axis=1)
    return (voxels > 0) & (covered > 0) & (covered >= MIN_COVERED * voxels - ROUNDING)


def _match(overlap: Counts, truth_voxels: Counts, detection_voxels: Counts) -> dict[int, int]:
    """One-to-one pairs: as many as possible, and among those the largest total Jaccard overlap.

    A pair is allowed under the thresholds of the lesion-wise rule, applied to these two components alone.
    The assignment is Hungarian (scipy).
    """
    if overlap.size == 0:
        return {}
    allowed = overlap > 0
    allowed &= overlap >= MIN_COVERED * truth_voxels[:, None] - ROUNDING
    allowed &= overlap >= (1 - MAX_OUTSIDE) * detection_voxels[None, :] - ROUNDING
    union = np.maximum(truth_voxels[:, None] + detection_voxels[None, :] - overlap, 1)
    # One more pair outweighs every possible gain in overlap, since a Jaccard overlap is at most 1.
    weight = np.where(allowed, min(overlap.shape) + 1 + overlap / union, 0.0)
    rows, columns = linear_sum_assignment(weight, maximize=True)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if allowed[i, j]}


def _centres(dseg: Counts, size: Counts, corner: Counts) -> list[tuple[float, float, float]]:
    """Mean voxel index of each component in the uncropped array."""
    voxels = np.nonzero(dseg)
    labels = dseg[voxels]
    sums = [np.bincount(labels, weights=axis, minlength=size.size + 1)[1:] for axis in voxels]
    means = [total / size + start for total, start in zip(sums, corner, strict=True)]
    return [(float(i), float(j), float(k)) for i, j, k in zip(*means, strict=True)]
