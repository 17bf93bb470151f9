"""Real T1w before and after contrast: each pair tells its order, and a scan against its like tells none."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.contrast_evidence import DEGRADATIONS, Pair, compare, judge, real_pairs
from mesems_mri.images.contrast_evidence import compare_t1

pytestmark = pytest.mark.real


def pairs(real_data: Path, *, enhanced: bool) -> list[Pair]:
    found = [pair for pair in real_pairs(real_data) if pair.enhanced == enhanced]
    assert len(found) >= (4 if enhanced else 15)
    return found


def test_enhanced_pairs_are_right_as_they_are_and_swapped(real_data: Path) -> None:
    for pair in pairs(real_data, enhanced=True):
        found = compare_t1(pair.first, pair.second)
        assert (pair.name, found.vote) == (pair.name, "post")
        assert compare_t1(pair.second, pair.first) == found.reversed()


def test_one_phase_gets_no_vote(real_data: Path) -> None:
    visits, *_ = pairs(real_data, enhanced=False)
    assert compare_t1(visits.first, visits.second).vote == ""


def test_another_head_gets_no_vote(real_data: Path) -> None:
    _, one, other, *_ = pairs(real_data, enhanced=True)
    assert compare_t1(one.first, other.second).vote == ""


@pytest.mark.parametrize("name", ["moved 3 mm, 3 degrees", "slices of 5 mm", "all at once, slices of 4 mm"])
def test_degraded_scans_are_never_called_wrong(real_data: Path, name: str) -> None:
    assert name in DEGRADATIONS
    chosen = [*pairs(real_data, enhanced=True)[::3], *pairs(real_data, enhanced=False)[1:4:2]]
    verdicts = [
        judge(evidence, enhanced=pair.enhanced) for pair in chosen for _, _, evidence in compare(pair, [name])
    ]
    assert "wrong" not in verdicts
    assert np.mean([verdict == "right" for verdict in verdicts]) > 0.7
