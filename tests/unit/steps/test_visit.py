"""What all steps share: the record tells when a file that it names has changed."""

from pathlib import Path

import pytest

from mesems_mri.layout import Layout
from mesems_mri.provenance import read_json, write_text
from mesems_mri.steps.visit import VisitFiles, run_step


@pytest.fixture
def visit(tmp_path: Path) -> VisitFiles:
    layout = Layout(tmp_path / "out")
    return VisitFiles(bids_dir=tmp_path, layout=layout, participant_id="sub-1", session_id="ses-1")


def record_of(visit: VisitFiles, content: str, *, in_work: bool) -> dict:
    path = visit.work("lesions.npz") if in_work else visit.product("space-subject_desc-T2_dseg.nii.gz")
    write_text(path, content)
    run_step("lesions", visit, lambda: {"status": "done", "parts": [{"file": visit.relative(path)}]})
    return read_json(visit.layout.record("sub-1", "ses-1", "lesions"))


@pytest.mark.parametrize("in_work", [True, False])
def test_a_changed_file_changes_the_record(visit: VisitFiles, in_work: bool) -> None:
    first = record_of(visit, "a mask", in_work=in_work)
    assert record_of(visit, "a mask", in_work=in_work) == first
    assert record_of(visit, "another mask", in_work=in_work) != first


def test_files_of_other_visits_do_not_count(visit: VisitFiles) -> None:
    name = ".mesems/sub-1/ses-0/lesions.npz"
    records = []
    for content in ("a", "b"):
        write_text(visit.resolve(name), content)
        records.append(run_step("lesions", visit, lambda: {"status": "done", "carried": name}))
    assert records[0] == records[1]
