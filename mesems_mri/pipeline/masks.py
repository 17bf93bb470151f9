"""Lesion masks and numbered lesions (dseg) as products, in subject space and on the raw images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mesems_mri.core.components import label_components
from mesems_mri.dataset.bids import POSTCONTRAST, Contrast, image_name
from mesems_mri.dataset.records.parts import Part, Parts
from mesems_mri.dataset.records.registered_image import RegisteredImage
from mesems_mri.files import write_json
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID, Grid
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.provenance import software_versions

CANDIDATES_DSEG = "space-subject_desc-candidates_dseg.nii.gz"
_IN_SUBJECT_SPACE = "subject space, see the anchor record"


def write_masks(
    visit: VisitFiles,
    images: Mapping[Contrast, RegisteredImage],
    parts: Parts,
    arrays: Mapping[str, np.ndarray],
    box: tuple[slice, ...],
) -> list[str]:
    """Write the masks of what is evaluable, and remove those of what is not.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    images : mapping of contrast to RegisteredImage
        Its evaluable images.
    parts : Parts
        Evaluability.
    arrays : mapping of str to ndarray of bool or int32, shape of the box
        ``t2``, ``new``, ``enlarging``, ``gel``.
    box : tuple of slice
        Part of `SUBJECT_GRID` that the arrays show.

    Returns
    -------
    list of str
        Files written, relative to the output folder.
    """
    t2_contrast = parts.t2.contrast
    products: tuple[tuple[str, str, Part, Contrast | None], ...] = (
        ("t2", "T2", parts.t2, t2_contrast),
        ("new", "new", parts.t2_change, t2_contrast),
        ("enlarging", "enlarging", parts.t2_change, t2_contrast),
        ("gel", "enhancing", parts.gel, POSTCONTRAST),
    )
    written = []
    for name, desc, part, contrast in products:
        names = {
            space: image_name(contrast or "FLAIR", f"space-{space}_label-L_desc-{desc}", "mask.nii.gz")
            for space in ("subject", "orig")
        }
        if not part.evaluable or contrast is None:
            for file_name in names.values():
                remove_image(visit.product(file_name))
            continue
        image = images[contrast]
        mask = _whole(arrays[name] > 0, box)
        nifti.write_labels(visit.product(names["subject"]), mask, SUBJECT_GRID.affine)
        # Numbered, so that every focus keeps its volume; as one mask the large ones would outvote the small.
        foci, _ = label_components(mask)
        grid = grid_of(image)
        to_subject = np.linalg.inv(np.asarray(image.subject_to_image))
        orig = resample_labels(foci, SUBJECT_GRID.affine, grid, to_subject)
        raw = visit.bids_dir / image.source
        nifti.write_labels_like(visit.product(names["orig"]), orig > 0, raw, canonical=True)
        for space, file_name in names.items():
            source = f"bids:raw:{image.source}"
            place = source if space == "orig" else _IN_SUBJECT_SPACE
            _write_sidecar(visit.product(file_name), source, Type="Lesion", SpatialReference=place)
            written.append(visit.relative(visit.product(file_name)))
    return written


def write_dsegs(
    visit: VisitFiles,
    images: Mapping[Contrast, RegisteredImage],
    parts: Parts,
    dsegs: Mapping[str, np.ndarray | None],
    box: tuple[slice, ...],
) -> list[str]:
    """Write the numbered lesions, whose values are the ids of the ledger; parameters as for `write_masks`.

    Returns
    -------
    list of str
        Files written, relative to the output folder.
    """
    products: tuple[tuple[str, str, Contrast | None], ...] = (
        ("t2", "T2", parts.t2.contrast),
        ("gel", "enhancing", POSTCONTRAST),
    )
    written = []
    for name, desc, contrast in products:
        path = visit.product(image_name(contrast or "FLAIR", f"space-subject_desc-{desc}", "dseg.nii.gz"))
        dseg = dsegs[name]
        if dseg is None or contrast is None:
            remove_image(path)
            continue
        nifti.write_labels(path, _whole(dseg, box), SUBJECT_GRID.affine)
        _write_sidecar(
            path,
            f"bids:raw:{images[contrast].source}",
            SpatialReference=_IN_SUBJECT_SPACE,
            Description="A value is the lesion_id of the ledger, the same through all visits",
        )
        written.append(visit.relative(path))
    return written


def write_candidates_dseg(
    visit: VisitFiles, sources: Sequence[str], dseg: np.ndarray | None, box: tuple[slice, ...]
) -> list[str]:
    """Write the numbered candidates of a visit, or remove those of an earlier run.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    sources : sequence of str
        Raw images that they were seen on, relative to the BIDS folder.
    dseg : ndarray of int, shape of the box, or None
        None: no detector was asked.
    box : tuple of slice
        Part of `SUBJECT_GRID` that the array shows.

    Returns
    -------
    list of str
        Files written, relative to the output folder.
    """
    path = visit.product(CANDIDATES_DSEG)
    if dseg is None:
        remove_image(path)
        return []
    nifti.write_labels(path, _whole(dseg, box), SUBJECT_GRID.affine)
    _write_sidecar(
        path,
        *(f"bids:raw:{source}" for source in sources),
        SpatialReference=_IN_SUBJECT_SPACE,
        Description="A value is the candidate_id of the table of candidates of this visit; counted nowhere",
    )
    return [visit.relative(path)]


def remove_image(image: Path) -> None:
    """Remove an image that an earlier run has left, and what lies beside it."""
    for ending in (".nii.gz", ".json", ".tsv"):
        image.with_name(image.name.removesuffix(".nii.gz") + ending).unlink(missing_ok=True)


def grid_of(image: RegisteredImage) -> Grid:
    """Return the grid of the raw image in canonical order, from the record of its registration."""
    return Grid(image.shape, np.asarray(image.affine))


def _whole(array: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    whole = np.zeros(SUBJECT_GRID.shape, array.dtype)
    whole[box] = array
    return whole


def _write_sidecar(path: Path, *sources: str, **more: str) -> None:
    content = {"Sources": list(sources), **more, "Software": software_versions(), "Seed": 0}
    write_json(path.with_name(path.name.replace(".nii.gz", ".json")), content)
