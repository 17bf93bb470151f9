"""Record of the step ``standardise``: images of a visit in their own grids, and its brain."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from mesems_mri.config import QualityRule
from mesems_mri.dataset.bids import Contrast, contrast_named
from mesems_mri.dataset.records.base import Json, Matrix, StepRecord, covers_enough


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """Geometry and acquisition of an image that could be read.

    Parameters
    ----------
    spacing_mm : tuple of float
        Voxel size along the array axes.
    slice_thickness_mm : float
    acquisition : mapping
        Scanner and sequence, as the sidecar names them.
    """

    spacing_mm: tuple[float, ...]
    slice_thickness_mm: float
    acquisition: Json


@dataclass(frozen=True, kw_only=True)
class CorrectedImage:
    """Bias-corrected image of a contrast in its own grid.

    Parameters
    ----------
    file : str
        Relative to the output folder.
    quality : mapping of str to float or None
        Measures of image quality.
    skull_stripped : bool
        It came without skull.
    """

    file: str
    quality: Mapping[str, float | None]
    skull_stripped: bool


@dataclass(frozen=True, kw_only=True)
class StandardisedImage:
    """One image of a visit as the step ``standardise`` leaves it.

    Parameters
    ----------
    source : str or None
        Raw image, relative to the BIDS folder; None if there are several and none is chosen.
    reason : str or None
        Reason if it is not evaluable.
    message : str
    flags : tuple of str
        Codes of ``qc_flags``.
    header : ImageHeader or None
        None if it was not read.
    corrected : CorrectedImage or None
        None if it was not corrected, as when the visit is not evaluable.
    """

    source: str | None
    reason: str | None = None
    message: str = ""
    flags: tuple[str, ...] = ()
    header: ImageHeader | None = None
    corrected: CorrectedImage | None = None

    @property
    def evaluable(self) -> bool:
        """It may be used."""
        return self.reason is None

    def refused(self, reason: str, message: str) -> Self:
        """Return the same image as one that is not evaluable."""
        return replace(self, reason=str(reason), message=message, flags=())

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = {
            "source": self.source,
            "evaluable": self.evaluable,
            "reason": self.reason,
            "message": self.message,
            "flags": list(self.flags),
        }
        if self.header:
            content |= {
                "spacing_mm": list(self.header.spacing_mm),
                "slice_thickness_mm": self.header.slice_thickness_mm,
                "acquisition": dict(self.header.acquisition),
            }
        if self.corrected:
            content |= {
                "file": self.corrected.file,
                "quality": dict(self.corrected.quality),
                "skull_stripped": self.corrected.skull_stripped,
            }
        return content

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        header = corrected = None
        if "acquisition" in content:
            header = ImageHeader(
                spacing_mm=tuple(content["spacing_mm"]),
                slice_thickness_mm=content["slice_thickness_mm"],
                acquisition=content["acquisition"],
            )
        if "file" in content:
            corrected = CorrectedImage(
                file=content["file"],
                quality=content["quality"],
                skull_stripped=content["skull_stripped"],
            )
        return cls(
            source=content["source"],
            reason=content["reason"],
            message=content["message"],
            flags=tuple(content["flags"]),
            header=header,
            corrected=corrected,
        )


@dataclass(frozen=True, kw_only=True)
class BrainRecord:
    """Brain of a visit, extracted on its reference image.

    Parameters
    ----------
    reference : str
        Contrast to which the other images of the visit are registered.
    brain_mask : str
        Relative to the output folder.
    tissue : str
        Tissue maps, on their own grid.
    brain_volume_mm3 : float
    covered_fraction : float
        Share of the brain inside the reference image, 0 to 1.
    to_mni : matrix
        Affine from the reference image to MNI152, mm to mm.
    flags : tuple of str
        Codes of ``qc_flags``.
    """

    reference: Contrast
    brain_mask: str
    tissue: str
    brain_volume_mm3: float
    covered_fraction: float
    to_mni: Matrix
    flags: tuple[str, ...]

    def covers(self, rule: QualityRule) -> bool:
        """Return whether the reference image shows enough of the brain."""
        return covers_enough(self.covered_fraction, rule)

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "reference": self.reference,
            "brain_mask": self.brain_mask,
            "tissue": self.tissue,
            "brain_volume_mm3": self.brain_volume_mm3,
            "covered_fraction": self.covered_fraction,
            "to_mni": self.to_mni,
            "flags": list(self.flags),
        }

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            reference=contrast_named(content["reference"]),
            brain_mask=content["brain_mask"],
            tissue=content["tissue"],
            brain_volume_mm3=content["brain_volume_mm3"],
            covered_fraction=content["covered_fraction"],
            to_mni=content["to_mni"],
            flags=tuple(content["flags"]),
        )


@dataclass(frozen=True, kw_only=True)
class StandardiseRecord(StepRecord):
    """Record of the step ``standardise``.

    Parameters
    ----------
    images : mapping of contrast to StandardisedImage, or None
        None if the step was stopped by an error.
    brain : BrainRecord or None
        None unless it is done.
    """

    images: Mapping[Contrast, StandardisedImage] | None = None
    brain: BrainRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = super().to_json() | (self.brain.to_json() if self.brain else {})
        if self.images is None:
            return content | {"carried": {}}
        return content | {"images": {contrast: image.to_json() for contrast, image in self.images.items()}}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        return cls(
            status=content["status"],
            reason=content["reason"],
            message=content["message"],
            images={
                contrast_named(name): StandardisedImage.from_json(image)
                for name, image in content["images"].items()
            }
            if "images" in content
            else None,
            brain=BrainRecord.from_json(content) if "brain_mask" in content else None,
        )
