"""The status of a study, from its output folder alone."""

import json
from pathlib import Path

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json
from mesems_mri.runner.lock import held
from mesems_mri.runner.status import COUNTED, read_status


def test_every_visit_is_counted_once(layout: Layout) -> None:
    assert read_status(layout).total == dict(zip(COUNTED, (4, 1, 1, 1, 1, 0, 1, 1, 0), strict=True))


def test_visit_that_was_sent_or_waits_for_a_query_is_counted_beside(layout: Layout) -> None:
    path = layout.metrics("sub-01", "ses-2")
    write_json(path, {"visit_metrics": read_json(path)["visit_metrics"] | {"gel_reason": "open_query"}})
    total = read_status(layout, sent={("sub-01", "ses-1"), ("sub-09", "ses-1")}).total
    assert (total["in_query"], total["sent"], total["not_evaluable"]) == (1, 1, 1)


def test_done_visit_that_left_the_raw_data_is_still_expected(layout: Layout) -> None:
    write_json(layout.expected, {"visits": {"sub-01": ["ses-2", "ses-4"], "sub-10": ["ses-1"]}})
    status = read_status(layout)
    names = [state.name for state in status.visits]
    assert names == ["sub-01/ses-1", "sub-01/ses-2", "sub-01/ses-3", "sub-01/ses-4", "sub-10/ses-1"]
    assert status.participants["sub-10"]["waiting"] == 1


def test_lock_holder_is_named_while_a_run_is_on(layout: Layout) -> None:
    assert "no run is on" in read_status(layout).running()
    with held(layout) as lock:
        running = read_status(layout)
        assert running.running() == f"running: {lock.holder}"
        assert running.to_json()["running"]["user"] == lock.holder.user


def test_killed_run_is_told_from_one_that_is_on(layout: Layout) -> None:
    with held(layout):
        text = layout.run_lock.read_text(encoding="utf-8")
    write_json(layout.run_lock, json.loads(text) | {"ticks": 1})
    status = read_status(layout)
    assert status.running().startswith("the last run was killed: ")
    assert status.to_json()["running"] is None


def test_table_and_text_hold_the_same_counts(layout: Layout) -> None:
    status = read_status(layout)
    head, row, total = status.text().splitlines()
    assert head.split()[0] == "participant"
    assert row.split() == ["sub-01", *["4", "1", "1", "1", "1", "0", "1", "1", "0"]]
    assert total.split()[1:] == row.split()[1:]
    assert [len(line) for line in (head, row, total)] == [len(head)] * 3
    assert status.table().row_count == 2


def test_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read_status(Layout(tmp_path / "other"))
