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

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import POSTCONTRAST, index_dataset
from mesems_mri.dataset.columns import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.input_tables import read_tsv
from mesems_mri.dataset.tables import read_table
from mesems_mri.errors import ForbiddenColumnError, UsageError
from mesems_mri.simulate.defects import DEFECT_COLUMNS
from mesems_mri.simulate.trial import simulate_trial
from tests.lesion_free import make_lesion_free_visit

SESSIONS = ("ses-w00", "ses-w04", "ses-w12")
WITH_FLAIR = SESSIONS[:2]
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


def test_same_seed_gives_same_bytes_and_later_visits_and_participants_change_nothing(
    trial: Path, tmp_path: Path
) -> None:
    """Compare with a trial of one participant more and two visits less."""
    again = tmp_path / "again"
    simulate_trial(again, participants=2, sites=1, sessions=("w00",), seed=3)
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    visits = [path for path in files if "sub-01" in path.parts and "anat" in path.parts]
    assert len(visits) == 8 + 6  # scans and true masks with their sidecars
    assert any("sub-02" in path.parts for path in files)
    for path in visits:
        assert (again / path).read_bytes() == (trial / path).read_bytes(), path
    for table in ("sub-01/sub-01_sessions.tsv", "derivatives/truth/sub-01/sub-01_lesions.tsv"):
        assert (trial / table).read_bytes().startswith((again / table).read_bytes())
    for table in ("participants.tsv", "derivatives/truth/visit_metrics.tsv"):
        lines = (again / table).read_bytes().splitlines()
        assert (trial / table).read_bytes().splitlines()[:2] == lines[:2]
        assert lines[2].count(b"sub-02") == 1


def test_another_seed_gives_another_trial(trial: Path, tmp_path: Path) -> None:
    simulate_trial(tmp_path / "other", participants=1, sites=1, sessions=("w00",), seed=4)
    assert scan_path(tmp_path / "other", "ses-w00", "FLAIR").read_bytes() != (
        scan_path(trial, "ses-w00", "FLAIR").read_bytes()
    )


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
    images = {s.session_id: set(s.images) for s in participant.sessions}
    assert [(s.session_id, s.week, s.visit_type) for s in participant.sessions] == [
        ("ses-w00", 0, "scheduled"),
        ("ses-w04", 4, "scheduled"),
        ("ses-w12", 12, "scheduled"),
    ]
    assert images["ses-w00"] == {"T1w", POSTCONTRAST, "FLAIR", "T2w"}
    assert images["ses-w00"] - images["ses-w04"] == {POSTCONTRAST}
    assert images["ses-w12"] == {"T1w", POSTCONTRAST, "T2w", "PDw"}


def test_defects_are_listed_with_the_reasons_of_the_visit_table(trial: Path) -> None:
    truth = trial / "derivatives/truth"
    rows = {row["defect"]: row for row in read_table(truth / "defects.tsv", DEFECT_COLUMNS)}
    assert set(rows) == {"no_postcontrast", "no_flair", "forbidden_column"}
    missing = rows["no_postcontrast"]
    assert missing["session_id"] == "ses-w04"
    assert not (trial / missing["file"]).exists()
    assert missing["gel_reason"] == missing["cua_reason"] == missing["black_hole_reason"] == "no_postcontrast"
    assert missing["t2_reason"] is missing["t2_change_reason"] is None
    assert rows["no_flair"]["session_id"] == "ses-w12"
    assert rows["no_flair"]["gel_reason"] is None
    for part in ("t2", "t2_change", "cua", "black_hole"):
        assert rows["no_flair"][f"{part}_reason"] == "missing_scan"
    assert visit_of(trial, "ses-w12")["t2_contrast"] == ""
    refused = trial / rows["forbidden_column"]["file"]
    with pytest.raises(ForbiddenColumnError, match="Treatment Arm"):
        read_tsv(refused)


def test_lesion_free_participant_has_zero_lesions_and_not_nothing(tmp_path: Path) -> None:
    row = make_lesion_free_visit(tmp_path)
    counts = (
        "gel_count",
        "t2_lesion_count",
        "gel_volume_mm3",
        "t2_lesion_volume_mm3",
        "black_hole_volume_mm3",
    )
    assert [row[name] for name in counts] == [0, 0, 0, 0, 0]
    assert row["gel_evaluable"]
    assert row["t2_evaluable"]
    masks = sorted(tmp_path.glob("derivatives/truth/sub-*/ses-*/anat/*label-L*_mask.nii.gz"))
    assert len(masks) == 2
    assert not any(voxels(path).any() for path in masks)


def test_tables_have_the_columns_of_the_output(trial: Path) -> None:
    truth = trial / "derivatives/truth"
    assert read_table(truth / "sub-01/sub-01_lesions.tsv", LEDGER_COLUMNS)
    assert len(read_table(truth / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)) == 3


def test_truth_masks_have_the_grid_of_their_scan(trial: Path) -> None:
    for session in SESSIONS:
        t2 = visit_of(trial, session)["t2_contrast"] or "T2w"
        for name, contrast in ((T2, t2), (NEW, t2), (ENLARGING, t2), (GEL, POSTCONTRAST)):
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
    no_t2 = {("ses-w12", name) for name in (T2, NEW, ENLARGING)}
    assert missing == {("ses-w00", NEW), ("ses-w00", ENLARGING), ("ses-w04", GEL)} | no_t2
    first, second, third = (visit_of(trial, session) for session in SESSIONS)
    assert first["t2_new_count"] == first["cua_count"] == first["gel_new_count"] == ""
    assert (first["t2_change_reason"], first["cua_reason"]) == ("no_reference_visit", "no_reference_visit")
    assert first["gel_count"] != ""
    assert second["gel_count"] == second["gel_volume_mm3"] == second["cua_count"] == ""
    assert (second["gel_reason"], second["cua_reason"]) == ("no_postcontrast", "no_postcontrast")
    assert second["t2_new_count"] != ""
    assert third["gel_prior_evaluable"] == "false"
    assert third["gel_reference_session_id"] == "ses-w00"
    assert third["gel_count"] != ""
    for name in ("t2_reference_session_id", "t2_new_count", "t2_lesion_volume_mm3", "black_hole_volume_mm3"):
        assert third[name] == third["cua_count"] == ""


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
        if session in WITH_FLAIR:
            assert brain[voxels(mask_path(trial, session, T2)) > 0].all()


def test_lesions_show_on_the_scans(trial: Path) -> None:
    for session in WITH_FLAIR:
        lesion = voxels(mask_path(trial, session, T2)) > 0
        scan = voxels(scan_path(trial, session, visit_of(trial, session)["t2_contrast"]))
        assert scan[lesion].mean() > 1.3 * np.median(scan[around(lesion)])
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
