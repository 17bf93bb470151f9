"""The pictures of a visit, drawn from small products."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesems_mri.dataset.bids import POSTCONTRAST, preproc_name
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.images import nifti
from mesems_mri.pipeline.figures import draw_pictures
from mesems_mri.pipeline.masks import CANDIDATES_DSEG
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.report.pictures import Panel
from tests.unit.report.made import candidate_row, ledger_row, metrics_row, visit_record

SHAPE = (72, 80, 76)
NEW, GEL = (slice(20, 24), slice(50, 53), slice(40, 44)), (slice(50, 53), slice(30, 33), slice(20, 23))
DSEGS = {
    "t2": "space-subject_desc-T2_dseg.nii.gz",
    "gel": "ce-gadolinium_space-subject_desc-enhancing_dseg.nii.gz",
}


@pytest.fixture
def visit(tmp_path: Path) -> VisitFiles:
    return VisitFiles(
        bids_dir=tmp_path / "bids",
        layout=Layout(tmp_path / "out"),
        participant_id="sub-01",
        session_id="ses-w04",
    )


@pytest.fixture
def record(visit: VisitFiles) -> dict[str, Any]:
    """A visit with a new T2 lesion (2) and an enhancing one (3), its images written."""
    random = np.random.default_rng(1)
    brain = np.zeros(SHAPE, bool)
    brain[6:66, 8:72, 5:70] = True
    images = {
        c: (brain + random.normal(0, 0.05, SHAPE)).astype(np.float32) for c in ("FLAIR", "T1w", POSTCONTRAST)
    }
    before = images["FLAIR"].copy()
    images["FLAIR"][NEW] += 1
    images[POSTCONTRAST][GEL] += 1
    preproc = {}
    for contrast, image in images.items():
        path = visit.product(preproc_name(contrast))
        nifti.write_image(path, image, np.eye(4))
        preproc[contrast] = visit.relative(path)
    reference = visit.layout.product("sub-01", "ses-w00", preproc_name("FLAIR"))
    nifti.write_image(reference, before, np.eye(4))
    nifti.write_labels(visit.product("space-subject_desc-brain_mask.nii.gz"), brain, np.eye(4))
    for focus, place, lesion_id in (("t2", NEW, 2), ("gel", GEL, 3)):
        dseg = np.zeros(SHAPE, np.int32)
        dseg[place] = lesion_id
        nifti.write_labels(visit.product(DSEGS[focus]), dseg, np.eye(4))
    lesions = [
        ledger_row(2, t2_status="new", active=True),
        ledger_row(3, focus="gel", gd_status="new", active=True),
    ]
    return visit_record(
        lesions=lesions, preproc=preproc, change_contrast="FLAIR", reference_preproc=visit.relative(reference)
    )


def titles(panels: tuple[Panel, ...]) -> list[str]:
    return [panel.title.split(", ")[1] for panel in panels]


def extent(panel: Panel, kind: str) -> np.ndarray:
    points = np.array(re.findall(r"-?[\d.]+", panel.outlines[kind]), float).reshape(-1, 2)
    return points.max(axis=0) - points.min(axis=0)


def test_every_active_lesion_is_shown_in_three_planes(visit: VisitFiles, record: dict[str, Any]) -> None:
    new, enhancing = draw_pictures(visit, VisitRecord.from_json(record)).gallery
    assert [row.title for row in new.planes] == ["axial", "coronal", "sagittal"]
    for plane in new.planes:
        assert titles(plane.panels) == ["ses-w00", "now", "difference", "T1w after contrast", "outlined"]
        assert list(plane.panels[-1].outlines) == ["T2", "new"]
    for plane in enhancing.planes:
        assert titles(plane.panels) == [
            "before contrast",
            "after contrast",
            "difference",
            "FLAIR",
            "outlined",
        ]
        assert list(plane.panels[-1].outlines) == ["enhancing"]
        np.testing.assert_allclose(extent(plane.panels[-1], "enhancing"), (3, 3))
        assert (plane.panels[0].width, plane.panels[0].height) == (64, 64)


def test_the_place_is_marked_where_the_lesion_lies(visit: VisitFiles, record: dict[str, Any]) -> None:
    """The lesion to the patient's left stands on the right of the picture."""
    new, enhancing = draw_pictures(visit, VisitRecord.from_json(record)).gallery
    x_of = {}
    for focus in (new, enhancing):
        x, _, width, _ = focus.place.frame
        x_of[focus.row["lesion_id"]] = (x + width / 2) / focus.place.width
    assert x_of[2] > 0.6  # array index 20 of 72 runs to the patient's right: left side of the head
    assert x_of[3] < 0.4


