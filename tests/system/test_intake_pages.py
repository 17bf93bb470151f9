"""Receipt and site page in a real Chromium: quiet, offline, fit for a phone, a keyboard and no JavaScript."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.report.intake_pages import receipt_html, site_html
from mesems_mri.report.page import Link
from mesems_mri.report.site_page import SitePage
from tests.system.chromium import Chromium
from tests.unit.report.made import quality_row
from tests.unit.report.sent import POST, item, query, receipt, series

PHONE_PX = 390
PAGES = ("receipts/in-0.html", "sites/S01.html")
LONG = "t2_space_dark-fluid_sag_p2_iso_with_a_name_that_never_ends_and_has_no_blank_in_it"

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("installed_chromium")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("BIDS ä 1")
    names = ("field_strength", "slice_thickness", "coil", "contrast_dose", "like_precontrast")
    items = tuple(
        item(name, result, role=role, limit="not body, knee, breast, wrist, shoulder")
        for role in ("T1w", POST, "T2w", "PDw", "FLAIR")
        for name, result in zip(names, ("PASS", "FAIL", "UNKNOWN", "PASS", "PASS"), strict=True)
    )
    queries = [
        query(1, QueryCode.PROTOCOL_DEVIATION, f"FLAIR: coil {LONG}, expected another"),
        query(2, QueryCode.MISSING_SLICES, LONG),
        query(3, QueryCode.SEX_DIFFERS, closed="2024-01-09"),
    ]
    first = receipt(
        0, items=items, queries=tuple(queries), series=(series(description=LONG, faults=(LONG,)),)
    )
    receipts = [first, *(receipt(n) for n in range(1, 30))]
    rows = [quality_row("sub-01", f"ses-w{n:02}", contrast="FLAIR", snr=7.0 + n, week=n) for n in range(12)]
    site = SitePage(
        site_id="S01",
        receipts=receipts,
        queries=queries,
        quality=rows,
        days_from_scan=[1, 2, 30],
        hrefs={r.submission_id: f"../receipts/{r.submission_id}.html" for r in receipts},
    )
    for name in ("receipts", "sites"):
        (folder / name).mkdir()
    for made in receipts:
        html = receipt_html(made, links=[Link("Site S01", "../sites/S01.html")])
        (folder / "receipts" / f"{made.submission_id}.html").write_text(html, encoding="utf-8")
    (folder / "sites" / "S01.html").write_text(site_html(site), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def desktop(pages: Path) -> Iterator[Chromium]:
    assert pages.is_dir()
    with Chromium() as browser:
        yield browser


@pytest.mark.parametrize("page", PAGES)
def test_opens_without_a_complaint_and_asks_for_nothing(desktop: Chromium, pages: Path, page: str) -> None:
    desktop.open(pages / page)
    assert desktop.run("document.documentElement.className") == "js"
    assert desktop.complaints() == []
    assert desktop.requests() == []


@pytest.mark.parametrize("page", PAGES)
def test_fits_a_phone(pages: Path, page: str) -> None:
    with Chromium(width=PHONE_PX, height=844) as phone:
        phone.open(pages / page)
        wide = "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg')"
        wide += f" && e.getBoundingClientRect().right > {PHONE_PX} + 1).map(e => e.outerHTML.slice(0, 120))"
        assert phone.run(wide) == []
        assert phone.run("document.documentElement.scrollWidth") <= PHONE_PX


@pytest.mark.parametrize("page", PAGES)
def test_every_text_is_dark_enough_to_be_read(desktop: Chromium, pages: Path, page: str) -> None:
    """Contrast of 4.5 to 1, as WCAG 2 asks for."""
    desktop.open(pages / page)
    low = """(() => {
      const parts = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
      const light = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const behind = (e) => { for (let n = e; n; n = n.parentElement) {
        const c = parts(getComputedStyle(n).backgroundColor); if (c.length === 3 || c[3] > 0) return c; }
        return [255, 255, 255]; };
      const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      const seen = (e) => own(e) && e.offsetParent && !e.closest('svg');
      return [...document.querySelectorAll('body *')].filter(seen)
        .filter((e) => { const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))];
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5; })
        .map((e) => e.outerHTML.slice(0, 100));
    })()"""
    assert desktop.run(low) == []
    desktop.run("document.body.style.color = '#999'")
    assert desktop.run(low) != []


def test_receipt_and_site_page_lead_to_each_other(desktop: Chromium, pages: Path) -> None:
    desktop.open(pages / "sites" / "S01.html")
    links = desktop.run("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert "../receipts/in-0.html" in links
    for link in links:
        assert link.startswith("#") or (pages / "sites" / link).resolve().is_file()
    desktop.open(pages / "receipts" / "in-0.html")
    assert desktop.run("document.querySelector('.crumbs a').getAttribute('href')") == "../sites/S01.html"


def test_keyboard_meets_few_signs_on_its_way(desktop: Chromium, pages: Path) -> None:
    desktop.open(pages / "sites" / "S01.html")
    marks = desktop.run("document.querySelectorAll('.marks .qc').length")
    stops = desktop.run("document.querySelectorAll('.marks a').length")
    assert marks > 80
    assert stops == 10  # what failed or is not known


@pytest.mark.parametrize("page", PAGES)
def test_all_is_there_without_scripts(desktop: Chromium, pages: Path, page: str) -> None:
    count = "[document.querySelectorAll('table tbody tr').length, document.querySelectorAll('svg').length]"
    desktop.open(pages / page)
    with_scripts = desktop.run(count)
    with Chromium(scripts=False) as plain:
        plain.open(pages / page)
        assert plain.run(count) == with_scripts
        hidden = "[...document.querySelectorAll('.js-only, button')].filter(e => e.offsetParent).length"
        assert plain.run(hidden) == 0


@pytest.mark.parametrize("page", PAGES)
def test_prints(desktop: Chromium, pages: Path, page: str, tmp_path: Path) -> None:
    desktop.open(pages / page)
    desktop.picture(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
