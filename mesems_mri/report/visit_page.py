"""The page of a visit."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from mesems_mri import __version__


def render_visit(
    visit: Mapping[str, Any], pictures: Sequence[Mapping[str, str]], gallery: Sequence[Mapping[str, Any]]
) -> str:
    """Render the page of a visit; it needs no other file and no network.

    Parameters
    ----------
    visit : mapping
        The visit record (``sub-X_ses-Y_metrics.json``).
    pictures : sequence of mapping
        Overviews: ``title`` and ``uri``.
    gallery : sequence of mapping
        One entry a focus: ``row`` of the ledger, ``uri``, ``title``.

    Returns
    -------
    str
        HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mesems_mri.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("visit.html").render(
        visit=visit, metrics=visit["visit_metrics"], pictures=pictures, gallery=gallery, version=__version__
    )
