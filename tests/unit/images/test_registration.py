"""Rigid registration and the wrong-head test on synthetic heads of a few seconds."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.images import registration
from mesems_mri.images.greedy import RegistrationScan
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.same_head import HeadComparison, compare_heads
from mesems_mri.images.volume import Grid, Volume

CENTRED = np.array([[3.0, 0, 0, -84], [0, 3, 0, -99], [0, 0, 3, -78], [0, 0, 0, 1]])


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return noise / noise.std()


def synthetic_head(seed: int) -> tuple[Volume, Volume, np.ndarray]:
    """Return two contrasts of one head (3 mm) and its brain mask; the folds depend on the seed."""
    shape = (56, 66, 52)
    x, y, z = np.indices(shape)
    # An egg: wider behind and flat below, so that no turned position fits.
    radius = (
        ((x - 27) / 22) ** 2
        + ((y - 32) / (28 - 0.05 * (y - 32))) ** 2
        + ((z - 24) / (20 + 0.1 * (z - 24))) ** 2
    )
    brain = radius < 1
    rng = np.random.default_rng(seed)
    folds = _smooth_noise(rng, shape, 1.2) > 0.3
    ventricles = radius < 0.06 + 0.02 * (x > 27)
    tissue = np.where(ventricles, 3, np.where(folds, 2, 1)) * brain
    skull = (radius >= 1.15) & (radius < 1.4)
    t1w = np.array([0, 100, 70, 20])[tissue] + 90.0 * skull
    flair = np.array([0, 50, 80, 5])[tissue] + 30.0 * skull
    noise = rng.normal(0, 2, (2, *shape))
    volumes = [
        Volume((ndimage.gaussian_filter(image, 0.5) + 10 + n).astype(np.float32), CENTRED)
        for image, n in zip((t1w, flair), noise, strict=True)
    ]
    return volumes[0], volumes[1], brain


def rigid(angles_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> np.ndarray:
    """Return a rigid 4x4 matrix: turns about x, y, z, then a shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(angles_deg)):
        i, j = [a for a in range(3) if a != axis]
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift_mm
    return matrix


def moved(volume: Volume, mask: np.ndarray, xfm: np.ndarray, grid: Grid) -> tuple[Volume, np.ndarray]:
    """Return the head after `xfm` (old RAS mm -> new RAS mm), scanned on another grid."""
    back = np.linalg.inv(xfm)
    array = resample_image(volume, grid, back)
    turned_mask = resample_image(Volume(mask.astype(np.float32), volume.affine), grid, back) > 0.5
    return Volume(array, grid.affine), turned_mask


def error_mm(found: np.ndarray, true: np.ndarray, volume: Volume, mask: np.ndarray) -> float:
    """Return the mean distance (mm) between two transforms inside the brain."""
    points = volume.affine @ np.vstack([np.argwhere(mask).T, np.ones(mask.sum())])
    return float(np.linalg.norm(((found - true) @ points)[:3], axis=0).mean())


THICK = Grid((80, 96, 40), np.array([[-2.2, 0, 0, 88], [0, -2.2, 0, 100], [0, 0, 4.5, -90], [0, 0, 0, 1]]))


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, np.ndarray, Volume, np.ndarray, np.ndarray]:
    """One head as T1w, and as FLAIR in another position with thick slices."""
    t1w, flair, brain = synthetic_head(1)
    xfm = rigid((6, -4, 9), (7, -5, 4))
    other, other_brain = moved(flair, brain, xfm, THICK)
    return t1w, brain, other, other_brain, xfm


def test_other_contrast_and_slices_are_aligned(pair: tuple) -> None:
    fixed, fixed_mask, moving, moving_mask, xfm = pair
    found = registration.register_rigid(fixed, moving, fixed_mask=fixed_mask, moving_mask=moving_mask)
    assert error_mm(found.matrix, xfm, fixed, fixed_mask) < 0.5
    assert found.ok
    assert found.flags == ()
    assert found.similarity > found.similarity_before
    assert found.inverse_consistency_mm < 0.5
    np.testing.assert_allclose(found.matrix[:3, :3].T @ found.matrix[:3, :3], np.eye(3), atol=1e-9)


def test_swapping_the_scans_inverts_the_matrix(pair: tuple) -> None:
    fixed, fixed_mask, moving, moving_mask, _ = pair
    there = registration.register_rigid(fixed, moving, fixed_mask=fixed_mask, moving_mask=moving_mask)
    back = registration.register_rigid(moving, fixed, fixed_mask=moving_mask, moving_mask=fixed_mask)
    assert error_mm(there.matrix @ back.matrix, np.eye(4), moving, moving_mask) < 1e-6


def test_a_turned_head_is_found() -> None:
    fixed, flair, brain = synthetic_head(2)
    xfm = rigid((10, 80, 170), (10, -20, 15))
    grid = Grid((70, 70, 70), np.array([[3.0, 0, 0, -95], [0, 3, 0, -125], [0, 0, 3, -90], [0, 0, 0, 1]]))
    moving, moving_mask = moved(flair, brain, xfm, grid)
    found = registration.register_rigid(fixed, moving, fixed_mask=brain, moving_mask=moving_mask)
    assert "large_rotation" in found.flags
    assert error_mm(found.matrix, xfm, fixed, brain) < 0.6


