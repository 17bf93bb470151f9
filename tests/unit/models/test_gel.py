"""Classifier of candidates for enhancing lesions: one answer for each, whatever stands beside it."""

import numpy as np
import pytest

from mesems_mri.core.gel.candidates import CHANNELS, PATCH_SIDE
from mesems_mri.models.gel import classify_candidates, network_log_odds


def patches(number: int) -> np.ndarray:
    """Noise in the shape of patches."""
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (number, len(CHANNELS), *(PATCH_SIDE,) * 3)).astype(np.float32)


def test_one_answer_for_each_candidate() -> None:
    answers = classify_candidates(patches(19), np.zeros(19, np.float32))
    assert answers.shape == (19,)
    assert answers.dtype == np.float32
    assert np.isfinite(answers).all()
    assert answers.tobytes() == classify_candidates(patches(19), np.zeros(19, np.float32)).tobytes()


def test_no_candidate_no_answer() -> None:
    assert classify_candidates(patches(0), np.zeros(0, np.float32)).shape == (0,)


def test_candidates_do_not_touch_each_other() -> None:
    together = network_log_odds(patches(19))
    np.testing.assert_allclose(network_log_odds(patches(19)[18:]), together[18:], atol=1e-3)


def lesion_patch(*, enhancing: float, thin: bool = False) -> np.ndarray:
    """Patch of a ball of 6 mm, or a thin tube, that enhances in a ball that is bright on T2-type images."""
    patch = patches(1)[0] * 0.05
    index = np.indices(patch.shape[1:]) - PATCH_SIDE // 2
    ball = (index**2).sum(axis=0) <= 9
    tube = (index[:2] ** 2).sum(axis=0) <= 1
    part = tube if thin else ball
    wide = (index**2).sum(axis=0) <= 25
    by_name = dict(zip(CHANNELS, patch, strict=True))
    by_name["increase_z"] += np.arcsinh(enhancing / 0.05 * part) / 3
    by_name["increase"] += enhancing * part
    for name in ("correlate_z", "support_z"):
        by_name[name] += np.arcsinh(5.0 * wide * (not thin)) / 3
    by_name["candidate"][:] = part
    by_name["csf"][:] = 0
    by_name["depth"][:] = 1
    by_name["ventricle"][:] = 0
    return patch


@pytest.mark.parametrize("enhancing", [0.4, 0.8])
def test_nodule_in_a_lesion_is_likelier_than_a_tube_outside(enhancing: float) -> None:
    both = np.stack([lesion_patch(enhancing=enhancing), lesion_patch(enhancing=enhancing, thin=True)])
    nodule, tube = network_log_odds(both)
    assert nodule > tube + 3
