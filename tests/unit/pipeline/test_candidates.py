"""Candidates of a visit: one table, one numbered image, which agree and count nowhere."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.dataset.columns import CANDIDATE_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.parts import GelPart, ListedCandidate
from mesems_mri.files import read_json
from mesems_mri.pipeline.candidates import candidate_rows, write_candidates
from mesems_mri.pipeline.visit import VisitFiles, remove_products
from tests.unit.pipeline.records import parts, registered_image

SHAPE = (20, 18, 16)
BOX = tuple(slice(50, 50 + n) for n in SHAPE)
PRIORS = {
    name: np.zeros(SHAPE, np.float32)
    for name in ("brain", "white_matter", "cortex", "lateral_ventricles", "cerebellum", "brainstem")
}
FIRST, SECOND, THIRD = (slice(2, 5),) * 3, (slice(4, 8),) * 3, (slice(10, 12),) * 3
INNER = (slice(2, 4),) * 3


def labels(*places: tuple[slice, ...]) -> np.ndarray:
    dseg = np.zeros(SHAPE, np.uint16)
    for number, place in enumerate(places, start=1):
        dseg[place] = number
    return dseg


def listed(kind: str, *scores: float, cause: str = "score_below_limit") -> list[ListedCandidate]:
    return [
        ListedCandidate(kind=kind, number=number, score=score, cause=cause)  # type: ignore[arg-type]
        for number, score in enumerate(scores, start=1)
    ]


@pytest.fixture
def visit(tmp_path: Path) -> VisitFiles:
    return VisitFiles(
        bids_dir=tmp_path / "bids",
        layout=Layout(tmp_path / "out"),
        participant_id="sub-1",
        session_id="ses-2",
    )


def test_rows_are_in_order_of_kind_score_and_place() -> None:
    arrays = {"candidates_t2": labels(THIRD, FIRST), "candidates_gel": labels(THIRD, SECOND, INNER)}
    candidates = [*listed("gel", 0.2, 0.4, 0.2, cause="vessel"), *listed("t2", 0.1, 0.3)]
    rows, _ = candidate_rows(candidates, arrays, np.eye(4), PRIORS)
    assert rows is not None
    assert [(r["candidate_id"], r["kind"], r["score"], r["volume_mm3"], r["x"]) for r in rows] == [
        (1, "t2", 0.3, 27.0, 3.0),
        (2, "t2", 0.1, 8.0, 10.5),
        (3, "gel", 0.4, 64.0, 5.5),
        (4, "gel", 0.2, 8.0, 2.5),
        (5, "gel", 0.2, 8.0, 10.5),
    ]
    assert {r["why_not_counted"] for r in rows if r["kind"] == "gel"} == {"vessel"}
    assert all(list(r) == list(CANDIDATE_COLUMNS) for r in rows)


def test_where_kinds_overlap_the_better_score_is_drawn_and_both_are_listed() -> None:
    arrays = {"candidates_t2": labels(FIRST), "candidates_change": labels(SECOND, INNER)}
    rows, dseg = candidate_rows([*listed("t2", 0.3), *listed("change", 0.45, 0.2)], arrays, np.eye(4), PRIORS)
    assert rows is not None
    assert dseg is not None
    assert [(r["candidate_id"], r["volume_mm3"]) for r in rows] == [(1, 27.0), (2, 64.0), (3, 8.0)]
    # the change of 0.45 takes one voxel of the T2 candidate, which takes all of the change of 0.2
    assert [int((dseg == r["candidate_id"]).sum()) for r in rows] == [26, 64, 0]


def test_table_and_image_are_written_and_agree(visit: VisitFiles) -> None:
    arrays = {"candidates_t2": labels(FIRST, THIRD)}
    rows, dseg = candidate_rows(listed("t2", 0.07, 0.3), arrays, np.eye(4), PRIORS)
    images = {c: registered_image(c) for c in ("FLAIR", POSTCONTRAST)}
    written = write_candidates(visit, images, parts(), rows, dseg, BOX)
    folder = "sub-1/ses-2"
    name = f"{folder}/anat/sub-1_ses-2_space-subject_desc-candidates_dseg"
    assert written == [f"{name}.nii.gz", f"{folder}/sub-1_ses-2_candidates.tsv"]
    lines = visit.resolve(written[1]).read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t") == list(CANDIDATE_COLUMNS)
    assert lines[1:] == [
        "1\tt2\t0.300\t8.0\t10.5\t10.5\t10.5\tdeep_white_matter\tscore_below_limit",
        "2\tt2\t0.070\t27.0\t3.0\t3.0\t3.0\tdeep_white_matter\tscore_below_limit",
    ]
    drawn = np.asarray(nib.load(visit.resolve(written[0])).dataobj)  # type: ignore[attr-defined]
    assert np.bincount(drawn[BOX].ravel()).tolist()[1:] == [8, 27]
    sidecar = read_json(visit.resolve(f"{name}.json"))
    assert sidecar["Sources"] == [f"bids:raw:{images[c].source}" for c in ("FLAIR", POSTCONTRAST)]
    assert "counted nowhere" in sidecar["Description"]


def test_no_candidate_is_a_header_and_an_empty_image(visit: VisitFiles) -> None:
    rows, dseg = candidate_rows((), {}, np.eye(4), PRIORS)
    images = {"FLAIR": registered_image()}
    found = parts(gel=GelPart(reason="no_postcontrast"))
    written = write_candidates(visit, images, found, rows, dseg, BOX)  # type: ignore[arg-type]
    assert visit.resolve(written[1]).read_text(encoding="utf-8") == "\t".join(CANDIDATE_COLUMNS) + "\n"
    assert not np.asarray(nib.load(visit.resolve(written[0])).dataobj).any()  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ["no detector", "not evaluable"])
def test_what_an_earlier_run_left_is_removed(visit: VisitFiles, end: str) -> None:
    rows, dseg = candidate_rows((), {}, np.eye(4), PRIORS)
    images = {"FLAIR": registered_image()}
    found = parts(gel=GelPart(reason="no_postcontrast"))
    written = write_candidates(visit, images, found, rows, dseg, BOX)  # type: ignore[arg-type]
    assert all(visit.resolve(name).is_file() for name in written)
    if end == "no detector":
        assert candidate_rows(None, {}, np.eye(4), PRIORS) == (None, None)
        assert write_candidates(visit, images, found, None, None, BOX) == []  # type: ignore[arg-type]
    else:
        remove_products(visit, "measure")
    assert not [path for path in visit.layout.out_dir.rglob("*") if path.is_file()]
