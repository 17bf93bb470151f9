"""Leave one patient out: what each network of T2 lesions is trained on."""

from pathlib import Path

import numpy as np
import pytest

from training import t2_inference, t2_scans


@pytest.fixture
def masks_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for patient in ("patient01", "patient07", "patient26"):
        mask = tmp_path / "open_ms" / "cross_sectional" / patient / "gt_space-MNI.nii.gz"
        mask.parent.mkdir(parents=True)
        mask.touch()
    monkeypatch.setenv("MESEMS_REAL_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("held_out", "other"), [("patient07", "patient26"), ("patient26", "patient07")])
def test_fold_reads_nothing_of_the_patient_it_leaves_out(
    masks_of_three: Path, held_out: str, other: str
) -> None:
    files = t2_scans.fold_files(held_out)
    assert {path.parent.name for path in files} == {"patient01", other}
    assert {path.name for path in files if path.parent.name == other} == {
        f"{name}_space-MNI.nii.gz" for name in ("FLAIR", "T1", "T2", "gt")
    }


def test_drawn_brains_have_lesions_of_neither(masks_of_three: Path) -> None:
    assert [path.parent.name for path in t2_scans.mask_files(without=t2_scans.PATIENTS)] == ["patient01"]


def test_missing_contrast_is_zero_and_so_is_all_outside_the_brain() -> None:
    brain = np.zeros((4, 4, 4), bool)
    brain[1:3, 1:3, 1:3] = True
    flair = np.full(brain.shape, 5.0, np.float32)
    stack = t2_inference.prepare({"FLAIR": flair, "ce-gadolinium_T1w": flair}, brain)
    assert stack.shape == (3, 4, 4, 4)
    np.testing.assert_array_equal(stack[0], np.where(brain, 3.0, 0.0))
    assert not stack[1:].any()
