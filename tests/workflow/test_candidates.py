"""Candidates of the phantom trial: the lower operating point lists more or fewer, and changes no count."""

from pathlib import Path

import numpy as np

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import CANDIDATE_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.measure import MeasureRecord, RememberedVisits
from mesems_mri.files import write_json
from mesems_mri.images import nifti
from mesems_mri.pipeline.detect import detect_lesions
from mesems_mri.pipeline.measure import measure_visit
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.pipeline.visit_record import VisitTableRow
from tests.demonstration import Demonstration

COUNTED = 1.0
"""So high that what is found becomes a candidate."""


def measured(demo: Demonstration, out_dir: Path, candidate_score: float) -> tuple[MeasureRecord, VisitFiles]:
    """Detect and measure the first visit of a copy again; return the outcome and the visit."""
    points = {"min_score": COUNTED, "candidate_score": candidate_score}
    config = TrialConfig.model_validate({"t2": points, "change": points, "enhancement": points})
    visit = VisitFiles(
        bids_dir=demo.bids_dir,
        layout=Layout(demo.copied(out_dir).out_dir),
        participant_id="sub-01",
        session_id="ses-w00",
    )
    detected = detect_lesions(visit, (), visit_type="scheduled", config=config)
    write_json(visit.record("detect"), detected.to_json())
    table = VisitTableRow(study_id="", site_id="", visit_type="scheduled", week=0, day=0)
    outcome = measure_visit(
        visit, RememberedVisits(), table, focus=config.focus, enhancement=config.enhancement
    )
    return outcome, visit


def test_counts_do_not_depend_on_what_is_listed(demo: Demonstration, tmp_path: Path) -> None:
    many, visit = measured(demo, tmp_path / "many", 0.05)
    few, _ = measured(demo, tmp_path / "few", COUNTED)
    assert many.measured is not None
    assert few.measured is not None
    assert many.measured.lesions == few.measured.lesions
    assert many.remembered == few.remembered
    rows, fewer = many.measured.candidates, few.measured.candidates
    assert rows is not None
    assert fewer is not None
    assert len(rows) > len(fewer)

    table = visit.layout.candidates(*visit.key).read_text(encoding="utf-8").splitlines()
    assert table[0].split("\t") == list(CANDIDATE_COLUMNS)
    assert len(table) == 1 + len(rows)
    dseg, _ = nifti.read_labels(visit.product("space-subject_desc-candidates_dseg.nii.gz"))
    drawn = np.bincount(dseg.ravel(), minlength=len(rows) + 1)
    assert len(drawn) == 1 + len(rows)
    kinds = {row["kind"] for row in rows}
    for row in rows:
        voxels = int(drawn[row["candidate_id"]])
        assert voxels <= row["volume_mm3"]
        assert len(kinds) > 1 or voxels == row["volume_mm3"]
