"""What the steps of the report read and write, without images."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesems_mri.dataset.bids import Participant, Session
from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.standardise import CorrectedImage, ImageHeader, StandardisedImage
from mesems_mri.dataset.tables import read_table, write_table
from mesems_mri.files import write_json
from mesems_mri.images.volume import as_ras
from mesems_mri.pipeline.quality import compile_quality
from mesems_mri.pipeline.report import report_visit
from mesems_mri.pipeline.report_study import report_participant, report_study, step_times
from mesems_mri.pipeline.visit import VisitFiles
from tests.unit.pipeline.records import standardise_record, standardised_image
from tests.unit.report.html import Page
from tests.unit.report.made import metrics_row, visit_record
from tests.unit.report.test_pages import CONFIG


def refused_record(session: str) -> dict[str, Any]:
    row = metrics_row(session=session)
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        row |= {f"{part}_evaluable": False, f"{part}_reason": "unreadable_file"}
    row |= {name: None for name in row if name.endswith(("_count", "_mm3"))}
    more: dict[str, Any] = {"lesions": [], "anchor": None, "message": "truncated", "registration": {}}
    return visit_record(row, status="not_evaluable", **more)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two visits that could not be read, and a ``visit_metrics.tsv``."""
    layout = Layout(tmp_path / "out ä")
    records = [refused_record(session) for session in ("ses-w00", "ses-w04")]
    for record in records:
        write_json(layout.metrics("sub-01", record["visit_metrics"]["session_id"]), record)
    rows = [record["visit_metrics"] for record in records]
    write_table(layout.out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS, rows)
    return layout


def write_visit(layout: Layout, session: str, *earlier: str) -> Page:
    visit = VisitFiles(
        bids_dir=layout.out_dir / "bids", layout=layout, participant_id="sub-01", session_id=session
    )
    report_visit(visit, earlier=earlier, config=CONFIG)
    return Page(layout.page("sub-01", session).read_text(encoding="utf-8"))


def test_visit_without_images_still_gets_a_page_and_a_note(layout: Layout) -> None:
    page = write_visit(layout, "ses-w04", "ses-w00")
    assert "This visit is not evaluable." in page.text
    assert "truncated" in page.text
    assert "No lesion image" in layout.viewer("sub-01", "ses-w04", "open.txt").read_text(encoding="utf-8")


def test_links_of_a_visit_lead_up_and_back_and_never_on(layout: Layout) -> None:
    for name in ("ses-w00", "ses-w04"):
        write_visit(layout, name, *(["ses-w00"] if name == "ses-w04" else []))
    report_participant(layout, "sub-01", [layout.metrics("sub-01", s) for s in ("ses-w00", "ses-w04")])
    report_study(layout)
    first = layout.page("sub-01", "ses-w00")
    assert "ses-w04" not in first.read_text(encoding="utf-8")
    moved = layout.out_dir.parent / "stick"
    shutil.move(layout.out_dir, moved)
    followed = 0
    for path in moved.rglob("*.html"):
        for link in Page(path.read_text(encoding="utf-8")).links:
            target = link.split("#")[0]
            if target:
                assert (path.parent / target).is_file(), (path.name, link)
                followed += 1
    assert followed >= 10


def test_page_does_not_change_when_made_again(layout: Layout) -> None:
    write_visit(layout, "ses-w04", "ses-w00")
    before = {p: p.read_bytes() for p in layout.out_dir.rglob("*") if p.is_file()}
    write_visit(layout, "ses-w04", "ses-w00")
    assert {p: p.read_bytes() for p in layout.out_dir.rglob("*") if p.is_file()} == before


def test_study_page_names_the_log_of_the_step_that_failed(layout: Layout) -> None:
    record = refused_record("ses-w04") | {"status": "failed", "message": "register failed"}
    write_json(layout.metrics("sub-01", "ses-w04"), record)
    logs = layout.out_dir / "logs" / "sub-01" / "ses-w04"
    logs.mkdir(parents=True)
    (logs / "standardise.log").write_text("fine")
    (logs / "register.log").write_text("ERROR sub-01/ses-w04: register failed\nTraceback (most recent)")
    (logs / "measure.log").write_text("nothing to do")
    report_study(layout)
    page = Page(layout.study_page().read_text(encoding="utf-8"))
    assert "logs/sub-01/ses-w04/register.log" in page.links
    assert "✕ failed" in page.text


def test_quality_table_holds_what_sidecars_say_on_one_line(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    image = standardised_image(
        header=ImageHeader(
            spacing_mm=(1.0, 1.0, 3.0),
            slice_thickness_mm=3.0,
            acquisition={
                "Manufacturer": "A\tB\nC",
                "ReceiveCoilName": ["head", 1],
                "MagneticFieldStrength": "three",
            },
        ),
        corrected=CorrectedImage(
            file="FLAIR.nii", quality={"snr": 7.12345, "cnr": None}, skull_stripped=False
        ),
    )
    refused = StandardisedImage(source="T2w.nii.gz").refused("unreadable_file", "truncated")
    record = standardise_record(images={"FLAIR": image, "T2w": refused})
    write_json(layout.record("sub-01", "ses-1", "standardise"), record.to_json())
    sessions = tuple(Session(participant_id="sub-01", session_id=f"ses-{n}", week=4 * n) for n in (0, 1))
    compile_quality(layout, (Participant(participant_id="sub-01", site_id="S1", sessions=sessions),))
    first, second = read_table(layout.site_quality(), SITE_QUALITY_COLUMNS)
    assert (first["manufacturer"], first["coil"]) == ("A B C", "['head', 1]")
    assert (first["field_strength_t"], first["snr"], first["cnr"]) == (None, 7.1235, None)
    assert (first["position"], first["week"], first["acquired"]) == (1, 4, None)
    assert second["evaluable"] is False


def test_costs_are_summed_by_step_and_short_jobs_do_not_break_them(tmp_path: Path) -> None:
    header = "s\th:m:s\tmax_rss\tcpu_time\n"
    for visit, line in (("a", "4.0\t0:00:04\t100.5\t3.0\n"), ("b", "0.5\t0:00:00\t-\tNA\n")):
        folder = tmp_path / visit
        folder.mkdir()
        (folder / "measure.benchmark.tsv").write_text(header + line)
        (folder / "own_step.benchmark.tsv").write_text(header + line)
    first, other = step_times(tmp_path)
    assert (first.step, other.step) == ("measure", "own_step")
    assert (first.count, first.longest_s, first.total_cpu_s, first.peak_mb) == (2, 4.0, 3.0, 100.5)


def test_images_are_turned_to_right_front_top() -> None:
    array = np.zeros((4, 5, 6), np.float32)
    array[0, 1, 2] = 1
    # the file runs to the top, to the left and to the back, with 3 mm slices along its first axis
    affine = np.array([[0, -1, 0, 0], [0, 0, -2, 0], [3, 0, 0, 0], [0, 0, 0, 1]], float)
    turned, spacing_mm = as_ras(array, affine)
    assert turned.shape == (5, 6, 4)
    assert spacing_mm == (1.0, 2.0, 3.0)
    assert np.argwhere(turned).tolist() == [[5 - 1 - 1, 6 - 1 - 2, 0]]


def test_links_lead_up_and_to_the_earlier_visit(layout: Layout) -> None:
    page = write_visit(layout, "ses-w04", "ses-w00")
    up = [link for link in page.links if link.startswith("..")]
    assert up == ["../../index.html", "../sub-01.html", "../ses-w00/sub-01_ses-w00.html"]
