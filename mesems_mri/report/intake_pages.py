"""The receipt of a submission and the page of a site, as the text of an HTML file."""

from collections.abc import Sequence

from mesems_mri.report.page import Link, render_page
from mesems_mri.report.receipt_page import SubmissionReceipt
from mesems_mri.report.site_page import SitePage


def receipt_html(receipt: SubmissionReceipt, *, links: Sequence[Link] = ()) -> str:
    """Render a receipt.

    Parameters
    ----------
    receipt : SubmissionReceipt
        Its contents.
    links : sequence of Link
        To other pages.

    Returns
    -------
    str
        HTML that needs no other file and no network.
    """
    parts = [f"Site {receipt.site_id}"] if receipt.site_id else []
    parts += [f"week {receipt.week}"] if receipt.week is not None else []
    parts += [f"{receipt.visit_type} visit"] if receipt.visit_type else []
    parts += [f"received {receipt.received.isoformat()}", f"submission {receipt.submission_id}"]
    return render_page(
        "receipt", receipt, title=f"Receipt · {receipt.visit}", subtitle=" · ".join(parts), links=links
    )


def site_html(page: SitePage, *, links: Sequence[Link] = ()) -> str:
    """Render the page of a site.

    Parameters
    ----------
    page : SitePage
        Its contents.
    links : sequence of Link
        To other pages.

    Returns
    -------
    str
        HTML that needs no other file and no network.
    """
    count = len(page.receipts)
    what = f"{count} submission{'s' * (count != 1)}" + (f", as of {page.as_of}" if page.as_of else "")
    return render_page("site", page, title=f"Site {page.site_id}", subtitle=what, links=links)
