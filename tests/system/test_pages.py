"""The three pages in a real Chromium: quiet, offline, fit for a phone, a keyboard and no JavaScript."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.files import read_json
from mesems_mri.report.page import render_page
from mesems_mri.report.panels import draw_panel
from mesems_mri.report.pictures import CandidatePictures, PictureRow, Pictures
from mesems_mri.report.visit_page import VisitPage
from tests.demonstration import Demonstration
from tests.system.chromium import Chromium
from tests.unit.report.made import candidate_row, visit_record

PAGES = {
    "study": "index.html",
    "participant": "sub-01/sub-01.html",
    "visit": "sub-01/ses-w04/sub-01_ses-w04.html",
}
PHONE_PX = 390

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("installed_chromium")]


@pytest.fixture(scope="module")
def report(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages alone, moved elsewhere as onto a memory stick."""
    stick = tmp_path_factory.mktemp("stick") / "Bericht ä 1"
    for path in demo.out_dir.rglob("*.html"):
        target = stick / path.relative_to(demo.out_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return stick


@pytest.fixture(scope="module")
def desktop(report: Path) -> Iterator[Chromium]:
    assert report.is_dir()
    with Chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def phone(report: Path) -> Iterator[Chromium]:
    assert report.is_dir()
    with Chromium(width=PHONE_PX, height=844) as browser:
        yield browser


@pytest.fixture(scope="module")
def without_scripts(report: Path) -> Iterator[Chromium]:
    assert report.is_dir()
    with Chromium(scripts=False) as browser:
        yield browser


@pytest.mark.parametrize("scripts", [True, False])
def test_candidates_are_hidden_until_they_are_asked_for(tmp_path: Path, *, scripts: bool) -> None:
    rows = [candidate_row(1)]
    image = np.random.default_rng(0).random((40, 40, 40), dtype=np.float32)
    inside = np.zeros(image.shape, bool)
    inside[10:20, 10:20] = True
    panel = draw_panel(
        image,
        axis=2,
        index=2,
        window=(0, 1),
        title="axial",
        masks={"T2": inside[::-1], "candidate": inside},
        candidates={"1": (inside, "c1")},
    )
    pictures = Pictures(
        overviews=(PictureRow("FLAIR", (panel,)),), candidates=(CandidatePictures(rows[0], (panel,)),)
    )
    record = VisitRecord.from_json(visit_record(candidates=rows))
    page = tmp_path / "visit.html"
    html = render_page("visit", VisitPage(record=record, pictures=pictures), title="x", subtitle="y")
    page.write_text(html, encoding="utf-8")
    with Chromium(scripts=scripts) as browser:
        browser.open(page)
        count = "[...document.querySelectorAll('{}')].filter(e => e.getClientRects().length).length"
        table, outline = count.format("#candidates table"), count.format("#overview svg.panel .o-candidate")
        lesions = count.format("#overview svg.panel .o-T2")
        assert (browser.run(table), browser.run(outline), browser.run(lesions)) == (0, 0, 1)
        browser.run("document.querySelector('label[for=show-candidates]').click()")
        assert (browser.run(table), browser.run(outline), browser.run(lesions)) == (1, 2, 1)
        browser.run("document.querySelector('label[for=show-overview]').click()")
        assert (browser.run(outline), browser.run(lesions)) == (0, 0)
        assert browser.complaints() == []
        assert browser.requests() == []


@pytest.mark.parametrize("page", PAGES)
def test_opens_without_a_complaint_and_asks_for_nothing(desktop: Chromium, report: Path, page: str) -> None:
    desktop.open(report / PAGES[page])
    assert desktop.run("document.documentElement.className") == "js"
    assert desktop.complaints() == []
    assert desktop.requests() == []


def test_a_complaint_and_a_request_would_be_seen(desktop: Chromium, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><img src='http://127.0.0.1:9/x.png'><script>throw new Error('x')</script>")
    desktop.open(bad)
    assert desktop.requests() == ["http://127.0.0.1:9/x.png"]
    assert any("Uncaught" in text for text in desktop.complaints())


@pytest.mark.parametrize("page", PAGES)
def test_fits_a_phone(phone: Chromium, report: Path, page: str) -> None:
    phone.open(report / PAGES[page])
    assert phone.run("innerWidth") == PHONE_PX
    wide = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg')"
    wide += f" && e.getBoundingClientRect().right > {PHONE_PX} + 1).map(e => e.outerHTML.slice(0, 120))"
    assert phone.run(wide) == []
    assert phone.run("document.documentElement.scrollWidth") <= PHONE_PX


@pytest.mark.parametrize("page", PAGES)
def test_every_control_shows_where_the_focus_is(desktop: Chromium, report: Path, page: str) -> None:
    desktop.open(report / PAGES[page])
    desktop.press("Tab")
    assert desktop.run("document.activeElement.className") == "skip"
    assert desktop.run("document.activeElement.getBoundingClientRect().left >= 0")
    desktop.press("Tab")
    assert desktop.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_table_is_sorted_by_keyboard(desktop: Chromium, report: Path) -> None:
    desktop.open(report / PAGES["visit"])
    table = "document.querySelector('#lesions table')"
    heading = f"[...{table}.tHead.rows[0].cells].findIndex(c => c.textContent.startsWith('Volume'))"
    column = int(desktop.run(heading))
    values = f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[{column}].dataset.v))"
    unsorted = desktop.run(values)
    assert len(set(unsorted)) > 1
    desktop.run(f"{table}.tHead.rows[0].cells[{column}].querySelector('button').focus()")
    state = f"{table}.tHead.rows[0].cells[{column}].getAttribute('aria-sort')"
    assert desktop.run(state) == "none"
    desktop.press("Enter")
    assert desktop.run(state) == "ascending"
    assert desktop.run(values) == sorted(unsorted)
    desktop.press("Enter")
    assert desktop.run(state) == "descending"
    assert desktop.run(values) == sorted(unsorted, reverse=True)


