"""Shared fixtures, and the rule that with ``MESEMS_NO_SKIP=1`` a skipped test is a failure."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports ITK, a BLAS or nipype: sums in one order, and no phoning home.
for _name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NO_ET"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA_MISSING = "real data missing"
"""Start of the only reason for which a test may skip when ``MESEMS_NO_SKIP=1``."""


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
