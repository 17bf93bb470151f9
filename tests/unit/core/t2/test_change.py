"""New and enlarging T2: the counting rules on masks, and detection on a small synthetic head."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core.t2.change import detect_t2_change
from mesems_mri.core.t2.growth import ChangeThresholds, SliceGeometry, classify_growth
from mesems_mri.core.t2.scan import VisitPair
from tests.unit.core.t2.test_brightness import SHAPE, SPACING, Head, radius_map

GEOMETRY = SliceGeometry(SPACING, (0.0, 0.0, 1.0), 1.0)


def block(*spans: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((30, 30, 30), bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def classify(growth, reference):
    return classify_growth(growth, growth | reference, reference, GEOMETRY, ChangeThresholds())


def test_focus_apart_from_old_lesions_is_new():
    new, enlarging = classify(block((5, 8), (5, 8), (5, 8)), block((20, 24), (20, 24), (20, 24)))
    assert new.max() == 1
    assert not enlarging.any()
    assert new.dtype == np.int32


@pytest.mark.parametrize(("gap", "is_new"), [(0, False), (1, True), (2, True)])
def test_one_voxel_decides_between_new_and_not(gap, is_new):
    old = block((5, 8), (5, 8), (5, 8))
    new, enlarging = classify(block((8 + gap, 11 + gap), (5, 8), (5, 8)), old)
    assert bool(new.any()) == is_new
    assert bool(enlarging.any()) != is_new


def test_diagonal_contact_is_no_new_lesion():
    new, enlarging = classify(block((8, 11), (8, 11), (8, 11)), block((5, 8), (5, 8), (5, 8)))
    assert not new.any()
    assert enlarging.max() == 1


def test_below_20_mm3_does_not_enlarge():
    new, enlarging = classify(block((8, 10), (5, 8), (5, 8)), block((5, 8), (5, 8), (5, 8)))
    assert not new.any()
    assert not enlarging.any()


def test_shift_of_the_boundary_by_one_voxel_is_no_growth():
    old = block((8, 18), (8, 18), (8, 18))
    _, enlarging = classify(ndimage.binary_dilation(old, np.ones((3, 3, 3))) & ~old, old)
    assert not enlarging.any()


def test_two_growths_of_one_lesion_are_two():
    old = block((10, 16), (10, 16), (10, 16))
    _, enlarging = classify(block((5, 10), (11, 15), (11, 15)) | block((16, 21), (11, 15), (11, 15)), old)
    assert enlarging.max() == 2


def test_nothing_grew():
    new, enlarging = classify(block((0, 0), (0, 0), (0, 0)), block((5, 8), (5, 8), (5, 8)))
    assert not new.any()
    assert not enlarging.any()


def detect(current: Head, reference: Head, old=None, *, thickness_mm=(1.0, 1.0), **changes):
    now, then = (
        replace(head.scan(), slice_thickness_mm=mm)
        for head, mm in zip((current, reference), thickness_mm, strict=True)
    )
    none = np.zeros(SHAPE, bool)
    anatomy = replace(
        current.anatomy(),
        nawm=current.nawm & reference.nawm,
        brain_mask=changes.pop("brain_mask", current.brain),
    )
    thresholds = changes.pop("thresholds", None)
    pair = VisitPair(
        current=now,
        reference=then,
        current_lesions=none,
        reference_lesions=none if old is None else old,
        anatomy=anatomy,
    )
    return detect_t2_change(replace(pair, **changes), thresholds)


def test_identical_visits_did_not_change():
    head = Head()
    head.add((42, 32, 24), 3.0, 0.5)
    change = detect(head, head)
    assert not change.new.any()
    assert not change.enlarging.any()


def test_same_head_with_other_noise_bias_and_scale_did_not_change():
    now, then = Head(seed=1), Head(seed=2)
    for head in (now, then):
        head.add((42, 32, 24), 3.0, 0.5)
    now.image *= np.linspace(0.95, 1.05, SHAPE[0], dtype=np.float32)[:, None, None]
    then.image = ndimage.shift(then.image, (0.2, -0.2, 0.1), order=1)
    change = detect(now, then, old=radius_map((42, 32, 24)) <= 3)
    assert not change.new.any()
    assert not change.enlarging.any()


def test_finds_a_new_lesion_and_not_one_that_resolved():
    now, then = Head(seed=1), Head(seed=2)
    lesion = now.add((42, 32, 24), 3.0, 0.4)
    then.add((22, 32, 24), 3.0, 0.4)
    change = detect(now, then)
    assert change.new.max() == 1
    assert (change.new > 0)[lesion].mean() > 0.4
    assert (change.score[change.new > 0] > 0.5).all()
    assert not change.enlarging.any()


def test_a_new_lesion_below_the_limit_is_rejected_with_its_score():
    now, then = Head(seed=1), Head(seed=2)
    now.add((42, 32, 24), 3.0, 0.4)
    found = detect(now, then)
    number = int(np.unique(found.candidates[found.new > 0])[0])
    score = found.candidate_scores[number - 1]
    assert score not in found.rejected.scores
    missed = detect(now, then, thresholds=ChangeThresholds(min_score=score + 1e-4))
    assert not missed.new.any()
    assert score in missed.rejected.scores
    offered = missed.rejected.dseg == missed.rejected.scores.index(score) + 1
    np.testing.assert_array_equal(offered, found.new > 0)
    assert set(missed.rejected.causes) == {"score_below_limit"}


def test_finds_an_enlarging_lesion():
    now, then = Head(seed=1), Head(seed=2)
    old = then.add((42, 32, 24), 2.0, 0.4)
    now.add((42, 32, 24), 5.0, 0.4)
    change = detect(now, then, old=old)
    assert change.enlarging.max() == 1
    assert not change.new.any()


def test_a_rise_that_is_not_hyperintense_is_no_lesion():
    now, then = Head(seed=1), Head(seed=2)
    then.add((42, 32, 24), 3.0, -0.2)
    assert not detect(now, then).new.any()


def test_thicker_slices_of_one_visit_are_matched():
    now, then = Head(seed=1), Head(seed=2)
    lesion = now.add((42, 32, 24), 4.0, 0.5)
    then.image = ndimage.gaussian_filter1d(then.image, 3.0 / 2.3548, axis=2)
    change = detect(now, then, thickness_mm=(1.0, 3.0))
    assert change.details["thickness_mm"] == 3.0
    assert change.new.max() == 1
    assert (change.new > 0)[lesion].any()


def test_thick_slices_need_more_evidence():
    now, then = Head(seed=1), Head(seed=2)
    lesion = now.add((42, 32, 24), 3.0, 0.3)
    log_odds = []
    for thin_slices_mm in (5.0, 3.0):
        change = detect(
            now, then, thickness_mm=(4.5, 5.0), thresholds=ChangeThresholds(thin_slices_mm=thin_slices_mm)
        )
        score = float(change.score[lesion].max())
        log_odds.append(np.log(score / (1 - score)))
    assert log_odds[0] - log_odds[1] == pytest.approx(2.0, abs=0.01)


def test_an_unchanged_lesion_stays_as_it_was_drawn():
    """Whether this visit's own segmentation accepts it or not, and draws it larger or not."""
    now, then = Head(seed=1), Head(seed=2)
    for head in (now, then):
        head.add((42, 32, 24), 4.0, 0.4)
    old = radius_map((42, 32, 24)) <= 4
    for drawn in (np.zeros(SHAPE, bool), radius_map((42, 32, 24)) <= 5):
        np.testing.assert_array_equal(detect(now, then, old=old, current_lesions=drawn).lesions, old)


