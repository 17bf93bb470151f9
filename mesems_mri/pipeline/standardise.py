"""Check the images of a visit, find the brain, correct the bias field, measure quality."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.core.distance import bounding_box
from mesems_mri.core.quality import quality_measures
from mesems_mri.dataset.bids import CONTRASTS
from mesems_mri.dataset.bids_tables import acquisition
from mesems_mri.errors import InputError, Reason
from mesems_mri.images import nifti
from mesems_mri.images.bias import correct_bias
from mesems_mri.images.brain import BrainExtraction, extract_brain
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume
from mesems_mri.models.atlas import load_atlas
from mesems_mri.pipeline.visit import VisitFiles, log, not_evaluable

REFERENCE_ORDER = ("FLAIR", "T2w", "PDw", "T1w", "ce-gadolinium_T1w")
"""The image to which the others of a visit are registered: the one T2 lesions are read on."""
_TISSUE_MIN_PROBABILITY = 0.6


def standardise_visit(
    visit: VisitFiles,
    images: Mapping[str, str],
    ambiguous: Mapping[str, Sequence[str]],
    settings: Mapping[str, Any],
    *,
    open_queries: Sequence[str] = (),
) -> dict[str, Any]:
    """Standardise the images of one visit in their own grids.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    images : mapping of str to str
        File of each contrast, relative to the BIDS folder.
    ambiguous : mapping of str to sequence of str
        Contrasts with several files of which none is clearly meant, and those files. One is enough to make
        the visit not evaluable: which image was meant is not ours to guess, and the others are read with it.
    settings : mapping
        ``header_repair`` of the ``intake`` rule of the configuration.
    open_queries : sequence of str
        Number and subject of each query for whose answer the visit waits. One is enough: no image is read,
        since it may be of another person.

    Returns
    -------
    dict
        The record; bias-corrected images and the brain mask lie in the visit's work folder.
    """
    if open_queries:
        message = (
            f"{visit.name}: waits for the site's answer to {'; '.join(open_queries)}; "
            "close it with mesems-mri query close, and run again"
        )
        log.warning("%s", message)
        return not_evaluable(Reason.OPEN_QUERY, message, images={})
    entries: dict[str, dict[str, Any]] = {}
    volumes: dict[str, Volume] = {}
    for contrast in CONTRASTS:
        if contrast in ambiguous:
            names = ambiguous[contrast]
            message = (
                f"{visit.name} {contrast}: {len(names)} files ({', '.join(names)}), expected 1; "
                f"name the one to use in intake.select, e.g. {contrast}: {names[0].split('_')[0]}"
            )
            entries[contrast] = _refused(None, Reason.INTAKE_AMBIGUOUS, message)
        elif contrast in images:
            source = images[contrast]
            try:
                volumes[contrast], flags = nifti.read_image(
                    visit.bids_dir / source, header_repair=settings["header_repair"]
                )
            except InputError as error:
                entries[contrast] = _refused(source, error.reason, f"{visit.name} {contrast}: {error}")
            else:
                entries[contrast] = _accepted(visit.bids_dir / source, source, volumes[contrast], flags)
    if not volumes or ambiguous:
        problems = [entries[contrast] for contrast in ambiguous]
        problems += [entry for entry in entries.values() if entry["reason"]]
        if problems:
            return not_evaluable(Reason(problems[0]["reason"]), problems[0]["message"], images=entries)
        return not_evaluable(
            Reason.MISSING_SCAN, f"{visit.name}: no image; send the scans of this visit", images={}
        )

    reference, brain = _find_brain(visit, volumes, entries)
    for contrast, volume in volumes.items():
        mask = (
            brain.mask if contrast == reference else _mask_by_header(brain.mask, volumes[reference], volume)
        )
        if contrast != reference and not mask.any():
            entries[contrast] |= _refused(
                entries[contrast]["source"],
                Reason.INCOMPLETE_COVERAGE,
                f"{visit.name} {contrast}: shows no part of the brain of the {reference}; check the series",
            )
            continue
        corrected = correct_bias(volume, mask)
        path = visit.work(f"{contrast}_desc-standardised.nii")
        nifti.write_image(path, corrected.array, corrected.affine)
        tissue = _certain_tissue(volume, mask, brain.to_mni)  # same scanner frame within the visit
        entries[contrast] |= {
            "file": visit.relative(path),
            "quality": _quality(corrected, mask, tissue, skull_stripped=brain.skull_stripped),
            "skull_stripped": bool(brain.skull_stripped),
        }
    mask_path = visit.work("brain_mask.nii.gz")
    nifti.write_labels(mask_path, brain.mask, volumes[reference].affine)
    voxel_mm3 = float(abs(np.linalg.det(volumes[reference].affine[:3, :3])))
    return {
        "status": "done",
        "reason": None,
        "message": "",
        "reference": reference,
        "brain_mask": visit.relative(mask_path),
        "brain_volume_mm3": round(float(brain.mask.sum()) * voxel_mm3, 1),
        "covered_fraction": round(float(brain.covered_fraction), 4),
        "to_mni": np.round(brain.to_mni, 9).tolist(),
        "flags": sorted(brain.flags),
        "images": entries,
    }


def _refused(source: str | None, reason: Reason, message: str) -> dict[str, Any]:
    log.warning("%s", message)
    return {"source": source, "evaluable": False, "reason": str(reason), "message": message, "flags": []}


def _accepted(path: Path, source: str, volume: Volume, flags: Sequence[str]) -> dict[str, Any]:
    return {
        "source": source,
        "evaluable": True,
        "reason": None,
        "message": "",
        "flags": sorted(flags),
        "spacing_mm": [round(float(s), 4) for s in volume.spacing_mm],
        "slice_thickness_mm": round(float(volume.slice_thickness_mm), 4),
        "acquisition": acquisition(path),
    }


def _find_brain(
    visit: VisitFiles, volumes: dict[str, Volume], entries: dict[str, dict[str, Any]]
) -> tuple[str, BrainExtraction]:
    """Find the brain on the first image that shows one; images that show none are refused."""
    problem: InputError | None = None
    for contrast in REFERENCE_ORDER:
        if contrast in volumes:
            try:
                return contrast, extract_brain(volumes[contrast])
            except InputError as error:
                problem = InputError(f"{visit.name} {contrast}: {error}", error.reason)
                entries[contrast] |= _refused(entries[contrast]["source"], error.reason, str(problem))
                del volumes[contrast]
    assert problem is not None
    raise problem


def _mask_by_header(mask: np.ndarray, reference: Volume, volume: Volume) -> np.ndarray:
    source = Volume(mask.astype(np.float32), reference.affine)
    grid = Grid(volume.shape, volume.affine)
    return resample_image(source, grid, np.eye(4), order=1) > 0.5


def _certain_tissue(volume: Volume, mask: np.ndarray, to_mni: np.ndarray) -> dict[str, np.ndarray]:
    """Find where in the brain each tissue is certain by the atlas."""
    atlas = load_atlas()
    box = bounding_box(mask, margin=0)
    corner = np.eye(4)
    corner[:3, 3] = [side.start for side in box]
    grid = Grid(mask[box].shape, volume.affine @ corner)
    certain = {}
    for name in ("white_matter", "cortex", "lateral_ventricles"):
        prior = resample_image(Volume(atlas.probability[name], atlas.affine), grid, to_mni, order=1)
        certain[name] = np.zeros(mask.shape, bool)
        certain[name][box] = (prior > _TISSUE_MIN_PROBABILITY) & mask[box]
    return certain


def _quality(
    volume: Volume, mask: np.ndarray, tissue: Mapping[str, np.ndarray], *, skull_stripped: bool
) -> dict[str, float | None]:
    measures = quality_measures(
        volume.array,
        brain_mask=mask,
        white_matter=tissue["white_matter"],
        grey_matter=tissue["cortex"],
        csf=tissue["lateral_ventricles"],
        air=None if skull_stripped else _air(volume.array, mask),
    )
    return {name: None if value is None else round(float(value), 4) for name, value in measures.items()}


def _air(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Find air: outside the brain, and darker than most of it."""
    return ~mask & (image < 0.25 * np.median(image[mask]))
