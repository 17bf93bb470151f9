"""Page of the report: its sections, one style sheet and one script in a single file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from mesems_mri import __version__
from mesems_mri.report.glyphs import ALL_GLYPHS, glyph_of
from mesems_mri.report.sections import PageKind, sections_of
from mesems_mri.report.words import (
    CONTRAST_WORDS,
    QC_WORDS,
    REGION_WORDS,
    RESULT_WORDS,
    flag_text,
    reason_text,
)


@dataclass(frozen=True)
class Link:
    """A link to another page of the report; it is relative, so that the folder can be moved."""

    text: str
    href: str


NONE = "\N{EN DASH}"
"""Sign of a missing value."""


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mesems_mri.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "glyphs": ALL_GLYPHS,
        "glyph_of": glyph_of,
        "reason_text": reason_text,
        "flag_text": flag_text,
        "qc_words": QC_WORDS,
        "contrast_words": CONTRAST_WORDS,
        "region_words": REGION_WORDS,
        "result_words": RESULT_WORDS,
        "version": __version__,
    }
    environment.filters |= {
        "volume": format_volume,
        "number": format_number,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    return environment


def format_volume(value: float | None) -> str:
    """Return a volume with a thin space between thousands; an en dash for none.

    Examples
    --------
    >>> format_volume(12345.6).split()
    ['12', '345.6']
    """
    return NONE if value is None else f"{value:,.1f}".replace(",", "\u2009")


def format_number(value: float | None) -> str:
    """Return a measure with three significant digits; an en dash for none."""
    if value is None:
        return NONE
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def render_page(
    page: PageKind, content: Any, *, title: str, subtitle: str, links: Sequence[Link] = ()
) -> str:
    """Render a page that needs no other file and no network.

    Parameters
    ----------
    page : str
        ``visit``, ``participant``, ``study``, ``comparison``, ``receipt`` or ``site``.
    content : object
        Contents of the page, from which its sections are built.
    title, subtitle : str
        Head of the page.
    links : sequence of Link
        To other pages.

    Returns
    -------
    str
        HTML.
    """
    environment = _environment()
    rendered = []
    for section in sections_of(page):
        values: Mapping[str, Any] | None = section.build(content)
        if values is None:
            continue
        template = environment.get_template(f"{page}/{section.key}.html")
        body = Markup(template.render(**values))
        rendered.append({"key": section.key, "title": section.title, "body": body})
    return environment.get_template("base.html").render(
        page=page, title=title, subtitle=subtitle, links=links, sections=rendered
    )
