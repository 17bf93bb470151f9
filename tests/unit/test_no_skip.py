"""The rule of tests/conftest.py: with MESEMS_NO_SKIP=1 only missing real data may skip."""

from pathlib import Path

import pytest

SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="inconvenient")
def test_marked():
    pass

def test_imperative():
    pytest.skip("program missing")

def test_real_scans():
    pytest.skip("real data missing: no folder")

@pytest.mark.xfail
def test_expected_failure():
    assert False
"""


@pytest.fixture
def pytester_with_rule(pytester: pytest.Pytester, repository: Path) -> pytest.Pytester:
    pytester.makeconftest((repository / "tests/conftest.py").read_text())
    return pytester


def test_skip_is_failure(pytester_with_rule: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESEMS_NO_SKIP", "1")
    pytester_with_rule.makepyfile(SKIPPING)
    run = pytester_with_rule.runpytest("-p", "no:xdist")
    # a mark skips in the setup of the test, which pytest counts as an error
    run.assert_outcomes(passed=1, failed=1, errors=1, skipped=1, xfailed=1)
    run.stdout.fnmatch_lines(["*skipped although MESEMS_NO_SKIP=1: program missing*"])


def test_skipped_module_is_failure(
    pytester_with_rule: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESEMS_NO_SKIP", "1")
    pytester_with_rule.makepyfile("import pytest\npytest.importorskip('no_such_module')\n")
    assert pytester_with_rule.runpytest("-p", "no:xdist").ret != 0


def test_skip_is_allowed_otherwise(
    pytester_with_rule: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESEMS_NO_SKIP", raising=False)
    pytester_with_rule.makepyfile(SKIPPING)
    pytester_with_rule.runpytest("-p", "no:xdist").assert_outcomes(passed=1, skipped=3, xfailed=1)
