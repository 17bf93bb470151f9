"""The small simulated trials for all tests of the simulator."""

import io
import warnings
from collections import defaultdict
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from mesems_mri.simulate.dicom.manifest import PlantManifest, read_manifest
from mesems_mri.simulate.dicom.trial import write_dicom
from mesems_mri.simulate.trial import simulate_trial
from tests.unit.simulate.tiny_trial import Files, make_tiny_trial, unzipped


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One participant, three visits, the second without post-contrast scan."""
    folder = tmp_path_factory.mktemp("simulated") / "tri al ä"
    simulate_trial(folder, participants=1, sites=1, sessions=("w00", "w04", "w12"), seed=3)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_trial(tmp_path_factory.mktemp("tiny") / "bids")


@pytest.fixture(scope="session")
def dicom(tiny: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns about values that no element may have
        write_dicom(tiny, tiny.parent / "dicom", seed=5)
    return tiny.parent / "dicom"


@pytest.fixture(scope="session")
def manifest(dicom: Path) -> PlantManifest:
    return read_manifest(dicom)


@pytest.fixture(scope="session")
def files(dicom: Path) -> Files:
    """All files, those in zips too."""
    return {
        name: content
        for path in sorted(dicom.rglob("*"))
        if path.is_file()
        for name, content in unzipped(path.relative_to(dicom).as_posix(), path.read_bytes())
    }


@pytest.fixture(scope="session")
def headers(files: Files) -> dict[str, Dataset]:
    """Headers of all DICOM files; every element is read and valid."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, content in files.items():
            if content[128:132] == b"DICM" and not name.endswith("DICOMDIR"):
                found[name] = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    return found


@pytest.fixture(scope="session")
def by_series(headers: dict[str, Dataset]) -> dict[str, list[Dataset]]:
    found = defaultdict(list)
    for header in headers.values():
        found[str(header.SeriesInstanceUID)].append(header)
    return found
