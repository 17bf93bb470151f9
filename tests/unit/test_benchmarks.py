"""The generators that accuracy is measured with stay as they are: a change makes figures incomparable."""

import ast
import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FROZEN = {
    ("benchmarks/new_lesions.py", None): "cccbff289e0a70e6be66fa2d9b303efe92c457f349fcd9cd068648dc5de31ce4",
    ("benchmarks/accuracy_gel.py", "implant_lesions"): (
        "a4b192f19d27b97c84c6fd7414062d8aacaed5708bd9d2ff046bb11090d17066"
    ),
    ("benchmarks/accuracy_gel.py", "_draw"): (
        "0cb1214f2331364df169773fc13d01950a2963e28971bb50f254464e0b48bb9e"
    ),
    ("benchmarks/gel_cases.py", "read_again"): (
        "303a10392926dbbaad393d0dd678fb23d9a7a522410f3ffa6108be84e1b955df"
    ),
    ("benchmarks/gel_cases.py", "draw_normal_enhancement"): (
        "e079653796afa4d9eae40812dbf451c896a5167e1058feef9db3337c9b78eff2"
    ),
}
"""SHA-256 of a file, or of the source of a function in it, before any detector was tuned with it."""


@pytest.mark.parametrize(("name", "function"), FROZEN)
def test_generator_is_frozen(name: str, function: str | None) -> None:
    source = (ROOT / name).read_bytes()
    if function:
        text = source.decode()
        (node,) = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function]
        source = (ast.get_source_segment(text, node) or "").encode()
    assert hashlib.sha256(source).hexdigest() == FROZEN[name, function]


@pytest.mark.parametrize("path", sorted((ROOT / "training").glob("*.py")), ids=lambda path: path.name)
def test_training_imports_no_benchmark(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not any("benchmark" in name or "accuracy" in name for name in names), names
