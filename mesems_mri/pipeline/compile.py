"""Products that span visits: ledger of a participant, tables of the study, data-set description."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mesems_mri import __version__
from mesems_mri.config import Period
from mesems_mri.dataset.bids import BIDSIGNORE, natural_key
from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    VISIT_METRICS_COLUMNS,
)
from mesems_mri.dataset.counts import participant_endpoints
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.visit import VisitSummary
from mesems_mri.dataset.tables import write_dictionary, write_table
from mesems_mri.files import read_json, write_json, write_text


def compile_ledger(layout: Layout, participant_id: str, records: Sequence[Path]) -> None:
    """Write the lesion ledger of a participant and the record of the anchor visit.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    participant_id : str
        With its prefix.
    records : sequence of Path
        Visit records in order of time; earlier rows of the ledger never change when one is appended.
    """
    visits = [VisitSummary.from_json(read_json(path)) for path in records]
    rows = [row for visit in visits for row in visit.lesions]
    write_table(layout.ledger(participant_id), LEDGER_COLUMNS, rows)
    anchors = [visit.anchor.public() for visit in visits if visit.anchor]
    write_json(layout.anchor(participant_id), anchors[0] if anchors else {"session_id": None})


def compile_metrics(layout: Layout, periods: Mapping[str, Period]) -> None:
    """Write the tables of the study from the records of all visits that are there.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.
    periods : mapping of str to Period
        Periods of the endpoints by name.
    """
    paths = sorted(
        layout.out_dir.glob("sub-*/ses-*/*_metrics.json"),
        key=lambda path: natural_key(path.parent.parent.name),
    )
    visits = [VisitSummary.from_json(read_json(path)) for path in paths]
    # Within a participant the order is that of time, which the record knows and the label may not.
    visits.sort(key=lambda visit: (natural_key(visit.metrics["participant_id"]), visit.visit_index))
    rows = [visit.metrics for visit in visits]
    write_table(layout.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS, rows)
    write_dictionary(layout.out_dir / "visit_metrics.json", VISIT_METRICS_COLUMNS)
    endpoints = participant_endpoints(rows, periods)
    write_table(layout.out_dir / "participant_endpoints.tsv", PARTICIPANT_ENDPOINTS_COLUMNS, endpoints)
    write_dictionary(layout.out_dir / "participant_endpoints.json", PARTICIPANT_ENDPOINTS_COLUMNS)


def describe_dataset(layout: Layout) -> None:
    """Write ``dataset_description.json`` and ``.bidsignore`` of the output folder."""
    write_json(
        layout.out_dir / "dataset_description.json",
        {
            "Name": "Active multiple-sclerosis lesions by mesems-mri",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [
                {
                    "Name": "mesems-mri",
                    "Version": __version__,
                    "Description": "Research software, not a medical device",
                }
            ],
        },
    )
    write_text(layout.out_dir / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")
