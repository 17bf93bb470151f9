"""What the pages claim about the code is so: reasons, flags, exit codes, names, commands, resources."""

import importlib
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from mesems_mri import errors
from mesems_mri.cli.main import app
from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import QC_FLAGS
from mesems_mri.errors import MesemsError, Reason

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.parent.name != "reference"),
]
TOP = "mesems_mri|docs|tests|workflow|config|containers|benchmarks|training"
FUNCTION = re.compile(r"mesems_mri(?:\.\w+)*:\w+")
REPOSITORY_PATH = re.compile(rf"(?:{TOP})/[\w./-]*")


def section(page: str, heading: str) -> str:
    """Return the text of a page below one heading of level 2."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Return the first cell of every row of the tables of a text, without head and rule."""
    lines = re.findall(r"^\|(.*)\|$", text, re.M)
    cells = [line.split("|")[0].strip().strip("`") for line in lines]
    heads = {i - 1 for i, cell in enumerate(cells) if re.fullmatch("-+", cell)}
    return [cell for i, cell in enumerate(cells) if i not in heads and not re.fullmatch("-+", cell)]


def code_spans(text: str) -> list[str]:
    """Return what stands between single backticks outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def unknown_names(text: str) -> Iterator[str]:
    """Yield the functions and files that a page names and that do not exist."""
    for span in code_spans(text):
        if FUNCTION.fullmatch(span):
            module, name = span.split(":")
            try:
                found = hasattr(importlib.import_module(module), name)
            except ModuleNotFoundError:
                found = False
            if not found:
                yield span
        elif REPOSITORY_PATH.fullmatch(span) and "X" not in span and not (ROOT / span).exists():
            yield span


def commands(text: str) -> list[list[str]]:
    """Return the calls of mesems-mri in the code blocks of a page, without what goes to Snakemake."""
    lines = [
        line
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
        for line in block.splitlines()
        if line.startswith("mesems-mri ")
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def wrong_usage(words: list[str]) -> str | None:
    """Say what is wrong with a call of mesems-mri, by its names alone."""
    if words[0].startswith("--"):
        return None
    known = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    while words[0] in known and len(words) > 1 and hasattr(known[words[0]], "commands"):
        known, words = known[words[0]].commands, words[1:]
    if words[0] not in known and words[0].isupper() and "open" in known:
        words = ["open", *words]  # review OUT_DIR
    if words[0] not in known:
        return f"no command {words[0]}"
    options = {name for parameter in known[words[0]].params for name in parameter.opts} | {"--debug"}
    words = words[: words.index("--")] if "--" in words else words
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in options]
    return f"{words[0]} has no {unknown[0]}" if unknown else None


def test_every_reason_code_has_its_section() -> None:
    text = section("problems.md", "Reason codes")
    sections = re.split(r"^### (.+)$", text, flags=re.M)[1:]
    assert sections[::2] == [reason.value for reason in Reason]
    for code, body in zip(sections[::2], sections[1::2], strict=True):
        assert re.findall(r"^- \*\*(.+?)\.\*\*", body, re.M) == ["Cause", "Endpoint", "What to do"], code


def test_every_quality_flag_is_explained() -> None:
    assert first_cells(section("reference/codes.md", "Flags")) == list(QC_FLAGS)


def test_every_exit_code_is_explained() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, MesemsError)]
    known = {0, importlib.import_module("mesems_mri.runner.summary").EXIT_VISITS_FAILED}
    known |= {c.exit_code for c in classes}
    known |= {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    cells = first_cells(section("problems.md", "Exit codes"))
    explained = {int(code) for cell in cells for code in cell.split(", ")}
    assert known <= explained


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_and_files_named_exist(page: Path) -> None:
    assert list(unknown_names(page.read_text(encoding="utf-8"))) == []


def test_architecture_names_enough_to_be_checked() -> None:
    spans = code_spans((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert sum(FUNCTION.fullmatch(span) is not None for span in spans) > 30


@pytest.mark.parametrize(
    "span",
    ["mesems_mri.dataset.bids:no_such", "mesems_mri.no_such:run", "mesems_mri/no_such.py", "docs/no_such.md"],
)
def test_unknown_name_is_found(span: str) -> None:
    assert list(unknown_names(f"See `{span}` and `mesems_mri.dataset.bids:Layout`.")) == [span]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_shown_exist(page: Path) -> None:
    found = [wrong_usage(words) for words in commands(page.read_text(encoding="utf-8"))]
    assert [problem for problem in found if problem] == []


def test_wrong_command_is_found() -> None:
    calls = ["run A B --no-such 1 -- --jobs 3", "walk", "run A B --cores 2 -- --jobs 3"]
    calls += ["central site add S01 --key K", "central site add S01 --kee K"]
    calls += ["query close A Q0001 --because x", "query ask A", "query close A Q0001 --by B --reason 'c d'"]
    text = "```\n" + "".join(f"mesems-mri {call}\n" for call in calls) + "```\n"
    found = [wrong_usage(words) for words in commands(text)]
    assert found == [
        "run has no --no-such",
        "no command walk",
        None,
        None,
        "add has no --kee",
        "close has no --because",
        "no command ask",
        None,
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_configurations_shown_are_valid(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        TrialConfig.model_validate(yaml.safe_load(block))


def test_resources_shown_are_those_of_the_rules() -> None:
    shown = {}
    for line in re.findall(r"^\| (`.*) \|$", section("start/cluster.md", "Resources"), re.M):
        rules, memory, minutes = line.split(" | ")
        shown |= {rule: (int(memory), int(minutes)) for rule in code_spans(rules)}
    for name, (memory, minutes) in shown.items():
        rules = "".join(p.read_text() for p in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
        body = rules.split(f"rule {name}:")[1].split("\nrule ")[0]
        assert (f"mem_mb={memory}," in body, f"runtime={minutes}," in body) == (True, True), name
    assert len(shown) == 5
    assert f"{max(m for m, _ in shown.values())} MB" in section("start/cluster.md", "Resources")
    assert f"{sum(t for n, (_, t) in shown.items() if n != 'report')} minutes" in section(
        "start/cluster.md", "Resources"
    )
