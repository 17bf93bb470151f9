"""Scans with rated T2 lesions, prepared as the package sees them, and the folds. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.distance import bounding_box
from mesems_mri.core.typing import FloatArray
from mesems_mri.images import nifti
from mesems_mri.images.anatomy import CLASSES, segment_anatomy
from mesems_mri.images.bias import correct_bias
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume, as_ras
from training.gel_scans import real_data

FOLDS: dict[str, tuple[str, ...]] = {
    "a": ("patient07", "ms3seg01", "ms3seg05", "ms3seg09"),
    "b": ("patient26", "ms3seg02", "ms3seg06"),
    "c": ("P18", "ms3seg03", "ms3seg07"),
    "d": ("P39", "ms3seg04", "ms3seg08"),
}
"""Patients that each fold leaves out: one of each 1 mm data set, two or three of thick slices."""
PATIENTS = tuple(sorted(patient for fold in FOLDS.values() for patient in fold))
_SURE = 0.6
_MARGIN = 4


@dataclass(frozen=True, eq=False)
class RatedScan:
    """Scan of a patient at 1 mm, axes to the right, front and top, with the reference standard.

    Attributes
    ----------
    images : dict of str to ndarray of float16, shape (x, y, z)
        FLAIR, and T1w where there is one: bias-corrected, white-matter median 1, 0 outside the brain.
    tissue : ndarray of uint8, shape (len(CLASSES) - 1, x, y, z)
        Probability of each class of `images.anatomy` but the background, 255 is 1.
    brain : ndarray of bool, shape (x, y, z)
    lesions, ignored : ndarray of bool, shape (x, y, z)
        Lesions by the raters; what they saw and did not count.
    """

    images: dict[str, NDArray[np.float16]]
    tissue: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    lesions: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


def networks() -> dict[str, tuple[str, ...]]:
    """Return the patients that each network leaves out; ``t2`` is that of the package."""
    return {f"t2_fold_{name}": patients for name, patients in FOLDS.items()} | {"t2": ()}


def fold_of(patient: str) -> str:
    """Return the network that has not seen a patient."""
    return next(name for name, held_out in networks().items() if patient in held_out)


def training_patients(without: Collection[str]) -> tuple[str, ...]:
    """Return the patients of a fold: all but those held out."""
    return tuple(p for p in PATIENTS if p not in without)


def scan_files(patient: str) -> dict[str, Path]:
    """Return the scans and masks of a patient that are there."""
    data = real_data()
    if patient.startswith("ms3seg"):
        folder = data / "ms3seg" / f"patient{patient[-2:]}"
        names = {"FLAIR": "FLAIR", "T1w": "T1w", "lesions": "lesion", "ignored": "normal_wmh"}
        paths = {key: folder / f"{name}.nii.gz" for key, name in names.items()}
    elif patient.startswith("P"):
        folder = data / "mslesseg" / patient / "T1"
        names = {"FLAIR": "FLAIR", "T1w": "T1", "lesions": "MASK"}
        paths = {key: folder / f"{patient}_T1_{name}.nii.gz" for key, name in names.items()}
    else:
        folder = data / "open_ms" / "cross_sectional" / patient
        names = {"FLAIR": "FLAIR", "T1w": "T1", "lesions": "gt"}
        paths = {key: folder / f"{name}_space-MNI.nii.gz" for key, name in names.items()}
    return {key: path for key, path in paths.items() if path.is_file()}


def mask_files(without: Collection[str]) -> list[Path]:
    """Return the T2-lesion masks of open_ms patients in MNI space, but for some of them."""
    paths = sorted((real_data() / "open_ms" / "cross_sectional").glob("patient*/gt_space-MNI.nii.gz"))
    return [path for path in paths if path.parent.name not in without]


def shape_file() -> Path:
    """Return the file with the shapes of real lesions."""
    return real_data() / "lesion_shapes" / "shapes.npz"


def fold_files(without: Collection[str]) -> list[Path]:
    """List every scan, mask and shape that a network is trained on."""
    scans = [path for patient in training_patients(without) for path in scan_files(patient).values()]
    return [shape_file(), *mask_files(without), *scans]


def load_scan(patient: str, cache: Path) -> RatedScan:
    """Read a patient, from a cache where it is there.

    Parameters
    ----------
    patient : str
        One of `PATIENTS`.
    cache : Path
        Folder for prepared scans.
    """
    path = cache / f"{patient}.npz"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        scan = prepare_scan(scan_files(patient))
        parts = {"tissue": scan.tissue, "brain": scan.brain, "lesions": scan.lesions, "ignored": scan.ignored}
        beside = path.with_suffix(".tmp.npz")
        np.savez_compressed(beside, **parts, **scan.images)  # pyright: ignore[reportArgumentType]
        beside.rename(path)
    with np.load(path) as archive:
        images = {name: archive[name] for name in ("FLAIR", "T1w") if name in archive.files}
        return RatedScan(images, archive["tissue"], archive["brain"], archive["lesions"], archive["ignored"])


def prepare_scan(files: dict[str, Path]) -> RatedScan:
    """Prepare a scan: brain and tissues of the FLAIR, bias correction, 1 mm, white-matter median 1."""
    volumes = {name: nifti.read_image(path)[0] for name, path in files.items()}
    flair = volumes["FLAIR"]
    anatomy = segment_anatomy(flair)
    grid = _grid_about(flair, anatomy.mask)
    brain = resample_image(Volume(anatomy.mask.astype(np.float32), flair.affine), grid, np.eye(4)) > 0.5
    tissue = np.stack([anatomy.on(grid, name) for name in CLASSES[1:]])
    white = brain & (tissue[CLASSES.index("white_matter") - 1] > _SURE)
    images = {}
    for contrast in ("FLAIR", "T1w"):
        if contrast in volumes:
            volume = volumes[contrast]
            own = resample_image(
                Volume(anatomy.mask.astype(np.float32), flair.affine), volume.grid, np.eye(4)
            )
            image = resample_image(correct_bias(volume, own > 0.5), grid, np.eye(4), order=3)
            images[contrast] = np.where(brain, image / np.median(image[white]), 0.0).astype(np.float16)
    masks = {
        name: resample_image(_binary(volumes[name]), grid, np.eye(4)) > 0.5
        if name in volumes
        else np.zeros(grid.shape, np.bool_)
        for name in ("lesions", "ignored")
    }
    return RatedScan(
        images, np.rint(255 * tissue).astype(np.uint8), brain, masks["lesions"], masks["ignored"]
    )


def _binary(volume: Volume) -> Volume:
    return Volume((volume.array > 0).astype(np.float32), volume.affine)


def _grid_about(volume: Volume, mask: NDArray[np.bool_]) -> Grid:
    """Return a grid of 1 mm about the brain, its axes those of the scanner, to the right, front and top."""
    turned, spacing = as_ras(volume.array, volume.affine)
    affine = nib.as_closest_canonical(nib.Nifti1Image(volume.array, volume.affine)).affine
    inside, _ = as_ras(mask.astype(np.float32), volume.affine)
    box = bounding_box(inside > 0, margin=0)
    del turned
    directions = np.asarray(affine[:3, :3]) / np.array(spacing)
    low = [side.start - 0.5 - _MARGIN / step for side, step in zip(box, spacing, strict=True)]
    extent = [(side.stop - side.start) * step + 2 * _MARGIN for side, step in zip(box, spacing, strict=True)]
    x, y, z = (int(np.ceil(length)) for length in extent)
    own = np.eye(4)
    own[:3, :3] = directions
    own[:3, 3] = (affine @ [*low, 1.0])[:3] + directions @ np.full(3, 0.5)
    return Grid((x, y, z), own)


def read_shapes() -> list[NDArray[np.bool_]]:
    """Read the shapes of real lesions (1 mm, MNI axes)."""
    with np.load(shape_file()) as archive:
        bits, length, shape = archive["bits"], archive["length"], archive["shape"]
    ends = np.cumsum(length)
    return [
        np.unpackbits(bits[end - n : end], count=int(np.prod(size))).reshape(size).astype(np.bool_)
        for end, n, size in zip(ends, length, shape, strict=True)
    ]


def read_masks(paths: Collection[Path]) -> list[NDArray[np.bool_]]:
    """Read lesion masks in MNI space, axes to the right, front and top."""
    loaded = (nib.as_closest_canonical(nib.load(path)) for path in paths)
    return [np.asarray(image.dataobj) > 0 for image in loaded]


def moments(weights: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre and the spread (standard deviation along each axis) of a brain, in voxels."""
    centre, spread = np.zeros(3), np.zeros(3)
    for axis in range(3):
        profile = weights.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        at = np.arange(len(profile))
        centre[axis] = np.average(at, weights=profile)
        spread[axis] = np.sqrt(np.average((at - centre[axis]) ** 2, weights=profile))
    return centre, spread


def mni_moments() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `moments` of the brain in the grid of the masks, from a stripped brain that lies in it."""
    image = nib.as_closest_canonical(nib.load(scan_files("P18")["FLAIR"]))
    brain = ndimage.binary_fill_holes(np.asarray(image.dataobj, dtype=np.float32) > 0)
    return moments(np.asarray(brain))


def as_float(tissue: NDArray[np.uint8]) -> FloatArray:
    """Return probabilities of 0 to 1."""
    return tissue.astype(np.float32) / np.float32(255)
