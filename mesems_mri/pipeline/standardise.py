"""Standardise a visit: header check, brain extraction (skull stripping), bias-field correction, quality."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from mesems_mri.config import IntakeRule
from mesems_mri.core.artefacts import measure_artefacts
from mesems_mri.core.distance import bounding_box
from mesems_mri.core.quality import quality_measures
from mesems_mri.dataset.bids import CONTRASTS, Contrast
from mesems_mri.dataset.bids_tables import acquisition
from mesems_mri.dataset.records.standardise import (
    BrainRecord,
    CorrectedImage,
    ImageHeader,
    StandardisedImage,
    StandardiseRecord,
)
from mesems_mri.errors import InputError, Reason
from mesems_mri.images import nifti
from mesems_mri.images.anatomy import Anatomy
from mesems_mri.images.bias import correct_bias
from mesems_mri.images.brain import BrainExtraction, extract_brain
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume
from mesems_mri.pipeline.tissue import write_tissue
from mesems_mri.pipeline.visit import VisitFiles, log

REFERENCE_ORDER: tuple[Contrast, ...] = ("FLAIR", "T2w", "PDw", "T1w", "ce-gadolinium_T1w")
"""The image to which the others of a visit are registered: the first of these that shows a brain."""
_TISSUE_MIN_PROBABILITY = 0.6


def standardise_visit(
    visit: VisitFiles,
    images: Mapping[Contrast, str],
    ambiguous: Mapping[Contrast, Sequence[str]],
    rule: IntakeRule,
    *,
    open_queries: Sequence[str] = (),
) -> StandardiseRecord:
    """Standardise the images of one visit in their own grids.

    Parameters
    ----------
    visit : VisitFiles
        The visit.
    images : mapping of contrast to str
        File of each contrast, relative to the BIDS folder.
    ambiguous : mapping of contrast to sequence of str
        Contrasts with several files of which none is clearly meant, and those files. One is enough to make
        the visit not evaluable: which image was meant is not ours to guess, and the others are read with it.
    rule : IntakeRule
        ``header_repair``.
    open_queries : sequence of str
        Number and subject of each query for whose answer the visit waits. One is enough: no image is read,
        since it may be of another person.

    Returns
    -------
    StandardiseRecord
        Bias-corrected images and the brain mask lie in the visit's work folder.

    Raises
    ------
    InputError
        If no image shows a brain.
    """
    if open_queries:
        message = (
            f"{visit.name}: waits for the site's answer to {'; '.join(open_queries)}; "
            "give it with mesems-mri query answer (or mesems-mri query close), and run again"
        )
        log.warning("%s", message)
        return _not_evaluable(Reason.OPEN_QUERY, message, {})
    entries, volumes = _read_images(visit, images, ambiguous, rule)
    if not volumes or ambiguous:
        problems = [entries[contrast] for contrast in ambiguous]
        for entry in [*problems, *entries.values()]:
            if entry.reason:
                return _not_evaluable(entry.reason, entry.message, entries)
        message = f"{visit.name}: no image; send the scans of this visit"
        return _not_evaluable(Reason.MISSING_SCAN, message, {})
    reference, brain = _extract_brain(visit, volumes, entries)
    for contrast in volumes:
        entries[contrast] = _correct_bias(visit, contrast, entries[contrast], volumes, reference, brain)
    return StandardiseRecord(images=entries, brain=_brain_record(visit, reference, volumes[reference], brain))


def _not_evaluable(
    reason: str, message: str, images: Mapping[Contrast, StandardisedImage]
) -> StandardiseRecord:
    return StandardiseRecord(status="not_evaluable", reason=str(reason), message=message, images=images)


def _read_images(
    visit: VisitFiles,
    images: Mapping[Contrast, str],
    ambiguous: Mapping[Contrast, Sequence[str]],
    rule: IntakeRule,
) -> tuple[dict[Contrast, StandardisedImage], dict[Contrast, Volume]]:
    """Read every image of a visit and check its header; one that cannot be used is refused."""
    entries: dict[Contrast, StandardisedImage] = {}
    volumes: dict[Contrast, Volume] = {}
    for contrast in CONTRASTS:
        if contrast in ambiguous:
            names = ambiguous[contrast]
            message = (
                f"{visit.name} {contrast}: {len(names)} files ({', '.join(names)}), expected 1; "
                f"name the one to use in intake.select, e.g. {contrast}: {names[0].split('_')[0]}"
            )
            entries[contrast] = _refused(StandardisedImage(source=None), Reason.INTAKE_AMBIGUOUS, message)
        elif contrast in images:
            source = images[contrast]
            path = visit.bids_dir / source
            try:
                volume, flags = nifti.read_in_canonical_order(path, header_repair=rule.header_repair)
            except InputError as error:
                message = f"{visit.name} {contrast}: {error}"
                entries[contrast] = _refused(StandardisedImage(source=source), error.reason, message)
            else:
                volumes[contrast] = volume
                entries[contrast] = StandardisedImage(
                    source=source, flags=tuple(sorted(flags)), header=_header(path, volume)
                )
    return entries, volumes


def _refused(entry: StandardisedImage, reason: Reason, message: str) -> StandardisedImage:
    log.warning("%s", message)
    return entry.refused(reason, message)


def _header(path: Path, volume: Volume) -> ImageHeader:
    return ImageHeader(
        spacing_mm=tuple(round(float(s), 4) for s in volume.spacing_mm),
        slice_thickness_mm=round(float(volume.slice_thickness_mm), 4),
        acquisition=acquisition(path),
    )


def _extract_brain(
    visit: VisitFiles, volumes: dict[Contrast, Volume], entries: dict[Contrast, StandardisedImage]
) -> tuple[Contrast, BrainExtraction]:
    """Extract the brain on the first image that shows one; images that show none are refused.

    Parameters
    ----------
    visit : VisitFiles
    volumes : dict of contrast to Volume
        An image that shows no brain is removed.
    entries : dict of contrast to StandardisedImage
        An image that shows no brain is refused.

    Returns
    -------
    reference : str
        Contrast of the reference image of the visit.
    brain : BrainExtraction

    Raises
    ------
    InputError
        If no image shows a brain.
    """
    problem: InputError | None = None
    for contrast in REFERENCE_ORDER:
        if contrast in volumes:
            try:
                return contrast, extract_brain(volumes[contrast])
            except InputError as error:
                problem = InputError(f"{visit.name} {contrast}: {error}", error.reason)
                entries[contrast] = _refused(entries[contrast], error.reason, str(problem))
                del volumes[contrast]
    assert problem is not None
    raise problem


def _correct_bias(
    visit: VisitFiles,
    contrast: Contrast,
    entry: StandardisedImage,
    volumes: Mapping[Contrast, Volume],
    reference: Contrast,
    brain: BrainExtraction,
) -> StandardisedImage:
    """Correct the bias field of an image and measure its quality; refuse one that shows no brain."""
    volume = volumes[contrast]
    mask = brain.mask if contrast == reference else _mask_by_header(brain.mask, volumes[reference], volume)
    if contrast != reference and not mask.any():
        return _refused(
            entry,
            Reason.INCOMPLETE_COVERAGE,
            f"{visit.name} {contrast}: shows no part of the brain of the {reference}; check the series",
        )
    artefacts = measure_artefacts(volume.array, mask, slice_axis=volume.slice_axis)
    corrected = correct_bias(volume, mask)
    path = visit.work(f"{contrast}_desc-standardised.nii")
    nifti.write_image(path, corrected.array, corrected.affine)
    tissue = _certain_tissue(volume, mask, brain.anatomy)  # same scanner frame within the visit
    return replace(
        entry,
        corrected=CorrectedImage(
            file=visit.relative(path),
            quality={
                **_quality(corrected, mask, tissue, skull_stripped=brain.skull_stripped),
                **{name: round(value, 4) for name, value in asdict(artefacts).items()},
            },
            skull_stripped=bool(brain.skull_stripped),
        ),
    )


def _brain_record(
    visit: VisitFiles, reference: Contrast, volume: Volume, brain: BrainExtraction
) -> BrainRecord:
    """Write the brain mask of a visit and describe it."""
    path = visit.work("brain_mask.nii.gz")
    nifti.write_labels(path, brain.mask, volume.affine)
    voxel_mm3 = float(abs(np.linalg.det(volume.affine[:3, :3])))
    return BrainRecord(
        reference=reference,
        brain_mask=visit.relative(path),
        tissue=write_tissue(visit, brain.anatomy),
        brain_volume_mm3=round(float(brain.mask.sum()) * voxel_mm3, 1),
        covered_fraction=round(float(brain.covered_fraction), 4),
        to_mni=np.round(brain.to_mni, 9).tolist(),
        flags=tuple(sorted(brain.flags)),
    )


def _mask_by_header(mask: np.ndarray, reference: Volume, volume: Volume) -> np.ndarray:
    source = Volume(mask.astype(np.float32), reference.affine)
    grid = Grid(volume.shape, volume.affine)
    return resample_image(source, grid, np.eye(4), order=1) > 0.5


def _certain_tissue(volume: Volume, mask: np.ndarray, anatomy: Anatomy) -> dict[str, np.ndarray]:
    """Return the voxels of the brain where each tissue is certain."""
    box = bounding_box(mask, margin=0)
    corner = np.eye(4)
    corner[:3, 3] = [side.start for side in box]
    grid = Grid(mask[box].shape, volume.affine @ corner)
    certain = {}
    for name in ("white_matter", "cortex", "lateral_ventricles"):
        certain[name] = np.zeros(mask.shape, bool)
        certain[name][box] = (anatomy.on(grid, name) > _TISSUE_MIN_PROBABILITY) & mask[box]
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
    """Return the mask of air: outside the brain, and darker than most of it."""
    return ~mask & (image < 0.25 * np.median(image[mask]))
