"""New T2 lesions to put into real scans: the benchmark's own generator, frozen before detectors are tuned.

    python -m benchmarks.new_lesions REAL_DATA BIDS_DIR [DRAWS]

Every raw visit with a FLAIR is scanned again as in `tests.real.stable`, ``DRAWS`` times (6) with motion,
bias, noise and lesions of their own, half of the time in slices of another thickness: ``ses-1`` as it was
sent, ``ses-2`` without any change, ``ses-3`` with new lesions. ``derivatives/truth`` holds both as truth for
``mesems-mri evaluate``.

Shapes are superellipsoids with a soft edge, and outlines that experts drew (change masks of *other* patients
of ``open_ms``). Places are drawn where the T2 lesions of ``open_ms`` lie, in what is normal white matter on
the denoised FLAIR. A test keeps the hash of this file: a change of it makes earlier figures incomparable.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.images.brain import extract_brain
from mesems_mri.images.volume import Volume
from mesems_mri.models.atlas import load_atlas
from tests.real.stable import CASES, Case, arrange_stable

FloatArray = NDArray[np.float32]
LESIONS = 6
VOLUMES_MM3 = (30.0, 500.0)
CONTRASTS = (0.2, 0.7)
"""Brightening of the FLAIR, as a share of what is there."""
APART_MM = 20.0
_SHARES = {"FLAIR": 1.0, "T2W": 0.9, "T1W": -0.4}
"""Change of each image, as a share of that of the FLAIR."""
_OWN_THICKNESS_MM = {"01v1": 4.0, "09v2": 3.3}
_OTHER_THICKNESS_MM = {"01v1": 3.0}
_POINTS = np.stack(
    np.meshgrid(*((np.arange(n) + 0.5) / n - 0.5 for n in (3, 3, 7)), indexing="ij"), axis=-1
).reshape(-1, 3)


@dataclass(frozen=True)
class Lesion:
    """A lesion at a place: how much of it is where, in mm from its centre.

    Attributes
    ----------
    centre_mm : (3,) array
        In the scanner space of the scan it is put into.
    contrast : float
        Brightening of the FLAIR at its core, as a share of what is there.
    membership : (x, y, z) float32 array
        0 to 1, on a 1 mm grid whose middle is the centre.
    """

    centre_mm: NDArray[np.float64]
    contrast: float
    membership: FloatArray

    def share(self, affine: NDArray[np.floating], shape: tuple[int, ...]) -> FloatArray:
        """Return the share of every voxel that the lesion fills, sampled at 3 x 3 x 7 points in it."""
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        reach = np.ceil((max(self.membership.shape) / 2 + spacing) / spacing).astype(int)
        centre = np.rint(np.linalg.inv(affine) @ np.append(self.centre_mm, 1.0))[:3].astype(int)
        low, high = np.clip(centre - reach, 0, shape), np.clip(centre + reach + 1, 0, shape)
        share = np.zeros(shape, np.float32)
        index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).astype(float)
        middle = (np.array(self.membership.shape) - 1) / 2
        inside = np.zeros(index.shape[:3], np.float32)
        for point in _POINTS:
            where = (index + point) @ affine[:3, :3].T + affine[:3, 3] - self.centre_mm + middle
            inside += ndimage.map_coordinates(self.membership, np.moveaxis(where, -1, 0), order=1)
        share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = inside / len(_POINTS)
        return share

    def gain(self, suffix: str) -> float:
        """Change of the core on an image: ``FLAIR``, ``T2W`` or ``T1W``."""
        return _SHARES[suffix] * self.contrast

    def record(self) -> dict[str, object]:
        """Return contrast and volume."""
        volume_mm3 = float(self.membership.sum())
        return {"volume_mm3": round(volume_mm3, 1), "contrast": round(self.contrast, 3)}


def draw_lesions(flair: Volume, case: Case, real_data: Path) -> list[Lesion]:
    """Draw the lesions of a case.

    Parameters
    ----------
    flair : Volume
        Denoised, as it was sent.
    case : Case
        Its seed decides everything.
    real_data : Path
        Folder with ``open_ms``.
    """
    rng = np.random.default_rng([case.seed, 20])
    lesions = []
    for place in _places(flair, real_data, rng):
        volume_mm3 = float(np.exp(rng.uniform(*np.log(VOLUMES_MM3))))
        drawn = rng.random() < 0.5
        membership = _drawn_shape(case.patient, real_data, volume_mm3, rng) if drawn else None
        if membership is None:
            membership = _superellipsoid(volume_mm3, rng)
        lesions.append(Lesion(place, float(rng.uniform(*CONTRASTS)), membership))
    return lesions


def _places(flair: Volume, real_data: Path, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Draw places in normal white matter, as often as lesions are there."""
    brain = extract_brain(flair)
    often, affine = _lesion_frequency(real_data)
    smooth = ndimage.gaussian_filter(flair.array, 1.5 / np.asarray(flair.spacing_mm))
    to_scan = np.linalg.inv(flair.affine) @ np.linalg.inv(brain.to_mni) @ affine
    candidates = np.argwhere(often > 0)
    index = np.rint(candidates @ to_scan[:3, :3].T + to_scan[:3, 3]).astype(int)
    inside = ((index >= 3) & (index < np.array(flair.shape) - 3)).all(axis=1)
    candidates, index = candidates[inside], index[inside]
    white = load_atlas().probability["white_matter"][tuple(candidates.T)]
    value = smooth[tuple(index.T)]
    level = float(np.median(value[white > 0.9]))
    spread = float(1.4826 * np.median(np.abs(value[white > 0.9] - level)))
    normal = (white > 0.6) & (np.abs(value - level) < 2.5 * spread) & brain.mask[tuple(index.T)]
    candidates, weight = candidates[normal], often[tuple(candidates[normal].T)]
    scan_mm = candidates @ (flair.affine @ to_scan)[:3, :3].T + (flair.affine @ to_scan)[:3, 3]
    chosen: list[NDArray[np.float64]] = []
    for k in rng.choice(len(candidates), 2000, p=weight / weight.sum()):
        if all(np.linalg.norm(scan_mm[k] - other) > APART_MM for other in chosen):
            chosen.append(scan_mm[k])
        if len(chosen) == LESIONS:
            break
    return chosen


