"""The code that a rule depends on, from the import graph of its step."""

import shutil
from pathlib import Path

import pytest

from mesems_mri import provenance
from mesems_mri.provenance import PACKAGE_DIR, code_files, code_version

STEPS = ("standardise", "register", "detect", "measure", "report")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the package as a development checkout; return its folder."""
    package = tmp_path / PACKAGE_DIR.name
    shutil.copytree(PACKAGE_DIR, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(provenance, "PACKAGE_DIR", package)
    return package


@pytest.mark.parametrize("step", STEPS)
def test_hash_of_a_step_changes_with_every_file_of_its_graph_and_with_no_other(
    checkout: Path, step: str
) -> None:
    module = f"pipeline.{step}"
    whole = code_version(module)
    own = set(code_files(checkout, module))
    for path in sorted(checkout.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert (code_version(module) != whole) is (path in own), path
        path.write_bytes(content)
    assert code_version(module) == whole


def test_graph_holds_what_a_step_uses_and_not_what_it_does_not() -> None:
    def names(module: str) -> set[str]:
        return {path.relative_to(PACKAGE_DIR).as_posix() for path in code_files(PACKAGE_DIR, module)}

    detect = names("pipeline.detect")
    assert detect > {
        "__init__.py",
        "core/t2/change.py",
        "core/components.py",
        "models/gel.onnx",
        "models/tissue_atlas.nii.gz",
        "pipeline/masks.py",
        "pipeline/visit.py",
    }
    assert not {
        name for name in detect if name.startswith(("intake/", "simulate/", "runner/", "central/", "cli/"))
    }
    assert "report/templates/style.css" in names("pipeline.report")
    assert "images/registration.py" in names("pipeline.register")
    assert "report/study_page.py" not in names("pipeline.standardise")


def test_imports_inside_functions_and_of_packages_count(tmp_path: Path) -> None:
    package = tmp_path / "toy"
    (package / "wing" / "pages").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "a.py": "def f():\n    from toy.wing import b\n",
        "other.py": "",
        "wing/__init__.py": "import toy.c\n",
        "wing/b.py": "from os import path\n",
        "wing/pages/page.html": "",
        "c.py": "from toy.missing import x\n",
    }.items():
        (package / name).write_text(text)
    found = {path.relative_to(package).as_posix() for path in code_files(package, "a")}
    assert found == {"__init__.py", "a.py", "wing/__init__.py", "wing/b.py", "wing/pages/page.html", "c.py"}
    with pytest.raises(ModuleNotFoundError, match=r"toy\.no: no such module"):
        code_files(package, "no")


def test_release_is_known_by_its_version(checkout: Path) -> None:
    (checkout.parent / "pyproject.toml").unlink()
    assert code_version("pipeline.detect") == provenance.__version__
