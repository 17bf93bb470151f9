"""Agreement of detected lesions with reference lesions: found, false, matched one to one, volumes.

The lesion-wise rule is the one of the MSSEG-2 challenge (Commowick et al., Sci Rep 2018;8:13650): a reference
lesion is found when at least 10 % of it is covered by detections of which at most 70 % lie outside the
reference; a detection is true when the same holds with the roles exchanged. A mask of the whole white matter
therefore finds nothing, and neither does a detection of a few voxels inside a large lesion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from mesems_mri.core.components import MIN_VOLUME_MM3, as_mask, label_components
from mesems_mri.core.tally import ROUNDING, SIZE_CLASSES_MM3, Agreement, Focus, Tally, size_class
from mesems_mri.core.typing import Float64Array, Mask

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
        Voxels of which the truth is not known. They count on neither side; a component of which more than
        half is ignored is in no count, unless it is a detection that hits a reference lesion all the same.
    min_volume_mm3 : float
        Smaller components are in no count: those of the reference become ignored voxels (a detection there
        is no false alarm), those of the detections are left out.

    Returns
    -------
    Agreement
        Counts, volumes and the fate of every component.

    Raises
    ------
    ValueError
        If a shape or a voxel size does not fit.
    """
    truth_mask, detection_mask, ignore_mask, offset = _crop(truth, detection, ignore)
    spacing = np.asarray(spacing_mm, dtype=float)
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or np.any(spacing <= 0):
        msg = f"spacing_mm must be three positive numbers of mm, got {spacing_mm!r}"
        raise ValueError(msg)
    voxel_mm3 = float(np.prod(spacing))

    truth_dseg, truth_size = _label(truth_mask)
    detection_dseg, detection_size = _label(detection_mask)
    too_small = truth_size * voxel_mm3 < min_volume_mm3 - ROUNDING
    ignored_share = _share(truth_dseg, ignore_mask, truth_size)
    truth_out = too_small | (ignored_share > 0.5)
    ignore_mask = ignore_mask | np.concatenate(([False], truth_out))[truth_dseg]
    detection_small = detection_size * voxel_mm3 < min_volume_mm3 - ROUNDING

    # Only counted voxels enter the overlaps; the identity of a component stays that of the whole mask.
    valid = ~ignore_mask
    counted_truth = np.where(valid, truth_dseg, 0)
    counted_detection = np.where(valid, detection_dseg, 0)
    overlap = _overlap(counted_truth, counted_detection, truth_size.size, detection_size.size)
    truth_voxels = _voxels(counted_truth, truth_size.size)
    detection_voxels = _voxels(counted_detection, detection_size.size)
    overlap[:, detection_small] = 0
    truth_volume, detection_volume = (float(s.sum()) * voxel_mm3 for s in (truth_voxels, detection_voxels))

    found = _hit(overlap, truth_voxels, detection_voxels)
    true = _hit(overlap.T, detection_voxels, truth_voxels)
    ignored_share = _share(detection_dseg, ignore_mask, detection_size)
    detection_out = detection_small | ((ignored_share > 0.5) & ~true)
    pairs = _match(overlap, truth_voxels, detection_voxels)

    truth_volumes = truth_size * voxel_mm3
    detection_volumes = detection_size * voxel_mm3
    truth_centres = _centres(truth_dseg, truth_size, offset)
    detection_centres = _centres(detection_dseg, detection_size, offset)
    by_size = {name: Tally() for name in SIZE_CLASSES_MM3}
    overall = Tally()
    foci: list[Focus] = []
    for i in np.flatnonzero(~too_small):
        outcome = "ignored" if truth_out[i] else "found" if found[i] else "missed"
        foci.append(Focus("truth", outcome, float(truth_volumes[i]), truth_centres[i]))
        if not truth_out[i]:
            one = Tally(truth=1, found=int(found[i]), matched=int(i in pairs))
            overall, by_size = _count(overall, by_size, one, float(truth_volumes[i]))
    for j in np.flatnonzero(~detection_small):
        outcome = "ignored" if detection_out[j] else "true" if true[j] else "false"
        foci.append(Focus("detection", outcome, float(detection_volumes[j]), detection_centres[j]))
        if not detection_out[j]:
            one = Tally(detections=1, true_detections=int(true[j]))
            overall, by_size = _count(overall, by_size, one, float(detection_volumes[j]))

    both = int(np.count_nonzero(truth_mask & detection_mask & valid))
    return Agreement(
        overall=overall,
        by_size=by_size,
        truth_volume_mm3=truth_volume,
        detection_volume_mm3=detection_volume,
        overlap_mm3=both * voxel_mm3,
        ignored_truth=int(truth_out.sum()),
        ignored_detections=int(detection_out.sum()),
        foci=tuple(foci),
    )


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


def _label(mask: Mask) -> tuple[Counts, Counts]:
    """Components and their sizes in voxels (component ``i + 1`` at index ``i``)."""
    dseg, n = label_components(mask)
    dseg = dseg.astype(np.int64)
    return dseg, _voxels(dseg, n)


def _voxels(dseg: Counts, n: int) -> Counts:
    return np.bincount(dseg.ravel(), minlength=n + 1)[1:]


def _share(dseg: Counts, mask: Mask, size: Counts) -> Float64Array:
    """Share of each component that lies in the mask."""
    return _voxels(np.where(mask, dseg, 0), size.size) / size


def _overlap(truth: Counts, detection: Counts, n_truth: int, n_detection: int) -> Counts:
    """Count the common voxels, shape (n_truth, n_detection)."""
    codes = truth.ravel() * (n_detection + 1) + detection.ravel()
    table = np.bincount(codes, minlength=(n_truth + 1) * (n_detection + 1))
    return table.reshape(n_truth + 1, n_detection + 1)[1:, 1:]


def _hit(overlap: Counts, voxels: Counts, other_voxels: Counts) -> Mask:
    """Which components (rows) are hit by components of the other side (columns)."""
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


def _centres(dseg: Counts, size: Counts, offset: Counts) -> list[tuple[float, float, float]]:
    """Mean voxel index of each component in the uncropped array."""
    voxels = np.nonzero(dseg)
    labels = dseg[voxels]
    sums = [np.bincount(labels, weights=axis, minlength=size.size + 1)[1:] for axis in voxels]
    means = [total / size + corner for total, corner in zip(sums, offset, strict=True)]
    return [(float(i), float(j), float(k)) for i, j, k in zip(*means, strict=True)]


def _count(
    overall: Tally, by_size: dict[str, Tally], one: Tally, volume_mm3: float
) -> tuple[Tally, dict[str, Tally]]:
    name = size_class(volume_mm3)
    if name is not None:
        by_size[name] = by_size[name] + one
    return overall + one, by_size
