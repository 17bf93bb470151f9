"""The joint segmentation: who proposes, what is measured of a focus, what is counted, what is kept beside."""

from dataclasses import replace

import numpy as np
import pytest

from mesems_mri.core.components import label_components
from mesems_mri.core.t2 import segment
from mesems_mri.core.t2.segment import (
    FEATURES,
    SegmentThresholds,
    T2Segmentation,
    draw_foci,
    find_lesion_candidates,
    judge_foci,
    score_foci,
    segment_t2_lesions,
)
from tests.unit.core.t2.test_brightness import SHAPE, SPACING, Head, radius_map

SEEN = (42, 32, 24)
DOUBTED = (22, 32, 24)


def blob(centre: tuple[float, float, float], peak: float, radius: float = 3.0) -> np.ndarray:
    """Return a probability that falls off round a place."""
    return (peak * np.clip(1.5 - radius_map(centre) / (2 * radius), 0, 1)).clip(max=peak).astype(np.float32)


def run(head: Head, probability: np.ndarray, **limits: float) -> T2Segmentation:
    return segment_t2_lesions(head.scan(), head.anatomy(), probability, SegmentThresholds(**limits))


def test_what_the_network_sees_and_the_scan_shows_is_counted() -> None:
    head = Head()
    lesion = head.add(SEEN, 3.0, 0.5)
    found = run(head, blob(SEEN, 0.99))
    assert label_components(found.mask)[1] == 1
    assert found.mask[lesion].mean() > 0.9
    assert (found.score[found.mask] >= 0.5).all()
    assert len(found.candidates) == 0


def test_neither_proposer_alone_is_lost() -> None:
    head = Head()
    bright = head.add(SEEN, 3.0, 0.5)
    found = run(head, blob(DOUBTED, 0.3), min_score=1.0)
    assert not found.mask.any()
    assert len(found.candidates) == 2
    assert found.candidates.dseg[bright].any()
    assert found.candidates.dseg[DOUBTED] > 0
    assert set(found.candidates.causes) == {"score_below_limit"}


def test_every_focus_is_counted_or_a_candidate() -> None:
    head = Head()
    head.add(SEEN, 3.0, 0.5)
    probability = np.maximum(blob(SEEN, 0.99), blob(DOUBTED, 0.3))
    proposed = find_lesion_candidates(head.scan(), head.anatomy(), probability, SegmentThresholds())
    assert proposed is not None
    for limit in (0.0, 0.5, 1.0):
        found = run(head, probability, min_score=limit)
        assert label_components(found.mask)[1] + len(found.candidates) == proposed.foci.max()
        assert not (found.mask & (found.candidates.dseg > 0)).any()
        assert all(score < limit for score in found.candidates.scores)


def test_a_lesion_is_drawn_at_a_low_probability_and_two_drawn_are_two() -> None:
    head = Head()
    head.add(SEEN, 3.0, 0.5)
    probability = np.maximum(blob(SEEN, 0.99), blob(DOUBTED, 0.9))
    proposed = find_lesion_candidates(head.scan(), head.anatomy(), probability, SegmentThresholds())
    assert proposed is not None
    box = proposed.tissue.box
    assert ((proposed.foci > 0) >= (probability[box] >= 0.35)).all()
    assert proposed.foci.max() == 2


def test_a_faint_focus_is_drawn_at_half_of_its_own_peak() -> None:
    head = Head()
    lesion = radius_map(DOUBTED) <= 3
    probability = np.where(lesion, np.float32(0.3), np.float32(0.0))
    probability[DOUBTED] = 0.5
    proposed = find_lesion_candidates(head.scan(), head.anatomy(), probability, SegmentThresholds())
    assert proposed is not None
    np.testing.assert_array_equal(proposed.foci > 0, lesion[proposed.tissue.box])


