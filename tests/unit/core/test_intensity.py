"""Intensity: noise, NAWM, matching of two scans."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core import intensity, matching

SHAPE = (48, 56, 40)
SPACING = (1.0, 1.0, 1.0)


@pytest.fixture
def head() -> dict[str, np.ndarray]:
    """Two tissues with folded borders, CSF around them and a bright lesion (FLAIR-like)."""
    rng = np.random.default_rng(0)
    pattern = ndimage.gaussian_filter(rng.normal(size=SHAPE), 3.0)
    white = pattern > np.quantile(pattern, 0.4)
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    image = np.where(white, 1.0, 1.25).astype(np.float32) * brain
    lesion = np.zeros(SHAPE, bool)
    lesion[20:27, 20:27, 16:22] = True
    image[lesion] = 1.9
    image = ndimage.gaussian_filter(image, 0.6)
    return {"brain": brain, "white": white & brain, "lesion": lesion, "image": image}


@pytest.mark.parametrize("sigma", [0.02, 0.06, 0.15])
def test_estimate_noise_is_not_inflated_by_anatomy(head: dict[str, np.ndarray], sigma: float) -> None:
    rng = np.random.default_rng(1)
    noisy = head["image"] + rng.normal(0, sigma, SHAPE)
    eroded = ndimage.binary_erosion(head["white"] & ~head["lesion"])
    assert intensity.estimate_noise(noisy, eroded) == pytest.approx(sigma, rel=0.25)
    assert intensity.robust_noise(noisy, head["brain"])[1] > 0.075


def test_estimate_noise_sees_interpolated_noise() -> None:
    rng = np.random.default_rng(2)
    smooth = ndimage.gaussian_filter(rng.normal(size=(60, 60, 60)), 0.6)
    sigma = float(smooth.std())
    assert intensity.estimate_noise(smooth, np.ones(smooth.shape, bool)) == pytest.approx(sigma, rel=0.3)


def test_robust_noise_ignores_outliers() -> None:
    values = np.random.default_rng(3).normal(10, 2, (30, 30, 30))
    values[:3] = 1000
    median, sigma = intensity.robust_noise(values, np.ones(values.shape, bool))
    assert median == pytest.approx(10, abs=0.5)
    assert sigma == pytest.approx(2, rel=0.25)


def test_nawm_leaves_lesion_and_grey_matter_out(head: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(4)
    image = head["image"] * 400 + rng.normal(0, 16, SHAPE)
    # A prior that is blurred and 2 mm off, as an affine atlas is.
    prior = np.roll(ndimage.gaussian_filter(head["white"].astype(np.float32), 1.0), 2, axis=1)
    nawm = intensity.find_nawm(image, brain_mask=head["brain"], white_matter=prior, contrast="FLAIR")
    assert not (nawm & head["lesion"]).any()
    assert (nawm & head["white"]).sum() > 0.9 * nawm.sum()
    scaled, median = intensity.scale_to_nawm(image, nawm)
    assert median == pytest.approx(400, rel=0.03)
    assert scaled.dtype == np.float32
    assert np.median(scaled[nawm]) == pytest.approx(1, abs=1e-5)


def test_match_intensity_recovers_gain_and_offset_despite_a_lesion(head: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(5)
    fixed = head["image"] + rng.normal(0, 0.03, SHAPE)
    moving = 120.0 * head["image"] + 35.0 + rng.normal(0, 3.6, SHAPE)
    moving[head["lesion"]] -= 100
    matched = matching.match_intensity(moving, fixed, head["brain"])
    tissue = head["brain"] & ~head["lesion"]
    assert np.abs(np.median((matched - fixed)[tissue])) < 0.01
    grey = tissue & ~head["white"]
    assert np.abs(np.median((matched - fixed)[grey])) < 0.02
    # The lesion's own difference survives: it is what one looks for.
    assert np.median((matched - fixed)[head["lesion"]]) < -0.5


def test_differential_bias_is_undone_and_keeps_a_lesion(head: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(6)
    ramp = np.exp(0.3 * np.linspace(-1, 1, SHAPE[0]))[:, None, None] * np.ones(SHAPE)
    fixed = head["image"] + rng.normal(0, 0.03, SHAPE)
    moving = head["image"] / ramp + rng.normal(0, 0.03, SHAPE)
    moving[head["lesion"]] *= 1.5
    field = matching.differential_bias(moving, fixed, head["brain"], SPACING, 12.0)
    inner = np.zeros(SHAPE, bool)
    inner[8:-8, 8:-8, 8:-8] = True
    inner &= ~ndimage.binary_dilation(head["lesion"], iterations=3)
    before = np.std(np.log((1 / ramp)[inner]))
    after = np.std(np.log((field / ramp)[inner]))
    assert after < 0.35 * before
    lesion_ratio = np.median((moving * field / fixed)[head["lesion"]])
    assert lesion_ratio > 1.3


@pytest.mark.parametrize("normal", [(0, 0, 1), (0, 0.6, 0.8)])
def test_match_resolution_gives_the_profile_of_the_thicker_slice(normal: tuple[float, float, float]) -> None:
    point = np.zeros((31, 31, 31), np.float32)
    point[15, 15, 15] = 1.0
    blurred = matching.match_resolution(
        point, spacing_mm=SPACING, plane_normal=normal, thickness_mm=1.0, target_thickness_mm=4.0
    )
    assert blurred.sum() == pytest.approx(1.0, rel=1e-3)
    offsets = np.indices(point.shape).reshape(3, -1).T - 15.0
    along = offsets @ np.asarray(normal)
    variance = float((blurred.ravel() * along**2).sum())
    assert 2.3548 * np.sqrt(variance) == pytest.approx(np.sqrt(15.0), rel=0.03)
    across = (offsets**2).sum(axis=1) - along**2
    assert abs(float((blurred.ravel() * across).sum())) < 0.1


def test_match_resolution_leaves_the_coarser_image_alone() -> None:
    image = np.random.default_rng(7).normal(size=(9, 9, 9)).astype(np.float32)
    same = matching.match_resolution(
        image, spacing_mm=SPACING, plane_normal=(0, 0, 1), thickness_mm=4.0, target_thickness_mm=3.0
    )
    np.testing.assert_array_equal(same, image)


def test_errors_name_parameter_range_and_value(head: dict[str, np.ndarray]) -> None:
    image, brain = head["image"], head["brain"]
    with pytest.raises(ValueError, match="mask must hold at least 1 voxel, got 0"):
        intensity.robust_noise(image, np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="finite inside mask, got 1 NaN"):
        spoilt = image.copy()
        spoilt[20, 20, 20] = np.nan
        intensity.robust_noise(spoilt, brain)
    with pytest.raises(ValueError, match=r"white_matter must exceed 0.5 .* got 0"):
        intensity.find_nawm(image, brain_mask=brain, white_matter=np.zeros(SHAPE), contrast="T1w")
    with pytest.raises(ValueError, match="target_thickness_mm must be above 0 mm, got -1"):
        matching.match_resolution(
            image, spacing_mm=SPACING, plane_normal=(0, 0, 1), thickness_mm=1, target_thickness_mm=-1
        )
    with pytest.raises(ValueError, match="sigma_mm must be above 0 mm, got 0"):
        matching.differential_bias(image, image, brain, SPACING, 0)
    with pytest.raises(ValueError, match="median above 0 inside nawm, got -1"):
        intensity.scale_to_nawm(np.full(SHAPE, -1.0), brain)
