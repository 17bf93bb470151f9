"""Brain extraction (skull stripping) of an image of any contrast, with or without skull.

The atlas is aligned to the head by `head_alignment`, painted with the intensities of the image, and warped
onto it by a smooth diffeomorphic registration of two images that now look alike (greedy, NCC). Its brain
probability at one half is the mask: everything inside the dura, so extra-cerebral CSF is in it. An image
whose skull was removed is recognised and keeps its own mask.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from picsl_greedy import Greedy3D
from scipy import ndimage

from mesems_mri.core.typing import Affine, FloatArray, Mask
from mesems_mri.errors import InputError, Reason
from mesems_mri.images.head_alignment import HEAD_CLASSES, HeadAlignment, align_head
from mesems_mri.images.itk import from_itk, to_itk
from mesems_mri.images.preparation import (
    blur_and_resample,
    filled_slices,
    intensity_ceiling,
    one_piece,
    without_bias,
    without_empty_ends,
)
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import INTRACRANIAL_CLASSES, load_atlas

# Share of voxels that equal the background exactly, above which the skull may have been removed.
_MIN_CONSTANT_SHARE = 0.3
# A brain with all its fluid has 2 litres, hardly ever more; heads without their faces have 2.65 and more.
_MAX_STRIPPED_ML = 2600.0
# Overlap of what is not background with the atlas brain, above which it is a brain. A head has at least
# 1.7 times the volume of its brain, so its overlap stays below 0.75.
_MIN_STRIPPED_DICE = 0.8
# Share of the intensity variance that the atlas explains in a head; things that are no head stay below.
_MIN_EXPLAINED = 0.45
_MIN_EXPLAINED_INSIDE = 0.12
# Product of explained variance and local agreement. Whole heads of five patients reach 0.17 and more, halves
# of them 0.08; spheres, bottles, a knee and concentric shells stay below 0.06.
_MIN_LIKENESS = 0.12
_MIN_LIKENESS_OF_A_PART = 0.075
_WHOLE = 0.85
# Bone is dark on every MRI (at most 1.0 times the brightest other tissue), and 1.5 times and more on a CT.
_BRIGHT_BONE = 1.3
_AIR_ON_CT = (-1100.0, -900.0)
_MIN_AIR_ON_CT = 0.1
_MIN_COVERED = 0.15
# The field of view of an ordinary scan misses some of the lowest or highest tenth of a litre.
_COMPLETE = 0.97
_MAX_TURN_DEG = 35.0
_WARP_SPACING_MM = 3.0
_WARP_MARGIN_MM = 14.0
# On the way to a brain of one's own the warp may use intensities up to this multiple of the median tissue.
_WARP_CEILING = 1.6


@dataclass(frozen=True, eq=False)
class BrainExtraction:
    """Brain mask of an image, and its alignment to MNI space.

    Attributes
    ----------
    mask : ndarray of bool, shape (x, y, z)
        Everything inside the dura; for a stripped image what the stripping left.
    to_mni : ndarray of float64, shape (4, 4)
        RAS mm of the image to MNI RAS mm, affine with 12 degrees of freedom.
    skull_stripped : bool
        True when the image came without skull.
    covered_fraction : float
        Share of the atlas brain, placed on this head, that lies in slices with an image; 0 to 1.
    flags : tuple of str
        ``skull_stripped_input``, ``partial_coverage``, ``nonstandard_orientation``.
    """

    mask: Mask
    to_mni: Affine
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
        Mask in the grid of the image, affine to MNI, coverage and flags.

    Raises
    ------
    InputError
        With reason ``not_a_brain`` when the image shows no head.
    """
    if min(volume.shape) < 2 or not float(np.ptp(volume.array)) > 0:
        msg = f"image of shape {volume.shape} without content; expected a head scan of several slices"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    _refuse_hounsfield(volume)
    region = _region_beside_constant_background(volume)
    if region is not None:
        alignment = align_head(volume, skull_stripped=True)
        inside = (
            _map_to_image(load_atlas().probability["brain"], load_atlas().affine, alignment, volume) > 0.5
        )
        overlap = 2.0 * np.count_nonzero(inside & region) / max(np.count_nonzero(inside) + region.sum(), 1)
        if overlap >= _MIN_STRIPPED_DICE and alignment.explained_inside >= _MIN_EXPLAINED_INSIDE:
            return _describe(volume, alignment, region, skull_stripped=True)
    seen_as, alignment = volume, align_head(volume, skull_stripped=False)
    if _has_bright_bone(alignment):
        msg = "bone is the brightest tissue, as on a CT and on no MRI; send the MRI"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    if not _is_head(alignment):
        # A coil beside the head, or a head far from the mean size.
        seen_as = without_bias(volume)
        alignment = align_head(seen_as, skull_stripped=False, thorough=True)
    if not _is_head(alignment) or _has_bright_bone(alignment):
        msg = (
            f"no head recognised: the atlas explains {alignment.explained:.0%} of the intensities, "
            f"{alignment.explained_inside:.0%} inside the brain, and agrees with its structure by "
            f"{max(alignment.agreement, 0.0):.0%} (a head scan: at least {_MIN_EXPLAINED:.0%}, "
            f"{_MIN_EXPLAINED_INSIDE:.0%} and about 20%); check that it is a brain scan in the right "
            "orientation"
        )
        raise InputError(msg, Reason.NOT_A_BRAIN)
    probability, affine = _warp_atlas(without_empty_ends(seen_as), alignment)
    mask = _map_to_image(probability, affine, alignment, volume) > 0.5
    np.moveaxis(mask, volume.slice_axis, 0)[~filled_slices(volume)] = False
    return _describe(volume, alignment, one_piece(mask), skull_stripped=False)


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


