"""Every shape of data set gives a plan: dry runs on trees of empty files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mesems_mri.pipeline.visit import STEPS
from tests.command import mesems

SHAPES: dict[str, list[str]] = {
    "FLAIR only": ["sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz"],
    "uncompressed": ["sub-02/ses-1/anat/sub-02_ses-1_T2w.nii"],
    "two visits, other contrasts": [
        "sub-03/ses-1/anat/sub-03_ses-1_FLAIR.nii.gz",
        "sub-03/ses-2/anat/sub-03_ses-2_PDw.nii.gz",
    ],
    "natural order of visits": [f"sub-04/ses-{i}/anat/sub-04_ses-{i}_FLAIR.nii.gz" for i in (1, 2, 10)],
    "several images of one contrast": [
        f"sub-05/ses-1/anat/sub-05_ses-1_run-{i}_FLAIR.nii.gz" for i in (1, 2)
    ],
    "many participants": [f"sub-{i:02}/ses-1/anat/sub-{i:02}_ses-1_T1w.nii.gz" for i in range(6, 11)],
}
"""Participants are planned independently, so one plan does for all."""


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


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a dry run says of all shapes."""
    folder = tmp_path_factory.mktemp("plan")
    bids_dir = folder / "bids mit Lücke"
    for name in (name for names in SHAPES.values() for name in names):
        path = bids_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    said = mesems("run", bids_dir, folder / "out", "--dry-run", cwd=folder).stdout
    assert not (folder / "out").exists()
    return said


@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_of_every_visit_is_planned(plan: str, shape: str) -> None:
    planned = re.findall(r"^(sub-\w+/ses-\w+): (\w+) \(", plan, flags=re.MULTILINE)
    for visit in {"/".join(name.split("/")[:2]) for name in SHAPES[shape]}:
        assert sorted(rule for name, rule in planned if name == visit) == sorted(STEPS)


def test_plan_counts_jobs(plan: str) -> None:
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan, flags=re.MULTILINE))
    names = [Path(name).parts[:2] for names in SHAPES.values() for name in names]
    assert {counts[rule] for rule in STEPS} == {str(len(set(names)))}
    assert counts["compile_ledger"] == str(len({participant for participant, _ in names}))
    assert counts["compile_metrics"] == "1"


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
