"""Leave patients out: what each network of T2 lesions is trained on, and how it is trained."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from training import t2_scans
from training.t2_scans import FOLDS, PATIENTS, fold_files, fold_of, networks, training_patients


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty file for every scan and mask."""
    monkeypatch.setenv("MESEMS_REAL_DATA", str(tmp_path))
    names = [f"open_ms/cross_sectional/patient{n}/gt_space-MNI.nii.gz" for n in ("01", "07", "26")]
    for patient, name in itertools.product(("07", "26"), ("FLAIR", "T1", "T2", "T1POST")):
        names.append(f"open_ms/cross_sectional/patient{patient}/{name}_space-MNI.nii.gz")
    for patient, name in itertools.product(("P18", "P39"), ("FLAIR", "T1", "MASK")):
        names.append(f"mslesseg/{patient}/T1/{patient}_T1_{name}.nii.gz")
    for patient, name in itertools.product(range(1, 10), ("FLAIR", "lesion", "normal_wmh")):
        names.append(f"ms3seg/patient{patient:02d}/{name}.nii.gz")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def patient_of(path: Path) -> str:
    """Return the patient that a file is of, as the folds name it."""
    if "ms3seg" in path.parts:
        return f"ms3seg{path.parent.name[-2:]}"
    return path.parts[-3] if "mslesseg" in path.parts else path.parent.name


@pytest.mark.parametrize("name", list(FOLDS))
def test_fold_reads_nothing_of_the_patients_it_leaves_out(real: Path, name: str) -> None:
    files = fold_files(networks()[f"t2_fold_{name}"])
    assert all(path.is_file() for path in files if path != t2_scans.shape_file())
    read = {patient_of(path) for path in files}
    assert not read & set(FOLDS[name])
    assert set(training_patients(FOLDS[name])) <= read
    assert "patient01" in read  # its mask shapes lesions


@pytest.mark.parametrize("name", ["t2_fold_a", "t2_fold_b", "t2"])
def test_committed_network_was_trained_on_no_file_of_a_patient_it_leaves_out(
    repository: Path, name: str
) -> None:
    models = repository / "benchmarks" / "models"
    origin = json.loads((models / "t2_trained_on.json").read_text(encoding="utf-8"))[name]
    assert (
        (models if "fold" in name else repository / "mesems_mri" / "models")
        .joinpath(f"{name}.onnx")
        .is_file()
    )
    left_out = networks()[name]
    # a patient of MS3SEG has the folder of another collection's number; its files have other names
    of_ms3seg = {
        file.split("/")[0][-2:] for file in origin if file.endswith(("/FLAIR.nii.gz", "/lesion.nii.gz"))
    }
    assert {p[-2:] for p in training_patients(left_out) if p.startswith("ms3seg")} == of_ms3seg
    of_mslesseg = {file.split("/")[1].split("_")[0] for file in origin if file.startswith("T1/")}
    assert {p for p in training_patients(left_out) if p.startswith("P")} == of_mslesseg
    scans = {file.split("/")[0] for file in origin if file.endswith("/FLAIR_space-MNI.nii.gz")}
    assert {p for p in training_patients(left_out) if p.startswith("patient")} == scans
    masks = {file.split("/")[0] for file in origin if file.endswith("/gt_space-MNI.nii.gz")}
    assert not masks & set(left_out)
    assert len(masks) > 25


def test_every_patient_is_held_out_once_and_the_package_has_seen_all() -> None:
    assert sorted(itertools.chain(*FOLDS.values())) == list(PATIENTS)
    assert len(PATIENTS) == 13
    assert all(patient in networks()[fold_of(patient)] for patient in PATIENTS)
    assert networks()["t2"] == ()
    assert training_patients(()) == PATIENTS


def test_the_two_patients_of_mslesseg_are_never_trained_on_when_one_is_tested() -> None:
    assert fold_of("P18") != fold_of("P39")


def test_shapes_are_unpacked_one_after_another(real: Path) -> None:
    first, second = np.zeros((3, 3, 3), bool), np.ones((2, 2, 2), bool)
    first[1, 1, 1] = first[0, 2, 1] = True
    bits = [np.packbits(first), np.packbits(second)]
    t2_scans.shape_file().parent.mkdir()
    np.savez(
        t2_scans.shape_file(),
        bits=np.concatenate(bits),
        length=[len(b) for b in bits],
        shape=[first.shape, second.shape],
    )
    got = t2_scans.read_shapes()
    np.testing.assert_array_equal(got[0], first)
    np.testing.assert_array_equal(got[1], second)
