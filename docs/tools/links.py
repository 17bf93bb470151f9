"""Check links: ``python -m docs.tools.links FILE_OR_FOLDER ...``.

Markdown files are looked at as GitHub shows them, HTML files as a browser opens them from the disk. A link
inside the repository or the site must lead to a file that is there, and to a heading that is there. External
links are checked for their spelling only, since the check runs without a network; in HTML files nothing may
be loaded from another host.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin

_HEADING_LEVELS = 6
_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
"""Attributes whose address a browser fetches without being asked."""
_LOADING_LINKS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "manifest", "modulepreload"}
_IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])([^'\")]+)")


@dataclass
class _Page(HTMLParser):
    """What a page links to, loads, and can be linked at."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect from one tag."""
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and "href" in values:
            loading = _LOADING_LINKS & set(values.get("rel", "").lower().split())
            (self.loads if loading else self.links).append(values["href"])
        if _LOADED.get(tag, "") in values:
            self.loads.append(values[_LOADED[tag]])


@cache
def _read(path: Path) -> _Page:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        markdown = MarkdownIt("gfm-like", {"linkify": False}).use(anchors_plugin, max_level=_HEADING_LEVELS)
        text = markdown.render(text)
    page = _Page()
    page.feed(text)
    page.close()
    return page


def broken_links(path: Path, root: Path) -> Iterator[str]:
    """Yield one sentence for each broken link of a file.

    Parameters
    ----------
    path : Path
        Markdown, HTML or CSS file.
    root : Path
        Folder that links must not leave.
    """
    page = _Page() if path.suffix == ".css" else _read(path.resolve())
    if path.suffix == ".css":
        page.loads = _IN_STYLE.findall(path.read_text(encoding="utf-8"))
    elif path.suffix == ".html":
        styles = re.findall(r"<style.*?</style>", path.read_text(encoding="utf-8"), re.S)
        page = _Page(links=page.links, loads=[*page.loads], anchors=page.anchors)
        page.loads += [found for style in styles for found in _IN_STYLE.findall(style)]
    offline = path.suffix != ".md"
    for target in [*page.links, *page.loads]:
        parts = urlsplit(target)
        if parts.scheme == "data":
            continue
        if parts.scheme or parts.netloc:
            if offline and target in page.loads:
                yield f"{path}: {target} is loaded from the network; keep a copy in the repository"
            elif not _well_spelt(target):
                yield f"{path}: {target} is no address; write https://host/path"
            continue
        place = path.parent / unquote(parts.path) if parts.path else path
        if not place.resolve().is_relative_to(root.resolve()):
            yield f"{path}: {target} leads out of {root.name}/; link inside it or give the whole address"
        elif not place.exists():
            yield f"{path}: {target} leads nowhere; correct the link or add the file"
        elif parts.fragment and place.suffix in {".md", ".html"}:
            fragment = unquote(parts.fragment)
            if fragment not in _read(place.resolve()).anchors:
                yield f"{path}: {target}: {place.name} has no heading #{fragment}; correct the link"


def _well_spelt(address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return "@" in parts.path
    host = parts.hostname or ""
    return parts.scheme in {"http", "https"} and "." in host and not re.search(r"\s", address)


def main(places: list[Path]) -> int:
    """Check files, and all pages below folders; say what is broken."""
    problems, checked = [], 0
    for place in places:
        suffixes = {".html", ".css"} if place.is_dir() else {place.suffix}
        files = [p for p in sorted(place.rglob("*")) if p.is_file()] if place.is_dir() else [place]
        for path in (p for p in files if p.suffix in suffixes):
            problems += broken_links(path, place if place.is_dir() else Path())
            checked += 1
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{checked} files checked, {len(problems)} broken links (external links: spelling only)")
    return 1 if problems or not checked else 0


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
