"""The steps that a user can name."""

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.pipeline.visit import STEPS
from mesems_mri.runner.rules import Scope, check_step, known_steps, product_of, step_named


def test_steps_are_those_of_the_rules_in_their_order() -> None:
    steps = known_steps()
    assert [step for step, scope in steps.items() if scope is Scope.VISIT] == list(STEPS)
    assert steps["compile_ledger"] is Scope.PARTICIPANT
    assert steps["compile_metrics"] is Scope.STUDY


def test_unknown_step_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"--until lesions: no such step; known are standardise, ") as caught:
        check_step("--until", "lesions")
    assert "compile_metrics" in str(caught.value)
    check_step("--until", None)
    check_step("--until", "detect")


def test_every_step_of_a_visit_has_a_file(tmp_path) -> None:
    names = {product_of(rule, Layout(tmp_path), "sub-01", "ses-1") for rule in STEPS}
    assert len(names) == len(STEPS)
    assert ".mesems/sub-01/ses-1/detect.json" in names
    assert "sub-01/ses-1/sub-01_ses-1.html" in names


def test_former_names_of_steps_are_understood() -> None:
    assert step_named("detect_lesions") == step_named("detect") == "detect"
    assert step_named("compile_metrics") == "compile_metrics"
    assert step_named(None) is None
