"""Provenance: versions of the software, the machine, and the hash of the code a rule depends on."""

import hashlib
import importlib.metadata
import os
import platform
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
        Folders or files of the package, relative to it, e.g. ``"core"``, ``"pipeline/register.py"``.

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
