"""How much of the brain an image shows."""

import numpy as np
import pytest

from mesems_mri.pipeline.register import covered_fraction


def test_half_a_brain_is_half_covered() -> None:
    brain = np.zeros((10, 10, 10), np.float32)
    brain[2:8, 2:8, 2:8] = 1
    seen = np.zeros(brain.shape, bool)
    assert covered_fraction(seen, brain) == 0
    seen[..., :5] = True
    assert covered_fraction(seen, brain) == pytest.approx(0.5)
    assert covered_fraction(~seen | seen, brain) == 1


def test_no_brain_is_not_covered() -> None:
    assert covered_fraction(np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), np.float32)) == 0
