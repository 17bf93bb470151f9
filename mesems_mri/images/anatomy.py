"""Brain and tissues of an image of any contrast, by a network trained on synthetic images.

The model (``anatomy.md``) sees 2 mm voxels whose axes run to the right, front and top as
nearly as the axes of the image can, in a box that holds a head. In an image larger than that box the brain
is looked for first, and the box put about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from nibabel.orientations import inv_ornt_aff, io_orientation

from mesems_mri.core.typing import Affine, FloatArray, Mask
from mesems_mri.errors import InputError, Reason
from mesems_mri.images.preparation import (
    blur_and_resample,
    filled_slices,
    one_piece,
    without_empty_ends,
)
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume, as_ras
from mesems_mri.models.inference import run_network

CLASSES: Final = (
    "background",
    "white_matter",
    "cortex",
    "deep_grey",
    "lateral_ventricles",
    "csf",
    "cerebellum",
    "brainstem",
)
"""Outputs of the network. Choroid plexus counts as lateral ventricles; ``csf`` is the rest in the dura."""
EDGE: Final = 0.6
"""The brain is where its probability is higher. Chosen on raw scans (`anatomy.md`)."""
SPACING_MM: Final = 2.0
BOX: Final = (80, 112, 80)
"""Voxels of the images the network was trained on: 160 x 224 x 160 mm."""

# Where the brain is, but not its edge, the network sees on coarser voxels too, at a quarter of the time.
_SEARCH_MM = 3.0
# Each level of the network halves the grid.
_MULTIPLE = 8
_RANGE_PERCENT = (1.0, 99.0)
# The smallest brain of an adult has about 900 ml; a tenth of it is no brain of which part lies out of view.
_MIN_BRAIN_ML = 90.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Brain and tissues of an image, by the network.

    Attributes
    ----------
    mask : ndarray of bool, shape of the image
        Everything inside the dura, extra-cerebral CSF included; one piece without holes.
    probability : ndarray of float32, shape (len(CLASSES), x, y, z)
        Of each of `CLASSES`, on `grid`; sums to 1.
    grid : Grid
        2 mm isotropic, its axes those of the image, ordered and flipped to run to the right, front and top.
        It holds the part of the field of view about the brain.
    """

    mask: Mask
    probability: FloatArray
    grid: Grid

    def on(self, grid: Grid, name: str, xfm: Affine | None = None) -> FloatArray:
        """Return the probability of a class on another grid.

        Parameters
        ----------
        grid : Grid
            Any, in the RAS mm of the image.
        name : str
            One of `CLASSES`, or ``brain`` for all but the background.
        xfm : ndarray of float64, shape (4, 4), optional
            RAS mm of the grid to RAS mm of the image; the identity when None.

        Returns
        -------
        ndarray of float32, shape of the grid
            0 to 1, interpolated linearly; 0 outside `Anatomy.grid`.

        Raises
        ------
        ValueError
            When there is no such class.
        """
        return resample_image(
            Volume(self.map_of(name), self.grid.affine), grid, np.eye(4) if xfm is None else xfm
        )

    def map_of(self, name: str) -> FloatArray:
        """Return the probability of a class on `Anatomy.grid`.

        Parameters
        ----------
        name : str
            One of `CLASSES`, or ``brain`` for all but the background.

        Returns
        -------
        ndarray of float32, shape of `Anatomy.grid`
            0 to 1.

        Raises
        ------
        ValueError
            When there is no such class.
        """
        if name not in (*CLASSES, "brain"):
            msg = f"no class {name!r}; expected brain or one of {', '.join(CLASSES)}"
            raise ValueError(msg)
        return 1.0 - self.probability[0] if name == "brain" else self.probability[CLASSES.index(name)]


def scale_intensities(array: FloatArray) -> FloatArray:
    """Return an image from 0 to 1, its percentiles 1 and 99 there (float32, same shape)."""
    low, high = np.percentile(array, _RANGE_PERCENT)
    return np.clip((array - low) / max(float(high - low), 1e-6), 0.0, 1.0).astype(np.float32)


