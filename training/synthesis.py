"""Draw heads of random contrast from label maps, with the tissue of every voxel known.

A network that has seen every contrast there could be depends on none (SynthSeg: Billot et al., Medical Image
Analysis 2023). A label map is reduced once to the voxel that is trained on, each voxel with the labels that
fill most of it, so that a drawn image has true partial volume. Drawn with torch, on a GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from mesems_mri.images.anatomy import CLASSES
from mesems_mri.models.atlas import CLASSES as ATLAS_CLASSES
from training.build_atlas import class_map

# Class of the anatomy model that each class of the atlas belongs to; the others are background.
_CLASS_OF = {"choroid_plexus": "lateral_ventricles"}
# Right-sided FreeSurfer labels and their left-sided twins: both sides look alike.
_TWINS = {
    41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 57: 25,
    58: 26, 60: 28, 62: 30, 163: 136, 164: 137,
}  # fmt: skip
LESION_LABEL = 25
_BACKGROUND, _BONE = 0, (515, 516)
_FLUID = (4, 5, 14, 15, 24, 72, 506)
_WHITE, _GREY = (2, 7, 16, 28, 85), (3, 8, 10, 11, 12, 13, 17, 18, 26, 136, 137)
# Mean intensities of fluid, grey and white matter in the contrasts a trial sends; 70 % of the heads are drawn
# near one of them, so that a short training has seen the ordinary images.
USUAL = {
    "T1w": (0.15, 0.45, 0.7),
    "T2w": (0.9, 0.55, 0.4),
    "FLAIR": (0.1, 0.55, 0.42),
    "PDw": (0.75, 0.75, 0.6),
}
_TOP = 3


@dataclass(frozen=True, eq=False)
class Head:
    """A label map.

    Attributes
    ----------
    kinds : Tensor of uint8, shape (n, x, y, z)
        The labels that fill most of a voxel, as indices into `labels`.
    shares : Tensor of float32, shape (n, x, y, z)
        What part of the voxel each of them fills; sums to 1.
    classes : Tensor of uint8, shape (len(CLASSES) - 1, x, y, z)
        What part of the voxel each class but the background fills; 255 is all of it.
    labels : tuple of int
        FreeSurfer labels, the left one for both sides.
    centre : ndarray of float64, shape (3,)
        Voxel in the middle of the brain.
    spacing_mm : float
        Isotropic voxel; axes to the right, front and top.
    """

    kinds: torch.Tensor
    shares: torch.Tensor
    classes: torch.Tensor
    labels: tuple[int, ...]
    centre: NDArray[np.float64]
    spacing_mm: float


def _block_mean(mask: NDArray[np.bool_], step: int) -> NDArray[np.float32]:
    shape = [n for side in mask.shape for n in (side // step, step)]
    return mask.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)


def _reduce(path: Path, spacing_mm: float) -> dict[str, NDArray]:
    """Read a label map (NIfTI, FreeSurfer labels, 1 mm isotropic) and reduce it to whole millimetres."""
    step = round(spacing_mm)
    labels = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj).astype(np.int32)
    box = ndimage.find_objects((labels > 0).astype(np.uint8))[0]
    box = tuple(slice(s.start, s.start + (s.stop - s.start) // step * step) for s in box)
    labels = labels[box]
    atlas_class = class_map(labels)
    merged = labels.copy()
    for right, left in _TWINS.items():
        merged[labels == right] = left
    present = np.unique(merged)
    if step == 1:
        kinds, shares = np.searchsorted(present, merged)[None], np.ones((1, *merged.shape), np.float32)
    else:
        memberships = np.stack([_block_mean(merged == label, step) for label in present])
        kinds = np.argsort(-memberships, axis=0, kind="stable")[:_TOP]
        shares = np.take_along_axis(memberships, kinds, axis=0)
    classes = np.zeros((len(CLASSES) - 1, *shares.shape[1:]), np.float32)
    for number, name in enumerate(ATLAS_CLASSES, start=1):
        name = _CLASS_OF.get(name, name)
        if name in CLASSES:
            classes[CLASSES.index(name) - 1] += _block_mean(atlas_class == number, step)
    return {
        "kinds": kinds.astype(np.uint8),
        "shares": shares / shares.sum(axis=0),
        "classes": np.rint(255 * classes).astype(np.uint8),
        "labels": present,
        "centre": np.array(ndimage.center_of_mass(classes.sum(axis=0))),
    }


def load_heads(paths: Sequence[Path], cache: Path, spacing_mm: float, device: str = "cpu") -> list[Head]:
    """Read label maps, from a cache where they are there (the reduction takes some seconds each).

    Parameters
    ----------
    paths : sequence of Path
        NIfTI with FreeSurfer labels, 1 mm isotropic.
    cache : Path
        Folder that keeps what was reduced.
    spacing_mm : float
        Whole millimetres to reduce to.
    device : str
        Where the heads are kept and drawn.
    """
    folder = cache / f"{spacing_mm:.0f}mm"
    folder.mkdir(parents=True, exist_ok=True)
    heads = []
    for path in paths:
        stored = folder / f"{path.name.partition('.')[0]}.npz"
        if not stored.is_file():
            np.savez_compressed(stored, **_reduce(path, spacing_mm))
        with np.load(stored) as parts:
            tensors = {
                name: torch.from_numpy(parts[name]).to(device) for name in ("kinds", "shares", "classes")
            }
            labels = tuple(int(label) for label in parts["labels"])
            heads.append(Head(**tensors, labels=labels, centre=parts["centre"], spacing_mm=spacing_mm))
    return heads


def along(matrix: NDArray[np.float32], image: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply an axis of an image by a matrix (new side, old side)."""
    factor = torch.from_numpy(np.ascontiguousarray(matrix, np.float32)).to(image.device)
    return torch.movedim(torch.tensordot(factor, image, dims=([1], [axis])), 0, axis)


