"""The outcome of a visit, as its records on disk tell."""

from mesems_mri.dataset.layout import Layout
from mesems_mri.files import write_text
from mesems_mri.runner.state import Outcome, visit_state
from tests.unit.runner.conftest import SESSIONS


def test_each_visit_has_one_outcome(layout: Layout) -> None:
    states = [visit_state(layout, "sub-01", s.session_id) for s in SESSIONS]
    assert [s.outcome for s in states] == ["done", "not_evaluable", "failed", "waiting"]
    assert (states[1].reason, states[2].step) == ("wrong_head", "standardise")
    layout.page("sub-01", "ses-1").unlink()
    assert visit_state(layout, "sub-01", "ses-1").outcome is Outcome.WAITING


def test_visit_without_a_record_waits(layout: Layout) -> None:
    state = visit_state(layout, "sub-01", "ses-9")
    assert (state.outcome, state.steps, state.step) == (Outcome.WAITING, (), "")


def test_record_that_is_no_json_is_a_failure(layout: Layout) -> None:
    write_text(layout.record("sub-01", "ses-1", "detect"), "{")
    state = visit_state(layout, "sub-01", "ses-1")
    assert (state.outcome, state.step, state.reason) == (Outcome.FAILED, "detect", "step_failed")
    assert state.message.endswith("detect.json: not JSON")
