"""Resampling of images and of numbered foci: nothing moves, rings or vanishes."""

from typing import Literal

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.images.resampling import field_of_view, resample_image, resample_labels
from mesems_mri.images.volume import Grid, Volume
from tests.unit.images.test_nifti import OBLIQUE, rotation


def _smooth_volume() -> Volume:
    voxels = ndimage.gaussian_filter(np.random.default_rng(3).normal(0, 1, (60, 64, 20)), (3, 3, 1.5))
    return Volume((1000 * (voxels - voxels.min())).astype(np.float32), OBLIQUE)


@pytest.mark.parametrize("order", [1, 3])
def test_resampling_to_the_own_grid_changes_nothing(order: Literal[1, 3]) -> None:
    volume = _smooth_volume()
    resampled = resample_image(volume, volume.grid, np.eye(4), order=order)
    assert resampled.dtype == np.float32
    np.testing.assert_allclose(resampled, volume.array, atol=0.5)


def test_xfm_maps_output_to_volume() -> None:
    voxels = np.zeros((32, 32, 32), dtype=np.float32)
    voxels[10, 12, 14] = 1
    shift = np.eye(4)
    shift[:3, 3] = (2, 0, -3)
    resampled = resample_image(Volume(voxels, np.eye(4)), Grid((32, 32, 32), np.eye(4)), shift)
    assert np.argwhere(resampled > 0.9).tolist() == [[8, 12, 17]]


def test_field_of_view_is_where_an_image_without_zeros_is_not_zero() -> None:
    volume = Volume(np.ones((60, 64, 20), dtype=np.float32), OBLIQUE)
    shift = np.eye(4)
    shift[:3, 3] = (7.3, -4.1, 11.6)
    seen = field_of_view(volume, volume.grid, shift)
    assert 0.1 < seen.mean() < 0.9
    np.testing.assert_array_equal(seen, resample_image(volume, volume.grid, shift) > 0.5)


def test_spline_does_not_ring_outside_the_head() -> None:
    voxels = np.zeros((40, 40, 12), dtype=np.float32)
    voxels[10:30, 10:30, 3:9] = 100
    volume = Volume(voxels, np.diag([1, 1, 4.0, 1]))
    grid = Grid((40, 40, 48), np.diag([1, 1, 1, 1.0]))
    half = np.eye(4)
    half[:3, 3] = (0.4, 0.3, 0.0)
    cubic = resample_image(volume, grid, half, order=3)
    linear = resample_image(volume, grid, half, order=1)
    assert cubic.min() >= 0
    assert cubic.max() <= 100
    assert not cubic[linear == 0].any()


def test_outer_slices_reach_to_their_faces() -> None:
    volume = Volume(np.ones((20, 20, 6), dtype=np.float32), np.diag([1, 1, 4.0, 1]))
    grid_affine = np.eye(4)
    grid_affine[2, 3] = -4
    profile = resample_image(volume, Grid((20, 20, 32), grid_affine), np.eye(4))[10, 10]
    # Slices at 0, 4, ... 20 mm: the stack covers -2 to 22 mm.
    np.testing.assert_array_equal(np.flatnonzero(profile) - 4, np.arange(-2, 23))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_small_focus_in_the_corner_of_an_oblique_scan_comes_back(order: tuple[int, ...]) -> None:
    affine = OBLIQUE.copy()
    affine[:, :3] = affine[:, list(order)]
    shape = tuple(np.array((120, 130, 30))[list(order)])
    scan_grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    # The ball of 14 voxels has a radius of 1.5 mm and must lie inside the field of view.
    margin = np.ceil(2.5 / np.array(scan_grid.spacing_mm))
    corner = np.append(np.array(shape) - margin, 1)
    centre_mm = (affine @ corner)[:3]
    subject_affine = np.eye(4)
    subject_affine[:3, 3] = np.floor(centre_mm) - 30
    subject = np.zeros((60, 60, 60), dtype=np.int32)
    at = np.rint(centre_mm - subject_affine[:3, 3]).astype(int)
    ball = ((np.indices(subject.shape) - at[:, None, None, None]) ** 2).sum(0)
    subject[np.unravel_index(np.argsort(ball, axis=None, kind="stable")[:14], subject.shape)] = 7
    back = resample_labels(subject, subject_affine, scan_grid, np.eye(4))
    assert set(np.unique(back)) == {0, 7}
    centre = np.argwhere(back == 7).mean(axis=0)
    assert np.abs(centre - corner[:3]).max() <= 1.0
    volume_mm3 = (back == 7).sum() * scan_grid.voxel_volume_mm3
    assert volume_mm3 == pytest.approx(14, abs=scan_grid.voxel_volume_mm3)


