"""Parts of a visit in the record of the step ``detect``: evaluability and findings of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from mesems_mri.dataset.bids import T2Contrast, t2_contrast_named
from mesems_mri.dataset.records.base import Json


@dataclass(frozen=True, kw_only=True)
class Part:
    """Evaluability of one part of a visit.

    Parameters
    ----------
    reason : str or None
        Code of `mesems_mri.errors.Reason`; None if it is evaluable.
    message : str or None
        Sentence that says what to do.
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


CandidateKind = Literal["t2", "change", "gel"]
"""T2 lesion; new or enlarging T2 lesion; enhancing lesion."""
CANDIDATE_KINDS: tuple[CandidateKind, ...] = get_args(CandidateKind)
"""In the order of the table of candidates."""


@dataclass(frozen=True, kw_only=True)
class ListedCandidate:
    """Candidate of a visit: considered by a detector, scored, and counted nowhere.

    Parameters
    ----------
    kind : str
        ``t2``, ``change`` or ``gel``.
    number : int
        Its number among those of its kind.
    score : float
        0 to 1.
    cause : str
        Code of `mesems_mri.dataset.reasons.CAUSES`: why it is not counted.
    """

    kind: CandidateKind
    number: int
    score: float
    cause: str

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {"kind": self.kind, "number": self.number, "score": self.score, "cause": self.cause}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            kind=content["kind"], number=content["number"], score=content["score"], cause=content["cause"]
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
