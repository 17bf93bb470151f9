"""The outline of a focus that somebody points at."""

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core.outline import grow_focus

SHAPE = (40, 40, 40)
SPACING = (1.0, 1.0, 1.0)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    return sum((g - c) ** 2 for g, c in zip(np.indices(SHAPE), centre, strict=True)) <= radius**2


def grow(level: np.ndarray, seed: tuple[int, int, int], allowed: np.ndarray | None = None) -> np.ndarray:
    normal = np.abs(level - 1.0) < 0.1
    allowed = np.ones(SHAPE, bool) if allowed is None else allowed
    return grow_focus(level, seed, allowed=allowed, normal=normal, spacing_mm=SPACING)


@pytest.mark.parametrize("contrast", [0.2, 0.5, 2.0])
@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_volume_does_not_depend_on_brightness(contrast: float, blur: float) -> None:
    focus = ball((20, 20, 20), 4.0)
    level = (1 + contrast * ndimage.gaussian_filter(focus.astype(np.float32), blur)).astype(np.float32)
    grown = grow(level, (20, 21, 20))
    assert grown.sum() == pytest.approx(focus.sum(), rel=0.25)
    assert grown[20, 20, 20]


def test_other_focus_is_left_out_and_ring_is_filled() -> None:
    ring = ball((20, 20, 20), 5.0) & ~ball((20, 20, 20), 3.0)
    other = ball((33, 20, 20), 3.0)
    grown = grow((1 + 0.5 * (ring | other)).astype(np.float32), (20, 20, 24))
    assert (grown == ball((20, 20, 20), 5.0)).all()


def test_nothing_stands_out_of_noise() -> None:
    noise = np.random.default_rng(1).normal(1.0, 0.03, SHAPE).astype(np.float32)
    assert not any(grow(noise, seed).any() for seed in ((20, 20, 20), (5, 5, 5), (30, 12, 9)))


def test_focus_stays_in_what_is_allowed() -> None:
    allowed = np.zeros(SHAPE, bool)
    allowed[:21] = True
    grown = grow((1 + 0.5 * ball((20, 20, 20), 4.0)).astype(np.float32), (20, 20, 20), allowed)
    assert grown.any()
    assert not grown[21:].any()


def test_seed_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must lie inside"):
        grow(np.ones(SHAPE, np.float32), (40, 0, 0))
