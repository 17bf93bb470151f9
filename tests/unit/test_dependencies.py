"""What is listed in pyproject.toml is used, what is used is listed, and provenance names what a run calls."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from mesems_mri.provenance import PACKAGE_DIR, code_files, software_versions

COMPUTED = ("standardise", "register", "detect", "measure")
NOT_IMPORTED = {
    "antspyx": "the engine of the brain-volume change that is to come",
    "packaging": "an upper bound that snakemake needs and does not state",
    "psycopg": "loaded by SQLAlchemy, by the address of the database",
    "snakemake-executor-plugin-slurm": "loaded by snakemake, by its name",
}
"""Listed without an import of ours, and why."""
SHARED_BY_SERVICES = tuple(
    PACKAGE_DIR / name for name in ("https.py", "dataset/audit.py", "dataset/database.py")
)
"""What data centre and reading run on; no other part imports it."""
NO_NUMBERS = {"isal", "pydantic", "pyyaml"}
"""Called by the steps, but they shape no number: compression, settings."""
DISTRIBUTIONS = packages_distributions()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(sources: Iterable[Path]) -> set[str]:
    """Return the distributions of the third parties that sources import."""
    roots = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                roots.add(node.module.split(".")[0])
    ours = {PACKAGE_DIR.name, "tests", "benchmarks", "training", "docs"}
    return {normal(DISTRIBUTIONS.get(root, [root])[0]) for root in roots - sys.stdlib_module_names - ours}


def names(lines: Iterable[Any]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~ ]", line)[0]) for line in lines if isinstance(line, str)}


def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def test_what_the_package_imports_is_listed_and_what_is_listed_is_imported(repository: Path) -> None:
    listed = project(repository)["project"]
    extras = listed["optional-dependencies"]
    used = imported(PACKAGE_DIR.rglob("*.py"))
    needed = names(listed["dependencies"])
    services = ("central", "review")
    assert used - needed - set().union(*(names(extras[service]) for service in services)) == set()
    assert needed - used - NOT_IMPORTED.keys() == set()
    for service in services:
        own = imported([*(PACKAGE_DIR / service).glob("*.py"), *SHARED_BY_SERVICES])
        assert names(extras[service]) - own - NOT_IMPORTED.keys() == set()
    assert names(extras["slurm"]) <= NOT_IMPORTED.keys()
    assert NOT_IMPORTED.keys() & used == set()


def test_what_benchmarks_draw_with_is_no_dependency_of_the_package(repository: Path) -> None:
    groups = project(repository)["dependency-groups"]
    used = imported((repository / "benchmarks").glob("*.py"))
    assert names(groups["benchmark"]) <= used
    listed = names(project(repository)["project"]["dependencies"]) | names(groups["benchmark"])
    assert used - listed - names(project(repository)["project"]["optional-dependencies"]["central"]) == set()


def test_provenance_names_the_libraries_that_the_steps_of_a_visit_call() -> None:
    graph = {path for step in COMPUTED for path in code_files(PACKAGE_DIR, f"pipeline.{step}")}
    called = imported(path for path in graph if path.suffix == ".py") - NO_NUMBERS
    assert software_versions().keys() == called | {"mesems-mri", "snakemake"}
