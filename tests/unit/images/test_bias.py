"""Bias correction removes a known field and leaves lesions alone."""

import numpy as np
import pytest

from mesems_mri.images.bias import correct_bias
from mesems_mri.images.volume import Volume


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return true tissue, field, brain and lesions on 2 x 2 x 3 mm voxels."""
    shape = (56, 60, 36)
    x, y, z = np.indices(shape)
    radius = np.sqrt(((x - 28) / 24) ** 2 + ((y - 30) / 27) ** 2 + ((z - 18) / 16) ** 2)
    brain = radius < 1
    truth = np.where(radius < 0.75, 100.0, 120.0) * brain
    lesions = ((x - 22) ** 2 + (y - 28) ** 2 + (1.5 * (z - 18)) ** 2 < 20) & brain
    truth[lesions] = 160.0
    field = np.exp(0.02 * (x - 28) - 0.01 * y + 0.2 * (z / 36) ** 2)
    return truth, field, brain, lesions


AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def test_known_field_is_removed_and_lesions_stay() -> None:
    truth, field, brain, lesions = scene()
    noise = np.random.default_rng(1).normal(0, 2, truth.shape)
    corrected = correct_bias(Volume((truth * field + noise).astype(np.float32), AFFINE), brain).array
    white = (truth == 100.0) & brain

    def spread(values: np.ndarray) -> float:
        return float(values.std() / values.mean())

    assert spread((truth * field)[white]) > 0.10
    assert spread(corrected[white]) < 0.05
    contrast = corrected[lesions].mean() / np.median(corrected[white])
    assert contrast == pytest.approx(1.6, abs=0.1)


def test_unit_and_background_are_kept() -> None:
    truth, field, brain, _ = scene()
    image = (truth * field).astype(np.float32)
    corrected = correct_bias(Volume(image, AFFINE), brain).array
    assert corrected.dtype == np.float32
    assert np.all(corrected[image == 0] == 0)
    ratio = np.log(image[brain] / corrected[brain])
    assert abs(ratio.mean()) < 0.02


def test_field_stays_bounded_outside_the_mask() -> None:
    truth, field, brain, _ = scene()
    image = (truth * field + 50.0).astype(np.float32)
    corrected = correct_bias(Volume(image, AFFINE), brain).array
    inside = (image / corrected)[brain]
    outside = (image / corrected)[~brain]
    assert outside.min() > 0.9 * inside.min()
    assert outside.max() < 1.1 * inside.max()


def test_twice_the_same() -> None:
    truth, field, brain, _ = scene()
    volume = Volume((truth * field).astype(np.float32), AFFINE)
    assert np.array_equal(correct_bias(volume, brain).array, correct_bias(volume, brain).array)


def test_mask_that_does_not_fit_is_refused() -> None:
    volume = Volume(np.ones((8, 8, 8), np.float32), np.eye(4))
    with pytest.raises(ValueError, match="does not fit"):
        correct_bias(volume, np.zeros((8, 8, 8), bool))
