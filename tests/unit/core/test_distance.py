"""Distances and closing, the short ways against the long ones."""

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.core.distance import close_mask, distance_from, distance_inside

SHAPE = (24, 30, 20)
SPACINGS = [(1.0, 1.0, 1.0), (1.0, 1.2, 3.0), (0.5, 1.0, 1.0)]


def masks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    corner = np.zeros(SHAPE, bool)
    corner[0, 0, 0] = True
    ends = corner.copy()
    ends[-1, -1, -1] = True
    middle = np.zeros(SHAPE, bool)
    middle[8:12, 10:20:3, 9] = True
    return {"scattered": rng.random(SHAPE) > 0.999, "corner": corner, "ends": ends, "middle": middle}


@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
@pytest.mark.parametrize("name", masks())
def test_distances_are_the_same_by_every_way(name: str, spacing_mm: tuple[float, float, float]) -> None:
    mask = masks()[name]
    full = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    assert np.array_equal(distance_from(mask, spacing_mm), np.float32(full))
    for reach_mm in (1.0, 2.5, 4.0, 100.0):
        near = distance_from(mask, spacing_mm, reach_mm)
        within = full <= reach_mm
        assert np.array_equal(near <= reach_mm, within)
        assert np.array_equal(near[within], np.float32(full[within]))
    outside = distance_inside(~mask, spacing_mm)
    assert np.array_equal(outside == 0, mask)


@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
@pytest.mark.parametrize("name", masks())
def test_closing_in_a_box_is_closing_in_the_whole(name: str, spacing_mm: tuple[float, float, float]) -> None:
    mask = masks()[name]
    for radius_mm in (2.0, 5.0, 9.0):
        near = ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm / 2
        whole = mask | (ndimage.distance_transform_edt(near, sampling=spacing_mm) > radius_mm / 2)
        assert np.array_equal(close_mask(mask, radius_mm, spacing_mm), whole)
    assert close_mask(masks()["middle"], 5.0, (1.0, 1.0, 1.0)).sum() > masks()["middle"].sum()


def test_an_empty_mask_is_infinitely_far_and_stays_empty() -> None:
    nothing = np.zeros(SHAPE, bool)
    assert np.isinf(distance_from(nothing, (1.0, 1.0, 1.0), 3.0)).all()
    assert not close_mask(nothing, 3.0, (1.0, 1.0, 1.0)).any()
