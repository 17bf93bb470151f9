"""Receipts as intake makes them, made by hand."""

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np

from mesems_mri.dataset.queries import Query, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.report.panels import PLANES, draw_panel
from mesems_mri.report.pictures import PictureRow
from mesems_mri.report.receipt_page import CheckedItem, SentSeries, SubmissionReceipt

POST = "ce-gadolinium_T1w"
FIRST_DAY = dt.date(2024, 1, 3)


def item(name: str = "slice_thickness", result: str = "PASS", **changes: Any) -> CheckedItem:
    made = CheckedItem(
        role="FLAIR",
        name=name,
        words=name.replace("_", " "),
        result=result,
        value="" if result == "UNKNOWN" else "1 mm",
        limit="at most 1.5 mm",
    )
    return replace(made, **changes)


def query(number: int, code: QueryCode, words: str = "x", *, closed: str = "", **changes: Any) -> Query:
    made = new_query(
        code,
        words=words,
        site_id="S01",
        participant_id="sub-01",
        session_id="ses-w00",
        submission_id="in-0",
    )
    made = replace(made, query_id=f"Q{number:04}", opened="2024-01-03", **changes)
    return (
        replace(made, status="closed", closed=closed, closed_by="Centre", reason="agreed") if closed else made
    )


def series(**changes: Any) -> SentSeries:
    made = SentSeries(
        number="5",
        description="t2_flair_3d",
        role="FLAIR",
        reason="inversion time 1800 ms",
        slices=176,
        image="sub-01/ses-w00/anat/sub-01_ses-w00_FLAIR.nii.gz",
    )
    return replace(made, **changes)


def receipt(number: int = 0, **changes: Any) -> SubmissionReceipt:
    """Make the receipt of a submission to protocol; later ones have higher numbers."""
    image = np.random.default_rng(number).random((8, 9, 10), dtype=np.float32)
    panels = tuple(
        draw_panel(image, axis=axis, index=2, window=(0, 1), title=name) for axis, name in PLANES.items()
    )
    localizer = series(number="1", description="loc", role="localizer", reason="few slices", image="")
    made = SubmissionReceipt(
        submission_id=f"in-{number}",
        site_id="S01",
        received=FIRST_DAY + dt.timedelta(days=10 * number),
        participant_id="sub-01",
        session_id=f"ses-w{number:02}",
        visit_type="scheduled",
        week=number,
        protocol="a protocol",
        scanner="Maker One (7)",
        software="A1",
        files=180,
        series=(localizer, series()),
        identity=(item("window", role="", words="day of the scan", value="inside", limit="in the window"),),
        items=(item(), item("echo_time"), item("coil", role="T1w")),
        notes=("3 files are not DICOM.",),
        pictures=(PictureRow("FLAIR", panels),),
    )
    return replace(made, **changes)
