"""Record of the step ``measure``: rows of the ledger, and what is remembered of the participant's visits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mesems_mri.dataset.records.base import Json, StepRecord


@dataclass(frozen=True, kw_only=True)
class RememberedVisits:
    """Memory of a participant's visits so far, for the visits after them.

    Parameters
    ----------
    visit_index : int
        Place of the last visit in order of time, from 0; -1 before the first.
    days : mapping of str to int or None
        Days since the first dated visit, by session.
    scheduled : tuple of str
        Scheduled visits in order of time.
    gel_evaluable : mapping of str to bool
        Of every measured visit.
    foci : mapping or None
        Known foci, as `mesems_mri.core.tracking.foci.KnownFoci` writes them, and ``arrays``, the file of
        their footprints; None before the first measured visit.
    """

    visit_index: int = -1
    days: Mapping[str, int | None] = field(default_factory=dict)
    scheduled: tuple[str, ...] = ()
    gel_evaluable: Mapping[str, bool] = field(default_factory=dict)
    foci: Json | None = None

    @property
    def gel_references(self) -> tuple[str, ...]:
        """Scheduled visits that were evaluable for enhancing lesions."""
        return tuple(session for session in self.scheduled if self.gel_evaluable.get(session))

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        return {
            "visit_index": self.visit_index,
            "days": dict(self.days),
            "scheduled": list(self.scheduled),
            "gel_evaluable": dict(self.gel_evaluable),
            "foci": self.foci,
        }

    @classmethod
    def from_carried(cls, carried: Json) -> Self:
        """Read what a visit carries on; nothing before the first."""
        return cls(
            visit_index=carried.get("visit_index", -1),
            days=carried.get("days", {}),
            scheduled=tuple(carried.get("scheduled", ())),
            gel_evaluable=carried.get("gel_evaluable", {}),
            foci=carried.get("foci"),
        )


@dataclass(frozen=True, kw_only=True)
class MeasuredVisit:
    """Tracked lesions of a visit.

    Parameters
    ----------
    lesions : tuple of mapping
        Rows of the ledger.
    products : tuple of str
        Masks and dsegs that were written, relative to the output folder.
    candidates : tuple of mapping or None
        Rows of the table of candidates; None where no detector was asked.
    """

    lesions: tuple[Json, ...]
    products: tuple[str, ...]
    candidates: tuple[Json, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class MeasureRecord(StepRecord):
    """Record of the step ``measure``.

    Parameters
    ----------
    measured : MeasuredVisit or None
        None unless it is done.
    remembered : RememberedVisits
        Carried on.
    """

    measured: MeasuredVisit | None = None
    remembered: RememberedVisits = RememberedVisits()

    def to_json(self) -> dict[str, Any]:
        """Return the object as it is written."""
        content = super().to_json()
        if self.measured:
            content |= {
                "lesions": [dict(row) for row in self.measured.lesions],
                "products": list(self.measured.products),
            }
            if self.measured.candidates is not None:
                content["candidates"] = [dict(row) for row in self.measured.candidates]
        return content | {"carried": self.remembered.to_json()}

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Read an object that `to_json` gave."""
        measured = None
        if "lesions" in content:
            listed = content.get("candidates")
            measured = MeasuredVisit(
                lesions=tuple(content["lesions"]),
                products=tuple(content["products"]),
                candidates=None if listed is None else tuple(listed),
            )
        return cls(
            status=content["status"],
            reason=content["reason"],
            message=content["message"],
            measured=measured,
            remembered=RememberedVisits.from_carried(content.get("carried", {})),
        )
