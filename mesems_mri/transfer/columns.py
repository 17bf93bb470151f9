"""Columns of the tables of a bundle, the same for the sender and the receiver."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    VISIT_METRICS_COLUMNS,
    Column,
)
from mesems_mri.dataset.reasons import QueryCode

QUERY_COLUMNS: dict[str, Column] = {
    "query_id": Column("Number of the query, never used again"),
    "site_id": VISIT_METRICS_COLUMNS["site_id"],
    "participant_id": Column(
        "Participant label with the prefix sub-; empty when it is not known whose scan it is"
    ),
    "session_id": Column("Session (visit) label with the prefix ses-; empty when it is not known"),
    "code": Column("What it is about", levels={str(code): str(code).replace("_", " ") for code in QueryCode}),
    "what": Column("What is wrong, in words"),
    "action": Column("What the site should do"),
    "blocking": Column("The visit is not evaluated before the query is closed", "boolean"),
    "status": Column(
        "Whether it has been answered",
        levels={"open": "Not answered", "answered": "Answered, not carried out yet", "closed": "Closed"},
    ),
    "opened": Column("Day on which it was opened, ISO 8601"),
    "closed": Column("Day on which it was closed, ISO 8601"),
    "closed_by": Column("Who closed it at the reading centre"),
    "reason": Column("Why it was closed"),
    "submission_id": Column("Submission that it is about"),
}
"""Columns of ``queries.csv``: those of ``queries.tsv`` that say something at the data centre."""


class TextTable(NamedTuple):
    """Table as text.

    Parameters
    ----------
    columns : sequence of str
        Names in order.
    rows : sequence of sequence of str
        Cells in the order of the columns; empty for none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


TABLE_COLUMNS: dict[str, Mapping[str, Column]] = {
    "visit_metrics.csv": VISIT_METRICS_COLUMNS,
    "lesions.csv": LEDGER_COLUMNS,
    "queries.csv": QUERY_COLUMNS,
    "participant_endpoints.csv": PARTICIPANT_ENDPOINTS_COLUMNS,
}