def test_what_did_not_change_is_no_lesion_only_because_it_is_drawn_now():
    now, then = Head(seed=1), Head(seed=2)
    assert not detect(now, then, current_lesions=radius_map((42, 32, 24)) <= 3).lesions.any()


def test_lesions_gain_a_new_focus_and_lose_one_that_resolved():
    now, then = Head(seed=1), Head(seed=2)
    new = now.add((42, 32, 24), 4.0, 0.4)
    old = then.add((22, 32, 24), 4.0, 0.4)
    change = detect(now, then, old=old, current_lesions=new)
    assert change.lesions[new].mean() > 0.4
    assert not (change.lesions & ~(change.new > 0)).any()


def test_a_shrinking_lesion_loses_what_darkened():
    now, then = Head(seed=1), Head(seed=2)
    old = then.add((42, 32, 24), 6.0, 0.4)
    left = now.add((42, 32, 24), 3.0, 0.4)
    lesions = detect(now, then, old=old, current_lesions=left).lesions
    assert lesions[left].all()
    assert lesions.sum() < 0.6 * old.sum()


def test_where_the_reference_shows_nothing_this_visit_is_believed():
    now, then = Head(seed=1), Head(seed=2)
    drawn = radius_map((42, 32, 24)) <= 3
    brain = now.brain & ~(radius_map((42, 32, 24)) <= 6)
    lesions = detect(now, then, current_lesions=drawn, brain_mask=brain).lesions
    np.testing.assert_array_equal(lesions, drawn)


