"""The receiving side as somebody types it, and where none of the image processing is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.transfer.keys import make_keys, read_private_key
from tests.unit.central.bundles import STUDY, Bundle, pack, visit
from tests.unit.central.conftest import write_schedule

BLOCKED = (
    "ants",
    "dcm2niix",
    "jinja2",
    "matplotlib",
    "nibabel",
    "nilearn",
    "nipype",
    "numpy",
    "onnxruntime",
    "pandas",
    "paramiko",
    "pydicom",
    "pyreadstat",
    "scipy",
    "skimage",
    "SimpleITK",
    "snakemake",
    "httpx",
)
"""What the environment of the receiving side does not have."""
PROGRAM = f"""
import importlib.abc, json, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)
sys.meta_path.insert(0, Block())
from mesems_mri.cli.main import main
for sys.argv in json.loads(sys.argv[1]):
    try:
        main()
    except SystemExit:
        pass
"""


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["central", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data centre with one site."""
    monkeypatch.setenv("MESEMS_CENTRAL_DATABASE", str(tmp_path / "central.db"))
    make_keys(tmp_path / "S01.key")
    (tmp_path / "inbox").mkdir()
    return tmp_path


def land(folder: Path, bundle: Bundle) -> Path:
    digest = bundle.write(folder / "bundle", read_private_key(folder / "S01.key"))
    return pack(folder / "bundle", folder / "inbox" / f"S01_{bundle.sequence:06}_{digest}.tar")


def set_up(folder: Path) -> str:
    run("init", "--study", STUDY)
    told = run("site", "add", "S01", "--key", folder / "S01.key.pub")
    run("schedule", write_schedule(folder / "v.tsv", {"sub-001": "S01"}), "--reason", "begin")
    return told


def test_data_centre_from_the_beginning(folder: Path) -> None:
    assert "token (shown this once, valid for 365 days): mesems_" in set_up(folder)
    land(folder, Bundle([visit("sub-001", 0), visit("sub-001", 12, reason="artefact")]))
    assert "accepted" in run("ingest", folder / "inbox")
    told = run("reconcile", "--tsv", folder / "list.tsv")
    assert "sub-001/ses-w04  missing" in told
    assert "sub-001/ses-w12  not_evaluable  (gel: artefact" in told
    assert "ses-w00" not in told
    assert "ses-w00  received" in run("reconcile", "--all")
    assert "all sites: 1 received, 1 not evaluable, 0 in query, 1 missing, 1 awaited" in told
    assert len((folder / "list.tsv").read_text().splitlines()) == 5
    land(folder, Bundle([visit("sub-001", 4)], sequence=7, previous="0" * 64))
    (folder / "inbox" / "notes.txt").touch()
    told = run("ingest", folder / "inbox", code=5)
    assert "leaves a gap" in told
    assert "notes.txt: is no transfer" in told


def test_audit_is_checked_against_an_entry_noted_before(folder: Path) -> None:
    set_up(folder)
    head = run("audit").split()[-1]
    land(folder, Bundle([visit("sub-001", 0)]))
    run("ingest", folder / "inbox")
    assert "is intact" in run("audit", "--known", head, "--show")
    with pytest.raises(DatasetError, match="is not intact"):
        run("audit", "--known", head[:-1] + ("0" if head[-1] != "0" else "1"))
    with pytest.raises(UsageError, match="expected NUMBER:HASH"):
        run("audit", "--known", "12")


def test_keys_and_tokens(folder: Path) -> None:
    set_up(folder)
    make_keys(folder / "new.key")
    assert "compare it" in run("site", "key", "S01", "--key", folder / "new.key.pub")
    assert "mesems_" in run("site", "token", "S01", "--days", 30)
    assert "mesems_" in run("token", "D. Manager", "--role", "data_manager")
    listed = run("site", "list")
    assert listed.count("  key ") == 2
    assert listed.count("token ") == 3
    token_id = next(line.split()[1].rstrip(":") for line in listed.splitlines() if "D. Manager" in line)
    assert f"token {token_id} is revoked" in run("revoke", token_id)


def test_nothing_but_the_receiving_side_is_needed(folder: Path) -> None:
    land(folder, Bundle([visit("sub-001", 0)]))
    table = write_schedule(folder / "v.tsv", {"sub-001": "S01"})
    commands = [
        ["init", "--study", STUDY],
        ["site", "add", "S01", "--key", folder / "S01.key.pub"],
        ["schedule", table, "--reason", "begin"],
        ["ingest", folder / "inbox"],
        ["reconcile"],
        ["audit"],
        ["serve", "--host", "192.0.2.1"],
    ]
    done = blocked(*commands)
    assert "accepted" in done.stdout
    assert "1 received" in done.stdout
    assert "is intact" in done.stdout
    assert "without TLS tokens could be read" in done.stderr  # the service was imported


def blocked(*commands: list[object]) -> subprocess.CompletedProcess[str]:
    """Run commands one after the other in a process that finds nothing of `BLOCKED`."""
    words = json.dumps([["mesems-mri", "central", *map(str, command)] for command in commands])
    return subprocess.run([sys.executable, "-c", PROGRAM, words], capture_output=True, text=True, check=False)


def test_block_blocks() -> None:
    words = [sys.executable, "-c", PROGRAM.replace("from mesems_mri", "import numpy\nfrom mesems_mri"), "[]"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "numpy is not installed here" in done.stderr
