"""Taking the face of real clinical scans away, against brain masks that others have drawn."""

from pathlib import Path

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from scipy import ndimage

from mesems_mri.images.deface import find_face
from mesems_mri.images.nifti import read_image
from tests.real.arrange import common_to_native

pytestmark = pytest.mark.real


@pytest.mark.parametrize("patient", ["patient01", "patient12"])
def test_no_voxel_of_a_brain_is_removed(real_data: Path, patient: str) -> None:
    folder = real_data / "open_ms" / "longitudinal" / patient
    flair, t1w = (read_image(folder / f"study1_{name}.nii.gz")[0] for name in ("FLAIR", "T1W"))
    removed = find_face([t1w, flair]).of_image(flair)
    common = Nifti1Image.from_filename(folder / "brainmask.nii.gz")
    native = common_to_native(folder / "study1_FLAIR_to_common_space.txt")
    index = np.linalg.inv(common.affine) @ np.linalg.inv(native) @ flair.affine
    brain = ndimage.affine_transform(
        np.asarray(common.dataobj, dtype=np.float32),
        index[:3, :3],
        index[:3, 3],
        output_shape=flair.shape,
        order=1,
    )
    inside = brain > 0.5
    assert flair.array[inside].mean() > 5 * flair.array[~inside].mean()  # the mask lies on the brain
    assert not np.any(removed & inside)
    assert 1000 < np.count_nonzero(removed) * flair.grid.voxel_volume_mm3 / 1000 < 3500
