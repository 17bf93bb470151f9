"""Record of the step ``register``: images of a visit in subject space, and the anchor visit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mesems_mri.config import QualityRule
from mesems_mri.dataset.bids import Contrast, contrast_named
from mesems_mri.dataset.records.base import Json, Matrix, Normal, StepRecord, covers_enough, triple


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Agreement of two images after rigid registration.

    Parameters
    ----------
    similarity, similarity_left_alone : float
        Normalised mutual information after registration, and in the position that the headers give.
    inverse_consistency_mm : float
        Distance between the two directions of registration.
    flags : tuple of str
        Codes of ``qc_flags``.
    head_score : float or None
        Likeness of the two heads, 0 to 1; None within a visit, where it is not asked.
    """

    similarity: float
    similarity_left_alone: float
    inverse_consistency_mm: float
    flags: tuple[str, ...] = ()
    head_score: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = {
            "similarity": self.similarity,
            "similarity_left_alone": self.similarity_left_alone,
            "inverse_consistency_mm": self.inverse_consistency_mm,
            "flags": list(self.flags),
        }
        return content if self.head_score is None else content | {"head_score": self.head_score}

    @classmethod
    def from_json(cls, content: Json) -> Self | None:
        """Read an object that `to_json` gave; None for an image that is itself the target."""
        if "similarity" not in content:
            return None
        return cls(
            similarity=content["similarity"],
            similarity_left_alone=content["similarity_left_alone"],
            inverse_consistency_mm=content["inverse_consistency_mm"],
            flags=tuple(content["flags"]),
            head_score=content.get("head_score"),
        )


@dataclass(frozen=True, kw_only=True)
class PublicAnchor:
    """Anchor visit as the record of a visit and ``sub-X_anchor.json`` name it.

    Parameters
    ----------
    session_id : str
        Visit that defines the participant's space.
    contrast : str
        Contrast of its reference image.
    source : str
        That image, relative to the BIDS folder.
    subject_to_anchor : matrix
        Rigid transform from subject space to that image, mm to mm.
    subject_to_mni : matrix
        Affine from subject space to MNI152, mm to mm.
    """

    session_id: str
    contrast: Contrast
    source: str
    subject_to_anchor: Matrix
    subject_to_mni: Matrix

    def public(self) -> dict[str, Any]:
        """Return what is public of it, as it is written."""
        return {
            "session_id": self.session_id,
            "contrast": self.contrast,
            "source": self.source,
            "subject_to_anchor": self.subject_to_anchor,
            "subject_to_mni": self.subject_to_mni,
        }

    @classmethod
    def from_public(cls, content: Json) -> "PublicAnchor":
        """Read an object that `public` gave."""
        return PublicAnchor(
            session_id=content["session_id"],
            contrast=contrast_named(content["contrast"]),
            source=content["source"],
            subject_to_anchor=content["subject_to_anchor"],
            subject_to_mni=content["subject_to_mni"],
        )


@dataclass(frozen=True, kw_only=True)
class Anchor(PublicAnchor):
    """Anchor visit, which defines the participant's space, as the visits after it are given it.

    Parameters
    ----------
    file : str
        Bias-corrected reference image, relative to the output folder.
    brain_mask : str
        On its grid.
    priors : str
        Atlas in subject space.
    """

    file: str
    brain_mask: str
    priors: str

    @property
    def files(self) -> tuple[str, str, str]:
        """Intermediate files that every later visit needs."""
        return self.file, self.brain_mask, self.priors

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "session_id": self.session_id,
            "contrast": self.contrast,
            "source": self.source,
            "file": self.file,
            "brain_mask": self.brain_mask,
            "subject_to_anchor": self.subject_to_anchor,
            "subject_to_mni": self.subject_to_mni,
            "priors": self.priors,
        }

    @classmethod
    def from_carried(cls, carried: Json) -> Self | None:
        """Read what a visit carries on; None if no visit so far could be the anchor."""
        content = carried.get("anchor")
        if not content:
            return None
        return cls(
            session_id=content["session_id"],
            contrast=contrast_named(content["contrast"]),
            source=content["source"],
            file=content["file"],
            brain_mask=content["brain_mask"],
            subject_to_anchor=content["subject_to_anchor"],
            subject_to_mni=content["subject_to_mni"],
            priors=content["priors"],
        )


@dataclass(frozen=True, kw_only=True)
class SubjectImage:
    """Preprocessed image in subject space.

    Parameters
    ----------
    preproc : str
        Relative to the output folder.
    slice_thickness_mm : float
        As acquired.
    plane_normal : tuple of 3 float
        Normal of the acquired slices in subject space.
    """

    preproc: str
    slice_thickness_mm: float
    plane_normal: Normal

    def subject_json(self) -> dict[str, Any]:
        """Return what later visits need of it, as it is written."""
        return {
            "preproc": self.preproc,
            "slice_thickness_mm": self.slice_thickness_mm,
            "plane_normal": list(self.plane_normal),
        }


