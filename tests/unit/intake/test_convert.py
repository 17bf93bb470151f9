"""dcm2niix through nipype: what it is asked, and that nobody is called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dcm2niix
import pytest

from mesems_mri.errors import ExternalProgramError
from mesems_mri.intake.convert import run_dcm2niix
from tests.unit.intake.scans import FLAIR, write_series

ALONE = """
import json, socket, sys
called = []
def refuse(*arguments, **_):
    called.append(str(arguments))
    raise OSError("no network in this test")
socket.getaddrinfo = socket.socket.connect = refuse
from pathlib import Path
from mesems_mri.intake.convert import run_dcm2niix
if "phone" in sys.argv:
    import os, nipype
    del os.environ["NO_ET"]
    nipype.check_latest_version()
files = sorted(Path(sys.argv[1]).iterdir()) if "phone" not in sys.argv else []
found = run_dcm2niix(files, Path(sys.argv[2])).images if files else []
print(json.dumps([len(found), called]))
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "sent", "FLAIR", slices=12, spacing=10.0, **FLAIR)


def alone(*arguments: object) -> tuple[int, list[str]]:
    """Convert in a fresh process in which nobody has asked nipype to keep quiet."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_ET"}
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    count, called = json.loads(told.stdout.splitlines()[-1])
    return count, called


def test_nobody_is_called(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    assert alone(files[0].parent, tmp_path / "place") == (1, [])
    assert alone("phone")[1]  # the same process would have seen it


def test_a_series_becomes_one_image_with_its_sidecar(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (one,) = run_dcm2niix(files, tmp_path / "place").images
    assert one.image.name == "image.nii"
    assert (one.sidecar["EchoTime"], one.sidecar["RepetitionTime"]) == (0.11, 9)


def test_what_is_no_dicom_becomes_nothing(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "text.dcm").write_text("a text that is called .dcm")
    assert run_dcm2niix([tmp_path / "text.dcm"], tmp_path / "place").images == []


def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcm2niix, "bin", str(tmp_path / "nowhere"))
    with pytest.raises(ExternalProgramError, match="dcm2niix is missing"):
        run_dcm2niix([], tmp_path)
