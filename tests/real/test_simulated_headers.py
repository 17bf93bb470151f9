"""The headers of the simulated DICOM are those of real scanners: the same elements, of the same kind."""

from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from mesems_mri.simulate.dicom.trial import write_dicom
from tests.unit.simulate.tiny_trial import make_tiny_trial

pytestmark = pytest.mark.real

REAL = {
    "S01": ("siemens_decubitus/HFS/*/*.dcm", 0.9),
    "S04": ("siemens_xa30_enhanced/*/*.dcm", 0.65),
    "S05": ("mini/philips/anatomical/001/*.dcm", 0.9),
    "S06": ("ge_mprage/*/*MRDC*", 0.75),
}
"""A real series like those of a simulated site, and the share of its standard elements to be found there."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_dicom(make_tiny_trial(folder / "bids"), folder / "dicom")
    return folder / "dicom"


def elements(dataset: Dataset, inside: str = "") -> dict[str, str]:
    """The kind of every element, those in the first item of a sequence too."""
    found = {}
    for item in dataset:
        place = f"{inside}{item.tag}"
        found[place] = item.VR
        if item.VR == "SQ" and item.value:
            found |= elements(item.value[0], f"{place} > ")
    return found


def is_standard(place: str) -> bool:
    return all(int(part[1:5], 16) % 2 == 0 for part in place.split(" > "))


@pytest.mark.filterwarnings("ignore:The value length:UserWarning")
@pytest.mark.parametrize("site", sorted(REAL))
def test_header_is_like_that_of_the_scanner(real_data: Path, simulated: Path, site: str) -> None:
    pattern, share = REAL[site]
    scanned = elements(
        pydicom.dcmread(sorted((real_data / "dicom").glob(pattern))[0], stop_before_pixels=True)
    )
    for path in sorted(p for p in (simulated / site).rglob("*") if p.suffix in (".dcm", ".IMA")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if "T1" in header.SeriesDescription.upper() and header.ImageType[0] == "ORIGINAL":
            break
    else:
        pytest.fail("no T1w scan")
    made = elements(header)
    common = scanned.keys() & made.keys()
    assert {place: scanned[place] for place in common} == {place: made[place] for place in common}
    standard = [place for place in scanned if is_standard(place)]
    assert sum(place in made for place in standard) / len(standard) >= share
    assert [place for place in common if not is_standard(place)] or site == "S05"
