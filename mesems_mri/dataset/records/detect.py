"""Record of the step ``detect``: evaluability and findings of each part, and possible reference visits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from mesems_mri.dataset.bids import Contrast, T2Contrast, contrast_named, t2_contrast_named
from mesems_mri.dataset.records.base import Json, StepRecord, triple
from mesems_mri.dataset.records.register import SubjectImage


@dataclass(frozen=True, kw_only=True)
class Part:
    """Evaluability of one part of a visit.

    Parameters
    ----------
    reason : str or None
        Code of `mesems_mri.errors.Reason`; None if it is evaluable.
    message : str or None
        Sentence, of masks that were refused.
    """

    reason: str | None = None
    message: str | None = None

    @property
    def evaluable(self) -> bool:
        """It has a result, which may be that there is nothing."""
        return self.reason is None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content: dict[str, Any] = {"evaluable": self.evaluable, "reason": self.reason}
        return content if self.message is None else content | {"message": self.message}


@dataclass(frozen=True, kw_only=True)
class T2Part(Part):
    """T2 lesions of a visit.

    Parameters
    ----------
    contrast : str or None
        Contrast on which they are read.
    given : bool
        They come from masks that somebody has given, or would.
    """

    contrast: T2Contrast | None = None
    given: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = super().to_json()
        if self.contrast is not None:
            content["contrast"] = self.contrast
        return content | {"given": True} if self.given else content

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            reason=content["reason"],
            message=content.get("message"),
            contrast=t2_contrast_named(content.get("contrast")),
            given=content.get("given", False),
        )


@dataclass(frozen=True, kw_only=True)
class ChangePart(Part):
    """New and enlarging T2 lesions of a visit.

    Parameters
    ----------
    reference_session_id : str or None
        Reference visit.
    contrast : str or None
        Contrast that both visits have, on which change is read.
    candidate_scores : tuple of float or None
        Score of every candidate; None where masks were given.
    """

    reference_session_id: str | None = None
    contrast: T2Contrast | None = None
    candidate_scores: tuple[float, ...] | None = None

    def to_json(self, *, given: bool = False) -> dict[str, Any]:
        """Return the object as it is written; its keys stand in another order where masks were given."""
        reference = {"reference_session_id": self.reference_session_id}
        if self.message is not None:
            return super().to_json() | {"given": True} | reference
        if given and not self.evaluable:
            return {"evaluable": False} | reference | {"reason": self.reason}
        content = super().to_json() | reference
        if self.contrast is not None:
            content["contrast"] = self.contrast
        if self.candidate_scores is not None:
            content["candidate_scores"] = list(self.candidate_scores)
        return content

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        scores = content.get("candidate_scores")
        return cls(
            reason=content["reason"],
            message=content.get("message"),
            reference_session_id=content["reference_session_id"],
            contrast=t2_contrast_named(content.get("contrast")),
            candidate_scores=None if scores is None else tuple(scores),
        )


@dataclass(frozen=True, kw_only=True)
class RejectedCandidate:
    """Candidate for enhancement that was rejected.

    Parameters
    ----------
    voxel : tuple of int
        Its centre on the grid of subject space.
    volume_mm3 : float
    score : float
        0 to 1.
    cause : str
        Code, e.g. ``vessel``.
    """

    voxel: tuple[int, ...]
    volume_mm3: float
    score: float
    cause: str

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "voxel": list(self.voxel),
            "volume_mm3": self.volume_mm3,
            "score": self.score,
            "cause": self.cause,
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            voxel=tuple(content["voxel"]),
            volume_mm3=content["volume_mm3"],
            score=content["score"],
            cause=content["cause"],
        )


@dataclass(frozen=True, kw_only=True)
class GelPart(Part):
    """Enhancing lesions of a visit.

    Parameters
    ----------
    precontrast : bool or None
        There is an evaluable T1w before contrast; None if they are not evaluable.
    scores : tuple of float or None
        Score of every focus in order of its number; None where masks were given.
    rejected : tuple of RejectedCandidate or None
    given : bool
        They come from masks that somebody has given, or would.
    """

    precontrast: bool | None = None
    scores: tuple[float, ...] | None = None
    rejected: tuple[RejectedCandidate, ...] | None = None
    given: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = super().to_json()
        if self.precontrast is not None:
            content["precontrast"] = self.precontrast
        if self.scores is not None:
            content["scores"] = list(self.scores)
        if self.rejected is not None:
            content["rejected"] = [candidate.to_json() for candidate in self.rejected]
        return content | {"given": True} if self.given else content

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        scores, rejected = content.get("scores"), content.get("rejected")
        return cls(
            reason=content["reason"],
            message=content.get("message"),
            precontrast=content.get("precontrast"),
            scores=None if scores is None else tuple(scores),
            rejected=None if rejected is None else tuple(map(RejectedCandidate.from_json, rejected)),
            given=content.get("given", False),
        )


@dataclass(frozen=True, kw_only=True)
class BlackHolePart(Part):
    """Black holes (T1-hypointense lesions) of a visit.

    Parameters
    ----------
    volume_mm3 : float or None
        None if they are not evaluable.
    """

    volume_mm3: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = super().to_json()
        return content if self.volume_mm3 is None else content | {"volume_mm3": self.volume_mm3}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(reason=content["reason"], volume_mm3=content.get("volume_mm3"))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of a visit, each evaluable or not.

    Parameters
    ----------
    t2 : T2Part
    t2_change : ChangePart
    gel : GelPart
    black_hole : BlackHolePart
    """

    t2: T2Part
    t2_change: ChangePart
    gel: GelPart
    black_hole: BlackHolePart

    def __iter__(self) -> Iterator[Part]:
        return iter((self.t2, self.t2_change, self.gel, self.black_hole))

    @classmethod
    def refused(cls, reason: str | None) -> Self:
        """Return the parts of a visit of which nothing is evaluable."""
        return cls(
            t2=T2Part(reason=reason),
            t2_change=ChangePart(reason=reason),
            gel=GelPart(reason=reason),
            black_hole=BlackHolePart(reason=reason),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "t2": self.t2.to_json(),
            "t2_change": self.t2_change.to_json(given=self.t2.given),
            "gel": self.gel.to_json(),
            "black_hole": self.black_hole.to_json(),
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            t2=T2Part.from_json(content["t2"]),
            t2_change=ChangePart.from_json(content["t2_change"]),
            gel=GelPart.from_json(content["gel"]),
            black_hole=BlackHolePart.from_json(content["black_hole"]),
        )


@dataclass(frozen=True, kw_only=True)
class EarlierVisit:
    """Visit that later ones may have as their reference visit, as it is carried on.

    Parameters
    ----------
    session_id : str
    visit_type : str
        ``scheduled``, ``unscheduled`` or ``repeat``; only scheduled ones become references.
    gel_evaluable, t2_evaluable : bool
    t2_contrast : str or None
        Contrast on which its T2 lesions were to be read.
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
    t2_contrast: T2Contrast | None
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
            "t2_contrast": self.t2_contrast,
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
            t2_contrast=t2_contrast_named(content["t2_contrast"]),
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
    """

    parts: Parts
    arrays: str
    products: tuple[str, ...]


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
        if self.history is None:
            return content | {"carried": {}}
        return content | {"carried": {"history": [visit.to_json() for visit in self.history]}}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        carried = content.get("carried", {})
        detected = None
        if "parts" in content:
            detected = DetectedVisit(
                parts=Parts.from_json(content["parts"]),
                arrays=content["arrays"],
                products=tuple(content["products"]),
            )
        return cls(
            status=content["status"],
            reason=content["reason"],
            message=content["message"],
            detected=detected,
            history=history_from_carried(carried) if "history" in carried else None,
        )
