"""Records as the steps leave them, made by hand; every argument changes one field."""

from dataclasses import replace
from typing import Any

from mesems_mri.dataset.bids import Contrast
from mesems_mri.dataset.records.detect import DetectedVisit, DetectRecord, EarlierVisit
from mesems_mri.dataset.records.parts import BlackHolePart, ChangePart, GelPart, Parts, T2Part
from mesems_mri.dataset.records.register import Anchor, RegisteredVisit, RegisterRecord
from mesems_mri.dataset.records.registered_image import Alignment, RefusedImage, RegisteredImage, SubjectImage
from mesems_mri.dataset.records.standardise import (
    BrainRecord,
    CorrectedImage,
    ImageHeader,
    StandardisedImage,
    StandardiseRecord,
)

IDENTITY = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
UP = (0.0, 0.0, 1.0)


def standardised_image(contrast: Contrast = "FLAIR", *, file: str = "", **changes: Any) -> StandardisedImage:
    """Make an image that was read and corrected."""
    image = StandardisedImage(
        source=f"sub-1/ses-2/anat/sub-1_ses-2_{contrast}.nii.gz",
        header=ImageHeader(
            spacing_mm=(1.0, 1.0, 3.0), slice_thickness_mm=3.0, acquisition={"Manufacturer": "Maker"}
        ),
        corrected=CorrectedImage(
            file=file or f".mesems/sub-1/ses-2/{contrast}_desc-standardised.nii",
            quality={"snr_wm": 9.5, "cnr": None},
            skull_stripped=False,
        ),
    )
    return replace(image, **changes)


def standardise_record(**changes: Any) -> StandardiseRecord:
    """Make the record of a visit with a FLAIR."""
    record = StandardiseRecord(
        images={"FLAIR": standardised_image()},
        brain=BrainRecord(
            reference="FLAIR",
            brain_mask=".mesems/sub-1/ses-2/brain_mask.nii.gz",
            tissue=".mesems/sub-1/ses-2/tissue.npz",
            brain_volume_mm3=1400000.0,
            covered_fraction=0.98,
            to_mni=IDENTITY,
            flags=(),
        ),
    )
    return replace(record, **changes)


def alignment(**changes: Any) -> Alignment:
    """Make a good registration."""
    good = Alignment(similarity=1.15, similarity_left_alone=1.1, inverse_consistency_mm=0.05)
    return replace(good, **changes)


def anchor(**changes: Any) -> Anchor:
    """Make the anchor visit."""
    first = Anchor(
        session_id="ses-1",
        contrast="FLAIR",
        source="sub-1/ses-1/anat/sub-1_ses-1_FLAIR.nii.gz",
        subject_to_anchor=IDENTITY,
        subject_to_mni=IDENTITY,
        file=".mesems/sub-1/ses-1/FLAIR_desc-standardised.nii",
        brain_mask=".mesems/sub-1/ses-1/brain_mask.nii.gz",
        brain_prior=".mesems/sub-1/ses-1/brain_prior.npz",
    )
    return replace(first, **changes)


def registered_image(contrast: Contrast = "FLAIR", **changes: Any) -> RegisteredImage:
    """Make an image in subject space that shows the whole brain."""
    image = RegisteredImage(
        source=f"sub-1/ses-2/anat/sub-1_ses-2_{contrast}.nii.gz",
        file=f".mesems/sub-1/ses-2/{contrast}_desc-standardised.nii",
        subject_to_image=IDENTITY,
        alignment=alignment(),
        shape=(10, 12, 8),
        affine=IDENTITY,
        preproc=f"sub-1/ses-2/anat/sub-1_ses-2_space-subject_desc-preproc_{contrast}.nii.gz",
        covered_fraction=1.0,
        nawm_median=321.5,
        slice_thickness_mm=3.0,
        plane_normal=UP,
    )
    return replace(image, **changes)


def refused_image(reason: str = "registration_failed") -> RefusedImage:
    """Make an image that is not evaluable."""
    return RefusedImage(reason=reason, message=f"it is so: {reason}", source="x.nii.gz")


def register_record(**changes: Any) -> RegisterRecord:
    """Make the record of a visit with a FLAIR in subject space."""
    registered = RegisteredVisit(
        reference="FLAIR",
        brain_mask="sub-1/ses-2/anat/sub-1_ses-2_space-subject_desc-brain_mask.nii.gz",
        tissue=".mesems/sub-1/ses-2/tissue_space-subject.npz",
        alignment=alignment(head_score=0.8),
        images={"FLAIR": registered_image()},
        anchor=anchor(),
    )
    return RegisterRecord(registered=replace(registered, **changes))


def parts(**changes: Any) -> Parts:
    """Make the parts of a visit of which everything is evaluable."""
    all_evaluable = Parts(
        t2=T2Part(contrast="FLAIR"),
        t2_change=ChangePart(reference_session_id="ses-1", contrast="FLAIR", candidate_scores=(0.7,)),
        gel=GelPart(precontrast=True, scores=(), rejected=()),
        black_hole=BlackHolePart(volume_mm3=12.0),
    )
    return replace(all_evaluable, **changes)


def detect_record(**changes: Any) -> DetectRecord:
    """Make the record of a visit whose lesions were detected; changes are those of `DetectedVisit`."""
    detected = DetectedVisit(parts=parts(), arrays=".mesems/sub-1/ses-2/lesions.npz", products=())
    return DetectRecord(detected=replace(detected, **changes))


def earlier_visit(session_id: str = "ses-1", *contrasts: Contrast, **changes: Any) -> EarlierVisit:
    """Make a visit that may be the reference visit, with images of the contrasts (default FLAIR)."""
    visit = EarlierVisit(
        session_id=session_id,
        visit_type="scheduled",
        gel_evaluable=True,
        t2_evaluable=True,
        arrays=f".mesems/sub-1/{session_id}/lesions.npz",
        brain_mask=f"sub-1/{session_id}/anat/sub-1_{session_id}_space-subject_desc-brain_mask.nii.gz",
        images={
            c: SubjectImage(preproc=f"{session_id}_{c}.nii.gz", slice_thickness_mm=3.0, plane_normal=UP)
            for c in contrasts or ("FLAIR",)
        },
    )
    return replace(visit, **changes)
