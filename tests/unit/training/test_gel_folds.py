"""Leave one patient out: what each network of enhancing lesions was trained on."""

import json
from pathlib import Path

import pytest

from training import gel_scans

EXPECTED = {
    "patient07": {("patient07", f"{c}_space-MNI.nii.gz") for c in ("T1", "T1POST", "FLAIR", "T2")},
    "patient26": {("patient26", f"{c}_space-MNI.nii.gz") for c in ("T1", "T1POST", "FLAIR", "T2")},
    "TCGA-DU-7294": {
        ("TCGA-DU-7294", f"TCGA-DU-7294_hdbet_native_{c}.nii.gz") for c in ("t1", "t1c", "fla", "t2")
    },
    **{
        f"sub-{number}": {
            (f"patient{number}", name)
            for name in (
                "study1_T1W.nii.gz",
                "study2_T1W.nii.gz",
                "study1_FLAIR.nii.gz",
                "study1_T2W.nii.gz",
                "study1_FLAIR_to_common_space.txt",
                "study2_FLAIR_to_common_space.txt",
                "study1_T1W_intrastudy_to_FLAIR.txt",
                "study2_T1W_intrastudy_to_FLAIR.txt",
                "study1_T2W_intrastudy_to_FLAIR.txt",
            )
        }
        for number in ("01", "12")
    },
    **{
        f"ms3seg{number:02d}": {(f"patient{number:02d}", f"{c}.nii.gz") for c in ("T1w", "FLAIR", "T2w")}
        for number in range(1, 6)
    },
}
"""Folder and name of every file that is read of a patient."""


def test_each_measured_patient_is_held_out_by_one_fold() -> None:
    left_out = [patient for fold in gel_scans.FOLDS.values() for patient in fold]
    assert sorted(left_out) == sorted((*gel_scans.ENHANCED, *gel_scans.READ_TWICE))
    assert sorted(EXPECTED) == sorted(gel_scans.PATIENTS)
    # each fold is measured on a pair that was acquired with contrast medium
    for fold in gel_scans.FOLDS.values():
        assert len(set(fold) & set(gel_scans.ENHANCED)) == 1


@pytest.mark.parametrize("network", gel_scans.networks())
def test_fold_reads_nothing_of_the_patients_it_leaves_out(network: str) -> None:
    left_out = gel_scans.networks()[network]
    files = gel_scans.patient_files(gel_scans.training_patients(network))
    names = {(path.parent.name, path.name) for path in files}
    assert names == set().union(*(files for patient, files in EXPECTED.items() if patient not in left_out))
    for patient in left_out:
        assert not set(gel_scans.patient_files([patient])) & set(files)


def test_shipped_model_is_trained_on_all() -> None:
    assert gel_scans.training_patients("gel") == gel_scans.PATIENTS


@pytest.mark.parametrize("network", gel_scans.networks())
def test_committed_model_was_trained_on_these_files(repository: Path, network: str) -> None:
    folder = repository / "benchmarks" / "models"
    recorded = json.loads((folder / "gel_calibration.json").read_text())["trained_on"]
    files = gel_scans.patient_files(gel_scans.training_patients(network))
    assert recorded[network] == [f"{path.parent.name}/{path.name}" for path in files]
    if network != "gel":
        assert (folder / f"{network}.onnx").stat().st_size < 1_000_000
