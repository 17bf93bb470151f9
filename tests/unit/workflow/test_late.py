"""A visit before one that is done is refused unless asked for."""

from pathlib import Path

import pytest

from mesems_mri.bids import Layout, Participant, Session
from mesems_mri.errors import UsageError
from mesems_mri.provenance import write_json
from mesems_mri.workflow.late import refuse_late_visits

VISITS = tuple(Session(participant_id="sub-01", session_id=f"ses-{i}") for i in (1, 2))
PEOPLE = (Participant(participant_id="sub-01", site_id="", sessions=VISITS),)


def test_late_visit_is_refused_but_one_that_is_run_again_is_not(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_json(layout.metrics("sub-01", "ses-2"), {})
    asked = {("sub-01", "ses-1")}
    with pytest.raises(UsageError, match="sub-01/ses-1"):
        refuse_late_visits(layout, PEOPLE, asked, allow_insert=False)
    refuse_late_visits(layout, PEOPLE, asked, allow_insert=True)
    layout.work("sub-01", "ses-1").mkdir(parents=True)
    refuse_late_visits(layout, PEOPLE, asked, allow_insert=False)


def test_later_visit_that_a_killed_run_has_only_begun_makes_none_late(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.work("sub-01", "ses-2").mkdir(parents=True)
    refuse_late_visits(layout, PEOPLE, {("sub-01", "ses-1")}, allow_insert=False)
