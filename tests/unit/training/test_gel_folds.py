"""Leave one patient out: what each network of enhancing lesions was trained on; and the frozen benchmark."""

import ast
import hashlib
import json
from pathlib import Path

import pytest

from training import gel_scans

FROZEN = {
    "implant_lesions": "a4b192f19d27b97c84c6fd7414062d8aacaed5708bd9d2ff046bb11090d17066",
    "_draw": "0cb1214f2331364df169773fc13d01950a2963e28971bb50f254464e0b48bb9e",
}
"""SHA-256 of the source of the benchmark's generator of implants, before any detector was tuned with it."""


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
    assert names == set.union(*expected.values())
    assert not any(is_of(held_out, path) for path in files)


def test_shipped_model_is_trained_on_all_three() -> None:
    assert gel_scans.training_patients(None) == gel_scans.PATIENTS


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


@pytest.mark.parametrize("function", FROZEN)
def test_generator_of_the_benchmark_is_frozen(repository: Path, function: str) -> None:
    text = (repository / "benchmarks" / "accuracy_gel.py").read_text()
    (node,) = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function]
    source = ast.get_source_segment(text, node)
    assert source is not None
    assert hashlib.sha256(source.encode()).hexdigest() == FROZEN[function]


def test_training_knows_nothing_of_the_benchmarks(repository: Path) -> None:
    for path in (repository / "training").glob("gel*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any("benchmark" in name or "accuracy" in name for name in names), path.name
