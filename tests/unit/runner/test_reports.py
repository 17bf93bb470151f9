"""A request to make the pages again, and nothing else."""

from pathlib import Path

import pytest

from mesems_mri.dataset.bids import Participant
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import UsageError
from mesems_mri.files import write_text
from mesems_mri.runner.reports import REPORT_RULES, measured, reports_options, reports_request
from mesems_mri.runner.request import RunRequest
from tests.unit.runner.conftest import SESSIONS

PEOPLE = (Participant(participant_id="sub-01", site_id="", sessions=tuple(SESSIONS)),)


def request(layout: Layout, **options: object) -> RunRequest:
    return RunRequest(bids_dir=Path("bids"), out_dir=layout.out_dir, reports_only=True, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("table", "level", "expected"),
    [
        (True, "all", "group"),
        (True, "group", "group"),
        (True, "participant", "participant"),
        (False, "all", "participant"),
    ],
)
def test_page_of_the_study_needs_its_tables(layout: Layout, table: bool, level: str, expected: str) -> None:
    if table:
        write_text(layout.out_dir / "visit_metrics.tsv", "")
    assert reports_request(request(layout, level=level), layout, PEOPLE).level == expected


@pytest.mark.parametrize(
    ("option", "value"), [("until", "detect"), ("force", "detect"), ("only_failed", True)]
)
def test_option_that_contradicts_is_named(layout: Layout, option: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"leave out --{option.replace('_', '-')}"):
        reports_request(request(layout, **{option: value}), layout, PEOPLE)


def test_nothing_measured_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(UsageError, match="without --reports-only first"):
        reports_request(request(layout), layout, PEOPLE)


def test_measured_visits_are_counted(layout: Layout) -> None:
    assert measured(layout, PEOPLE) == 3


def test_snakemake_may_run_and_must_run_the_rules_of_pages() -> None:
    rules = list(REPORT_RULES)
    assert reports_options("group") == ["--allowed-rules", "group", *rules, "--forcerun", *rules]
