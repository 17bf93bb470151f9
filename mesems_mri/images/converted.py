"""NIfTI files as a converter writes them: their grid, their voxels, and the texts in their headers."""

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

_TEXTS = ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16))
"""Offset and length of data_type, db_name, descrip, aux_file and intent_name in a NIfTI-1 header."""


class ConvertedImage(NamedTuple):
    """What of an image can be compared: size, place in the scanner (RAS, mm), and a hash of its voxels."""

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


def pack_nameless(path: Path) -> bytes:
    """Return a NIfTI file compressed, without the texts that a converter writes into its header.

    The same image gives the same bytes: the compressed file holds no name and no time.
    """
    raw = bytearray(path.read_bytes())
    for offset, length in _TEXTS:
        raw[offset : offset + length] = bytes(length)
    return gzip.compress(bytes(raw), compresslevel=6, mtime=0)
