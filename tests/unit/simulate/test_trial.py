"""The simulated trial as a whole: repeatable, valid BIDS, and truth that agrees with itself."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nilearn import datasets
from scipy import ndimage

from mesems_mri.bids import POSTCONTRAST, index_dataset
from mesems_mri.config import TrialConfig
from mesems_mri.errors import UsageError
from mesems_mri.metrics import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS, read_table
from mesems_mri.simulate.trial import simulate_trial

SESSIONS = ("ses-w00", "ses-w04", "ses-w12")
T2, NEW, ENLARGING = (f"space-orig_label-L_desc-{name}_mask.nii.gz" for name in ("T2", "new", "enlarging"))
GEL = "ce-gadolinium_space-orig_label-L_desc-enhancing_mask.nii.gz"
NEIGHBOURS = np.ones((3, 3, 3))


def mask_path(trial: Path, session: str, name: str) -> Path:
    return trial / f"derivatives/truth/sub-01/{session}/anat/sub-01_{session}_{name}"


def scan_path(trial: Path, session: str, contrast: str) -> Path:
    return trial / f"sub-01/{session}/anat/sub-01_{session}_{contrast}.nii.gz"


def load(path: Path) -> nib.Nifti1Image:
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return image


def voxels(path: Path) -> np.ndarray:
    return np.asanyarray(load(path).dataobj)


def rows_of(trial: Path, session: str) -> list[dict[str, str]]:
    table = trial / "derivatives/truth/sub-01/sub-01_lesions.tsv"
    with table.open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream, delimiter="\t") if row["session_id"] == session]


def visit_of(trial: Path, session: str) -> dict[str, str]:
    table = trial / "derivatives/truth/visit_metrics.tsv"
    with table.open(encoding="utf-8", newline="") as stream:
        return next(row for row in csv.DictReader(stream, delimiter="\t") if row["session_id"] == session)


def test_same_seed_gives_same_bytes_and_later_visits_change_nothing(trial: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    simulate_trial(again, participants=1, sites=1, sessions=("w00", "w04"), seed=3)
    folders = ["sub-01/ses-w00", "sub-01/ses-w04"]
    folders += [f"derivatives/truth/{folder}" for folder in folders]
    compared = 0
    for folder in folders:
        files = sorted(path for path in (again / folder).rglob("*") if path.is_file())
        assert [path.name for path in files] == sorted(
            p.name for p in (trial / folder).rglob("*") if p.is_file()
        )
        for path in files:
            assert path.read_bytes() == (trial / path.relative_to(again)).read_bytes(), path.name
            compared += 1
    assert compared == 2 * (4 + 3) + 2 * (3 + 4)
    for table in ("derivatives/truth/visit_metrics.tsv", "derivatives/truth/sub-01/sub-01_lesions.tsv"):
        assert (trial / table).read_bytes().startswith((again / table).read_bytes())


@pytest.mark.parametrize("part", [".", "derivatives/truth"])
def test_bids_validator_accepts(trial: Path, part: str) -> None:
    program = Path(sys.executable).with_name("bids-validator-deno")
    found = subprocess.run([program, trial / part, "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert found.returncode == 0


def test_program_reads_the_trial_as_planned(trial: Path) -> None:
    (participant,) = index_dataset(trial, TrialConfig())
    assert participant.site_id == "S01"
    by_label = {s.session_id: s for s in participant.sessions if s.images}
    assert [(label, s.week) for label, s in by_label.items()] == [
        ("ses-w00", 0),
        ("ses-w04", 4),
        ("ses-w12", 12),
    ]
    assert [POSTCONTRAST in s.images for s in by_label.values()] == [True, False, True]
    assert all({"T1w", "FLAIR", "T2w"} <= set(s.images) for s in by_label.values())


def test_tables_have_the_columns_of_the_output(trial: Path) -> None:
    truth = trial / "derivatives/truth"
    assert read_table(truth / "sub-01/sub-01_lesions.tsv", LEDGER_COLUMNS)
    assert len(read_table(truth / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)) == 3


def test_truth_masks_have_the_grid_of_their_scan(trial: Path) -> None:
    for session in SESSIONS:
        for name, contrast in ((T2, "FLAIR"), (NEW, "FLAIR"), (ENLARGING, "FLAIR"), (GEL, POSTCONTRAST)):
            path = mask_path(trial, session, name)
            if path.exists():
                mask, scan = load(path), load(scan_path(trial, session, contrast))
                assert mask.shape == scan.shape
                assert np.array_equal(np.asarray(mask.affine), np.asarray(scan.affine))
                assert set(np.unique(mask.dataobj)) <= {0, 1}


def test_what_is_not_evaluable_is_not_written(trial: Path) -> None:
    written = {
        (session, name): mask_path(trial, session, name).exists()
        for session in SESSIONS
        for name in (T2, NEW, ENLARGING, GEL)
    }
    missing = {key for key, exists in written.items() if not exists}
    assert missing == {("ses-w00", NEW), ("ses-w00", ENLARGING), ("ses-w04", GEL)}
    first, second, third = (visit_of(trial, session) for session in SESSIONS)
    assert first["t2_new_count"] == first["cua_count"] == first["gel_new_count"] == ""
    assert (first["t2_change_reason"], first["cua_reason"]) == ("no_reference_visit", "no_reference_visit")
    assert first["gel_count"] != ""
    assert second["gel_count"] == second["gel_volume_mm3"] == second["cua_count"] == ""
    assert (second["gel_reason"], second["cua_reason"]) == ("no_postcontrast", "no_postcontrast")
    assert second["t2_new_count"] != ""
    assert third["gel_prior_evaluable"] == "false"
    assert third["gel_reference_session_id"] == "ses-w00"
    assert third["cua_count"] != ""


@pytest.mark.parametrize("session", SESSIONS)
def test_counts_and_volumes_agree_with_the_masks(trial: Path, session: str) -> None:
    visit = visit_of(trial, session)
    for name, count, volume in (
        (T2, "t2_lesion_count", "t2_lesion_volume_mm3"),
        (NEW, "t2_new_count", "t2_new_volume_mm3"),
        (ENLARGING, "t2_enlarging_count", "t2_enlarging_volume_mm3"),
        (GEL, "gel_count", "gel_volume_mm3"),
    ):
        path = mask_path(trial, session, name)
        if not path.exists():
            assert visit[count] == visit[volume] == ""
            continue
        mask = voxels(path) > 0
        sizes = np.bincount(ndimage.label(mask, NEIGHBOURS)[0].ravel())[1:] * 8.0
        assert len(sizes) == int(visit[count]), name
        assert sizes.sum() == float(visit[volume]), name
        assert (sizes >= 14).all(), name


@pytest.mark.parametrize("session", SESSIONS)
def test_counts_agree_with_the_ledger(trial: Path, session: str) -> None:
    rows, visit = rows_of(trial, session), visit_of(trial, session)
    ids = [int(row["lesion_id"]) for row in rows]
    assert ids == sorted(set(ids))
    gel = [row for row in rows if row["focus"] == "gel"]
    change = [row for row in rows if row["focus"] == "t2" and row["t2_status"] in ("new", "enlarging")]
    if visit["gel_evaluable"] == "true":
        assert int(visit["gel_count"]) == len(gel)
    else:
        assert gel == []
    if visit["cua_evaluable"] == "true":
        fresh = [row for row in gel if row["gd_status"] in ("new", "re_enhancing")]
        parents = {row["parent_lesion_id"] for row in fresh}
        alone = [row for row in change if row["lesion_id"] not in parents]
        assert int(visit["cua_count"]) == len(fresh) + len(alone)
        assert all((row["active"] == "true") == (row in fresh or row in change) for row in rows)


def around(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(mask, NEIGHBOURS, iterations=3) & ~ndimage.binary_dilation(mask)


def test_lesions_lie_in_the_brain(trial: Path) -> None:
    image: Any = datasets.load_mni152_brain_mask(1)
    brain = ndimage.binary_erosion(np.asarray(image.dataobj) > 0, iterations=3)
    for session in SESSIONS:
        centres = np.array([[float(row[axis]) for axis in "xyz"] for row in rows_of(trial, session)])
        index = np.rint(centres - image.affine[:3, 3]).astype(int)
        assert brain[tuple(index.T)].all()


def test_lesion_masks_lie_in_the_brain_mask(trial: Path) -> None:
    for session in SESSIONS:
        brain = voxels(mask_path(trial, session, "space-orig_desc-brain_mask.nii.gz")) > 0
        assert 1.0e6 < brain.sum() * 8 < 2.2e6
        assert brain[voxels(mask_path(trial, session, T2)) > 0].all()


def test_lesions_show_on_the_scans(trial: Path) -> None:
    for session in SESSIONS:
        lesion = voxels(mask_path(trial, session, T2)) > 0
        flair = voxels(scan_path(trial, session, "FLAIR"))
        assert flair[lesion].mean() > 1.3 * np.median(flair[around(lesion)])
    enhancing = voxels(mask_path(trial, "ses-w12", GEL)) > 0
    assert enhancing.any()
    after = voxels(scan_path(trial, "ses-w12", POSTCONTRAST))
    assert after[enhancing].mean() > 1.2 * np.median(after[around(enhancing)])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sessions": ("w04", "w00")}, "ascending"),
        ({"sessions": ("1", "2")}, "w00,w04"),
        ({"sessions": ()}, "ascending"),
        ({"participants": 0}, "participants"),
        ({"quick": False}, "quick"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        simulate_trial(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        simulate_trial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
