"""The two T1w of a visit in subject space tell their order to the step that detects enhancing lesions."""

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.pipeline.detectors import contrast_evidence
from mesems_mri.pipeline.scene import Scene
from tests.unit.core.gel.test_evidence import head, noise, vessels
from tests.unit.pipeline.records import registered_image


def scene_of(pre: np.ndarray, post: np.ndarray, brain: np.ndarray) -> Scene:
    """Return the scene of a visit, two voxels of 1 mm for one of the arrays."""
    fine = [np.kron(array, np.ones((2, 2, 2), np.float32)).astype(np.float32) for array in (pre, post, brain)]
    entries = {c: registered_image(c) for c in ("T1w", POSTCONTRAST)}
    images = {"T1w": fine[0], POSTCONTRAST: fine[1]}
    return Scene(images=images, entries=entries, brain_mask=fine[2] > 0.5, priors={}, box=())  # type: ignore[arg-type]


@pytest.mark.parametrize("stripped", [False, True])
def test_the_order_of_the_two_t1w_is_seen(*, stripped: bool) -> None:
    pre, brain = head()
    post = pre + 90 * vessels() + noise(1)
    pre = pre + noise(2)
    if stripped:
        pre, post = (np.where(ndimage.binary_dilation(brain), image, 0) for image in (pre, post))
    found = contrast_evidence(scene_of(pre, post, brain))
    assert found.vote == "post"
    assert contrast_evidence(scene_of(post, pre, brain)) == found.reversed()
    assert contrast_evidence(scene_of(post, 0.3 * post + noise(3, 1.0), brain)).vote == ""
