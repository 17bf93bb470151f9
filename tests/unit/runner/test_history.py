"""Runs in ``provenance.json``: which one made a visit."""

import os

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.layout import Layout
from mesems_mri.files import read_json, write_json, write_text
from mesems_mri.runner import history as history_module
from mesems_mri.runner.history import History
from tests.unit.runner.conftest import SESSIONS


def runs(layout: Layout) -> list[dict]:
    return read_json(layout.provenance)["runs"]


def test_killed_run_gets_the_visits_that_it_made(layout: Layout) -> None:
    config = TrialConfig()
    first = History(layout)
    first.begin(layout.out_dir, config, SESSIONS)
    for session in SESSIONS[:2]:  # made again, and then the run is killed
        write_json(layout.metrics("sub-01", session.session_id), {})
    layout.metrics("sub-01", "ses-3").unlink()
    second = History(layout)
    second.begin(layout.out_dir, config, SESSIONS)
    second.end(0, SESSIONS)
    assert [run["exit_code"] for run in runs(layout)] == [None, 0]
    assert runs(layout)[0]["visits"] == ["sub-01/ses-1", "sub-01/ses-2"]
    assert runs(layout)[1]["ended"]
    assert runs(layout)[1]["config_sha256"] == config.sha256()


def test_visit_of_an_earlier_run_is_not_made_by_this_one(layout: Layout) -> None:
    for session in SESSIONS[:3]:
        os.utime(layout.metrics("sub-01", session.session_id), (1e9, 1e9))
    history = History(layout)
    history.begin(layout.out_dir, TrialConfig(), SESSIONS)
    write_json(layout.metrics("sub-01", "ses-2"), {})
    history.end(5, SESSIONS)
    assert runs(layout)[-1]["visits"] == ["sub-01/ses-2"]


def test_broken_file_does_not_stop_a_run(layout: Layout) -> None:
    write_text(layout.provenance, "{")
    History(layout).begin(layout.out_dir, TrialConfig(), SESSIONS)
    assert len(runs(layout)) == 1


def test_old_run_is_kept_as_long_as_it_made_a_visit(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_KEPT", 1)
    made = [["a"], ["b"], [], ["a"]]
    ended = [{"started": f"2026-01-0{i + 1}", "ended": "x", "visits": v} for i, v in enumerate(made)]
    write_json(layout.provenance, {"runs": ended})
    History(layout).begin(layout.out_dir, TrialConfig(), [])
    # the newest always; "b" since no later run made it; the first "a" and the empty one are gone
    assert [run["visits"] for run in runs(layout)] == [["b"], ["a"], []]
