"""The face goes from all images of a visit, and no brain with it."""

import gzip
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.errors import InputError
from mesems_mri.images.deface import MARGIN_MM, Face, deface_files, find_face
from mesems_mri.images.nifti import read_image
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import load_atlas
from tests.unit.images.test_brain import SPACING_MM, head_to_mni, make_head


@cache
def face() -> Face:
    return find_face([make_head("T1w")[0], make_head("FLAIR")[0]])


def place(name: str) -> np.ndarray:
    """Where something of the atlas lies in the head."""
    atlas = load_atlas()
    volume = make_head("T1w")[0]
    to_index = np.linalg.inv(atlas.affine) @ head_to_mni() @ volume.affine
    return ndimage.affine_transform(
        atlas.probability[name], to_index[:3, :3], to_index[:3, 3], output_shape=volume.shape, order=1
    )


def write(path: Path, volume: Volume, dtype: type = np.int16, slope: float | None = None) -> Path:
    image = nib.Nifti1Image(volume.array.astype(dtype), volume.affine)
    image.header.set_xyzt_units("mm")
    if slope:
        image.header.set_slope_inter(slope, -5 * slope)
    image.to_filename(path)
    return path


def test_the_eyes_go_and_the_brain_stays() -> None:
    volume, brain = make_head("T1w")
    removed = face().of_image(volume)
    eyes = place("eyes") > 0.5
    assert np.count_nonzero(removed & eyes) > 0.98 * np.count_nonzero(eyes)
    near = ndimage.distance_transform_edt(~brain, sampling=SPACING_MM)
    assert near[removed].min() >= MARGIN_MM - SPACING_MM
    assert face().nearest_brain_mm >= MARGIN_MM
    assert 300 < face().volume_ml < 6000


def test_most_of_the_head_stays() -> None:
    volume, _ = make_head("T1w")
    removed = face().of_image(volume)
    for name, most in (("skull", 0.25), ("soft_tissue", 0.55)):
        there = place(name) > 0.5
        assert 0.02 < np.count_nonzero(removed & there) / np.count_nonzero(there) < most


def test_the_same_part_of_space_goes_from_every_image() -> None:
    volume, _ = make_head("T1w")
    removed = face().of_image(volume)
    order = (2, 0, 1)
    affine = volume.affine[:, [*order, 3]]
    turned = Volume(np.ascontiguousarray(volume.array.transpose(order)), affine)
    assert np.array_equal(face().of_image(turned), removed.transpose(order))
    # an image of every other slice loses what the whole one loses there
    thick = volume.affine @ np.diag([1.0, 1.0, 2.0, 1.0])
    assert np.array_equal(face().of_image(Volume(volume.array[:, :, ::2], thick)), removed[:, :, ::2])


def test_a_stripped_brain_has_no_face() -> None:
    assert not find_face([make_head("FLAIR", stripped=True)[0]]).mask.any()


def test_an_image_without_brain_is_defaced_by_the_others() -> None:
    volume, _ = make_head("T1w")
    noise = np.random.default_rng(0).normal(100, 5, volume.shape).astype(np.float32)
    other = Volume(noise, volume.affine)
    found = find_face([other, volume])
    assert np.array_equal(found.of_image(other), found.of_image(volume))
    assert found.mask.any()
    with pytest.raises(InputError, match="the face cannot be found"):
        find_face([other])


@pytest.mark.parametrize(("dtype", "slope"), [(np.int16, None), (np.uint16, 2.0), (np.float32, None)])
def test_files_lose_the_face_and_nothing_else(tmp_path: Path, dtype: type, slope: float | None) -> None:
    volume, _ = make_head("T1w")
    path = write(tmp_path / "a.nii.gz", volume, dtype, slope)
    before, raw = read_image(path)[0].array, gzip.decompress(path.read_bytes())
    removed = deface_files([path]).of_image(volume)
    after, blanked = read_image(path)[0].array, gzip.decompress(path.read_bytes())
    assert np.all(after[removed] == 0)
    assert np.array_equal(after[~removed], before[~removed])
    assert len(raw) == len(blanked)
    assert raw[:352] == blanked[:352]
    if dtype is np.int16:
        again = write(tmp_path / "b.nii.gz", volume, dtype, slope)
        deface_files([again])
        assert again.read_bytes() == path.read_bytes()


def test_no_file_changes_when_the_face_is_not_found(tmp_path: Path) -> None:
    volume, _ = make_head("T1w")
    noise = np.random.default_rng(0).normal(100, 5, volume.shape).astype(np.float32)
    path = write(tmp_path / "a.nii.gz", Volume(noise, volume.affine))
    before = path.read_bytes()
    with pytest.raises(InputError):
        deface_files([path])
    assert path.read_bytes() == before