@cache
def _lesion_frequency(real_data: Path) -> tuple[FloatArray, NDArray[np.float64]]:
    """Frequency of T2 lesions on the grid of the atlas, and the affine of the grid."""
    atlas = load_atlas()
    total = np.zeros(atlas.probability["brain"].shape, np.float32)
    for path in sorted((real_data / "open_ms" / "cross_sectional").glob("patient*/gt_space-MNI.nii.gz")):
        image = nib.Nifti1Image.from_filename(path)
        smooth = ndimage.gaussian_filter((image.get_fdata() > 0).astype(np.float32), 3.0)
        between = np.linalg.inv(np.asarray(image.affine)) @ atlas.affine
        total += ndimage.affine_transform(
            smooth, between[:3, :3], between[:3, 3], output_shape=total.shape, order=1
        )
    return np.where(total > 0.01 * total.max(), total, np.float32(0.0)), atlas.affine


def _superellipsoid(volume_mm3: float, rng: np.random.Generator) -> FloatArray:
    exponent = float(rng.uniform(1.7, 2.7))
    softness = float(rng.uniform(0.05, 0.5))
    axes = np.exp(rng.normal(0, 0.25, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    axes *= np.cbrt(volume_mm3 / (4 / 3 * np.pi * np.prod(axes)))
    half = int(np.ceil(axes.max() * (1 + softness))) + 2
    grid = np.stack(np.meshgrid(*[np.arange(-half, half + 1.0)] * 3, indexing="ij"))
    local = np.tensordot(turn, grid, axes=1) / axes[:, None, None, None]
    radius = (np.abs(local) ** exponent).sum(axis=0) ** (1 / exponent)
    return np.clip((1 - radius) / softness + 0.5, 0, 1).astype(np.float32)


def _drawn_shape(
    patient: str, real_data: Path, volume_mm3: float, rng: np.random.Generator
) -> FloatArray | None:
    """Take an outline of about the volume from the change masks of the other patients."""
    near = [
        shape
        for owner, size, shape in _outlines(real_data)
        if owner != patient and 0.7 < size / volume_mm3 < 1.4
    ]
    if not near:
        return None
    outline = near[rng.integers(len(near))]
    for axis in range(3):
        if rng.random() < 0.5:
            outline = np.flip(outline, axis)
    return np.ascontiguousarray(np.swapaxes(outline, 0, 1) if rng.random() < 0.5 else outline)


@cache
def _outlines(real_data: Path) -> list[tuple[str, float, FloatArray]]:
    """Every component of the change masks: patient, volume (mm3), membership on a 1 mm grid."""
    outlines = []
    for path in sorted((real_data / "open_ms" / "longitudinal").glob("patient*/gt.nii.gz")):
        image = nib.Nifti1Image.from_filename(path)
        spacing = np.array(image.header.get_zooms()[:3], float)
        labels, n = ndimage.label(image.get_fdata() > 0, np.ones((3, 3, 3)))
        for label, box in enumerate(ndimage.find_objects(labels, n), start=1):
            mask = np.pad((labels[box] == label).astype(np.float32), 2)
            size = float(mask.sum() * np.prod(spacing))
            if VOLUMES_MM3[0] * 0.7 <= size <= VOLUMES_MM3[1] * 1.4:
                fine = ndimage.zoom(mask, spacing, order=1, grid_mode=True, mode="grid-constant")
                fine = ndimage.gaussian_filter(fine, 0.5)
                odd = [(0, 1 - n % 2) for n in fine.shape]
                outlines.append((path.parent.name.removeprefix("patient"), size, np.pad(fine, odd)))
    return outlines


def benchmark_cases(draws: int) -> list[Case]:
    """Every raw visit, ``draws`` times; the first half of the draws in slices of its own thickness."""
    cases = []
    for k in range(draws):
        for case in CASES:
            visit = f"{case.patient}v{case.visit}"
            own = _OWN_THICKNESS_MM.get(visit, 3.0)
            other = _OTHER_THICKNESS_MM.get(visit, 4.0)
            thickness_mm = own if k < draws / 2 else other
            cases.append(Case(case.patient, case.visit, thickness_mm, 1000 + 100 * k + case.seed, f"d{k}"))
    return cases


def main(arguments: list[str]) -> None:
    """Write the cases: ``REAL_DATA BIDS_DIR [DRAWS]``."""
    real_data = Path(arguments[0])
    draws = int(arguments[2]) if len(arguments) > 2 else 6

    def draw(flair: Volume, case: Case) -> list[Lesion]:
        return draw_lesions(flair, case, real_data)

    arrange_stable(real_data, Path(arguments[1]), benchmark_cases(draws), draw)


if __name__ == "__main__":
    main(sys.argv[1:])
