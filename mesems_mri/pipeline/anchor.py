"""Anchor visit: the participant's space that it defines, and longitudinal registration to it."""

from dataclasses import dataclass

import numpy as np

from mesems_mri.dataset.bids import Contrast, weighting
from mesems_mri.dataset.records.register import Anchor, RegisterRecord
from mesems_mri.dataset.records.registered_image import Alignment
from mesems_mri.dataset.records.standardise import BrainRecord, StandardiseRecord
from mesems_mri.errors import Reason
from mesems_mri.images import nifti
from mesems_mri.images.brain import rigid_part
from mesems_mri.images.registration import RigidRegistration, register_rigid
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.same_head import compare_heads
from mesems_mri.images.volume import SUBJECT_GRID, Volume
from mesems_mri.models.atlas import load_atlas
from mesems_mri.pipeline.visit import VisitFiles, log, write_arrays

BOX_MARGIN_MM = 6
"""Space kept around the brain when arrays are cropped."""


@dataclass(frozen=True, kw_only=True)
class ReferenceImage:
    """Reference image of a visit, to which its other images are registered.

    Attributes
    ----------
    contrast : str
    source : str
        Raw image, relative to the BIDS folder.
    file : str
        Bias-corrected image, relative to the output folder.
    volume : Volume
        That image, in its own grid.
    mask : ndarray of bool, shape (x, y, z)
        Brain, on that grid.
    brain : BrainRecord
    """

    contrast: Contrast
    source: str
    file: str
    volume: Volume
    mask: np.ndarray
    brain: BrainRecord


def _load(visit: VisitFiles, image: str, mask: str) -> tuple[Volume, np.ndarray]:
    volume, _ = nifti.read_image(visit.resolve(image))
    labels, _ = nifti.read_labels(visit.resolve(mask))
    return volume, labels > 0


def load_reference(visit: VisitFiles, standardised: StandardiseRecord, brain: BrainRecord) -> ReferenceImage:
    """Read the reference image of a visit and its brain mask.

    Parameters
    ----------
    visit : VisitFiles
    standardised : StandardiseRecord
        Its record; it is done.
    brain : BrainRecord
        Of the same record.

    Returns
    -------
    ReferenceImage
    """
    entry = (standardised.images or {})[brain.reference]
    assert entry.corrected is not None  # the brain was extracted on it
    assert entry.source is not None
    volume, mask = _load(visit, entry.corrected.file, brain.brain_mask)
    return ReferenceImage(
        contrast=brain.reference,
        source=entry.source,
        file=entry.corrected.file,
        volume=volume,
        mask=mask,
        brain=brain,
    )


def become_anchor(visit: VisitFiles, reference: ReferenceImage) -> Anchor:
    """Define the participant's space by this visit, and write where the whole brain lies in it.

    Parameters
    ----------
    visit : VisitFiles
    reference : ReferenceImage
        Its space, rigidly aligned to MNI152, is that of all visits.

    Returns
    -------
    Anchor
    """
    to_mni = np.asarray(reference.brain.to_mni, np.float64)
    subject_to_anchor = np.linalg.inv(rigid_part(to_mni)).astype(np.float64)
    subject_to_mni = (to_mni @ subject_to_anchor).astype(np.float64)
    atlas = load_atlas()
    prior = resample_image(
        Volume(atlas.probability["brain"], atlas.affine), SUBJECT_GRID, subject_to_mni, order=1
    )
    own_brain = resample_image(
        Volume(reference.mask.astype(np.float32), reference.volume.affine),
        SUBJECT_GRID,
        subject_to_anchor,
        order=1,
    )
    inside = np.argwhere((prior > 0.1) | (own_brain > 0.5))
    start = np.maximum(inside.min(axis=0) - BOX_MARGIN_MM, 0)
    stop = np.minimum(inside.max(axis=0) + 1 + BOX_MARGIN_MM, SUBJECT_GRID.shape)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    path = visit.work("brain_prior.npz")
    stored = np.rint(prior[box] * 255).astype(np.uint8)
    write_arrays(path, {"box": np.stack([start, stop]), "brain": stored}, compress=False)
    return Anchor(
        session_id=visit.session_id,
        contrast=reference.contrast,
        source=reference.source,
        file=reference.file,
        brain_mask=reference.brain.brain_mask,
        subject_to_anchor=np.round(subject_to_anchor, 9).tolist(),
        subject_to_mni=np.round(subject_to_mni, 9).tolist(),
        brain_prior=visit.relative(path),
    )


def align_to_anchor(
    visit: VisitFiles, anchor: Anchor, reference: ReferenceImage
) -> tuple[RigidRegistration, Alignment, RegisterRecord | None]:
    """Register the reference image of a visit to the anchor visit, and compare the two heads.

    Parameters
    ----------
    visit : VisitFiles
    anchor : Anchor
    reference : ReferenceImage

    Returns
    -------
    registration : RigidRegistration
    alignment : Alignment
    refusal : RegisterRecord or None
        Reason and message if it is another head or the registration failed.
    """
    moving = reference.volume
    fixed, fixed_mask = _load(visit, anchor.file, anchor.brain_mask)
    registration = register_rigid(fixed, moving, fixed_mask=fixed_mask, moving_mask=reference.mask)
    heads = compare_heads(
        fixed,
        moving,
        registration.matrix,
        fixed_mask,
        reference.mask,
        same_contrast=weighting(anchor.contrast) == weighting(reference.contrast),
    )
    alignment = describe_alignment(registration, head_score=round(float(heads.score), 4))
    where = f"{visit.name} {reference.contrast}"
    if not heads.same_head:
        reason = Reason.WRONG_HEAD
        message = (
            f"{where}: does not look like the head of {anchor.session_id} (score {heads.score:.3f}); "
            "check whose scan this is"
        )
    elif not registration.ok:
        reason = Reason.REGISTRATION_FAILED
        message = f"{where}: could not be registered to {anchor.session_id}; look at both images"
    else:
        return registration, alignment, None
    log.warning("%s", message)
    return (
        registration,
        alignment,
        RegisterRecord(status="not_evaluable", reason=str(reason), message=message),
    )


def describe_alignment(registration: RigidRegistration, head_score: float | None = None) -> Alignment:
    """Describe a registration as records do, rounded."""
    return Alignment(
        similarity=round(float(registration.similarity), 5),
        similarity_left_alone=round(float(registration.similarity_before), 5),
        inverse_consistency_mm=round(float(registration.inverse_consistency_mm), 4),
        flags=tuple(sorted(registration.flags)),
        head_score=head_score,
    )
