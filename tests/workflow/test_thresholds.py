"""A changed key of the configuration runs again what reads it and what follows from it, and nothing else."""

import re
from pathlib import Path

import pytest

from mesems_mri.pipeline.visit import STEPS
from tests.command import hash_visits, mesems
from tests.workflow.conftest import QuickRun

pytestmark = pytest.mark.xdist_group("quick_run")

FIRST_STEP = {
    "intake: {header_repair: true}": "standardise",
    "quality: {min_covered_fraction: 0.5}": "register",
    "focus: {min_diameter_mm: 2}": "detect",
    "t2: {min_score: 0.7}": "detect",
    "change: {min_growth_mm3: 30}": "detect",
    "enhancement: {ring_gap_mm: 2}": "detect",
    "enhancement: {min_score: 0.9}": "detect",
    "change: {min_score: 0.6}": "detect",
    "enhancement: {join_mm: 1}": "measure",
    "quality: {min_snr: 5}": "measure",
    "quality: {warn_covered_fraction: 0.99}": "measure",
    "periods: {w04: {weeks: [4], start: 0, end: 4}}": None,
}
"""The step of a visit that a change touches first; None: no visit is touched.

That no change touches nothing is `test_second_run_does_nothing`; here a run of one participant has come
between, after which the tables are made again."""


def planned(quick_run: QuickRun, site: Path, *options: object) -> dict[str, int]:
    out_dir = quick_run.out_dir
    said = mesems("run", quick_run.bids_dir, out_dir, "--dry-run", *options, cwd=out_dir, site=site).stdout
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE)}


@pytest.mark.parametrize("change", FIRST_STEP)
def test_changed_key(quick_run: QuickRun, wheel_site: Path, tmp_path: Path, change: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(change, encoding="utf-8")
    before = hash_visits(quick_run.out_dir)
    plan = planned(quick_run, wheel_site, "--config", config)
    first = FIRST_STEP[change]
    expected = STEPS[STEPS.index(first) :] if first else ()
    assert tuple(step for step in STEPS if step in plan) == expected
    assert "compile_metrics" in plan
    assert hash_visits(quick_run.out_dir) == before


def test_forced_step_touches_the_visits_asked_for_and_what_depends_on_them(
    quick_run: QuickRun, wheel_site: Path
) -> None:
    options = ("--force", "detect", "--participant-label", "01", "--session-label")
    plan = planned(quick_run, wheel_site, *options, "w04")
    # w04 itself, and w12, which is computed from it; not w00, and not the other participant
    assert {step: plan.get(step, 0) for step in STEPS} == {
        "standardise": 0,
        "register": 0,
        "detect": 2,
        "measure": 2,
        "report": 2,
    }


def test_until_takes_every_visit_as_far(quick_run: QuickRun, tmp_path: Path) -> None:
    run = ("run", quick_run.bids_dir, tmp_path / "out", "--dry-run", "--until")
    for last in range(len(STEPS)):
        said = mesems(*run, STEPS[last]).stdout
        plan = dict(re.findall(r"^(\w+_\w+) +(\d+)$", said, flags=re.MULTILINE))
        visits = len(list(quick_run.bids_dir.glob("sub-*/ses-*")))
        assert plan == dict.fromkeys(STEPS[: last + 1], str(visits)) | (
            {"compile_quality": "1"} if STEPS[last] == "report" else {}
        )


@pytest.mark.parametrize("option", ["--until", "--force"])
def test_unknown_step_names_the_known_ones(quick_run: QuickRun, tmp_path: Path, option: str) -> None:
    said = mesems("run", quick_run.bids_dir, tmp_path / "out", option, "lesions", code=2).stderr
    assert f"{option} lesions: no such step; known are standardise, register" in said
    assert not (tmp_path / "out").exists()
