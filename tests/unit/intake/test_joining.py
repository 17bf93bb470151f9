"""A visit of several examinations, days or submissions is joined role by role, and nothing filed is lost."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.queries import read_queries
from mesems_mri.intake.rows import read_rows
from tests.unit.intake.scans import FLAIR, T1, T2
from tests.unit.intake.test_flow import POST, Trial, name, write_scan

DAYS = {
    day: {"StudyDate": f"2024030{day}", "AcquisitionDate": f"2024030{day}", "study": day} for day in (4, 5, 6)
}
KINDS = {
    "T1w": ("T1 pre", T1, 3),
    "FLAIR": ("FLAIR", FLAIR, 2),
    POST: ("T1 post", T1 | {"ContrastBolusAgent": "Dotarem"}, 4),
    "T2w": ("T2", T2, 5),
}


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def write_day(sent: Path, day: int, *roles: str, **tags: Any) -> Path:
    for role in roles:
        words, plain, series = KINDS[role]
        write_scan(sent / str(day) / role, words, series=series, **{**plain, **DAYS[day], **tags})
    return sent


def in_one(trial: Trial, *days: tuple[int, tuple[str, ...]]) -> None:
    sent = trial.submission()
    for day, roles in days:
        write_day(sent, day, *roles)
    trial.run_intake(sent)


def one_by_one(trial: Trial, *days: tuple[int, tuple[str, ...]]) -> None:
    for day, roles in days:
        trial.run_intake(write_day(trial.submission(), day, *roles))


def days_of(trial: Trial) -> dict[str, int]:
    """Return the day of each image, as the number of days after the first that was sent."""
    rows = read_rows(trial.bids / "sub-001/ses-w00/sub-001_ses-w00_scans.tsv")
    days = {
        row["filename"].removeprefix("anat/sub-001_ses-w00_").split(".")[0]: row["acq_time"] for row in rows
    }
    dates = {role: dt.date.fromisoformat(day[:10]) for role, day in days.items()}
    return {role: (day - min(dates.values())).days for role, day in dates.items()}


def session_day(trial: Trial) -> str:
    (row,) = [
        r for r in read_rows(trial.bids / "sub-001/sub-001_sessions.tsv") if r["session_id"] == "ses-w00"
    ]
    return row["acq_time"]


def statuses(trial: Trial) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in trial.rows():
        found.setdefault((row["role"], row["status"]), []).append(row["submission_id"])
    return found


@pytest.mark.parametrize("send", [in_one, one_by_one])
def test_a_scan_completed_on_another_day_is_one_visit(trial: Trial, send: Any) -> None:
    send(trial, (4, ("T1w", "FLAIR")), (6, ("T1w", POST)))
    assert trial.images() == sorted([name(POST), name("FLAIR"), name("T1w")])
    assert trial.codes() == []
    found = statuses(trial)
    # the T1w of the day of the post-contrast T1 belongs to it; the other is kept
    assert found["T1w", "filed"] == found[POST, "filed"] != found["FLAIR", "filed"]
    lost = "set_aside" if send is in_one else "replaced"
    assert found["T1w", lost] == found["FLAIR", "filed"]
    (kept,) = (trial.bids / "sourcedata/intake").rglob("*_T1w.nii.gz")
    assert kept.read_bytes() != (trial.bids / name("T1w")).read_bytes()
    assert days_of(trial) == {"FLAIR": 0, "T1w": 2, POST: 2}
    (participant,) = index_dataset(trial.bids, TrialConfig())
    (visit,) = participant.sessions
    assert sorted(visit.images) == sorted(["FLAIR", "T1w", POST])
    assert str(visit.acquired) == session_day(trial)[:10]


@pytest.mark.parametrize("send", [in_one, one_by_one])
def test_complementary_days_are_joined_in_any_order(trial: Trial, send: Any) -> None:
    send(trial, (6, ("T1w", POST)), (4, ("T2w",)), (5, ("FLAIR",)))
    assert trial.images() == sorted(name(role) for role in KINDS)
    assert trial.codes() == []
    assert days_of(trial) == {"T2w": 0, "FLAIR": 1, "T1w": 2, POST: 2}
    assert {status for _, status in statuses(trial)} == {"filed"}


@pytest.mark.parametrize("send", [in_one, one_by_one])
def test_a_t1w_of_a_later_day_does_not_take_the_place_of_the_one_of_a_pair(trial: Trial, send: Any) -> None:
    send(trial, (4, ("T1w", POST)), (6, ("T1w", "FLAIR")))
    found = statuses(trial)
    assert found["T1w", "filed"] == found[POST, "filed"]
    assert found["T1w", "set_aside"] == found["FLAIR", "filed"]
    assert trial.codes() == []
    assert days_of(trial) == {"T1w": 0, POST: 0, "FLAIR": 2}


def test_a_role_of_two_days_is_asked_and_taken_from_neither(trial: Trial) -> None:
    in_one(trial, (4, ("T1w", "FLAIR")), (6, ("FLAIR", POST)))
    assert trial.images() == sorted([name("T1w"), name(POST)])
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.role, query.blocks_visit) == ("several_candidates", "FLAIR", True)
    assert len(query.series_id.split(",")) == 2
    # nothing of it is a day of the calendar
    assert "2024" not in query.what


def test_a_role_of_two_days_in_two_submissions_is_asked_and_what_is_filed_stays(trial: Trial) -> None:
    one_by_one(trial, (4, ("T1w", "FLAIR")))
    before = (trial.bids / name("FLAIR")).read_bytes()
    one_by_one(trial, (6, ("FLAIR", POST)))
    assert trial.images() == sorted([name("T1w"), name("FLAIR"), name(POST)])
    assert (trial.bids / name("FLAIR")).read_bytes() == before
    (query,) = [query for query in read_queries(trial.bids) if query.status == "open"]
    assert (query.code.value, query.detail.split(",")[-1], query.blocking) == (
        "already_received",
        "FLAIR",
        False,
    )
    assert query.series_id in {row["series_id"] for row in trial.rows() if row["status"] == "set_aside"}


def test_a_broken_scan_of_one_day_gives_way_to_a_whole_one_of_another(trial: Trial) -> None:
    sent = write_day(trial.submission(), 4, "T1w", "FLAIR")
    (sent / "4" / "FLAIR" / "0007.dcm").unlink()
    trial.run_intake(write_day(sent, 6, "FLAIR", POST))
    assert trial.images() == sorted([name("T1w"), name("FLAIR"), name(POST)])
    assert trial.codes() == []
    assert days_of(trial) == {"T1w": 0, "FLAIR": 2, POST: 2}


def test_a_day_with_nothing_usable_does_not_hold_a_visit_that_is_there(trial: Trial) -> None:
    sent = write_day(trial.submission(), 6, "T1w", "FLAIR", POST)
    write_scan(sent / "4" / "loc", "localizer", series=1, slices=3, **DAYS[4])
    trial.run_intake(sent)
    assert len(trial.images()) == 3
    assert trial.codes(blocking=True) == []
    assert trial.codes() == ["nothing_usable"]


def test_what_is_missing_of_all_days_is_asked_once(trial: Trial, repository: Path) -> None:
    sent = write_day(trial.submission(), 4, "T1w")
    trial.run_intake(write_day(sent, 6, "FLAIR"), protocol=repository / "config" / "protocol.yaml")
    missing = [query for query in read_queries(trial.bids) if query.code == "missing_sequence"]
    assert [query.detail for query in missing] == [POST]


def test_the_same_days_again_change_nothing(trial: Trial) -> None:
    sent = write_day(write_day(trial.submission(), 4, "T1w", "FLAIR"), 6, "T1w", POST)
    trial.run_intake(sent)
    before = trial.bytes()
    trial.run_intake(sent)
    assert trial.bytes() == before


def test_an_image_of_another_day_closes_no_query_about_what_is_still_missing(trial: Trial) -> None:
    sent = write_day(trial.submission(), 4, "FLAIR")
    write_scan(sent / "4" / "x", "T1", series=6, **{**T1, **DAYS[4]})
    (sent / "4" / "FLAIR" / "0007.dcm").unlink()
    trial.run_intake(sent)
    assert sorted(trial.codes(blocking=True)) == ["contrast_unclear", "missing_slices"]
    trial.run_intake(write_day(trial.submission(), 6, "T2w"))
    assert trial.images() == [name("T2w")]
    assert set(trial.codes(blocking=True)) >= {"contrast_unclear", "missing_slices"}
    trial.run_intake(write_day(trial.submission(), 5, "T1w", "FLAIR", POST))
    assert trial.images() == sorted(name(role) for role in KINDS)
    assert trial.codes(blocking=True) == []


def test_a_part_of_what_is_missing_leaves_one_query_about_the_rest(trial: Trial, repository: Path) -> None:
    protocol = repository / "config" / "protocol.yaml"
    for day, role in ((4, "T1w"), (5, "FLAIR"), (6, POST)):
        trial.run_intake(write_day(trial.submission(), day, role), protocol=protocol)
        missing = [query for query in read_queries(trial.bids) if query.code == "missing_sequence"]
        assert sum(query.is_open for query in missing) == (role != POST)
    assert trial.codes(blocking=True) == []
