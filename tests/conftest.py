"""Shared fixtures, and the rule that with ``MESEMS_NO_SKIP=1`` a skipped test is a failure."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports ITK, a BLAS or nipype: sums in one order, and no phoning home.
for _name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NO_ET"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from tests.command import mesems  # noqa: E402
from tests.demonstration import Demonstration  # noqa: E402
from tests.nightly import NIGHTLY  # noqa: E402

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA_MISSING = "real data missing"
"""Start of the only reason for which a test may skip when ``MESEMS_NO_SKIP=1``."""


_FIRST = ("tests/workflow", "tests/real", "tests/system")
"""Folders of the long tests; at the end of a session short ones are left, so that no process works alone."""
_TOGETHER = ("tests/unit/simulate",)
"""Folders whose modules share what they make."""
Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a module in one process, which makes what they share once; long ones come first.

    What is for the night is left out by day.
    """
    left_out = [item for item in items if item.get_closest_marker("nightly") and not NIGHTLY]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]

    def place(item: pytest.Item) -> str:
        module = item.path.relative_to(REPOSITORY).as_posix() if REPOSITORY in item.path.parents else ""
        return next((folder for folder in _TOGETHER if module.startswith(folder)), module)

    for item in items:
        if place(item) and not any(item.iter_markers("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(place(item)))
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, not place(item).startswith(_FIRST)))


def _forbid_skip(report: Any) -> None:
    """Turn a skip into a failure, unless real data are missing (an xfail is no skip)."""
    if os.environ.get("MESEMS_NO_SKIP") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(REAL_DATA_MISSING):
        report.outcome = "failed"
        report.longrepr = f"skipped although MESEMS_NO_SKIP=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Apply the rule to single tests."""
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """Apply the rule to modules that skip themselves as a whole."""
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout under test."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real scans: ``MESEMS_REAL_DATA``, else ``shared/data`` beside the checkout."""
    named = os.environ.get("MESEMS_REAL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{REAL_DATA_MISSING}: no folder {folder}; set MESEMS_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that all test processes of one session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def once(shared_folder: Path) -> Once:
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
def demo(once: Once) -> Demonstration:
    """The finished demonstration, to look at: the one that ``MESEMS_DEMO`` names, else it is made."""
    named = os.environ.get("MESEMS_DEMO")
    if named:
        return Demonstration.of(Path(named).resolve())
    made = once("demo", lambda folder: mesems("demo", "--out", folder / "all", "--cores", 2) and None)
    return Demonstration.of(made / "all")


@pytest.fixture(scope="session")
def wheel_site(once: Once) -> Path:
    """Folder with the installed wheel."""

    def install(folder: Path) -> None:
        dist = folder / "dist"
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
        subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
        (wheel,) = dist.glob("*.whl")
        subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder / "site")], check=True)

    return once("wheel", install) / "site"
