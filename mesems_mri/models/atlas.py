"""The tissue atlas: where in MNI space each tissue is expected, and what surrounds the brain.

``tissue_atlas.nii.gz`` is built by ``training/build_atlas.py`` (see ``atlas.md``, its model card).
"""

import gzip
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from mesems_mri.core.typing import Float64Array, FloatArray

ATLAS_FILE = Path(__file__).with_name("tissue_atlas.nii.gz")

# Order of the volumes in the file. The first eight fill the dura, the last three surround it; the rest is
# air.
CLASSES = (
    "white_matter",
    "cortex",
    "deep_grey",
    "lateral_ventricles",
    "csf",
    "choroid_plexus",
    "cerebellum",
    "brainstem",
    "soft_tissue",
    "skull",
    "eyes",
)
INTRACRANIAL_CLASSES = CLASSES[:8]


@dataclass(frozen=True)
class Atlas:
    """Tissue probabilities in MNI152 space.

    Attributes
    ----------
    affine : ndarray of float64, shape (4, 4)
        Voxel to MNI RAS millimetres; 2 mm isotropic, axis-aligned.
    probability : dict of str to ndarray of float32, shape (99, 127, 115)
        Values 0 to 1 for ``brain`` (everything inside the dura, extra-cerebral CSF included) and for each of
        `CLASSES`. The first eight classes sum to ``brain``; 1 minus ``brain``, ``soft_tissue``, ``skull`` and
        ``eyes`` is air. ``csf`` is intracranial CSF outside the lateral ventricles.
    """

    affine: Float64Array
    probability: dict[str, FloatArray]


def write_atlas(path: Path, memberships: FloatArray, affine: Float64Array) -> None:
    """Write class memberships as a 4D uint8 NIfTI, byte-identical for identical input.

    Parameters
    ----------
    path : Path
        The file to write, ``.nii.gz``.
    memberships : ndarray of float32, shape (x, y, z, 11)
        Mean membership (0 to 1) of the classes in the order of `CLASSES`.
    affine : ndarray of float64, shape (4, 4)
        Voxel to MNI RAS millimetres.

    Raises
    ------
    ValueError
        When the last axis does not match `CLASSES`.
    """
    if memberships.shape[-1] != len(CLASSES):
        msg = f"got {memberships.shape[-1]} classes, expected {len(CLASSES)}"
        raise ValueError(msg)
    quantised = np.rint(np.clip(memberships, 0, 1) * 255).astype(np.uint8)
    # Memberships of less than 2 % are single voxels of single heads; without them the file is half the size.
    quantised[quantised < 5] = 0
    image = nib.Nifti1Image(quantised, affine)
    image.set_qform(affine, code="mni")
    image.set_sform(affine, code="mni")
    temporary = path.with_name(path.name + ".part")
    # mtime 0 and no file name in the gzip header keep the bytes independent of when and where it was made.
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as stream:
        stream.write(image.to_bytes())
    os.replace(temporary, path)  # noqa: PTH105


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Return the atlas that is shipped with the package.

    Returns
    -------
    Atlas
        Shared between callers: its arrays are read-only.
    """
    image = nib.Nifti1Image.from_filename(ATLAS_FILE)
    quantised = np.asarray(image.dataobj, dtype=np.uint8)
    probability: dict[str, FloatArray] = {}
    for index, name in enumerate(CLASSES):
        probability[name] = quantised[..., index].astype(np.float32) / np.float32(255)
    brain = quantised[..., : len(INTRACRANIAL_CLASSES)].sum(axis=-1, dtype=np.uint16)
    probability["brain"] = np.minimum(brain, 255).astype(np.float32) / np.float32(255)
    for array in probability.values():
        array.flags.writeable = False
    affine = np.asarray(image.affine, dtype=np.float64)
    affine.flags.writeable = False
    return Atlas(affine=affine, probability=probability)
