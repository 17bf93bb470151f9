"""Every shape of data set gives a plan: dry runs on trees of empty files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import mesems

SCENARIOS: dict[str, tuple[list[str], int]] = {
    "FLAIR only": (["sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"], 1),
    "uncompressed": (["sub-01/ses-1/anat/sub-01_ses-1_T2w.nii"], 1),
    "two visits, other contrasts": (
        ["sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_PDw.nii.gz"],
        2,
    ),
    "natural order of visits": (
        [f"sub-01/ses-{i}/anat/sub-01_ses-{i}_FLAIR.nii.gz" for i in (1, 2, 10)],
        3,
    ),
    "several images of one contrast": (
        [f"sub-01/ses-1/anat/sub-01_ses-1_run-{i}_FLAIR.nii.gz" for i in (1, 2)],
        1,
    ),
    "many participants": ([f"sub-{i:02}/ses-1/anat/sub-{i:02}_ses-1_T1w.nii.gz" for i in range(1, 6)], 5),
}


def test_bare_snakemake_plans_the_same(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "bids" / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz"
    path.parent.mkdir(parents=True)
    path.touch()
    options = [f"bids_dir={tmp_path / 'bids'}", f"out_dir={tmp_path / 'out'}"]
    finished = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run", "--config", *options],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    plan = finished.stdout + finished.stderr
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan, flags=re.MULTILINE))
    assert counts["standardise"] == counts["report"] == counts["compile_metrics"] == "1"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_plan(scenario: str, tmp_path: Path) -> None:
    files, visits = SCENARIOS[scenario]
    bids_dir = tmp_path / "bids mit Lücke"
    for name in files:
        path = bids_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    finished = mesems("run", bids_dir, tmp_path / "out", "--dry-run", cwd=tmp_path)
    plan = finished.stdout + finished.stderr
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan, flags=re.MULTILINE))
    for rule in ("standardise", "register", "detect", "measure", "report"):
        assert counts[rule] == str(visits)
    participants = {name.split("/")[0] for name in files}
    assert counts["compile_ledger"] == str(len(participants))
    assert counts["compile_metrics"] == "1"
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("sub-*"))


def test_visits_outside_this_run_do_not_stop_the_plan(tmp_path: Path) -> None:
    """Results of another participant, and of a visit whose scans are gone, before there is a study page."""
    bids_dir, out_dir = tmp_path / "bids", tmp_path / "out"
    for participant in ("sub-01", "sub-02"):
        path = bids_dir / participant / "ses-1" / "anat" / f"{participant}_ses-1_FLAIR.nii.gz"
        path.parent.mkdir(parents=True)
        path.touch()
    for participant, session in (("sub-02", "ses-1"), ("sub-01", "ses-2")):
        for name in (
            f"{participant}/{session}/{participant}_{session}_metrics.json",
            f".mesems/{participant}/{session}/standardise.json",
        ):
            (out_dir / name).parent.mkdir(parents=True)
            (out_dir / name).write_text('{"status": "done"}', encoding="utf-8")
    (out_dir / ".snakemake").mkdir()  # a folder that Snakemake does not know is planned elsewhere
    finished = mesems("run", bids_dir, out_dir, "--participant-label", "01", "--dry-run", cwd=tmp_path)
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", finished.stdout, flags=re.MULTILINE))
    assert counts["measure"] == counts["compile_metrics"] == counts["report_study"] == "1"