def _is_head(alignment: HeadAlignment) -> bool:
    likeness = alignment.explained * alignment.agreement
    return (
        alignment.explained >= _MIN_EXPLAINED
        and alignment.explained_inside >= _MIN_EXPLAINED_INSIDE
        and likeness >= (_MIN_LIKENESS if alignment.seen >= _WHOLE else _MIN_LIKENESS_OF_A_PART)
    )


def _has_bright_bone(alignment: HeadAlignment) -> bool:
    """Return whether bone is bright; asked of whole heads only, where its place is well known."""
    others = max(alignment.intensities[name] for name in ("white_matter", "cortex", "soft_tissue"))
    return (
        alignment.explained >= _MIN_EXPLAINED
        and alignment.seen >= _WHOLE
        and alignment.intensities["skull"] >= _BRIGHT_BONE * others
    )


def _describe(
    volume: Volume, alignment: HeadAlignment, mask: Mask, *, skull_stripped: bool
) -> BrainExtraction:
    covered = _covered_fraction(volume, alignment.from_mni)
    if covered < _MIN_COVERED or not mask.any():
        msg = f"the image shows {covered:.0%} of the brain, expected at least {_MIN_COVERED:.0%}"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    to_mni = np.asarray(np.linalg.inv(alignment.from_mni), dtype=np.float64)
    rotation = rigid_part(to_mni)[:3, :3]
    turn_deg = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)))
    found = {
        "skull_stripped_input": skull_stripped,
        "partial_coverage": covered < _COMPLETE,
        "nonstandard_orientation": bool(turn_deg > _MAX_TURN_DEG),
    }
    flags = tuple(flag for flag, present in found.items() if present)
    return BrainExtraction(mask, to_mni, skull_stripped, covered, flags)


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