def test_overview_and_registration_show_all_contrasts(visit: VisitFiles, record: dict[str, Any]) -> None:
    pictures = draw_pictures(visit, VisitRecord.from_json(record))
    assert [row.title for row in pictures.overviews] == [
        "FLAIR: T2 lesions and their change",
        "T1w after contrast: enhancing lesions",
    ]
    outlined = [panel for row in pictures.overviews for panel in row.panels if panel.outlines]
    assert outlined
    assert {text for panel in outlined for _, _, text in panel.labels} == {"2", "3"}
    assert [row.title for row in pictures.registration] == [
        "ses-w00: FLAIR",
        "ses-w04: FLAIR",
        "ses-w04: T1w before contrast",
        "ses-w04: T1w after contrast",
    ]
    assert all("brain" in panel.outlines for row in pictures.registration for panel in row.panels)


def test_candidates_are_outlined_on_the_image_they_were_seen_on(
    visit: VisitFiles, record: dict[str, Any]
) -> None:
    dseg = np.zeros(SHAPE, np.int32)
    for number, place in enumerate(((30, 36), (40, 46), (50, 56)), start=1):
        dseg[slice(*place), 40:46, 10:60] = number  # tall: in every slice of the overview between
    nifti.write_labels(visit.product(CANDIDATES_DSEG), dseg, np.eye(4))
    record["candidates"] = [
        candidate_row(1),
        candidate_row(2, "change"),
        candidate_row(3, "gel"),
        candidate_row(4, "gel"),  # another kind has all its voxels
    ]
    pictures = draw_pictures(visit, VisitRecord.from_json(record))
    named = {
        row.title: {text for panel in row.panels for _, _, text in panel.candidates}
        for row in pictures.overviews
    }
    assert named == {
        "FLAIR: T2 lesions and their change": {"c1", "c2"},
        "T1w after contrast: enhancing lesions": {"c3"},
    }
    assert [c.row["candidate_id"] for c in pictures.candidates] == [1, 2, 3]
    titles_of = [[panel.title for panel in c.panels] for c in pictures.candidates]
    planes = ["axial", "coronal", "sagittal"]
    assert titles_of == [
        ["axial, without outline", *planes],
        ["axial, ses-w00", *planes],
        ["axial, before contrast", *planes],
    ]
    for offered in pictures.candidates:
        assert list(offered.panels[-3].outlines) == ["candidate"]
        np.testing.assert_allclose(extent(offered.panels[-3], "candidate"), (6, 6))


def test_without_an_image_before_contrast_the_page_says_so(visit: VisitFiles, record: dict[str, Any]) -> None:
    del record["preproc"]["T1w"]
    enhancing = draw_pictures(visit, VisitRecord.from_json(record)).gallery[1]
    assert titles(enhancing.planes[0].panels) == ["after contrast", "FLAIR", "outlined"]
    assert "confirmed by a reader" in enhancing.note


def test_wrong_head_is_shown_beside_the_first_visit(visit: VisitFiles) -> None:
    sources = {}
    for session in ("ses-w00", "ses-w04"):
        sources[session] = f"sub-01/{session}/anat/sub-01_{session}_FLAIR.nii.gz"
        image = np.random.default_rng(0).random((20, 22, 18), dtype=np.float32)
        nifti.write_image(visit.bids_dir / sources[session], image, np.eye(4))
    record = visit_record(
        metrics_row(t2_evaluable=False, t2_reason="wrong_head"),
        status="not_evaluable",
        anchor=visit_record()["anchor"] | {"source": sources["ses-w00"]},
    )
    record["images"]["FLAIR"]["source"] = sources["ses-w04"]
    record["images"]["T2w"] = record["images"]["FLAIR"] | {"source": "sub-01/ses-w04/anat/gone.nii.gz"}
    pictures = draw_pictures(visit, VisitRecord.from_json(record))
    assert [row.title for row in pictures.sent] == [
        "FLAIR: sub-01_ses-w04_FLAIR.nii.gz",
        "ses-w00, for comparison: sub-01_ses-w00_FLAIR.nii.gz",
    ]
    assert not pictures.gallery
