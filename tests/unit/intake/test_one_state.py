"""Summary, receipt, page of the site, list of queries and what a run reads say the same of one visit."""

import re
from pathlib import Path

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.queries import read_queries
from mesems_mri.intake.flow import Submission
from mesems_mri.intake.receipt_store import read_receipts
from mesems_mri.intake.summary import summary_lines
from tests.unit.intake.scans import FLAIR
from tests.unit.intake.test_answers import answer, say, the_query
from tests.unit.intake.test_flow import DAY_W04, POST, Trial, write_scan
from tests.unit.intake.test_joining import write_day
from tests.unit.report.html import Page


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def text_of(page: Path) -> str:
    return " ".join(Page(page.read_text(encoding="utf-8")).text.split())


def on_hold(trial: Trial, submission: Submission | None = None) -> dict[str, bool]:
    """Return whether each visit is on hold, after asserting that all who say so agree."""
    (participant,) = index_dataset(trial.bids, TrialConfig())
    run = {f"sub-001/{s.session_id}": bool(s.open_queries) for s in participant.sessions if s.images}
    held = sum(run.values())
    counted = re.search(r"(\d+) visits? (?:is|are) on hold", say("query", "list", trial.bids))
    assert counted and int(counted[1]) == held
    site = text_of(trial.bids / "sites" / "S01.html")
    assert ("visit waits" in site or "visits wait" in site) == bool(held)
    for receipt in read_receipts(trial.bids):
        if receipt.session_id:
            page = text_of(trial.bids / "receipts" / f"{receipt.submission_id}.html")
            assert ("On hold." in page) == run[f"{receipt.participant_id}/{receipt.session_id}"], page[:300]
    if submission:
        said = "\n".join(summary_lines(submission))
        for visit, held_now in run.items():
            if visit in said:
                told = said.split(visit)[1].split("  visit ")[1].splitlines()[0]
                assert told.strip().startswith("on hold: Q") == held_now
    return run


def test_all_say_the_same_before_and_after_an_answer(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    write_scan(sent / "z", "FLAIR", series=7, **FLAIR)
    trial.examination(sent / "later", **DAY_W04)
    submission = trial.run_intake(sent)
    assert on_hold(trial, submission) == {"sub-001/ses-w00": True, "sub-001/ses-w04": False}
    (wanted,) = [row["series_id"] for row in trial.rows() if row["series_number"] == "7"]
    answer(trial, the_query(trial, "several_candidates"), "--series", wanted)
    assert on_hold(trial) == {"sub-001/ses-w00": True, "sub-001/ses-w04": False}
    assert "answered on" in text_of(trial.bids / "sites" / "S01.html")
    assert not any(on_hold(trial, trial.run_intake(sent)).values())


def test_a_later_submission_frees_the_visit_on_the_earlier_receipt_too(
    trial: Trial, repository: Path
) -> None:
    protocol = repository / "config" / "protocol.yaml"
    trial.run_intake(write_day(trial.submission(), 4, "T1w", "FLAIR"), protocol=protocol)
    assert on_hold(trial) == {"sub-001/ses-w00": True}
    submission = trial.run_intake(write_day(trial.submission(), 6, "T1w", POST), protocol=protocol)
    assert on_hold(trial, submission) == {"sub-001/ses-w00": False}
    assert len(read_receipts(trial.bids)) == 2


def test_a_later_submission_that_holds_the_visit_says_so_on_the_earlier_receipt(trial: Trial) -> None:
    trial.run_intake(write_day(trial.submission(), 4, "T1w", "FLAIR", POST))
    assert on_hold(trial) == {"sub-001/ses-w00": False}
    trial.run_intake(write_day(trial.submission(), 6, "T2w", PatientSex="M"))
    assert on_hold(trial) == {"sub-001/ses-w00": True}


def test_a_right_visit_does_not_fail_for_another_person(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    other = {"PatientID": "HOSP-1", "PatientName": "Else^Some", "study": 9}
    write_scan(sent / "other", "FLAIR", series=2, **FLAIR | other)
    trial.run_intake(sent, site_id="S01")
    receipts = {receipt.participant_id: receipt for receipt in read_receipts(trial.bids)}
    assert {item.result for item in receipts["sub-001"].identity} <= {"PASS", "UNKNOWN"}
    page = text_of(trial.bids / "receipts" / f"{receipts['sub-001'].submission_id}.html")
    assert "The images are accepted. There is nothing to do." in page
    assert "unknown_participant" not in page
    assert next(i.result for i in receipts[""].identity if i.name == "participant") == "FAIL"
    # of a scan of nobody nothing more is asked, and its sender sees it
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.site_id) == ("unknown_participant", "S01")
    assert "unknown_participant" in text_of(trial.bids / "sites" / "S01.html")
    assert "0 visits are on hold, 1 submission waits for participant or visit" in say(
        "query", "list", trial.bids
    )
