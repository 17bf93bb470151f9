"""One phantom trial and one run of it, shared by all tests of the workflow and by all test processes."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import hash_visits, mesems

PARTICIPANTS = 3
SESSIONS = "w00,w04,w12"


@dataclass(frozen=True)
class QuickRun:
    """A finished run of the phantom trial.

    Parameters
    ----------
    bids_dir, out_dir, truth_dir : Path
        Input, output and truth.
    before_last_visit : dict of str to str
        Hash of every file below ``ses-*`` when only the first two visits were there, and of every ledger and
        table its lines.
    """

    bids_dir: Path
    out_dir: Path
    truth_dir: Path
    state_file: Path

    @property
    def before_last_visit(self) -> dict[str, str]:
        lines = self.state_file.read_text(encoding="utf-8").splitlines()
        return dict(reversed(line.split("  ", 1)) for line in lines)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that all test processes of one session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def once(shared_folder: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder once, whichever test process comes first."""

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared_folder / name
        with (shared_folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / ".complete").is_file():
                folder.mkdir(parents=True)
                fill(folder)
                (folder / ".complete").touch()
        return folder

    return make


@pytest.fixture(scope="session")
def wheel_site(once: Callable[[str, Callable[[Path], None]], Path], repository: Path) -> Path:
    """Folder with the installed wheel."""

    def install(folder: Path) -> None:
        dist = folder / "dist"
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
        subprocess.run(build, cwd=repository, check=True, capture_output=True)
        (wheel,) = dist.glob("*.whl")
        subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder / "site")], check=True)

    return once("wheel", install) / "site"


@pytest.fixture(scope="session")
def quick_trial(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A simulated trial, in a folder with a blank and letters that are not ASCII."""

    def simulate(folder: Path) -> None:
        mesems(
            "simulate",
            folder / "bids",
            "--quick",
            "--participants",
            PARTICIPANTS,
            "--sessions",
            SESSIONS,
            "--seed",
            3,
        )

    return once("Versuch für Müller", simulate) / "bids"


@pytest.fixture(scope="session")
def quick_run(
    once: Callable[[str, Callable[[Path], None]], Path], quick_trial: Path, wheel_site: Path
) -> QuickRun:
    """Run the trial from the installed wheel in another directory: first two visits, then the third."""

    def analyse(folder: Path) -> None:
        elsewhere = folder / "some where"
        elsewhere.mkdir()
        out_dir = folder / "Ergebnis ä"
        options = ("run", quick_trial, out_dir, "--cores", 2)
        mesems(*options, "--session-label", "w04", cwd=elsewhere, site=wheel_site)
        state = hash_visits(out_dir)
        for path in [*out_dir.glob("sub-*/*_lesions.tsv"), out_dir / "visit_metrics.tsv"]:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
                state[f"{path.relative_to(out_dir).as_posix()}#{number}"] = line
        lines = [f"{value}  {name}" for name, value in state.items()]
        (folder / "state.txt").write_text("\n".join(lines), encoding="utf-8")
        mesems(*options, cwd=elsewhere, site=wheel_site)

    folder = once("run", analyse)
    return QuickRun(
        quick_trial, folder / "Ergebnis ä", quick_trial / "derivatives" / "truth", folder / "state.txt"
    )
