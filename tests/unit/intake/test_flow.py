"""From what a site sends to BIDS, series table and queries."""

import gzip
import json
import shutil
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.queries import answer_query, close_query, read_queries
from mesems_mri.dataset.query_answers import Answer, AnswerKind
from mesems_mri.errors import DatasetError, ForbiddenColumnError, MesemsError, UsageError
from mesems_mri.intake import filing
from mesems_mri.intake.context import IntakeRequest
from mesems_mri.intake.deidentify.keys import default_folder, open_keys
from mesems_mri.intake.dicom.archives import ArchiveLimits
from mesems_mri.intake.flow import Submission, run_intake
from mesems_mri.intake.receipt_store import read_receipts
from mesems_mri.intake.rows import read_rows
from mesems_mri.intake.summary import summary_lines
from tests.identifier_search import Planted, search, search_text
from tests.unit.dataset.test_schedule import ROW, write
from tests.unit.intake.scans import FLAIR, MPRAGE, T1, T2, write_enhanced, write_series

POST = "ce-gadolinium_T1w"
W04 = ROW | {"session_id": "ses-w04", "week": "4", "planned_date": "2024-04-01"}
SECOND = ROW | {"participant_id": "sub-002", "dicom_patient_id": "MSC-002", "site_id": "S02", "sex": "M"}
PERSON_2 = {
    "PatientID": "MSC-002",
    "PatientName": "Some^Body",
    "PatientSex": "M",
    "PatientBirthDate": "19751231",
}
DAY_W04 = {"StudyDate": "20240402", "AcquisitionDate": "20240402", "study": 4}


write_scan = partial(write_series, slices=12, spacing=10.0)
"""A series that covers a head with few slices."""


