"""Masks of a read as products: beside those of the run, in subject space and on the images the site sent."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mesems_mri.core.typing import Labels
from mesems_mri.dataset.bids import POSTCONTRAST, Contrast, image_name
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Json
from mesems_mri.dataset.records.register import RegisterRecord
from mesems_mri.dataset.records.registered_image import RegisteredImage
from mesems_mri.files import read_json, write_json
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import Grid
from mesems_mri.provenance import software_versions
from mesems_mri.review.visit import FoundVisit

_IN_SUBJECT_SPACE = "subject space, see the anchor record"
READ_MASKS = ("readT2", "readnew", "readenlarging", "readenhancing")
"""Values of ``desc-`` of the masks of a read."""


def mask_names(desc: str) -> dict[str, str]:
    """Return the names of a mask of a read by space."""
    contrast = POSTCONTRAST if desc == "readenhancing" else "FLAIR"
    return {
        space: image_name(contrast, f"space-{space}_label-L_desc-{desc}", "mask.nii.gz")
        for space in ("subject", "orig")
    }


def write_read_masks(
    layout: Layout, visit: FoundVisit, metrics: Json, lesions: Iterable[Json], drawn: Mapping[str, Labels]
) -> None:
    """Write the masks of a read, and remove those of what is not evaluable.

    A mask on the image of the site is written where the raw image is still there.

    Parameters
    ----------
    layout : Layout
    visit : FoundVisit
    metrics : mapping
        Row of ``visit_metrics.tsv`` of the read.
    lesions : iterable of mapping
        Its rows of the ledger.
    drawn : mapping of str to ndarray of int32, shape (x, y, z)
        Numbered lesions by kind, of what is evaluable.
    """
    foci: dict[str, Labels | None] = {"readT2": drawn.get("t2"), "readenhancing": drawn.get("gel")}
    t2 = drawn.get("t2")
    if t2 is not None and metrics["t2_change_evaluable"]:
        rows = [row for row in lesions if row["focus"] == "t2" and row["decision"] != "rejected"]
        for status in ("new", "enlarging"):
            numbers = [row["lesion_id"] for row in rows if row["t2_status"] == status]
            foci[f"read{status}"] = np.where(np.isin(t2, numbers), t2, 0).astype(np.int32)
    for desc in READ_MASKS:
        _write(layout, visit, desc, foci.get(desc))


def remove_read_masks(layout: Layout, visit: tuple[str, str]) -> None:
    """Remove the masks of a read."""
    for desc in READ_MASKS:
        for name in mask_names(desc).values():
            remove_with_sidecar(layout.product(*visit, name))


def remove_with_sidecar(path: Path) -> None:
    """Remove an image and its sidecar."""
    path.unlink(missing_ok=True)
    sidecar(path).unlink(missing_ok=True)


def sidecar(path: Path) -> Path:
    """Return the sidecar of an image."""
    return path.with_name(path.name.replace(".nii.gz", ".json"))


def _write(layout: Layout, visit: FoundVisit, desc: str, dseg: Labels | None) -> None:
    paths = {space: layout.product(*visit.key, name) for space, name in mask_names(desc).items()}
    for path in paths.values():
        remove_with_sidecar(path)
    grid = visit.grid
    if dseg is None or grid is None:
        return
    nifti.write_labels(paths["subject"], dseg > 0, grid.matrix)
    _describe(paths["subject"], sorted(f"bids::{name}" for name in visit.preproc.values()), _IN_SUBJECT_SPACE)
    contrast = POSTCONTRAST if desc == "readenhancing" else visit.metrics["t2_contrast"]
    image = _image(layout, visit, contrast)
    raw = _raw(layout, image)
    if image is None or raw is None:
        return
    to_subject = np.linalg.inv(np.asarray(image.subject_to_image))
    on_raw = resample_labels(dseg, grid.matrix, Grid(image.shape, np.asarray(image.affine)), to_subject)
    nifti.write_labels_like(paths["orig"], on_raw > 0, raw, canonical=True)
    source = f"bids:raw:{image.source}"
    _describe(paths["orig"], [source], source)


def _image(layout: Layout, visit: FoundVisit, contrast: Contrast) -> RegisteredImage | None:
    path = layout.record(*visit.key, "register")
    registered = RegisterRecord.from_json(read_json(path)).registered if path.is_file() else None
    return registered.evaluable.get(contrast) if registered else None


def _raw(layout: Layout, image: RegisteredImage | None) -> Path | None:
    """Return the raw image; None where the raw data set is not there."""
    if image is None or not layout.provenance.is_file():
        return None
    runs = read_json(layout.provenance)["runs"]
    path = Path(runs[-1]["bids_dir"]) / image.source if runs else None
    return path if path is not None and path.is_file() else None


def _describe(path: Path, sources: list[str], place: str) -> None:
    content = {
        "Sources": sources,
        "Type": "Lesion",
        "SpatialReference": place,
        "Description": "Lesions as they were read",
        "Software": software_versions(),
        "Seed": 0,
    }
    write_json(sidecar(path), content)