def test_refuses_other_shapes_and_nan():
    head = Head()
    with pytest.raises(ValueError, match="shape"):
        detect(head, head, brain_mask=np.ones((2, 2, 2), bool))
    broken = Head()
    broken.image[32, 45, 24] = np.nan
    with pytest.raises(ValueError, match="finite"):
        detect(broken, head)


@pytest.mark.parametrize("contrast", [0.4, 1.2])
def test_a_new_lesion_is_not_drawn_larger_because_it_is_brighter(contrast):
    now, then = Head(seed=1), Head(seed=2)
    lesion = now.add((42, 32, 24), 4.0, contrast)
    change = detect(now, then)
    assert 0.6 < (change.new > 0).sum() / lesion.sum() < 1.6


def noisy(seed: int) -> Head:
    head = Head(seed=seed)
    noise = np.random.default_rng(100 + seed).normal(0.0, 0.05, SHAPE)
    head.image = (head.image + noise * head.brain).astype(np.float32)
    return head


def test_a_faint_lesion_counts_when_both_contrasts_show_it():
    alone, with_noise, with_both = [], [], []
    for seed in range(0, 60, 10):
        now, then, t2w_now, t2w_then = (noisy(seed + i) for i in range(4))
        now.add((42, 32, 24), 2.0, 0.13)
        support = (t2w_now.scan(), t2w_then.scan())
        alone.append(detect(now, then).new.any())
        with_noise.append(detect(now, then, support=support).new.any())
        t2w_now.add((42, 32, 24), 2.0, 0.13)
        with_both.append(detect(now, then, support=support).new.any())
    assert all(with_both)
    assert with_noise == alone
    assert sum(alone) < 4


def test_what_the_second_contrast_alone_shows_is_no_change():
    now, then, t2w_now, t2w_then = map(noisy, range(4))
    t2w_now.add((42, 32, 24), 3.0, 0.5)
    support = (t2w_now.scan(), t2w_then.scan())
    assert not detect(now, then, support=support).new.any()


def test_support_of_another_shape_is_refused():
    now, then = Head(seed=1), Head(seed=2)
    support = (replace(now.scan(), image=now.image[:-1]), then.scan())
    with pytest.raises(ValueError, match=r"support\.current must have the shape"):
        detect(now, then, support=support)


def test_visits_of_two_contrasts_are_refused():
    with pytest.raises(ValueError, match="one contrast"):
        detect(Head("FLAIR"), Head("T2w"))


NOTHING = np.zeros(SHAPE, np.float32)


def by_network(centre: tuple[float, float, float]) -> np.ndarray:
    return np.where(radius_map(centre) <= 3, 0.95, 0.01).astype(np.float32)


