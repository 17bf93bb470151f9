"""Record of the step ``register``: images of a visit in subject space, and the anchor visit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mesems_mri.dataset.bids import Contrast, contrast_named
from mesems_mri.dataset.records.base import Json, Matrix, StepRecord
from mesems_mri.dataset.records.registered_image import Alignment, RefusedImage, RegisteredImage


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
    brain_prior : str
        Brain of the atlas in subject space, and the part of the grid that holds the brain.
    """

    file: str
    brain_mask: str
    brain_prior: str

    @property
    def files(self) -> tuple[str, str, str]:
        """Intermediate files that every later visit needs."""
        return self.file, self.brain_mask, self.brain_prior

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
            "brain_prior": self.brain_prior,
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
            brain_prior=content["brain_prior"],
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
    tissue : str
        Tissue maps of this visit in subject space.
    alignment : Alignment or None
        To the anchor visit; None if it is the anchor.
    images : mapping of contrast to RegisteredImage or RefusedImage
    anchor : Anchor
    """

    reference: Contrast
    brain_mask: str
    tissue: str
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
                "tissue": self.registered.tissue,
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
                tissue=content["tissue"],
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
