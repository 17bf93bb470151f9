"""Laws 2 and 3 on the simulated trial: time is append-only, and the same input gives the same bytes.

That a third visit changes no byte of the first two is tested with the shared run (`test_run.py`), that Slurm
changes none in ``tests/system``.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import hash_visits, mesems
from tests.workflow.conftest import QuickRun

REPRODUCIBLE = re.compile(r"(\.nii\.gz|_xfm\.txt|\.json)$")
PARTICIPANT = "sub-01"


def ledger_rows(out_dir: Path, *sessions: str) -> list[str]:
    """Rows of the ledger of the participant that belong to the sessions."""
    lines = (out_dir / PARTICIPANT / f"{PARTICIPANT}_lesions.tsv").read_text(encoding="utf-8").splitlines()
    at = lines[0].split("\t").index("session_id")
    return [line for line in lines[1:] if line.split("\t")[at] in sessions]


def test_one_core_and_another_folder_give_the_same_bytes(quick_run: QuickRun, tmp_path: Path) -> None:
    """The shared run used two cores, another folder and an installed wheel."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out_dir = tmp_path / "out"
    options = ("--participant-label", "01", "--session-label", "w04", "--cores", 1)
    mesems("run", quick_run.bids_dir, out_dir, *options, cwd=elsewhere)
    sessions = ("ses-w00", "ses-w04")
    here, shared = (
        {
            name: value
            for name, value in hash_visits(folder).items()
            if REPRODUCIBLE.search(name) and Path(name).parts[:2] in {(PARTICIPANT, s) for s in sessions}
        }
        for folder in (out_dir, quick_run.out_dir)
    )
    assert len(here) > 40
    assert here == shared
    assert ledger_rows(out_dir, *sessions) == ledger_rows(quick_run.out_dir, *sessions)
    table = (quick_run.out_dir / "visit_metrics.tsv").read_text(encoding="utf-8").splitlines()
    assert set((out_dir / "visit_metrics.tsv").read_text(encoding="utf-8").splitlines()) <= set(table)


def test_another_day_gives_the_same_bytes(quick_run: QuickRun, tmp_path: Path) -> None:
    """The steps of a visit as the workflow calls them, in Pythons that live 2000 days later."""
    out_dir, visit = tmp_path / "out", ("--participant-label", "01", "--session-label", "w00")
    planned = mesems("run", quick_run.bids_dir, out_dir, *visit, "--dry-run", "--", "--printshellcmds")
    steps = re.findall(r"^Shell command: (mesems-mri step --mem-mb.* --settings .*)$", planned.stdout, re.M)
    later = Path(__file__).parents[1] / "later"
    environment = os.environ | {
        "PYTHONPATH": str(later),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    clock = subprocess.run(
        [
            sys.executable,
            "-c",
            "import time, datetime as d; print(time.time(), d.datetime.now().timestamp())",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(float(now) > time.time() + 1999 * 86400 for now in clock.split())
    (out_dir / "logs" / "sub-01" / "ses-w00").mkdir(parents=True)
    for rule in ("standardise", "register", "detect", "measure"):
        (command,) = [step for step in steps if f" {rule} " in step]
        command = ["bash", "-c", f"set -euo pipefail; {command}"]
        subprocess.run(command, cwd=out_dir, env=environment, check=True, timeout=600)
    made = {name: value for name, value in hash_visits(out_dir).items() if REPRODUCIBLE.search(name)}
    shared = hash_visits(quick_run.out_dir)
    assert len(made) > 25
    assert made == {name: shared[name] for name in made}


@pytest.fixture(scope="module")
def insertable(quick_trial: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A participant with T2w and T1w at weeks 0, 4 and 12."""
    bids_dir = tmp_path_factory.mktemp("insert") / "bids"
    for session in ("ses-w00", "ses-w04", "ses-w12"):
        for contrast in ("T2w", "T1w"):
            name = f"{PARTICIPANT}/{session}/anat/{PARTICIPANT}_{session}_{contrast}"
            (bids_dir / name).parent.mkdir(parents=True, exist_ok=True)
            for ending in (".nii.gz", ".json"):
                shutil.copyfile(quick_trial / f"{name}{ending}", bids_dir / f"{name}{ending}")
    return bids_dir


def test_a_late_visit_is_refused_and_with_allow_insert_recomputes_the_later_ones(
    insertable: Path, tmp_path: Path
) -> None:
    bids_dir, out_dir = insertable, tmp_path / "out"
    late, away = bids_dir / PARTICIPANT / "ses-w04", tmp_path / "ses-w04"
    shutil.move(late, away)
    mesems("run", bids_dir, out_dir, "--cores", 2)
    before = hash_visits(out_dir)
    written = {path: path.stat().st_mtime_ns for path in out_dir.rglob("*") if "ses-w00" in path.parts}
    first = ledger_rows(out_dir, "ses-w00")

    shutil.move(away, late)
    refused = mesems("run", bids_dir, out_dir, code=2)
    assert f"{PARTICIPANT}/ses-w04" in refused.stderr
    assert "--allow-insert" in refused.stderr
    assert hash_visits(out_dir) == before

    finished = mesems("run", bids_dir, out_dir, "--cores", 2, "--allow-insert")
    assert f"{PARTICIPANT}/ses-w12: computed again" in finished.stdout
    assert f"{PARTICIPANT}/ses-w00: computed again" not in finished.stdout
    after = hash_visits(out_dir)
    assert {n: h for n, h in after.items() if "ses-w00" in n} == {
        n: h for n, h in before.items() if "ses-w00" in n
    }
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert ledger_rows(out_dir, "ses-w00") == first
    lines = (out_dir / "visit_metrics.tsv").read_text(encoding="utf-8").splitlines()
    at = lines[0].split("\t").index("t2_reference_session_id")
    references = [line.split("\t")[at] for line in lines[1:]]
    assert references == ["", "ses-w00", "ses-w04"]
