"""Two T1w files of one head compared: moved, other grids, stripped, and files that say nothing."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg, ndimage

from mesems_mri.images.contrast_evidence import compare_t1, compare_volumes
from mesems_mri.images.nifti import write_image
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume
from tests.unit.images.test_brain import make_head


@cache
def heads(*, stripped: bool = False) -> tuple[Volume, Volume]:
    """Return a head before and after contrast: the midline and a net over the brain enhance."""
    pre, brain = make_head("T1w")
    x, y, z = np.indices(pre.shape)
    shell = ndimage.binary_dilation(brain) & ~ndimage.binary_erosion(brain)
    net = shell & ((np.abs(x - 29) < 2) | (y % 10 < 2) & (z % 8 < 4))
    noise = np.random.default_rng(1).normal(0, 3, pre.shape)
    post = Volume((pre.array + 90 * net + noise).astype(np.float32), pre.affine)
    if not stripped:
        return pre, post
    inside = ndimage.binary_dilation(brain)
    pre, post = (Volume(np.where(inside, np.maximum(v.array, 0.1), 0), v.affine) for v in (pre, post))
    return pre, post


def moved(volume: Volume) -> Volume:
    """Return the scan of a head that has moved by 3 degrees and 3.5 mm, on thick oblique slices."""
    motion = np.eye(4)
    motion[:3, :3] = linalg.expm(np.cross(np.eye(3), np.radians([2.0, -1.5, 1.5])))
    motion[:3, 3] = (2.0, -2.0, 2.0)
    affine = np.diag([2.5, 2.5, 4.0, 1.0])
    affine[:3, 3] = (-92, -118, -95)
    blurred = Volume(ndimage.gaussian_filter(volume.array, (0, 0, 0.4)), volume.affine)
    return Volume(resample_image(blurred, Grid((72, 88, 49), affine), motion), affine)


@pytest.mark.parametrize("stripped", [False, True])
def test_an_enhanced_head_is_found_either_way(*, stripped: bool) -> None:
    pre, post = heads(stripped=stripped)
    found = compare_volumes(pre, post)
    assert (found.vote, found.reason) == ("post", "")
    assert compare_volumes(post, pre) == found.reversed()


def test_motion_slices_and_gain_do_not_matter() -> None:
    pre, post = heads()
    other = moved(post)
    found = compare_volumes(pre, Volume(0.3 * other.array, other.affine))
    assert found.vote == "post"
    assert found.likeness > 0.8


@pytest.mark.parametrize("number", [0, 1])
def test_a_head_against_itself_gets_no_vote(number: int) -> None:
    head = heads()[number]
    assert compare_volumes(head, moved(head)).vote == ""


def test_files_are_read_and_what_is_odd_gives_a_reason(tmp_path: Path) -> None:
    pre, post = heads()
    for name, volume in (("pre", pre), ("post", post)):
        write_image(tmp_path / f"{name}.nii.gz", volume.array, volume.affine)
    rng = np.random.default_rng(0)
    odd = {
        "noise": rng.normal(100, 10, (40, 40, 20)).astype(np.float32),
        "empty": np.zeros((40, 40, 20), np.float32),
        "constant": np.full((40, 40, 20), 7.0, np.float32),
        "thin": np.ones((40, 40, 1), np.float32),
    }
    for name, array in odd.items():
        write_image(tmp_path / f"{name}.nii.gz", array, np.diag([5.0, 5.0, 7.0, 1.0]))
    (tmp_path / "text.nii.gz").write_text("no image", encoding="utf-8")
    assert compare_t1(tmp_path / "pre.nii.gz", tmp_path / "post.nii.gz").vote == "post"
    for name in (*odd, "text", "missing"):
        found = compare_t1(tmp_path / "post.nii.gz", tmp_path / f"{name}.nii.gz")
        assert found.vote == "", name
        assert found.reason in ("unreadable", "unlike", "too_little_brain"), name
