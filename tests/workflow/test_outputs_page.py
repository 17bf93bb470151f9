"""docs/outputs.md names every file of a run, and every key of the records."""

import json
import re
from pathlib import Path

import pytest

from tests.demonstration import Demonstration

HIDDEN = {".mesems", ".snakemake", ".transfer", "logs"}
"""Folders whose files are described as a whole."""


def chapters(repository: Path) -> dict[str, str]:
    """Return the text below each heading of the page."""
    parts = re.split(r"^##+ (.+)$", (repository / "docs" / "outputs.md").read_text("utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(text: str) -> list[str]:
    """Return what stands in backticks in the first column of the tables of a text."""
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    return [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


def as_pattern(name: str) -> str:
    """Turn a name of the page into a regular expression."""
    pattern = re.escape(name).replace(r"\.\.\.", ".*").replace(r"\*", ".*")
    pattern = re.sub(r"(sub|ses)\\-[XY]", r"\1-[a-zA-Z0-9]+", pattern)
    return re.sub(r"\\\{(.*?)\\\}", lambda m: "(" + m[1].replace(",", "|") + ")", pattern)


def undocumented(out_dir: Path, text: dict[str, str]) -> list[str]:
    """List the files of a run that the page does not name."""
    study = documented(text["The study"])
    # A row names a table and its dictionary by the suffix alone.
    study += [name.replace(".tsv", ".json") for name in study if name.endswith(".tsv")]
    places = {
        "": study,
        "sub-X/": re.findall(r"OUT_DIR/sub-X/(sub-X[\w.]+)`", text["One participant"]),
        "sub-X/ses-Y/": documented(text["One visit"]),
    }
    patterns = [as_pattern(place + name) for place, names in places.items() for name in names]
    files = [path.relative_to(out_dir) for path in sorted(out_dir.rglob("*")) if path.is_file()]
    return [
        str(path)
        for path in files
        if path.parts[0] not in HIDDEN and not any(re.fullmatch(p, path.as_posix()) for p in patterns)
    ]


def test_every_file_is_named(demo: Demonstration, repository: Path) -> None:
    assert undocumented(demo.out_dir, chapters(repository)) == []


def test_unnamed_file_is_found(tmp_path: Path, repository: Path) -> None:
    names = ["surplus.tsv", "sub-01/ses-1/anat/sub-01_ses-1_T1w.png"]
    for name in [*names, "visit_metrics.tsv", "sub-01/sub-01_lesions.tsv", ".mesems/x.json"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(undocumented(tmp_path, chapters(repository))) == sorted(names)


@pytest.mark.parametrize(
    ("chapter", "pattern"),
    [
        ("Visit record", "sub-*/ses-*/*_metrics.json"),
        ("Sidecars", "sub-*/ses-*/anat/*.json"),
        ("Provenance", "provenance.json"),
    ],
)
def test_every_key_is_named(demo: Demonstration, repository: Path, chapter: str, pattern: str) -> None:
    text = chapters(repository)[chapter]
    known = set(documented(text)) or set(re.findall(r"`(\w+)`", text))
    found = {key for path in demo.out_dir.glob(pattern) for key in json.loads(path.read_text("utf-8"))}
    assert found
    assert found - known == set()


def test_every_cause_of_rejection_is_explained(demo: Demonstration, repository: Path) -> None:
    records = [
        json.loads(path.read_text("utf-8")) for path in demo.out_dir.glob("sub-*/ses-*/*_metrics.json")
    ]
    causes = {candidate["cause"] for record in records for candidate in record["gel_rejected"]}
    assert causes
    assert causes - set(documented(chapters(repository)["Causes of rejection"])) == set()
