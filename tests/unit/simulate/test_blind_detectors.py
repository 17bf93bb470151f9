"""No detector knows a constant of the simulator: it would find the phantom's lesions and nobody else's.

Imports are forbidden by ``tests/unit/test_imports.py``. Here the numbers themselves are compared: those with
which the simulator paints tissue and shapes lesions, as far as they are odd enough not to meet by chance, and
all that stand in the modules of the detectors.
"""

import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mesems_mri
from mesems_mri.simulate import lesions, sites, tissue

PACKAGE = Path(mesems_mri.__file__).parent
DETECTORS = sorted(
    path for part in ("core", "images", "models", "pipeline") for path in (PACKAGE / part).rglob("*.py")
)
MODEL = [PACKAGE / "simulate" / f"{name}.py" for name in ("tissue", "sites", "lesions", "course", "phantom")]
NO_SECRETS = {134.0: "the border of the MNI152 grid"}


def numbers(tree: ast.AST) -> Iterator[float]:
    """Yield every number written in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield abs(float(node.value))


def distinctive(number: float) -> bool:
    """Tell whether a number has at least three significant digits, so that it hardly meets by chance."""
    digits = f"{number:.12g}".replace(".", "").strip("0")
    return len(digits) >= 3 and number == number


def leaves(value: Any) -> Iterator[float]:
    """Yield all numbers in a nest of data classes, mappings and sequences."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, (int, float)):
        yield abs(float(value))


def model_constants() -> set[float]:
    written = {n for path in MODEL for n in numbers(ast.parse(path.read_text(encoding="utf-8")))}
    site_list = sites.make_sites(3, np.random.default_rng(0))
    held = {*leaves(tissue.TISSUES), *leaves(site_list), *leaves(lesions.REGION_SHARES)}
    return {number for number in written | held if distinctive(number)} - set(NO_SECRETS)


def known_to(tree: ast.AST, constants: set[float]) -> set[float]:
    """Return the constants of the simulator that stand in a module."""
    return {n for n in numbers(tree) if distinctive(n)} & constants


@pytest.mark.parametrize("path", DETECTORS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_detectors_share_no_constant_with_the_simulator(path: Path) -> None:
    assert known_to(ast.parse(path.read_text(encoding="utf-8")), model_constants()) == set()


def test_there_is_something_to_find() -> None:
    constants = model_constants()
    assert len(constants) > 20
    assert {1450, 1350, 2450} <= constants


@pytest.mark.parametrize("line", ["T1_MS = 1350", "low = image < -1080.0", "x = f(0.035, 2450)"])
def test_a_constant_that_is_copied_is_found(line: str) -> None:
    assert known_to(ast.parse(line), model_constants())
