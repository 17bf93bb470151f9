"""The workflow on a real single-node Slurm: same bytes, one job a visit, one failure stops nothing else."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.demonstration import Demonstration
from tests.system import slurm

PARTICIPANT = "sub-01"
SESSIONS = ("ses-w00", "ses-w04")
FAILING = "ses-w04"
PLUGIN_OPTIONS = [
    # there is no accounting database here, and 20 s between looks is for large clusters
    *("--slurm-status-command", "squeue", "--slurm-no-account"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
]
TIMEOUT_S = 900

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("running_slurm"), pytest.mark.timeout(3 * TIMEOUT_S)]


def mesems_mri(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mesems_mri", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def reproducible_files(out_dir: Path) -> dict[str, bytes]:
    """Masks, images, transforms and metrics of the visits: all that must be the same byte for byte."""
    wanted = re.compile(r"(\.nii\.gz|_xfm\.txt|_metrics\.json|_dseg\.tsv)$")
    files = [f for session in SESSIONS for f in (out_dir / PARTICIPANT / session).rglob("*")]
    return {
        str(f.relative_to(out_dir)): f.read_bytes() for f in files if f.is_file() and wanted.search(f.name)
    }


def rows(table: Path) -> list[str]:
    """Read the lines of a table that are about the visits, and its head."""
    head, *lines = table.read_text(encoding="utf-8").splitlines()
    at = [head.split("\t").index(name) for name in ("participant_id", "session_id")]
    visits = [[PARTICIPANT, session] for session in SESSIONS]
    return [head, *(line for line in lines if [line.split("\t")[i] for i in at] in visits)]


def submitted_visits(log: str) -> list[str]:
    """Names of the visits for which a Slurm job was submitted, from Snakemake's log."""
    return re.findall(r"submitted with SLURM jobid \d+ \(log: .*/group_visit_(sub-\w+_ses-\w+?)_[a-z]", log)


def submitted_page_jobs(log: str) -> int:
    """Count the Slurm jobs for pages, from Snakemake's log."""
    return len(re.findall(r"submitted with SLURM jobid \d+ \(log: .*/group_reports_", log))


@dataclass(frozen=True)
class SlurmRun:
    """What one `mesems-mri run --profile slurm` left behind."""

    exit_code: int
    said: str
    visits: list[str]
    page_jobs: int
    files: dict[str, bytes]
    table: str


@pytest.fixture(scope="module")
def bids_dir(demo: Demonstration) -> Path:
    return demo.bids_dir


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # spaces and non-ASCII must survive sbatch, srun and two nested Snakemakes
    return tmp_path_factory.mktemp("slurm") / "räumlich verteilt"


def run_on_slurm(bids_dir: Path, out_dir: Path) -> SlurmRun:
    log = out_dir / "logs" / "snakemake.log"
    logged_before = len(log.read_text()) if log.exists() else 0
    asked = ("--participant-label", PARTICIPANT, "--session-label", SESSIONS[-1])
    ended = mesems_mri("run", bids_dir, out_dir, *asked, "--profile", "slurm", "--", *PLUGIN_OPTIONS)
    logged = log.read_text()[logged_before:]
    return SlurmRun(
        exit_code=ended.returncode,
        said=ended.stdout + ended.stderr,
        visits=submitted_visits(logged),
        page_jobs=submitted_page_jobs(logged),
        files=reproducible_files(out_dir),
        table=(out_dir / "visit_metrics.tsv").read_text(encoding="utf-8"),
    )


@pytest.fixture(scope="module")
def failed_run(bids_dir: Path, out_dir: Path) -> SlurmRun:
    """A run in which one visit cannot write its brain mask, since a folder of that name is in the way."""
    name = f"{PARTICIPANT}_{FAILING}_space-subject_desc-brain_mask.nii.gz"
    obstacle = out_dir / PARTICIPANT / FAILING / "anat" / name
    obstacle.mkdir(parents=True)
    ended = run_on_slurm(bids_dir, out_dir)
    obstacle.rmdir()
    return ended


@pytest.fixture(scope="module")
def repaired_run(failed_run: SlurmRun, bids_dir: Path, out_dir: Path) -> SlurmRun:
    """The same command again, after the fault is gone."""
    assert failed_run.exit_code != 0
    return run_on_slurm(bids_dir, out_dir)


def test_snakemake_runs_a_job_on_this_slurm(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        'rule hello:\n    output: "job"\n    shell: "echo $SLURM_JOB_ID > {output}"\n'
    )
    options = ["--executor", "slurm", "--jobs", "1", "--default-resources", "mem_mb=200", "runtime=2"]
    subprocess.run(
        [sys.executable, "-m", "snakemake", *options, *PLUGIN_OPTIONS], cwd=tmp_path, check=True, timeout=180
    )
    assert int((tmp_path / "job").read_text()) > 0
    assert slurm.completed_jobs()


def test_failing_visit_is_reported(failed_run: SlurmRun) -> None:
    assert failed_run.exit_code == 5, failed_run.said
    assert re.search(rf"failed.*{PARTICIPANT}/{FAILING}", failed_run.said)


def test_failing_visit_leaves_no_zero(failed_run: SlurmRun) -> None:
    header, *rows = failed_run.table.splitlines()
    columns = header.split("\t")
    visits = {
        cells["session_id"]: cells for cells in (dict(zip(columns, r.split("\t"), strict=True)) for r in rows)
    }
    failed = visits[FAILING]
    assert failed["gel_evaluable"] == "false"
    assert failed["gel_reason"] == "step_failed"
    assert failed["gel_count"] == ""
    assert visits[SESSIONS[0]]["gel_evaluable"] == "true"


def test_one_job_a_visit(failed_run: SlurmRun) -> None:
    assert sorted(failed_run.visits) == [f"{PARTICIPANT}_{session}" for session in SESSIONS]


def test_pages_share_a_job(failed_run: SlurmRun) -> None:
    assert failed_run.page_jobs == 1


def test_only_the_failed_visit_is_run_again(failed_run: SlurmRun, repaired_run: SlurmRun) -> None:
    assert repaired_run.exit_code == 0, repaired_run.said
    assert repaired_run.visits == [f"{PARTICIPANT}_{FAILING}"]
    earlier = {name for name in failed_run.files if SESSIONS[0] in name}
    assert earlier
    assert {n for n in earlier if failed_run.files[n] != repaired_run.files[n]} == set()


def test_products_are_those_of_a_local_run(
    repaired_run: SlurmRun, out_dir: Path, demo: Demonstration
) -> None:
    local_files = reproducible_files(demo.out_dir)
    assert len(local_files) > 20
    assert repaired_run.files.keys() == local_files.keys()
    assert {name for name in local_files if repaired_run.files[name] != local_files[name]} == set()
    for name in ("visit_metrics.tsv", f"{PARTICIPANT}/{PARTICIPANT}_lesions.tsv"):
        assert len(rows(demo.out_dir / name)) > len(SESSIONS)
        assert rows(out_dir / name) == rows(demo.out_dir / name)
    anchor = f"{PARTICIPANT}/{PARTICIPANT}_anchor.json"
    assert (out_dir / anchor).read_bytes() == (demo.out_dir / anchor).read_bytes()
