"""Standard words: code and documentation use the terms of the field, not words of our own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mesems_mri"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")])
WINGS = sorted({path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in SOURCES})
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"] + [
    path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "reference"
]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]

HEADLINE = re.compile(r"(What|Which|Whether|Who|Whose|How|Where|Why|When|Is it|Tell|Say|If)\b")
"""Begins that no headline of a docstring has: it is a noun phrase, or an imperative with its object."""

PRIVATE = {
    r"whole or not at all": "atomic write",
    r"\bfree(d|s)?( it)? of names": "de-identify",
    r"(?<!pseudonymisation )\bkey of (a|the) trial\b": "pseudonymisation key",
    r"\b(take|takes|taken|taking) (it |them )?in\b(?! (natural|its|the|order))": "intake",
    r"\btak(e|es|en|ing)_in\b": "intake",
    r"\bproposals?\b|\bpropos(e|es|ed|ing)\b": "candidate",
    r"\bturn(ed|s)? down\b|_turned_down|turned_down": "rejected",
    r"\bone (row|line|file|page|job|entry|column|record) an? (?!time)": "one ... per ...",
    r"\bhold(s)? (it |a visit |the visit |its visit )?up\b|\bheld up\b|holds_up": "block, blocking query",
    r"\bset(s)? aside\b": "quarantine",
    r"\bTell whether\b": "Return whether",
    r"\bthe head is turned\b|\blittle overlap\b": "large_rotation, low_overlap",
    r"\bbring(s|ing)?\b[^.\n]{0,40}\b(in)?to (the participant's|one|subject) space": "register, resample",
    r"\bfinds? the brain\b|\bthe brain is found\b|\bfound the brain\b": "brain extraction (skull stripping)",
    r"\bwithout a word\b": "without a message, without a record",
    r"\bpatience\b": "retry with back-off",
    r"\bthe visit(s)? before\b": "previous visit, reference visit",
    r"\bdeliver(y|ies)\b(?! error|\.json)": "submission",
}
"""Private words as regular expressions, and the standard term in their place."""

STANDARD = (
    r"de-?identif",
    r"pseudonym",
    r"co-?regist",
    r"skull[ -]?strip",
    r"bias[ -]field",
    r"\bbaseline\b",
    r"\bschedule\b",
    r"\bretr(y|ies)\b",
    r"\batomic",
)
"""Whoever looks for these terms finds code."""


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of a module, its classes and functions, and of its constants."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.lineno, str(first.value.value)


def rule_docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of the docstrings of Snakemake rules and of the functions beside them."""
    for found in re.finditer(r'"""(.*?)"""', source, re.S):
        yield source[: found.start()].count("\n") + 1, found[1]


def bad_headlines(found: Iterator[tuple[int, str]]) -> list[str]:
    return [f"{line}: {text.splitlines()[0]}" for line, text in found if HEADLINE.match(text.strip())]


def private_words(text: str) -> list[str]:
    """List the private words of a text, with the line and the standard term."""
    return [
        f"{number}: {found[0]!r}, write {standard}"
        for number, line in enumerate(text.splitlines(), start=1)
        for pattern, standard in PRIVATE.items()
        if (found := re.search(pattern, line, re.I))
    ]


def sources_of(wing: str, suffixes: tuple[str, ...]) -> list[Path]:
    return [
        path
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") == wing and path.suffix in suffixes
    ]


@pytest.mark.parametrize("wing", WINGS)
def test_headlines_are_noun_phrases_or_imperatives(wing: str) -> None:
    bad = {
        str(path.relative_to(PACKAGE)): found
        for path in sources_of(wing, (".py",))
        if (found := bad_headlines(docstrings(path.read_text(encoding="utf-8"))))
    }
    assert bad == {}


@pytest.mark.parametrize("rules", RULES, ids=lambda p: p.name)
def test_headlines_of_rules(rules: Path) -> None:
    assert bad_headlines(rule_docstrings(rules.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("wing", WINGS)
def test_code_has_no_private_words(wing: str) -> None:
    bad = {
        str(path.relative_to(PACKAGE)): found
        for path in sources_of(wing, (".py", ".html"))
        if (found := private_words(path.read_text(encoding="utf-8")))
    }
    assert bad == {}


@pytest.mark.parametrize("page", [*PAGES, *RULES], ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_have_no_private_words(page: Path) -> None:
    text = re.sub(
        r"`mesems_mri[^`\n]*`", "", page.read_text(encoding="utf-8")
    )  # names are checked in the code
    assert private_words(text) == []


@pytest.mark.parametrize("term", STANDARD)
def test_standard_term_finds_code(term: str) -> None:
    sources = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert any(re.search(term, source, re.I) for source in sources)


@pytest.mark.parametrize(
    "text",
    [
        "written whole or not at all",
        "a header freed of names",
        "the proposal was good",
        "candidates that were turned down",
        "one row a visit",
        "the images are taken in",
        "the brain is found with the atlas",
        "the visit before",
    ],
)
def test_private_word_is_found(text: str) -> None:
    assert private_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "an atomic write",
        "one row per visit",
        "rejected candidates",
        "values are taken in order",
        "one at a time",
    ],
)
def test_standard_word_passes(text: str) -> None:
    assert not private_words(text)


@pytest.mark.parametrize("line", ["Whether a visit is done.", "Say how it ended.", "What a page holds."])
def test_bad_headline_is_found(line: str) -> None:
    source = f'def f():\n    """{line}"""\n'
    assert bad_headlines(docstrings(source)) == [f"2: {line}"]
    assert bad_headlines(rule_docstrings(f'rule x:\n    """{line}"""\n')) == [f"2: {line}"]
