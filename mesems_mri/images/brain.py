"""Brain extraction (skull stripping) of an image of any contrast, with or without skull.

The anatomy network finds everything inside the dura and its tissues; the tissues place the head in MNI space.
An image whose skull was removed is recognised and keeps its own mask.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mesems_mri.core.typing import Affine, Mask
from mesems_mri.errors import InputError, Reason
from mesems_mri.images.anatomy import Anatomy, segment_anatomy
from mesems_mri.images.mni_alignment import MniAlignment, align_to_mni
from mesems_mri.images.preparation import filled_slices
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import load_atlas

# Share of voxels that equal the background exactly, above which the skull may have been removed.
_MIN_CONSTANT_SHARE: Final = 0.3
# A brain with all its fluid has 2 litres, hardly ever more; heads without their faces have 2.65 and more.
_MAX_STRIPPED_ML: Final = 2600.0
# Overlap of what is not background with the brain that the network sees, above which it is a brain. A head
# has at least 1.7 times the volume of its brain, so its overlap stays below 0.75.
_MIN_STRIPPED_DICE: Final = 0.8
# Real heads reach 0.76 and more (`benchmarks/heads.py`), bottles and concentric shells 0.57.
_MIN_AGREEMENT: Final = 0.65
_MIN_AGREEMENT_OF_A_PART: Final = 0.6
_WHOLE: Final = 0.85
# Bone is dark on every MRI (at most 1.0 times the brightest other tissue), and 1.5 times and more on a CT.
_BRIGHT_BONE: Final = 1.3
_SURE_BONE: Final = 0.7
_AIR_ON_CT: Final = (-1100.0, -900.0)
_MIN_AIR_ON_CT: Final = 0.1
_MIN_COVERED: Final = 0.15
# The field of view of an ordinary scan misses some of the lowest or highest tenth of a litre.
_COMPLETE: Final = 0.97
_MAX_TURN_DEG: Final = 35.0


@dataclass(frozen=True, eq=False)
class BrainExtraction:
    """Brain of an image, its tissues, and its alignment to MNI space.

    Attributes
    ----------
    mask : ndarray of bool, shape (x, y, z)
        Everything inside the dura; for a stripped image what the stripping left.
    anatomy : Anatomy
        Tissues as the network sees them.
    to_mni : ndarray of float64, shape (4, 4)
        RAS mm of the image to MNI RAS mm, affine with 12 degrees of freedom.
    agreement : float
        Overlap of the tissues with those of the atlas, 0 to 1.
    skull_stripped : bool
        True when the image came without skull.
    covered_fraction : float
        Share of the atlas brain, placed on this head, that lies in slices with an image; 0 to 1.
    flags : tuple of str
        ``skull_stripped_input``, ``partial_coverage``, ``nonstandard_orientation``.
    """

    mask: Mask
    anatomy: Anatomy
    to_mni: Affine
    agreement: float
    skull_stripped: bool
    covered_fraction: float
    flags: tuple[str, ...]


def rigid_part(to_mni: npt.ArrayLike) -> Affine:
    """Return the rigid transform closest to an affine one.

    The rotation is that of the polar decomposition; the centre of the MNI brain goes where the affine
    transform puts it, so that a head larger or smaller than MNI152 stays centred.

    Parameters
    ----------
    to_mni : array_like, shape (4, 4)
        RAS mm of the image to MNI RAS mm.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Rotation and translation, determinant 1.
    """
    affine = np.asarray(to_mni, dtype=np.float64)
    left, _, right = np.linalg.svd(affine[:3, :3])
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    atlas = load_atlas()
    centre_index = ndimage.center_of_mass(atlas.probability["brain"])
    centre_mni = (atlas.affine @ [*centre_index, 1.0])[:3]
    centre_image = np.linalg.solve(affine, [*centre_mni, 1.0])[:3]
    rigid = np.eye(4)
    rigid[:3, :3] = rotation
    rigid[:3, 3] = centre_mni - rotation @ centre_image
    return rigid


def extract_brain(volume: Volume) -> BrainExtraction:
    """Extract the brain (skull stripping) and align it to MNI space.

    Parameters
    ----------
    volume : Volume
        Any contrast, orientation and resolution; finite intensities.

    Returns
    -------
    BrainExtraction
        Mask in the grid of the image, tissues, affine to MNI, coverage and flags.

    Raises
    ------
    InputError
        With reason ``not_a_brain`` when the image shows no head.
    """
    if min(volume.shape) < 2 or not float(np.ptp(volume.array)) > 0:
        msg = f"image of shape {volume.shape} without content; expected a head scan of several slices"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    _refuse_hounsfield(volume)
    anatomy = segment_anatomy(volume)
    alignment = align_to_mni(anatomy)
    covered = _covered_fraction(volume, alignment.to_mni)
    if covered < _MIN_COVERED or not anatomy.mask.any():
        msg = f"the image shows {covered:.0%} of the brain, expected at least {_MIN_COVERED:.0%}"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    _refuse_unlike_tissues(alignment, covered)
    _refuse_bright_bone(volume, anatomy, alignment, covered)
    region = _region_beside_constant_background(volume)
    stripped = region is not None and _dice(region, anatomy.mask) >= _MIN_STRIPPED_DICE
    return BrainExtraction(
        mask=region if region is not None and stripped else anatomy.mask,
        anatomy=anatomy,
        to_mni=alignment.to_mni,
        agreement=alignment.agreement,
        skull_stripped=stripped,
        covered_fraction=covered,
        flags=_flags(alignment.to_mni, covered, stripped=stripped),
    )


def _dice(one: Mask, other: Mask) -> float:
    return 2.0 * np.count_nonzero(one & other) / max(np.count_nonzero(one) + np.count_nonzero(other), 1)


def _flags(to_mni: Affine, covered: float, *, stripped: bool) -> tuple[str, ...]:
    rotation = rigid_part(to_mni)[:3, :3]
    turn_deg = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)))
    found = {
        "skull_stripped_input": stripped,
        "partial_coverage": covered < _COMPLETE,
        "nonstandard_orientation": bool(turn_deg > _MAX_TURN_DEG),
    }
    return tuple(flag for flag, present in found.items() if present)


def _refuse_hounsfield(volume: Volume) -> None:
    """Refuse an image in Hounsfield units: a tenth and more of it is air of -1000."""
    low, high = _AIR_ON_CT
    air = float(np.mean((volume.array > low) & (volume.array < high)))
    if air >= _MIN_AIR_ON_CT and np.median(volume.array[volume.array > high]) < -high:
        msg = (
            f"{air:.0%} of the voxels lie around -1000, as air on a CT (expected at most "
            f"{_MIN_AIR_ON_CT:.0%}); send the MRI"
        )
        raise InputError(msg, Reason.NOT_A_BRAIN)


def _refuse_unlike_tissues(alignment: MniAlignment, covered: float) -> None:
    """Refuse what the network took for a brain, but whose tissues do not lie as those of one."""
    least = _MIN_AGREEMENT if covered >= _WHOLE else _MIN_AGREEMENT_OF_A_PART
    if alignment.agreement < least:
        msg = (
            f"no brain recognised: what was taken for its tissues overlaps those of a brain by "
            f"{alignment.agreement:.0%}, expected at least {least:.0%}; check that it is a brain scan in the "
            "right orientation"
        )
        raise InputError(msg, Reason.NOT_A_BRAIN)


def _refuse_bright_bone(volume: Volume, anatomy: Anatomy, alignment: MniAlignment, covered: float) -> None:
    """Refuse an image on which bone is bright; asked of whole heads only, where its place is well known."""
    if covered < _WHOLE:
        return
    atlas = load_atlas()
    skull = resample_image(Volume(atlas.probability["skull"], atlas.affine), volume.grid, alignment.to_mni)
    bone = volume.array[(skull > _SURE_BONE) & ~anatomy.mask]
    if bone.size < 100:
        return
    white = volume.array[anatomy.mask]
    if np.median(bone) >= _BRIGHT_BONE * np.median(white):
        msg = "bone is the brightest tissue, as on a CT and on no MRI; send the MRI"
        raise InputError(msg, Reason.NOT_A_BRAIN)


def _region_beside_constant_background(volume: Volume) -> Mask | None:
    """Return the filled region beside a background of one exact value, when a brain may be as large."""
    array = volume.array
    faces = np.concatenate([np.take(array, [0, -1], axis=axis).ravel() for axis in range(3)])
    values, counts = np.unique(faces, return_counts=True)
    region = array != values[np.argmax(counts)]
    if 1.0 - region.mean() < _MIN_CONSTANT_SHARE:
        return None
    region = ndimage.binary_fill_holes(region)
    for axis in range(3):
        # Ventricles that stripping set to zero may be open to the outside along one axis only.
        if volume.slice_axis == axis:
            slices = np.moveaxis(region, axis, 0)
            region = np.moveaxis(np.stack([ndimage.binary_fill_holes(plane) for plane in slices]), 0, axis)
    if float(region.sum()) * float(np.prod(volume.spacing_mm)) / 1000 > _MAX_STRIPPED_ML:
        return None
    return np.asarray(region, dtype=np.bool_)


def _covered_fraction(volume: Volume, to_mni: Affine) -> float:
    """Return the share of the atlas brain that lies in slices with an image."""
    atlas = load_atlas()
    brain = atlas.probability["brain"][::2, ::2, ::2]
    index = np.argwhere(brain > 0.5)
    to_image = (
        np.linalg.inv(volume.affine) @ np.linalg.inv(to_mni) @ atlas.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    )
    position = index @ to_image[:3, :3].T + to_image[:3, 3]
    nearest = np.rint(position).astype(int)
    inside = np.all((nearest >= 0) & (nearest < volume.shape), axis=1)
    inside[inside] &= filled_slices(volume)[nearest[inside, volume.slice_axis]]
    return float(inside.mean())
