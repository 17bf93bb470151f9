"""NIfTI files as a converter writes them: their grid and their voxels."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np


class ConvertedImage(NamedTuple):
    """Identity of an image: size, affine (voxel -> scanner RAS mm), and a hash of its voxels."""

    shape: tuple[int, ...]
    affine: np.ndarray
    voxels: str


def read_converted(path: Path) -> ConvertedImage:
    """Read the grid of an uncompressed NIfTI file and hash its voxels.

    Parameters
    ----------
    path : Path
        ``.nii`` as the converter wrote it.

    Returns
    -------
    ConvertedImage
        The hash tells a scan again, whatever it is called: it is over type, size and raw values.
    """
    image = nib.nifti1.Nifti1Image.from_filename(path)  # pyright: ignore[reportAttributeAccessIssue]
    data = np.ascontiguousarray(image.dataobj.get_unscaled())
    digest = hashlib.sha256(f"{data.dtype.str}{data.shape}".encode())
    digest.update(data.tobytes())
    return ConvertedImage(
        tuple(int(n) for n in image.shape), np.asarray(image.affine), digest.hexdigest()[:32]
    )