@dataclass(frozen=True, kw_only=True)
class RegisteredImage(SubjectImage):
    """Image of a visit that was registered and resampled into subject space.

    Parameters
    ----------
    source : str
        Raw image, relative to the BIDS folder.
    file : str
        Bias-corrected image, relative to the output folder.
    subject_to_image : matrix
        Rigid transform from subject space to the image, mm to mm.
    alignment : Alignment or None
        None for the reference image of the visit.
    shape : tuple of 3 int
        Voxels of the image in its own grid.
    affine : matrix
        Of that grid, voxel to mm.
    covered_fraction : float
        Share of the brain that the image shows, 0 to 1.
    nawm_median : float
        Intensity by which the preprocessed image was divided.
    """

    source: str
    file: str
    subject_to_image: Matrix
    alignment: Alignment | None
    shape: tuple[int, int, int]
    affine: Matrix
    covered_fraction: float
    nawm_median: float

    def covers(self, rule: QualityRule) -> bool:
        """Return whether the image shows enough of the brain."""
        return covers_enough(self.covered_fraction, rule)

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "evaluable": True,
            "reason": None,
            "message": "",
            "source": self.source,
            "file": self.file,
            "subject_to_image": self.subject_to_image,
            "alignment": self.alignment.to_json() if self.alignment else {"reference": True},
            "grid": {"shape": list(self.shape), "affine": self.affine},
            "preproc": self.preproc,
            "covered_fraction": self.covered_fraction,
            "nawm_median": self.nawm_median,
            "slice_thickness_mm": self.slice_thickness_mm,
            "plane_normal": list(self.plane_normal),
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            source=content["source"],
            file=content["file"],
            subject_to_image=content["subject_to_image"],
            alignment=Alignment.from_json(content["alignment"]),
            shape=triple(content["grid"]["shape"]),
            affine=content["grid"]["affine"],
            preproc=content["preproc"],
            covered_fraction=content["covered_fraction"],
            nawm_median=content["nawm_median"],
            slice_thickness_mm=content["slice_thickness_mm"],
            plane_normal=triple(content["plane_normal"]),
        )


@dataclass(frozen=True, kw_only=True)
class RefusedImage:
    """Image of a visit that is not evaluable.

    Parameters
    ----------
    reason, message : str
        Code and sentence.
    source : str or None
        Raw image, relative to the BIDS folder.
    file : str or None
        Bias-corrected image, if it came so far.
    alignment : Alignment or None
        Registration that was not good enough.
    """

    reason: str
    message: str
    source: str | None
    file: str | None = None
    alignment: Alignment | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = {
            "evaluable": False,
            "reason": self.reason,
            "message": self.message,
            "source": self.source,
        }
        if self.file is not None:
            content["file"] = self.file
        return content | ({"alignment": self.alignment.to_json()} if self.alignment else {})

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            reason=content["reason"],
            message=content["message"],
            source=content["source"],
            file=content.get("file"),
            alignment=Alignment.from_json(content.get("alignment", {})),
        )


Images = Mapping[Contrast, RegisteredImage | RefusedImage]


@dataclass(frozen=True, kw_only=True)
class RegisteredVisit:
    """Images of a visit in subject space.

    Parameters
    ----------
    reference : str
        Contrast to which the other images of the visit are registered.
    brain_mask : str
        In subject space, relative to the output folder.
    alignment : Alignment or None
        To the anchor visit; None if it is the anchor.
    images : mapping of contrast to RegisteredImage or RefusedImage
    anchor : Anchor
    """

    reference: Contrast
    brain_mask: str
    alignment: Alignment | None
    images: Images
    anchor: Anchor

    @property
    def evaluable(self) -> dict[Contrast, RegisteredImage]:
        """Images that were registered."""
        return {c: image for c, image in self.images.items() if isinstance(image, RegisteredImage)}


@dataclass(frozen=True, kw_only=True)
class RegisterRecord(StepRecord):
    """Record of the step ``register``.

    Parameters
    ----------
    registered : RegisteredVisit or None
        None unless it is done.
    alignment : Alignment or None
        To the anchor visit, of a visit that was therefore refused.
    anchor : Anchor or None
        Carried on by a visit that is not done; None if no visit so far could be the anchor.
    """

    registered: RegisteredVisit | None = None
    alignment: Alignment | None = None
    anchor: Anchor | None = None

    @property
    def carried_anchor(self) -> Anchor | None:
        """Anchor for the visits after this one."""
        return self.registered.anchor if self.registered else self.anchor

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content, anchor = super().to_json(), self.carried_anchor
        if self.registered:
            alignment = self.registered.alignment
            content |= {
                "reference": self.registered.reference,
                "brain_mask": self.registered.brain_mask,
                "alignment": alignment.to_json() if alignment else {"anchor": True},
                "images": {c: image.to_json() for c, image in self.registered.images.items()},
            }
        elif self.alignment:
            content["alignment"] = self.alignment.to_json()
        return content | {"carried": {"anchor": anchor.to_json()} if anchor else {}}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        anchor = Anchor.from_carried(content.get("carried", {}))
        alignment = Alignment.from_json(content.get("alignment", {}))
        registered = None
        if "images" in content and anchor:
            registered = RegisteredVisit(
                reference=contrast_named(content["reference"]),
                brain_mask=content["brain_mask"],
                alignment=alignment,
                images={
                    contrast_named(name): (RegisteredImage if image["evaluable"] else RefusedImage).from_json(
                        image
                    )
                    for name, image in content["images"].items()
                },
                anchor=anchor,
            )
        return cls(
            status=content["status"],
            reason=content["reason"],
            message=content["message"],
            registered=registered,
            alignment=None if registered else alignment,
            anchor=anchor,
        )
