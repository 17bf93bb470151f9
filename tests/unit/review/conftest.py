"""Output folders that can be read."""

from pathlib import Path

import pytest

from tests.unit.review.reading_study import ReadingStudy


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ReadingStudy:
    """A study that no test changes."""
    return ReadingStudy(tmp_path_factory.mktemp("study"))


@pytest.fixture
def own_study(tmp_path: Path) -> ReadingStudy:
    """A study of one test."""
    return ReadingStudy(tmp_path)
