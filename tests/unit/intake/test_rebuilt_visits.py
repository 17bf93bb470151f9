"""Visits whose series an export has broken, from the submission to BIDS."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from mesems_mri.intake import filing
from tests.unit.intake.scans import uid
from tests.unit.intake.test_flow import ALL_THREE, POST, Trial, name

Change = Callable[[int, Dataset], None]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def changed(sent: Path, change: Change, to: Path) -> Path:
    """Copy a submission with a change of each file, into one folder under names that tell nothing."""
    to.mkdir()
    for number, path in enumerate(sorted(sent.rglob("*.dcm"))):
        dataset = pydicom.dcmread(path)
        change(number, dataset)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(to / f"{(number * 31) % 101:03}")
    return to


def uid_per_slice(_: int, dataset: Dataset) -> None:
    dataset.SeriesInstanceUID = f"1.2.392.200036.9116.4.{dataset.SeriesNumber}.{dataset.InstanceNumber}"


def trigger_per_slice(_: int, dataset: Dataset) -> None:
    dataset.TriggerTime, dataset.Manufacturer = 1000 * dataset.InstanceNumber, "Philips Medical Systems"


def rounded(_: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [round(float(x) * 0.97) for x in dataset.ImagePositionPatient]
    dataset.SpacingBetweenSlices = 9.7


def images(trial: Trial) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for image in trial.images():
        opened = nib.nifti1.Nifti1Image.from_filename(trial.bids / image)  # pyright: ignore[reportAttributeAccessIssue]
        found[image] = (np.asarray(opened.dataobj), np.asarray(opened.affine))
    return found


@pytest.mark.parametrize("change", [uid_per_slice, trigger_per_slice], ids=lambda change: change.__name__)
def test_broken_series_are_filed_as_whole_ones(tmp_path: Path, change: Change) -> None:
    proper, broken = Trial(tmp_path), Trial(tmp_path)
    broken.bids = tmp_path / "broken"
    sent = proper.examination(proper.submission())
    proper.run_intake(sent)
    broken.run_intake(changed(sent, change, tmp_path / "changed"))
    assert broken.images() == sorted(ALL_THREE)
    assert not broken.codes()
    assert [(row["status"], row["part"], row["slices"]) for row in broken.rows()] == [
        ("filed", "n/a", "12")
    ] * 3
    expected = images(proper)
    for image, (voxels, affine) in images(broken).items():
        assert np.array_equal(voxels, expected[image][0])
        assert np.abs(affine - expected[image][1]).max() < 1e-3


def test_a_rebuilt_visit_is_known_again(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    first = changed(sent, uid_per_slice, trial.folder / "first")
    trial.run_intake(first)
    before = trial.bytes()
    again = trial.folder / "again"
    again.mkdir()
    for number, path in enumerate(sorted(first.iterdir(), reverse=True)):
        (again / f"{number % 5}").mkdir(exist_ok=True)
        (again / f"{number % 5}" / f"{number}").write_bytes(path.read_bytes())
    trial.run_intake(again)
    assert trial.bytes() == before


def test_rounded_positions_are_no_query(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(changed(sent, rounded, trial.folder / "changed"))
    assert trial.images() == sorted(ALL_THREE)
    assert not trial.codes()
    for _, affine in images(trial).values():
        assert affine[2, 2] == pytest.approx(9.7, abs=0.06)  # of 12 whole numbers


def test_before_and_after_contrast_agent_in_one_series(trial: Trial) -> None:
    sent = trial.examination(trial.submission())

    def in_one(_: int, dataset: Dataset) -> None:
        if dataset.SeriesNumber == 4:
            dataset.SeriesInstanceUID, dataset.SeriesNumber = uid("series", 1, 3), 3
            dataset.AcquisitionNumber = 2

    trial.run_intake(changed(sent, in_one, trial.folder / "changed"))
    assert trial.images() == sorted(ALL_THREE)
    assert not trial.codes()
    rows = {row["role"]: row for row in trial.rows()}
    assert rows["T1w"]["part"] == "acquisition 1 of 2 (by contrast tags)"
    assert rows[POST]["part"] == "acquisition 2 of 2 (by contrast tags)"
    assert rows["T1w"]["series_id"] == rows[POST]["series_id"]
    assert "Dotarem" not in json.dumps(rows["T1w"])


def test_a_defaced_series_is_not_defaced_again(trial: Trial) -> None:
    sent = trial.submission()
    record: dict[str, Any] = {
        "DeidentificationMethod": "mri_reface 0.3.3",
        "RecognizableVisualFeatures": "NO",
    }
    submission = trial.run_intake(trial.examination(sent, **record), deface=True)
    assert trial.images() == sorted(ALL_THREE)
    sidecar = json.loads((trial.bids / name("FLAIR").replace(".nii.gz", ".json")).read_text())
    assert (sidecar["Defaced"], sidecar["DefacedBy"]) == (True, "mri_reface 0.3.3")
    assert sidecar["RecognizableVisualFeatures"] == "NO"
    assert len(submission.visits[0].notes) == 1
    assert "had been removed before sending" in submission.visits[0].notes[0]
    assert [row["status"] for row in trial.rows()] == ["filed"] * 3
    before = images(trial)
    trial.run_intake(sent, deface=True)
    assert [row["status"] for row in trial.rows()] == ["filed"] * 3
    for image, (voxels, _) in images(trial).items():
        assert np.array_equal(voxels, before[image][0])


def test_only_the_series_without_a_record_is_defaced(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    defaced: list[str] = []

    def deface_files(paths: list[Path]) -> SimpleNamespace:
        defaced.extend(path.name for path in paths)
        return SimpleNamespace(volume_ml=1.0, nearest_brain_mm=6.0)

    monkeypatch.setattr(filing, "deface_files", deface_files)
    sent = trial.submission()
    trial.examination(sent)
    for path in (sent / "b").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.DeidentificationMethod = "pydeface"
        dataset.save_as(path)
    trial.run_intake(sent, deface=True)
    assert sorted(defaced) == sorted(Path(name(role)).name for role in ("FLAIR", POST))
