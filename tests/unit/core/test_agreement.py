import math

import numpy as np
import pytest

from mesems_mri.core.agreement import compare_masks
from mesems_mri.core.tally import SIZE_CLASSES_MM3, Tally, pool

ONE_MM = (1.0, 1.0, 1.0)
SHAPE = (60, 60, 40)


def box(*spans, shape=SHAPE):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def scattered_lesions(n=60, shape=(130, 150, 110), seed=3):
    """Ellipsoids of 14-500 mm3, log-uniform, at least 12 mm apart, and the white matter they lie in."""
    rng = np.random.default_rng(seed)
    axes = np.indices(shape).astype(np.float32)
    centre = (np.array(shape) - 1) / 2
    radius = np.sqrt(sum(((axes[i] - centre[i]) / (centre[i] - 8)) ** 2 for i in range(3)))
    white_matter = radius < 1
    lesions = np.zeros(shape, dtype=bool)
    places: list[np.ndarray] = []
    while len(places) < n:
        place = rng.uniform(14, np.array(shape) - 14)
        if not white_matter[tuple(place.astype(int))]:
            continue
        if any(np.linalg.norm(place - other) < 16 for other in places):
            continue
        places.append(place)
        volume = math.exp(rng.uniform(math.log(18), math.log(480)))
        stretch = rng.uniform(0.75, 1.33, size=3)
        stretch /= np.prod(stretch) ** (1 / 3)
        radii = (3 * volume / (4 * math.pi)) ** (1 / 3) * stretch
        lesions |= sum(((axes[i] - place[i]) / radii[i]) ** 2 for i in range(3)) < 1
    return lesions, white_matter


@pytest.fixture(scope="module")
def brain():
    return scattered_lesions()


def test_truth_against_itself_is_perfect(brain):
    lesions, _ = brain
    agreement = compare_masks(lesions, lesions, spacing_mm=ONE_MM)
    assert agreement.overall == Tally(60, 60, 60, 60, 60)
    assert agreement.overall.f1 == agreement.dice == agreement.volume_ratio == 1.0
    assert all(agreement.by_size[name].truth >= 5 for name in ("14-27", "27-70", "70-500"))


def test_nothing_found_scores_zero_not_undefined(brain):
    lesions, _ = brain
    agreement = compare_masks(lesions, np.zeros_like(lesions), spacing_mm=ONE_MM)
    assert agreement.overall.sensitivity == 0.0
    assert agreement.overall.precision is None
    assert agreement.overall.f1 == 0.0
    assert agreement.dice == 0.0
    assert agreement.overall.count_error == -60


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_truth_shifted_by_6_mm_scores_near_zero(brain, axis):
    lesions, _ = brain
    agreement = compare_masks(lesions, np.roll(lesions, 6, axis=axis), spacing_mm=ONE_MM)
    f1 = agreement.overall.f1
    assert f1 is not None
    assert f1 < 0.1


def test_whole_white_matter_scores_below_a_tenth(brain):
    lesions, white_matter = brain
    agreement = compare_masks(lesions, white_matter | lesions, spacing_mm=ONE_MM)
    f1 = agreement.overall.f1
    assert f1 is not None
    assert f1 < 0.1
    assert agreement.overall.found == 0


def test_half_of_the_white_matter_in_slabs_scores_below_a_tenth(brain):
    lesions, white_matter = brain
    slabs = white_matter.copy()
    slabs[::4] = slabs[1::4] = False
    f1 = compare_masks(lesions, slabs, spacing_mm=ONE_MM).overall.f1
    assert f1 is not None
    assert f1 < 0.1


def test_both_empty_is_undefined():
    empty = np.zeros(SHAPE, dtype=bool)
    agreement = compare_masks(empty, empty, spacing_mm=ONE_MM)
    overall = agreement.overall
    assert overall == Tally()
    figures = (overall.sensitivity, overall.precision, overall.f1, overall.f1_matched, agreement.dice)
    assert (*figures, agreement.volume_ratio) == (None,) * 6
    assert overall.count_error == 0


def test_false_alarm_without_truth():
    agreement = compare_masks(np.zeros(SHAPE), box((5, 8), (5, 8), (5, 8)), spacing_mm=ONE_MM)
    assert agreement.overall.sensitivity is None
    assert agreement.overall.precision == 0.0
    assert agreement.overall.f1 == 0.0
    assert agreement.volume_ratio is None


