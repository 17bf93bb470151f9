"""The configuration of a trial: what is accepted, and how wrong ones are refused."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from mesems_mri.config import TrialConfig, load_config
from mesems_mri.errors import UsageError


def test_example_has_the_defaults(repository: Path) -> None:
    example = load_config(repository / "config" / "config.yaml")
    changed = {"study_id": example.study_id, "visits": example.visits}
    assert example == TrialConfig().model_copy(update=changed)
    assert [visit.week for visit in example.visits] == [0, 4, 12, 24, 28, 36, 48]


def test_schema_is_fresh(repository: Path) -> None:
    written = json.loads((repository / "config" / "schema.json").read_text(encoding="utf-8"))
    assert written == TrialConfig.model_json_schema()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("focus: {min_volume_mm3: -1}", "focus.min_volume_mm3"),
        ("focuss: {}", "focuss"),
        ("quality: {min_covered_fraction: 2}", "min_covered_fraction"),
        (
            "t2: {min_score: 0.03}",
            r"t2: candidate_score must be at most min_score \(0.03\), got 0.05; lower it",
        ),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_value_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        load_config(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_hash_depends_on_values_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("study_id: A\nfocus: {min_volume_mm3: 20, min_diameter_mm: 3}\n")
    other.write_text("# the same\nfocus:\n  min_diameter_mm: 3.0\n  min_volume_mm3: 20.0\nstudy_id: A\n")
    assert load_config(one).sha256() == load_config(other).sha256()
    assert load_config(one).sha256() != TrialConfig().sha256()


def test_a_step_reads_what_it_was_given_and_nothing_else() -> None:
    config = TrialConfig.model_validate({"quality": {"min_covered_fraction": 0.8}, "t2": {"min_score": 0.4}})
    part = TrialConfig.from_part(json.dumps(config.part("quality.min_covered_fraction", "focus")))
    assert part.quality.min_covered_fraction == 0.8
    assert part.focus == config.focus
    for read in (lambda: part.quality.min_snr, lambda: part.t2, lambda: part.enhancement.join_mm):
        with pytest.raises(AttributeError):
            read()
    with pytest.raises(ValidationError):
        TrialConfig.from_part('{"quality": {"min_covered_fraction": 2}}')
    assert TrialConfig().quality.min_snr == 3.0  # defaults of others are untouched
