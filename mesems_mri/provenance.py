"""Records and provenance: deterministic JSON, atomic writes, versions, code hashes."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesems_mri import __version__

PACKAGE_DIR = Path(__file__).parent
_SOURCES = {".py", ".html", ".css", ".js", ".gz", ".onnx"}
_LIBRARIES = (
    "antspyx",
    "nibabel",
    "numpy",
    "onnxruntime",
    "picsl-greedy",
    "scikit-image",
    "scipy",
    "snakemake",
)


TEMPORARY = ".*.tmp"
"""Pattern of the names under which files are written before they are renamed."""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file under a temporary name and rename it, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with the keys in the order given; the same content gives the same bytes."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))


def software_versions() -> dict[str, str]:
    """Return the versions of this package and of the libraries that shape the numbers."""
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
        Folders or files of the package, relative to it, e.g. ``"core"``, ``"steps/register.py"``.

    Returns
    -------
    str
        The version in a release; in a development checkout also a hash of the sources.
    """
    if not (PACKAGE_DIR.parent / "pyproject.toml").is_file():
        return __version__
    digest = hashlib.sha256()
    for module in sorted(modules):
        place = PACKAGE_DIR / module
        for source in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if source.is_file() and source.suffix in _SOURCES:
                digest.update(source.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"