@pytest.mark.parametrize("offset_mm", [0.0, 1.0, 2.0, 3.0])
def test_no_focus_vanishes_between_thick_slices(offset_mm: float) -> None:
    rng = np.random.default_rng(4)
    dseg = np.zeros((80, 80, 80), dtype=np.int32)
    for label in range(1, 60):
        x, y, z = rng.integers(5, 74, 3)
        dseg[x : x + 2, y : y + 2, z : z + 1] = label
    present = np.unique(dseg)
    affine = np.diag([0.7, 0.7, 4.0, 1.0])
    affine[2, 3] = offset_mm
    grid = Grid((115, 115, 20), affine)
    resampled = resample_labels(dseg, np.eye(4), grid, np.eye(4))
    inside = [n for n in present if np.argwhere(dseg == n)[:, 2].min() > offset_mm + 2]
    assert set(inside) <= set(np.unique(resampled))


def test_labels_there_and_back_keep_volume_and_place() -> None:
    index = np.indices((70, 70, 70)).transpose(1, 2, 3, 0)
    dseg = np.zeros((70, 70, 70), dtype=np.int32)
    for label, (centre, radius) in enumerate(
        [((20, 20, 20), 8), ((45, 40, 30), 3), ((40, 20, 50), 5)], start=1
    ):
        dseg[((index - centre) ** 2).sum(-1) <= radius**2] = label
    xfm = rotation((8, -5, 11))
    xfm[:3, 3] = (-3, 4, 1)
    scan_affine = np.diag([0.7, 0.7, 4.0, 1.0])
    scan_affine[:3, 3] = (-30, -30, -30)
    scan_grid = Grid((180, 180, 32), scan_affine)
    scan_space = resample_labels(dseg, np.eye(4), scan_grid, xfm)
    back = resample_labels(scan_space, scan_affine, Grid((70, 70, 70), np.eye(4)), np.linalg.inv(xfm))
    for label in (1, 2, 3):
        before, after = dseg == label, back == label
        assert after.sum() == pytest.approx(before.sum(), rel=0.05)
        np.testing.assert_allclose(np.argwhere(after).mean(0), np.argwhere(before).mean(0), atol=0.7)
    big = dseg == 1
    assert 2 * (big & (back == 1)).sum() / (big.sum() + (back == 1).sum()) > 0.85


def test_touching_foci_stay_apart_and_both_survive() -> None:
    dseg = np.zeros((20, 20, 20), dtype=np.int32)
    dseg[5:9, 5:9, 5:9] = 1
    dseg[9, 6, 6] = 2
    resampled = resample_labels(dseg, np.eye(4), Grid((10, 10, 5), np.diag([2, 2, 4, 1.0])), np.eye(4))
    assert set(np.unique(resampled)) == {0, 1, 2}


def test_empty_labels_and_labels_out_of_view() -> None:
    grid = Grid((20, 20, 20), np.eye(4))
    dseg = np.zeros((20, 20, 20), dtype=np.int32)
    assert not resample_labels(dseg, np.eye(4), grid, np.eye(4)).any()
    dseg[3, 3, 3] = 4
    away = np.eye(4)
    away[0, 3] = 100
    assert not resample_labels(dseg, np.eye(4), grid, away).any()