def segment_anatomy(volume: Volume) -> Anatomy:
    """Segment the brain and its tissues.

    Parameters
    ----------
    volume : Volume
        A head or a stripped brain of any contrast, orientation and resolution; finite intensities.

    Returns
    -------
    Anatomy
        Mask in the grid of the image, probabilities at 2 mm.

    Raises
    ------
    InputError
        With reason ``not_a_brain`` when the image has no content or no brain of 90 ml is found in it.
    """
    if min(volume.shape) < 2 or not float(np.ptp(volume.array)) > 0:
        msg = f"image of shape {volume.shape} without content; expected a head scan of several slices"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    filled = without_empty_ends(volume)
    image, affine = _as_network_sees(filled, SPACING_MM)
    start = np.zeros(3, np.int64)
    if any(n > box for n, box in zip(image.shape, BOX, strict=True)):
        start = _box_about_brain(filled, image.shape)
    view = tuple(slice(int(a), int(a) + box) for a, box in zip(start, BOX, strict=True))
    probability = _probabilities(image[view], BOX)
    if float(1.0 - probability[0].mean()) * probability[0].size * SPACING_MM**3 / 1000 < _MIN_BRAIN_ML:
        msg = f"no brain of at least {_MIN_BRAIN_ML:.0f} ml recognised; check that it is a brain scan"
        raise InputError(msg, Reason.NOT_A_BRAIN)
    # The outer slices reach further than the last voxel centres.
    probability = np.pad(probability, [(0, 0), (1, 1), (1, 1), (1, 1)], mode="edge")
    shift = np.eye(4)
    shift[:3, 3] = start - 1
    x, y, z = probability.shape[1:]
    grid = Grid((x, y, z), np.asarray(affine @ shift, np.float64))
    anatomy = Anatomy(np.zeros(volume.shape, np.bool_), probability, grid)
    mask = anatomy.on(volume.grid, "brain") > EDGE
    np.moveaxis(mask, volume.slice_axis, 0)[~filled_slices(volume)] = False
    return Anatomy(one_piece(mask), probability, grid)


def _as_network_sees(volume: Volume, spacing_mm: float) -> tuple[FloatArray, Affine]:
    """Return an image at a spacing, axes to the right, front and top, and its voxel -> RAS mm affine."""
    image, affine = blur_and_resample(volume, spacing_mm)
    turned, _ = as_ras(image, affine)
    return turned, affine @ inv_ornt_aff(io_orientation(affine), image.shape)


def _box_about_brain(volume: Volume, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return where the box starts that has the brain in its middle and lies inside the image (at 2 mm).

    A coarser image will do: the centre of the brain moves by a voxel at most.
    """
    image, _ = _as_network_sees(volume, _SEARCH_MM)
    brain = 1.0 - _probabilities(image)[0]
    starts = []
    for axis, (side, box) in enumerate(zip(shape, BOX, strict=True)):
        profile = brain.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        centre = float(np.average(np.arange(len(profile)), weights=profile + 1e-9)) * _SEARCH_MM / SPACING_MM
        starts.append(int(np.clip(round(centre - box / 2), 0, max(side - box, 0))))
    return np.array(starts, np.int64)


def _probabilities(image: FloatArray, least: tuple[int, int, int] = (0, 0, 0)) -> FloatArray:
    """Run the network on an image of any size; it is padded with zeros to whole multiples, and to a box."""
    sides = [max(box, -(-n // _MULTIPLE) * _MULTIPLE) for n, box in zip(image.shape, least, strict=True)]
    before = [(side - n) // 2 for side, n in zip(sides, image.shape, strict=True)]
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    padded = np.zeros(sides, np.float32)
    padded[inside] = scale_intensities(image)
    logits = run_network("anatomy", padded[None, None])[0][:, *inside]
    weights = np.exp(logits - logits.max(axis=0))
    return weights / weights.sum(axis=0)