@pytest.mark.parametrize(("covered", "found"), [(1, 0), (2, 1)])
def test_a_tenth_must_be_covered(covered, found):
    truth = box((10, 12), (10, 20), (10, 11))  # 20 voxels, 2 of them are a tenth
    detection = box((10, 12), (10 + 10 - covered, 20), (10, 11)) & box((10, 11), (0, 60), (0, 40))
    detection |= box((10, 11), (20, 21), (10, 11)) if covered == 2 else False
    agreement = compare_masks(truth, detection, spacing_mm=ONE_MM, min_volume_mm3=1)
    assert int((truth & detection).sum()) == covered
    assert agreement.overall.found == found


@pytest.mark.parametrize(("outside", "found"), [(14, 1), (15, 0)])
def test_seven_tenths_may_lie_outside(outside, found):
    truth = box((10, 12), (10, 13), (10, 11))  # 6 voxels, all inside the detection: 6 + 14 is 70 % outside
    detection = truth | box((12, 12 + outside), (10, 11), (10, 11))
    agreement = compare_masks(truth, detection, spacing_mm=ONE_MM, min_volume_mm3=1)
    assert agreement.overall.found == found


def test_a_speck_in_a_large_lesion_is_no_true_detection():
    truth = box((10, 30), (10, 30), (10, 30))
    detection = box((18, 21), (18, 21), (18, 21))
    agreement = compare_masks(truth, detection, spacing_mm=ONE_MM)
    assert agreement.overall == Tally(truth=1, found=0, detections=1, true_detections=0, matched=0)


def test_split_and_merged_lesions_are_found_but_matched_once():
    whole = box((10, 30), (10, 14), (10, 14))
    parts = whole & ~box((19, 20), (0, 60), (0, 40))
    split = compare_masks(whole, parts, spacing_mm=ONE_MM).overall
    assert split == Tally(truth=1, found=1, detections=2, true_detections=2, matched=1)
    merged = compare_masks(parts, whole, spacing_mm=ONE_MM).overall
    assert merged == Tally(truth=2, found=2, detections=1, true_detections=1, matched=1)
    assert merged.f1 == 1.0
    assert merged.f1_matched == pytest.approx(2 / 3)
    assert split.count_error == 1
    assert merged.count_error == -1


def test_matching_prefers_more_pairs_over_more_overlap():
    # The long detection overlaps the left lesion best (Jaccard 0.5). Taking that pair would leave the right
    # lesion without a partner; the other two pairs have 0.2 each.
    truth = box((10, 30), (10, 13), (10, 13)) | box((31, 51), (10, 13), (10, 13))
    short, long = box((10, 14), (10, 13), (10, 13)), box((16, 38), (10, 13), (10, 13))
    assert compare_masks(truth, short | long, spacing_mm=ONE_MM).overall.matched == 2
    assert compare_masks(truth, long, spacing_mm=ONE_MM).overall.matched == 1


def test_diagonal_voxels_are_one_lesion():
    truth = box((10, 13), (10, 13), (10, 12)) | box((13, 16), (13, 16), (12, 14))
    assert compare_masks(truth, truth, spacing_mm=ONE_MM).overall.truth == 1


def test_lesions_at_the_border_and_of_other_dtypes_count():
    truth = box((0, 3), (0, 3), (0, 3)) | box((57, 60), (57, 60), (37, 40))
    agreement = compare_masks(truth.astype(np.uint8) * 255, truth.astype(np.float32), spacing_mm=ONE_MM)
    assert agreement.overall == Tally(2, 2, 2, 2, 2)
    assert [focus.centre_voxel for focus in agreement.foci[:2]] == [(1, 1, 1), (58, 58, 38)]


def test_small_truth_is_ignored_on_both_sides():
    truth = box((10, 12), (10, 13), (10, 12))  # 12 mm3
    detection = box((10, 12), (10, 13), (10, 13))  # 18 mm3 around it
    agreement = compare_masks(truth, detection, spacing_mm=ONE_MM)
    assert agreement.overall == Tally()
    assert (agreement.ignored_truth, agreement.ignored_detections) == (1, 1)


def test_small_detections_neither_find_nor_fail():
    truth = box((10, 13), (10, 13), (10, 13))
    detection = box((10, 12), (10, 13), (10, 12)) | box((30, 32), (30, 32), (30, 32))
    agreement = compare_masks(truth, detection, spacing_mm=ONE_MM)
    assert agreement.overall == Tally(truth=1)
    assert agreement.ignored_detections == 2


