"""What the demonstration does between what the sites send and the run."""

from pathlib import Path

import pytest

from mesems_mri.dataset.queries import blocking_queries, read_queries
from mesems_mri.errors import UsageError
from mesems_mri.simulate.demo import intake_and_answer, run_demo
from mesems_mri.simulate.demo_central import send_to_central
from mesems_mri.simulate.dicom.trial import write_dicom
from tests.small_study import SmallStudy, missing_visit
from tests.unit.central.conftest import write_schedule
from tests.unit.simulate.tiny_trial import make_tiny_trial

CUT, NOT_ACQUIRED = ("sub-02", "ses-w08"), ("sub-05", "ses-w08")


def keep_lines(table: Path, *starts: str) -> None:
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(line for line in lines if line.startswith(starts)), encoding="utf-8")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two participants, one with a series that lacks its end, one with a scan that was never made."""
    folder = make_tiny_trial(tmp_path_factory.mktemp("demo") / "raw", participants=5)
    keep_lines(folder / "participants.tsv", "participant_id", "sub-02", "sub-05")
    for name in ("sub-02", "sub-05"):
        keep_lines(folder / name / f"{name}_sessions.tsv", "session_id", "ses-w00", "ses-w08")
    return folder


def test_the_site_answers_one_query_and_the_other_stays_open(raw: Path) -> None:
    sent, bids, said = raw.with_name("dicom"), raw.with_name("bids"), []
    write_dicom(raw, sent)
    intake_and_answer(sent, bids, said.append)
    assert list(blocking_queries(bids)) == [CUT]
    (closed,) = [query for query in read_queries(bids) if query.status == "closed"]
    assert (closed.code, closed.participant_id, closed.session_id) == ("missing_sequence", *NOT_ACQUIRED)
    assert any(f"{closed.query_id} is closed" in line for line in said)
    assert any("interrupted (sub-02/ses-w08 waits)" in line for line in said)
    images = {path.relative_to(raw).as_posix() for path in raw.glob("sub-0[25]/ses-w0[08]/anat/*.nii.gz")}
    assert {p.relative_to(bids).as_posix() for p in bids.glob("sub-*/ses-*/anat/*.nii.gz")} == images


def test_a_folder_that_is_no_demonstration_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="holds something that is no demonstration"):
        run_demo(tmp_path, cores=1, seed=0, say=print)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_visit_is_received_and_reconciled(tmp_path: Path) -> None:
    study, said = SmallStudy(tmp_path / "study"), []
    study.add("sub-001", "ses-w00")
    study.add("sub-001", "ses-w04", **missing_visit())
    study.add("sub-101", "ses-w00", site="S02")
    study.finish()
    sheet = write_schedule(tmp_path / "visits.tsv", {"sub-001": "S01", "sub-101": "S02"})
    send_to_central(sheet, study.out_dir, tmp_path / "central", said.append)
    assert [line for line in said if line.endswith(": accepted")] == [
        "  S01_000001: accepted",
        "  S02_000001: accepted",
    ]
    at = {
        line.split()[1]: line.split(maxsplit=2)[2]
        for line in said
        if line.startswith("  S0") and "/ses" in line
    }
    assert len(at) == 8
    assert (at["sub-001/ses-w00"], at["sub-101/ses-w00"]) == ("received", "received")
    assert at["sub-001/ses-w04"].startswith("not_evaluable")
    assert at["sub-101/ses-w24"] == "awaited"
    assert said[-1].startswith("  all sites: 2 received, 1 not evaluable")
