"""Region and centre of lesions."""

import numpy as np
import pytest

from mesems_mri.core.location import centres, lesion_regions


def scene():
    shape = (40, 20, 20)
    priors = {
        name: np.zeros(shape, np.float32)
        for name in ("lateral_ventricles", "cortex", "white_matter", "cerebellum", "brainstem")
    }
    priors["lateral_ventricles"][:4] = 1.0
    priors["white_matter"][4:24] = 1.0
    priors["cortex"][24:28] = 1.0
    priors["cerebellum"][28:34] = 1.0
    priors["brainstem"][34:] = 1.0
    return np.zeros(shape, np.int32), priors


@pytest.mark.parametrize(
    ("start", "region"),
    [
        (4, "periventricular"),
        (5, "periventricular"),
        (6, "deep_white_matter"),
        (13, "deep_white_matter"),
        (19, "deep_white_matter"),
        (20, "juxtacortical"),
        (24, "juxtacortical"),
        (29, "infratentorial"),
        (35, "infratentorial"),
    ],
)
def test_region(start, region):
    dseg, priors = scene()
    dseg[start : start + 3, 5:8, 5:8] = 7
    assert lesion_regions(dseg, priors=priors) == {7: region}


def test_distance_is_in_millimetres():
    dseg, priors = scene()
    dseg[5:8, 5:8, 5:8] = 1
    regions = lesion_regions(dseg, priors=priors, spacing_mm=(3.0, 1.0, 1.0))
    assert regions == {1: "deep_white_matter"}


def test_confluent_lesion_is_periventricular_and_empty_is_empty():
    dseg, priors = scene()
    assert lesion_regions(dseg, priors=priors) == {}
    dseg[4:24, 5:8, 5:8] = 2
    assert lesion_regions(dseg, priors=priors) == {2: "periventricular"}


def test_missing_prior_is_refused():
    dseg, priors = scene()
    with pytest.raises(ValueError, match="cortex"):
        lesion_regions(dseg, priors={k: v for k, v in priors.items() if k != "cortex"})
    with pytest.raises(ValueError, match="shape"):
        lesion_regions(dseg[:5], priors=priors)


def test_centres_go_through_the_affine():
    dseg = np.zeros((10, 10, 10), np.int32)
    dseg[2:5, 4, 6] = 3
    dseg[0, 0, 0] = 9
    affine = np.array([[-2.0, 0, 0, 10], [0, 3, 0, -5], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert centres(dseg, affine) == {3: (4.0, 7.0, 6.0), 9: (10.0, -5.0, 0.0)}
    with pytest.raises(ValueError, match="4x4"):
        centres(dseg, np.eye(3))
