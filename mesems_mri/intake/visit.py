"""An examination under assessment: its visit, its series, what is queried about it, and its images."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from mesems_mri.dataset.queries import Query, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.schedule import SheetRow
from mesems_mri.intake.classify import IMAGE_ROLES, ClassifiedSeries
from mesems_mri.intake.compliance import ProtocolItem
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.dicom.geometry import Fault
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.identify import Examination, IdentityProblem

_QUOTED = re.compile(r"'([^']*)'")


class SeriesStatus(StrEnum):
    """Closed list of what becomes of a series: the column ``status`` of ``series.tsv``."""

    FILED = "filed"
    UNCHANGED = "unchanged"
    QUARANTINED = "set_aside"
    REPLACED = "replaced"
    DUPLICATE = "duplicate"
    NOT_USED = "not_used"
    QUERY = "query"
    BLOCKED = "held"
    FAILED = "failed"


STATUS_WORDS = {
    SeriesStatus.FILED: "an image of the BIDS folder",
    SeriesStatus.UNCHANGED: "an image of the BIDS folder already",
    SeriesStatus.QUARANTINED: "kept in sourcedata/intake, as another image of the visit was filed before",
    SeriesStatus.REPLACED: "kept in sourcedata/intake, as a later submission replaced it",
    SeriesStatus.DUPLICATE: "sent before, and its image is there, or another one took its place",
    SeriesStatus.NOT_USED: "no image of the protocol, or another series was taken",
    SeriesStatus.QUERY: "waits for an answer of the site",
    SeriesStatus.BLOCKED: "not filed before the participant and the visit are known",
    SeriesStatus.FAILED: "could not be converted",
}
"""Each status in words, for the receipt."""
WITH_IMAGE = (SeriesStatus.FILED, SeriesStatus.QUARANTINED, SeriesStatus.REPLACED)
"""Statuses of a series whose image is in the BIDS folder."""


@dataclass(eq=False)
class AssessedVisit:
    """An examination under assessment, with the status of its series.

    Parameters
    ----------
    examination : Examination
        The series.
    row : SheetRow or None
        The visit of the schedule; None when the participant is unknown.
    session_known : bool
        False when only the participant is known.
    submission_id : str
        Name of the examination, the same whenever it is sent.
    deidentifier : Deidentifier
        Of the participant; a common one when the participant is unknown.
    identity_problems : list of IdentityProblem
        Findings about participant and visit.
    classified : list of ClassifiedSeries
        Role of each series.
    faults : dict of Series to list of Fault
    protocol_items : dict of str to list of ProtocolItem
        Items of the protocol by role.
    queries : list of Query
    status : dict of Series to SeriesStatus
        Status of each series.
    images : dict of str to str
        By role, the image in the BIDS folder.
    voxels : dict of Series to str
        Hash of the voxels of each image that was made.
    birth_hash : str
        Keyed hash of the birth date in the headers; empty when there is none.
    birth_compared : bool
        True if an earlier visit of the same submission has a birth date to compare it with.
    notes : list of str
        Further sentences of the receipt.
    answer_failures : dict of str to str
        By number of a query, why its answer cannot be carried out.
    """

    examination: Examination
    row: SheetRow | None
    session_known: bool
    submission_id: str
    deidentifier: Deidentifier
    identity_problems: list[IdentityProblem] = field(default_factory=list)
    classified: list[ClassifiedSeries] = field(default_factory=list)
    faults: dict[Series, list[Fault]] = field(default_factory=dict)
    protocol_items: dict[str, list[ProtocolItem]] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    status: dict[Series, SeriesStatus] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    voxels: dict[Series, str] = field(default_factory=dict)
    birth_hash: str = ""
    birth_compared: bool = False
    notes: list[str] = field(default_factory=list)
    answer_failures: dict[str, str] = field(default_factory=dict)

    @property
    def participant_id(self) -> str:
        """Participant, empty when not known."""
        return self.row.participant_id if self.row else ""

    @property
    def session_id(self) -> str:
        """Visit, empty when not known."""
        return self.row.session_id if self.row and self.session_known else ""

    @property
    def name(self) -> str:
        """Participant and visit as messages name them."""
        return "/".join(part for part in (self.participant_id, self.session_id) if part) or "unknown"

    def add_query(
        self,
        code: QueryCode,
        words: str = "",
        *,
        role: str = "",
        about: Sequence[Series] = (),
        detail: tuple[object, ...] = (),
        blocking: bool | None = None,
        action: str = "",
    ) -> None:
        """Add a query to the site; series that it is about come first in its detail."""
        ids = dict.fromkeys(self.series_id(series) for series in about)
        images = [self.image_id(series) for series in about]
        query = self.query_factory()(
            code,
            words=words,
            role=role,
            detail=(*images, *detail),
            series_id=",".join(ids),
            blocking=blocking,
            action=action,
        )
        self.queries.append(query)

    def query_factory(self) -> Callable[..., Query]:
        """Return `new_query` with participant and visit filled in."""
        site = self.row.site_id if self.row else ""
        return partial(
            new_query,
            site_id=site,
            participant_id=self.participant_id,
            session_id=self.session_id,
            submission_id=self.submission_id,
        )

    def series_id(self, series: Series) -> str:
        """Return the pseudonymised UID of a series, as in ``series.tsv``."""
        return self.deidentifier.uid(series.series_uid)

    def image_id(self, series: Series) -> str:
        """Return the ``series_id``, with the number of the image where it is not the first of its series."""
        images = [one for one in self.examination.series if one.series_uid == series.series_uid]
        at = images.index(series)
        return self.series_id(series) + (f"#{at + 1}" if at else "")

    def series_name(self, series: Series) -> str:
        """Return the number and the de-identified name of a series, for messages."""
        name = self.deidentifier.words(series.description)
        part = f", {self.deidentified(series.part)}" if series.part else ""
        return f"series {series.series_number} ({name or 'no name'}{part})"

    def deidentified(self, reason: str) -> str:
        """De-identify a reason: values of the header in quotes are reduced to allow-listed words."""
        clean = self.deidentifier
        return clean.scrub(_QUOTED.sub(lambda m: f"'{clean.words(m[1]) or clean.code(m[1])}'", reason))

    def selected_series(self) -> dict[str, ClassifiedSeries]:
        """Return the series that was given each image role."""
        return {one.role: one for one in self.classified if one.role in IMAGE_ROLES}