def test_what_the_network_alone_calls_new_is_a_candidate_and_not_counted():
    now, then = Head(seed=1), Head(seed=2)
    change = detect(now, then, probability=(by_network((42, 32, 24)), NOTHING))
    assert not change.new.any()
    assert change.rejected.causes.count("not_in_difference") == 1
    number = change.rejected.causes.index("not_in_difference") + 1
    np.testing.assert_array_equal(change.rejected.dseg == number, radius_map((42, 32, 24)) <= 3)
    assert change.candidate_scores[0] > 0


def test_what_the_network_saw_at_the_reference_visit_is_not_new_by_it():
    now, then = Head(seed=1), Head(seed=2)
    both = by_network((42, 32, 24))
    moved = by_network((43, 32, 24))
    assert "not_in_difference" not in detect(now, then, probability=(both, moved)).rejected.causes


def test_what_the_difference_alone_shows_says_so_when_it_is_not_counted():
    now, then = Head(seed=1), Head(seed=2)
    lesion = now.add((42, 32, 24), 3.0, 0.3)
    limits = ChangeThresholds(min_score=1.0)
    for probability, cause in (
        (None, "score_below_limit"),
        ((by_network((42, 32, 24)), NOTHING), "score_below_limit"),
        ((NOTHING, NOTHING), "new_by_difference_only"),
    ):
        rejected = detect(now, then, thresholds=limits, probability=probability).rejected
        (number,) = set(np.unique(rejected.dseg[lesion])) - {0}
        assert rejected.causes[number - 1] == cause


def test_a_rise_mostly_in_fluid_around_the_brain_is_offered_and_not_counted():
    now, then = Head(seed=1), Head(seed=2)
    lesion = now.add((42, 32, 24), 3.0, 0.4)
    now.priors["csf"][lesion] = 0.6
    rejected = detect(now, then).rejected
    (number,) = set(np.unique(rejected.dseg[lesion])) - {0}
    assert rejected.causes[number - 1] == "csf_space"
    assert 0.05 <= rejected.scores[number - 1] <= 0.3


def test_faint_growth_is_a_candidate_and_not_counted():
    """Its best seed is below those that lesions are grown from."""
    now, then = noisy(1), noisy(2)
    lesion = now.add((42, 32, 24), 2.5, 0.12)
    seen = detect(now, then)
    unseen = detect(now, then, thresholds=ChangeThresholds(faint_sigma=np.inf, supported_faint_sigma=np.inf))
    assert not seen.new.any()
    (number,) = set(np.unique(seen.rejected.dseg[lesion])) - {0}
    assert 0.05 <= seen.rejected.scores[number - 1] < 0.5
    assert not unseen.candidates[lesion].any()


def test_what_is_only_offered_changes_no_count_and_no_lesion():
    """Faint seeds and the network add candidates; what is counted and carried on stays as without them."""
    now, then = noisy(1), noisy(2)
    old = then.add((22, 32, 24), 3.0, 0.4)
    now.add((22, 32, 24), 3.0, 0.4)
    now.add((42, 32, 24), 3.0, 0.4)
    now.add((32, 44, 24), 2.5, 0.12)
    told = (by_network((32, 20, 24)), NOTHING)
    off = ChangeThresholds(faint_sigma=np.inf, supported_faint_sigma=np.inf)
    plain = detect(now, then, old=old, current_lesions=old, thresholds=off)
    offered = detect(now, then, old=old, current_lesions=old, probability=told)
    assert plain.new.any()
    for name in ("new", "enlarging", "lesions", "score"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(offered, name))
    assert len(offered.rejected) > len(plain.rejected)


def test_probability_of_another_shape_is_refused():
    head = Head(seed=1)
    with pytest.raises(ValueError, match=r"probability\.reference must have the shape"):
        detect(head, Head(seed=2), probability=(NOTHING, NOTHING[:-1]))
