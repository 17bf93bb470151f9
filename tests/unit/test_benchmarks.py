"""The generators that accuracy is measured with stay as they are: a change makes figures incomparable."""

import ast
import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FROZEN = {"benchmarks/new_lesions.py": "cccbff289e0a70e6be66fa2d9b303efe92c457f349fcd9cd068648dc5de31ce4"}


@pytest.mark.parametrize("name", FROZEN)
def test_generator_is_frozen(name: str) -> None:
    assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == FROZEN[name]


@pytest.mark.parametrize("path", sorted((ROOT / "training").glob("*.py")), ids=lambda path: path.name)
def test_training_imports_no_benchmark(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any(name.split(".")[0] == "benchmarks" for name in names), names
