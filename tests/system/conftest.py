"""What runs for the tests of this folder: Slurm, PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.system import chromium, slurm
from tests.system.postgres import Postgres, installed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


def missing(program: str) -> NoReturn:
    """Fail: these tests are there to meet the real program, and what they need is installed with them."""
    pytest.fail(f"{program} is not installed; make test-system installs it")


@pytest.fixture(scope="session")
def installed_chromium() -> None:
    """A Chromium that can be started."""
    if chromium.program() is None:
        missing("Chromium")


@pytest.fixture(scope="session")
def running_slurm() -> None:
    """A single-node Slurm that accepts jobs; it is left running."""
    if shutil.which("slurmctld") is None:
        missing("Slurm")
    slurm.start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL without a database in it."""
    if not installed():
        missing("PostgreSQL")
    server = Postgres()
    yield server
    server.remove()
