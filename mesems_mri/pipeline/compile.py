"""Products that span visits: ledger of a participant, data-set description."""

from collections.abc import Sequence
from pathlib import Path

from mesems_mri import __version__
from mesems_mri.dataset.bids import BIDSIGNORE
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import summary_of, write_ledger
from mesems_mri.files import write_json, write_text


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
    visits = [summary_of(layout, path) for path in records]
    write_ledger(layout, participant_id, visits)
    anchors = [visit.anchor.public() for visit in visits if visit.anchor]
    write_json(layout.anchor(participant_id), anchors[0] if anchors else {"session_id": None})


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