def test_a_filter_hides_what_does_not_fit(desktop: Chromium, report: Path) -> None:
    desktop.open(report / PAGES["study"])
    rows = "[...document.querySelectorAll('#visit-table tbody tr')].filter(r => !r.hidden).length"
    every = desktop.run(rows)
    box = "document.querySelector('[data-filter=visit-table] input')"
    desktop.run(f"{box}.value = 'ses-w04'; {box}.dispatchEvent(new Event('input'))")
    assert 0 < desktop.run(rows) < every
    said = desktop.run("document.querySelector('[data-filter=visit-table] output').textContent")
    assert said == f"{desktop.run(rows)} of {every} shown"


def test_registration_flickers(desktop: Chromium, report: Path) -> None:
    desktop.open(report / PAGES["visit"])
    flicker = "document.querySelector('[data-flicker]')"
    assert desktop.run(f"{flicker}.querySelectorAll('.stage .panels').length") == 2
    away = f"{flicker}.querySelector('.stage .top').classList.contains('away')"
    before = desktop.run(away)
    desktop.run(f"{flicker}.querySelectorAll('button')[0].focus()")
    desktop.press("Enter")
    assert desktop.run(away) is not before
    apart = (
        f"[...{flicker}.querySelectorAll('.stage .panels')].map(p => p.getBoundingClientRect())"
        ".map(b => [b.left, b.top, b.width, b.height].map(Math.round).join())"
    )
    first, second = desktop.run(apart)
    assert first == second  # one exactly on the other


@pytest.mark.parametrize("page", PAGES)
def test_all_is_there_without_scripts(
    without_scripts: Chromium, desktop: Chromium, report: Path, page: str
) -> None:
    count = (
        "[document.querySelectorAll('table tbody tr').length,"
        " document.querySelectorAll('main > section svg.panel image').length,"
        " document.querySelectorAll('figure.chart svg').length]"
    )
    found = []
    for browser in (without_scripts, desktop):
        browser.open(report / PAGES[page])
        browser.run("document.querySelectorAll('.stage').forEach(e => e.remove())")  # what the script adds
        found.append(browser.run(count))
    assert found[0] == found[1]
    assert found[0][0] > 0
    hidden = "[...document.querySelectorAll('.js-only, button')].filter(e => e.offsetParent).length"
    assert without_scripts.run(hidden) == 0  # nothing is offered that would not work


def test_counts_on_the_visit_page_are_those_of_the_record(
    desktop: Chromium, report: Path, demo: Demonstration
) -> None:
    metrics = read_json(demo.out_dir / "sub-01" / "ses-w04" / "sub-01_ses-w04_metrics.json")["visit_metrics"]
    desktop.open(report / PAGES["visit"])
    rows = desktop.run(
        "[...document.querySelectorAll('#summary tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    shown = {words: value for words, value, _ in rows}
    for words, column in (("New T2 lesions", "t2_new_count"), ("T2 lesions", "t2_lesion_count")):
        expected = "\N{EN DASH}" if metrics[column] is None else str(metrics[column])
        assert shown[words] == expected


def test_pictures_are_seen_and_outlines_can_be_hidden(without_scripts: Chromium, report: Path) -> None:
    without_scripts.open(report / PAGES["visit"])
    paths = "[...document.querySelectorAll('#overview svg.panel path')]"
    shown = f"{paths}.filter(e => e.getClientRects().length).length"
    assert without_scripts.run("document.querySelectorAll('#overview svg.panel').length") > 20
    assert without_scripts.run(shown) > 0
    without_scripts.run("document.getElementById('show-overview').focus()")
    without_scripts.run("document.getElementById('show-overview').checked = false")
    assert without_scripts.run(shown) == 0


@pytest.mark.parametrize("page", PAGES)
def test_prints(desktop: Chromium, report: Path, page: str, tmp_path: Path) -> None:
    desktop.open(report / PAGES[page])
    desktop.picture(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
