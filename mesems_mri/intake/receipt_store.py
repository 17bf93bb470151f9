"""Receipts of all submissions on disk, and the pages made from them.

Beside each page lies what it was made of as JSON, without its pictures: the page of a site is made from
these, from ``queries.tsv`` and from the image quality that a run has measured.
"""

import datetime as dt
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mesems_mri.dataset.bids import CONTRASTS
from mesems_mri.dataset.columns import SITE_QUALITY_COLUMNS
from mesems_mri.dataset.queries import read_queries
from mesems_mri.dataset.tables import read_table
from mesems_mri.errors import DatasetError
from mesems_mri.files import read_json, write_json, write_text
from mesems_mri.images import nifti
from mesems_mri.intake.context import DAYS_FROM_SCAN_FILE
from mesems_mri.intake.deidentify.keys import default_folder
from mesems_mri.report.intake_pages import receipt_html, site_html
from mesems_mri.report.page import Link
from mesems_mri.report.panels import middle_slices
from mesems_mri.report.pictures import PictureRow
from mesems_mri.report.qualification import queries_on_receipt
from mesems_mri.report.receipt_page import CheckedItem, SentSeries, SubmissionReceipt
from mesems_mri.report.site_page import SitePage
from mesems_mri.report.words import CONTRAST_WORDS

RECEIPTS, SITES = "receipts", "sites"
"""Folders of the BIDS folder for the pages; both are named in its ``.bidsignore``."""
QUALITY = f"{SITES}/site_quality.tsv"
"""Copy of the image quality that the last run has measured, for the pages of the sites."""
_POSITION = "position"


def write_receipts(bids_dir: Path, receipts: Iterable[SubmissionReceipt]) -> list[Path]:
    """Write receipts; one that exists keeps its day of receipt and its order.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    receipts : iterable of SubmissionReceipt
        In order of arrival.

    Returns
    -------
    list of Path
        Their pages.
    """
    known = {receipt.submission_id: (place, receipt) for place, receipt in _read(bids_dir)}
    pages = []
    for made in receipts:
        submission_id = made.submission_id
        last = max((place for place, _ in known.values()), default=0)
        place, before = known.get(submission_id, (last + 1, made))
        kept = replace(made, received=before.received)
        known[submission_id] = (place, kept)
        content = asdict(replace(kept, pictures=(), queries=()))
        content |= {"received": kept.received.isoformat(), _POSITION: place}
        pages.append(write_receipt_page(bids_dir, kept))
        write_json(pages[-1].with_suffix(".json"), content)
    return pages


def write_receipt_page(bids_dir: Path, receipt: SubmissionReceipt) -> Path:
    """Write the page of a receipt, and return its path."""
    path = bids_dir / RECEIPTS / f"{file_name(receipt.submission_id)}.html"
    site_id = receipt.site_id
    links = [Link(f"Site {site_id}", f"../{SITES}/{file_name(site_id)}.html")] * bool(site_id)
    write_text(path, receipt_html(receipt, links=links))
    return path


def refresh_receipt_pages(bids_dir: Path, receipts: Iterable[SubmissionReceipt]) -> None:
    """Write the pages of receipts that are there anew: their queries have changed."""
    queries = read_queries(bids_dir)
    for receipt in receipts:
        images = {series.role: series.image for series in receipt.series if series.image}
        told = tuple(queries_on_receipt(receipt, queries))
        write_receipt_page(bids_dir, replace(receipt, queries=told, pictures=pictures_of(bids_dir, images)))


def pictures_of(bids_dir: Path, images: Mapping[str, str]) -> tuple[PictureRow, ...]:
    """Return the pictures of the images of a visit that are there, by role."""
    rows = []
    for role in CONTRASTS:
        path = bids_dir / images[role] if role in images else None
        read = nifti.read_in_ras(path) if path and path.is_file() else None
        panels = middle_slices(*read, role) if read else ()
        if panels:
            rows.append(PictureRow(CONTRAST_WORDS[role], panels))
    return tuple(rows)


def read_receipts(bids_dir: Path) -> list[SubmissionReceipt]:
    """Read the receipts of a BIDS folder in order of arrival, without pictures and queries.

    Raises
    ------
    DatasetError
        If one is damaged.
    """
    return [receipt for _, receipt in sorted(_read(bids_dir), key=lambda pair: pair[0])]


