"""The import law of the package; CONTRIBUTING.md repeats it for readers."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "mesems_mri"
BASE = {"errors", "files", "provenance", "config"}
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "files": set(),
    "provenance": {"files"},
    "config": {"errors"},
    "https": {"errors"},
    "dataset": BASE,
    "core": set(),
    "models": {"core"},
    "images": {"core", "models", "files", "errors"},
    "report": {"dataset", "core"} | BASE,
    "pipeline": {"images", "models", "core", "report", "dataset"} | BASE,
    "evaluation": {"core", "images", "report", "dataset"} | BASE,
    "intake": {"images", "report", "dataset"} | BASE,
    "transfer": {"dataset"} | BASE,
    "central": {"transfer", "dataset", "https"} | BASE,
    "review": {"core", "images", "dataset", "https"} | BASE,
    "runner": {"pipeline", "dataset"} | BASE,
    "simulate": {"images", "core", "dataset"} | BASE,
}
"""One line per part of the package: the other parts it may import; the command line may import all."""
DEMONSTRATION = {"simulate/demo.py", "simulate/demo_central.py"}
"""They stand above all parts, as the command line does."""
CORE_THIRD_PARTIES = {"numpy", "scipy", "skimage"}
LABELLING = {"label", "remove_small_objects", "regionprops"}
SOURCES = Path(__file__).parents[2] / PACKAGE
MODULES = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*.py"))


def imported_modules(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the dotted name of everything a module imports; `package` is the package it lies in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def forbidden_imports(tree: ast.Module, part: str, package: str) -> list[str]:
    """List the imports of a module in `part` that the architecture forbids."""
    bad = []
    for name in imported_modules(tree, package):
        root, *rest = name.split(".")
        if root == PACKAGE:
            # `from mesems_mri import x` yields both names; the bare package holds the version only
            if rest and rest[0] != "__version__" and rest[0] not in ALLOWED[part] | {part}:
                bad.append(name)
        elif part == "core" and root not in sys.stdlib_module_names | CORE_THIRD_PARTIES:
            bad.append(name)
    return bad


LAYERED = [
    module
    for module in MODULES
    if module.with_suffix("").parts[0] not in {"cli", "__main__"} and module.as_posix() not in DEMONSTRATION
]


@pytest.mark.parametrize("module", LAYERED, ids=str)
def test_imports_follow_the_architecture(module: Path) -> None:
    part = module.with_suffix("").parts[0]
    package = ".".join((PACKAGE, *module.parent.parts))
    assert not forbidden_imports(ast.parse((SOURCES / module).read_text()), part, package)


def test_every_part_has_its_line() -> None:
    parts = {module.with_suffix("").parts[0] for module in MODULES}
    assert parts - {"cli", "__main__"} == ALLOWED.keys()


def test_law_in_contributing_is_this_one() -> None:
    text = (SOURCES.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = text.split("enforces it; nothing imports upwards")[1].split("```")[1]
    shown: dict[str, set[str]] = {}
    for line in block.strip().splitlines():
        parts, allowed = re.split(r" {2,}| = ", line, maxsplit=1)
        names = set(re.findall(r"\w+", re.sub(r"\(.*?\)|;.*", "", allowed)))
        shown |= {part: names for part in parts.split(", ")}
    assert shown.pop("BASE") == BASE
    assert shown.pop("cli") == {"all"}
    written = {part: names - {"BASE"} | (BASE if "BASE" in names else set()) for part, names in shown.items()}
    assert written == ALLOWED


def test_no_module_is_imported_in_a_circle() -> None:
    names = {
        ".".join((PACKAGE, *module.with_suffix("").parts)).removesuffix(".__init__"): module
        for module in MODULES
    }
    graph = {}
    for name, module in names.items():
        package = ".".join((PACKAGE, *module.parent.parts))
        found = imported_modules(ast.parse((SOURCES / module).read_text()), package)
        graph[name] = set(found) & names.keys() - {name, PACKAGE, package}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_runner_knows_of_the_pipeline_only_what_a_visit_is() -> None:
    for module in MODULES:
        if module.parts[0] == "runner":
            found = imported_modules(ast.parse((SOURCES / module).read_text()), f"{PACKAGE}.runner")
            pipeline = {name for name in found if name.startswith(f"{PACKAGE}.pipeline")}
            assert {name for name in pipeline if not name.startswith(f"{PACKAGE}.pipeline.visit")} == set(), (
                module
            )


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("core", "import nibabel"),
        ("core", "from mesems_mri.errors import InputError"),
        ("core", "from ..errors import InputError"),
        ("images", "from mesems_mri.pipeline import standardise"),
        ("images", "from mesems_mri import pipeline"),
        ("pipeline", "def f():\n    from mesems_mri.simulate import heads"),
        ("intake", "from mesems_mri.pipeline.visit import VisitFiles"),
        ("dataset", "from mesems_mri.core import components"),
        ("files", "from mesems_mri.errors import InputError"),
        ("report", "import mesems_mri.cli.main"),
    ],
)
def test_forbidden_import_is_found(part: str, line: str) -> None:
    assert forbidden_imports(ast.parse(line), part, f"{PACKAGE}.{part}")


def test_foci_are_labelled_in_one_module() -> None:
    # scipy labels with 6 neighbours, scikit-image with 26: two callers would disagree about what a focus is
    bad = []
    for module in MODULES:
        if (
            module.parts[0] not in {"core", "images", "models", "pipeline", "evaluation", "report"}
            or module.name == "components.py"
        ):
            continue
        for node in ast.walk(ast.parse((SOURCES / module).read_text())):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in LABELLING:
                    bad.append(f"{module}:{node.lineno} {name}")
    assert not bad, "use core/components.py instead"


def loaded_by(module: str, heavy: list[str]) -> list[str]:
    """List which packages are loaded when a module is."""
    program = f"import sys, {module}; print(*(set({heavy}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return loaded.stdout.split()


def test_bundles_are_verified_without_the_pipeline() -> None:
    # the receiving side has none of these in its environment
    heavy = ["ants", "nibabel", "nipype", "snakemake", "numpy", "pandas", "pyreadstat", "pydicom", "paramiko"]
    assert loaded_by("mesems_mri.transfer.verify", heavy) == []


def test_command_line_starts_without_heavy_imports() -> None:
    heavy = [
        "ants",
        "nibabel",
        "nilearn",
        "nipype",
        "scipy",
        "skimage",
        "snakemake",
        "matplotlib",
        "SimpleITK",
        "sqlalchemy",
        "fastapi",
        "cryptography",
    ]
    assert loaded_by("mesems_mri.cli.main", heavy) == []
