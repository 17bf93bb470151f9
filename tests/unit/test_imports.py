"""Who may import whom inside the package (the picture is in CONTRIBUTING.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "mesems_mri"
OPEN = {"errors", "config", "bids", "layout", "tables", "provenance", "metrics", "queries"}
ALLOWED: dict[str, set[str]] = {
    "core": {"core"},
    "images": {"images", "models", "core"} | OPEN,
    "models": {"models", "core"} | OPEN,
    "report": {"report", "core"} | OPEN,
    "interfaces": {"interfaces"} | OPEN,
    "dicom": {"dicom", "interfaces", "core"} | OPEN,
    "steps": {"steps", "interfaces", "dicom", "images", "models", "report", "core"} | OPEN,
    "simulate": {"simulate", "images", "core"} | OPEN,
    "transfer": {"transfer"} | OPEN,
    "central": {"central", "transfer"} | OPEN,
    **{name: {"core"} | OPEN for name in OPEN},
}
"""For each part of the package the parts it may import; a part that is not a key is the command line."""
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
            if rest and rest[0] != "__version__" and rest[0] not in ALLOWED[part]:
                bad.append(name)
        elif part == "core" and root not in sys.stdlib_module_names | CORE_THIRD_PARTIES:
            bad.append(name)
    return bad


LAYERED = [module for module in MODULES if module.with_suffix("").parts[0] in ALLOWED]
"""The rest is the command line, which may import everything."""


@pytest.mark.parametrize("module", LAYERED, ids=str)
def test_imports_follow_the_architecture(module: Path) -> None:
    part = module.with_suffix("").parts[0]
    package = ".".join((PACKAGE, *module.parent.parts))
    assert not forbidden_imports(ast.parse((SOURCES / module).read_text()), part, package)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("core", "import nibabel"),
        ("core", "from mesems_mri.errors import InputError"),
        ("core", "from ..errors import InputError"),
        ("images", "from mesems_mri.steps import standardise"),
        ("images", "from mesems_mri import steps"),
        ("steps", "def f():\n    from mesems_mri.simulate import heads"),
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
            module.parts[0] not in {"core", "images", "models", "steps", "report"}
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
