"""Leave one patient out: what each network of enhancing lesions was trained on."""

import json
from pathlib import Path

import pytest

from training import gel_scans


def is_of(patient: str, path: Path) -> bool:
    """Whether a scan is of a patient; those of open_ms lie in a folder of the patient."""
    return patient in path.parts


@pytest.mark.parametrize("held_out", gel_scans.PATIENTS)
def test_fold_reads_nothing_of_the_patient_it_leaves_out(held_out: str) -> None:
    patients = gel_scans.training_patients(held_out)
    files = [path for patient in patients for path in gel_scans.scan_files(patient).values()]
    names = {(path.parent.name, path.name) for path in files}
    expected = {
        "patient07": {("patient07", f"{c}_space-MNI.nii.gz") for c in ("T1", "T1POST", "FLAIR", "T2")},
        "patient26": {("patient26", f"{c}_space-MNI.nii.gz") for c in ("T1", "T1POST", "FLAIR", "T2")},
        "TCGA-DU-7294": {
            ("TCGA-DU-7294", f"TCGA-DU-7294_hdbet_native_{c}.nii.gz") for c in ("t1", "t1c", "fla", "t2")
        },
    }
    del expected[held_out]
    expected |= {
        folder: {(folder, f"{c}.nii.gz") for c in ("study1_T1W", "study2_T1W", "study1_FLAIR", "study1_T2W")}
        for folder in ("patient01", "patient12")
    }
    assert names == set.union(*expected.values())
    assert not any(is_of(held_out, path) for path in files)


def test_shipped_model_is_trained_on_all() -> None:
    assert gel_scans.training_patients(None) == (*gel_scans.PATIENTS, *gel_scans.SCANNED_TWICE)


@pytest.mark.parametrize("held_out", gel_scans.PATIENTS)
def test_committed_fold_model_was_trained_on_these_files(repository: Path, held_out: str) -> None:
    folder = repository / "benchmarks" / "models"
    recorded = json.loads((folder / "gel_calibration.json").read_text())["trained_on"]
    files = [
        f"{path.parent.name}/{path.name}"
        for patient in gel_scans.training_patients(held_out)
        for path in gel_scans.scan_files(patient).values()
    ]
    assert recorded[f"gel_without_{held_out}"] == sorted(files)
    assert (folder / f"gel_without_{held_out}.onnx").stat().st_size < 1_000_000
