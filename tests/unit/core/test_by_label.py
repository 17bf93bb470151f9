"""Values by label against scipy, labels without voxels and empty images included."""

import numpy as np
from scipy import ndimage

from mesems_mri.core.by_label import highest_by_label, mean_by_label


def test_values_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    dseg = rng.integers(0, 6, (9, 8, 7)).astype(np.int32)
    dseg[dseg == 3] = 0
    values = rng.normal(-5.0, 1.0, dseg.shape).astype(np.float32)
    labels = [1, 2, 4, 5]
    for ours, theirs in ((highest_by_label, ndimage.maximum), (mean_by_label, ndimage.mean)):
        found = ours(values, dseg)
        np.testing.assert_allclose(found[labels], theirs(values, dseg, labels), rtol=1e-5)
        assert found[0] == found[3] == 0.0


def test_no_label_gives_background_alone() -> None:
    nothing = np.zeros((3, 3, 3), np.int32)
    for function in (highest_by_label, mean_by_label):
        assert function(np.ones((3, 3, 3), bool), nothing).tolist() == [0.0]
