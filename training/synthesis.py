"""Draw heads of random contrast from label maps, with the tissue of every voxel known.

A network that has seen every contrast there could be depends on none (SynthSeg: Billot et al., Medical Image
Analysis 2023). A label map is reduced once to 2 mm, each voxel with the three labels that fill most of it, so
that a drawn image has true partial volume and costs a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mesems_mri.models.atlas import CLASSES as ATLAS_CLASSES
from training.anatomy_inference import CLASSES, SPACING_MM, scale_intensities
from training.build_atlas import class_map

FloatArray = NDArray[np.float32]

# Class of the anatomy model that each class of the atlas belongs to; the others are background.
_CLASS_OF = {"choroid_plexus": "lateral_ventricles"}
# Right-sided FreeSurfer labels and their left-sided twins: both sides look alike.
_TWINS = {
    41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 57: 25,
    58: 26, 60: 28, 62: 30, 163: 136, 164: 137,
}  # fmt: skip
_BACKGROUND, _BONE = 0, (515, 516)
_FLUID = (4, 5, 14, 15, 24, 72, 506)
_WHITE, _GREY = (2, 7, 16, 28, 85), (3, 8, 10, 11, 12, 13, 17, 18, 26, 136, 137)
# Mean intensities of fluid, grey and white matter in the contrasts a trial sends; 70 % of the heads are drawn
# near one of them, so that a short training has seen the ordinary images.
_USUAL = {
    "T1w": (0.15, 0.45, 0.7),
    "T2w": (0.9, 0.55, 0.4),
    "FLAIR": (0.1, 0.55, 0.42),
    "PDw": (0.75, 0.75, 0.6),
}
_TOP = 3


@dataclass(frozen=True, eq=False)
class Head:
    """A label map at 2 mm.

    Attributes
    ----------
    kinds : ndarray of uint8, shape (3, x, y, z)
        The labels that fill most of a voxel, as indices into `labels`.
    shares : ndarray of float32, shape (3, x, y, z)
        What part of the voxel each of them fills; sums to 1.
    labels : tuple of int
        FreeSurfer labels, the left one for both sides.
    classes : ndarray of uint8, shape (len(CLASSES) - 1, x, y, z)
        What part of the voxel each class but the background fills; 255 is all of it.
    centre : ndarray of float64, shape (3,)
        Voxel in the middle of the brain.
    """

    kinds: NDArray[np.uint8]
    shares: FloatArray
    labels: tuple[int, ...]
    classes: NDArray[np.uint8]
    centre: NDArray[np.float64]


def _block_mean(mask: NDArray[np.bool_]) -> FloatArray:
    step = round(SPACING_MM)
    shape = [n for side in mask.shape for n in (side // step, step)]
    return mask.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)


def read_head(path: Path) -> Head:
    """Reduce a label map of 1 mm to a head of 2 mm.

    Parameters
    ----------
    path : Path
        NIfTI with FreeSurfer labels, 1 mm isotropic, sides a multiple of 2.

    Returns
    -------
    Head
        Axes to the right, front and top.
    """
    labels = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj).astype(np.int32)
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    box = tuple(slice(s.start // 2 * 2, (s.stop + 1) // 2 * 2) for s in box)
    labels = labels[box]
    atlas_class = class_map(labels)
    merged = labels.copy()
    for right, left in _TWINS.items():
        merged[labels == right] = left
    present = tuple(int(value) for value in np.unique(merged))
    memberships = np.stack([_block_mean(merged == label) for label in present])
    kinds = np.argsort(-memberships, axis=0, kind="stable")[:_TOP]
    shares = np.take_along_axis(memberships, kinds, axis=0)
    classes = np.zeros((len(CLASSES) - 1, *shares.shape[1:]), np.float32)
    for number, name in enumerate(ATLAS_CLASSES, start=1):
        name = _CLASS_OF.get(name, name)
        if name in CLASSES:
            classes[CLASSES.index(name) - 1] += _block_mean(atlas_class == number)
    return Head(
        kinds.astype(np.uint8),
        shares / shares.sum(axis=0),
        present,
        np.rint(255 * classes).astype(np.uint8),
        np.array(ndimage.center_of_mass(classes.sum(axis=0))),
    )


def load_heads(paths: Sequence[Path], cache: Path) -> list[Head]:
    """Read heads, from a cache where they are there (the reduction takes some seconds each)."""
    cache.mkdir(parents=True, exist_ok=True)
    heads = []
    for path in paths:
        stored = cache / f"{path.name.partition('.')[0]}.npz"
        if not stored.is_file():
            np.savez_compressed(stored, **vars(read_head(path)))
        with np.load(stored) as arrays:
            parts = {name: arrays[name] for name in arrays.files}
        parts["labels"] = tuple(int(label) for label in parts["labels"])
        heads.append(Head(**parts))
    return heads


def _smooth_field(rng: np.random.Generator, shape: Sequence[int], nodes: Sequence[int]) -> FloatArray:
    """Return a smooth random field of about unit variance: random nodes, interpolated."""
    field = rng.standard_normal(tuple(nodes)).astype(np.float32)
    for axis, side in enumerate(shape):
        # cubic between the nodes, as a matrix: one product an axis
        eye = np.eye(nodes[axis], dtype=np.float32)
        matrix = ndimage.zoom(
            eye, (side / nodes[axis], 1), order=3 if nodes[axis] > 3 else 1, grid_mode=False
        )
        field = np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis)
    return field / max(float(field.std()), 1e-6)


def _intensities(rng: np.random.Generator, labels: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Draw the mean and the spread of every label."""
    means = rng.uniform(0.0, 1.0, len(labels))
    spreads = rng.uniform(0.01, 0.12, len(labels))
    usual = rng.random() < 0.7
    levels = list(_USUAL.values())[int(rng.integers(len(_USUAL)))]
    shift = rng.normal(0.0, 0.08, 3)
    for group, level in zip((_FLUID, _GREY, _WHITE), np.add(levels, shift), strict=True):
        for index in [i for i, label in enumerate(labels) if usual and label in group]:
            means[index] = level + rng.normal(0.0, 0.04)
            spreads[index] = rng.uniform(0.01, 0.06)
    for index in [i for i, label in enumerate(labels) if usual and label in _BONE]:
        means[index] = rng.uniform(0.0, 0.5)
    if 25 in labels and rng.random() < 0.5:  # white-matter lesions that do not show
        means[labels.index(25)] = means[labels.index(2)]
    air = labels.index(_BACKGROUND)
    means[air] = 0.0 if rng.random() < 0.8 else rng.uniform(0.0, 0.3)
    spreads[air] = rng.uniform(0.0, 0.02)
    return np.clip(means, 0.0, 1.0).astype(np.float32), spreads.astype(np.float32)


