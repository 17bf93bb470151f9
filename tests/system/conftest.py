"""A running Slurm for the tests of this folder."""

import shutil
from pathlib import Path

import pytest

from tests.system import slurm


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def running_slurm() -> None:
    """A single-node Slurm that accepts jobs; it is left running."""
    if shutil.which("slurmctld") is None:
        pytest.skip("Slurm is not installed; make test-system installs it")
    slurm.start()
