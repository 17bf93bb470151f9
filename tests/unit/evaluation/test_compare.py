"""Comparison of two output folders made by hand: visits, settings and lesions that differ."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mesems_mri.dataset.columns import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import write_table
from mesems_mri.errors import DatasetError
from mesems_mri.evaluation.compare import compare
from mesems_mri.files import write_json
from mesems_mri.images import nifti
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.report.comparison import format_comparison

VISIT = {"participant_id": "sub-01", "session_id": "ses-1", "t2_contrast": "FLAIR", "t2_evaluable": True}


def write_run(folder: Path, lesions: dict[int, tuple[int, int, int]], **row: object) -> Path:
    """Write an output folder of one visit with cubes of lesions."""
    dseg = np.zeros(SUBJECT_GRID.shape, np.uint8)
    for number, (x, y, z) in lesions.items():
        dseg[x : x + 4, y : y + 4, z : z + 4] = number
    stem = folder / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_"
    nifti.write_labels(f"{stem}space-subject_desc-T2_dseg.nii.gz", dseg, SUBJECT_GRID.affine)
    rows = [
        {"participant_id": "sub-01", "session_id": "ses-1", "lesion_id": n, "focus": "t2", "volume_mm3": 64.0}
        for n in lesions
    ]
    write_table(folder / "sub-01" / "sub-01_lesions.tsv", LEDGER_COLUMNS, rows)
    visits = [VISIT | {"t2_lesion_count": len(lesions)} | row]
    write_table(folder / "visit_metrics.tsv", VISIT_METRICS_COLUMNS, visits)
    anchor = {"subject_to_anchor": np.eye(4).tolist(), "subject_to_mni": np.eye(4).tolist()}
    write_json(folder / "sub-01" / "sub-01_anchor.json", anchor)
    write_json(folder / "provenance.json", {"config": {"focus": {"min_volume_mm3": 14.0}}})
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    first = write_run(root / "first", {1: (90, 110, 90), 2: (60, 100, 80)})
    second = write_run(root / "second", {1: (92, 111, 90)}, software_version="9")
    write_json(second / "provenance.json", {"config": {"focus": {"min_volume_mm3": 30.0}}})
    return first, second


def test_equal_folders(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    comparison = compare(folders[0], tmp_path / "copy")
    assert comparison.equal
    assert "no difference" in format_comparison(comparison)


def test_what_differs_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    comparison = compare(*folders, tmp_path / "page.html")
    assert not comparison.equal
    (difference,) = comparison.differences
    assert (difference.visit, difference.column) == ("sub-01/ses-1", "t2_lesion_count")
    assert (difference.first, difference.second) == ("2", "1")
    (lesion,) = comparison.lesions  # lesion 1 has moved a little, and is the same
    assert (lesion.place, lesion.row["lesion_id"]) == (1, "2")
    assert ("config.focus.min_volume_mm3", "14.0", "30.0") in comparison.settings
    text = format_comparison(comparison)
    assert "no difference" not in text
    assert "only in 1" in text
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Only in 1" in page
    assert "t2_lesion_count" in page


def test_visits_that_only_one_has(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    rows = [VISIT | {"t2_lesion_count": 2}, VISIT | {"session_id": "ses-2"}]
    write_table(tmp_path / "copy" / "visit_metrics.tsv", VISIT_METRICS_COLUMNS, rows)
    comparison = compare(folders[0], tmp_path / "copy")
    assert comparison.only == ([], ["sub-01/ses-2"])
    assert not comparison.equal


def test_other_space_is_said_and_not_compared(folders: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(folders[1], tmp_path / "copy")
    anchor = {"subject_to_anchor": (2 * np.eye(4)).tolist(), "subject_to_mni": np.eye(4).tolist()}
    write_json(tmp_path / "copy" / "sub-01" / "sub-01_anchor.json", anchor)
    comparison = compare(folders[0], tmp_path / "copy")
    assert comparison.unmatched == ["sub-01/ses-1"]
    assert comparison.lesions == []


def test_no_output_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"visit_metrics\.tsv.*finished run") as caught:
        compare(tmp_path, tmp_path)
    assert caught.value.exit_code == 3
