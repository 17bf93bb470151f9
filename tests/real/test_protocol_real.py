"""Headers of real scanners, classic and enhanced, against the shipped protocol."""

from pathlib import Path

import pytest

from mesems_mri.intake.compliance import check_series
from mesems_mri.intake.dicom.geometry import describe_geometry
from mesems_mri.intake.inventory import take_inventory
from mesems_mri.intake.protocol import load_protocol

pytestmark = pytest.mark.real

PROTOCOL = load_protocol(Path(__file__).parents[2] / "config" / "protocol.yaml")
EXPECTED: dict[str, tuple[str, dict[str, str]]] = {
    "siemens_decubitus/HFS": (
        "T1w",
        {
            "field_strength": "PASS 3 T",
            "acquisition": "PASS 2D",
            "slice_thickness": "FAIL 4 mm",
            "slice_gap": "FAIL 0.8 mm",
            "in_plane": "FAIL 1.02 x 1.13 mm acquired, interpolated to 1.016 x 1.016 mm",
            "echo_time": "PASS 2.46 ms",
            "repetition_time": "PASS 300 ms",
            "coil": "PASS HE1-4;NE1,2",
        },
    ),
    "ge_mprage": (
        "T1w",
        {
            "field_strength": "PASS 3 T",
            "acquisition": "PASS 3D",
            "slice_thickness": "PASS 1.2 mm",
            "slice_gap": "PASS 0 mm",
            "in_plane": "PASS 0.9375 x 0.9375 mm",
            "echo_time": "PASS 3.172 ms",
            "repetition_time": "PASS 2217.7 ms",
            "coil": "PASS 48HA",
        },
    ),
    # enhanced: thickness, pixels, times and coil stand in the shared and per-frame groups
    "siemens_xa30_enhanced": (
        "T1w",
        {
            "field_strength": "PASS 3 T",
            "acquisition": "PASS 3D",
            "slice_thickness": "FAIL 2 mm",
            "slice_gap": "PASS 0 mm",
            "in_plane": "FAIL 2 x 2 mm",
            "echo_time": "PASS 2.41 ms",
            "repetition_time": "PASS 1800 ms",
            "coil": "PASS HeadNeck_64",
        },
    ),
    # a stripped header: what it does not say does not pass
    "mini/siemens/anatomical/001": (
        "FLAIR",
        {
            "field_strength": "UNKNOWN ",
            "acquisition": "PASS 3D",
            "slice_thickness": "UNKNOWN ",
            "slice_gap": "UNKNOWN ",
            "in_plane": "PASS 1 x 1 mm",
            "echo_time": "PASS 394 ms",
            "repetition_time": "PASS 6000 ms",
            "inversion_time": "PASS 2200 ms",
            "coil": "UNKNOWN ",
        },
    ),
}


@pytest.mark.parametrize("folder", EXPECTED)
def test_real_headers_give_every_item_with_its_value(real_data: Path, tmp_path: Path, folder: str) -> None:
    role, expected = EXPECTED[folder]
    (series,) = take_inventory(real_data / "dicom" / folder, tmp_path).series
    items = check_series(role, series.header, describe_geometry(series), PROTOCOL)
    assert {item.name: f"{item.result} {item.value}" for item in items} == expected


def test_scanner_is_recognised_over_two_positions_of_the_head(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "dicom" / "siemens_decubitus"
    first, second = take_inventory(folder, tmp_path).series
    items = check_series("T1w", second.header, describe_geometry(second), PROTOCOL, reference=first.header)
    found = {item.name: item.result for item in items}
    assert (found["scanner"], found["software"]) == ("PASS", "PASS")
