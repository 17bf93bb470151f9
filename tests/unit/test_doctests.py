"""Examples in docstrings of the package say what the code does."""

import doctest
import importlib
from pathlib import Path

import pytest

import mesems_mri

SOURCES = Path(mesems_mri.__file__).parent


def with_examples() -> list[str]:
    """Return the modules of the package that hold an example; no other is imported."""
    return sorted(
        ".".join(("mesems_mri", *path.relative_to(SOURCES).with_suffix("").parts)).removesuffix(".__init__")
        for path in SOURCES.rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("name", with_examples())
def test_examples_hold(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
