"""Lesion masks that a reader or another tool has drawn, in place of the detectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from mesems_mri.config import TrialConfig
from mesems_mri.core.components import close_fragments, label_components
from mesems_mri.core.t2.growth import ChangeThresholds, SliceGeometry, classify_growth
from mesems_mri.dataset.bids import (
    POSTCONTRAST,
    T2_CONTRASTS,
    Contrast,
    OwnMask,
    T2Contrast,
    t2_contrast_named,
)
from mesems_mri.dataset.records.detect import EarlierVisit
from mesems_mri.dataset.records.parts import ChangePart, GelPart, T2Part
from mesems_mri.dataset.records.registered_image import RegisteredImage, SubjectImage
from mesems_mri.errors import InputError, Reason
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID, Grid, corner_distance_mm, in_canonical_order
from mesems_mri.pipeline.masks import grid_of
from mesems_mri.pipeline.visit import VisitFiles, log

_GRID_LIMIT_MM = 0.5
"""Largest distance between the corners of a mask and of the image it was drawn on."""


_Key = TypeVar("_Key", bound=str)


@dataclass(frozen=True, kw_only=True)
class OwnMasks:
    """Lesion masks of one visit that somebody has given, and what is needed to read them.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    folder : Path
        Their folder, for messages.
    files : mapping of str to OwnMask
        Those that are there, by ``T2``, ``new``, ``enlarging``, ``enhancing``.
    images : mapping of contrast to RegisteredImage
        Evaluable images of the visit.
    box : tuple of slice
        Part of `SUBJECT_GRID` that the arrays show.
    config : TrialConfig
        The rules ``focus``, ``change`` and ``enhancement.ring_gap_mm``.
    """

    visit: VisitFiles
    folder: Path
    files: Mapping[str, OwnMask]
    images: Mapping[Contrast, RegisteredImage]
    box: tuple[slice, ...]
    config: TrialConfig

    def t2(self, contrast: T2Contrast, arrays: dict[str, np.ndarray]) -> T2Part:
        """Read the T2 lesions; ``arrays["t2"]`` holds those that are foci.

        Parameters
        ----------
        contrast : str
            The contrast on which T2 lesions of this visit are read, unless the mask lies on another one.
        arrays : dict of str to ndarray, shape of the box
            Filled: ``t2``.

        Returns
        -------
        T2Part
        """
        try:
            mask, drawn_on = self._read("T2", [contrast, *(c for c in T2_CONTRASTS if c != contrast)])
        except InputError as error:
            return T2Part(reason=str(error.reason), message=self._warn(error), given=True)
        geometry = self._geometry(self.images[drawn_on])
        arrays["t2"] = geometry.label_foci(mask, self.config.focus.min_volume_mm3) > 0
        return T2Part(contrast=t2_contrast_named(drawn_on), given=True)

    def change(
        self,
        contrast: T2Contrast,
        reference: EarlierVisit,
        reference_lesions: np.ndarray,
        arrays: dict[str, np.ndarray],
    ) -> ChangePart:
        """Read new and enlarging lesions, or derive what is not given from the masks of the two visits.

        Parameters
        ----------
        contrast : str
            Common to both visits.
        reference : EarlierVisit
            The reference visit.
        reference_lesions : ndarray of bool, shape of the box
            Its T2 lesions.
        arrays : dict of str to ndarray, shape of the box
            Holds ``t2``; filled: ``new``, ``enlarging``.

        Returns
        -------
        ChangePart
        """
        focus, change = self.config.focus, self.config.change
        geometry = self._geometry(self.images[contrast], reference.images[contrast])
        limits = ChangeThresholds(**change.model_dump(exclude={"candidate_score"}), **focus.model_dump())
        growth = arrays["t2"] & ~reference_lesions
        derived = classify_growth(growth, arrays["t2"], reference_lesions, geometry, limits)
        try:
            for desc, foci in zip(("new", "enlarging"), derived, strict=True):
                arrays[desc] = foci
                if desc in self.files:
                    mask, _ = self._read(desc, [contrast, *T2_CONTRASTS])
                    least = focus.min_volume_mm3 if desc == "new" else limits.min_growth_mm3
                    arrays[desc] = geometry.label_foci(mask, least)
        except InputError as error:
            return ChangePart(reason=str(error.reason), message=self._warn(error))
        arrays["t2"] = arrays["t2"] | (arrays["new"] > 0) | (arrays["enlarging"] > 0)
        return ChangePart(reference_session_id=reference.session_id, contrast=contrast)

    def enhancing(self, arrays: dict[str, np.ndarray]) -> GelPart:
        """Read the enhancing lesions: gaps of rings closed, foci numbered.

        Parameters
        ----------
        arrays : dict of str to ndarray, shape of the box
            Filled: ``gel``.

        Returns
        -------
        GelPart
        """
        try:
            mask, _ = self._read("enhancing", [POSTCONTRAST])
        except InputError as error:
            return GelPart(reason=str(error.reason), message=self._warn(error), given=True)
        image = self.images[POSTCONTRAST]
        closed = close_fragments(
            mask,
            spacing_mm=SUBJECT_GRID.spacing_mm,
            gap_mm=self.config.enhancement.ring_gap_mm,
            plane_normal=image.plane_normal,
        )
        arrays["gel"] = self._geometry(image).label_foci(closed, self.config.focus.min_volume_mm3)
        return GelPart(precontrast=True, rejected=(), given=True)

    def _geometry(self, *images: SubjectImage) -> SliceGeometry:
        coarser = max(images, key=lambda image: image.slice_thickness_mm)
        return SliceGeometry(
            SUBJECT_GRID.spacing_mm,
            coarser.plane_normal,
            coarser.slice_thickness_mm,
            self.config.focus.min_diameter_mm,
        )

    def _read(self, desc: str, contrasts: Sequence[Contrast]) -> tuple[np.ndarray, Contrast]:
        """Read a mask into the box of subject space; return it and the contrast on which it was drawn."""
        if desc not in self.files:
            agent = "ce-gadolinium_" if desc == "enhancing" else ""
            msg = (
                f"no {agent}space-..._label-L_desc-{desc}_mask.nii.gz of this visit in {self.folder.name}; "
                "add it, with no voxel set if there is no lesion"
            )
            raise InputError(msg, Reason.MISSING_SCAN)
        own = self.files[desc]
        try:
            labels, affine = in_canonical_order(*nifti.read_labels(own.path))
        except InputError as error:
            msg = f"{own.path.name}: {error}"
            raise InputError(msg, error.reason) from error
        usable: list[Contrast] = [c for c in dict.fromkeys(contrasts) if c in self.images]
        if own.space == "subject":
            self._check_grid(own.path.name, labels.shape, affine, {"subject space": SUBJECT_GRID})
            return labels[self.box] > 0, usable[0]
        grids: dict[Contrast, Grid] = {c: grid_of(self.images[c]) for c in usable}
        contrast = self._check_grid(own.path.name, labels.shape, affine, grids)
        foci, _ = label_components(labels > 0)
        xfm = np.asarray(self.images[contrast].subject_to_image)
        moved = resample_labels(foci, affine, SUBJECT_GRID, xfm)
        return moved[self.box] > 0, contrast

    @staticmethod
    def _check_grid(
        name: str, shape: tuple[int, ...], affine: np.ndarray, grids: Mapping[_Key, Grid]
    ) -> _Key:
        problems = []
        for what, grid in grids.items():
            apart_mm = corner_distance_mm(grid.shape, affine, grid.affine)
            if shape != grid.shape:
                sizes = [" x ".join(map(str, size)) for size in (shape, grid.shape)]
                problems.append(f"the matrix is {sizes[0]}, that of the {what} {sizes[1]}")
            elif apart_mm > _GRID_LIMIT_MM:
                problems.append(f"it lies {apart_mm:.1f} mm away from the {what} (limit {_GRID_LIMIT_MM} mm)")
            else:
                return what
        msg = f"{name} is not on the grid of its image: {problems[0]}; draw it on the scan that was sent"
        raise InputError(msg, Reason.UNREADABLE_FILE)

    def _warn(self, error: InputError) -> str:
        message = f"{self.visit.name}: {error}"
        log.warning("%s", message)
        return message
