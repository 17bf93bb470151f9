"""A changed key of the configuration runs again what reads it and what follows from it, and nothing else."""

import re
from pathlib import Path

import pytest

from mesems_mri.config import TrialConfig, load_config
from mesems_mri.pipeline.visit import STEPS
from tests.command import hash_visits, mesems
from tests.demonstration import Demonstration
from tests.nightly import amount

FIRST_STEP = {
    "intake: {header_repair: true}": "standardise",
    "quality: {min_covered_fraction: 0.5}": "register",
    "focus: {min_diameter_mm: 2}": "detect",
    "t2: {min_score: 0.7}": "detect",
    "change: {min_growth_mm3: 30}": "detect",
    "enhancement: {ring_gap_mm: 2}": "detect",
    "enhancement: {min_score: 0.9}": "detect",
    "change: {min_score: 0.6}": "detect",
    "enhancement: {candidate_score: 0.1}": "detect",
    "enhancement: {join_mm: 1}": "measure",
    "quality: {min_snr: 5}": "measure",
    "quality: {warn_covered_fraction: 0.99}": "measure",
    "periods: {w04: {weeks: [4], start: 0, end: 4}}": None,
}
"""The step of a visit that a change touches first; None: no visit is touched.

That no change touches nothing is `test_second_run_does_nothing`; here a run of one participant has come
between, after which the tables are made again."""


def planned(demo: Demonstration, *options: object) -> dict[str, int]:
    out_dir = demo.out_dir
    said = mesems("run", demo.bids_dir, out_dir, "--dry-run", *options, cwd=out_dir).stdout
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE)}


PLANNED = amount(
    (
        "intake: {header_repair: true}",
        "quality: {min_covered_fraction: 0.5}",
        "t2: {min_score: 0.7}",
        "enhancement: {join_mm: 1}",
        "periods: {w04: {weeks: [4], start: 0, end: 4}}",
    ),
    tuple(FIRST_STEP),
)
"""One change for every step; which step reads which key is tested of all."""


def keys_read(repository: Path) -> dict[str, list[str]]:
    """Keys of the configuration that the rules give to the steps of a visit."""
    keys = {}
    for path in (repository / "workflow" / "rules").glob("*.smk"):
        blocks = re.split(r"^rule (\w+):$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, text in zip(blocks[1::2], blocks[2::2], strict=True):
            given = "".join(re.findall(r"=settings\(([^)]*)\)", text))
            keys[name] = re.findall(r'"([\w.]+)"', given)
    return keys


@pytest.mark.parametrize("change", FIRST_STEP)
def test_key_is_read_by_its_step_and_none_before(repository: Path, tmp_path: Path, change: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(change, encoding="utf-8")
    before, after = TrialConfig(), load_config(config)
    keys = keys_read(repository)
    reading = [s for s in STEPS if keys[s] and before.part(*keys[s]) != after.part(*keys[s])]
    first = FIRST_STEP[change]
    assert reading[:1] == ([first] if first else [])


@pytest.mark.parametrize("change", PLANNED)
def test_changed_key(demo: Demonstration, tmp_path: Path, change: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(change, encoding="utf-8")
    before = hash_visits(demo.out_dir)
    plan = planned(demo, "--config", config)
    first = FIRST_STEP[change]
    expected = STEPS[STEPS.index(first) :] if first else ()
    assert tuple(step for step in STEPS if step in plan) == expected
    assert "compile_metrics" in plan
    assert hash_visits(demo.out_dir) == before


def test_forced_step_touches_the_visits_asked_for_and_what_depends_on_them(demo: Demonstration) -> None:
    options = ("--force", "detect", "--participant-label", "01", "--session-label")
    plan = planned(demo, *options, "w04")
    # w04 itself, and w12 and w24, which are computed from it; not w00, and not the other participants
    assert {step: plan.get(step, 0) for step in STEPS} == {
        "standardise": 0,
        "register": 0,
        "detect": 3,
        "measure": 3,
        "report": 3,
    }


def test_until_takes_every_visit_as_far(demo: Demonstration, tmp_path: Path) -> None:
    run = ("run", demo.bids_dir, tmp_path / "out", "--dry-run", "--until")
    for last in amount((0, 2, 4), range(len(STEPS))):
        said = mesems(*run, STEPS[last]).stdout
        plan = dict(re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE))
        visits = len(list(demo.bids_dir.glob("sub-*/ses-*")))
        assert plan == dict.fromkeys(STEPS[: last + 1], str(visits)) | (
            {"compile_quality": "1"} if STEPS[last] == "report" else {}
        )


@pytest.mark.parametrize("option", ["--until", "--force"])
def test_unknown_step_names_the_known_ones(demo: Demonstration, tmp_path: Path, option: str) -> None:
    said = mesems("run", demo.bids_dir, tmp_path / "out", option, "lesions", code=2).stderr
    assert f"{option} lesions: no such step; known are standardise, register" in said
    assert not (tmp_path / "out").exists()
