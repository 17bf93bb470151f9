"""Candidates of the phantom trial: the lower operating point lists more or fewer, and changes no count."""

from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import CANDIDATE_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.detect import history_from_carried
from mesems_mri.dataset.records.measure import RememberedVisits
from mesems_mri.files import read_json, write_json
from mesems_mri.images import nifti
from mesems_mri.pipeline.detect import detect_lesions
from mesems_mri.pipeline.measure import measure_visit
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.pipeline.visit_record import VisitTableRow
from tests.demonstration import Demonstration

WHO, FIRST, SECOND = "sub-01", "ses-w00", "ses-w04"
COUNTED = 0.97
"""So high that much of what is found becomes a candidate."""


def measured(demo: Demonstration, out_dir: Path, candidate_score: float) -> tuple[Any, VisitFiles]:
    """Detect and measure the second visit of a copy again; return the outcome and the visit."""
    points = {"min_score": COUNTED, "candidate_score": candidate_score}
    config = TrialConfig.model_validate({"t2": points, "change": points, "enhancement": points})
    visit = VisitFiles(
        bids_dir=demo.bids_dir,
        layout=Layout(demo.copied(out_dir).out_dir),
        participant_id=WHO,
        session_id=SECOND,
    )
    carried = read_json(visit.at(FIRST).record("detect"))["carried"]
    detected = detect_lesions(visit, history_from_carried(carried), visit_type="scheduled", config=config)
    write_json(visit.record("detect"), detected.to_json())
    earlier = RememberedVisits.from_carried(read_json(visit.at(FIRST).record("measure"))["carried"])
    table = VisitTableRow(study_id="", site_id="", visit_type="scheduled", week=4, day=28)
    outcome = measure_visit(visit, earlier, table, focus=config.focus, enhancement=config.enhancement)
    assert outcome.measured is not None
    return outcome, visit


def test_counts_do_not_depend_on_what_is_listed(demo: Demonstration, tmp_path: Path) -> None:
    many, visit = measured(demo, tmp_path / "many", 0.05)
    none, _ = measured(demo, tmp_path / "none", COUNTED)
    assert many.measured.lesions == none.measured.lesions
    assert many.remembered == none.remembered
    rows = many.measured.candidates
    better = [row for row in rows if row["score"] >= COUNTED]
    assert len(rows) > len(better) == len(none.measured.candidates)
    table = visit.layout.candidates(WHO, SECOND).read_text(encoding="utf-8").splitlines()
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
