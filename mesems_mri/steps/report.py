"""Write the page of a visit."""

from typing import Any

import numpy as np

from mesems_mri.bids import POSTCONTRAST, T2_CONTRASTS
from mesems_mri.images import nifti
from mesems_mri.provenance import read_json, write_text
from mesems_mri.report.figures import crop_around, data_uri, display_range, draw_slice, tile
from mesems_mri.report.visit_page import render_visit
from mesems_mri.steps.visit import VisitFiles

_OVERVIEW_SLICES = 15
_HALF_WIDTH = 32
_SHOWN_STATUS = {"new", "enlarging"}


def report_visit(visit: VisitFiles) -> None:
    """Write the page of a visit from its record and images.

    Parameters
    ----------
    visit : VisitFiles
        The visit, already measured.
    """
    record = read_json(visit.layout.metrics(visit.participant_id, visit.session_id))
    pictures: list[dict[str, str]] = []
    gallery: list[dict[str, Any]] = []
    if record["status"] == "done":
        scene = _Scene(visit, record)
        pictures = scene.overviews()
        gallery = [scene.focus(row) for row in record["lesions"] if _is_shown(row)]
    write_text(
        visit.layout.page(visit.participant_id, visit.session_id), render_visit(record, pictures, gallery)
    )


def _is_shown(row: dict[str, Any]) -> bool:
    return row["focus"] == "gel" or row["t2_status"] in _SHOWN_STATUS


class _Scene:
    """Images and masks of a visit and its reference visit, opened when they are needed."""

    def __init__(self, visit: VisitFiles, record: dict[str, Any]) -> None:
        self.visit = visit
        self.record = record
        self.brain = self._labels("space-subject_desc-brain_mask.nii.gz") > 0
        self.t2_contrast = record["visit_metrics"]["t2_contrast"]
        self.t2 = self._labels("space-subject_desc-T2_dseg.nii.gz")
        self.gel = self._labels("ce-gadolinium_space-subject_desc-enhancing_dseg.nii.gz")
        self.new = self._labels("space-subject_label-L_desc-new_mask.nii.gz") > 0
        self.enlarging = self._labels("space-subject_label-L_desc-enlarging_mask.nii.gz") > 0
        self._images: dict[str, np.ndarray] = {}

    def _labels(self, name: str) -> np.ndarray:
        path = self.visit.product(name)
        return nifti.read_labels(path)[0] if path.is_file() else np.zeros((1, 1, 1), np.int32)

    def image(self, name: str | None) -> np.ndarray | None:
        if name is None:
            return None
        if name not in self._images:
            self._images[name] = nifti.read_image(self.visit.resolve(name))[0].array
        return self._images[name]

    def _outlines(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        masks = {"T2": self.t2 > 0, "new": self.new, "enlarging": self.enlarging, "enhancing": self.gel > 0}
        return {name: masks[name] for name in names if masks[name].shape == self.brain.shape}

    def overviews(self) -> list[dict[str, str]]:
        """Draw axial slices through the brain, bottom to top, with all outlines."""
        images = self.record["preproc"]
        wanted = [(c, ("T2", "new", "enlarging")) for c in T2_CONTRASTS if c == self.t2_contrast]
        wanted += [(POSTCONTRAST, ("enhancing",))] if POSTCONTRAST in images else []
        if not wanted:
            wanted = [(next(iter(images)), ())] if images else []
        sections = np.flatnonzero(self.brain.any(axis=(0, 1)))
        chosen = np.linspace(sections[0], sections[-1], _OVERVIEW_SLICES + 2)[1:-1].astype(int)
        x, y = (np.flatnonzero(self.brain.any(axis=a)) for a in ((1, 2), (0, 2)))
        box = (slice(max(x[0] - 4, 0), x[-1] + 5), slice(max(y[0] - 4, 0), y[-1] + 5), slice(None))
        pictures = []
        for contrast, names in wanted:
            image = self.image(images[contrast])
            assert image is not None
            window = display_range(image, self.brain)
            outlines = {name: mask[box] for name, mask in self._outlines(names).items()}
            slices = [draw_slice(image[box], outlines, axis=2, index=i, window=window) for i in chosen]
            pictures.append({"title": contrast, "uri": data_uri(tile(slices, 5))})
        return pictures

    def focus(self, row: dict[str, Any]) -> dict[str, Any]:
        """Draw a focus in three planes: before above, now below; now also with outlines."""
        dseg = self.gel if row["focus"] == "gel" else self.t2
        images = self.record["preproc"]
        if row["focus"] == "gel":
            before, now, names = images.get("T1w"), images[POSTCONTRAST], ("enhancing",)
            t2 = images.get(self.t2_contrast) if self.t2_contrast else None
            status = row["gd_status"].replace("_", "-")
            title = f"GEL {row['lesion_id']}, {status}: before contrast, after, {self.t2_contrast or ''}"
            columns = [before, now, t2]
        else:
            contrast = self.record["change_contrast"]
            names = ("T2", "new", "enlarging")
            then = row["reference_session_id"]
            title = f"T2 lesion {row['lesion_id']}, {row['t2_status']}: {then}, then now ({contrast})"
            columns = [self.record["reference_preproc"], images.get(contrast)]
            now = images.get(contrast)
        inside = dseg == row["lesion_id"]
        if row["t2_status"] == "enlarging" and (inside & self.enlarging).any():
            inside &= self.enlarging  # of a large lesion show the place that grew
        voxels = np.argwhere(inside)
        centre = tuple(int(c) for c in voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))])
        box, inner = crop_around(centre, self.brain.shape, _HALF_WIDTH)
        outlines = {name: mask[box] for name, mask in self._outlines(names).items()}
        parts = []
        for axis in (2, 1, 0):
            for name in columns:
                image = self.image(name)
                if image is None:
                    continue
                window = display_range(image, self.brain)
                parts.append(draw_slice(image[box], {}, axis=axis, index=inner[axis], window=window, zoom=3))
            image = self.image(now)
            assert image is not None
            parts.append(
                draw_slice(
                    image[box],
                    outlines,
                    axis=axis,
                    index=inner[axis],
                    window=display_range(image, self.brain),
                    zoom=3,
                )
            )
        return {"row": row, "title": title, "uri": data_uri(tile(parts, len(parts) // 3))}