@lru_cache(maxsize=256)
def _between(side: int, nodes: int) -> NDArray[np.float32]:
    """Return the matrix that interpolates nodes, cubic where there are enough of them."""
    eye = np.eye(nodes, dtype=np.float32)
    return ndimage.zoom(eye, (side / nodes, 1), order=3 if nodes > 3 else 1, grid_mode=False)


def smooth_field(
    rng: np.random.Generator, shape: Sequence[int], nodes: Sequence[int], device: torch.device
) -> torch.Tensor:
    """Return a smooth random field of unit variance: random nodes, interpolated."""
    field = torch.from_numpy(rng.standard_normal(tuple(nodes)).astype(np.float32)).to(device)
    for axis, side in enumerate(shape):
        field = along(_between(side, nodes[axis]), field, axis)
    return field / field.std().clamp(min=1e-6)


def nodes_apart(shape: Sequence[int], spacing_mm: float, apart_mm: float) -> list[int]:
    """Return how many nodes of a smooth field lie along each side of an image."""
    return [max(2, round(side * spacing_mm / apart_mm)) for side in shape]


def white_noise(rng: np.random.Generator, shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Return independent normal noise; the numbers of a seed differ between kinds of device."""
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    return torch.randn(tuple(shape), generator=generator, device=device)


def blur(image: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """Blur each axis by a Gaussian (sigmas in voxels)."""
    for axis, sigma in enumerate(sigmas):
        if sigma > 0:
            eye = np.eye(image.shape[axis], dtype=np.float32)
            image = along(ndimage.gaussian_filter1d(eye, sigma, axis=0, truncate=3.0), image, axis)
    return image


def draw_intensities(
    rng: np.random.Generator, labels: tuple[int, ...], contrast: str | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the mean and the spread of every label, near those of a contrast or (None) at random."""
    means = rng.uniform(0.0, 1.0, len(labels))
    spreads = rng.uniform(0.01, 0.12, len(labels))
    if contrast:
        shift = rng.normal(0.0, 0.08, 3)
        for group, level in zip((_FLUID, _GREY, _WHITE), np.add(USUAL[contrast], shift), strict=True):
            for index in [i for i, label in enumerate(labels) if label in group]:
                means[index] = level + rng.normal(0.0, 0.04)
                spreads[index] = rng.uniform(0.01, 0.06)
        for index in [i for i, label in enumerate(labels) if label in _BONE]:
            means[index] = rng.uniform(0.0, 0.5)
    if LESION_LABEL in labels and rng.random() < 0.5:  # white-matter lesions that do not show
        means[labels.index(LESION_LABEL)] = means[labels.index(2)]
    air = labels.index(_BACKGROUND)
    means[air] = 0.0 if rng.random() < 0.8 else rng.uniform(0.0, 0.3)
    spreads[air] = rng.uniform(0.0, 0.02)
    return np.clip(means, 0.0, 1.0).astype(np.float32), spreads.astype(np.float32)


def draw_places(
    rng: np.random.Generator, head: Head, shape: tuple[int, int, int], spacing_mm: float, about: NDArray
) -> torch.Tensor:
    """Draw where in the head each voxel of an image comes from.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides rotation, scale, mirroring and smooth deformation.
    head : Head
        Who is imaged.
    shape : tuple of int
        Matrix of the image.
    spacing_mm : float
        Its voxel, isotropic.
    about : ndarray, shape (3,)
        Voxel of the head that lies in the middle of the image.

    Returns
    -------
    Tensor of float32, shape (3, x, y, z)
        Voxels of the head.
    """
    device = head.kinds.device
    limit = 20.0 if rng.random() < 0.9 else 45.0
    turn = Rotation.from_euler("xyz", rng.uniform(-limit, limit, 3), degrees=True).as_matrix()
    scale = rng.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07, 3)
    mirror = np.array([rng.choice([-1.0, 1.0]), 1.0, 1.0])
    matrix = turn @ np.diag(mirror / scale) * (spacing_mm / head.spacing_mm)
    strength = rng.uniform(0.0, 3.0) / head.spacing_mm
    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    x, y, z = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
    places = torch.empty((3, *shape), device=device)
    for axis in range(3):
        a, b, c = (float(value) for value in matrix[axis])
        places[axis] = a * x + b * y + c * z + float(about[axis])
        for part, apart_mm in ((1.0, 36.0), (0.3, 18.0)):
            nodes = nodes_apart(shape, spacing_mm, apart_mm)
            places[axis] += part * strength * smooth_field(rng, shape, nodes, device)
    return places


