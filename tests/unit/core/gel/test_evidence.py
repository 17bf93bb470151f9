"""Which of two T1w is after contrast: the vote, why there is none, and what is no enhancement."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core.gel.evidence import ContrastEvidence, weigh_contrast

SHAPE = (66, 78, 60)
SPACING_MM = (2.0, 2.0, 2.0)
Array = np.ndarray


def head(seed: int = 0) -> tuple[Array, Array]:
    """Return a brain of folded white and grey matter in CSF, and its mask."""
    index = np.indices(SHAPE)
    centre = np.array(SHAPE) / 2
    radius = np.sqrt((((index.T - centre) / [29, 35, 26]) ** 2).sum(axis=-1)).T
    folds = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 3.0)
    image = np.where(folds > 0, 100.0, 70.0)
    image = np.where((radius > 0.93) | (folds < -2 * folds.std()), 30.0, image)
    brain = radius < 1
    return ndimage.gaussian_filter(np.where(brain, image, 10.0), 0.6).astype(np.float32), brain


def vessels(number: int = 24) -> Array:
    """Return tubes over the surface of the brain and through it, 0 to 1."""
    rng = np.random.default_rng(5)
    marks = np.zeros(SHAPE, np.float32)
    centre = np.array(SHAPE) / 2
    for _ in range(number):
        direction = rng.normal(size=3)
        start = centre + 0.8 * np.array([29, 35, 26]) * direction / np.linalg.norm(direction)
        along = rng.normal(size=3)
        line = start + np.linspace(0, 9, 30)[:, None] * along / np.linalg.norm(along)
        marks[tuple(np.clip(np.rint(line).astype(int).T, 2, np.array(SHAPE)[:, None] - 3))] = 1
    return np.minimum(ndimage.gaussian_filter(marks, 0.7) * 4, 1)


def weigh(first: Array, second: Array, brain: Array, **changes: Array) -> ContrastEvidence:
    masks = {"brain": brain, "seen": np.ones(SHAPE, bool)} | changes
    return weigh_contrast(first, second, spacing_mm=SPACING_MM, **masks)


def noise(seed: int, sigma: float = 3.0) -> Array:
    return np.random.default_rng(seed).normal(0, sigma, SHAPE).astype(np.float32)


def shading(image: Array) -> Array:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return (image * np.exp(0.4 * x - 0.3 * y * y + 0.3 * z)).astype(np.float32)


CHANGES: dict[str, Callable[[Array], Array]] = {
    "nothing": lambda image: image,
    "gain and offset": lambda image: 3.7 * image + 40,
    "low gain": lambda image: 0.2 * image,
    "shading": shading,
    "shading and gain": lambda image: 0.3 * shading(image),
    "more noise": lambda image: image + noise(9, 5.0),
    "blur": lambda image: ndimage.gaussian_filter(image, 0.6),
    "thick slices": lambda image: ndimage.gaussian_filter(image, (0, 0, 0.8)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_enhanced_vessels_are_found_and_swapped_ones_too(change: Callable[[Array], Array]) -> None:
    pre, brain = head()
    post = change(pre + 90 * vessels() + noise(1))
    found = weigh(pre + noise(2), post, brain)
    assert (found.vote, found.reason) == ("post", "")
    assert found.brighter_mm3 > 10 * found.darker_mm3
    assert weigh(post, pre + noise(2), brain) == found.reversed()
    assert found.reversed().vote == "pre"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_scans_of_one_phase_get_no_vote(change: Callable[[Array], Array]) -> None:
    pre, brain = head()
    assert weigh(pre + noise(1), change(pre + noise(2)), brain).vote == ""
    post = pre + 90 * vessels()
    assert weigh(post + noise(1), change(post + noise(2)), brain).vote == ""


def test_one_large_lesion_is_no_enhancement_of_vessels() -> None:
    pre, brain = head()
    lesion = np.zeros(SHAPE, np.float32)
    lesion[30:38, 36:46, 30:36] = 1
    found = weigh(pre + noise(1), pre + 90 * lesion + noise(2), brain)
    assert (found.vote, found.reason) == ("", "no_difference")
    assert found.brighter_mm3 > 3000


def test_what_brightens_and_darkens_alike_gets_no_vote() -> None:
    pre, brain = head()
    marks = vessels(60)
    left = np.indices(SHAPE)[0] < SHAPE[0] / 2
    found = weigh(pre + 90 * marks * left + noise(1), pre + 90 * marks * ~left + noise(2), brain)
    assert (found.vote, found.reason) == ("", "both_ways")


def test_images_that_are_not_alike_are_not_compared() -> None:
    pre, brain = head()
    mixed = ndimage.gaussian_filter(noise(3, 300.0), 2.0) + 80
    found = weigh(pre + noise(1), mixed + 90 * vessels(), brain)
    assert (found.vote, found.reason) == ("", "unlike")


def test_the_outside_of_what_both_show_is_not_looked_at() -> None:
    pre, brain = head()
    lower = np.indices(SHAPE)[2] < 40
    found = weigh(pre + noise(1), pre + 90 * vessels() * ~lower + noise(2), brain, seen=lower)
    assert (found.vote, found.brighter_mm3) == ("", 0.0)


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_a_constant_image_says_nothing(value: float) -> None:
    pre, brain = head()
    assert weigh(pre, np.full(SHAPE, value, np.float32), brain).vote == ""


def test_a_slab_is_too_little() -> None:
    pre, brain = head()
    slab = np.zeros(SHAPE, bool)
    slab[:, :, 30:34] = True
    found = weigh(pre + noise(1), pre + 90 * vessels() + noise(2), brain, seen=slab)
    assert (found.vote, found.reason) == ("", "too_little_brain")


def test_shapes_that_differ_are_an_error() -> None:
    pre, brain = head()
    with pytest.raises(ValueError, match="second must have the shape"):
        weigh(pre, pre[:-1], brain)
