"""Read a page as a browser would, as far as tests need it."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr", "col", "wbr"}
HIDDEN = {"script", "style"}


class Page(HTMLParser):
    """A parsed page.

    Attributes
    ----------
    text : str
        What a reader sees, hints included.
    links : list of str
        Targets of links, downloads excepted.
    fetched : list of str
        What a browser would fetch; ``data:`` is in the page itself.
    ids : list of str
        Anchors in order.
    unbalanced : list of str
        Elements closed that were not open.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.rows = 0
        self.images = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.rows += tag == "tr"
        self.images += tag == "image"
        if given.get("id"):
            self.ids.append(given["id"] or "")
        self.text += " ".join(given.get(name) or "" for name in ("title", "aria-label", "placeholder"))
        target = given.get("href") or given.get("src") or ""
        if tag == "a" and "download" not in given:
            self.links.append(target)
        elif target and not target.startswith("#"):
            self.fetched.append(target)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.unbalanced.append(f"{tag} in {self.open[-3:]}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not HIDDEN & set(self.open):
            self.text += f" {data}"
