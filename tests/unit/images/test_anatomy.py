"""Bring a head of any grid before the network, and its answer back; the network is a threshold here.

How well the trained network finds a brain is a benchmark (``benchmarks/accuracy_brain.py``).
"""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.errors import InputError, Reason
from mesems_mri.images import anatomy
from mesems_mri.images.anatomy import CLASSES, Anatomy, scale_intensities, segment_anatomy
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import INTRACRANIAL_CLASSES, load_atlas

BRAIN, OUTSIDE = 100.0, 20.0


def threshold(name: str, image: np.ndarray) -> np.ndarray:
    """Stand for the network: what is bright is white matter."""
    assert name == "anatomy"
    assert image.dtype == np.float32
    assert all(side % 8 == 0 for side in image.shape[2:])
    assert image.min() >= 0.0
    assert image.max() <= 1.0
    logits = np.full((1, len(CLASSES), *image.shape[2:]), -50.0, np.float32)
    logits[:, 0] = 0.0
    logits[:, CLASSES.index("white_matter")] = 60.0 * (image[:, 0] - 0.45)
    return logits


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anatomy, "run_network", threshold)


@cache
def make_head(thickness_mm: float = 3.0) -> tuple[Volume, np.ndarray]:
    """Return a head of axial slices, 3 mm in plane, and its brain."""
    atlas = load_atlas()
    affine = np.diag([3.0, 3.0, thickness_mm, 1.0])
    affine[:3, 3] = (-90, -115, -95)
    shape = (60, 74, round(198 / thickness_mm))
    to_index = np.linalg.inv(atlas.affine) @ affine

    def on_grid(name: str) -> np.ndarray:
        return ndimage.affine_transform(
            atlas.probability[name], to_index[:3, :3], to_index[:3, 3], output_shape=shape, order=1
        )

    image = np.zeros(shape)
    for name in atlas.probability:
        if name != "brain":
            image += (BRAIN if name in INTRACRANIAL_CLASSES else OUTSIDE) * on_grid(name)
    noise = np.random.default_rng(7).normal(0, 3, (2, *shape))
    image = np.hypot(image + noise[0], noise[1]).astype(np.float32)
    return Volume(image, affine), on_grid("brain") > 0.5


def segment() -> Anatomy:
    return segment_anatomy(make_head()[0])


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


def test_brain_of_a_head() -> None:
    volume, brain = make_head()
    found = segment()
    assert found.mask.dtype == np.bool_
    assert found.mask.shape == volume.shape
    assert dice(found.mask, brain) > 0.95


def test_same_image_twice_gives_the_same_bytes() -> None:
    again = segment_anatomy(make_head()[0])
    assert again.mask.tobytes() == segment().mask.tobytes()
    assert again.probability.tobytes() == segment().probability.tobytes()


def test_head_stored_in_another_order() -> None:
    volume, brain = make_head()
    plain = segment_anatomy(volume)
    turned = np.ascontiguousarray(volume.array.transpose(2, 0, 1)[:, ::-1])
    to_volume = np.zeros((4, 4))
    to_volume[2, 0] = to_volume[1, 2] = to_volume[3, 3] = 1.0
    to_volume[0, 1], to_volume[0, 3] = -1.0, volume.shape[0] - 1
    found = segment_anatomy(Volume(turned, volume.affine @ to_volume))
    as_before = found.mask[:, ::-1].transpose(1, 2, 0)
    assert dice(plain.mask, brain) > 0.95
    assert dice(as_before, plain.mask) > 0.99


def test_thick_slices() -> None:
    volume, brain = make_head(thickness_mm=5.0)
    assert dice(segment_anatomy(volume).mask, brain) > 0.95


def test_stripped_brain_is_found_whole_and_nothing_beside_it() -> None:
    volume, brain = make_head()
    stripped = Volume(np.where(brain, volume.array, 0).astype(np.float32), volume.affine)
    assert dice(segment_anatomy(stripped).mask, brain) > 0.95


def test_half_a_head() -> None:
    volume, brain = make_head()
    top = volume.affine.copy()
    top[2, 3] += 3.0 * 36
    found = segment_anatomy(Volume(volume.array[..., 36:], top))
    assert dice(found.mask, brain[..., 36:]) > 0.95


def test_head_in_the_corner_of_a_large_field_of_view() -> None:
    volume, brain = make_head()
    before, after = (30, 4, 2), (4, 20, 30)
    room = list(zip(before, after, strict=True))
    shift = np.eye(4)
    shift[:3, 3] = [-n for n in before]
    larger = Volume(np.pad(volume.array, room), volume.affine @ shift)
    assert dice(segment_anatomy(larger).mask, np.pad(brain, room)) > 0.95


def test_probabilities_sum_to_one_and_lie_where_the_head_does() -> None:
    found = segment()
    volume, brain = make_head()
    assert found.probability.shape == (len(CLASSES), *found.grid.shape)
    np.testing.assert_allclose(found.probability.sum(axis=0), 1.0, atol=1e-5)
    np.testing.assert_allclose(found.grid.spacing_mm, 2.0)
    assert dice(found.on(volume.grid, "white_matter") > 0.5, brain) > 0.95
    assert dice(found.on(volume.grid, "brain") > 0.5, brain) > 0.95
    assert not (found.on(volume.grid, "cortex") > 0.5).any()


def test_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such"):
        segment().on(make_head()[0].grid, "no_such")


@pytest.mark.parametrize("shape", [(40, 40, 40), (40, 40, 1)])
def test_empty_image_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="without content") as caught:
        segment_anatomy(Volume(np.zeros(shape, np.float32), np.eye(4)))
    assert caught.value.reason is Reason.NOT_A_BRAIN


def test_image_without_a_brain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anatomy, "run_network", lambda name, image: threshold(name, 0.0 * image))
    with pytest.raises(InputError, match="no brain") as caught:
        segment()
    assert caught.value.reason is Reason.NOT_A_BRAIN


def test_intensities_are_scaled_between_their_percentiles() -> None:
    array = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
    scaled = scale_intensities(array)
    assert scaled.dtype == np.float32
    assert scaled.ravel()[10] == 0.0
    assert scaled.ravel()[990] == 1.0
    assert scaled.ravel()[500] == pytest.approx(0.5)
    assert not scale_intensities(np.ones((3, 3, 3), np.float32)).any()
