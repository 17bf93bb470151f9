"""Receipts on disk: the same submission twice is one, and the pages of the sites follow from them."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.queries import add_queries, answer_query, new_query
from mesems_mri.dataset.query_answers import Answer, AnswerKind
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.dataset.tables import write_table
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.intake.receipt_store import (
    QUALITY,
    file_name,
    read_days_from_scan,
    read_receipts,
    write_receipts,
    write_site_pages,
)
from tests.unit.report.html import Page
from tests.unit.report.made import quality_row
from tests.unit.report.sent import receipt


def test_receipts_come_back_in_order_of_arrival_without_pictures(tmp_path: Path) -> None:
    made = [receipt(8), receipt(0, site_id="S02"), receipt(4)]
    for one in made:
        (page,) = write_receipts(tmp_path, [one])
        assert Page(page.read_text(encoding="utf-8")).images == 3
    assert read_receipts(tmp_path) == [replace(one, pictures=(), queries=()) for one in made]
    assert read_receipts(tmp_path / "empty") == []


def test_same_submission_twice_is_one_with_its_first_day(tmp_path: Path) -> None:
    write_receipts(tmp_path, [receipt(0), receipt(4)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    later = receipt(0, received=dt.date(2030, 1, 1))
    write_receipts(tmp_path, [later])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_site_page_links_to_the_receipts_and_back(tmp_path: Path) -> None:
    receipts = write_receipts(tmp_path, [receipt(0), receipt(4, site_id="S/2 ä")])
    pages = write_site_pages(tmp_path)
    assert [page.name for page in pages] == ["S01.html", f"{file_name('S/2 ä')}.html"]
    for page in (*receipts, *pages):
        for link in Page(page.read_text(encoding="utf-8")).links:
            if not link.startswith("#"):
                assert (page.parent / link).resolve().is_file(), link
    assert len({path.parent for path in pages}) == 1


@pytest.mark.parametrize("label", ["../../x", "a/b", "", "S 1", ".", "ä", "con\0"])
def test_no_label_leads_out_of_the_folder(label: str) -> None:
    name = file_name(label)
    assert "/" not in name
    assert "\0" not in name
    assert not (name and set(name) <= {"."})
    assert file_name("S01") == "S01"
    assert file_name("a/b") != file_name("a_b")


def test_submission_of_no_known_site_has_a_receipt_and_no_site_page(tmp_path: Path) -> None:
    (page,) = write_receipts(tmp_path, [receipt(0, site_id="", participant_id="", session_id="")])
    assert "participant not known" in page.read_text(encoding="utf-8")
    assert write_site_pages(tmp_path) == []


def test_closing_a_query_changes_the_page_of_its_site_alone(tmp_path: Path) -> None:
    write_receipts(tmp_path, [receipt(0), receipt(4, site_id="S02")])
    asked = new_query(QueryCode.MISSING_SLICES, site_id="S01", submission_id="in-0", session_id="ses-w00")
    add_queries(tmp_path, [asked])
    first, second = (path.read_text(encoding="utf-8") for path in write_site_pages(tmp_path))
    assert "Not yet qualified" in first
    assert "Q0001" not in second
    answer_query(tmp_path, "Q0001", Answer(AnswerKind.NOT_ACQUIRED), by="Centre")
    text, other = (path.read_text(encoding="utf-8") for path in write_site_pages(tmp_path))
    assert "Qualified." in text
    assert other == second


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"position": "x"}'])
def test_damaged_receipt_is_named(tmp_path: Path, damage: str) -> None:
    write_receipts(tmp_path, [receipt(0)])
    (path,) = tmp_path.rglob("*.json")
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(DatasetError, match=path.name):
        read_receipts(tmp_path)


def test_receipt_on_disk_holds_no_day_of_a_scan(tmp_path: Path) -> None:
    write_receipts(tmp_path, [receipt(0)])
    (path,) = tmp_path.rglob("*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    days = [key for key in content if "day" in key or "date" in key or "acq" in key]
    assert days == []
    assert content["received"] == "2024-01-03"


def test_days_from_scan_are_for_those_who_hold_the_key(tmp_path: Path) -> None:
    bids_dir, key = tmp_path / "bids", tmp_path / "bids.key"
    assert read_days_from_scan(bids_dir) == {}
    key.mkdir()
    (key / "days_from_scan.json").write_text('{"in-0": "5"}', encoding="utf-8")
    assert read_days_from_scan(bids_dir) == {"in-0": 5}
    assert read_days_from_scan(bids_dir, tmp_path / "other") == {}
    (key / "days_from_scan.json").write_text('{"in-0": "soon"}', encoding="utf-8")
    assert read_days_from_scan(bids_dir) == {}


def test_command_makes_the_pages_with_the_quality_of_a_run(tmp_path: Path) -> None:
    bids_dir, out_dir = tmp_path / "bids", tmp_path / "out"
    bids_dir.mkdir()
    run = CliRunner().invoke

    def pages(*options: object) -> str:
        result = run(app, ["query", "pages", str(bids_dir), *map(str, options)], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    assert "no site has sent anything yet" in pages()
    write_receipts(bids_dir, [receipt(0)])
    assert "S01.html" in pages()
    page = bids_dir / "sites" / "S01.html"
    assert "T1w before contrast, SNR" not in page.read_text(encoding="utf-8")
    result = run(app, ["query", "pages", str(bids_dir), "--out-dir", str(out_dir)])
    assert isinstance(result.exception, UsageError)
    rows = [quality_row("sub-01", "ses-w00", contrast="T1w")]
    write_table(Layout(out_dir).site_quality(), SITE_QUALITY_COLUMNS, rows)
    pages("--out-dir", out_dir)
    assert "T1w before contrast, SNR" in page.read_text(encoding="utf-8")
    assert (bids_dir / QUALITY).is_file()
    pages()
    assert "T1w before contrast, SNR" in page.read_text(encoding="utf-8")
