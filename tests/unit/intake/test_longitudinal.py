"""Two visits of a participant: what differs from the first is said, and what recurs is asked once a site."""

from pathlib import Path

import pytest

from mesems_mri.dataset.queries import read_queries
from mesems_mri.files import read_json
from mesems_mri.intake.baseline import ENTRY
from tests.unit.intake.test_flow import DAY_W04, Trial


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_a_changed_flip_angle_is_a_deviation_from_the_own_baseline(trial: Trial, repository: Path) -> None:
    protocol = repository / "config" / "protocol.yaml"
    first = trial.run_intake(
        trial.examination(trial.submission(), FlipAngle="9", SeriesDate="20240301"), protocol=protocol
    )
    (visit,) = first.visits
    assert not [i for items in visit.protocol_items.values() for i in items if "baseline" in i.name]
    sidecars = sorted(trial.bids.glob("sub-*/ses-*/anat/*.json"))
    assert {read_json(path)[ENTRY]["flip_angle_deg"] for path in sidecars} == {9.0}
    second = trial.run_intake(
        trial.examination(trial.submission(), FlipAngle="20", **DAY_W04), protocol=protocol
    )
    (visit,) = second.visits
    items = {item.name: item for item in visit.protocol_items["FLAIR"]}
    assert (items["baseline_flip_angle"].result, items["baseline_flip_angle"].value) == ("FAIL", "20 degrees")
    assert items["baseline_echo_time"].result == "PASS"
    told = [q for q in second.queries if "baseline_flip_angle=20/9" in q.values]
    assert {q.role for q in told} == set(visit.protocol_items)
    assert not any(q.blocking for q in told)


def test_what_recurs_is_one_query_with_its_visits(trial: Trial, repository: Path) -> None:
    protocol = repository / "config" / "protocol.yaml"
    one = trial.run_intake(trial.examination(trial.submission()), protocol=protocol)
    before = {q.query_id: q for q in one.queries if q.code == "protocol_deviation"}
    two = trial.run_intake(trial.examination(trial.submission(), **DAY_W04), protocol=protocol)
    after = [q for q in read_queries(trial.bids) if q.code == "protocol_deviation"]
    assert [q.query_id for q in after] == list(before)
    names = [visit.name for visit in (*one.visits, *two.visits)]
    assert {q.visit_names for q in after} == {tuple(names)}
    assert {(q.participant_id, q.session_id, q.submission_id) for q in after} == {("", "", "")}
    # the receipt of the second visit shows the query, and the page of the site shows it once
    receipt = (trial.bids / "receipts" / f"{two.visits[0].submission_id}.html").read_text(encoding="utf-8")
    (site,) = (trial.bids / "sites").glob("*.html")
    page = site.read_text(encoding="utf-8")
    for query in after:
        assert query.query_id in receipt
        assert page.count(f'<th scope="row" class="nowrap">{query.query_id}</th>') == 1
    assert names[1].replace("/", " · ") in page
