"""Outlines that were grown where a reader points, kept until one is taken."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from mesems_mri.core.components import label_foci
from mesems_mri.images.volume import spacing_of
from mesems_mri.review import actions
from mesems_mri.review.findings import measured
from mesems_mri.review.masks import Crop, Runs, runs_of_mask
from mesems_mri.review.pictures import Gallery
from mesems_mri.review.state import Kind
from mesems_mri.review.visit import FoundVisit

_KEPT_PREVIEWS = 500


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Outline that was grown and not taken yet.

    Parameters
    ----------
    task_id, kind : str
    runs : Runs
        On the whole grid.
    """

    task_id: str
    kind: Kind
    runs: Runs


class Previews:
    """Outlines that were grown.

    Parameters
    ----------
    gallery : Gallery
        Images that they are grown on.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._previews: OrderedDict[str, Preview] = OrderedDict()
        self._lock = threading.Lock()

    def grow(
        self, task_id: str, visit: FoundVisit, crop: Crop, kind: Kind, at: tuple[int, int, int]
    ) -> dict[str, Any]:
        """Grow a finding from a voxel of the part that the page shows.

        Raises
        ------
        ActError
            If the voxel lies outside.
        """
        grid = visit.grid
        assert grid is not None
        if not all(0 <= i < n for i, n in zip(at, crop.inner, strict=True)):
            msg = f"the place {list(at)} lies outside of the image"
            raise actions.ActError(msg)
        grown = self._gallery.grow(visit, crop, kind, at)
        if not grown.any():
            return {
                "preview_id": None,
                "voxels": [],
                "volume_mm3": 0.0,
                "max_diameter_mm": 0.0,
                "is_focus": False,
                "why_not": "nothing stands out from the white matter around here",
            }
        part = runs_of_mask(grown)
        plane = visit.planes[kind]
        foci = label_foci(
            grown,
            spacing_mm=spacing_of(grid.matrix),
            plane_normal=plane.normal,
            slice_thickness_mm=plane.slice_thickness_mm,
        )
        preview_id = secrets.token_hex(8)
        with self._lock:
            self._previews[preview_id] = Preview(task_id=task_id, kind=kind, runs=crop.to_whole(part))
            while len(self._previews) > _KEPT_PREVIEWS:
                self._previews.popitem(last=False)
        size = measured(crop.to_whole(part), grid, plane)
        return {
            "preview_id": preview_id,
            "voxels": [list(run) for run in part],
            "volume_mm3": size["volume_mm3"],
            "max_diameter_mm": size["max_diameter_mm"],
            "is_focus": bool(foci.any()),
            "why_not": None if foci.any() else "smaller than the smallest focus that is counted",
        }

    def taken(self, task_id: str, preview_id: str, kind: str) -> Preview:
        """Return an outline of a task.

        Raises
        ------
        ActError
            If it is not there any more, or of another task or kind.
        """
        with self._lock:
            preview = self._previews.get(preview_id)
        if preview is None or preview.task_id != task_id or preview.kind != kind:
            msg = "this outline is not there any more; point at the lesion again"
            raise actions.ActError(msg)
        return preview