def write_site_pages(
    bids_dir: Path, *, days_from_scan: Mapping[str, int] | None = None, quality: Path | None = None
) -> list[Path]:
    """Write the page of every site from its receipts, its queries, and the quality of its images.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    days_from_scan : mapping of str to int, optional
        By submission; stored with the pseudonymisation key, as it would reveal the date of a scan.
    quality : Path, optional
        Table of the image quality that a run has written; it is copied, and used until there is a newer one.

    Returns
    -------
    list of Path
        The pages.

    Raises
    ------
    DatasetError
        If a receipt or a table is damaged.
    """
    kept = bids_dir / QUALITY
    if quality:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(quality, kept)
    rows = read_table(kept, SITE_QUALITY_COLUMNS) if kept.is_file() else []
    receipts, queries = read_receipts(bids_dir), read_queries(bids_dir)
    sites = dict.fromkeys(receipt.site_id for receipt in receipts if receipt.site_id)
    pages = []
    for site_id in sites:
        own = [receipt for receipt in receipts if receipt.site_id == site_id]
        days = [d for r in own if (d := (days_from_scan or {}).get(r.submission_id)) is not None]
        page = SitePage(
            site_id=site_id,
            receipts=own,
            queries=[query for query in queries if query.site_id == site_id],
            quality=rows,
            days_from_scan=days,
            hrefs={r.submission_id: f"../{RECEIPTS}/{file_name(r.submission_id)}.html" for r in own},
        )
        path = bids_dir / SITES / f"{file_name(site_id)}.html"
        others = [Link(f"Site {s}", f"{file_name(s)}.html") for s in sites if s != site_id]
        write_text(path, site_html(page, links=others))
        pages.append(path)
    return pages


def refresh_pages(
    bids_dir: Path, key_folder: Path | None = None, *, quality: Path | None = None
) -> list[Path]:
    """Write all pages anew from the present tables.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    key_folder : Path, optional
        Folder of the pseudonymisation key; None: beside the BIDS folder.
    quality : Path, optional
        See `write_site_pages`.

    Returns
    -------
    list of Path
        The pages of the sites.
    """
    refresh_receipt_pages(bids_dir, read_receipts(bids_dir))
    days = read_days_from_scan(bids_dir, key_folder)
    return write_site_pages(bids_dir, days_from_scan=days, quality=quality)


def read_days_from_scan(bids_dir: Path, key_folder: Path | None = None) -> dict[str, int]:
    """Read the days from scan to receipt of every submission, stored with the pseudonymisation key.

    Parameters
    ----------
    bids_dir : Path
        BIDS folder.
    key_folder : Path, optional
        Folder of the pseudonymisation key; None: beside the BIDS folder.

    Returns
    -------
    dict of str to int
        By submission; empty without the key.
    """
    try:
        found = read_json((key_folder or default_folder(bids_dir)) / DAYS_FROM_SCAN_FILE)
        return {name: int(days) for name, days in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def file_name(label: str) -> str:
    """Return a safe file name for the label of a submission or site."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda match: f".{ord(match[0]):x}.", label)


def _read(bids_dir: Path) -> list[tuple[int, SubmissionReceipt]]:
    return [_read_receipt(path) for path in sorted((bids_dir / RECEIPTS).glob("*.json"))]


def _read_receipt(path: Path) -> tuple[int, SubmissionReceipt]:
    try:
        content: dict[str, Any] = read_json(path)
        place = int(content.pop(_POSITION))
        content |= {
            "received": dt.date.fromisoformat(content["received"]),
            "series": tuple(
                SentSeries(**one | {"faults": tuple(one["faults"])}) for one in content["series"]
            ),
            "identity": _items(content["identity"]),
            "items": _items(content["items"]),
            "missing": tuple(content["missing"]),
            "notes": tuple(content["notes"]),
            "queries": (),
            "pictures": (),
        }
        return place, SubmissionReceipt(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{path}: is no receipt ({type(error).__name__}); repeat that intake, or remove it"
        raise DatasetError(msg) from error


def _items(content: Sequence[Mapping[str, Any]]) -> tuple[CheckedItem, ...]:
    return tuple(CheckedItem(**item) for item in content)
