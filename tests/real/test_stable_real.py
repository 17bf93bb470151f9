"""An unchanged head has no new lesion and keeps its lesion volume; in its twin the implants are found.

The first half is in `test_run_real.py` each time.
"""

from pathlib import Path

import pytest

from benchmarks.stable_pairs import stable_pairs
from tests.command import mesems
from tests.real.stable import CASES, IMPLANTS, arrange_stable

pytestmark = [pytest.mark.nightly, pytest.mark.real, pytest.mark.timeout(1500), pytest.mark.long]

CASE = next(case for case in CASES if case.name == "12v1")
"""Many lesions, and slices of 3 mm, then 4 mm: once a false new lesion. `benchmarks.stable_pairs` has all."""


def test_stable_pair_and_its_twin(real_data: Path, tmp_path: Path) -> None:
    bids_dir, out_dir = tmp_path / "bids", tmp_path / "out"
    arrange_stable(real_data, bids_dir, [CASE])
    mesems("run", bids_dir, out_dir, "--cores", 2)
    (pair,) = stable_pairs(bids_dir, out_dir)
    assert pair["false"] == 0, pair["foci"]
    before, after = pair["t2lv"]
    assert before > 1000
    assert abs(after / before - 1) <= 0.12
    assert pair["implants"] == IMPLANTS == 5
    assert pair["found"] >= 4
    assert pair["other"] <= 1
