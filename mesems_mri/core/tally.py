"""Counts and volumes of a comparison with a reference standard: added over visits, with their figures.

Nothing here divides by zero: a figure that is not defined (a sensitivity without a reference lesion, a
precision without a detection) is ``None``. F1 and Dice are ``None`` only if both sides are empty, and 0 if
exactly one is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Literal

# Half-open: a lesion of exactly 27 mm3 belongs to "27-70", one of exactly 500 mm3 to ">=500".
SIZE_CLASSES_MM3: Mapping[str, tuple[float, float]] = {
    "14-27": (14.0, 27.0),
    "27-70": (27.0, 70.0),
    "70-500": (70.0, 500.0),
    ">=500": (500.0, math.inf),
}

# Volumes are sums of products of header floats; a 14 mm3 lesion must not fall out by a rounding error.
ROUNDING = 1e-6


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


@dataclass(frozen=True)
class Tally:
    """Lesion counts; tallies of several visits are added.

    Attributes
    ----------
    truth, found : int
        Reference lesions, and those of them that were found.
    detections, true_detections : int
        Detections, and those of them that are true. ``found`` and ``true_detections`` may differ, since one
        detection may find two lesions and two detections one lesion.
    matched : int
        Pairs in the one-to-one matching.
    """

    truth: int = 0
    found: int = 0
    detections: int = 0
    true_detections: int = 0
    matched: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Add the counts of another visit."""
        return Tally(
            self.truth + other.truth,
            self.found + other.found,
            self.detections + other.detections,
            self.true_detections + other.true_detections,
            self.matched + other.matched,
        )

    @property
    def false_detections(self) -> int:
        """Detections that are not true."""
        return self.detections - self.true_detections

    @property
    def sensitivity(self) -> float | None:
        """Share of the reference lesions that were found; None without a reference lesion."""
        return _ratio(self.found, self.truth)

    @property
    def precision(self) -> float | None:
        """Share of the detections that are true; None without a detection."""
        return _ratio(self.true_detections, self.detections)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of sensitivity and precision; None if both sides are empty, 0 if one is."""
        if self.truth == 0 and self.detections == 0:
            return None
        sensitivity, precision = self.sensitivity or 0.0, self.precision or 0.0
        total = sensitivity + precision
        return 2.0 * sensitivity * precision / total if total > 0 else 0.0

    @property
    def f1_matched(self) -> float | None:
        """F1 of the one-to-one matching, which punishes splitting and merging."""
        return _ratio(2.0 * self.matched, self.truth + self.detections)

    @property
    def count_error(self) -> int:
        """Detections minus reference lesions."""
        return self.detections - self.truth


@dataclass(frozen=True)
class FocusOutcome:
    """Outcome of the comparison for one reference lesion or detection.

    Attributes
    ----------
    side : {"truth", "detection"}
        Side that the component belongs to.
    outcome : {"found", "missed", "true", "false", "ignored"}
        ``found`` or ``missed`` for a reference lesion, ``true`` or ``false`` for a detection.
    volume_mm3 : float
        Volume of the whole component.
    centre_voxel : tuple of float
        Mean of the voxel indices (i, j, k) in the array given.
    """

    side: Literal["truth", "detection"]
    outcome: Literal["found", "missed", "true", "false", "ignored"]
    volume_mm3: float
    centre_voxel: tuple[float, float, float]


@dataclass(frozen=True)
class Agreement:
    """Agreement of one pair of masks, or of several added together.

    Attributes
    ----------
    overall : Tally
        All sizes.
    by_size : dict of str to Tally
        Per class of :data:`SIZE_CLASSES_MM3`: reference lesions (and matches) by their own volume, detections
        by theirs.
    truth_volume_mm3, detection_volume_mm3, overlap_mm3 : float
        Volumes outside the ignored voxels.
    ignored_truth, ignored_detections : int
        Components that are in no count: too small, or on ignored voxels.
    foci : tuple of FocusOutcome
        Every component of at least the minimum volume, reference first.
    """

    overall: Tally = Tally()
    by_size: Mapping[str, Tally] = field(default_factory=lambda: {name: Tally() for name in SIZE_CLASSES_MM3})
    truth_volume_mm3: float = 0.0
    detection_volume_mm3: float = 0.0
    overlap_mm3: float = 0.0
    ignored_truth: int = 0
    ignored_detections: int = 0
    foci: tuple[FocusOutcome, ...] = ()

    def __add__(self, other: Agreement) -> Agreement:
        """Pool with another visit: counts and volumes are added."""
        return Agreement(
            self.overall + other.overall,
            {name: self.by_size[name] + other.by_size[name] for name in SIZE_CLASSES_MM3},
            self.truth_volume_mm3 + other.truth_volume_mm3,
            self.detection_volume_mm3 + other.detection_volume_mm3,
            self.overlap_mm3 + other.overlap_mm3,
            self.ignored_truth + other.ignored_truth,
            self.ignored_detections + other.ignored_detections,
            self.foci + other.foci,
        )

    @property
    def dice(self) -> float | None:
        """Dice overlap of the voxels; None if both masks are empty, 0 if one is."""
        return _ratio(2.0 * self.overlap_mm3, self.truth_volume_mm3 + self.detection_volume_mm3)

    @property
    def volume_ratio(self) -> float | None:
        """Detected over reference volume; None without reference volume."""
        return _ratio(self.detection_volume_mm3, self.truth_volume_mm3)


def pool(agreements: Iterable[Agreement]) -> Agreement:
    """Add the agreements of several visits (an empty sum has no lesions and no defined figure)."""
    return reduce(add, agreements, Agreement())


def size_class(volume_mm3: float) -> str | None:
    """Name of the half-open size class of a volume in mm3; None below the smallest class."""
    for name, (lower, upper) in SIZE_CLASSES_MM3.items():
        if lower - ROUNDING <= volume_mm3 < upper - ROUNDING:
            return name
    return None
