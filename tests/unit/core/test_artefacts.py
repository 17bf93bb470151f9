"""Artefacts in a head of ellipsoids are measured as strong as they are, and none is seen without them."""

from collections.abc import Callable

import numpy as np
import pytest

from mesems_mri.core.artefacts import measure_artefacts

SHAPE = (96, 110, 40)
STRENGTH = 0.15


def head(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a head with a skull, folds and noise, and its brain."""
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    place = (x[:, None, None], y[None, :, None], z[None, None, :])
    radius = sum((p / size) ** 2 for p, size in zip(place, (0.58, 0.66, 0.95), strict=True))
    brain, skin = radius < 0.75, (radius > 0.85) & (radius < 1)
    rng = np.random.default_rng(seed)
    folds = 1 + 0.4 * np.sin(23 * place[0] + 3 * place[1]) * np.sin(19 * place[1]) * np.cos(7 * place[2])
    image = np.where(brain, folds, 0) + 1.4 * skin
    noisy = np.hypot(image + rng.normal(0, 0.03, SHAPE), rng.normal(0, 0.03, SHAPE))
    return (800 * noisy).astype(np.float32), brain


def stripes(cycles: tuple[float, float]) -> np.ndarray:
    i, j = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.cos(2 * np.pi * (cycles[0] * i / SHAPE[0] + cycles[1] * j / SHAPE[1]))[:, :, None]


def one_slice(image: np.ndarray) -> np.ndarray:
    spoilt = image.copy()
    spoilt[:, :, 12] += STRENGTH * 800 * stripes((20, 17))[:, :, 0]
    return np.abs(spoilt)


ARTEFACTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "every other slice darker": ("banding", lambda i: i * (1 - STRENGTH * (np.arange(SHAPE[2]) % 2))),
    "every third slice darker": ("banding", lambda i: i * (1 - STRENGTH * (np.arange(SHAPE[2]) % 3 == 0))),
    "waves over the slices": (
        "banding",
        lambda i: i * (1 + STRENGTH * np.sin(2 * np.pi * np.arange(SHAPE[2]) / 4 + 1)),
    ),
    "waves over the rows": (
        "banding",
        lambda i: i * (1 + STRENGTH * np.sin(2 * np.pi * np.arange(SHAPE[0])[:, None, None] / 5)),
    ),
    "ghost by half the field of view": ("ghost", lambda i: i + STRENGTH * np.roll(i, SHAPE[1] // 2, 1)),
    "ghost by a third": ("ghost", lambda i: i + STRENGTH * np.roll(i, SHAPE[0] // 3, 0)),
    "spike": ("spike", lambda i: np.abs(i + STRENGTH * 800 * stripes((20, 17)))),
    "spike along a row": ("spike", lambda i: np.abs(i + STRENGTH * 800 * stripes((14, 0)))),
    "spike in one slice": ("spike", one_slice),
}


@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_is_measured_as_strong_as_it_is(name: str) -> None:
    measure, spoil = ARTEFACTS[name]
    image, brain = head()
    found = measure_artefacts(spoil(image).astype(np.float32), brain, slice_axis=2)
    assert 0.08 < getattr(found, measure) < 0.6


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_a_head_without_artefact_has_none(axes: tuple[int, int, int]) -> None:
    image, brain = (array.transpose(axes) for array in head())
    found = measure_artefacts(image, brain, slice_axis=axes.index(2))
    assert max(found.banding, found.ghost, found.spike) < 0.04


def test_an_image_without_signal_has_no_artefact() -> None:
    found = measure_artefacts(np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool), slice_axis=2)
    assert (found.banding, found.ghost, found.spike) == (0, 0, 0)


def test_a_stripped_head_without_air_has_no_ghost() -> None:
    image, brain = head()
    cut = np.where(brain, image, 0)[20:76, 20:90, 8:22]
    assert measure_artefacts(cut, brain[20:76, 20:90, 8:22], slice_axis=2).ghost < 0.04
