"""One image stored in any of the 48 orders is one image to everything that is computed."""

from collections.abc import Iterator
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation

from mesems_mri.images import nifti
from mesems_mri.images.volume import in_canonical_order

ARRAY = np.random.default_rng(0).normal(100, 20, (9, 8, 7)).astype(np.float32)
AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", [8, -12, 5], degrees=True).as_matrix() @ np.diag([2.9, 2.8, 4])
AFFINE[:3, 3] = [-80.1234567, -101.7654321, -66.3333333]
ORDERS = [
    list(zip(axes, signs, strict=True))
    for axes in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


def stored(folder: Path, *, qform: bool) -> Iterator[tuple[Path, np.ndarray]]:
    """Write the image in every order; yield the file and the voxels as they are in it."""
    for number, order in enumerate(ORDERS):
        orientation = np.array(order, float)
        array = apply_orientation(ARRAY, orientation)
        affine = AFFINE @ inv_ornt_aff(orientation, ARRAY.shape)
        image = nib.Nifti1Image(array, None if qform else affine)
        if qform:
            image.set_qform(affine, code=1)
            image.set_sform(None, code=0)
        image.header.set_xyzt_units("mm")
        path = folder / f"order-{number}.nii"
        nib.save(image, path)
        yield path, array


@pytest.mark.parametrize("qform", [False, True])
def test_every_order_is_read_as_the_same_image(tmp_path: Path, qform: bool) -> None:
    first = None
    for path, _ in stored(tmp_path, qform=qform):
        volume, flags = nifti.read_in_canonical_order(path)
        first = first or volume
        assert flags == ()
        np.testing.assert_array_equal(volume.array, first.array)
        # A quaternion in single precision says the turn to seven digits.
        np.testing.assert_allclose(volume.affine, first.affine, rtol=0, atol=2e-3 if qform else 0)
        assert np.abs(volume.affine - np.diag(np.diag(volume.affine)))[:3, :3].max() < 1
        assert (np.diag(volume.affine) > 0).all()


def test_a_mask_is_written_in_the_order_of_its_scan(tmp_path: Path) -> None:
    """A mask that follows from the canonical image opens on the scan that was sent, voxel on voxel."""
    for path, array in stored(tmp_path, qform=False):
        volume, _ = nifti.read_in_canonical_order(path)
        mask = tmp_path / "mask.nii.gz"
        nifti.write_labels_like(mask, volume.array > 110, path, canonical=True)
        written, affine = nifti.read_labels(mask)
        np.testing.assert_array_equal(written > 0, array > 110)
        np.testing.assert_array_equal(affine, nifti.read_image(path)[0].affine)


def test_canonical_order_moves_no_voxel_in_the_world() -> None:
    turned, affine = in_canonical_order(ARRAY[::-1].transpose(2, 0, 1), AFFINE @ _turn())
    for index in [(0, 0, 0), (8, 3, 1), (5, 7, 6)]:
        place = np.linalg.solve(affine, AFFINE @ [*index, 1])[:3]
        np.testing.assert_allclose(place, np.rint(place), atol=1e-3)
        assert turned[tuple(np.rint(place).astype(int))] == ARRAY[index]


def _turn() -> np.ndarray:
    """Return the voxel of `ARRAY` for a voxel of its turned copy."""
    matrix = np.zeros((4, 4))
    matrix[0, 1], matrix[0, 3] = -1, ARRAY.shape[0] - 1
    matrix[1, 2] = matrix[2, 0] = matrix[3, 3] = 1
    return matrix