def test_ignored_region_counts_on_neither_side():
    truth = box((10, 13), (10, 13), (10, 13)) | box((30, 33), (30, 33), (10, 13))
    detection = truth | box((45, 48), (45, 48), (10, 13))
    ignore = box((28, 50), (28, 50), (0, 40))
    agreement = compare_masks(truth, detection, spacing_mm=ONE_MM, ignore=ignore)
    assert agreement.overall == Tally(1, 1, 1, 1, 1)
    assert (agreement.ignored_truth, agreement.ignored_detections) == (1, 2)
    assert agreement.truth_volume_mm3 == agreement.detection_volume_mm3 == 27.0
    outcomes = [(focus.side, focus.outcome) for focus in agreement.foci]
    assert outcomes == [
        ("truth", "found"),
        ("truth", "ignored"),
        ("detection", "true"),
        ("detection", "ignored"),
        ("detection", "ignored"),
    ]


def test_detection_mostly_ignored_that_hits_a_lesion_is_a_hit():
    truth = box((10, 13), (10, 13), (10, 13))
    ignore = box((13, 30), (0, 60), (0, 40))
    detection = box((10, 20), (10, 13), (10, 13))
    overall = compare_masks(truth, detection, spacing_mm=ONE_MM, ignore=ignore).overall
    assert overall == Tally(1, 1, 1, 1, 1)


def test_detection_half_ignored_without_a_hit_is_a_false_alarm():
    empty = np.zeros(SHAPE, dtype=bool)
    detection = box((10, 14), (10, 14), (10, 14))
    half = compare_masks(empty, detection, spacing_mm=ONE_MM, ignore=box((10, 12), (0, 60), (0, 40)))
    most = compare_masks(empty, detection, spacing_mm=ONE_MM, ignore=box((10, 13), (0, 60), (0, 40)))
    assert half.overall.false_detections == 1
    assert most.overall.false_detections == 0


def test_volumes_and_classes_use_the_voxel_size():
    truth = box((10, 14), (10, 14), (10, 12))  # 32 voxels of 0.75 mm3: 24 mm3
    agreement = compare_masks(truth, truth, spacing_mm=(0.5, 0.5, 3.0))
    assert agreement.truth_volume_mm3 == pytest.approx(24.0)
    assert agreement.by_size["14-27"] == Tally(1, 1, 1, 1, 1)
    # 14 mm3 in voxels whose product of header floats is a little below 2
    seven = box((10, 17), (10, 11), (10, 11))
    spacing = tuple(float(np.float32(x)) for x in (0.7, 0.7, 2 / 0.49))
    assert compare_masks(seven, seven, spacing_mm=spacing).overall.truth == 1


def test_by_size_adds_up_to_the_whole(brain):
    lesions, _ = brain
    agreement = compare_masks(lesions, np.roll(lesions, 2, axis=1), spacing_mm=ONE_MM)
    assert sum(agreement.by_size.values(), Tally()) == agreement.overall
    assert list(agreement.by_size) == list(SIZE_CLASSES_MM3)


def test_pooling_adds_visits():
    truth = box((10, 13), (10, 13), (10, 13))
    hit = compare_masks(truth, truth, spacing_mm=ONE_MM)
    miss = compare_masks(truth, np.zeros(SHAPE), spacing_mm=ONE_MM)
    both = pool([hit, miss])
    assert both.overall == Tally(2, 1, 1, 1, 1)
    assert both.overall.f1 == pytest.approx(2 / 3)
    assert both.dice == pytest.approx(2 / 3)
    assert pool([]).overall.f1 is None


@pytest.mark.parametrize("flip", [0, 1, 2])
def test_invariant_to_flips_and_translation(brain, flip):
    lesions, _ = brain
    detection = np.roll(lesions, 3, axis=0)
    here = compare_masks(lesions, detection, spacing_mm=ONE_MM)
    flipped = compare_masks(np.flip(lesions, flip), np.flip(detection, flip), spacing_mm=ONE_MM)
    moved = compare_masks(np.roll(lesions, 5, flip), np.roll(detection, 5, flip), spacing_mm=ONE_MM)
    assert here.overall == flipped.overall == moved.overall
    assert 0 < here.overall.found < 60


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, 1, float("nan"))])
def test_bad_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing_mm must be three positive"):
        compare_masks(np.zeros(SHAPE), np.zeros(SHAPE), spacing_mm=spacing)


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="detection must have the shape of truth"):
        compare_masks(np.zeros(SHAPE), np.zeros((60, 60, 41)), spacing_mm=ONE_MM)
    with pytest.raises(ValueError, match="truth must be 3D"):
        compare_masks(np.zeros((6, 6)), np.zeros((6, 6)), spacing_mm=ONE_MM)
    with pytest.raises(ValueError, match="ignore must be finite"):
        compare_masks(np.zeros(SHAPE), np.zeros(SHAPE), spacing_mm=ONE_MM, ignore=np.full(SHAPE, np.nan))