def test_what_lies_mostly_in_fluid_around_the_brain_is_offered_and_not_counted() -> None:
    head = Head()
    head.add(SEEN, 3.0, 0.5)
    seen = find_lesion_candidates(head.scan(), head.anatomy(), blob(SEEN, 0.99), SegmentThresholds())
    assert seen is not None
    for csf, cause, counted in ((0.45, "score_below_limit", True), (0.55, "csf_space", False)):
        fluid = np.full(seen.foci.shape, csf, np.float32)
        score, causes = judge_foci(replace(seen, tissue=replace(seen.tissue, csf=fluid)))
        assert (score[1] >= 0.5) is np.bool_(counted)
        assert causes[1] == cause
        assert score[1] > 0.05
    assert score[1] == 0.3


def test_features_are_those_of_the_focus() -> None:
    head = Head()
    lesion = head.add(SEEN, 3.0, 0.5)
    probability = np.where(lesion, np.float32(0.9), np.float32(0.01))
    proposed = find_lesion_candidates(head.scan(), head.anatomy(), probability, SegmentThresholds())
    assert proposed is not None
    of = dict(zip(FEATURES, proposed.features[1], strict=True))
    assert of["peak"] == pytest.approx(np.log(9), abs=1e-3)
    assert of["size"] == pytest.approx(np.log(lesion.sum()))
    assert of["excess"] > 3
    assert of["by_brightness"] == 6.0
    assert of["radius"] == pytest.approx(3.0, abs=1.0)
    assert of["ventricle"] == 0.0
    assert 0.5 < of["bright"] <= 1.0
    assert proposed.features[0, 0] == 0.0


def test_brightness_is_trusted_in_thin_slices_only() -> None:
    head = Head()
    head.add(SEEN, 3.0, 0.5)
    said = {}
    for thickness in (3.0, 5.0, 7.0):
        scan = replace(head.scan(), slice_thickness_mm=thickness)
        nothing = np.zeros(SHAPE, np.float32)
        proposed = find_lesion_candidates(scan, head.anatomy(), nothing, SegmentThresholds())
        assert proposed is not None
        said[thickness] = proposed.features[1, FEATURES.index("by_brightness")]
    assert said[3.0] > 3.0
    assert said[5.0] == pytest.approx(said[3.0] / 2)
    assert said[7.0] == 0.0


def test_between_thick_slices_the_network_draws() -> None:
    """What is bright beside a lesion is partial volume there; an unseen focus stays as it was found."""
    head = Head()
    lesion = head.add(SEEN, 4.0, 0.5)
    small = np.where(radius_map(SEEN) <= 2.5, np.float32(0.99), np.float32(0.01))
    faint = np.full(SHAPE, 0.01, np.float32)
    for thickness, probability, drawn in (
        (3.0, small, lesion),
        (7.0, small, small > 0.5),
        (7.0, faint, lesion),
    ):
        scan = replace(head.scan(), slice_thickness_mm=thickness)
        limits = SegmentThresholds()
        found = find_lesion_candidates(scan, head.anatomy(), probability, limits)
        assert found is not None
        mask = draw_foci(found, np.arange(found.foci.max() + 1) > 0, scan, SPACING, limits)
        overlap = 2 * (mask & drawn[found.tissue.box]).sum() / (mask.sum() + drawn.sum())
        assert overlap > 0.85
        assert label_components(mask)[1] == found.foci.max()


def test_more_evidence_never_lowers_the_score() -> None:
    plain = np.zeros((2, len(FEATURES)))
    for name in ("peak", "surround", "by_brightness"):
        more = plain.copy()
        more[1, FEATURES.index(name)] = 3.0
        assert score_foci(more)[1] >= score_foci(plain)[1]
    assert score_foci(plain)[0] == 0.0


def test_weights_are_one_a_feature() -> None:
    assert len(segment.WEIGHTS) == len(FEATURES)


def test_no_brain_and_a_probability_of_another_shape() -> None:
    head = Head()
    nothing = np.zeros(SHAPE, np.float32)
    head.brain = np.zeros(SHAPE, bool)
    assert not run(head, nothing).mask.any()
    with pytest.raises(ValueError, match="probability"):
        run(Head(), nothing[:-1])