def test_turned_heads_are_not_tried_when_the_header_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    t1w, flair, brain = synthetic_head(3)
    starts = []
    run_greedy = registration.run_greedy

    def count(
        fixed: RegistrationScan, moving: RegistrationScan, start: np.ndarray, schedule: str
    ) -> np.ndarray:
        starts.append(start)
        return run_greedy(fixed, moving, start, schedule)

    monkeypatch.setattr(registration, "run_greedy", count)
    registration.register_rigid(t1w, flair, fixed_mask=brain, moving_mask=brain)
    assert len(starts) == 4  # from the header and from the centres, then both ways


def test_half_a_head_far_from_its_header_is_found() -> None:
    fixed, flair, brain = synthetic_head(8)
    xfm = rigid((4, 5, -3), (20, -45, 15))
    top = np.array([[3.0, 0, 0, -70], [0, 3, 0, -150], [0, 0, 3, 9], [0, 0, 0, 1]])
    moving, moving_mask = moved(flair, brain, xfm, Grid((60, 70, 32), top))
    assert moving_mask.sum() < 0.6 * brain.sum()
    found = registration.register_rigid(fixed, moving, fixed_mask=brain, moving_mask=moving_mask)
    assert error_mm(found.matrix, xfm, fixed, brain) < 1.0
    assert found.ok


def test_an_aligned_scan_is_left_in_place() -> None:
    t1w, flair, brain = synthetic_head(3)
    found = registration.register_rigid(t1w, flair, fixed_mask=brain, moving_mask=brain)
    assert error_mm(found.matrix, np.eye(4), t1w, brain) < 0.15
    assert found.similarity >= found.similarity_before


def test_without_masks_and_with_a_start(pair: tuple) -> None:
    fixed, fixed_mask, moving, _, xfm = pair
    found = registration.register_rigid(fixed, moving, fixed_mask=None, moving_mask=None, initial=xfm)
    assert error_mm(found.matrix, xfm, fixed, fixed_mask) < 0.6


def test_masks_must_fit(pair: tuple) -> None:
    fixed, fixed_mask, moving, moving_mask, _ = pair
    with pytest.raises(ValueError, match="fixed mask"):
        registration.register_rigid(fixed, moving, fixed_mask=fixed_mask[1:], moving_mask=moving_mask)
    with pytest.raises(ValueError, match="moving mask"):
        registration.register_rigid(
            fixed, moving, fixed_mask=fixed_mask, moving_mask=np.zeros_like(moving_mask)
        )


def test_halfway_is_the_same_from_both_ends() -> None:
    one, other = rigid((3, 0, 10), (1, 2, 3)), rigid((-5, 4, 0), (0, 8, 1))
    middle = registration.halfway(one, other)
    np.testing.assert_allclose(middle, registration.halfway(other, one), atol=1e-9)
    np.testing.assert_allclose(
        np.linalg.inv(middle), registration.halfway(np.linalg.inv(one), np.linalg.inv(other)), atol=1e-9
    )
    np.testing.assert_allclose(registration.halfway(one, one), one, atol=1e-9)


def test_every_process_gives_the_same_bytes() -> None:
    code = (
        "import test_registration as t; t1w, flair, brain = t.synthetic_head(4);"
        "other, mask = t.moved(flair, brain, t.rigid((3, 4, 5), (6, 1, 2)), t.THICK);"
        "found = t.registration.register_rigid(t1w, other, fixed_mask=brain, moving_mask=mask);"
        "heads = t.compare_heads(t1w, other, found.matrix, brain, mask);"
        "print(found.matrix.tobytes().hex(), repr(found.similarity), repr(heads.score))"
    )
    answers = set()
    for threads in ("1", "4"):
        environment = os.environ | {
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads,
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),  # noqa: PTH120
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        answers.add(done.stdout)
    assert len(answers) == 1
    # greedy's optimiser talks on the C streams; the log must stay clean.
    assert "LINE SEARCH" not in next(iter(answers)) + done.stderr


@pytest.mark.parametrize("other_contrast", [False, True])
def test_the_right_head_passes_and_others_do_not(other_contrast: bool) -> None:
    t1w, flair, brain = synthetic_head(5)
    wrong_t1w, wrong_flair, wrong_brain = synthetic_head(6)
    xfm = rigid((5, 3, -6), (4, 0, -7))
    right, right_brain = moved(flair if other_contrast else t1w, brain, xfm, THICK)
    wrong, wrong_brain = moved(wrong_flair if other_contrast else wrong_t1w, wrong_brain, xfm, THICK)
    mirrored, mirrored_brain = Volume(right.array[::-1], right.affine), right_brain[::-1]

    def compare(moving: Volume, mask: np.ndarray) -> HeadComparison:
        found = registration.register_rigid(t1w, moving, fixed_mask=brain, moving_mask=mask)
        return compare_heads(t1w, moving, found.matrix, brain, mask, same_contrast=not other_contrast)

    same = compare(right, right_brain)
    assert same.same_head
    other = compare(wrong, wrong_brain) if other_contrast else compare(mirrored, mirrored_brain)
    assert not other.same_head
    assert other.score < 0.6 * same.score
    astray = compare_heads(t1w, right, rigid((5, 3, -6), (4, 9, -7)), brain, right_brain)
    assert not astray.same_head


def test_heads_that_share_nothing_are_not_confirmed() -> None:
    t1w, _, brain = synthetic_head(7)
    apart = compare_heads(t1w, t1w, rigid((0, 0, 0), (500, 0, 0)), brain, brain)
    assert not apart.same_head
    assert apart.score == 0
