"""Answers are carried out by the next intake, and nothing else frees a visit whose image is missing."""

import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.queries import Query, blocking_queries, read_queries
from mesems_mri.errors import MesemsError
from mesems_mri.intake.convert import Dcm2niixRun
from mesems_mri.intake.receipt_store import read_receipts
from mesems_mri.report.qualification import queries_on_receipt
from tests.unit.intake.scans import FLAIR, T1, write_enhanced
from tests.unit.intake.test_flow import ALL_THREE, DAY_W04, POST, Trial, name, write_scan
from tests.unit.intake.test_joining import in_one, write_day

UNDATED = {"StudyDate": None, "AcquisitionDate": None}


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def say(*arguments: object) -> str:
    """Give a command; return what it says, or the error in one sentence."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exit_code:
        assert isinstance(result.exception, MesemsError), result.exception
        return str(result.exception)
    return result.output


def answer(trial: Trial, query: Query, *options: object) -> str:
    return say("query", "answer", trial.bids, query.query_id, "--by", "A. Reader", *options)


def close(trial: Trial, query: Query) -> str:
    return say("query", "close", trial.bids, query.query_id, "--by", "A. Reader", "--reason", "settled")


def the_query(trial: Trial, code: str) -> Query:
    (query,) = [query for query in read_queries(trial.bids) if query.code == code]
    return query


def status(trial: Trial, code: str) -> str:
    return the_query(trial, code).status


def undated(trial: Trial) -> Path:
    return write_day(trial.submission(), 4, "T1w", "FLAIR", POST, **UNDATED)


def test_a_visit_is_named_for_a_scan_without_a_date(trial: Trial) -> None:
    sent = undated(trial)
    trial.run_intake(sent)
    query = the_query(trial, "no_scan_date")
    assert "waits for an answer: --visit or --not-acquired" in say("query", "list", trial.bids)
    assert re.fullmatch(
        r"Q\d+: no_scan_date waits for an image .* --visit or --not-acquired, .*", close(trial, query)
    )
    assert "next intake of submission" in answer(trial, query, "--visit", "w00")
    assert "--visit does not" not in say("query", "list", trial.bids)
    assert list(blocking_queries(trial.bids)) == [("sub-001", ""), ("sub-001", "ses-w00")]
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    assert blocking_queries(trial.bids) == {}
    done = the_query(trial, "no_scan_date")
    assert (done.status, done.closed_by, done.answer, done.answered_by) == (
        "closed",
        "intake",
        "visit=ses-w00",
        "A. Reader",
    )
    before = trial.bytes()
    trial.run_intake(sent)  # the answer holds when the submission comes again
    assert trial.bytes() == before


def test_a_visit_that_the_schedule_does_not_have_opens_the_query_again(trial: Trial) -> None:
    sent = undated(trial)
    trial.run_intake(sent)
    answer(trial, the_query(trial, "no_scan_date"), "--visit", "ses-w99")
    trial.run_intake(sent)
    query = the_query(trial, "no_scan_date")
    assert (query.status, trial.images()) == ("open", [])
    assert "was not carried out: the visit schedule has no sub-001/ses-w99" in query.state


def test_a_participant_is_named_for_an_unknown_id(trial: Trial) -> None:
    sent = trial.examination(trial.submission(), PatientID="HOSP-77")
    trial.run_intake(sent)
    answer(trial, the_query(trial, "unknown_participant"), "--participant", "sub-001")
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    assert status(trial, "unknown_participant") == "closed"


@pytest.mark.parametrize(
    ("tags", "code"),
    [({"PatientSex": "M"}, "sex_differs"), ({"PatientBirthDate": "19810101"}, "birth_date_differs")],
)
def test_the_same_person_is_filed(trial: Trial, tags: dict[str, Any], code: str) -> None:
    trial.run_intake(trial.examination(trial.submission()))
    sent = trial.examination(trial.submission(), **tags, **DAY_W04)
    trial.run_intake(sent)
    query = the_query(trial, code)
    assert "waits for an image" in close(trial, query)
    answer(trial, query, "--same-person")
    trial.run_intake(sent)
    assert len(trial.images()) == 6
    assert status(trial, code) == "closed"
    receipt = next(r for r in read_receipts(trial.bids) if r.session_id == "ses-w04")
    results = {item.name: item.result for item in receipt.identity}
    assert {results["sex"], results["birth_date"]} == {"PASS"}


def two_volumes(sent: Path, *, interleaved: bool) -> None:
    for volume in range(2):
        first = 1 if interleaved else 1 + 12 * volume
        write_scan(sent / f"v{volume}", "FLAIR", series=2, first=first, **FLAIR)
    for volume in range(2):
        for place, path in enumerate(sorted((sent / f"v{volume}").iterdir())):
            dataset = pydicom.dcmread(path)
            at = 1 + (2 * place + volume if interleaved else 12 * volume + place)
            dataset.InstanceNumber, dataset.SOPInstanceUID = at, f"2.25.{900 + at}"
            dataset.PixelData = np.full((16, 20), 100 * (volume + 1) + place, "<u2").tobytes()
            pydicom.dcmwrite(path, dataset, enforce_file_format=True)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("volume", [1, 2])
def test_a_volume_is_taken_out_of_a_series(trial: Trial, volume: int, interleaved: bool) -> None:
    sent = trial.examination(trial.submission())
    shutil.rmtree(sent / "a")
    two_volumes(sent, interleaved=interleaved)
    trial.run_intake(sent)
    query = the_query(trial, "several_volumes")
    assert name("FLAIR") not in trial.images()
    assert "does not answer several_volumes; answer it with --volume or --not-acquired" in answer(
        trial, query, "--visit", "w00"
    )
    assert "waits for an image" in close(trial, query)
    answer(trial, query, "--volume", volume)
    trial.run_intake(sent)
    voxels = np.asarray(nib.load(trial.bids / name("FLAIR")).dataobj)
    assert sorted(np.unique(voxels)) == [100 * volume + place for place in range(12)]
    assert trial.codes(status="open") == []
    assert [row["status"] for row in trial.rows() if row["role"] == "FLAIR"] == ["filed"]


@pytest.mark.parametrize("volume", [1, 2])
def test_a_volume_is_taken_out_of_a_multi_frame_object(trial: Trial, volume: int) -> None:
    sent = trial.submission()
    sent.mkdir()
    timing = FLAIR | {"EchoTime": None}
    path = write_enhanced(sent / "1", "FLAIR", echoes=(110.0, 110.0), series=2, **timing)
    dataset = pydicom.dcmread(path)
    frames = [np.full((16, 20), 100 * (1 + at // 40) + at % 40, "<u2") for at in range(80)]
    dataset.PixelData = b"".join(frame.tobytes() for frame in frames)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    trial.run_intake(sent)
    answer(trial, the_query(trial, "several_volumes"), "--volume", volume)
    trial.run_intake(sent)
    voxels = np.asarray(nib.load(trial.bids / name("FLAIR")).dataobj)
    assert sorted(np.unique(voxels)) == [100 * volume + place for place in range(40)]
    assert status(trial, "several_volumes") == "closed"


def test_a_volume_that_is_not_there_opens_the_query_again(trial: Trial) -> None:
    sent = trial.submission()
    two_volumes(sent, interleaved=False)
    trial.run_intake(sent)
    answer(trial, the_query(trial, "several_volumes"), "--volume", 3)
    trial.run_intake(sent)
    assert the_query(trial, "several_volumes").reason.endswith("it has 2 volumes, and none of the number 3")
    assert trial.images() == []


def test_a_series_is_named_for_a_role(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    write_scan(sent / "z", "FLAIR", series=7, **FLAIR)
    trial.run_intake(sent)
    (wanted,) = [row["series_id"] for row in trial.rows() if row["series_number"] == "7"]
    query = the_query(trial, "several_candidates")
    assert "waits for an image" in close(trial, query)
    answer(trial, query, "--series", wanted)
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    assert [row["status"] for row in trial.rows() if row["series_number"] == "7"] == ["filed"]
    assert trial.codes() == []


def test_a_series_that_was_classified_otherwise_is_the_missing_one(trial: Trial, repository: Path) -> None:
    sent = trial.examination(trial.submission())
    shutil.rmtree(sent / "a")
    write_scan(sent / "a", "odd", series=2, RepetitionTime=200, EchoTime=60, ScanningSequence="SE")
    protocol = repository / "config" / "protocol.yaml"
    trial.run_intake(sent, protocol=protocol)
    query = the_query(trial, "missing_sequence")
    (wanted,) = [row["series_id"] for row in trial.rows() if row["series_number"] == "2"]
    answer(trial, query, "--series", f"FLAIR={wanted}")
    trial.run_intake(sent, protocol=protocol)
    assert name("FLAIR") in trial.images()
    assert status(trial, "missing_sequence") == "closed"
    assert trial.codes(blocking=True) == []


def test_a_set_aside_series_replaces_the_filed_one_once(trial: Trial) -> None:
    first = write_day(trial.submission(), 4, "T1w", "FLAIR", POST)
    second = write_day(trial.submission(), 6, "FLAIR")
    trial.run_intake(first)
    trial.run_intake(second)
    before = (trial.bids / name("FLAIR")).read_bytes()
    query = the_query(trial, "already_received")
    answer(trial, query, "--series", query.series_id)
    trial.run_intake(second)
    after = (trial.bids / name("FLAIR")).read_bytes()
    assert after != before
    assert trial.images() == sorted(ALL_THREE)
    assert status(trial, "already_received") == "closed"
    trial.run_intake(first)  # sent once more, what was replaced does not come back
    assert (trial.bids / name("FLAIR")).read_bytes() == after


def test_days_are_merged_on_the_day_of_the_post_contrast_t1(trial: Trial) -> None:
    in_one(trial, (4, ("T1w", "FLAIR")), (6, ("FLAIR", POST)))
    query = the_query(trial, "several_candidates")
    answer(trial, query, "--merge")
    trial.run_intake(trial.folder / "sent1")
    assert trial.images() == sorted(ALL_THREE)
    owners = {row["role"]: row["submission_id"] for row in trial.rows() if row["status"] == "filed"}
    assert owners["FLAIR"] == owners[POST] != owners["T1w"]
    assert trial.codes() == []


def test_a_series_of_one_of_two_days_is_named(trial: Trial) -> None:
    in_one(trial, (4, ("T1w", "FLAIR")), (6, ("FLAIR", POST)))
    query = the_query(trial, "several_candidates")
    wanted = query.series_id.split(",")[0]
    answer(trial, query, "--series", wanted)
    trial.run_intake(trial.folder / "sent1")
    assert trial.images() == sorted(ALL_THREE)
    assert [
        row["series_id"] for row in trial.rows() if (row["role"], row["status"]) == ("FLAIR", "filed")
    ] == [wanted]
    assert trial.codes() == []


def test_a_day_between_visits_is_merged_with_the_nearest_examination(trial: Trial) -> None:
    trial.run_intake(write_day(trial.submission(), 4, "T1w", POST))
    late = {"StudyDate": "20240318", "AcquisitionDate": "20240318", "study": 8}
    sent = trial.submission()
    write_scan(sent / "a", "FLAIR", series=2, **FLAIR, **late)
    trial.run_intake(sent)
    answer(trial, the_query(trial, "visit_unclear"), "--merge")
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    assert status(trial, "visit_unclear") == "closed"


def test_another_visit_is_named_for_a_scan_outside_the_window(trial: Trial) -> None:
    late = {"StudyDate": "20240311", "AcquisitionDate": "20240311"}
    sent = trial.examination(trial.submission(), **late)
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    answer(trial, the_query(trial, "outside_window"), "--visit", "ses-w04")
    trial.run_intake(sent)
    moved = [path.replace("ses-w00", "ses-w04") for path in ALL_THREE]
    assert trial.images() == sorted(moved)
    assert trial.codes() == []
    assert not list((trial.bids / "sub-001/ses-w00").rglob("*.tsv"))
    assert {(row["session_id"], row["status"]) for row in trial.rows()} == {("ses-w04", "filed")}


def test_a_series_that_was_never_sent_is_refused(trial: Trial) -> None:
    trial.run_intake(with_second_flair(trial))
    query = the_query(trial, "several_candidates")
    assert "no series 2.25.7 was sent" in answer(trial, query, "--series", "2.25.7")
    assert "answer it with --series or --not-acquired" in answer(trial, query, "--merge")


def test_a_series_is_accepted_as_it_is(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    (sent / "a" / "0012.dcm").unlink()
    (sent / "a" / "0010.dcm").unlink()
    trial.run_intake(sent)
    query = the_query(trial, "missing_slices")
    assert "waits for an image" in close(trial, query)
    answer(trial, query, "--accept")
    trial.run_intake(sent)
    after = the_query(trial, "missing_slices")
    if name("FLAIR") in trial.images():
        assert after.status == "closed"
    else:  # no volume can be made of it, and the query says so
        assert after.status == "open"
        assert "was not carried out: no volume can be made of it" in after.state
    assert (not blocking_queries(trial.bids)) == (name("FLAIR") in trial.images())


def test_burned_in_text_that_is_none_is_accepted(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    shutil.rmtree(sent / "b")
    write_scan(sent / "b", "T1", series=3, BurnedInAnnotation="YES", **T1)
    trial.run_intake(sent)
    query = the_query(trial, "burned_in_text")
    assert "waits for an image" in close(trial, query)
    answer(trial, query, "--accept")
    assert status(trial, "burned_in_text") == "answered"
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    assert trial.codes() == []


def test_what_was_not_acquired_frees_the_visit_at_once_and_is_never_filed(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    (sent / "a" / "0007.dcm").unlink()
    trial.run_intake(sent)
    said = answer(trial, the_query(trial, "missing_slices"), "--not-acquired", "--reason", "scanner failed")
    assert "is closed on" in said
    assert "sub-001/ses-w00 has no blocking query left" in said
    trial.run_intake(sent)
    assert name("FLAIR") not in trial.images()
    assert blocking_queries(trial.bids) == {}


def test_a_person_who_is_another_one_stays_out(trial: Trial) -> None:
    sent = trial.examination(trial.submission(), PatientSex="M")
    trial.run_intake(sent)
    answer(trial, the_query(trial, "sex_differs"), "--not-acquired")
    trial.run_intake(sent)
    assert trial.images() == []


BROKEN = {
    "no_scan_date": lambda trial: undated(trial),
    "unknown_participant": lambda trial: trial.examination(trial.submission(), PatientID="X"),
    "missing_slices": lambda trial: without_slice(trial),
    "damaged_pixels": lambda trial: cut_short(trial),
    "uneven_spacing": lambda trial: moved_slice(trial),
    "several_candidates": lambda trial: with_second_flair(trial),
    "nothing_usable": lambda trial: only_a_localizer(trial),
    "sex_differs": lambda trial: trial.examination(trial.submission(), PatientSex="M"),
    "visit_unclear": lambda trial: trial.examination(
        trial.submission(), StudyDate="20240601", AcquisitionDate="20240601"
    ),
    "conversion_failed": lambda trial: trial.examination(trial.submission()),
}


def without_slice(trial: Trial) -> Path:
    sent = trial.examination(trial.submission())
    (sent / "a" / "0007.dcm").unlink()
    return sent


def cut_short(trial: Trial) -> Path:
    sent = trial.examination(trial.submission())
    path = sent / "a" / "0007.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    return sent


def moved_slice(trial: Trial) -> Path:
    sent = trial.examination(trial.submission())
    path = sent / "a" / "0007.dcm"
    dataset = pydicom.dcmread(path)
    dataset.ImagePositionPatient = [-90, -90, float(dataset.ImagePositionPatient[2]) + 4.0]
    pydicom.dcmwrite(path, dataset)
    return sent


def with_second_flair(trial: Trial) -> Path:
    sent = trial.examination(trial.submission())
    write_scan(sent / "z", "FLAIR", series=7, **FLAIR)
    return sent


def only_a_localizer(trial: Trial) -> Path:
    sent = trial.submission()
    write_scan(sent / "a", "localizer", series=1, slices=3)
    return sent


@pytest.mark.parametrize("code", BROKEN)
def test_closing_alone_never_frees_a_visit_whose_image_is_missing(
    trial: Trial, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = BROKEN[code](trial)
    if code == "conversion_failed":
        monkeypatch.setattr("mesems_mri.intake.convert.run_dcm2niix", lambda *_: Dcm2niixRun([]))
    trial.run_intake(sent)
    asked = [query for query in read_queries(trial.bids) if query.code == code]
    assert asked
    for query in asked:
        before = read_queries(trial.bids)
        told = close(trial, query)
        assert told.startswith(f"{query.query_id}: {code} waits for an image that is not filed")
        assert "--not-acquired" in told
        assert read_queries(trial.bids) == before
    held = blocking_queries(trial.bids)
    # the list, the receipt and what a run reads say the same
    listed = say("query", "list", trial.bids)
    assert all(f"{query.query_id}  {code}" in listed for query in asked)
    for receipt in read_receipts(trial.bids):
        shown = {q.query_id for q in queries_on_receipt(receipt, read_queries(trial.bids)) if q.blocks_visit}
        assert shown == {q.query_id for found in held.values() for q in found}
        page = (trial.bids / "receipts" / f"{receipt.submission_id}.html").read_text(encoding="utf-8")
        assert "On hold." in page
    if trial.images():
        (participant,) = index_dataset(trial.bids, TrialConfig())
        assert participant.sessions[0].open_queries


def test_an_answer_is_one_and_fits(trial: Trial) -> None:
    trial.run_intake(undated(trial))
    query = the_query(trial, "no_scan_date")
    assert "0 answers are given, expected one of --visit or" in answer(trial, query)
    assert "2 answers are given" in answer(trial, query, "--accept", "--merge")
    assert "--accept does not answer no_scan_date" in answer(trial, query, "--accept")
    assert "'w 4' is no label" in answer(trial, query, "--visit", "w 4")
    assert "--by is intake" in say(
        "query", "answer", trial.bids, query.query_id, "--by", "intake", "--visit", "w00"
    )
    assert "no query Q0099" in say("query", "answer", trial.bids, "Q0099", "--by", "A", "--visit", "w00")
    assert status(trial, "no_scan_date") == "open"


def test_a_table_changed_by_hand_is_noticed_and_is_no_answer(trial: Trial) -> None:
    trial.run_intake(without_slice(trial))
    table = trial.bids / "queries.tsv"
    whole = table.read_text(encoding="utf-8")
    table.write_text(whole.replace("\topen\t", "\tclosed\t"), encoding="utf-8")
    for command in (("query", "list"), ("query", "pages")):
        told = say(*command, trial.bids)
        assert (
            "was changed by hand, which is no answer (Q0001 has the status 'closed', expected 'open')" in told
        )
        assert "mesems-mri query restore" in told
    with pytest.raises(MesemsError, match="changed by hand"):
        index_dataset(trial.bids, TrialConfig())
    with pytest.raises(MesemsError, match="changed by hand"):
        trial.run_intake(trial.examination(trial.submission(), **DAY_W04))
    assert "1 queries" in say("query", "restore", trial.bids)
    assert table.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("change", ["added", "gone", "log"])
def test_rows_and_lines_that_come_or_go_are_noticed(trial: Trial, change: str) -> None:
    trial.run_intake(without_slice(trial))
    trial.run_intake(trial.examination(trial.submission(), PatientSex="M", **DAY_W04))
    table, log = trial.bids / "queries.tsv", trial.bids / ".queries.log"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    if change == "added":
        table.write_text("".join([*lines, lines[1].replace("Q0001", "Q0009")]), encoding="utf-8")
        assert "(Q0009 was added)" in say("query", "list", trial.bids)
    elif change == "gone":
        table.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")
        assert "(Q0001 is gone)" in say("query", "list", trial.bids)
    else:
        log.write_text(log.read_text(encoding="utf-8").replace('"open"', '"closed"'), encoding="utf-8")
        assert "line 1 was changed by hand" in say("query", "list", trial.bids)


def test_a_lost_log_is_not_made_anew_unseen(trial: Trial) -> None:
    trial.run_intake(without_slice(trial))
    (trial.bids / ".queries.log").unlink()
    assert "changes of queries.tsv by hand cannot be seen" in say("query", "list", trial.bids)
    assert "cannot be restored" not in say("query", "restore", trial.bids, "--as-it-is", "--by", "A. Reader")
    assert "1 of 1 queries" in say("query", "list", trial.bids)
