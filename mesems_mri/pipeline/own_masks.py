"""Lesions from masks that a reader or another tool has drawn, in the place of the detectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.core.components import close_fragments, label_components
from mesems_mri.core.t2.growth import ChangeThresholds, SliceGeometry, classify_growth
from mesems_mri.dataset.bids import POSTCONTRAST, T2_CONTRASTS, OwnMask
from mesems_mri.errors import InputError, Reason
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID, Grid, corner_distance_mm
from mesems_mri.pipeline.masks import grid_of
from mesems_mri.pipeline.visit import VisitFiles, log

_GRID_LIMIT_MM = 0.5
"""Largest distance between the corners of a mask and of the image it was drawn on."""


@dataclass(frozen=True, kw_only=True)
class OwnMasks:
    """The masks of one visit and what is needed to read them.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    folder : Path
        Where they lie, for messages.
    files : mapping of str to OwnMask
        Those that are there, by ``T2``, ``new``, ``enlarging``, ``enhancing``.
    images : mapping
        Images of the visit by contrast, as registered.
    box : tuple of slice
        Where the arrays lie in subject space.
    settings : mapping
        The rules ``focus``, ``change`` and ``enhancement`` of the configuration.
    """

    visit: VisitFiles
    folder: Path
    files: Mapping[str, OwnMask]
    images: Mapping[str, Mapping[str, Any]]
    box: tuple[slice, ...]
    settings: Mapping[str, Any]

    def t2(self, contrast: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Take the T2 lesions; ``arrays["t2"]`` holds those that are foci.

        Parameters
        ----------
        contrast : str
            The contrast on which T2 lesions of this visit are read, unless the mask lies on another one.
        arrays : dict
            Filled: ``t2``.

        Returns
        -------
        dict
            The part ``t2`` of the record.
        """
        try:
            mask, drawn_on = self._read("T2", [contrast, *(c for c in T2_CONTRASTS if c != contrast)])
        except InputError as error:
            return self._refused(error)
        arrays["t2"] = self._geometry([drawn_on]).label_foci(mask, self._min_volume_mm3) > 0
        return {"evaluable": True, "reason": None, "contrast": drawn_on, "given": True}

    def change(
        self,
        contrast: str,
        reference: Mapping[str, Any],
        reference_lesions: np.ndarray,
        arrays: dict[str, np.ndarray],
    ) -> dict[str, Any]:
        """Take new and enlarging lesions, or derive what is not given from the masks of the two visits.

        Parameters
        ----------
        contrast : str
            Common to both visits.
        reference : mapping
            The reference visit, as carried on.
        reference_lesions : (X, Y, Z) bool
            Its T2 lesions.
        arrays : dict
            Holds ``t2``; filled: ``new``, ``enlarging``.

        Returns
        -------
        dict
            The part ``t2_change`` of the record.
        """
        geometry = self._geometry([contrast], reference["images"][contrast])
        limits = ChangeThresholds(**self.settings["change"], **self.settings["focus"])
        growth = arrays["t2"] & ~reference_lesions
        derived = classify_growth(growth, arrays["t2"], reference_lesions, geometry, limits)
        try:
            for desc, foci in zip(("new", "enlarging"), derived, strict=True):
                arrays[desc] = foci
                if desc in self.files:
                    mask, _ = self._read(desc, [contrast, *T2_CONTRASTS])
                    least = self._min_volume_mm3 if desc == "new" else limits.min_growth_mm3
                    arrays[desc] = geometry.label_foci(mask, least)
        except InputError as error:
            return self._refused(error) | {"reference_session_id": None}
        arrays["t2"] = arrays["t2"] | (arrays["new"] > 0) | (arrays["enlarging"] > 0)
        return {
            "evaluable": True,
            "reason": None,
            "reference_session_id": reference["session_id"],
            "contrast": contrast,
        }

    def enhancing(self, min_covered: float, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Take the enhancing lesions: gaps of rings closed, foci numbered.

        Parameters
        ----------
        min_covered : float
            Share of the brain that the post-contrast image must show.
        arrays : dict
            Filled: ``gel``.

        Returns
        -------
        dict
            The part ``gel`` of the record.
        """
        image = self.images.get(POSTCONTRAST)
        if image is None:
            return {"evaluable": False, "reason": str(Reason.NO_POSTCONTRAST)}
        if not image["evaluable"]:
            return {"evaluable": False, "reason": image["reason"]}
        if image["covered_fraction"] < min_covered:
            return {"evaluable": False, "reason": str(Reason.INCOMPLETE_COVERAGE)}
        try:
            mask, _ = self._read("enhancing", [POSTCONTRAST])
        except InputError as error:
            return self._refused(error)
        closed = close_fragments(
            mask,
            spacing_mm=SUBJECT_GRID.spacing_mm,
            gap_mm=self.settings["enhancement"]["ring_gap_mm"],
            plane_normal=tuple(image["plane_normal"]),
        )
        arrays["gel"] = self._geometry([POSTCONTRAST]).label_foci(closed, self._min_volume_mm3)
        return {"evaluable": True, "reason": None, "precontrast": True, "rejected": [], "given": True}

    @property
    def _min_volume_mm3(self) -> float:
        return self.settings["focus"]["min_volume_mm3"]

    def _geometry(self, contrasts: Sequence[str], *more: Mapping[str, Any]) -> SliceGeometry:
        coarser = max(
            [*(self.images[contrast] for contrast in contrasts), *more],
            key=lambda image: image["slice_thickness_mm"],
        )
        return SliceGeometry(
            SUBJECT_GRID.spacing_mm,
            tuple(coarser["plane_normal"]),
            coarser["slice_thickness_mm"],
            self.settings["focus"]["min_diameter_mm"],
        )

    def _read(self, desc: str, contrasts: Sequence[str]) -> tuple[np.ndarray, str]:
        """Read a mask into the box of subject space; tell on which contrast it was drawn."""
        if desc not in self.files:
            agent = "ce-gadolinium_" if desc == "enhancing" else ""
            msg = (
                f"no {agent}space-..._label-L_desc-{desc}_mask.nii.gz of this visit in {self.folder.name}; "
                "add it, with no voxel set if there is no lesion"
            )
            raise InputError(msg, Reason.MISSING_SCAN)
        own = self.files[desc]
        try:
            labels, affine = nifti.read_labels(own.path)
        except InputError as error:
            msg = f"{own.path.name}: {error}"
            raise InputError(msg, error.reason) from error
        usable = [c for c in dict.fromkeys(contrasts) if self.images.get(c, {}).get("evaluable")]
        if own.space == "subject":
            self._check_grid(own.path.name, labels.shape, affine, {"subject space": SUBJECT_GRID})
            return labels[self.box] > 0, usable[0]
        grids = {c: grid_of(self.images[c]) for c in usable}
        contrast = self._check_grid(own.path.name, labels.shape, affine, grids)
        foci, _ = label_components(labels > 0)
        xfm = np.asarray(self.images[contrast]["subject_to_image"])
        moved = resample_labels(foci, affine, SUBJECT_GRID, xfm)
        return moved[self.box] > 0, contrast

    @staticmethod
    def _check_grid(name: str, shape: tuple[int, ...], affine: np.ndarray, grids: Mapping[str, Grid]) -> str:
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

    def _refused(self, error: InputError) -> dict[str, Any]:
        message = f"{self.visit.name}: {error}"
        log.warning("%s", message)
        return {"evaluable": False, "reason": str(error.reason), "message": message, "given": True}
