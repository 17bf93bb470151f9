"""No constant of the simulator's intensity model is known to the detectors: they must not be fitted to it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mesems_mri
from mesems_mri.simulate.sites import make_sites
from mesems_mri.simulate.tissue import TISSUES

PACKAGE = Path(mesems_mri.__file__).parent
DETECTORS = ("core", "images", "models", "steps")
MODEL = ("tissue.py", "sites.py", "scanner.py", "lesions.py")


def numbers(tree: ast.AST) -> Iterator[float]:
    """Yield the telling numbers of a module: with three digits that count, or over 100 and not round."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            value = abs(float(node.value))
            digits = f"{value:.12g}".replace(".", "").strip("0")
            if len(digits) >= 3 and value not in (256.0, 255.0):
                yield value


def telling(folder: Path, names: tuple[str, ...] | None = None) -> dict[float, set[str]]:
    found: dict[float, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        if names is None or path.name in names:
            for value in numbers(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(value, set()).add(path.name)
    return found


def test_no_detector_holds_a_constant_of_the_simulator() -> None:
    model = telling(PACKAGE / "simulate", MODEL)
    tissue = {t for tissue in TISSUES.values() for t in (*tissue.t1_ms, *tissue.t2_ms)}
    sites = {s.snr for s in make_sites(3, None)}  # type: ignore[arg-type]
    secret = set(model) | {value for value in tissue | sites if value > 100 and value % 100}
    assert len(secret) > 20
    for part in DETECTORS:
        known = telling(PACKAGE / part)
        assert {value: known[value] for value in secret & known.keys()} == {}


@pytest.mark.parametrize("line", ["LEVEL = 1080 / 650", "x = 0.445", "t2 = -1350.0"])
def test_a_constant_would_be_found(line: str) -> None:
    assert list(numbers(ast.parse(line)))
