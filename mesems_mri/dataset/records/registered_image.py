"""Images of a visit in the record of the step ``register``, each in subject space or refused."""

from dataclasses import dataclass
from typing import Any, Self

from mesems_mri.config import QualityRule
from mesems_mri.dataset.records.base import Json, Matrix, Normal, covers_enough, triple


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
        Likeness of the two heads, 0 to 1.
    mirrored_score : float or None
        The same of the mirror image; asked within a visit.
    """

    similarity: float
    similarity_left_alone: float
    inverse_consistency_mm: float
    flags: tuple[str, ...] = ()
    head_score: float | None = None
    mirrored_score: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = {
            "similarity": self.similarity,
            "similarity_left_alone": self.similarity_left_alone,
            "inverse_consistency_mm": self.inverse_consistency_mm,
            "flags": list(self.flags),
        }
        scores = {"head_score": self.head_score, "mirrored_score": self.mirrored_score}
        return content | {name: score for name, score in scores.items() if score is not None}

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
            mirrored_score=content.get("mirrored_score"),
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