def _covered_fraction(volume: Volume, from_mni: Affine) -> float:
    """Return the share of the atlas brain that lies in slices with an image."""
    atlas = load_atlas()
    brain = atlas.probability["brain"][::2, ::2, ::2]
    index = np.argwhere(brain > 0.5)
    to_image = np.linalg.inv(volume.affine) @ from_mni @ atlas.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    position = index @ to_image[:3, :3].T + to_image[:3, 3]
    nearest = np.rint(position).astype(int)
    inside = np.all((nearest >= 0) & (nearest < volume.shape), axis=1)
    inside[inside] &= filled_slices(volume)[nearest[inside, volume.slice_axis]]
    return float(inside.mean())


def _map_to_image(
    probability: FloatArray, affine: Affine, alignment: HeadAlignment, volume: Volume
) -> FloatArray:
    """Return a map in MNI space on the grid of the image."""
    to_index = np.linalg.inv(affine) @ np.linalg.inv(alignment.from_mni) @ volume.affine
    return ndimage.affine_transform(
        probability, to_index[:3, :3], to_index[:3, 3], output_shape=volume.shape, order=1
    )


def _warp_atlas(volume: Volume, alignment: HeadAlignment) -> tuple[FloatArray, Affine]:
    """Return the brain probability warped onto the head, on a grid in MNI space, and that grid's affine."""
    atlas = load_atlas()
    index = np.argwhere(atlas.probability["brain"] > 0.5)
    low = atlas.affine[:3, :3] @ index.min(axis=0) + atlas.affine[:3, 3] - _WARP_MARGIN_MM
    high = atlas.affine[:3, :3] @ index.max(axis=0) + atlas.affine[:3, 3] + _WARP_MARGIN_MM
    spacing = _WARP_SPACING_MM
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing) + 1)
    grid = np.diag([spacing, spacing, spacing, 1.0])
    grid[:3, 3] = low

    to_atlas = np.linalg.inv(atlas.affine) @ grid
    sigma = 0.42 * np.sqrt((spacing / 2.0) ** 2 - 1.0)
    ceiling = intensity_ceiling(volume.array, _WARP_CEILING)
    painted = np.full(shape, alignment.intensities["air"], np.float32)
    brain = np.zeros(shape, np.float32)
    for name in HEAD_CLASSES:
        blurred = ndimage.gaussian_filter(atlas.probability[name], sigma)
        membership = ndimage.affine_transform(
            blurred, to_atlas[:3, :3], to_atlas[:3, 3], output_shape=shape, order=1
        )
        painted += np.float32(alignment.intensities[name] - alignment.intensities["air"]) * membership
        if name in INTRACRANIAL_CLASSES:
            brain += membership

    image, affine = blur_and_resample(volume, spacing)
    to_image = np.linalg.inv(affine) @ alignment.from_mni @ grid
    seen = np.clip(image, 0, ceiling)
    fixed = ndimage.affine_transform(seen, to_image[:3, :3], to_image[:3, 3], output_shape=shape, order=1)
    field_of_view = ndimage.affine_transform(
        np.ones_like(seen), to_image[:3, :3], to_image[:3, 3], output_shape=shape, order=0
    )
    # NCC needs some texture where the image is flat. Greedy adds random noise for that, other in every run;
    # this one is always the same.
    texture = np.random.default_rng(0).normal(0.0, 1e-3 * ceiling, (2, *shape)).astype(np.float32)
    greedy, silent = Greedy3D(), io.StringIO()
    greedy.execute(
        "-d 3 -m NCC 2x2x2 -noise 0 -i fixed moving -gm seen -n 50x30 -s 2.0vox 1.0vox "
        "-threads 1 -o warp -V 0",
        out=silent,
        err=silent,
        fixed=to_itk(fixed + texture[0], grid),
        moving=to_itk(np.clip(painted, 0, ceiling) + texture[1], grid),
        seen=to_itk(field_of_view, grid),
        warp=None,
    )
    greedy.execute(
        "-d 3 -rf fixed -rm brain bent -r warp -threads 1 -V 0",
        out=silent,
        err=silent,
        brain=to_itk(brain, grid),
        bent=None,
    )
    return from_itk(greedy["bent"]).astype(np.float32), grid
