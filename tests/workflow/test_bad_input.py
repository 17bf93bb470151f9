"""Bad input: a clear reason, and nobody else's visit is stopped."""

import csv
import gzip
import shutil
from pathlib import Path

import pytest

from tests.command import mesems
from tests.demonstration import Demonstration, remove_rows


def rows(out_dir: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out_dir / "visit_metrics.tsv").open(encoding="utf-8", newline="") as stream:
        return {(r["participant_id"], r["session_id"]): r for r in csv.DictReader(stream, delimiter="\t")}


def truncated(path: Path) -> bytes:
    content = gzip.decompress(path.read_bytes())
    return content[: len(content) // 2]


@pytest.fixture(scope="module")
def bad_run(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run a trial in whose first visit all scans are truncated, and in the second that after contrast."""
    folder = tmp_path_factory.mktemp("bad")
    bids_dir = folder / "bids"
    unwanted = ("sub-02", "sub-03", "ses-w12", "ses-w24")
    ignore = shutil.ignore_patterns("derivatives", "*T2w*", *unwanted)
    shutil.copytree(demo.simulated, bids_dir, ignore=ignore)
    remove_rows(bids_dir / "sub-01" / "sub-01_sessions.tsv", *unwanted)
    remove_rows(bids_dir / "participants.tsv", *unwanted)
    for path in (bids_dir / "sub-01" / "ses-w00" / "anat").glob("*.nii.gz"):
        path.write_bytes(gzip.compress(truncated(path)))
    after = "sub-01/{0}/anat/sub-01_{0}_ce-gadolinium_T1w.nii.gz"
    (bids_dir / after.format("ses-w04")).write_bytes(
        gzip.compress(truncated(demo.simulated / after.format("ses-w00")))
    )
    # A directory where a product is to be written makes the step itself fail.
    obstacle = (
        folder / "out" / "sub-01" / "ses-w04" / "anat" / "sub-01_ses-w04_space-subject_desc-brain_mask.nii.gz"
    )
    obstacle.mkdir(parents=True)
    finished = mesems("run", bids_dir, folder / "out", "--cores", 2, code=5)
    assert "sub-01/ses-w04" in finished.stdout
    assert "IsADirectoryError" in finished.stdout
    failed = rows(folder / "out")["sub-01", "ses-w04"]
    assert failed["gel_reason"] == failed["t2_reason"] == failed["brain_reason"] == "step_failed"
    assert failed["t2_lesion_count"] == failed["brain_volume_mm3"] == ""
    obstacle.rmdir()
    finished = mesems("run", bids_dir, folder / "out", "--cores", 2, "--only-failed")
    assert "1 visits done, 0 of them not evaluable; 0 failed" in finished.stdout
    return bids_dir, folder / "out"


def test_truncated_visit_says_so_and_the_next_goes_on(bad_run: tuple[Path, Path]) -> None:
    table = rows(bad_run[1])
    bad, good = table["sub-01", "ses-w00"], table["sub-01", "ses-w04"]
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        assert bad[f"{part}_evaluable"] == "false"
        assert bad[f"{part}_reason"] == "unreadable_file"
    assert bad["gel_count"] == bad["t2_lesion_count"] == ""
    assert bad["qc_status"] == "fail"
    assert good["t2_evaluable"] == "true"
    assert good["t2_lesion_count"] != ""
    assert good["t2_change_reason"] == "no_reference_visit"


def test_truncated_postcontrast_scan_is_not_zero_lesions(bad_run: tuple[Path, Path]) -> None:
    """That a missing one is none either is tested with the demonstration."""
    row = rows(bad_run[1])["sub-01", "ses-w04"]
    assert row["gel_reason"] == row["cua_reason"] == row["black_hole_reason"] == "unreadable_file"
    assert row["gel_count"] == ""
    anat = bad_run[1] / "sub-01" / "ses-w04" / "anat"
    assert not list(anat.glob("*enhancing*"))


def test_forbidden_column_is_refused(bad_run: tuple[Path, Path], tmp_path: Path) -> None:
    bids_dir = tmp_path / "bids"
    shutil.copytree(bad_run[0], bids_dir)
    (bids_dir / "participants.tsv").write_text("participant_id\tEDSS\nsub-01\t2.0\n", encoding="utf-8")
    finished = mesems("run", bids_dir, tmp_path / "out", code=3)
    assert "participants.tsv" in finished.stderr
    assert "EDSS" in finished.stderr
    assert not (tmp_path / "out").exists()


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no sub-" in mesems("run", tmp_path, tmp_path / "out", code=3).stderr


def test_unknown_participant_is_wrong_usage(bad_run: tuple[Path, Path], tmp_path: Path) -> None:
    finished = mesems("run", bad_run[0], tmp_path / "out", "--participant-label", "77", code=2)
    assert "sub-77" in finished.stderr


def test_late_visit_is_refused(bad_run: tuple[Path, Path], demo: Demonstration, tmp_path: Path) -> None:
    bids_dir, out_dir = tmp_path / "bids", tmp_path / "out"
    shutil.copytree(bad_run[0], bids_dir)
    shutil.copytree(bad_run[1], out_dir)
    shutil.copytree(demo.simulated / "sub-01" / "ses-w12", bids_dir / "sub-01" / "ses-w02")
    for path in (bids_dir / "sub-01" / "ses-w02").rglob("*_ses-w12*"):
        path.rename(path.with_name(path.name.replace("_ses-w12", "_ses-w02")))
    table = bids_dir / "sub-01" / "sub-01_sessions.tsv"
    table.unlink()
    finished = mesems("run", bids_dir, out_dir, code=2)
    assert "sub-01/ses-w02" in finished.stderr
    assert "--allow-insert" in finished.stderr
