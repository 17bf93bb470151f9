"""The summary of a run and its exit code."""

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.files import write_text
from mesems_mri.runner.events import Job
from mesems_mri.runner.summary import EXIT_VISITS_FAILED, RunExit, summarise
from tests.unit.runner.conftest import SESSIONS


def summary(layout: Layout, result: RunExit, visits: slice = slice(None)) -> tuple[int, str]:
    said: list[str] = []
    code = summarise(layout, SESSIONS[visits], result, said.append)
    return code, "\n".join(said)


def test_failed_visit_is_named_with_the_end_of_its_log(layout: Layout) -> None:
    code, text = summary(layout, RunExit(code=1))
    assert code == EXIT_VISITS_FAILED
    assert "2 visits done, 1 of them not evaluable; 1 failed" in text
    assert "not evaluable: sub-01/ses-2: wrong_head" in text
    assert "    | early" in text
    assert "late" not in text
    assert str(layout.log("sub-01", "ses-3")) in text
    assert "not reached: sub-01/ses-4" in text


def test_long_log_is_shown_by_its_last_lines(layout: Layout) -> None:
    lines = ["---- standardise", *(f"line {i}" for i in range(20))]
    write_text(layout.log("sub-01", "ses-3"), "\n".join(lines))
    _, text = summary(layout, RunExit(code=1))
    assert "| line 19" in text
    assert "| line 12" in text
    assert "| line 11" not in text


def test_run_without_failure_ends_with_0(layout: Layout) -> None:
    assert summary(layout, RunExit(), slice(2))[0] == 0


def test_unexplained_code_of_snakemake_is_1(layout: Layout) -> None:
    assert summary(layout, RunExit(code=1), slice(2))[0] == 1


def test_run_until_a_step_counts_the_visits_that_came_so_far(layout: Layout) -> None:
    code, text = summary(layout, RunExit(code=0, until="standardise"))
    assert code == EXIT_VISITS_FAILED  # of the visit that had failed
    assert "4 of 4 visits have come to standardise; 1 failed" in text
    assert "not reached" not in text
    code, text = summary(layout, RunExit(until="detect"), slice(3, 4))
    assert code == 0
    assert text.startswith("0 of 1 visits have come to detect; 0 failed\n")


def test_visit_whose_job_left_no_record_has_failed(layout: Layout) -> None:
    lost = [Job("register", "sub-01", "ses-4")]
    code, text = summary(layout, RunExit(code=1, lost=lost))
    assert code == EXIT_VISITS_FAILED
    assert "failed: sub-01/ses-4: register: ended without" in text
    assert "2 failed" in text
    assert "register: the disk is full" in summary(layout, RunExit(code=1, lost=lost, disk_full=True))[1]


def test_lost_table_and_full_disk_are_failures(layout: Layout) -> None:
    write_text(layout.out_dir / "logs" / "compile_metrics.log", "no room\n")
    code, text = summary(layout, RunExit(code=1, lost=[Job("compile_metrics")]), slice(1))
    assert code == EXIT_VISITS_FAILED
    assert "failed: compile_metrics\n    | no room" in text
    code, text = summary(layout, RunExit(code=1, lost=[Job("compile_ledger", "sub-01")]), slice(1))
    assert "failed: compile_ledger of sub-01" in text
    code, text = summary(layout, RunExit(disk_full=True), slice(1))
    assert code == EXIT_VISITS_FAILED
    assert "is full: free space" in text


@pytest.mark.parametrize("study", [True, False])
def test_reader_is_told_where_to_look(layout: Layout, study: bool) -> None:
    if study:
        for name in ("index.html", "visit_metrics.tsv", "participant_endpoints.tsv"):
            write_text(layout.out_dir / name, "")
    _, text = summary(layout, RunExit(), slice(1))
    page = layout.study_page() if study else layout.page("sub-01", "ses-1")
    assert f"page   {page}" in text
    assert ("visit_metrics.tsv" in text) is study