def _nodes(shape: Sequence[int], spacing_mm: float, apart_mm: float) -> list[int]:
    """Return how many nodes of a smooth field lie along each side of an image."""
    return [max(2, round(side * spacing_mm / apart_mm)) for side in shape]


def _places(
    rng: np.random.Generator, head: Head, shape: tuple[int, int, int], spacing_mm: float
) -> FloatArray:
    """Draw where in the head (voxels) each voxel of an image comes from: shape (3, x, y, z)."""
    limit = 20.0 if rng.random() < 0.9 else 45.0
    turn = Rotation.from_euler("xyz", rng.uniform(-limit, limit, 3), degrees=True).as_matrix()
    scale = rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3)
    matrix = turn @ np.diag(np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0]) / scale) * (spacing_mm / SPACING_MM)
    # the brain about the middle, as it lies in a scan that was planned on it
    middle = (np.array(shape) - 1) / 2 + rng.uniform(-16.0, 16.0, 3) / spacing_mm
    strength = rng.uniform(0.0, 1.5)  # voxels of the head
    places = np.empty((3, *shape), np.float32)
    for axis in range(3):
        parts = [
            matrix[axis, a] * (np.arange(n) - middle[a]).reshape([-1 if a == b else 1 for b in range(3)])
            for a, n in enumerate(shape)
        ]
        places[axis] = parts[0] + parts[1] + parts[2] + head.centre[axis]
        places[axis] += np.float32(strength) * _smooth_field(rng, shape, _nodes(shape, spacing_mm, 36.0))
        places[axis] += np.float32(0.3 * strength) * _smooth_field(
            rng, shape, _nodes(shape, spacing_mm, 18.0)
        )
    return places


def _slice_profile(rng: np.random.Generator, side: int, thickness: float) -> FloatArray:
    """Return the matrix that acquires an axis in slices (thickness in voxels) and interpolates them back."""
    positions = np.arange(rng.uniform(0.0, thickness), side, thickness)
    away = np.abs(np.arange(side)[None] - positions[:, None])
    acquire = np.clip((thickness + 1.0) / 2.0 - away, 0.0, 1.0) + 1e-6
    acquire /= acquire.sum(axis=1, keepdims=True)
    index = np.interp(np.arange(side), positions, np.arange(len(positions)))
    weights = np.maximum(1.0 - np.abs(index[:, None] - np.arange(len(positions))[None]), 0.0)
    return (weights @ acquire).astype(np.float32)


