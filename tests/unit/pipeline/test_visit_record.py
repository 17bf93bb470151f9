"""Record of a visit: row, reasons and flags, whatever became of the visit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesems_mri.config import QualityRule
from mesems_mri.dataset.bids import POSTCONTRAST
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import StoppedRecord
from mesems_mri.dataset.records.measure import MeasuredVisit, MeasureRecord, RememberedVisits
from mesems_mri.dataset.records.parts import ChangePart, GelPart, Parts, RejectedCandidate, T2Part
from mesems_mri.dataset.records.register import RegisterRecord
from mesems_mri.dataset.records.standardise import ImageHeader, StandardiseRecord
from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.dataset.tables import table_cells
from mesems_mri.files import read_json, write_json
from mesems_mri.pipeline.flags import acquisition_changes
from mesems_mri.pipeline.visit import VisitFiles
from mesems_mri.pipeline.visit_record import VisitTableRow, write_visit_record
from tests.unit.pipeline.records import (
    alignment,
    anchor,
    detect_record,
    parts,
    refused_image,
    register_record,
    registered_image,
    standardise_record,
    standardised_image,
)

TABLE = VisitTableRow(study_id="trial", site_id="S01", visit_type="scheduled", week=4, day=28)
EARLIER = RememberedVisits(
    visit_index=0, days={"ses-1": 3}, scheduled=("ses-1",), gel_evaluable={"ses-1": True}
)
CONTRASTS: tuple[Any, ...] = ("T1w", POSTCONTRAST, "FLAIR")
LESION = {
    "lesion_id": 1,
    "focus": "gel",
    "gd_status": "new",
    "t2_status": "new",
    "parent_lesion_id": None,
    "volume_mm3": 31.5,
    "decision": "automatic",
}


@pytest.fixture
def visit(tmp_path: Path) -> VisitFiles:
    """A visit that is done, all contrasts evaluable, and its reference visit."""
    visit = VisitFiles(
        bids_dir=tmp_path, layout=Layout(tmp_path / "out"), participant_id="sub-1", session_id="ses-2"
    )
    for files in (visit.at("ses-1"), visit):
        standardised = standardise_record(images={c: standardised_image(c) for c in CONTRASTS})
        write_json(files.record("standardise"), standardised.to_json())
        registered = register_record(images={c: registered_image(c) for c in CONTRASTS})
        write_json(files.record("register"), registered.to_json())
    write_json(visit.record("detect"), detect_record().to_json())
    return visit


def measured(*lesions: Any) -> MeasureRecord:
    return MeasureRecord(measured=MeasuredVisit(lesions=lesions, products=()))


def run(visit: VisitFiles, record: Any = None, earlier: RememberedVisits = EARLIER) -> VisitRecord:
    write_visit_record(
        visit, record or measured(), earlier, TABLE, quality=QualityRule(), config_sha256="ab" * 32
    )
    content = read_json(visit.layout.metrics(*visit.key))
    assert set(content["visit_metrics"]) == set(VISIT_METRICS_COLUMNS)
    list(table_cells("visit_metrics.tsv", VISIT_METRICS_COLUMNS, [content["visit_metrics"]]))
    return VisitRecord.from_json(content)


def flags(record: VisitRecord) -> set[str]:
    return set(filter(None, record.metrics["qc_flags"].split(";")))


def test_a_visit_that_is_done_is_counted(visit: VisitFiles) -> None:
    record = run(visit, measured(LESION))
    row = record.metrics
    assert (record.status, record.visit_index, record.lesions) == ("done", 1, (LESION,))
    assert (row["gel_count"], row["gel_new_count"], row["t2_new_count"], row["cua_count"]) == (1, 1, 0, 1)
    assert (row["gel_reference_session_id"], row["t2_reference_session_id"]) == ("ses-1", "ses-1")
    assert (row["t2_interval_days"], row["t2_contrast"], row["gel_prior_evaluable"]) == (25, "FLAIR", True)
    assert (row["qc_status"], row["qc_flags"]) == ("pass", "")
    assert (row["black_hole_volume_mm3"], row["brain_volume_mm3"]) == (12.0, 1400000.0)
    assert record.reference_preproc == registered_image().preproc
    assert record.registration["to the anchor"].startswith("similarity 1.1 before")
    assert record.lesions_from == "detector"


@pytest.mark.parametrize("status", ["failed", "not_evaluable"])
def test_of_a_visit_that_stopped_nothing_is_zero(visit: VisitFiles, status: Any) -> None:
    record = run(visit, StoppedRecord(status=status, reason="step_failed", message="it stopped"))
    row = record.metrics
    assert (record.status, record.message, record.lesions) == (status, "it stopped", ())
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        assert (row[f"{part}_evaluable"], row[f"{part}_reason"]) == (False, "step_failed")
    assert not [name for name in row if name.endswith(("_count", "_mm3")) and row[name] is not None]
    assert (row["qc_status"], row["qc_flags"]) == ("fail", "")
    assert set(record.images) == set(CONTRASTS)


def test_a_visit_that_waits_is_recorded_without_an_image(visit: VisitFiles) -> None:
    waiting: Any = {"status": "not_evaluable", "reason": "open_query", "message": "waits"}
    write_json(visit.record("standardise"), StandardiseRecord(**waiting, images={}).to_json())
    write_json(visit.record("register"), RegisterRecord(**waiting, anchor=anchor()).to_json())
    record = run(visit, MeasureRecord(**waiting))
    assert (record.images, record.preproc) == ({}, {})
    assert record.anchor is not None
    assert record.anchor.session_id == "ses-1"
    assert record.registration == {"to the anchor": "not registered"}


@pytest.mark.parametrize("step", ["standardise", "register"])
@pytest.mark.parametrize("torn", [True, False])
def test_a_record_is_written_though_an_earlier_one_cannot_be_read(
    visit: VisitFiles, step: str, torn: bool
) -> None:
    if torn:
        write_json(visit.record(step), {"status": "done"})
    else:
        visit.record(step).unlink()
    record = run(visit, StoppedRecord(status="failed", reason="step_failed", message="no record"))
    assert record.status == "failed"


def test_a_first_visit_has_no_reference_and_that_is_no_fault(visit: VisitFiles) -> None:
    first = parts(t2_change=ChangePart(reason="no_reference_visit"))
    write_json(visit.record("detect"), detect_record(parts=first).to_json())
    row = run(visit, earlier=RememberedVisits()).metrics
    assert (row["qc_status"], row["cua_reason"]) == ("pass", "no_reference_visit")
    assert (row["gel_new_count"], row["gel_count"]) == (None, 0)
    assert (row["gel_prior_evaluable"], row["gel_reference_session_id"]) == (None, None)
    assert row["t2_interval_days"] is None


def test_a_gap_before_is_told_apart_from_no_visit_before(visit: VisitFiles) -> None:
    earlier = replace(EARLIER, scheduled=("ses-1", "ses-x"), gel_evaluable={"ses-1": True, "ses-x": False})
    row = run(visit, earlier=earlier).metrics
    assert (row["gel_prior_evaluable"], row["gel_reference_session_id"]) == (False, "ses-1")


def test_masks_that_were_given_and_refused_are_named(visit: VisitFiles) -> None:
    given = parts(
        t2=T2Part(reason="missing_scan", message="no mask", given=True),
        t2_change=ChangePart(reason="missing_scan"),
        gel=GelPart(reason="unreadable_file", message="another grid", given=True),
        black_hole=Parts.refused("missing_scan").black_hole,
    )
    write_json(visit.record("detect"), detect_record(parts=given).to_json())
    record = run(visit)
    assert (record.status, record.message) == ("done", "no mask; another grid")
    assert (record.lesions_from, record.metrics["qc_status"]) == ("masks", "fail")


def test_the_reason_of_the_later_step_is_that_of_the_image(visit: VisitFiles) -> None:
    images = {"FLAIR": registered_image(alignment=None), "T1w": refused_image("registration_failed")}
    write_json(visit.record("register"), register_record(images=images, alignment=None).to_json())
    record = run(visit)
    assert (record.images["T1w"].reason, record.images["T1w"].covered_fraction) == (
        "registration_failed",
        None,
    )
    assert (record.images["FLAIR"].reason, record.images["FLAIR"].covered_fraction) == (None, 1.0)
    assert record.images[POSTCONTRAST].quality == {"snr_wm": 9.5, "cnr": None}
    assert record.registration == {
        "FLAIR": "(the image the others are brought to)",
        "T1w": "not registered",
        "to the anchor": "(this visit is the anchor)",
    }
    assert record.preproc == {"FLAIR": registered_image().preproc}


def test_rejected_candidates_are_listed(visit: VisitFiles) -> None:
    rejected = RejectedCandidate(voxel=(1, 2, 3), volume_mm3=15.0, score=0.1, cause="vessel")
    gel = GelPart(precontrast=True, scores=(), rejected=(rejected,))
    write_json(visit.record("detect"), detect_record(parts=parts(gel=gel)).to_json())
    assert run(visit).gel_rejected == (rejected,)


def test_every_flag_has_its_cause(visit: VisitFiles) -> None:
    assert flags(run(visit)) == set()
    gel = GelPart(precontrast=False, scores=(), rejected=())
    write_json(visit.record("detect"), detect_record(parts=parts(gel=gel)).to_json())
    corrected = standardised_image().corrected
    assert corrected is not None
    noisy = replace(corrected, quality={"snr_wm": 2.9})
    standardised = standardise_record(
        images={"FLAIR": standardised_image(flags=("units_assumed",), corrected=noisy)}
    )
    write_json(visit.record("standardise"), standardised.to_json())
    turned = alignment(flags=("large_rotation",))
    image = registered_image(covered_fraction=0.95, alignment=turned)
    write_json(visit.record("register"), register_record(images={"FLAIR": image}).to_json())
    assert flags(run(visit)) == {
        "no_precontrast_t1",
        "no_t1w",
        "partial_coverage",
        "low_snr",
        "units_assumed",
        "large_rotation",
    }


@pytest.mark.parametrize(("strength", "flagged"), [(0.05, False), (0.12, True), (None, False)])
@pytest.mark.parametrize("measure", ["banding", "ghost", "spike"])
def test_an_image_with_an_artefact_is_flagged(
    visit: VisitFiles, measure: str, strength: float | None, flagged: bool
) -> None:
    corrected = standardised_image().corrected
    assert corrected is not None
    quality = {"snr_wm": 9.5, "banding": 0.01, measure: strength}
    spoilt = standardised_image(corrected=replace(corrected, quality=quality))
    images = {c: standardised_image(c) for c in CONTRASTS} | {"FLAIR": spoilt}
    write_json(visit.record("standardise"), standardise_record(images=images).to_json())
    assert ("artefact" in flags(run(visit))) is flagged


@pytest.mark.parametrize(
    ("flair", "others", "flagged"),
    [
        (None, {"T2w": 1.0}, True),
        (0.5, {"T2w": 1.0}, True),
        (None, {}, False),
        (1.0, {"T2w": 1.0}, False),
    ],
)
def test_a_visit_without_flair_is_flagged_where_another_contrast_serves(
    visit: VisitFiles, flair: float | None, others: dict[Any, float], flagged: bool
) -> None:
    covered = others | {"T1w": 1.0} | ({"FLAIR": flair} if flair else {})
    images = {c: registered_image(c, covered_fraction=share) for c, share in covered.items()}
    write_json(visit.record("register"), register_record(images=images).to_json())
    standardised = standardise_record(images={c: standardised_image(c) for c in images})
    write_json(visit.record("standardise"), standardised.to_json())
    assert ("no_flair" in flags(run(visit))) is flagged


HEADER = ImageHeader(
    spacing_mm=(1.0, 1.0, 3.0),
    slice_thickness_mm=3.0,
    acquisition={"Manufacturer": "Maker", "SoftwareVersions": "1", "MagneticFieldStrength": 3},
)


@pytest.mark.parametrize(
    ("acquisition", "thickness_mm", "expected"),
    [
        ({}, 3.0, set()),
        ({"Manufacturer": "Other"}, 3.0, {"scanner_change"}),
        ({"ReceiveCoilName": "Head_32"}, 3.0, set()),  # the reference visit does not state it
        ({"Manufacturer": None}, 3.0, set()),
        ({"SoftwareVersions": "2"}, 3.0, {"software_change"}),
        ({"MagneticFieldStrength": 1.5}, 3.0, {"field_strength_change"}),
        ({}, 3.05, set()),
        ({}, 1.0, {"slice_thickness_change"}),
        ({"Manufacturer": "Other", "SoftwareVersions": "2"}, 3.0, {"scanner_change", "software_change"}),
    ],
)
def test_changes_of_the_acquisition(
    acquisition: dict[str, Any], thickness_mm: float, expected: set[str]
) -> None:
    now = replace(HEADER, acquisition={**HEADER.acquisition, **acquisition}, slice_thickness_mm=thickness_mm)
    assert acquisition_changes(now, HEADER) == expected


def test_a_change_against_the_reference_visit_is_flagged(visit: VisitFiles) -> None:
    header = ImageHeader(spacing_mm=(1.0,) * 3, slice_thickness_mm=1.0, acquisition={"Manufacturer": "Maker"})
    images = {c: standardised_image(c, header=header) for c in CONTRASTS}
    write_json(visit.record("standardise"), standardise_record(images=images).to_json())
    assert flags(run(visit)) == {"slice_thickness_change"}
    visit.at("ses-1").record("standardise").unlink()
    assert flags(run(visit)) == set()