class Trial:
    """A trial whose sites send scans."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bids = folder / "bids"
        self.sheet = write(folder, ROW, W04, SECOND)
        self.deliveries = 0

    def submission(self) -> Path:
        self.deliveries += 1
        return self.folder / f"sent{self.deliveries}"

    def examination(self, sent: Path, **tags: Any) -> Path:
        """Write an examination of all that is asked for."""
        write_scan(sent / "a", "FLAIR", series=2, **{**FLAIR, **tags})
        write_scan(sent / "b", "T1", series=3, **{**T1, **tags})
        write_scan(sent / "c", "T1", series=4, **{**T1, "ContrastBolusAgent": "Dotarem", **tags})
        return sent

    def run_intake(self, sent: Path, **options: Any) -> Submission:
        return run_intake(
            IntakeRequest(**{"submission": sent, "bids_dir": self.bids, "sheet": self.sheet, **options})
        )

    def images(self) -> list[str]:
        return sorted(
            p.relative_to(self.bids).as_posix() for p in self.bids.glob("sub-*/ses-*/anat/*.nii.gz")
        )

    def rows(self) -> list[dict[str, str]]:
        return read_rows(self.bids / "series.tsv")

    def codes(self, *, blocking: bool | None = None, status: str = "open") -> list[str]:
        return [
            query.code.value
            for query in read_queries(self.bids)
            if query.status == status and blocking in (None, query.blocking)
        ]

    def bytes(self) -> dict[str, bytes]:
        return {
            p.relative_to(self.bids).as_posix(): p.read_bytes() for p in self.bids.rglob("*") if p.is_file()
        }


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def name(role: str, visit: str = "sub-001/ses-w00") -> str:
    return f"{visit}/anat/{visit.replace('/', '_')}_{role}.nii.gz"


ALL_THREE = [name(POST), name("FLAIR"), name("T1w")]


def test_an_examination_becomes_bids(trial: Trial) -> None:
    trial.run_intake(trial.examination(trial.submission()))
    assert trial.images() == sorted(ALL_THREE)
    image = nib.load(trial.bids / name("FLAIR"))
    assert image.shape == (20, 16, 12)
    assert np.allclose(image.header.get_zooms(), (0.9, 0.9, 10))
    sidecar = json.loads((trial.bids / name(POST).replace(".nii.gz", ".json")).read_text())
    assert sidecar["ContrastBolusIngredient"] == "GADOLINIUM"
    assert (sidecar["EchoTime"], sidecar["MagneticFieldStrength"]) == (0.012, 3)
    assert [row["status"] for row in trial.rows()] == ["filed"] * 3
    assert not trial.codes()


def test_a_run_finds_what_intake_has_filed(trial: Trial) -> None:
    trial.run_intake(trial.examination(trial.submission()))
    trial.run_intake(trial.examination(trial.submission(), **DAY_W04))
    (participant,) = index_dataset(trial.bids, TrialConfig())
    assert (participant.participant_id, participant.site_id) == ("sub-001", "S01")
    first, second = participant.sessions
    assert (first.session_id, first.week, second.week) == ("ses-w00", 0, 4)
    assert sorted(first.images) == sorted(["FLAIR", "T1w", POST])
    assert first.acquired and second.acquired
    assert (second.acquired - first.acquired).days == 29
    assert first.acquired.year < 1925


def test_the_same_again_changes_nothing(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    before = trial.bytes()
    trial.run_intake(sent)
    assert trial.bytes() == before


def test_the_same_gives_the_same_bytes_with_the_same_key_and_others_with_another(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    first = trial.bytes()
    for other in ("same", "another"):
        trial.bids = trial.folder / other
        if other == "same":
            shutil.copytree(trial.folder / "bids.key", trial.folder / "same.key")
        trial.run_intake(shutil.copytree(sent, trial.folder / f"copy-{other}"))
        assert (trial.bytes() == first) == (other == "same")
        assert gzip.decompress(trial.bytes()[name("FLAIR")]) == gzip.decompress(first[name("FLAIR")])
    ids = {row["series_id"] for row in trial.rows()}
    assert not ids & {row["series_id"] for row in read_rows(trial.folder / "bids" / "series.tsv")}


def test_an_enhanced_object_and_a_dual_echo_become_bids(trial: Trial) -> None:
    sent = trial.submission()
    sent.mkdir()
    write_enhanced(
        sent / "1", "dual", echoes=(15.0, 100.0), series=2, RepetitionTime=4000, ScanningSequence="SE"
    )
    trial.run_intake(sent)
    assert trial.images() == [name("PDw"), name("T2w")]
    first, second = (np.asarray(nib.load(trial.bids / image).dataobj) for image in trial.images())
    assert first.shape == second.shape == (20, 16, 40)
    assert not np.array_equal(first, second)


def test_every_series_has_a_line_and_a_reason(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    write_scan(sent / "d", "localizer", series=1, slices=3)
    write_scan(sent / "e", "SUB", series=9, ImageType=["DERIVED", "SECONDARY", "SUBTRACT"], **T1)
    write_scan(sent / "f", "CT", series=10, slices=3, Modality="CT")
    shutil.copytree(sent / "a", sent / "g")
    (sent / "note.txt").write_text("nothing")
    submission = trial.run_intake(sent)
    rows = {(row["series_number"], row["part"]): row for row in trial.rows()}
    assert len(rows) == len(submission.inventory.series) == 7
    assert all(row["reason"] not in ("", "n/a") for row in rows.values())
    assert rows["9", "n/a"]["role"] == "derived"
    assert rows["2", "copy 2"]["reason"] == "a second copy: the same instance UIDs as another series sent"
    text = "\n".join(summary_lines(submission))
    assert "1 files that are not DICOM" in text
    assert "filed" in text


def test_a_dry_run_writes_nothing(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    before = sorted(trial.folder.rglob("*"))
    submission = trial.run_intake(sent, dry_run=True)
    assert sorted(trial.folder.rglob("*")) == before
    assert [status for visit in submission.visits for status in visit.status.values()] == ["filed"] * 3


# whose scan, which visit


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"PatientID": "MSC-999"}, "unknown_participant"),
        ({"PatientID": None}, "unknown_participant"),
        ({"PatientSex": "M"}, "sex_differs"),
        ({"StudyDate": "20240601", "AcquisitionDate": "20240601"}, "visit_unclear"),
        ({"StudyDate": None, "AcquisitionDate": None, "ContrastBolusStartTime": "100330"}, "no_scan_date"),
    ],
)
def test_a_scan_of_nobody_in_particular_is_held(trial: Trial, tags: dict[str, Any], code: str) -> None:
    trial.run_intake(trial.examination(trial.submission(), **tags))
    assert trial.images() == []
    assert {row["status"] for row in trial.rows()} == {"held"}
    assert code in trial.codes(blocking=True)


def test_another_site_is_told(trial: Trial) -> None:
    trial.run_intake(trial.examination(trial.submission()), site_id="S02")
    assert (trial.images(), trial.codes(blocking=True)) == ([], ["wrong_site"])


def test_another_birth_date_than_at_the_visit_before_is_told(trial: Trial) -> None:
    trial.run_intake(trial.examination(trial.submission()))
    sent = trial.examination(trial.submission(), PatientBirthDate="19810101", **DAY_W04)
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.session_id, query.blocking) == ("birth_date_differs", "ses-w04", True)
    # an answer lets the same delivery in
    with pytest.raises(UsageError, match="waits for an image that is not filed"):
        close_query(trial.bids, query.query_id, by="reader", reason="typing error at the first visit")
    same = Answer(AnswerKind.SAME_PERSON)
    answer_query(trial.bids, query.query_id, same, by="reader", reason="typing error at the first visit")
    trial.run_intake(sent)
    assert len(trial.images()) == 6
    assert not trial.codes()


def test_another_sex_than_at_the_visit_before_is_told(trial: Trial) -> None:
    trial.sheet = write(trial.folder, ROW | {"sex": ""}, W04 | {"sex": ""})
    trial.run_intake(trial.examination(trial.submission()))
    trial.run_intake(trial.examination(trial.submission(), PatientSex="M", **DAY_W04))
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.session_id) == ("sex_differs", "ses-w04")
    assert query.what.endswith("sub-001 is F, the header says M")


def test_two_visits_of_one_delivery_are_compared_with_each_other(trial: Trial) -> None:
    sent = trial.submission()
    trial.sheet = write(trial.folder, ROW | {"sex": ""}, W04 | {"sex": ""})
    trial.examination(sent / "now", PatientBirthDate="19810101", PatientSex="M", **DAY_W04)
    trial.examination(sent / "then")
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    assert sorted((q.code.value, q.session_id) for q in read_queries(trial.bids)) == [
        ("birth_date_differs", "ses-w04"),
        ("sex_differs", "ses-w04"),
    ]


def test_a_receipt_tells_the_files_of_its_visit_and_that_the_birth_date_is_the_same(trial: Trial) -> None:
    sent = trial.submission()
    trial.examination(sent / "now", **DAY_W04)
    trial.examination(sent / "then")
    trial.run_intake(sent)
    receipts = {receipt.session_id: receipt for receipt in read_receipts(trial.bids)}
    assert {session: receipt.files for session, receipt in receipts.items()} == {"ses-w00": 36, "ses-w04": 36}
    asked = {
        session: next(item.result for item in receipt.identity if item.name == "birth_date")
        for session, receipt in receipts.items()
    }
    assert asked == {"ses-w00": "UNKNOWN", "ses-w04": "PASS"}


def test_a_scan_outside_the_window_is_filed_and_told(trial: Trial) -> None:
    late = {"StudyDate": "20240311", "AcquisitionDate": "20240311"}
    trial.run_intake(trial.examination(trial.submission(), **late))
    assert trial.images() == sorted(ALL_THREE)
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.blocking) == ("outside_window", False)
    assert query.what.endswith("ses-w00: 2 days after the window closes")


def test_one_study_of_two_people_is_held(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    write_scan(sent / "x", "T2", series=8, **{**T2, **PERSON_2})
    trial.run_intake(sent)
    assert trial.images() == []
    assert trial.codes(blocking=True).count("several_participants") == 2


def test_one_wrong_visit_does_not_stop_the_others(trial: Trial) -> None:
    sent = trial.submission()
    trial.examination(sent / "one")
    trial.examination(
        sent / "two", study=2, **PERSON_2, **{"StudyDate": "20240601", "AcquisitionDate": "20240601"}
    )
    trial.run_intake(sent)
    assert trial.images() == sorted(ALL_THREE)
    (query,) = read_queries(trial.bids)
    assert (query.site_id, query.participant_id, query.session_id) == ("S02", "sub-002", "")


def test_scans_of_two_days_in_one_window_are_asked_about(trial: Trial) -> None:
    sent = trial.submission()
    trial.examination(sent / "one")
    trial.examination(sent / "two", study=2, **{"StudyDate": "20240306", "AcquisitionDate": "20240306"})
    trial.run_intake(sent)
    assert trial.images() == []
    assert set(trial.codes(blocking=True)) == {"several_candidates"}


# slices, candidates


def test_a_series_interrupted_half_way_holds_the_visit(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    shutil.rmtree(sent / "a")
    write_scan(sent / "a", "FLAIR", series=2, left_out=range(11, 12), ImagesInAcquisition=12, **FLAIR)
    trial.run_intake(sent)
    (query,) = read_queries(trial.bids)
    assert query.blocks_visit
    told = "FLAIR, series 2 (FLAIR): 11 slices, expected 12 (ImagesInAcquisition)"
    assert query.what == f"A series has fewer images than the scanner planned: {told}"
    (participant,) = index_dataset(trial.bids, TrialConfig())
    assert participant.sessions[0].open_queries


def test_a_series_with_a_lost_slice_is_not_filed(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    (sent / "a" / "0007.dcm").unlink()
    trial.run_intake(sent)
    assert trial.images() == sorted([name(POST), name("T1w")])
    assert trial.codes(blocking=True) == ["missing_slices"]
    assert [row["status"] for row in trial.rows() if row["role"] == "FLAIR"] == ["query"]


def test_a_truncated_pixel_stream_is_not_filed(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    damaged = sent / "a" / "0007.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    trial.run_intake(sent)
    assert name("FLAIR") not in trial.images()
    assert trial.codes(blocking=True) == ["damaged_pixels"]


def test_two_candidates_hold_the_visit_until_the_site_names_one(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    write_scan(sent / "z", "FLAIR", series=7, **FLAIR)
    trial.run_intake(sent)
    assert trial.images() == sorted([name(POST), name("T1w")])
    assert trial.codes(blocking=True) == ["several_candidates"]
    (wanted,) = [row["series_id"] for row in trial.rows() if row["series_number"] == "7"]
    submission = trial.run_intake(sent, use={"FLAIR": wanted})
    assert trial.images() == sorted(ALL_THREE)
    reasons = {a.series.series_number: a.reason for v in submission.visits for a in v.classified}
    assert reasons[7].endswith("used as the site has answered")
    assert reasons[2].endswith("not taken: the site has named another one")


def test_burned_in_text_is_flagged_and_not_filed(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    shutil.rmtree(sent / "a")
    write_scan(sent / "a", "FLAIR", series=2, BurnedInAnnotation="YES", **FLAIR)
    trial.run_intake(sent)
    assert name("FLAIR") not in trial.images()
    assert trial.codes(blocking=True) == ["burned_in_text"]


def test_a_planned_contrast_agent_is_missed(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    shutil.rmtree(sent / "c")
    shutil.rmtree(sent / "b")
    write_scan(sent / "b", "T1 pre", series=3, **T1)
    trial.run_intake(sent)
    assert trial.codes(blocking=True) == ["missing_sequence"]


def test_the_protocol_is_checked(trial: Trial, repository: Path) -> None:
    protocol = repository / "config" / "protocol.yaml"
    submission = trial.run_intake(trial.examination(trial.submission()), protocol=protocol)
    (visit,) = submission.visits
    items = {item.name: item.result for item in visit.protocol_items["FLAIR"]}
    assert (items["field_strength"], items["slice_thickness"]) == ("PASS", "FAIL")
    assert trial.codes().count("protocol_deviation") == 3


def test_another_scanner_is_told(trial: Trial, repository: Path) -> None:
    protocol = repository / "config" / "protocol.yaml"
    trial.run_intake(trial.examination(trial.submission()), protocol=protocol)
    assert "scanner_changed" not in trial.codes()
    trial.run_intake(
        trial.examination(trial.submission(), DeviceSerialNumber="9", **DAY_W04), protocol=protocol
    )
    assert "scanner_changed" in trial.codes()


def test_another_scanner_within_one_delivery_is_told(trial: Trial, repository: Path) -> None:
    sent = trial.submission()
    trial.examination(sent / "2", **DAY_W04)
    trial.examination(sent / "1", DeviceSerialNumber="9")
    trial.run_intake(sent, protocol=repository / "config" / "protocol.yaml")
    changed = [query.visits for query in read_queries(trial.bids) if query.code == "scanner_changed"]
    assert [visits.split("/")[1] for visits in changed] == ["ses-w04"]


# sent again


def test_the_same_scan_of_another_participant_is_held(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    again = trial.submission()
    for path in sorted(sent.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        for keyword, value in PERSON_2.items():
            setattr(dataset, keyword, value)
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            setattr(dataset, keyword, f"{getattr(dataset, keyword)}.9")
        target = again / path.relative_to(sent)
        target.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(target, dataset)
    trial.run_intake(again)
    assert trial.images() == sorted(ALL_THREE)
    assert set(trial.codes(blocking=True)) == {"duplicate_submission"}
    (query, *_) = read_queries(trial.bids)
    assert query.what.endswith("has the voxels of sub-001/ses-w00")


def test_a_later_visit_that_is_a_copy_is_held(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    again = shutil.copytree(sent, trial.submission())
    for path in sorted(again.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        dataset.StudyDate = dataset.AcquisitionDate = "20240401"
        pydicom.dcmwrite(path, dataset)
    both = trial.submission()
    shutil.copytree(sent, both / "1")
    shutil.copytree(again, both / "2")
    trial.run_intake(both)
    held = {row["session_id"]: row["status"] for row in trial.rows()}
    assert name("FLAIR", "sub-001/ses-w04") not in trial.images()
    assert held["ses-w00"] == "filed"


def test_only_the_series_that_is_a_copy_is_held(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    later = trial.examination(trial.submission(), **DAY_W04)
    for old, new in zip(sorted((sent / "a").iterdir()), sorted((later / "a").iterdir()), strict=True):
        dataset = pydicom.dcmread(new)
        dataset.PixelData = pydicom.dcmread(old).PixelData
        pydicom.dcmwrite(new, dataset)
    trial.run_intake(later)
    visit = "sub-001/ses-w04"
    assert [path for path in trial.images() if path.startswith(visit)] == sorted(
        [name(POST, visit), name("T1w", visit)]
    )
    assert sorted(p.suffix for p in (trial.bids / visit / "anat").iterdir()) == [
        ".gz",
        ".gz",
        ".json",
        ".json",
    ]
    (query,) = read_queries(trial.bids)
    assert (query.code.value, query.blocking) == ("duplicate_submission", True)


def repeat(trial: Trial, **tags: Any) -> Path:
    """Write the examination anew, a day later."""
    return trial.examination(
        trial.submission(), **{"study": 9, "StudyDate": "20240305", "AcquisitionDate": "20240305", **tags}
    )


def test_a_repeat_replaces_a_rejected_scan_which_is_kept(trial: Trial) -> None:
    first = trial.examination(trial.submission())
    (first / "a" / "0007.dcm").unlink()
    trial.run_intake(first)
    before = (trial.bids / name("T1w")).read_bytes()
    assert trial.codes(blocking=True) == ["missing_slices"]
    trial.run_intake(repeat(trial))
    assert trial.images() == sorted(ALL_THREE)
    assert (trial.bids / name("T1w")).read_bytes() != before
    kept = list((trial.bids / "sourcedata" / "intake").rglob("*_T1w.nii.gz"))
    assert before in [path.read_bytes() for path in kept]
    assert trial.codes(status="open") == []
    assert trial.codes(status="closed") == ["missing_slices"]
    status = [(row["series_number"], row["status"]) for row in trial.rows()]
    assert sorted(status) == [
        ("2", "filed"),
        ("2", "query"),
        ("3", "filed"),
        ("3", "replaced"),
        ("4", "filed"),
        ("4", "replaced"),
    ]
    # the rejected one, sent once more, does not come back
    trial.run_intake(first)
    assert (trial.bids / name("T1w")).read_bytes() not in (before,)
    assert "duplicate_submission" in trial.codes(status="open")


def test_a_repeat_of_an_accepted_scan_is_kept_aside(trial: Trial) -> None:
    trial.run_intake(trial.examination(trial.submission()))
    before = {path: content for path, content in trial.bytes().items() if path.startswith("sub-")}
    trial.run_intake(repeat(trial))
    after = {path: content for path, content in trial.bytes().items() if path.startswith("sub-")}
    assert {p: c for p, c in after.items() if "anat" in p} == {p: c for p, c in before.items() if "anat" in p}
    assert len(list((trial.bids / "sourcedata" / "intake").rglob("*.nii.gz"))) == 3
    assert trial.codes() == ["already_received"]
    assert sorted(row["status"] for row in trial.rows()) == ["filed"] * 3 + ["set_aside"] * 3


def test_a_series_that_was_missing_is_added(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    late = trial.submission()
    shutil.move(sent / "c", late / "c")
    shutil.rmtree(sent / "b")
    write_scan(sent / "b", "T1 pre", series=3, **T1)
    trial.run_intake(sent)
    assert trial.codes(blocking=True) == ["missing_sequence"]
    trial.run_intake(late)
    assert trial.images() == sorted(ALL_THREE)
    assert trial.codes() == []


# failures leave nothing behind


def test_a_failure_leaves_the_folder_as_it_was(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.run_intake(trial.examination(trial.submission()))
    before = trial.bytes()
    sent = trial.examination(trial.submission(), **DAY_W04)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(filing, "convert_series", full)
        with pytest.raises(UsageError, match="the disk is full"):
            trial.run_intake(sent)
    assert trial.bytes() == before
    assert not list(trial.folder.glob(".bids.intake-*"))
    trial.run_intake(sent)
    assert len(trial.images()) == 6


def test_an_intake_that_died_before_its_tables_has_changed_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    whole = trial.bytes()
    shutil.rmtree(trial.bids)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mesems_mri.intake.flow.write_tables", die)
        with pytest.raises(KeyboardInterrupt):
            trial.run_intake(sent)
    assert not trial.bids.exists()
    assert not list(trial.folder.glob(".bids.intake-*"))
    trial.run_intake(sent)
    assert trial.bytes() == whole


def test_two_at_once_are_refused(trial: Trial) -> None:
    keys = open_keys(default_folder(trial.bids))
    sent = trial.examination(trial.submission())
    # a lock of this process would not keep this process out
    program = (
        "import sys; from pathlib import Path; from mesems_mri.intake.folder import locked\n"
        f"with locked(Path({str(keys.folder)!r})): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdin
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match="another intake is running"):
            trial.run_intake(sent)
        other.stdin.close()
    trial.run_intake(sent)
    assert trial.images()


def bomb(sent: Path) -> None:
    sent.mkdir()
    with zipfile.ZipFile(sent / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.dcm", b"\0" * 128 + b"DICM" + b"\0" * (8 << 20))


def outside(sent: Path) -> None:
    write_scan(sent / "x", "FLAIR", slices=3, spacing=3.0, **FLAIR)
    with zipfile.ZipFile(sent / "a.zip", "w") as archive:
        archive.write(sent / "x" / "0001.dcm", "../../evil.dcm")
    shutil.rmtree(sent / "x")


def empty(sent: Path) -> None:
    sent.mkdir()
    (sent / "1.dcm").touch()


def text(sent: Path) -> None:
    sent.mkdir()
    (sent / "1.dcm").write_text("a text that is called .dcm")


def nothing(sent: Path) -> None:
    sent.mkdir()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            bomb,
            "An archive was not unpacked: 1 archives that were refused (it unpacks to more than 200 times",
        ),
        (outside, "1 members of archives that were refused (its name leads out of the archive)"),
        (empty, "1 empty files (0 bytes)"),
        (text, "No MR image of the head was found: 1 files that are not DICOM"),
        (nothing, "No MR image of the head was found: nothing was sent"),
    ],
)
def test_a_delivery_without_scans_is_one_clear_line(
    trial: Trial, make: Callable[[Path], None], told: str
) -> None:
    sent = trial.submission()
    make(sent)
    before = {path for path in trial.folder.rglob("*")}
    trial.run_intake(sent, limits=ArchiveLimits(free_bytes=1 << 20), site_id="S01")
    assert told in " ".join(query.what for query in read_queries(trial.bids))
    assert "nothing_usable" in trial.codes(blocking=True)
    new = {path for path in trial.folder.rglob("*")} - before
    assert all(
        path.is_relative_to(trial.bids) or path.is_relative_to(trial.folder / "bids.key") for path in new
    )
    (receipt,) = (trial.bids / "receipts").glob("*.html")
    assert receipt.stat().st_size


def test_wrong_use_is_told(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    with pytest.raises(DatasetError, match="no such folder"):
        trial.run_intake(trial.folder / "nowhere")
    with pytest.raises(UsageError, match="lie inside each other"):
        trial.run_intake(sent, bids_dir=sent / "bids")
    with pytest.raises(UsageError, match="inside the BIDS folder"):
        trial.run_intake(sent, key_folder=trial.bids / "key")
    trial.sheet = write(trial.folder, ROW | {"arm": "A"})
    with pytest.raises(ForbiddenColumnError, match="unblind"):
        trial.run_intake(sent)
    assert not trial.bids.exists()


def test_a_lost_key_is_not_made_anew(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    shutil.rmtree(trial.folder / "bids.key")
    with pytest.raises(UsageError, match="the key of this trial is missing"):
        trial.run_intake(sent)


def test_a_copy_as_dicom_is_written(trial: Trial) -> None:
    sent = trial.examination(trial.submission())
    write_enhanced(
        sent / "d" / "1", "dual", echoes=(15.0, 100.0), series=8, RepetitionTime=4000, ScanningSequence="SE"
    )
    copy = trial.folder / "copy"
    trial.run_intake(sent, dicom_copy=copy)
    datasets = [pydicom.dcmread(path) for path in sorted(copy.rglob("*.dcm"))]
    assert len(datasets) == 37
    assert {str(dataset.PatientName) for dataset in datasets} == {"sub-001"}
    assert {int(dataset.get("NumberOfFrames", 1)) for dataset in datasets} == {1, 80}


def test_without_a_brain_no_face_is_removed_and_nothing_filed(trial: Trial) -> None:
    trial.run_intake(trial.examination(trial.submission()), deface=True)
    assert trial.images() == []
    assert trial.codes(blocking=True) == ["conversion_failed"] * 3
    first = read_queries(trial.bids)[0]
    assert "the face was not removed" in first.what
    assert first.action.startswith("Send the series without the face")
    with pytest.raises(UsageError, match="keeps the face"):
        trial.run_intake(trial.examination(trial.submission()), deface=True, dicom_copy=trial.folder / "copy")


# names

PLANTED = (
    Planted("name", "Zwiebelhuber^Korbinian"),
    Planted("date", "19610412"),
    Planted("text", "ACX-4829917"),
    Planted("name", "Obermoser^Valentina"),
)


def test_a_bug_is_told_without_values_of_headers(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = trial.examination(trial.submission(), PatientName="Zwiebelhuber^Korbinian")

    def fail(series: object, *_: object, **__: object) -> None:
        raise ValueError(str(series.header.PatientName))  # type: ignore[attr-defined]

    monkeypatch.setattr(filing, "convert_series", fail)
    with pytest.raises(MesemsError, match=r"ValueError in intake/filing\.py, line") as caught:
        trial.run_intake(sent)
    told = "".join(traceback.format_exception(caught.value))
    assert not search_text(told, PLANTED)
    assert search_text("Zwiebelhuber", PLANTED)
    assert trial.images() == []


def test_no_name_is_written(trial: Trial) -> None:
    person, birth, accession, physician = (planted.text for planted in PLANTED)
    tags = {
        "PatientName": person,
        "PatientBirthDate": birth,
        "AccessionNumber": accession,
        "ReferringPhysicianName": physician,
        "ProtocolName": "head for Zwiebelhuber",
        "ReceiveCoilName": "coil of Obermoser",
        "ContrastBolusAgent": "Dotarem Zwiebelhuber",
    }
    sent = trial.submission()
    write_scan(sent / "Zwiebelhuber", "T1 Zwiebelhuber post", series=3, **{**T1, **tags})
    write_scan(sent / "x", "FLAIR ACX-4829917", series=4, **{**FLAIR, **tags})
    write_scan(sent / "y", "T2 Obermoser Zwiebelhuber", series=5, **{**T2, **tags})
    write_scan(sent / "z", "MPR Zwiebelhuber", series=6, slices=2, **{**MPRAGE, **tags})
    (sent / "Korbinian Zwiebelhuber.pdf").write_text("report")
    assert {found.planted for found in search(sent, PLANTED)} == {planted.text for planted in PLANTED}
    submission = trial.run_intake(sent, dicom_copy=trial.bids / "copy")
    (trial.bids / "said.txt").write_text("\n".join(summary_lines(submission)))
    assert trial.images(), "\n".join(summary_lines(submission))
    assert not search(trial.bids, PLANTED)
