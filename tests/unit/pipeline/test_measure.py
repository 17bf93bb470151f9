"""Measuring a visit: known foci, numbers, rows, and what is remembered for the next visit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesems_mri.config import EnhancementRule, FocusRule
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.detect import DetectRecord
from mesems_mri.dataset.records.measure import MeasureRecord, RememberedVisits
from mesems_mri.dataset.records.parts import ChangePart, GelPart
from mesems_mri.files import write_json
from mesems_mri.pipeline import measure
from mesems_mri.pipeline.measure import measure_visit, remember_visit
from mesems_mri.pipeline.visit import VisitFiles, write_arrays
from mesems_mri.pipeline.visit_record import VisitTableRow
from tests.unit.pipeline.records import detect_record, parts, register_record

SHAPE = (24, 20, 16)
LESION = (slice(4, 8), slice(4, 8), slice(4, 8))
FRESH = (slice(14, 18), slice(10, 14), slice(6, 10))
TABLE = VisitTableRow(study_id="trial", site_id="S01", visit_type="scheduled", week=4, day=28)
NOTHING = RememberedVisits()
FIRST = parts(t2_change=ChangePart(reason="no_reference_visit"), gel=GelPart(reason="no_postcontrast"))


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VisitFiles:
    """A registered visit on a small box; images are not written."""
    priors = {
        name: np.zeros(SHAPE, np.float32)
        for name in ("brain", "white_matter", "cortex", "lateral_ventricles", "infratentorial")
    }
    box = tuple(slice(50, 50 + n) for n in SHAPE)
    monkeypatch.setattr(measure, "load_tissue", lambda *_: (box, priors))
    monkeypatch.setattr(measure, "lesion_regions", lambda dseg, **_: dict.fromkeys(np.unique(dseg), "deep"))
    monkeypatch.setattr(measure, "write_dsegs", lambda *_: ["dseg.nii.gz"])
    monkeypatch.setattr(measure, "write_candidates", lambda *_: [])
    visit = VisitFiles(
        bids_dir=tmp_path, layout=Layout(tmp_path / "out"), participant_id="sub-1", session_id="ses-2"
    )
    write_json(visit.record("register"), register_record().to_json())
    return visit


def leave(visit: VisitFiles, record: DetectRecord, **arrays: np.ndarray) -> None:
    write_json(visit.record("detect"), record.to_json())
    write_arrays(visit.work("lesions.npz"), arrays)


def labels(*places: Any) -> np.ndarray:
    dseg = np.zeros(SHAPE, np.int32)
    for number, place in enumerate(places, start=1):
        dseg[place] = number
    return dseg


def run(visit: VisitFiles, earlier: RememberedVisits = NOTHING) -> MeasureRecord:
    return measure_visit(visit, earlier, TABLE, focus=FocusRule(), enhancement=EnhancementRule())


def test_what_is_remembered_does_not_depend_on_the_lesions(visit: VisitFiles) -> None:
    first = remember_visit(RememberedVisits(), visit, TABLE)
    assert first == RememberedVisits(visit_index=0, days={"ses-2": 28}, scheduled=("ses-2",))
    unscheduled = VisitTableRow(study_id="", site_id="", visit_type="unscheduled", week=None, day=None)
    second = remember_visit(first, visit.at("ses-u"), unscheduled)
    assert (second.visit_index, second.days) == (1, {"ses-2": 28, "ses-u": None})
    assert second.scheduled == ("ses-2",)


def test_a_visit_that_is_not_evaluable_keeps_the_known_foci(visit: VisitFiles) -> None:
    refused = DetectRecord(status="not_evaluable", reason="open_query", message="waits")
    write_json(visit.record("detect"), refused.to_json())
    earlier = RememberedVisits(
        visit_index=0, scheduled=("ses-1",), gel_evaluable={"ses-1": True}, foci={"next_id": 4}
    )
    record = run(visit, earlier)
    assert (record.status, record.reason, record.measured) == ("not_evaluable", "open_query", None)
    assert record.remembered.foci == {"next_id": 4}
    assert (record.remembered.visit_index, record.remembered.scheduled) == (1, ("ses-1", "ses-2"))
    # a visit of which nothing is known is no reference for enhancing lesions
    assert record.remembered.gel_references == ("ses-1",)


def test_first_visit_numbers_its_lesions(visit: VisitFiles) -> None:
    leave(visit, detect_record(parts=FIRST, products=("T2.nii.gz",)), t2=labels(LESION, FRESH) > 0)
    record = run(visit)
    assert record.measured is not None
    assert [row["lesion_id"] for row in record.measured.lesions] == [1, 2]
    assert {row["t2_status"] for row in record.measured.lesions} == {"not_evaluable"}
    assert [row["volume_mm3"] for row in record.measured.lesions] == [64.0, 64.0]
    assert all(row["region"] == "deep" for row in record.measured.lesions)
    assert all(row["score"] is None for row in record.measured.lesions)  # drawn ones have none
    assert record.measured.products == ("T2.nii.gz", "dseg.nii.gz")
    assert record.remembered.gel_evaluable == {"ses-2": False}
    assert record.remembered.foci is not None
    assert visit.resolve(record.remembered.foci["arrays"]).is_file()


def test_lesions_keep_their_numbers_and_a_new_one_gets_the_next(visit: VisitFiles) -> None:
    first = visit.at("ses-1")
    write_json(first.record("register"), register_record().to_json())
    leave(
        first,
        detect_record(parts=FIRST, arrays=first.relative(first.work("lesions.npz"))),
        t2=labels(LESION) > 0,
    )
    earlier = MeasureRecord.from_json(run(first).to_json()).remembered
    leave(
        visit,
        detect_record(parts=parts(gel=GelPart(precontrast=True, scores=(0.9,), rejected=()))),
        t2=labels(LESION, FRESH) > 0,
        t2_score=np.full(SHAPE, 70, np.uint8),
        new=labels(FRESH),
        enlarging=labels(),
        change_score=np.full(SHAPE, 85, np.uint8),
        gel=labels(FRESH),
    )
    record = run(visit, earlier)
    assert record.measured is not None
    rows = {row["lesion_id"]: row for row in record.measured.lesions}
    assert {i: (row["focus"], row["t2_status"]) for i, row in rows.items() if row["focus"] == "t2"} == {
        1: ("t2", "stable"),
        2: ("t2", "new"),
    }
    assert (rows[3]["focus"], rows[3]["gd_status"], rows[3]["score"]) == ("gel", "baseline", 0.9)
    assert (rows[1]["score"], rows[1]["reference_session_id"]) == (0.85, "ses-1")
    assert record.remembered.gel_evaluable == {"ses-1": False, "ses-2": True}


def test_what_is_evaluable_and_empty_has_no_row(visit: VisitFiles) -> None:
    leave(visit, detect_record(parts=FIRST), t2=labels() > 0)
    record = run(visit)
    assert record.measured is not None
    assert record.measured.lesions == ()
    assert record.done
