"""Quality measures against values worked out by hand and against their meaning."""

import numpy as np
import pytest

from mesems_mri.core.quality import (
    coefficient_of_joint_variation,
    contrast_to_noise,
    entropy_focus_criterion,
    foreground_background_energy_ratio,
    quality_measures,
    signal_to_noise,
)


def head(noise: float, *, seed: int = 1) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    radius = np.sqrt(sum((axis - 19.5) ** 2 for axis in np.indices((40, 40, 40))))
    masks = {
        "brain_mask": radius < 15,
        "white_matter": radius < 8,
        "grey_matter": (radius >= 8) & (radius < 13),
        "csf": (radius >= 13) & (radius < 15),
        "air": radius > 18,
    }
    image = 100.0 * masks["white_matter"] + 70.0 * masks["grey_matter"] + 30.0 * masks["csf"]
    return np.abs(image + rng.normal(0, noise, image.shape)), masks


def test_snr_by_hand() -> None:
    values = np.array([8.0, 12.0] * 10)
    assert signal_to_noise(values) == pytest.approx(10 / (2 * np.sqrt(20 / 19)))


def test_snr_of_a_flat_or_tiny_region_is_none() -> None:
    assert signal_to_noise(np.full(50, 7.0)) is None
    assert signal_to_noise(np.array([1.0, 2.0])) is None


def test_cnr_by_hand() -> None:
    white, grey, air = np.array([9.0, 11.0] * 5), np.array([4.0, 8.0] * 5), np.array([0.0, 4.0] * 5)
    assert contrast_to_noise(white, grey, air) == pytest.approx(4 / np.sqrt(1 + 4 + 4))


def test_cjv_by_hand_and_for_equal_tissues() -> None:
    white, grey = np.array([9.0, 11.0] * 5), np.array([4.0, 8.0] * 5)
    assert coefficient_of_joint_variation(white, grey) == pytest.approx((1 + 2) / 0.6744897501960817 / 4)
    assert coefficient_of_joint_variation(white, white) is None


def test_efc_is_zero_for_one_bright_voxel_and_one_for_a_flat_image() -> None:
    image = np.zeros((10, 10, 10))
    image[3, 4, 5] = 9.0
    assert entropy_focus_criterion(image) == pytest.approx(0.0)
    assert entropy_focus_criterion(np.full((10, 10, 10), 3.0)) == pytest.approx(1.0)
    assert entropy_focus_criterion(np.zeros((10, 10, 10))) is None


def test_ghosting_raises_efc() -> None:
    image, _ = head(1.0)
    ghosted = image + 0.2 * np.roll(image, 20, axis=1)
    clean, worse = entropy_focus_criterion(image), entropy_focus_criterion(ghosted)
    assert clean is not None
    assert worse is not None
    assert worse > clean + 0.02


def test_fber_by_hand() -> None:
    air = np.zeros((4, 4, 4), bool)
    air[:2] = True
    assert foreground_background_energy_ratio(np.where(air, 2.0, 6.0), air) == pytest.approx(9.0)
    assert foreground_background_energy_ratio(np.where(air, 0.0, 6.0), air) is None


def test_noise_worsens_every_measure_and_scale_changes_none() -> None:
    clean_image, masks = head(2.0)
    noisy_image, _ = head(8.0)
    clean, noisy = quality_measures(clean_image, **masks), quality_measures(noisy_image, **masks)
    scaled = quality_measures(clean_image * 37.0, **masks)
    for name, sign in {"snr": 1, "snr_wm": 1, "cnr": 1, "fber": 1, "cjv": -1, "efc": -1}.items():
        assert clean[name] is not None
        assert noisy[name] is not None
        assert sign * (clean[name] - noisy[name]) > 0, name  # type: ignore[operator]
        assert scaled[name] == pytest.approx(clean[name], rel=1e-9)


@pytest.mark.parametrize("how", ["none", "constant"])
def test_without_air_only_what_needs_it_is_missing(how: str) -> None:
    image, masks = head(2.0)
    image[~masks["brain_mask"]] = 0.0
    air = masks.pop("air")
    without = quality_measures(image, **masks, air=None if how == "none" else air)
    assert {name for name, value in without.items() if value is None} == {"cnr", "efc", "fber"}


def test_missing_tissue_is_none() -> None:
    image, masks = head(2.0)
    masks["white_matter"] = np.zeros_like(masks["white_matter"])
    measures = quality_measures(image, **masks)
    assert measures["snr_wm"] is None
    assert measures["cjv"] is None
    assert measures["snr"] is not None


def test_mask_of_another_shape_is_refused() -> None:
    image, masks = head(2.0)
    masks["csf"] = masks["csf"][1:]
    with pytest.raises(ValueError, match="csf has shape"):
        quality_measures(image, **masks)
