"""The arranged truth lies where the scans changed, and the score has teeth on real lesion shapes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from scipy import ndimage

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.evaluation.evaluate import evaluate
from tests.real.arrange import LONGITUDINAL, arrange_mslesseg, arrange_open_ms, rising_components

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def arranged(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("open ms")
    arrange_open_ms(real_data / "open_ms", folder / "bids", folder / "truth")
    return folder


def read(path):
    image = Nifti1Image.from_filename(path)
    return np.asanyarray(image.dataobj), np.asarray(image.affine)


def change_masks(truth_dir, patient):
    anat = truth_dir / f"sub-{patient}/ses-2/anat"
    stem = f"sub-{patient}_ses-2_space-orig_label-L_desc-"
    return [read(anat / f"{stem}{desc}_mask.nii.gz")[0] > 0 for desc in ("change", "ignore")]


def as_output(truth_dir: Path, out_dir: Path, move=lambda mask, affine: mask):
    """Copy the truth as if it were an output, each mask moved; all change is called new."""
    shutil.copytree(truth_dir, out_dir)
    for path in sorted(out_dir.rglob("*_mask.nii.gz")):
        mask, affine = read(path)
        moved = move(mask, affine).astype(np.uint8)
        Nifti1Image(moved, affine).to_filename(path)
        if "desc-change" in path.name:
            for desc, content in (("new", moved), ("enlarging", np.zeros_like(moved))):
                other = path.with_name(path.name.replace("desc-change", f"desc-{desc}"))
                Nifti1Image(content, affine).to_filename(other)
    return out_dir


def test_dataset_is_read_with_its_intervals(arranged):
    participants = index_dataset(arranged / "bids", TrialConfig())
    assert [p.participant_id for p in participants] == ["sub-01", "sub-07", "sub-12", "sub-26"]
    days = {}
    for participant in participants:
        assert all({"FLAIR", "T1w", "T2w"} <= session.images.keys() for session in participant.sessions)
        first, last = participant.sessions[0].acquired, participant.sessions[-1].acquired
        assert first is not None
        assert last is not None
        days[participant.participant_id] = (last - first).days
    assert days == {"sub-01": 203, "sub-07": 0, "sub-12": 81, "sub-26": 0}
    assert "edss" not in (arranged / "bids/participants.tsv").read_text(encoding="utf-8")


@pytest.mark.parametrize("patient", LONGITUDINAL)
def test_change_masks_keep_every_component_and_its_volume(arranged, real_data, patient):
    gt, affine = read(real_data / f"open_ms/longitudinal/patient{patient}/gt.nii.gz")
    flair_path = real_data / f"open_ms/longitudinal/patient{patient}/study2_FLAIR.nii.gz"
    flair, native_affine = read(flair_path)
    change, ignore = change_masks(arranged / "truth", patient)
    assert change.shape == flair.shape
    assert not (change & ignore).any()
    dseg = np.zeros(change.shape, dtype=np.int32)
    ndimage.label(change, structure=np.ones((3, 3, 3)), output=dseg)
    assert dseg.max() == len(rising_components(patient))
    volume = (gt > 0).sum() * abs(np.linalg.det(affine[:3, :3]))
    native = (change | ignore).sum() * abs(np.linalg.det(native_affine[:3, :3]))
    assert native == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize("patient", LONGITUDINAL)
def test_follow_up_is_bright_where_the_truth_is(arranged, real_data, patient):
    """A transform applied the wrong way round, or in RAS for LPS, moves the masks by 5 mm and more."""
    flair, _ = read(real_data / f"open_ms/longitudinal/patient{patient}/study2_FLAIR.nii.gz")
    change, ignore = change_masks(arranged / "truth", patient)
    plane = np.ones((3, 3, 1), dtype=bool)

    def brightness(mask):
        known = np.asarray(ndimage.binary_dilation(mask | ignore, plane, iterations=2), dtype=bool)
        ring = np.asarray(ndimage.binary_dilation(mask, plane, iterations=5), dtype=bool) & ~known
        return flair[mask].mean() / flair[ring].mean()

    here = brightness(change)
    assert here > 1.15
    for axis, voxels in ((0, 8), (0, -8), (1, 8), (1, -8), (2, 2), (2, -2)):
        assert brightness(np.roll(change, voxels, axis)) < here - 0.1


def test_truth_as_output_is_perfect(arranged, tmp_path):
    evaluation = evaluate(as_output(arranged / "truth", tmp_path / "out"), arranged / "truth")
    assert [score.name for score in evaluation.products] == ["t2_lesions", "t2_change", "gel"]
    assert evaluation.f1("t2_lesions") == evaluation.f1("t2_change") == 1.0
    assert evaluation.f1("gel") is None  # nothing enhances, nothing found: not defined, and not 1
    assert all(count.errors == (0, 0) for count in evaluation.counts)


def test_truth_shifted_by_6_mm_scores_near_zero(arranged, tmp_path):
    def shift(mask, affine):
        return np.roll(mask, round(6 / np.linalg.norm(affine[:3, 0])), axis=0)

    evaluation = evaluate(as_output(arranged / "truth", tmp_path / "out", shift), arranged / "truth")
    for product in ("t2_lesions", "t2_change"):
        score = evaluation.f1(product)
        assert score is not None
        assert score < 0.15


def test_mslesseg_truth_is_on_its_grid(real_data, tmp_path):
    arrange_mslesseg(real_data / "mslesseg", tmp_path / "bids", tmp_path / "truth")
    evaluation = evaluate(as_output(tmp_path / "truth", tmp_path / "out"), tmp_path / "truth")
    (score,) = evaluation.products
    assert (score.name, score.pooled.overall.truth, score.pooled.overall.f1) == ("t2_lesions", 32, 1.0)
