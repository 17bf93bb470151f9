"""Candidates: what was considered and is not counted."""

import numpy as np
import pytest

from mesems_mri.core.candidates import (
    Candidates,
    Piece,
    components_as_candidates,
    gather,
    not_counted,
)

SHAPE = (12, 10, 8)
WHOLE = (slice(None),) * 3


def block(start: int, stop: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[start:stop, 2:5, 2:5] = True
    return mask


def piece(start: int, stop: int, score: float, cause: str = "vessel") -> Piece:
    return Piece(block(start, stop), WHOLE, score, cause)


def test_what_is_counted_is_no_candidate() -> None:
    dseg = (block(0, 2) * 1 + block(4, 6) * 2 + block(8, 9) * 3).astype(np.int32)
    rejected = not_counted(dseg, (0.9, 0.3, 0.1), block(1, 2), "score_below_limit")
    assert rejected.scores == (0.3, 0.1)
    np.testing.assert_array_equal(rejected.dseg, block(4, 6) * 1 + block(8, 9) * 2)


def test_the_operating_point_is_inclusive_and_keeps_the_order() -> None:
    dseg = (block(0, 2) * 1 + block(4, 6) * 2 + block(8, 9) * 3).astype(np.int32)
    some = Candidates(dseg, (0.05, 0.049, 0.3), ("vessel", "csf_space", "brain_edge")).at_least(0.05)
    assert (some.scores, some.causes) == ((0.05, 0.3), ("vessel", "brain_edge"))
    np.testing.assert_array_equal(some.dseg, block(0, 2) * 1 + block(8, 9) * 2)


def test_the_same_focus_twice_is_listed_once_with_its_better_score() -> None:
    found = gather([piece(0, 4, 0.2), piece(0, 3, 0.4, "csf_space")], SHAPE)
    assert (found.scores, found.causes) == ((0.4,), ("csf_space",))
    np.testing.assert_array_equal(found.dseg > 0, block(0, 3))


def test_of_two_that_overlap_a_little_the_better_one_has_the_voxels() -> None:
    found = gather([piece(0, 4, 0.2), piece(3, 7, 0.4)], SHAPE)
    assert found.scores == (0.4, 0.2)
    np.testing.assert_array_equal(found.dseg, block(3, 7) * 1 + block(0, 3) * 2)


def test_what_touches_a_counted_focus_is_left_out() -> None:
    assert len(gather([piece(0, 4, 0.2), piece(6, 9, 0.4)], SHAPE, counted=block(3, 5))) == 1


def test_candidates_of_two_origins_are_joined() -> None:
    one = components_as_candidates(block(0, 3), np.full(SHAPE, 0.6, np.float32), "not_in_difference")
    other = Candidates(block(0, 4).astype(np.int32) + block(6, 8) * 2, (0.3, 0.1), ("vessel", "vessel"))
    joined = one.joined(other)
    assert joined.scores == (pytest.approx(0.6), 0.1)
    assert joined.causes == ("not_in_difference", "vessel")


def test_there_may_be_none() -> None:
    none = Candidates.none(SHAPE)
    assert len(none) == 0
    assert len(none.joined(none).at_least(0.0).apart_from(block(0, 3))) == 0
    assert len(components_as_candidates(np.zeros(SHAPE, bool), np.zeros(SHAPE, np.float32), "vessel")) == 0


@pytest.mark.parametrize(
    ("scores", "causes", "told"),
    [((0.1, 0.2), ("vessel",) * 2, "one number"), ((0.1,), ("ugly",), "ugly")],
)
def test_what_does_not_fit_is_refused(scores: tuple[float, ...], causes: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Candidates(block(0, 2).astype(np.int32), scores, causes)
