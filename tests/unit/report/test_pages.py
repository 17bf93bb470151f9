"""The pages: whole, self-contained, true to the tables, and blind."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.records.visit import VisitRecord, VisitSummary
from mesems_mri.dataset.tables import FORBIDDEN_COLUMNS
from mesems_mri.report import sections
from mesems_mri.report.charts import nice_ticks
from mesems_mri.report.history import site_history
from mesems_mri.report.page import NONE, Link, format_volume, render_page
from mesems_mri.report.panels import PLANES, draw_panel
from mesems_mri.report.participant_page import ParticipantPage
from mesems_mri.report.pictures import CandidatePictures, FocusPictures, PictureRow, Pictures
from mesems_mri.report.sections import SECTIONS
from mesems_mri.report.study_page import Failure, StepTime, StudyPage, columns_of
from mesems_mri.report.viewers import ViewerCommand
from mesems_mri.report.visit_page import VisitPage
from tests.unit.report.html import Page
from tests.unit.report.made import (
    NOT_EVALUABLE_FIRST,
    candidate_row,
    metrics_row,
    quality_row,
    visit_record,
)

CONFIG = TrialConfig()


def a_visit(record: dict[str, Any] | None = None, **changes: Any) -> VisitPage:
    record = record or visit_record()
    image = np.random.default_rng(0).random((8, 9, 10), dtype=np.float32)
    panels = tuple(
        draw_panel(image, axis=axis, index=2, window=(0, 1), title=name) for axis, name in PLANES.items()
    )
    rows = (PictureRow("first", panels), PictureRow("second", panels))
    foci = tuple(
        FocusPictures(row, panels[0], rows) for row in record["lesions"] if row["lesion_id"] in (2, 3)
    )
    page = VisitPage(
        record=VisitRecord.from_json(record),
        pictures=Pictures(overviews=rows, gallery=foci, registration=rows),
        history=site_history([quality_row(snr=7.1)], "sub-01", "ses-w04"),
        settings=CONFIG,
        commands=[ViewerCommand("ITK-SNAP", "T2 lesions", "itksnap -g a.nii.gz")],
        downloads={"lesions.label.txt": "text"},
    )
    return replace(page, **changes)


def a_study(**changes: Any) -> StudyPage:
    first = metrics_row(session="ses-w00", week=0, **NOT_EVALUABLE_FIRST)
    gap = metrics_row(
        "sub-02", gel_count=None, gel_evaluable=False, gel_reason="no_postcontrast", qc_status="fail"
    )
    endpoint = {
        "participant_id": "sub-01",
        "site_id": "S01",
        "period": "w04_w24",
        "baseline_gel_count": 1,
        "gel_count_sum": 4,
        "gel_visits_evaluable": 2,
        "gel_volume_sum_mm3": 99.5,
        "cua_sum": None,
        "cua_visits_evaluable": 0,
        "t2_new_enlarging_sum": 3,
        "t2_weeks_covered": 12,
        "t2_volume_start_mm3": 1000.0,
        "t2_volume_end_mm3": None,
    }
    page = StudyPage(
        visits=[first, metrics_row(qc_status="warn", qc_flags="low_snr;no_flair"), gap],
        endpoints=[endpoint],
        quality=[quality_row(), quality_row("sub-02", site_id="S02", snr=None)],
        failures=[Failure("sub-02", "ses-w12", "failed", "register failed <b>", "logs/sub-02/x.log")],
        steps=[StepTime("register", 3, 10.0, 12.0, 30.0, 800.0)],
    )
    return replace(page, **changes)


def render(kind: str, content: Any) -> str:
    return render_page(kind, content, title="T", subtitle="S", links=[Link("Study", "../index.html")])  # type: ignore[arg-type]


CONTENT: dict[str, Any] = {
    "visit": a_visit,
    "participant": lambda: ParticipantPage(
        [VisitSummary.from_json(visit_record(metrics_row(session=s))) for s in ("ses-w00", "ses-w04")]
    ),
    "study": a_study,
}


@pytest.mark.parametrize("kind", CONTENT)
def test_page_is_whole_and_needs_no_other_file(kind: str) -> None:
    html = render(kind, CONTENT[kind]())
    page = Page(html)
    assert page.unbalanced == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {url for url in page.fetched if not url.startswith("data:")} == set()
    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    for link in page.links:
        assert not link.startswith(("/", "file:", "http"))
        if link.startswith("#"):
            assert link[1:] in page.ids


@pytest.mark.parametrize("kind", CONTENT)
def test_every_declared_section_is_there_in_order(kind: str) -> None:
    page = Page(render(kind, CONTENT[kind]()))
    keys = [s.key for s in SECTIONS if s.page == kind and s.key != "problems"]
    assert [i for i in page.ids if i in keys] == keys


def test_every_template_belongs_to_a_section() -> None:
    folder = Path(sections.__file__).parent / "templates"
    found = {p.relative_to(folder).as_posix() for p in folder.glob("*/*.html")}
    assert found == {f"{s.page}/{s.key}.html" for s in SECTIONS}


@pytest.mark.parametrize("kind", CONTENT)
def test_same_content_gives_the_same_bytes(kind: str) -> None:
    assert render(kind, CONTENT[kind]()) == render(kind, CONTENT[kind]())


ODD = '<script>alert("1")</script>&amp;\'"ä{{ 7*7 }}'


def test_odd_characters_do_not_break_a_page() -> None:
    row = metrics_row(site_id=ODD, study_id=ODD)
    record = visit_record(row, message=ODD, status="not_evaluable")
    record["images"]["FLAIR"] |= {"source": ODD, "evaluable": False, "reason": "artefact", "message": ODD}
    pages = {
        "visit": a_visit(record),
        "participant": ParticipantPage([VisitSummary.from_json(record)]),
        "study": a_study(visits=[row], failures=[Failure("sub-01", "ses-w04", "failed", ODD)]),
    }
    for kind, content in pages.items():
        html = render_page(kind, content, title=ODD, subtitle=ODD)  # type: ignore[arg-type]
        page = Page(html)
        assert page.unbalanced == []
        assert ODD in page.text
        assert html.count("<script>") == 1  # our own


def test_no_page_shows_the_steroid_flag_or_a_forbidden_column() -> None:
    names = [p.replace("*", "x").replace("[sz]", "s") for p in FORBIDDEN_COLUMNS]
    secret = {"steroid_within_30d": "STEROIDFLAG", **dict.fromkeys(names, "UNBLINDED")}
    row = metrics_row() | secret
    record = visit_record(row) | secret
    record["lesions"] = [lesion | secret for lesion in record["lesions"]]
    record["images"] = {"FLAIR": record["images"]["FLAIR"] | secret}
    study = a_study()
    pages = {
        "visit": a_visit(record),
        "participant": ParticipantPage([VisitSummary.from_json(record)]),
        "study": replace(
            study,
            visits=[row],
            endpoints=[dict(r) | secret for r in study.endpoints],
            quality=[dict(r) | secret for r in study.quality],
        ),
    }
    for kind, content in pages.items():
        html = render(kind, content)
        assert "STEROIDFLAG" not in html
        assert "UNBLINDED" not in html
        assert not re.search(r"steroid|randomi[sz]|allocat|treatment|\bEDSS\b|relapse", html, re.I)


def test_what_is_not_evaluable_is_a_dash_with_its_reason_and_zero_is_zero() -> None:
    row = metrics_row(
        gel_count=None, gel_evaluable=False, gel_reason="no_postcontrast", t2_new_count=0, qc_status="fail"
    )
    text = " ".join(Page(render("visit", a_visit(visit_record(row)))).text.split())
    assert f"Gadolinium-enhancing lesions {NONE} not evaluable: no post-contrast scan no_postcontrast" in text
    assert "Send it, or accept the gap." in text
    assert "New T2 lesions 0" in text
    assert "✕ fail" in text


def test_visit_that_is_not_evaluable_gives_its_reason() -> None:
    row = metrics_row()
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        row |= {f"{part}_evaluable": False, f"{part}_reason": "wrong_head"}
    row |= {name: None for name in row if name.endswith(("_count", "_mm3"))}
    record = visit_record(row, status="not_evaluable", message="other head", lesions=[], anchor=None)
    text = Page(render("visit", VisitPage(record=VisitRecord.from_json(record)))).text
    assert "This visit is not evaluable." in text
    assert "other head" in text
    assert "Check whose scan it is, and left and right; export it again." in text
    assert "None among what is evaluable" in text


def test_candidates_stand_behind_a_switch_that_is_off() -> None:
    rows = [candidate_row(1), candidate_row(2, "gel", score=0.123)]
    record = visit_record(candidates=rows)
    image = np.random.default_rng(0).random((8, 9, 10), dtype=np.float32)
    panel = draw_panel(image, axis=2, index=2, window=(0, 1), title="axial", masks={"candidate": image > 0.5})
    pictures = Pictures(candidates=(CandidatePictures(rows[1], (panel,)),))
    html = render("visit", a_visit(record, pictures=pictures))
    page = Page(html)
    assert page.unbalanced == []
    (switch,) = re.findall(r'<input type="checkbox" id="show-candidates"[^>]*>', html)
    assert "checked" not in switch.replace("checkbox", "")
    section = html.split('<section id="candidates"')[1].split("</section>")[0]
    text = " ".join(Page(section).text.split())
    assert "2 foci that were considered and count nowhere" in text
    assert f"at least {CONFIG.t2.candidate_score} (T2 lesion)" in text
    assert "c2 enhancing lesion 0.123 27.0 juxtacortical 11.0, -4.5, 20.0 vessel" in text
    # all but the switch and its words lies in what the switch hides
    assert section.index('class="switched"') < min(section.index("<table"), section.index("<figure"))
    assert "o-candidate" in section
    assert "candidate-2" in page.ids
    assert "candidate-1" not in page.ids  # it has no picture, and no link to one


def test_no_candidate_and_no_detector_are_two_things() -> None:
    none = " ".join(Page(render("visit", a_visit(visit_record(candidates=[])))).text.split())
    assert "None: nothing of what is evaluable here (T2 lesion, new or enlarging T2 lesion, enhancing" in none
    unasked = Page(render("visit", a_visit(visit_record(candidates=None))))
    assert "candidates" not in unasked.ids


def test_gallery_and_table_name_every_lesion_once() -> None:
    page = Page(render("visit", a_visit()))
    assert sorted(i for i in page.ids if i.startswith("lesion-")) == [f"lesion-{n}" for n in (1, 2, 3, 4)]
    assert "151.0 mm³" in page.text
    assert "-20.1, 4.0, 30.5 mm" in page.text


def test_status_is_told_by_word_too() -> None:
    text = Page(render("visit", a_visit())).text
    assert "T2 lesion 2: new" in " ".join(text.split())
    assert "GEL 3: enhancing, new" in " ".join(text.split())


def test_methods_state_the_operating_points() -> None:
    text = " ".join(Page(render("visit", a_visit())).text.split())
    assert "a T2 lesion is counted from a score of 0.5 on, a new or enlarging one from 0.5 on" in text
    assert "an enhancing one from 0.5;" in text


def test_rejected_candidates_and_given_masks_are_named() -> None:
    rejected = [
        {"voxel": [10, 20, 30], "volume_mm3": 15.0, "score": 0.1, "cause": "vessel"},
        {"voxel": [11, 21, 31], "volume_mm3": 99.0, "score": 0.2, "cause": "new_cause"},
    ]
    page = a_visit(visit_record(gel_rejected=rejected, lesions_from="masks"))
    text = " ".join(Page(render("visit", page)).text.split())
    assert "2 candidates for enhancement rejected" in text
    assert text.index("11, 21, 31 new cause") < text.index("10, 20, 30 vessel")
    assert "are masks of the user" in text
    assert "masks of the user" not in Page(render("visit", a_visit())).text


def test_participant_page_leads_to_every_visit_and_lesion() -> None:
    page = Page(render("participant", CONTENT["participant"]()))
    assert "ses-w00/sub-01_ses-w00.html" in page.links
    assert "ses-w04/sub-01_ses-w04.html#lesion-2" in page.links


def test_study_page_shows_gaps_with_reasons() -> None:
    page = Page(render("study", a_study()))
    text = " ".join(page.text.split())
    assert f"GEL {NONE} · T2 1+0 no post-contrast scan" in text
    assert f"GEL 2 · T2 {NONE}" in text  # the first visit has no reference: no gap
    assert "no visit" in text  # sub-02 has no first visit
    assert "sub-01/ses-w04/sub-01_ses-w04.html" in page.links
    assert "logs/sub-02/x.log" in page.links
    assert page.images == 0


def test_a_sum_over_no_evaluable_visit_is_no_zero() -> None:
    gap = metrics_row(gel_count=None, gel_evaluable=False, gel_reason="no_postcontrast")
    text = " ".join(Page(render("study", a_study(visits=[gap]))).text.split())
    assert f"Enhancing lesions {NONE} at no evaluable visit" in text
    assert "New T2 lesions 1 at 1 evaluable visit " in text
    assert "no visit is evaluable" in text  # in the chart


def test_columns_follow_the_weeks_and_not_the_labels() -> None:
    visits = [
        metrics_row(session="ses-a", week=12),
        metrics_row(session="ses-b", week=4),
        metrics_row(session="ses-extra", week=None),
    ]
    assert [name for name, _ in columns_of(visits)] == ["ses-b", "ses-a", "ses-extra"]


def test_a_large_trial_stays_usable() -> None:
    weeks = (0, 4, 12, 24, 28, 36, 48)
    visits = [
        metrics_row(f"sub-{p:03}", f"ses-w{w:02}", week=w, site_id=f"S{p % 15:02}", qc_flags="low_snr")
        for p in range(144)
        for w in weeks
    ]
    quality = [
        quality_row(v["participant_id"], v["session_id"], site_id=v["site_id"], contrast=c)
        for v in visits
        for c in ("T1w", "FLAIR", "ce-gadolinium_T1w")
    ]
    begun = time.process_time()
    html = render("study", StudyPage(visits=visits, quality=quality))
    assert time.process_time() - begun < 3.0
    assert len(html) < 4_000_000
    assert Page(html).rows > 1008 + 144


def test_numbers_are_written_for_readers() -> None:
    assert format_volume(12345.6) == "12\u2009345.6"
    assert format_volume(0.0) == "0.0"
    assert format_volume(None) == "\N{EN DASH}"


@pytest.mark.parametrize("highest", [0.3, 1, 3, 7.3, 99, 12345])
def test_ticks_reach_over_the_highest_value(highest: float) -> None:
    ticks = nice_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-2] < highest <= ticks[-1]
    assert 3 <= len(ticks) <= 6
    assert all(tick == int(tick) for tick in nice_ticks(highest, whole=True))
