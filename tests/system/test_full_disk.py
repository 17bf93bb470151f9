"""A full and a read-only disk: a clear sentence, nothing half-written, and on it goes when there is space."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesems_mri.files import TEMPORARY
from tests.command import mesems


@pytest.fixture
def bids_dir(tmp_path: Path) -> Path:
    """Two visits that no step can read, so that each step is over as soon as it has started."""
    for session in ("ses-1", "ses-2"):
        path = tmp_path / "bids" / "sub-01" / session / "anat" / f"sub-01_{session}_FLAIR.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no image")
    return tmp_path / "bids"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_is_said_and_the_same_command_goes_on_when_there_is_space(
    bids_dir: Path, small_disk: Path
) -> None:
    out_dir = small_disk / "out"
    mesems("run", bids_dir, out_dir, "--until", "register", "--cores", 1)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    full = f"the disk of {out_dir} is full: free space, then run the same command again"
    assert full in mesems("run", bids_dir, out_dir, code=2).stderr  # not even the lock can be written
    with ballast.open("r+b") as stream:
        stream.truncate(ballast.stat().st_size - 100_000)  # enough to begin, too little for the pages
    said = mesems("run", bids_dir, out_dir, "--cores", 1, code=5)
    text = said.stdout + said.stderr
    assert full in text
    assert "Traceback" not in said.stderr
    assert [path for path in out_dir.rglob(TEMPORARY) if ".snakemake" not in path.parts] == []
    for path in out_dir.glob("sub-*/**/*"):
        assert not path.is_file() or path.stat().st_size > 0
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert "2 visits done, 2 of them not evaluable; 0 failed" in mesems("run", bids_dir, out_dir).stdout


def test_read_only_folder_is_refused_before_anything_starts(bids_dir: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    said = mesems("run", bids_dir, small_disk / "out", code=2).stderr
    assert said.count("\n") == 1
    assert f"{small_disk / 'out'}: cannot be written (Read-only file system)" in said
