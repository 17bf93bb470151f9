"""Images of one visit: the same head, its mirror image, another head, and too little to tell."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.images.same_head import SeriesComparison, compare_series
from mesems_mri.images.volume import Volume

AFFINE = np.diag([2.5, 2.5, 2.5, 1.0])
AFFINE[:3, 3] = -40.0
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
SHAPE = (33, 33, 33)


def brain() -> np.ndarray:
    x, y, z = np.ogrid[-40:40:33j, -40:40:33j, -40:40:33j]
    return (x / 30) ** 2 + (y / 36) ** 2 + (z / 30) ** 2 < 1


@cache
def folds(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(noise, 1.2)
    return smooth / smooth.std()


def scan(array: np.ndarray) -> Volume:
    return Volume(np.where(brain(), 500 + 100 * array, 0).astype(np.float32), AFFINE)


def compared(moving: Volume) -> SeriesComparison:
    return compare_series(scan(folds(1)), moving, np.eye(4), brain(), MIRROR)


@pytest.mark.parametrize(
    ("moving", "verdict"),
    [
        (folds(1) + 0.6 * folds(3), "same"),
        (2 - 1.5 * folds(1), "same"),  # another contrast: what was bright is dark
        (2 - 1.5 * folds(1)[::-1], "mirrored"),
        (folds(2), "other"),
    ],
)
def test_a_series_is_of_the_same_head_and_the_same_way_round_or_not(moving: np.ndarray, verdict: str) -> None:
    found = compared(scan(moving))
    assert found.verdict == verdict
    assert found.flags == ()


def test_the_mirror_image_is_asked_only_in_doubt() -> None:
    assert compared(scan(folds(1))).mirrored_score is None
    found = compare_series(scan(folds(1)), scan(folds(1)), np.eye(4), brain(), MIRROR, sure=2.0)
    assert found.mirrored_score is not None
    assert found.score > 0.9 > 0.4 > found.mirrored_score


@pytest.mark.parametrize(
    ("score", "mirrored_score", "places", "verdict"),
    [
        (0.70, None, 50000.0, "same"),
        (0.60, 0.25, 50000.0, "same"),
        (0.36, 0.25, 50000.0, "same"),
        (0.25, 0.60, 50000.0, "mirrored"),
        (0.22, 0.24, 50000.0, "other"),
        # hardly ahead of its mirror image: told to a reader, not refused
        (0.50, 0.48, 50000.0, "unsure"),
        (0.48, 0.50, 50000.0, "unsure"),
        # too little of the brain says nothing
        (0.0, 0.0, 900.0, "unsure"),
    ],
)
def test_verdict(score: float, mirrored_score: float | None, places: float, verdict: str) -> None:
    found = SeriesComparison(score, mirrored_score, places)
    assert found.verdict == verdict
    assert found.flags == (("series_unconfirmed",) if verdict == "unsure" else ())
