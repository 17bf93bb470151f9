"""Black holes: dark, inside a T2 lesion, not enhancing."""

import numpy as np
import pytest

from mesems_mri.core.t2.black_holes import segment_black_holes

SPACING = (1.0, 1.0, 1.0)


def black_hole_scene():
    t1w = np.full((20, 20, 20), 1.0, np.float32)
    csf = np.zeros(t1w.shape, bool)
    csf[:3] = True
    t1w[csf] = 0.2
    t2 = np.zeros_like(csf)
    t2[8:14, 8:14, 8:14] = True
    nawm = ~csf & ~t2
    return t1w, csf, t2, nawm


def test_black_hole_is_dark_and_inside_a_lesion():
    t1w, csf, t2, nawm = black_hole_scene()
    t1w[9:12, 9:12, 9:12] = 0.5
    t1w[16:19, 16:19, 16:19] = 0.5
    holes = segment_black_holes(t1w, t2_mask=t2, nawm=nawm, csf=csf, gel_mask=None, spacing_mm=SPACING)
    assert holes.sum() == 27
    assert holes[10, 10, 10]


def test_grey_lesion_is_no_black_hole():
    t1w, csf, t2, nawm = black_hole_scene()
    t1w[t2] = 0.65
    assert not segment_black_holes(
        t1w, t2_mask=t2, nawm=nawm, csf=csf, gel_mask=None, spacing_mm=SPACING
    ).any()


def test_enhancing_hole_is_no_black_hole():
    t1w, csf, t2, nawm = black_hole_scene()
    t1w[9:12, 9:12, 9:12] = 0.5
    gel = np.zeros_like(csf)
    gel[10, 10, 10] = True
    assert not segment_black_holes(
        t1w, t2_mask=t2, nawm=nawm, csf=csf, gel_mask=gel, spacing_mm=SPACING
    ).any()


def test_black_holes_need_dark_csf():
    t1w, csf, t2, nawm = black_hole_scene()
    with pytest.raises(ValueError, match="darker"):
        segment_black_holes(2 - t1w, t2_mask=t2, nawm=nawm, csf=csf, gel_mask=None, spacing_mm=SPACING)
