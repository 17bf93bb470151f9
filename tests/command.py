"""The command line in a fresh process, and what it leaves behind."""

import csv
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def mesems(
    *arguments: object, cwd: Path | None = None, path: Sequence[Path] = (), code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh process; `path`: where its Python looks first, as for another wheel."""
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    finished = subprocess.run(
        [sys.executable, "-m", "mesems_mri", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert finished.returncode == code, finished.stdout[-4000:] + finished.stderr[-4000:]
    return finished


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table as text, without the package."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def hash_visits(out_dir: Path) -> dict[str, str]:
    """Hash every file below the visits of an output folder."""
    return {
        path.relative_to(out_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out_dir.glob("sub-*/ses-*/**/*"))
        if path.is_file()
    }
