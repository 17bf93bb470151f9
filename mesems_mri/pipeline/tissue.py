"""Tissue maps of a visit between the steps: on the grid of the network, then in subject space."""

import numpy as np

from mesems_mri.dataset.records.register import Anchor, RegisteredVisit
from mesems_mri.dataset.records.standardise import BrainRecord
from mesems_mri.images.anatomy import Anatomy
from mesems_mri.images.tissue import tissue_maps
from mesems_mri.images.volume import SUBJECT_GRID, Grid
from mesems_mri.pipeline.visit import VisitFiles, write_arrays

Box = tuple[slice, ...]


def write_tissue(visit: VisitFiles, anatomy: Anatomy) -> str:
    """Write the tissues that were seen on the reference image; return the file, relative to the output."""
    path = visit.work("tissue.npz")
    probability = np.rint(255 * anatomy.probability).astype(np.uint8)
    write_arrays(path, {"probability": probability, "affine": np.asarray(anatomy.grid.affine)})
    return visit.relative(path)


def tissue_in_subject(
    visit: VisitFiles, anchor: Anchor, brain: BrainRecord, to_reference: np.ndarray
) -> tuple[str, Box, dict[str, np.ndarray]]:
    """Resample the tissue maps of a visit to subject space, and write them.

    Parameters
    ----------
    visit : VisitFiles
    anchor : Anchor
    brain : BrainRecord
        Names the tissue maps of this visit.
    to_reference : ndarray of float64, shape (4, 4)
        From subject space to the reference image of the visit, mm to mm.

    Returns
    -------
    file : str
        Relative to the output folder.
    box : tuple of slice
        Part of `SUBJECT_GRID` that holds the brain.
    tissue : dict of str to ndarray of float32, shape of the box
        `images.tissue.TISSUES`, 0 to 1.
    """
    with np.load(visit.resolve(brain.tissue)) as archive:
        probability = archive["probability"].astype(np.float32) / np.float32(255)
        x, y, z = probability.shape[1:]
        grid = Grid((x, y, z), archive["affine"])
    anatomy = Anatomy(np.zeros(grid.shape, bool), probability, grid)
    box, _ = load_brain_prior(visit, anchor)
    corner = np.eye(4)
    corner[:3, 3] = [side.start for side in box]
    nx, ny, nz = (side.stop - side.start for side in box)
    cropped = Grid((nx, ny, nz), SUBJECT_GRID.affine @ corner)
    maps = tissue_maps(anatomy, np.asarray(brain.to_mni, np.float64), cropped, to_reference)
    stored = {name: np.rint(255 * values).astype(np.uint8) for name, values in maps.items()}
    path = visit.work("tissue_space-subject.npz")
    write_arrays(path, stored, compress=False)
    return visit.relative(path), box, {name: _as_float(values) for name, values in stored.items()}


def load_tissue(visit: VisitFiles, registered: RegisteredVisit) -> tuple[Box, dict[str, np.ndarray]]:
    """Load the tissue maps of a visit in subject space, cropped to the brain.

    Parameters
    ----------
    visit : VisitFiles
    registered : RegisteredVisit

    Returns
    -------
    box : tuple of slice
        Part of `SUBJECT_GRID` that holds the brain.
    tissue : dict of str to ndarray of float32, shape of the box
        `images.tissue.TISSUES`, 0 to 1.
    """
    box, _ = load_brain_prior(visit, registered.anchor)
    with np.load(visit.resolve(registered.tissue)) as archive:
        return box, {name: _as_float(archive[name]) for name in archive.files}


def load_brain_prior(visit: VisitFiles, anchor: Anchor) -> tuple[Box, np.ndarray]:
    """Load where the whole brain of a participant lies, whatever part of it a visit shows.

    Parameters
    ----------
    visit : VisitFiles
        Any visit of the participant.
    anchor : Anchor

    Returns
    -------
    box : tuple of slice
        Part of `SUBJECT_GRID` that holds the brain.
    brain : ndarray of float32, shape of the box
        Probability of brain by the atlas, 0 to 1.
    """
    with np.load(visit.resolve(anchor.brain_prior)) as archive:
        start, stop = archive["box"]
        brain = _as_float(archive["brain"])
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)), brain


def _as_float(stored: np.ndarray) -> np.ndarray:
    return stored.astype(np.float32) / np.float32(255)
