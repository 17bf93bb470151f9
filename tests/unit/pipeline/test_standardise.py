"""Bad scans and the step that meets them first."""

from pathlib import Path

import pytest

from mesems_mri.config import IntakeRule
from mesems_mri.dataset.layout import Layout
from mesems_mri.pipeline.standardise import standardise_visit
from mesems_mri.pipeline.visit import VisitFiles, run_step
from tests.bad_scans import CASES, image, noise, write

RULE = IntakeRule()


@pytest.mark.parametrize("name", CASES)
def test_bad_scan_is_told_in_one_sentence(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    visit = VisitFiles(
        bids_dir=tmp_path, layout=Layout(tmp_path / "out"), participant_id="sub-1", session_id="ses-1"
    )
    write(tmp_path / "scan.nii.gz", case.content)
    images = {"FLAIR": "scan.nii.gz"} if case.content is not None else {}
    several = {"FLAIR": ("run-1_FLAIR.nii.gz", "run-2_FLAIR.nii.gz")} if name == "two" else {}
    if name == "two":  # another contrast that is there does not make up for it
        write(tmp_path / "other.nii.gz", lambda: image(noise()))
        images = {"T2w": "other.nii.gz"}
    record = run_step("standardise", visit, lambda: standardise_visit(visit, images, several, RULE))
    assert (record.status, record.reason) == ("not_evaluable", case.reason)
    message = record.message
    assert message.startswith("sub-1/ses-1")
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert all(word in message for word in case.words), message
    assert not list((tmp_path / "out").rglob("*.nii*"))


@pytest.mark.parametrize("kind", ["folder", "broken link"])
def test_what_only_has_the_name_of_a_scan(tmp_path: Path, kind: str) -> None:
    visit = VisitFiles(
        bids_dir=tmp_path, layout=Layout(tmp_path / "out"), participant_id="sub-1", session_id="ses-1"
    )
    path = tmp_path / "scan.nii.gz"
    path.mkdir() if kind == "folder" else path.symlink_to("gone")
    record = run_step(
        "standardise", visit, lambda: standardise_visit(visit, {"FLAIR": "scan.nii.gz"}, {}, RULE)
    )
    assert record.reason == ("unreadable_file" if kind == "folder" else "missing_scan")


def test_visit_that_waits_for_an_answer_is_not_even_read(tmp_path: Path) -> None:
    visit = VisitFiles(
        bids_dir=tmp_path, layout=Layout(tmp_path / "out"), participant_id="sub-1", session_id="ses-1"
    )
    images, several = {"T1w": "not there.nii.gz"}, {"FLAIR": ("a_FLAIR.nii.gz", "b_FLAIR.nii.gz")}
    record = standardise_visit(visit, images, several, RULE, open_queries=["Q0007: why", "Q0008: what"])
    assert (record.status, record.reason, record.images) == ("not_evaluable", "open_query", {})
    assert record.message.startswith("sub-1/ses-1: waits for the site's answer to Q0007: why; Q0008: what;")
    assert standardise_visit(visit, {}, {}, RULE, open_queries=[]).reason == "missing_scan"
