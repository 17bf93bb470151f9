"""The report as one list of sections: page, heading, and the function that builds each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mesems_mri.report import (
    comparison,
    participant_page,
    receipt_page,
    site_page,
    study_page,
    visit_page,
)

PageKind = Literal["visit", "participant", "study", "comparison", "receipt", "site"]


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Parameters
    ----------
    page : str
        The page it stands on.
    key : str
        Its anchor, and its template: ``templates/{page}/{key}.html``.
    title : str
        Its heading.
    build : callable
        Takes the contents of the page and returns the context of the template; None leaves the section out.
    """

    page: PageKind
    key: str
    title: str
    build: Callable[[Any], Mapping[str, Any] | None]


SECTIONS: tuple[Section, ...] = (
    Section("visit", "summary", "Counts and volumes", visit_page.summary),
    Section("visit", "problems", "Original images", visit_page.problems),
    Section("visit", "gallery", "New, enlarging and enhancing lesions", visit_page.gallery),
    Section("visit", "candidates", "Candidates, not counted", visit_page.candidates),
    Section("visit", "overview", "Overview", visit_page.overview),
    Section("visit", "lesions", "All lesions", visit_page.lesions),
    Section("visit", "registration", "Registration check", visit_page.registration),
    Section("visit", "quality", "Images and their quality", visit_page.quality),
    Section("visit", "viewers", "Viewers", visit_page.viewers),
    Section("visit", "methods", "Methods", visit_page.methods),
    Section("visit", "provenance", "Provenance", visit_page.provenance),
    Section("participant", "visits", "Visits", participant_page.visits),
    Section("participant", "timeline", "Active lesions over time", participant_page.timeline),
    Section("participant", "curves", "Counts and volumes over time", participant_page.curves),
    Section("participant", "ledger", "All lesions over time", participant_page.ledger),
    Section("study", "totals", "At a glance", study_page.totals),
    Section("study", "grid", "Participants and visits", study_page.grid),
    Section("study", "gaps", "Gaps and failures", study_page.gaps),
    Section("study", "curves", "Over the weeks", study_page.curves),
    Section("study", "endpoints", "Endpoints", study_page.endpoints),
    Section("study", "sites", "Sites", study_page.sites),
    Section("study", "visits", "All visits", study_page.visits),
    Section("study", "runtime", "Runtime", study_page.runtime),
    Section("comparison", "settings", "Versions and configurations", comparison.settings),
    Section("comparison", "visits", "Visits that differ", comparison.visits),
    Section("comparison", "lesions", "Lesions of one run only", comparison.lesions),
    Section("receipt", "summary", "Outcome", receipt_page.summary),
    Section("receipt", "queries", "Queries", receipt_page.queries),
    Section("receipt", "identity", "Participant and visit", receipt_page.identity),
    Section("receipt", "series", "Series received", receipt_page.series),
    Section("receipt", "protocol", "Protocol compliance", receipt_page.protocol),
    Section("receipt", "pictures", "Images", receipt_page.pictures),
    Section("receipt", "notes", "Notes", receipt_page.notes),
    Section("site", "qualification", "Qualification", site_page.qualification),
    Section("site", "queries", "Open queries", site_page.queries),
    Section("site", "compliance", "To protocol, item by item", site_page.compliance),
    Section("site", "deviations", "What was not to protocol", site_page.deviations),
    Section("site", "quality", "Image quality over time", site_page.quality),
    Section("site", "equipment", "Scanners and software over time", site_page.equipment),
    Section("site", "turnaround", "Turnaround", site_page.turnaround),
    Section("site", "submissions", "All submissions", site_page.submissions),
)
"""Every section of the report, in the order in which it stands on its page."""


def sections_of(page: PageKind) -> list[Section]:
    """Return the sections of a page in order."""
    return [section for section in SECTIONS if section.page == page]
