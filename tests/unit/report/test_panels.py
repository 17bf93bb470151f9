"""Slices and outlines: the right side, the right place, the right grey."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from mesems_mri.report.panels import PLANES, draw_panel, locate, outline_path

SHAPE = (6, 8, 10)


def grey(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def corners(path: str) -> np.ndarray:
    return np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2)


@pytest.mark.parametrize("axis", PLANES)
def test_outline_surrounds_its_voxel_and_the_right_is_on_the_left(axis: int) -> None:
    image = np.zeros(SHAPE, np.float32)
    place = (4, 6, 7)  # towards the patient's right hand side of the array's end: right, front, top
    image[place] = 1
    panel = draw_panel(image, axis=axis, index=place[axis], window=(0, 1), title="t", masks={"T2": image > 0})
    picture = grey(panel.uri)
    row, column = (int(i[0]) for i in np.nonzero(picture == 255))
    assert (picture.shape[1], picture.shape[0]) == (panel.width, panel.height)
    points = corners(panel.outlines["T2"])
    np.testing.assert_allclose(points.min(axis=0), (column, row))
    np.testing.assert_allclose(points.max(axis=0), (column + 1, row + 1))
    assert row < panel.height / 2  # front and top are up
    if axis != 0:
        assert column < panel.width / 2  # the array runs to the right, the picture to the left


def test_window_is_black_to_white() -> None:
    image = np.linspace(0, 2, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)
    picture = grey(draw_panel(image, axis=2, index=0, window=(0.5, 1.0), title="t").uri)
    assert picture.min() == 0
    assert picture.max() == 255


def test_rings_have_two_outlines_and_empty_masks_none() -> None:
    ring = np.ones((7, 7), bool)
    ring[3, 3] = False
    assert outline_path(ring).count("M") == 2
    assert outline_path(np.zeros((5, 5), bool)) == ""
    panel = draw_panel(
        np.ones(SHAPE, np.float32),
        axis=0,
        index=1,
        window=(0, 1),
        title="t",
        masks={"T2": np.zeros(SHAPE, bool)},
    )
    assert panel.outlines == {}


def test_coarse_slices_are_stretched_and_a_place_is_framed() -> None:
    panel = draw_panel(
        np.ones(SHAPE, np.float32), axis=0, index=0, window=(0, 2), title="t", voxel_mm=(1.0, 1.0, 3.0)
    )
    assert (panel.width, panel.height) == (8, 30)
    assert locate(panel, centre=(4, 15), half_width=2).frame == (2, 13, 4, 4)
