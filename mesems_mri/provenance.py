"""Provenance: versions of the software, the machine, and the hash of the code a rule depends on."""

import ast
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mesems_mri import __version__

PACKAGE_DIR = Path(__file__).parent
_DATA = {".html", ".css", ".js", ".gz", ".onnx", ".tsv"}
_LIBRARIES = (
    "nibabel",
    "numpy",
    "onnxruntime",
    "picsl-greedy",
    "scipy",
    "simpleitk",
    "snakemake",
)
"""Libraries that the steps of a visit call and that shape its numbers, and Snakemake."""


def software_versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries that shape the numbers of a run."""
    return {"mesems-mri": __version__} | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def host_name() -> str:
    """Name this machine."""
    return platform.node()


def machine() -> dict[str, Any]:
    """Describe the machine; for ``provenance.json`` only, as it differs between equal runs."""
    return {
        "host": host_name(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def code_version(*modules: str) -> str:
    """Identify the code a rule depends on, so that a changed module reruns its products.

    Parameters
    ----------
    *modules : str
        Dotted names of modules inside the package, e.g. ``"pipeline.register"``.

    Returns
    -------
    str
        The version in a release; in a development checkout also a hash of all code that shapes the products.
    """
    if not (PACKAGE_DIR.parent / "pyproject.toml").is_file():
        return __version__
    digest = hashlib.sha256()
    for source in code_files(PACKAGE_DIR, *modules):
        digest.update(source.relative_to(PACKAGE_DIR).as_posix().encode() + b"\0")
        digest.update(source.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def code_files(package_dir: Path, *modules: str) -> list[Path]:
    """List the files that shape what modules of a package do, from its import graph.

    Imports inside functions count. Data files (models, templates) count for all modules of their package:
    the syntax does not tell which module opens them.

    Parameters
    ----------
    package_dir : Path
        Folder of the package.
    *modules : str
        Dotted names inside the package.

    Returns
    -------
    list of Path
        Sorted.

    Raises
    ------
    ModuleNotFoundError
        If the package has no such module.
    """
    waiting = []
    for module in modules:
        source = _source_of(package_dir, module)
        if source is None:
            msg = f"{package_dir.name}.{module}: no such module"
            raise ModuleNotFoundError(msg)
        waiting.append(source)
    found: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            names = _imports(source, source.stat().st_mtime_ns, package_dir.name)
            waiting += [path for name in names if (path := _source_of(package_dir, name))]
    folders = {source.parent for source in found}
    return sorted(found | {data for folder in folders for data in _data_files(folder)})


def _source_of(package_dir: Path, module: str) -> Path | None:
    """Return the file of a module, or of the package of that name; None for a name that is neither."""
    place = package_dir.joinpath(*module.split(".")) if module else package_dir
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _imports(source: Path, _changed_ns: int, package: str) -> frozenset[str]:
    """Return what a file may import of its package: dotted names inside it, those of parent packages too."""
    names = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package.wing import name` imports a module or takes a name from one
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    own = [part[1:] for part in parts if part[0] == package]
    return frozenset(".".join(part[:depth]) for part in own for depth in range(len(part) + 1))


def _data_files(folder: Path) -> Iterator[Path]:
    """Yield the data files of a package, those in its folders that are no packages too."""
    for path in folder.iterdir():
        if path.is_dir() and not (path / "__init__.py").is_file():
            yield from _data_files(path)
        elif path.suffix in _DATA:
            yield path
