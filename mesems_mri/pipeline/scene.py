"""Images of a visit in subject space, cropped to the brain, as the detectors read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from mesems_mri.core.intensity import find_nawm
from mesems_mri.dataset.bids import Contrast, weighting
from mesems_mri.dataset.records.base import Normal
from mesems_mri.dataset.records.detect import EarlierVisit
from mesems_mri.dataset.records.register import RegisteredVisit
from mesems_mri.dataset.records.registered_image import SubjectImage
from mesems_mri.images import nifti
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.tissue import load_tissue
from mesems_mri.pipeline.visit import VisitFiles


class AcquiredGeometry(TypedDict):
    """Voxel size, slice normal and slice thickness of an image, as the detectors take them."""

    spacing_mm: tuple[float, float, float]
    plane_normal: Normal
    slice_thickness_mm: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Images of a visit with brain mask and priors, all on one part of the grid of subject space.

    Attributes
    ----------
    images : dict of contrast to ndarray of float32, shape (x, y, z)
        NAWM median 1.
    entries : mapping of contrast to SubjectImage
        Their records.
    brain_mask : ndarray of bool, shape (x, y, z)
        Brain of this visit.
    priors : dict of str to ndarray of float32, shape (x, y, z)
        Tissue maps of this head, 0 to 1.
    box : tuple of slice
        Part of `SUBJECT_GRID` that all arrays show.
    """

    images: dict[Contrast, np.ndarray]
    entries: Mapping[Contrast, SubjectImage]
    brain_mask: np.ndarray
    priors: dict[str, np.ndarray]
    box: tuple[slice, ...]
    _nawm: dict[Contrast, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def nawm(self, contrast: Contrast) -> np.ndarray:
        """Return the mask of normal-appearing white matter on an image, computed once."""
        if contrast not in self._nawm:
            self._nawm[contrast] = find_nawm(
                self.images[contrast],
                brain_mask=self.brain_mask,
                white_matter=self.priors["white_matter"],
                contrast=weighting(contrast),
            )
        return self._nawm[contrast]

    def geometry(self, contrast: Contrast) -> AcquiredGeometry:
        """Return the geometry of an image as it was acquired."""
        entry = self.entries[contrast]
        return {
            "spacing_mm": SUBJECT_GRID.spacing_mm,
            "plane_normal": entry.plane_normal,
            "slice_thickness_mm": entry.slice_thickness_mm,
        }


def open_scene(visit: VisitFiles, registered: RegisteredVisit) -> Scene:
    """Read all evaluable images of a visit."""
    box, priors = load_tissue(visit, registered)
    entries = registered.evaluable
    return Scene(
        images={c: cropped(visit, image.preproc, box) for c, image in entries.items()},
        entries=entries,
        brain_mask=_brain_mask(visit, registered.brain_mask, box),
        priors=priors,
        box=box,
    )


def open_reference(
    visit: VisitFiles, reference: EarlierVisit, contrasts: tuple[Contrast, ...], scene: Scene
) -> Scene:
    """Read images of the reference visit on the part of the grid that the scene of this visit shows."""
    return Scene(
        images={c: cropped(visit, reference.images[c].preproc, scene.box) for c in contrasts},
        entries=reference.images,
        brain_mask=_brain_mask(visit, reference.brain_mask, scene.box),
        priors=scene.priors,
        box=scene.box,
    )


def _brain_mask(visit: VisitFiles, name: str, box: tuple[slice, ...]) -> np.ndarray:
    return nifti.read_labels(visit.resolve(name))[0][box] > 0


def cropped(visit: VisitFiles, name: str, box: tuple[slice, ...]) -> np.ndarray:
    """Read the part of a preprocessed image that lies in the box."""
    volume, _ = nifti.read_image(visit.resolve(name))
    return np.ascontiguousarray(volume.array[box])