def draw_image(
    rng: np.random.Generator, head: Head, shape: tuple[int, int, int], spacing_mm: float = SPACING_MM
) -> tuple[FloatArray, FloatArray]:
    """Draw an image of a head and the classes of its voxels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    head : Head
        Who is imaged.
    shape : tuple of int
        Matrix of the image; axes to the right, front and top.
    spacing_mm : float
        Its voxel, isotropic.

    Returns
    -------
    image : ndarray of float32, shape (x, y, z)
        Scaled as `scale_intensities` does, 0 outside the field of view.
    classes : ndarray of float32, shape (len(CLASSES), x, y, z)
        What part of the voxel each class fills; outside the field of view, and where a skull was removed, all
        is background.
    """
    means, spreads = _intensities(rng, head.labels)
    places = _places(rng, head, shape, spacing_mm)
    box = []
    for place, side in zip(places, head.shares.shape[1:], strict=True):
        low = int(np.clip(np.floor(place.min()), 0, side - 2))
        high = int(np.clip(np.ceil(place.max()), low + 1, side - 1))
        box.append(slice(low, high + 1))
        # as `grid_sample` counts: -1 is the first voxel and 1 the last
        place -= np.float32(low)
        place *= np.float32(2.0 / (high - low))
        place -= np.float32(1.0)
    part = (slice(None), *box)
    kinds, shares = head.kinds[part], head.shares[part]
    source = np.empty((len(CLASSES) + 1, *shares.shape[1:]), np.float32)
    source[0] = (means[kinds] * shares).sum(axis=0)
    source[1] = (spreads[kinds] * shares).sum(axis=0)
    np.multiply(head.classes[part], np.float32(1 / 255), out=source[2:])
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(source)[None],
        torch.from_numpy(np.stack(places[::-1], axis=-1))[None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    image, spread, *inside = sampled[0].numpy()
    classes = np.stack([np.zeros_like(image), *inside])
    brain = classes.sum(axis=0)

    if rng.random() < 0.5:
        _add_lesions(rng, image, classes[CLASSES.index("white_matter")], _nodes(shape, spacing_mm, 6.0))
    # Scalp, fat, marrow and muscle vary within a label far more than the brain does.
    outside = 1.0 - brain
    uneven = rng.uniform(0.0, 0.5) * _smooth_field(rng, shape, _nodes(shape, spacing_mm, 8.0))
    uneven += rng.uniform(0.0, 0.3) * _smooth_field(rng, shape, _nodes(shape, spacing_mm, 24.0))
    image *= np.exp(uneven * outside)
    image += spread * rng.standard_normal(shape, dtype=np.float32)

    if rng.random() < 0.25:
        sigma = rng.uniform(0.0, 1.5)
        kept = ndimage.gaussian_filter(brain, sigma) > rng.uniform(0.3, 0.9 if sigma > 0.5 else 0.6)
        classes *= kept
        image *= ndimage.gaussian_filter(kept.astype(np.float32), 0.4)

    for axis in range(3):
        image = ndimage.gaussian_filter1d(image, rng.uniform(0.0, 0.6), axis=axis, truncate=3.0)
    image *= np.exp(rng.uniform(0.0, 0.3) * _smooth_field(rng, shape, rng.integers(2, 5, 3)))
    noise = rng.uniform(0.0, 0.05)
    image += noise * rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.7:
        axis = int(rng.integers(3))
        profile = _slice_profile(rng, shape[axis], max(1.0, rng.uniform(2.0, 6.0) / spacing_mm))
        image = np.moveaxis(np.tensordot(profile, image, axes=(1, axis)), 0, axis)
    image = np.abs(image)
    image = (image / max(float(image.max()), 1e-6)) ** np.exp(rng.normal(0.0, 0.25))

    view = tuple(_cut(rng, n) for n in shape)
    seen = np.zeros(shape, np.float32)
    seen[view] = scale_intensities(image[view])
    cut = np.zeros(shape, np.float32)
    cut[view] = 1.0
    classes *= cut
    classes[0] = np.maximum(1.0 - classes.sum(axis=0), 0.0)
    return seen, classes


def _add_lesions(
    rng: np.random.Generator, image: FloatArray, white: FloatArray, nodes: Sequence[int]
) -> None:
    """Give part of the white matter another intensity; its class stays."""
    blobs = _smooth_field(rng, image.shape, nodes)
    amount = np.clip(4.0 * (blobs - rng.uniform(2.0, 3.2)), 0.0, 1.0) * white
    image += amount * (np.float32(rng.uniform(0.0, 1.0)) - image)


def _cut(rng: np.random.Generator, side: int) -> slice:
    """Draw how much of an axis lies in the field of view."""
    low, high = (
        int(rng.integers(0, side // 8)) if rng.random() < 0.4 else 0,
        int(rng.integers(0, side // 8)) if rng.random() < 0.4 else 0,
    )
    if rng.random() < 0.08:  # part of a head only
        low += int(rng.integers(0, side // 4))
        high += int(rng.integers(0, side // 4))
    return slice(low, side - high)
