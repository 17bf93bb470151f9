"""Tests of one group share a process, else each process would make what the group shares anew."""

import pytest

GROUPED = """
import os
import pytest

@pytest.mark.xdist_group("shared")
@pytest.mark.parametrize("number", range(6))
def test_where(number):
    with open("processes", "a") as seen:
        print(os.environ["PYTEST_XDIST_WORKER"], file=seen)
"""


def test_a_group_stays_in_one_process(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(GROUPED)
    run = pytester.runpytest_subprocess("-n", "2", "--dist", "loadgroup")
    run.assert_outcomes(passed=6)
    seen = (pytester.path / "processes").read_text(encoding="utf-8").split()
    assert len(seen) == 6
    assert len(set(seen)) == 1
