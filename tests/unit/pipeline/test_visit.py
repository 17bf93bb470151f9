"""What all steps share: the record tells when a file that it names has changed."""

from pathlib import Path

import pytest

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Status, StepRecord
from mesems_mri.files import read_json, write_text
from mesems_mri.pipeline.visit import VisitFiles, run_step
from tests.unit.pipeline.records import detect_record


@pytest.fixture
def visit(tmp_path: Path) -> VisitFiles:
    layout = Layout(tmp_path / "out")
    return VisitFiles(bids_dir=tmp_path, layout=layout, participant_id="sub-1", session_id="ses-1")


def record_of(visit: VisitFiles, content: str, *, in_work: bool) -> dict:
    path = visit.work("lesions.npz") if in_work else visit.product("space-subject_desc-T2_dseg.nii.gz")
    write_text(path, content)
    run_step("detect", visit, lambda: detect_record(products=(visit.relative(path),)))
    return read_json(visit.layout.record("sub-1", "ses-1", "detect"))


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
        run_step("detect", visit, lambda: detect_record(products=(name,)))
        records.append(read_json(visit.record("detect")))
    assert records[0] == records[1]


@pytest.mark.parametrize("status", ["not_evaluable", "failed"])
def test_a_visit_that_is_not_evaluable_any_more_keeps_no_image(visit: VisitFiles, status: Status) -> None:
    stem = visit.product("").name
    left = {
        "register": (
            "space-subject_desc-preproc_FLAIR.nii.gz",
            "space-subject_desc-preproc_FLAIR.json",
            "space-subject_desc-brain_mask.nii.gz",
            "from-FLAIR_to-subject_mode-image_xfm.txt",
        ),
        "detect": (
            "ce-gadolinium_space-orig_label-L_desc-enhancing_mask.nii.gz",
            "space-subject_label-L_desc-T2_mask.json",
        ),
        "measure": ("space-subject_desc-T2_dseg.nii.gz", "space-subject_desc-T2_dseg.tsv"),
    }
    folder = visit.product("").parent
    for names in left.values():
        for name in names:
            write_text(folder / f"{stem}{name}", "an earlier run")
    for step, names in left.items():
        run_step(step, visit, StepRecord)
        assert {f"{stem}{name}" for name in names} <= {path.name for path in folder.iterdir()}
        run_step(step, visit, lambda: StepRecord(status=status, reason="open_query", message="x"))
        assert not {f"{stem}{name}" for name in names} & {path.name for path in folder.iterdir()}
    assert list(folder.iterdir()) == []


def test_a_product_that_cannot_be_removed_stops_no_record(
    visit: VisitFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem, folder = visit.product("").name, visit.product("").parent
    stuck, other = (folder / f"{stem}space-subject_label-L_desc-{name}_mask.nii.gz" for name in ("new", "T2"))
    (folder / f"{stem}space-orig_label-L_desc-T2_mask.nii.gz").mkdir(parents=True)
    write_text(stuck, "an earlier run")
    write_text(other, "an earlier run")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    run_step("detect", visit, lambda: StepRecord(status="failed", reason="step_failed", message="x"))
    assert read_json(visit.record("detect"))["status"] == "failed"
    assert (stuck.exists(), other.exists()) == (True, False)
