"""Register a visit: co-registration of its images, registration to the anchor, resampling once."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mesems_mri.config import QualityRule
from mesems_mri.core.intensity import find_nawm, scale_to_nawm
from mesems_mri.dataset.bids import Contrast, preproc_name, weighting, xfm_name
from mesems_mri.dataset.records.base import Normal, triple
from mesems_mri.dataset.records.register import Anchor, RegisteredVisit, RegisterRecord
from mesems_mri.dataset.records.registered_image import Alignment, RefusedImage, RegisteredImage
from mesems_mri.dataset.records.standardise import StandardisedImage
from mesems_mri.errors import Reason
from mesems_mri.files import write_json
from mesems_mri.images import nifti
from mesems_mri.images.registration import register_rigid
from mesems_mri.images.resampling import field_of_view, resample_image
from mesems_mri.images.same_head import compare_series
from mesems_mri.images.volume import SUBJECT_GRID, Volume
from mesems_mri.pipeline.anchor import (
    ReferenceImage,
    align_to_anchor,
    become_anchor,
    describe_alignment,
    load_reference,
)
from mesems_mri.pipeline.tissue import load_brain_prior, tissue_in_subject
from mesems_mri.pipeline.visit import VisitFiles, log
from mesems_mri.provenance import software_versions


@dataclass(frozen=True, kw_only=True)
class _SubjectSpace:
    """Subject space of the participant and the brain of the visit in it.

    Attributes
    ----------
    to_reference : ndarray of float64, shape (4, 4)
        Rigid transform from subject space to the reference image of the visit, mm to mm.
    mask : ndarray of bool, shape (x, y, z)
        Brain of the visit, on `SUBJECT_GRID`.
    box : tuple of slice
        Part of that grid that holds the brain.
    brain_prior : ndarray of float32, shape of the box
        Probability of brain by the atlas, 0 to 1, whatever part of it the visit shows.
    white_matter : ndarray of float32, shape of the box
        Probability of white matter at this visit, 0 to 1.
    tissue : str
        File of the tissue maps of this visit.
    """

    to_reference: np.ndarray
    mask: np.ndarray
    box: tuple[slice, ...]
    brain_prior: np.ndarray
    white_matter: np.ndarray
    tissue: str


def register_visit(visit: VisitFiles, anchor: Anchor | None, *, rule: QualityRule) -> RegisterRecord:
    """Register the images of a visit to each other and to the participant's anchor visit.

    The anchor is the first visit with a usable image; its space, rigidly aligned to MNI152, is the space of
    all visits. Every image is resampled exactly once, through the composed transform.

    Parameters
    ----------
    visit : VisitFiles
        The visit, already standardised.
    anchor : Anchor or None
        None if no visit before could be the anchor.
    rule : QualityRule
        ``min_covered_fraction``.

    Returns
    -------
    RegisterRecord
        Preprocessed images, brain mask and transforms are written as products.
    """
    standardised = visit.standardise_record()
    if not standardised.done or standardised.brain is None:
        return RegisterRecord(
            status=standardised.status,
            reason=standardised.reason,
            message=standardised.message,
            anchor=anchor,
        )
    reference = load_reference(visit, standardised, standardised.brain)
    uncovered = _low_coverage(visit, reference, rule)
    alignment = None
    if anchor is None:
        if uncovered:  # half a brain cannot define the participant's space
            return uncovered
        anchor = become_anchor(visit, reference)
        to_reference = np.asarray(anchor.subject_to_anchor)
    else:
        registration, alignment, refusal = align_to_anchor(visit, anchor, reference)
        if refusal:
            # So little of the brain cannot be told from another one; do not accuse the site of a mix-up.
            cause = uncovered or refusal
            return replace(cause, alignment=alignment, anchor=anchor)
        to_reference = np.asarray(registration.matrix) @ np.asarray(anchor.subject_to_anchor)
    mask_name, space = _enter_subject_space(visit, anchor, reference, to_reference)
    return RegisterRecord(
        registered=RegisteredVisit(
            reference=reference.contrast,
            brain_mask=mask_name,
            tissue=space.tissue,
            alignment=alignment,
            images={
                contrast: _register_image(visit, contrast, entry, reference, space)
                for contrast, entry in (standardised.images or {}).items()
            },
            anchor=anchor,
        )
    )


def _low_coverage(visit: VisitFiles, reference: ReferenceImage, rule: QualityRule) -> RegisterRecord | None:
    """Return the refusal of a visit whose reference image shows too little of the brain; None for others."""
    if reference.brain.covers(rule):
        return None
    shown = f"{visit.name} {reference.contrast}: shows {reference.brain.covered_fraction:.0%} of the brain"
    return RegisterRecord(
        status="not_evaluable",
        reason=str(Reason.INCOMPLETE_COVERAGE),
        message=f"{shown}; repeat it with full coverage",
    )


def _enter_subject_space(
    visit: VisitFiles, anchor: Anchor, reference: ReferenceImage, to_reference: np.ndarray
) -> tuple[str, _SubjectSpace]:
    """Write the brain mask of a visit in subject space; return its name and that space."""
    mask = resample_image(
        Volume(reference.mask.astype(np.float32), reference.volume.affine),
        SUBJECT_GRID,
        to_reference,
        order=1,
    )
    mask = mask > 0.5
    path = visit.product("space-subject_desc-brain_mask.nii.gz")
    nifti.write_labels(path, mask, SUBJECT_GRID.affine)
    _write_sidecar(path, reference.source, Type="Brain")
    tissue, box, maps = tissue_in_subject(visit, anchor, reference.brain, to_reference)
    return visit.relative(path), _SubjectSpace(
        to_reference=to_reference,
        mask=mask,
        box=box,
        brain_prior=load_brain_prior(visit, anchor)[1],
        white_matter=maps["white_matter"],
        tissue=tissue,
    )


def _register_image(
    visit: VisitFiles,
    contrast: Contrast,
    entry: StandardisedImage,
    reference: ReferenceImage,
    space: _SubjectSpace,
) -> RegisteredImage | RefusedImage:
    """Register one image of a visit to its reference image, and write it in subject space."""
    if entry.reason is not None:
        return RefusedImage(reason=entry.reason, message=entry.message, source=entry.source)
    assert entry.corrected is not None  # as of every evaluable image of a visit that is done
    volume, _ = nifti.read_image(visit.resolve(entry.corrected.file))
    if contrast == reference.contrast:
        image = _write_preproc(visit, contrast, entry, volume, space.to_reference, space)
        # slices without an image inside the field of view count as not seen
        covered = min(image.covered_fraction, reference.brain.covered_fraction)
        return replace(image, covered_fraction=covered)
    registration = register_rigid(reference.volume, volume, fixed_mask=reference.mask, moving_mask=None)
    alignment = describe_alignment(registration)
    if not registration.ok:
        message = (
            f"{visit.name} {contrast}: could not be registered to the {reference.contrast}; "
            "look at both images"
        )
        return _refused(Reason.REGISTRATION_FAILED, message, entry, alignment)
    series = compare_series(
        reference.volume, volume, registration.matrix, reference.mask, _mirror(space.to_reference)
    )
    alignment = replace(
        alignment,
        head_score=round(series.score, 4),
        mirrored_score=None if series.mirrored_score is None else round(series.mirrored_score, 4),
        flags=tuple(sorted({*alignment.flags, *series.flags})),
    )
    if series.verdict in ("mirrored", "other"):
        what = "the mirror image of" if series.verdict == "mirrored" else "another head than"
        message = (
            f"{visit.name} {contrast}: shows {what} the {reference.contrast} (score {series.score:.2f}, of "
            f"its mirror image {series.mirrored_score:.2f}); check whose scan it is, and left and right, and "
            "export it again"
        )
        return _refused(Reason.WRONG_HEAD, message, entry, alignment)
    to_image = registration.matrix @ space.to_reference
    image = _write_preproc(visit, contrast, entry, volume, to_image, space)
    return replace(image, alignment=alignment)


def _refused(reason: Reason, message: str, entry: StandardisedImage, alignment: Alignment) -> RefusedImage:
    """Return the record of an image that its comparison with the reference image refused, and log why."""
    assert entry.corrected is not None  # it was compared
    log.warning("%s", message)
    return RefusedImage(
        reason=str(reason),
        message=message,
        source=entry.source,
        file=entry.corrected.file,
        alignment=alignment,
    )


def _mirror(to_reference: np.ndarray) -> np.ndarray:
    """Return the reflection across the midsagittal plane, which is x = 0 in subject space, mm to mm."""
    return to_reference @ np.diag([-1.0, 1.0, 1.0, 1.0]) @ np.linalg.inv(to_reference)


def _write_preproc(
    visit: VisitFiles,
    contrast: Contrast,
    entry: StandardisedImage,
    volume: Volume,
    to_image: np.ndarray,
    space: _SubjectSpace,
) -> RegisteredImage:
    """Resample an image once, normalise it to NAWM, and write it with its transform.

    Parameters
    ----------
    visit : VisitFiles
    contrast : str
    entry : StandardisedImage
        Its record; it is evaluable.
    volume : Volume
        Bias-corrected, in its own grid.
    to_image : ndarray of float64, shape (4, 4)
        From subject space to the image, mm to mm.
    space : _SubjectSpace

    Returns
    -------
    RegisteredImage
    """
    assert entry.source and entry.header and entry.corrected  # as of every evaluable image
    image = resample_image(volume, SUBJECT_GRID, to_image)
    seen = field_of_view(volume, SUBJECT_GRID, to_image)
    covered = covered_fraction(seen[space.box], space.brain_prior)
    nawm = find_nawm(
        image[space.box],
        brain_mask=(space.mask & seen)[space.box],
        white_matter=space.white_matter,
        contrast=weighting(contrast),
    )
    _, median = scale_to_nawm(image[space.box], nawm)
    path = visit.product(preproc_name(contrast))
    nifti.write_image(path, image / np.float32(median), SUBJECT_GRID.affine)
    nifti.write_xfm(visit.product(xfm_name(contrast)), to_image)
    parameters = {
        "SkullStripped": bool(entry.corrected.skull_stripped),
        "NAWMMedian": round(float(median), 6),
        "Interpolation": "see mesems_mri.images.resampling",
    }
    _write_sidecar(path, entry.source, **parameters)
    return RegisteredImage(
        source=entry.source,
        file=entry.corrected.file,
        subject_to_image=np.round(to_image, 9).tolist(),
        alignment=None,
        shape=triple(volume.shape),
        affine=volume.affine.tolist(),
        preproc=visit.relative(path),
        covered_fraction=round(covered, 4),
        nawm_median=round(float(median), 6),
        slice_thickness_mm=entry.header.slice_thickness_mm,
        plane_normal=_normal_in_subject(volume, to_image),
    )


def covered_fraction(seen: np.ndarray, brain: np.ndarray) -> float:
    """Return the share of the brain that an image shows.

    Parameters
    ----------
    seen : ndarray of bool, shape (x, y, z)
        Voxels inside the field of view of the image.
    brain : ndarray of float32, shape (x, y, z)
        Probability of brain by the atlas on the same grid. The visit's own brain mask will not do: it ends
        where the image ends.

    Returns
    -------
    float
        0 to 1.
    """
    expected = brain > 0.5
    return float(np.count_nonzero(seen & expected) / max(np.count_nonzero(expected), 1))


def _normal_in_subject(volume: Volume, subject_to_image: np.ndarray) -> Normal:
    """Return the slice normal in subject space, whose array axes are its world axes."""
    normal = np.linalg.inv(subject_to_image[:3, :3]) @ volume.world_plane_normal()
    return triple(np.round(normal / np.linalg.norm(normal), 6).tolist())


def _write_sidecar(path: Path, source: str, **more: object) -> None:
    content = {
        "Sources": [f"bids:raw:{source}"],
        "SpatialReference": "rigid alignment of the participant's anchor visit to MNI152NLin2009aSym, 1 mm",
        **more,
        "Software": software_versions(),
        "Seed": 0,
    }
    write_json(path.with_name(path.name.replace(".nii.gz", ".json")), content)
