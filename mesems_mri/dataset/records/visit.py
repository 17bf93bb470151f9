"""Record of a visit, ``sub-X_ses-Y_metrics.json``: what tables and pages are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from mesems_mri.dataset.bids import Contrast, T2Contrast, contrast_named, t2_contrast_named
from mesems_mri.dataset.records.base import Json, Status
from mesems_mri.dataset.records.parts import RejectedCandidate
from mesems_mri.dataset.records.register import PublicAnchor


@dataclass(frozen=True, kw_only=True)
class ReportedImage:
    """State and quality of an image of a visit.

    Parameters
    ----------
    source : str or None
        Raw image, relative to the BIDS folder; None if there are several and none is chosen.
    reason : str or None
        Reason if it is not evaluable.
    message : str
    flags : tuple of str
        Codes of ``qc_flags``.
    covered_fraction : float or None
        Share of the brain that it shows, 0 to 1.
    quality : mapping of str to float or None
        Measures of image quality.
    """

    source: str | None
    reason: str | None
    message: str
    flags: tuple[str, ...]
    covered_fraction: float | None
    quality: Mapping[str, float | None]

    @property
    def evaluable(self) -> bool:
        """It was used."""
        return self.reason is None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "source": self.source,
            "evaluable": self.evaluable,
            "reason": self.reason,
            "message": self.message,
            "flags": list(self.flags),
            "covered_fraction": self.covered_fraction,
            "quality": dict(self.quality),
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            source=content["source"],
            reason=content["reason"],
            message=content["message"],
            flags=tuple(content["flags"]),
            covered_fraction=content["covered_fraction"],
            quality=content["quality"],
        )


@dataclass(frozen=True, kw_only=True)
class VisitSummary:
    """Summary of a visit for the tables and the page of a participant.

    Parameters
    ----------
    status : str
        ``done``, ``not_evaluable`` or ``failed``.
    message : str
        One sentence for each problem.
    visit_index : int
        Place of the visit in order of time, from 0.
    metrics : mapping
        Row of ``visit_metrics.tsv``.
    lesions : tuple of mapping
        Rows of the ledger.
    anchor : PublicAnchor or None
    """

    status: Status
    message: str
    visit_index: int
    metrics: Json
    lesions: tuple[Json, ...]
    anchor: PublicAnchor | None

    @classmethod
    def from_json(cls, content: Json) -> "VisitSummary":
        """Read what is needed of the record of a visit, which may be of an older version."""
        anchor = content.get("anchor")
        return VisitSummary(
            status=content["status"],
            message=content["message"],
            visit_index=content["visit_index"],
            metrics=content["visit_metrics"],
            lesions=tuple(content["lesions"]),
            anchor=PublicAnchor.from_public(anchor) if anchor else None,
        )


@dataclass(frozen=True, kw_only=True)
class VisitRecord(VisitSummary):
    """Everything the record of a visit holds.

    Parameters
    ----------
    lesions_from : str
        ``masks`` if somebody has given them, else ``detector``.
    gel_rejected : tuple of RejectedCandidate
    candidates : tuple of mapping or None
        Rows of the table of candidates; None where no detector was asked.
    images : mapping of contrast to ReportedImage
    quality_names : tuple of str
        Measures of image quality that pages show.
    preproc : mapping of contrast to str
        Preprocessed images, relative to the output folder.
    change_contrast : str or None
        Contrast on which T2 change is read.
    reference_preproc : str or None
        Image of that contrast of the reference visit.
    registration : mapping of str to str
        Agreement after registration in words, by contrast and ``to the anchor``.
    versions : mapping of str to str
        Of this package and of the libraries that shape the numbers.
    """

    lesions_from: Literal["masks", "detector"]
    gel_rejected: tuple[RejectedCandidate, ...]
    images: Mapping[Contrast, ReportedImage]
    quality_names: tuple[str, ...]
    preproc: Mapping[Contrast, str]
    change_contrast: T2Contrast | None
    reference_preproc: str | None
    registration: Mapping[str, str]
    versions: Mapping[str, str]
    candidates: tuple[Json, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "status": self.status,
            "message": self.message,
            "visit_index": self.visit_index,
            "visit_metrics": dict(self.metrics),
            "lesions": [dict(row) for row in self.lesions],
            "lesions_from": self.lesions_from,
            "gel_rejected": [candidate.to_json() for candidate in self.gel_rejected],
            "candidates": None if self.candidates is None else [dict(row) for row in self.candidates],
            "anchor": self.anchor.public() if self.anchor else None,
            "images": {contrast: image.to_json() for contrast, image in self.images.items()},
            "quality_names": list(self.quality_names),
            "preproc": dict(self.preproc),
            "change_contrast": self.change_contrast,
            "reference_preproc": self.reference_preproc,
            "registration": dict(self.registration),
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, content: Json) -> "VisitRecord":
        """Read an object that `to_json` gave."""
        summary = VisitSummary.from_json(content)
        listed = content.get("candidates")
        return VisitRecord(
            status=summary.status,
            message=summary.message,
            visit_index=summary.visit_index,
            metrics=summary.metrics,
            lesions=summary.lesions,
            anchor=summary.anchor,
            lesions_from=content.get("lesions_from", "detector"),
            gel_rejected=tuple(map(RejectedCandidate.from_json, content["gel_rejected"])),
            candidates=None if listed is None else tuple(listed),
            images={
                contrast_named(name): ReportedImage.from_json(image)
                for name, image in content["images"].items()
            },
            quality_names=tuple(content["quality_names"]),
            preproc={contrast_named(name): path for name, path in content["preproc"].items()},
            change_contrast=t2_contrast_named(content["change_contrast"]),
            reference_preproc=content["reference_preproc"],
            registration=content["registration"],
            versions=content["versions"],
        )
