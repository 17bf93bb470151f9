"""The link check finds what is broken, and nothing else."""

from pathlib import Path

import pytest

from docs.tools.links import main

GOOD = """# One heading

[file](other.md), [heading](other.md#two-words), [here](#one-heading), <https://example.org/x>
![picture](picture.png) [mail](mailto:someone@example.org)

```
[no link](in-code.md)
```
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "page.md").write_text(GOOD)
    (tmp_path / "other.md").write_text("# Two `words`\n")
    (tmp_path / "picture.png").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_good_page_passes(folder: Path) -> None:
    assert main([Path("page.md"), Path("other.md")]) == 0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[x](missing.md)", "missing.md leads nowhere"),
        ("![x](missing.png)", "missing.png leads nowhere"),
        ("[x](other.md#three-words)", "other.md has no heading #three-words"),
        ("[x](#nothing)", "page.md has no heading #nothing"),
        ("[x](../outside.md)", "leads out of"),
        ("[x](https://exam ple.org)", ""),  # Markdown makes no link of it
        ("[x](http:/example.org)", "is no address"),
        ("[x](htps://example.org)", "is no address"),
        ("<a href='missing.html'>x</a>", "missing.html leads nowhere"),
    ],
)
def test_broken_link_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    (folder / "page.md").write_text(f"{GOOD}\n{line}\n")
    assert main([Path("page.md")]) == (1 if complaint else 0)
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "<script src='https://cdn.example.org/x.js'></script>",
        "<img src='//cdn.example.org/x.png'>",
        "<link rel='stylesheet' href='https://fonts.example.org/x.css'>",
        "<style>@import 'https://fonts.example.org/x.css';</style>",
        "<style>p { background: url(https://example.org/x.png) }</style>",
    ],
)
def test_page_that_loads_from_the_network_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "index.html").write_text(f"<p>x</p>{content}")
    assert main([tmp_path]) == 1
    assert "loaded from the network" in capsys.readouterr().err


def test_style_sheet_that_loads_from_the_network_fails(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>x</p><a href='https://example.org/'>a link is fine</a>")
    assert main([tmp_path]) == 0
    (tmp_path / "x.css").write_text("@font-face { src: url('https://example.org/x.woff2') }")
    assert main([tmp_path]) == 1


def test_nothing_to_check_is_no_success(tmp_path: Path) -> None:
    assert main([tmp_path]) == 1
