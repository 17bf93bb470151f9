"""Tables and descriptions of the simulated data set and of its reference standard."""

import datetime as dt
from pathlib import Path
from typing import Any

from mesems_mri import __version__
from mesems_mri.dataset.bids import BIDSIGNORE, natural_key
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.tables import write_dictionary, write_table
from mesems_mri.files import write_json, write_text
from mesems_mri.simulate.defects import REFUSED_TABLE
from mesems_mri.simulate.sites import Site
from mesems_mri.simulate.tissue import ContrastAgent

STANDARD_DOSE_MMOL_KG = 0.1


def scan_sidecar(
    site: Site, contrast: str, slice_thickness_mm: float, agent: ContrastAgent | None = None
) -> dict[str, Any]:
    """Return the JSON sidecar of a scan, made after the injection of `agent` if one is given."""
    sequence = site.sequence(contrast)
    sidecar: dict[str, Any] = {
        "Manufacturer": site.manufacturer,
        "ManufacturersModelName": site.model,
        "MagneticFieldStrength": site.field_t,
        "SoftwareVersions": "simulated",
        "SliceThickness": slice_thickness_mm,
        "RepetitionTime": sequence.repetition_ms / 1000,
        "EchoTime": sequence.echo_ms / 1000,
        "FlipAngle": sequence.flip_angle_deg,
        "BodyPart": "BRAIN",
    }
    if sequence.inversion_ms:
        sidecar["InversionTime"] = sequence.inversion_ms / 1000
    if agent is not None:
        sidecar["ContrastBolusIngredient"] = "GADOLINIUM"
        sidecar["ContrastDoseMmolPerKg"] = round(STANDARD_DOSE_MMOL_KG * agent.dose, 4)
        sidecar["ContrastDelayMinutes"] = round(agent.delay_min, 2)
    return sidecar


def mask_sidecar(desc: str, source: str) -> dict[str, Any]:
    """Return the JSON sidecar of a true mask; ``source`` is the scan relative to the raw data set."""
    return {
        "Description": "Simulated truth",
        "Type": "Brain" if desc == "brain" else "Lesion",
        "SpatialReference": f"bids:raw:{source}",
        "Sources": [f"bids:raw:{source}"],
    }


def write_sessions(folder: Path, visits: list[tuple[str, dt.date, int, str]]) -> None:
    """Write ``sessions.tsv`` of a participant: label, day, week and kind of every visit."""
    lines = ["session_id\tacq_time\tweek\tvisit_type"]
    lines += [f"{label}\t{day.isoformat()}T10:00:00\t{week}\t{kind}" for label, day, week, kind in visits]
    write_text(folder / f"{folder.name}_sessions.tsv", "\n".join(lines) + "\n")


def write_raw_dataset(bids_dir: Path, people: list[list[str]]) -> None:
    """Write the files at the top of the raw data set."""
    write_json(
        bids_dir / "dataset_description.json",
        {
            "Name": "Simulated multiple-sclerosis trial",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": "CC0",
            "Authors": ["mesems-mri simulate"],
            "GeneratedBy": [{"Name": "mesems-mri", "Version": __version__}],
        },
    )
    write_text(
        bids_dir / "README",
        "Simulated brain MRI of a multiple-sclerosis trial, made by `mesems-mri simulate`.\n"
        "Nobody was scanned. The truth (lesion masks, ledger, counts and a list of what is\n"
        "wrong with which visit) is in derivatives/truth.\n"
        "sourcedata/refused holds a table that the program must refuse.\n",
    )
    rows = sorted(people, key=lambda row: natural_key(row[0]))
    lines = ["participant_id\tsite_id\tsex\tage", *("\t".join(row) for row in rows)]
    write_text(bids_dir / "participants.tsv", "\n".join(lines) + "\n")
    # Drawn from the order alone; it stands for a table that a site sends by mistake.
    arms = [f"{line}\t{'AB'[number % 2]}" for number, line in enumerate(lines[1:])]
    write_text(bids_dir / REFUSED_TABLE, "\n".join([f"{lines[0]}\tTreatment Arm", *arms]) + "\n")
    write_json(
        bids_dir / "participants.json",
        {
            "site_id": {"Description": "Imaging site"},
            "sex": {"Description": "Sex", "Levels": {"F": "female", "M": "male"}},
            "age": {"Description": "Age at baseline", "Units": "year"},
        },
    )
    write_json(
        bids_dir / "sessions.json",
        {
            "acq_time": {"Description": "Time of acquisition"},
            "week": {"Description": "Scheduled week", "Units": "week"},
            "visit_type": {
                "Description": "Kind of visit",
                "Levels": {"scheduled": "Planned visit", "unscheduled": "Any other"},
            },
        },
    )


def write_truth_dataset(truth: Layout, visit_rows: list[dict[str, Any]]) -> None:
    """Write the files at the top of the truth."""
    write_json(
        truth.out_dir / "dataset_description.json",
        {
            "Name": "Truth of a simulated multiple-sclerosis trial",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "License": "CC0",
            "Authors": ["mesems-mri simulate"],
            "GeneratedBy": [{"Name": "mesems-mri", "Version": __version__}],
            "DatasetLinks": {"raw": "../.."},
        },
    )
    write_text(truth.out_dir / ".bidsignore", "\n".join([*BIDSIGNORE, "defects.*"]) + "\n")
    write_text(truth.out_dir / "README", "Truth of the simulated trial two folders up.\n")
    write_table(truth.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS, visit_rows)
    write_dictionary(truth.out_dir / "visit_metrics.json", VISIT_METRICS_COLUMNS)
