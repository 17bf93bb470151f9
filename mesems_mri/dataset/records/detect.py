"""Record of the step ``detect``: parts of a visit, and the visits that may be a reference visit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mesems_mri.dataset.bids import Contrast, contrast_named
from mesems_mri.dataset.records.base import Json, StepRecord, triple
from mesems_mri.dataset.records.parts import ListedCandidate, Parts
from mesems_mri.dataset.records.registered_image import SubjectImage


@dataclass(frozen=True, kw_only=True)
class EarlierVisit:
    """Visit that later ones may have as their reference visit, as it is carried on.

    Parameters
    ----------
    session_id : str
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``; only scheduled ones become references.
    gel_evaluable, t2_evaluable : bool
    arrays : str
        Its masks on the brain box of subject space, relative to the output folder.
    brain_mask : str
        In subject space.
    images : mapping of contrast to SubjectImage
        Those that show enough of the brain.
    """

    session_id: str
    visit_type: str
    gel_evaluable: bool
    t2_evaluable: bool
    arrays: str
    brain_mask: str
    images: Mapping[Contrast, SubjectImage]

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "session_id": self.session_id,
            "visit_type": self.visit_type,
            "gel_evaluable": self.gel_evaluable,
            "t2_evaluable": self.t2_evaluable,
            "arrays": self.arrays,
            "brain_mask": self.brain_mask,
            "images": {contrast: image.subject_json() for contrast, image in self.images.items()},
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            session_id=content["session_id"],
            visit_type=content["visit_type"],
            gel_evaluable=content["gel_evaluable"],
            t2_evaluable=content["t2_evaluable"],
            arrays=content["arrays"],
            brain_mask=content["brain_mask"],
            images={
                contrast_named(name): SubjectImage(
                    preproc=image["preproc"],
                    slice_thickness_mm=image["slice_thickness_mm"],
                    plane_normal=triple(image["plane_normal"]),
                )
                for name, image in content["images"].items()
            },
        )


def history_from_carried(carried: Json) -> tuple[EarlierVisit, ...]:
    """Read the earlier visits that a visit carries on, in order of time."""
    return tuple(map(EarlierVisit.from_json, carried.get("history", ())))


@dataclass(frozen=True, kw_only=True)
class DetectedVisit:
    """Lesions of a visit.

    Parameters
    ----------
    parts : Parts
    arrays : str
        Masks on the brain box of subject space, relative to the output folder.
    products : tuple of str
        Masks that were written, relative to the output folder.
    candidates : tuple of ListedCandidate or None
        Those of each kind that is evaluable; None where no detector was asked.
    """

    parts: Parts
    arrays: str
    products: tuple[str, ...]
    candidates: tuple[ListedCandidate, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class DetectRecord(StepRecord):
    """Record of the step ``detect``.

    Parameters
    ----------
    detected : DetectedVisit or None
        None unless it is done.
    history : tuple of EarlierVisit, or None
        Carried on: visits that may be a reference, in order of time; None where the first visit was stopped
        by an error.
    """

    detected: DetectedVisit | None = None
    history: tuple[EarlierVisit, ...] | None = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = super().to_json()
        if self.detected:
            content |= {
                "parts": self.detected.parts.to_json(),
                "arrays": self.detected.arrays,
                "products": list(self.detected.products),
            }
            listed = self.detected.candidates
            if listed is not None:
                content["candidates"] = [candidate.to_json() for candidate in listed]
        if self.history is None:
            return content | {"carried": {}}
        return content | {"carried": {"history": [visit.to_json() for visit in self.history]}}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        carried = content.get("carried", {})
        detected = None
        if "parts" in content:
            listed = content.get("candidates")
            detected = DetectedVisit(
                parts=Parts.from_json(content["parts"]),
                arrays=content["arrays"],
                products=tuple(content["products"]),
                candidates=None if listed is None else tuple(map(ListedCandidate.from_json, listed)),
            )
        return cls(
            status=content["status"],
            reason=content["reason"],
            message=content["message"],
            detected=detected,
            history=history_from_carried(carried) if "history" in carried else None,
        )
