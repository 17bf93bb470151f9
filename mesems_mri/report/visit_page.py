"""Sections of the page of a visit."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.report.history import MIN_VISITS, HistoryRow
from mesems_mri.report.pictures import Pictures
from mesems_mri.report.viewers import ViewerCommand
from mesems_mri.report.words import CAUSE_WORDS, KIND_WORDS, QUALITY_WORDS, REFERENCES

SHOWN_STATUS = ("new", "enlarging")
"""T2 lesions that the gallery shows, beside all enhancing ones."""

COUNT_LINES: tuple[tuple[str, str, str, str], ...] = (
    ("gel_count", "Gadolinium-enhancing lesions", "gel", ""),
    ("gel_new_count", "… new", "gel", ""),
    ("gel_persistent_count", "… persistent", "gel", ""),
    ("gel_re_enhancing_count", "… re-enhancing", "gel", ""),
    ("gel_volume_mm3", "Volume of enhancing lesions", "gel", "mm³"),
    ("t2_new_count", "New T2 lesions", "t2_change", ""),
    ("t2_new_volume_mm3", "Volume of new T2 lesions", "t2_change", "mm³"),
    ("t2_enlarging_count", "Enlarging T2 lesions", "t2_change", ""),
    ("t2_enlarging_volume_mm3", "Volume of their growth", "t2_change", "mm³"),
    ("cua_count", "Combined unique active lesions", "cua", ""),
    ("t2_lesion_count", "T2 lesions", "t2", ""),
    ("t2_lesion_volume_mm3", "T2-lesion volume", "t2", "mm³"),
    ("black_hole_volume_mm3", "Black-hole volume", "black_hole", "mm³"),
    ("brain_volume_mm3", "Brain volume (mask)", "brain", "mm³"),
)
"""Lines of the table: column, words, the part whose ``*_evaluable`` and ``*_reason`` hold, unit."""

_TILES = ("gel_count", "t2_new_count", "t2_enlarging_count", "cua_count", "t2_lesion_volume_mm3")


@dataclass(frozen=True, kw_only=True)
class VisitPage:
    """Contents of the page of a visit.

    Parameters
    ----------
    record : VisitRecord
        The record of the visit (``sub-X_ses-Y_metrics.json``).
    pictures : Pictures
    history : sequence of HistoryRow
        Quality beside that of the site's earlier visits.
    settings : TrialConfig or None
        Rules that the methods text names; it names none without.
    commands : sequence of ViewerCommand
    downloads : mapping of str to str
        Text files that the page carries, by name.
    """

    record: VisitRecord
    pictures: Pictures = field(default_factory=Pictures)
    history: Sequence[HistoryRow] = ()
    settings: TrialConfig | None = None
    commands: Sequence[ViewerCommand] = ()
    downloads: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The visit's row of ``visit_metrics.tsv``."""
        return self.record.metrics


def is_shown(row: Mapping[str, Any]) -> bool:
    """Return whether the gallery shows a focus."""
    return row["focus"] == "gel" or row["t2_status"] in SHOWN_STATUS


def count_line(metrics: Mapping[str, Any], column: str, words: str, part: str, unit: str) -> dict[str, Any]:
    """Return a line of the table of counts: not evaluable, zero and not applicable are three things."""
    return {
        "column": column,
        "words": words,
        "unit": unit,
        "evaluable": metrics[f"{part}_evaluable"],
        "reason": metrics[f"{part}_reason"],
        "value": metrics[column],
        "volume": column.endswith("_mm3"),
    }


def summary(page: VisitPage) -> Mapping[str, Any]:
    """List the counts, with the reasons of those that are empty."""
    lines = [count_line(page.metrics, *line) for line in COUNT_LINES]
    return {
        "metrics": page.metrics,
        "message": page.record.message,
        "status": page.record.status,
        "given": page.record.lesions_from == "masks",
        "lines": lines,
        "tiles": [line for line in lines if line["column"] in _TILES],
        "reasons": list(dict.fromkeys(line["reason"] for line in lines if line["reason"])),
        "flags": [flag for flag in page.metrics["qc_flags"].split(";") if flag],
    }


