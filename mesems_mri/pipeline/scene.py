"""What the detectors look at: the images of a visit in space-subject, cropped to the brain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mesems_mri.core.intensity import find_nawm
from mesems_mri.images import nifti
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.register import load_priors
from mesems_mri.pipeline.visit import VisitFiles


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything of a visit that the detectors look at, cropped to the brain.

    Attributes
    ----------
    images : dict of str to float32 array
        By contrast, NAWM median 1; space-subject, cut to ``box``.
    entries : dict of str to dict
        What the record of the registration says of each image.
    brain_mask : bool array
        Brain of this visit.
    priors : dict of str to float32 array
        Tissue probabilities.
    box : tuple of slice
        Part of the grid of space-subject that all arrays show.
    """

    images: dict[str, np.ndarray]
    entries: dict[str, dict[str, Any]]
    brain_mask: np.ndarray
    priors: dict[str, np.ndarray]
    box: tuple[slice, ...]
    _nawm: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def nawm(self, contrast: str) -> np.ndarray:
        """Find the normal-appearing white matter on an image, once."""
        if contrast not in self._nawm:
            self._nawm[contrast] = find_nawm(
                self.images[contrast],
                brain_mask=self.brain_mask,
                white_matter=self.priors["white_matter"],
                contrast=contrast.removeprefix("ce-gadolinium_"),  # pyright: ignore[reportArgumentType]
            )
        return self._nawm[contrast]

    def geometry(self, contrast: str) -> dict[str, Any]:
        """Return voxel size, slice normal and slice thickness of an image, as the detectors take them."""
        entry = self.entries[contrast]
        return {
            "spacing_mm": SUBJECT_GRID.spacing_mm,
            "plane_normal": tuple(entry["plane_normal"]),
            "slice_thickness_mm": entry["slice_thickness_mm"],
        }


def open_scene(visit: VisitFiles, registered: Mapping[str, Any]) -> Scene:
    """Read a visit that was registered."""
    box, priors = load_priors(visit, registered["carried"]["anchor"])
    entries = {c: image for c, image in registered["images"].items() if image["evaluable"]}
    mask, _ = nifti.read_labels(visit.resolve(registered["brain_mask"]))
    return Scene(
        images={c: cropped(visit, image["preproc"], box) for c, image in entries.items()},
        entries=entries,
        brain_mask=mask[box] > 0,
        priors=priors,
        box=box,
    )


def cropped(visit: VisitFiles, name: str, box: tuple[slice, ...]) -> np.ndarray:
    """Read the part of a preprocessed image that lies in the box."""
    volume, _ = nifti.read_image(visit.resolve(name))
    return np.ascontiguousarray(volume.array[box])
