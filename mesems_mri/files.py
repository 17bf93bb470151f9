"""Atomic writes of files, and JSON that repeats byte by byte."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPORARY = ".*.tmp"
"""Pattern of the names under which files are written before they are renamed."""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically: under a temporary name, then renamed, so that no half file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 (atomic write)."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON (atomic write) with the keys in the order given; the same content gives the same bytes."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(path.read_text(encoding="utf-8"))
