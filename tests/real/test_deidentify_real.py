"""De-identified copies of real series show the same image in the same place, and name nobody."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.deidentify.export import write_copy
from tests.identifier_search import Planted, search

pytestmark = pytest.mark.real

KEY = bytes(range(32))
IDENTIFYING = (
    *("PatientID", "InstitutionName", "InstitutionAddress", "PerformedProcedureStepID", "StudyID"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
)
FOUND_BY_EYE = (Planted("name", "Rorden^Cheng"), Planted("text", "Bloomington"), Planted("text", "Indiana"))
"""Names and places that stand in descriptions and private elements of these series."""
MIN_TEXT = 6


def series_folders(root: Path) -> list[Path]:
    no_dicom = {".gz", ".md", ".txt"}
    files = (p for p in root.rglob("*") if p.is_file() and p.suffix not in no_dicom and p.name != "LICENSE")
    return sorted({path.parent for path in files})


def converted(folder: Path, out: Path) -> list[Path]:
    out.mkdir(parents=True)
    converter = Path(sys.executable).with_name("dcm2niix")
    subprocess.run([converter, "-b", "n", "-z", "n", "-f", "image", "-o", out, folder], capture_output=True)
    return sorted(out.glob("*.nii"))


def stored(path: Path) -> np.ndarray:
    return np.asanyarray(nib.nifti1.Nifti1Image.from_filename(path).dataobj.get_unscaled())


def test_copies_show_the_same_and_name_nobody(real_data: Path, tmp_path: Path) -> None:
    folders = series_folders(real_data / "dicom")
    assert len(folders) >= 25
    told: set[str] = set()
    for number, folder in enumerate(folders):
        files = tuple(sorted(path for path in folder.iterdir() if path.suffix != ".gz"))
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
        planted = [
            Planted("text", str(header[keyword].value))
            for keyword in IDENTIFYING
            if keyword in header and len(str(header[keyword].value)) >= MIN_TEXT
        ]
        planted += FOUND_BY_EYE
        told |= {hit.planted for hit in search(folder, planted)}
        out = tmp_path / f"copy{number}"
        sent = SimpleNamespace(files=files, header=header)
        copies = write_copy(sent, out, Deidentifier(KEY, "sub-001", -56_000))
        assert not search(out, planted), folder

        before = converted(folder, tmp_path / f"before{number}")
        after = converted(copies[0].parent, tmp_path / f"after{number}")
        assert before, folder
        assert [path.name for path in before] == [path.name for path in after], folder
        for one, other in zip(before, after, strict=True):
            # Philips keeps a scale in a private element, so that the stored values are compared
            assert np.array_equal(stored(one), stored(other)), folder
            assert np.array_equal(nib.load(one).affine, nib.load(other).affine), folder  # type: ignore[attr-defined]
    assert len(told) > 60  # the same search does find them in what was sent
    assert {planted.text for planted in FOUND_BY_EYE} <= told