def problems(page: VisitPage) -> Mapping[str, Any] | None:
    """Show the original images of a visit that could not be analysed."""
    return {"rows": page.pictures.sent} if page.pictures.sent else None


def gallery(page: VisitPage) -> Mapping[str, Any]:
    """Show every new, enlarging and enhancing lesion."""
    return {
        "foci": page.pictures.gallery,
        "metrics": page.metrics,
        "complete": page.metrics["gel_evaluable"] and page.metrics["t2_change_evaluable"],
    }


def overview(page: VisitPage) -> Mapping[str, Any] | None:
    """Show slices through the brain with all outlines."""
    return {"rows": page.pictures.overviews} if page.pictures.overviews else None


def lesions(page: VisitPage) -> Mapping[str, Any] | None:
    """List all foci of the visit as a table."""
    rows, rejected = page.record.lesions, page.record.gel_rejected
    if not rows and not rejected:
        return None
    return {
        "rows": [(row, is_shown(row)) for row in rows],
        "participant": page.metrics["participant_id"],
        "rejected": rejected,
        "causes": Counter(candidate.cause for candidate in rejected).most_common(),
        "cause_words": CAUSE_WORDS,
    }


def candidates(page: VisitPage) -> Mapping[str, Any] | None:
    """List what a reader is offered: foci that count nowhere, with their pictures, behind a switch."""
    rows = page.record.candidates
    if rows is None:
        return None
    pictured = {pictures.row["candidate_id"] for pictures in page.pictures.candidates}
    return {
        "rows": [(row, row["candidate_id"] in pictured) for row in rows],
        "pictures": page.pictures.candidates,
        "settings": page.settings,
        "kinds": KIND_WORDS,
        "evaluable": [
            KIND_WORDS[kind]
            for kind, part in (("t2", "t2"), ("change", "t2_change"), ("gel", "gel"))
            if page.metrics[f"{part}_evaluable"]
        ],
        "cause_words": CAUSE_WORDS,
        "stem": f"{page.metrics['participant_id']}_{page.metrics['session_id']}",
    }


def registration(page: VisitPage) -> Mapping[str, Any] | None:
    """Show reference and this visit, and every contrast, on one grid."""
    if not page.pictures.registration:
        return None
    return {"rows": page.pictures.registration, "texts": page.record.registration}


def quality(page: VisitPage) -> Mapping[str, Any] | None:
    """List state and quality of every image, beside the site's earlier visits."""
    if not page.record.images:
        return None
    return {
        "images": page.record.images,
        "done": page.record.status == "done",
        "history": page.history,
        "measures": QUALITY_WORDS,
        "site": page.metrics["site_id"],
        "min_visits": MIN_VISITS,
    }


def viewers(page: VisitPage) -> Mapping[str, Any] | None:
    """List the commands that open the visit in ITK-SNAP and 3D Slicer."""
    if not page.commands:
        return None
    downloads = {
        name: "data:text/plain;base64," + base64.b64encode(text.encode()).decode("ascii")
        for name, text in page.downloads.items()
    }
    return {"commands": page.commands, "downloads": downloads}


def methods(page: VisitPage) -> Mapping[str, Any]:
    """Describe the methods, with the thresholds of this run and references."""
    given = page.record.lesions_from == "masks"
    return {"given": given, "settings": page.settings, "references": REFERENCES, "metrics": page.metrics}


def provenance(page: VisitPage) -> Mapping[str, Any]:
    """List versions, configuration and sources; no time, path or machine."""
    sources = [image.source for image in page.record.images.values() if image.source]
    anchor = page.record.anchor
    return {
        "versions": page.record.versions,
        "metrics": page.metrics,
        "sources": sources,
        "anchor": anchor,
    }
