"""The reliability tables of the benchmarks: a score that promises too much is told from one that does not."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reliability
from benchmarks.reliability import (
    Judged,
    calibration_error,
    pooled,
    print_reliability,
    read_candidates,
    write_candidates,
)


def patients(power: float = 1.0, number: int = 4) -> dict[str, Judged]:
    """Candidates that are true with the power of their score as the probability."""
    random = np.random.default_rng(5)
    made = {}
    for patient in range(number):
        scores = random.uniform(0.05, 1.0, 300)
        made[f"{patient:02d}"] = (scores, random.uniform(size=300) < scores**power)
    return made


def test_a_score_that_is_the_probability_lies_inside_and_one_that_promises_too_much_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    right, wrong = print_reliability(patients()), print_reliability(patients(power=3.0))
    assert sum(b.covered for b in right) >= len(right) - 1  # one interval in twenty misses
    assert calibration_error(right) < 0.05
    middle = [b for b in wrong if 0.25 <= b.low < 0.75]
    assert all(not b.covered and b.difference > 0.1 for b in middle)
    assert calibration_error(wrong) > 0.1
    said = capsys.readouterr().out
    assert "1200 candidates of 4 patients" in said
    assert said.count("fitted to the other patients") == 2


def test_every_candidate_is_in_one_bin() -> None:
    scores = np.array([0.0, 0.05, 0.1499, 0.15, 0.95, 1.0])
    bins = reliability.reliability(scores, scores > 0.5)
    assert [(b.low, b.candidates, b.true) for b in bins] == [
        (0.0, 1, 0),
        (0.05, 2, 0),
        (0.15, 1, 0),
        (0.95, 2, 2),
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path, made = tmp_path / "candidates.tsv", patients(number=2)
    write_candidates(path, "t2", patients(number=3))
    write_candidates(path, "gel", made)
    write_candidates(path, "t2", made)  # written anew
    found = read_candidates([path])
    assert set(found) == {"t2", "gel"}
    for kind in found:
        scores, is_true = pooled(found[kind].values())
        np.testing.assert_allclose(scores, pooled(made.values())[0], atol=1e-6)
        np.testing.assert_array_equal(is_true, pooled(made.values())[1])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read"),
        ("kind\tscore\nt2\t0.5\n", "column.* patient, true missing"),
        ("kind\tpatient\tscore\ttrue\nt2\t01\t0.5\tyes\n", "line 2: .* got '0.5' and 'yes'"),
        ("kind\tpatient\tscore\ttrue\nt2\t01\t1.5\t1\n", "line 2: score must lie in 0 to 1, got 1.5"),
        ("kind\tpatient\tscore\ttrue\nt2\t01\tnan\t1\n", "line 2: score must lie in 0 to 1, got nan"),
    ],
)
def test_a_table_that_is_none_is_told_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    told: str,
) -> None:
    path = tmp_path / "candidates.tsv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["reliability", str(path)])
    with pytest.raises(SystemExit) as stopped:
        reliability.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(told, line)


def test_the_command_prints_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "candidates.tsv", tmp_path / "reliability.png"
    write_candidates(path, "t2", patients())
    write_candidates(path, "gel", {"01": (np.array([0.3]), np.array([False]))})
    monkeypatch.setattr(sys, "argv", ["reliability", str(path), "--picture", str(picture)])
    reliability.main()
    assert "\ngel\n" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
