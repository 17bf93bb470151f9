"""The scans that the detection of enhancing lesions is measured on, and this benchmark's normal enhancement.

Three patients have T1w before and after contrast. Five have one T1w: it is read as if it had been acquired
before and after contrast, moved a little, with new noise, and with normal enhancement (plexus, dura, veins of
the sulci) drawn into the second. Both generators are frozen; nothing in training imports them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.gel_scans import ENHANCED, READ_TWICE, load_pair

Array = NDArray[np.float32]


@dataclass
class Implant:
    """Truth of one implanted GEL."""

    shape: str
    size_mm: float
    contrast: float
    truth: NDArray[np.bool_]


@dataclass
class Case:
    """One participant on a 1 mm grid, every image scaled to NAWM."""

    name: str
    post: Array
    pre: Array
    t2_images: dict[str, Array]
    brain_mask: NDArray[np.bool_]
    nawm: NDArray[np.bool_]
    priors: dict[str, Array]
    slice_thickness_mm: float = 1.0
    implants: list[Implant] = field(default_factory=list)

    @property
    def enhanced(self) -> bool:
        """Whether the pair was acquired with contrast medium."""
        return self.name in ENHANCED


def load_cases(cache: Path) -> Iterator[Case]:
    """Read all pairs; those without contrast medium get normal enhancement, the same in every run."""
    for number, name in enumerate((*ENHANCED, *READ_TWICE)):
        pair = load_pair(name, cache)
        case = Case(
            name,
            pair.post,
            pair.pre,
            pair.t2_images,
            pair.brain_mask,
            pair.nawm,
            pair.priors,
            pair.thickness_mm,
        )
        if not case.enhanced:
            rng = np.random.default_rng([77, number])
            case = draw_normal_enhancement(read_again(case, rng), rng)
        yield case


def read_again(case: Case, rng: np.random.Generator) -> Case:
    """Take the T1w a second time: moved by part of a millimetre, other gain and shading, new noise."""
    angle = np.deg2rad(rng.normal(0, 0.3))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    middle = np.array(case.pre.shape) / 2
    offset = middle - turn @ middle + rng.normal(0, 0.3, 3) * [1, 1, 0.3]
    moved = ndimage.affine_transform(case.pre, turn, offset, order=1, mode="nearest")
    ramp = rng.uniform(-0.1, 0.1) * np.linspace(-1, 1, case.pre.shape[1])[None, :, None]
    noise = [0.03 * _slice_noise(rng, case.pre.shape, case.slice_thickness_mm) for _ in range(2)]
    post = rng.uniform(0.85, 1.2) * moved * (1 + ramp) + noise[0]
    return replace(
        case,
        post=(post * case.brain_mask).astype(np.float32),
        pre=((case.pre + noise[1]) * case.brain_mask).astype(np.float32),
    )


def _slice_noise(rng: np.random.Generator, shape: tuple[int, ...], thickness_mm: float) -> Array:
    """Noise of unit spread in each acquired slice; between slices it is interpolated."""
    slices = round(shape[2] / thickness_mm) + 1
    return ndimage.zoom(
        rng.standard_normal((*shape[:2], slices), dtype=np.float32), (1, 1, shape[2] / slices), order=1
    )


def draw_normal_enhancement(case: Case, rng: np.random.Generator) -> Case:
    """Brighten plexus, dura and 80 veins of the sulci on the second T1w, as thick as its slices."""
    shape, csf = case.post.shape, case.priors["csf"]
    depth = ndimage.distance_transform_edt(np.pad(case.brain_mask, 1))[1:-1, 1:-1, 1:-1]
    added = 0.5 * (case.priors["choroid_plexus"] > 0.35).astype(np.float32)
    patches = ndimage.zoom(rng.random([n // 8 + 1 for n in shape]), 8, order=1)[tuple(map(slice, shape))]
    added += np.where((depth > 0) & (depth <= 1 + 2 * patches), rng.uniform(0.3, 0.9), 0).astype(np.float32)
    places = np.argwhere((csf > 0.4) & (depth > 2) & (depth < 25) & case.brain_mask)
    for start in places[rng.choice(len(places), 80)]:
        along = rng.normal(size=3)
        along /= np.linalg.norm(along)
        steps = np.arange(0, rng.uniform(5, 30), 0.5)[:, None]
        bent = np.outer(steps[:, 0] ** 2 / 60, rng.normal(size=3))
        line = np.rint(start + steps * along + bent).astype(int)
        line = line[((line >= 0) & (line < shape)).all(axis=1)]
        contrast = rng.uniform(0.3, 1.0)
        added[tuple(line.T)] = np.maximum(added[tuple(line.T)], 2.5 * contrast)
    added = ndimage.gaussian_filter(added, 0.6)
    if case.slice_thickness_mm > 2:
        added = ndimage.gaussian_filter1d(added, case.slice_thickness_mm / 2.3548, axis=2)
    return replace(case, post=((case.post + added) * case.brain_mask).astype(np.float32))