def sample(source: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Interpolate channels (n, x, y, z) linearly at `places` (3, ...); 0 outside."""
    sides = torch.tensor(source.shape[1:], device=source.device, dtype=torch.float32)
    # as `grid_sample` counts: -1 is the first voxel and 1 the last, and the last axis comes first
    grid = places * (2.0 / (sides - 1.0))[:, None, None, None] - 1.0
    return torch.nn.functional.grid_sample(
        source[None],
        torch.stack(tuple(grid.flip(0)), dim=-1)[None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )[0]


def fill(head: Head, values: NDArray[np.float32]) -> torch.Tensor:
    """Return an image of the head whose labels have given values: shape (x, y, z)."""
    of = torch.from_numpy(values).to(head.kinds.device)
    return (of[head.kinds.long()] * head.shares).sum(dim=0)


def slice_profile(rng: np.random.Generator, side: int, thickness: float) -> NDArray[np.float32]:
    """Return the matrix that acquires an axis in slices (thickness in voxels) and interpolates them back."""
    positions = np.arange(rng.uniform(0.0, thickness), side, thickness)
    away = np.abs(np.arange(side)[None] - positions[:, None])
    acquire = np.clip((thickness + 1.0) / 2.0 - away, 0.0, 1.0) + 1e-6
    acquire /= acquire.sum(axis=1, keepdims=True)
    index = np.interp(np.arange(side), positions, np.arange(len(positions)))
    weights = np.maximum(1.0 - np.abs(index[:, None] - np.arange(len(positions))[None]), 0.0)
    return (weights @ acquire).astype(np.float32)


def scale_intensities(image: torch.Tensor) -> torch.Tensor:
    """Return an image from 0 to 1, its percentiles 1 and 99 there: as in `mesems_mri.images.anatomy`."""
    levels = torch.tensor([0.01, 0.99], device=image.device)
    low, high = torch.quantile(image.flatten(), levels).tolist()
    return ((image - low) / max(high - low, 1e-6)).clamp(0.0, 1.0)


def draw_image(
    rng: np.random.Generator, head: Head, shape: tuple[int, int, int], spacing_mm: float
) -> tuple[torch.Tensor, torch.Tensor]:
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
    image : Tensor of float32, shape (x, y, z)
        Scaled as `scale_intensities` does, 0 outside the field of view.
    classes : Tensor of float32, shape (len(CLASSES), x, y, z)
        What part of the voxel each class fills; outside the field of view, and where a skull was removed, all
        is background.
    """
    device = head.kinds.device
    contrast = str(rng.choice(list(USUAL))) if rng.random() < 0.7 else None
    means, spreads = draw_intensities(rng, head.labels, contrast)
    # the brain about the middle, as it lies in a scan that was planned on it
    about = head.centre + rng.uniform(-16.0, 16.0, 3) / head.spacing_mm
    places = draw_places(rng, head, shape, spacing_mm, about)
    source = torch.cat([fill(head, means)[None], fill(head, spreads)[None], head.classes / 255.0])
    image, spread, *inside = sample(source, places)
    classes = torch.stack([torch.zeros_like(image), *inside])
    brain = classes.sum(dim=0)

    if rng.random() < 0.5:
        image = _with_lesions(rng, image, classes[CLASSES.index("white_matter")], spacing_mm)
    # Scalp, fat, marrow and muscle vary within a label far more than the brain does.
    uneven = rng.uniform(0.0, 0.5) * smooth_field(rng, shape, nodes_apart(shape, spacing_mm, 8.0), device)
    uneven += rng.uniform(0.0, 0.3) * smooth_field(rng, shape, nodes_apart(shape, spacing_mm, 24.0), device)
    image = image * torch.exp(uneven * (1.0 - brain)) + spread * white_noise(rng, shape, device)

    if rng.random() < 0.25:
        sigma = rng.uniform(0.0, 1.5)
        kept = blur(brain, (sigma,) * 3) > rng.uniform(0.3, 0.9 if sigma > 0.5 else 0.6)
        classes *= kept
        image = image * blur(kept.float(), (0.4,) * 3)

    image = blur(image, rng.uniform(0.0, 0.6, 3))
    image = image * torch.exp(rng.uniform(0.0, 0.3) * smooth_field(rng, shape, rng.integers(2, 5, 3), device))
    image = image + rng.uniform(0.0, 0.05) * white_noise(rng, shape, device)
    if rng.random() < 0.7:
        axis = int(rng.integers(3))
        thickness = max(1.0, rng.uniform(2.0, 6.0) / spacing_mm)
        image = along(slice_profile(rng, shape[axis], thickness), image, axis)
    image = image.abs()
    image = (image / image.max().clamp(min=1e-6)) ** float(np.exp(rng.normal(0.0, 0.25)))

    view = tuple(_cut(rng, n) for n in shape)
    seen, cut = torch.zeros_like(image), torch.zeros_like(image)
    seen[view] = scale_intensities(image[view])
    cut[view] = 1.0
    classes *= cut
    classes[0] = (1.0 - classes.sum(dim=0)).clamp(min=0.0)
    return seen, classes


def _with_lesions(
    rng: np.random.Generator, image: torch.Tensor, white: torch.Tensor, spacing_mm: float
) -> torch.Tensor:
    """Give part of the white matter another intensity; its class stays."""
    blobs = smooth_field(
        rng, image.shape, nodes_apart(image.shape, spacing_mm, rng.uniform(6.0, 14.0)), image.device
    )
    amount = (4.0 * (blobs - rng.uniform(2.0, 3.2))).clamp(0.0, 1.0) * white
    return image + amount * (float(rng.uniform(0.0, 1.0)) - image)


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
