"""Rules about the repository itself."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mesems_mri

MAX_MODULE_LINES = 500
TABLES = {"dataset/reasons.py"}
"""Registries: one table each, read by looking a code up, however long it is."""
MAX_FILE_BYTES = 5 * 2**20


@pytest.fixture(scope="module")
def tracked_files(repository: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", repository, "ls-files", "-z"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [repository / name for name in listed.split("\0") if name and (repository / name).is_file()]


@pytest.fixture(scope="module")
def tracked_text(tracked_files: list[Path]) -> dict[Path, str]:
    contents = ((path, path.read_bytes()) for path in tracked_files)
    return {
        path: content.decode(errors="replace") for path, content in contents if b"\0" not in content[:8192]
    }


def registry_hosts() -> set[str]:
    """Hosts of the package registries as this machine is set up, the public ones excepted."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    configured += " ".join(
        value for name, value in os.environ.items() if re.search("INDEX|REGISTRY", name, re.I)
    )
    hosts = set(re.findall(r"https?://(?:[^/@\s'\"]*@)?([^/:\s'\"]+)", configured))
    return hosts - {"pypi.org", "localhost", "127.0.0.1"}


def test_snakefile_is_a_table_of_contents(repository: Path) -> None:
    assert len((repository / "Snakefile").read_text().splitlines()) <= 80


def test_rules_have_neither_run_nor_script(repository: Path) -> None:
    # logic belongs in the package, where it is tested; `run:` also costs 1.5 s a job
    rules = [repository / "Snakefile", *(repository / "workflow").rglob("*.smk")]
    bad = [path.name for path in rules if re.search(r"^\s*(run|script|retries):", path.read_text(), re.M)]
    assert not bad


def test_modules_stay_small(repository: Path) -> None:
    # a module is split where it has two responsibilities; this stops only what nobody can read any more
    lengths = {path: len(path.read_text().splitlines()) for path in (repository / "mesems_mri").rglob("*.py")}
    long = {
        path.relative_to(repository / "mesems_mri").as_posix()
        for path, n in lengths.items()
        if n > MAX_MODULE_LINES
    }
    assert long <= TABLES


def test_no_machine_path_or_registry_host_is_tracked(repository: Path, tracked_text: dict[Path, str]) -> None:
    unwanted = {*registry_hosts(), f"{repository}/", f"{Path.home()}/.pyenv"}
    bad = {str(path): word for path, text in tracked_text.items() for word in unwanted if word in text}
    assert bad == {}


def test_no_large_file_is_tracked(tracked_files: list[Path]) -> None:
    assert [path for path in tracked_files if path.stat().st_size > MAX_FILE_BYTES] == []


@pytest.mark.parametrize(
    "name", ["requirements.lock", "containers/requirements.lock", "containers/central.lock"]
)
def test_lock_pins_by_hash_and_names_no_host(repository: Path, name: str) -> None:
    lock = (repository / name).read_text()
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links|file:", lock)
    pins = re.split(r"\n(?=\S)", lock.strip())
    assert len(pins) > 20
    assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []


def pins(lock: Path) -> dict[str, str]:
    """Versions of a lock file by distribution."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.M))


def test_container_locks_are_part_of_the_lock(repository: Path) -> None:
    everything = pins(repository / "requirements.lock")
    for name in ("requirements.lock", "central.lock"):
        assert pins(repository / "containers" / name).items() < everything.items()


def test_receiving_side_has_no_image_processing(repository: Path) -> None:
    locked = pins(repository / "containers" / "central.lock")
    assert locked.keys() & {"antspyx", "nipype", "snakemake", "numpy", "nibabel"} == set()
    assert locked.keys() > {"fastapi", "sqlalchemy", "uvicorn", "psycopg", "cryptography"}


def test_lock_holds_every_dependency(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["slurm"],
        *project["project"]["optional-dependencies"]["central"],
        *project["project"]["optional-dependencies"]["review"],
        *(line for group in project["dependency-groups"].values() for line in group if isinstance(line, str)),
    ]
    names = {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in wanted}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (repository / "requirements.lock").read_text(), re.M))
    assert names - locked == set()


def test_changelog_names_this_version(repository: Path) -> None:
    headings = re.findall(r"^## \[(.+?)\]", (repository / "CHANGELOG.md").read_text(), re.M)
    assert headings
    assert mesems_mri.__version__ in headings


def test_wheel_holds_workflow_and_no_tests(repository: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    workflow = {path.relative_to(repository).as_posix() for path in (repository / "workflow").rglob("*.smk")}
    expected = {
        "Snakefile",
        "config/config.yaml",
        "config/schema.json",
        "workflow/profiles/slurm/config.yaml",
    } | workflow
    assert {f"mesems_mri/_workflow/{name}" for name in expected} - names == set()
    assert "mesems_mri/cli/main.py" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mesems_mri"}
