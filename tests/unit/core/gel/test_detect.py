"""Enhancing lesions: found where they are, and nowhere else, on a small head of known content."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core.gel.candidates import EnhancementThresholds
from mesems_mri.core.gel.detect import Enhancement, detect_enhancement

SHAPE = (72, 80, 60)
CENTRE = np.array([36.0, 40.0, 30.0])


@dataclass
class Head:
    """White matter, cortex, a ventricle and CSF; enhancement and T2 lesions are put into it."""

    seed: int = 0
    noise: float = 0.03
    enhancing: np.ndarray = field(default_factory=lambda: np.zeros(SHAPE, np.float32))
    hyperintense: np.ndarray = field(default_factory=lambda: np.zeros(SHAPE, np.float32))

    def detect(self, **changes: object) -> Enhancement:
        """Render the scans and run the detector."""
        return detect_enhancement(**{**self.render(), **changes})  # type: ignore[arg-type]

    def render(self) -> dict:
        """Scans, masks and priors as keyword arguments of the detector."""
        rng = np.random.default_rng(self.seed)
        index = np.indices(SHAPE)
        radius = np.sqrt((((index.T - CENTRE) / [31, 35, 26]) ** 2).sum(axis=-1)).T
        ventricle = np.sqrt((((index.T - CENTRE) / [6, 12, 6]) ** 2).sum(axis=-1)).T < 1
        brain = radius < 1
        cortex = (radius > 0.8) & (radius < 0.93)
        white = (radius <= 0.8) & ~ventricle
        csf = brain & ~cortex & ~white
        levels = {"pre": (1.0, 0.8, 0.35), "FLAIR": (1.0, 1.2, 0.3), "T2w": (1.0, 1.6, 4.0)}
        images = {}
        for name, (in_white, in_cortex, in_csf) in levels.items():
            image = in_white * white + in_cortex * cortex + in_csf * csf
            images[name] = image.astype(np.float32)
        images["post"] = images["pre"] + self.enhancing
        images["FLAIR"] += self.hyperintense * 0.6
        images["T2w"] += self.hyperintense * 0.8
        for name, image in images.items():
            noisy = ndimage.gaussian_filter(image, 0.5) + rng.normal(0, self.noise, SHAPE)
            images[name] = (noisy * brain).astype(np.float32)
        nawm = ndimage.binary_erosion(white, iterations=2) & (self.hyperintense == 0)
        priors = {
            "brain": brain,
            "white_matter": white,
            "cortex": cortex,
            "lateral_ventricles": ventricle,
            "csf": csf & ~ventricle,
        }
        return {
            "post": images["post"],
            "pre": images["pre"],
            "t2_images": {"FLAIR": images["FLAIR"], "T2w": images["T2w"]},
            "brain_mask": brain,
            "priors": {k: ndimage.gaussian_filter(v.astype(np.float32), 1.0) for k, v in priors.items()},
            "spacing_mm": (1.0, 1.0, 1.0),
            "nawm": nawm,
        }


def ball(centre: tuple[int, int, int], radius_mm: float) -> np.ndarray:
    """Voxels within a radius of a centre."""
    return radius_mm**2 >= ((np.indices(SHAPE).T - np.array(centre)) ** 2).sum(axis=-1).T


def with_lesion(centre: tuple[int, int, int], radius_mm: float = 3.0, contrast: float = 0.5) -> Head:
    """Head with one enhancing nodule in a T2 lesion."""
    head = Head()
    head.enhancing += contrast * ball(centre, radius_mm)
    head.hyperintense += ball(centre, radius_mm + 1.5)
    return head


def test_nothing_is_found_where_nothing_enhances() -> None:
    head = Head(hyperintense=ball((52, 40, 30), 5).astype(np.float32))
    assert head.detect().dseg.max() == 0


@pytest.mark.parametrize("contrast", [0.3, 0.8])
def test_nodule_is_found_in_its_place(contrast: float) -> None:
    found = with_lesion((52, 40, 30), contrast=contrast).detect()
    assert found.dseg.dtype == np.int32
    assert found.dseg.max() == 1
    assert len(found.scores) == 1
    truth = ball((52, 40, 30), 3)
    overlap = (found.dseg > 0) & truth
    assert 2 * overlap.sum() / (truth.sum() + (found.dseg > 0).sum()) > 0.7


def test_a_nodule_below_the_limit_is_a_candidate_in_its_place() -> None:
    head = with_lesion((52, 40, 30), contrast=0.3)
    found = head.detect()
    missed = head.detect(thresholds=EnhancementThresholds(min_score=found.scores[0] + 0.002))
    assert (missed.dseg.max(), len(found.candidates.at_least(0.5))) == (0, 0)
    offered = missed.candidates.at_least(0.5)
    assert [round(score, 3) for score in offered.scores] == list(found.scores)
    np.testing.assert_array_equal(offered.dseg, found.dseg)


def test_what_is_no_focus_by_its_size_is_a_candidate_that_says_so() -> None:
    missed = with_lesion((52, 40, 30)).detect(thresholds=EnhancementThresholds(min_diameter_mm=15.0))
    assert missed.dseg.max() == 0
    assert "too_small" in missed.candidates.causes


def test_lesion_without_t2_correlate_is_turned_down_with_its_cause() -> None:
    head = Head(enhancing=(0.6 * ball((52, 40, 30), 3)).astype(np.float32))
    found = head.detect()
    assert found.dseg.max() == 0
    near = [r for r in found.rejected if np.linalg.norm(np.subtract(r.centre, (52, 40, 30))) < 2]
    assert [r.cause for r in near] == ["no_t2_correlate"]


def test_ring_is_one_filled_focus() -> None:
    head = Head()
    head.enhancing += 0.6 * (ball((52, 40, 30), 5) & ~ball((52, 40, 30), 3))
    head.hyperintense += ball((52, 40, 30), 6)
    found = head.detect()
    assert found.dseg.max() == 1
    assert found.dseg[52, 40, 30] == 1


def test_ring_in_two_fragments_is_one() -> None:
    head = Head()
    ring = ball((51, 40, 30), 6) & ~ball((51, 40, 30), 3.6)
    ring[:, 39:42] = False
    head.enhancing += 0.6 * ring
    head.hyperintense += ball((51, 40, 30), 7)
    assert head.detect().dseg.max() == 1


def test_two_foci_in_one_confluent_lesion_are_two() -> None:
    head = Head()
    for y in (30, 44):
        head.enhancing += 0.6 * ball((52, y, 30), 3)
    head.hyperintense += (ball((52, 30, 30), 5) | ball((52, 37, 30), 6) | ball((52, 44, 30), 5)) * 1.0
    assert head.detect().dseg.max() == 2


def test_vein_is_no_lesion_even_beside_one() -> None:
    head = Head()
    head.enhancing[50:52, 14:70, 30:32] = 0.9
    head.hyperintense += ball((53, 40, 33), 4)
    found = head.detect()
    assert found.dseg.max() == 0
    assert found.rejected


def test_lesion_on_a_vein_is_found_without_the_vein() -> None:
    head = with_lesion((52, 40, 30), 3.5)
    head.enhancing[51:53, 14:70, 29:31] = 0.9
    found = head.detect()
    assert found.dseg.max() == 1
    assert (found.dseg > 0).sum() < 2.2 * ball((52, 40, 30), 3.5).sum()
    assert found.dseg[52, 40, 30] == 1


def test_choroid_plexus_and_dura_are_no_lesions() -> None:
    head = Head()
    head.enhancing += 0.8 * ball((36, 36, 30), 3)
    head.hyperintense += 0.8 * ball((36, 36, 30), 3)
    head.enhancing[60:72, 36:46, 25:35] += 1.0
    assert head.detect().dseg.max() == 0


def test_other_gain_bias_and_half_a_voxel_of_shift_change_nothing() -> None:
    scans = with_lesion((52, 40, 30)).render()
    ramp = 1.0 + 0.15 * np.linspace(-1, 1, SHAPE[1])[None, :, None]
    moved = ndimage.shift(scans["post"], (0.5, -0.3, 0.4), order=1)
    post = (1.7 * moved * ramp * scans["brain_mask"]).astype(np.float32)
    dseg = detect_enhancement(**{**scans, "post": post}).dseg
    assert dseg.max() == 1
    assert dseg[52, 40, 30] == 1


def test_translation_and_flip_move_the_foci_only() -> None:
    scans = with_lesion((52, 40, 30)).render()
    plain = detect_enhancement(**scans).dseg

    def changed(change) -> dict:
        images = {k: change(v) for k, v in scans["t2_images"].items()}
        priors = {k: change(v) for k, v in scans["priors"].items()}
        arrays = {k: change(scans[k]) for k in ("post", "pre", "brain_mask", "nawm")}
        return {**scans, **arrays, "t2_images": images, "priors": priors}

    flipped = detect_enhancement(**changed(lambda a: a[::-1])).dseg[::-1]
    shifted = detect_enhancement(**changed(lambda a: np.pad(a, ((5, 2), (0, 3), (4, 0))))).dseg
    for other in (flipped, shifted[5:-2, :-3, 4:]):
        assert other.max() == plain.max() == 1
        assert np.count_nonzero((other > 0) != (plain > 0)) <= 0.05 * np.count_nonzero(plain)


@pytest.mark.parametrize("contrast", ["FLAIR", "T2w"])
def test_one_t2_type_image_is_enough(contrast: str) -> None:
    scans = with_lesion((52, 40, 30)).render()
    scans["t2_images"] = {contrast: scans["t2_images"][contrast]}
    assert detect_enhancement(**scans).dseg.max() == 1


def test_without_pre_contrast_a_clear_lesion_is_found_and_a_faint_one_is_not() -> None:
    assert with_lesion((52, 40, 30), contrast=0.7).detect(pre=None).dseg.max() == 1
    assert with_lesion((52, 40, 30), contrast=0.18).detect(pre=None).dseg.max() == 0


def test_errors_name_parameter_range_and_value() -> None:
    scans = Head().render()
    with pytest.raises(ValueError, match=r"t2_images must hold one or more .* got \[\]"):
        detect_enhancement(**{**scans, "t2_images": {}})
    with pytest.raises(ValueError, match="brain_mask must hold at least 30 voxels, got 0"):
        detect_enhancement(**{**scans, "brain_mask": np.zeros(SHAPE, bool)})
    post = scans["post"].copy()
    post[36, 40, 30] = np.nan
    with pytest.raises(ValueError, match="post must be finite, got 1 NaN"):
        detect_enhancement(**{**scans, "post": post})
    with pytest.raises(ValueError, match=r"pre must be 3D and of the shape of post, .* got \(1, 1, 1\)"):
        detect_enhancement(**{**scans, "pre": np.zeros((1, 1, 1))})


def test_results_repeat() -> None:
    head = with_lesion((52, 40, 30))
    first, second = head.detect(), replace(head).detect()
    np.testing.assert_array_equal(first.dseg, second.dseg)
    assert first.rejected == second.rejected


@pytest.mark.parametrize(("centre", "counted"), [((36, 36, 30), False), ((52, 40, 30), True)])
def test_what_lies_in_the_ventricle_is_offered_and_not_counted(
    centre: tuple[int, int, int], *, counted: bool
) -> None:
    head = Head()
    head.enhancing += 0.8 * ball(centre, 3)
    head.hyperintense += 1.5 * ball(centre, 3)

    def sure(patches: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.full(len(patches), 5.0, np.float32)

    found = head.detect(classify=sure, thresholds=EnhancementThresholds(min_score=0.5))
    assert bool(found.dseg[centre]) == counted
    assert bool(found.candidates.dseg[centre]) != counted
    if not counted:
        number = found.candidates.dseg[centre] - 1
        assert found.candidates.causes[number] == "choroid_plexus"
        assert found.candidates.scores[number] <= 0.3
