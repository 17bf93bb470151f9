"""Each image is compared with the participant's own first visit; what has changed is said."""

from typing import Any

import pytest
from pydicom import Dataset

from mesems_mri.intake.baseline import Parameters, baseline_items
from mesems_mri.intake.compliance import ItemResult
from mesems_mri.intake.dicom.encoding import read_encoding
from mesems_mri.intake.protocol import ITEMS
from tests.unit.intake.test_compliance import grid, header

SCAN: dict[str, Any] = {
    "AcquisitionMatrix": [0, 256, 256, 0],
    "ParallelReductionFactorInPlane": 2.0,
}


def parameters(tags: dict[str, Any] | None = None, **voxel: Any) -> Parameters:
    return Parameters.of_scan(header(**(SCAN | (tags or {}))), grid(**voxel))


def changed(now: Parameters, first: Parameters) -> dict[str, ItemResult]:
    items = list(baseline_items(now, first))
    assert [i.name for i in items] == [name for name in ITEMS if name in {i.name for i in items}]
    return {i.name: i.result for i in items if i.result is not ItemResult.PASS}


def test_the_same_protocol_passes_every_item_also_from_its_sidecar() -> None:
    first = parameters()
    kept = Parameters.of_sidecar(first.to_sidecar())
    assert kept == first
    items = list(baseline_items(parameters(), kept))
    assert {i.result for i in items} == {ItemResult.PASS}
    assert len(items) == 9
    # a few per cent are no change: scanners adapt times to the participant
    assert changed(parameters({"RepetitionTime": "2350"}, extent_mm=170.0), first) == {}
    assert changed(parameters({"AcquisitionMatrix": [256, 0, 0, 256]}), first) == {}


@pytest.mark.parametrize(
    ("tags", "voxel", "name"),
    [
        ({"MRAcquisitionType": "2D"}, {}, "baseline_acquisition"),
        ({}, {"plane": "axial"}, "baseline_plane"),
        ({"EchoTime": "4"}, {}, "baseline_echo_time"),
        ({"RepetitionTime": "1900"}, {}, "baseline_repetition_time"),
        ({"InversionTime": "1100"}, {}, "baseline_inversion_time"),
        ({"FlipAngle": "12"}, {}, "baseline_flip_angle"),
        ({"AcquisitionMatrix": [0, 256, 192, 0]}, {}, "baseline_resolution"),
        ({}, {"thickness_mm": 1.2}, "baseline_resolution"),
        ({"ParallelReductionFactorInPlane": 3.0}, {}, "baseline_acceleration"),
        ({"ParallelAcquisitionTechnique": "COMPRESSED"}, {}, "baseline_acceleration"),
        ({"SeriesDescription": "T1 MPRAGE AIR Recon DL"}, {}, "baseline_reconstruction"),
        ({}, {"extent_mm": 150.0}, "baseline_coverage"),
    ],
)
def test_what_has_changed_fails_and_nothing_else(
    tags: dict[str, Any], voxel: dict[str, Any], name: str
) -> None:
    assert changed(parameters(tags, **voxel), parameters()) == {name: ItemResult.FAIL}


def test_what_is_not_said_now_is_unknown_and_what_was_never_said_is_not_compared() -> None:
    silent = parameters({"EchoTime": None, "FlipAngle": None})
    assert changed(silent, parameters()) == {
        "baseline_echo_time": ItemResult.UNKNOWN,
        "baseline_flip_angle": ItemResult.UNKNOWN,
    }
    assert changed(parameters(), silent) == {}
    assert list(baseline_items(parameters(), Parameters())) != []
    assert Parameters.of_sidecar({"EchoTime": "nonsense"}) is None


def test_a_sidecar_of_an_older_version_gives_its_times() -> None:
    older = Parameters.of_sidecar(
        {
            "EchoTime": 0.003,
            "RepetitionTime": 2.3,
            "FlipAngle": 9,
            "MRAcquisitionType": "3D",
            "ParallelReductionFactorInPlane": 2,
        }
    )
    assert older is not None
    assert changed(parameters({"EchoTime": "5"}), older) == {"baseline_echo_time": ItemResult.FAIL}


@pytest.mark.parametrize(
    ("tags", "acquired"),
    [
        ({"AcquisitionMatrix": [0, 256, 213, 0]}, (1.0, 1.2)),
        ({"AcquisitionMatrix": [256, 0, 0, 213]}, (1.0, 1.2)),
        ({"AcquisitionMatrix": [0, 512, 256, 0]}, (0.5, 1.0)),  # readout as fine as the image
        ({"AcquisitionMatrix": [0, 1024, 256, 0]}, (0.5, 1.0)),  # oversampled: never finer than the image
        # three quarters of the field of view, filled up to a square
        (
            {
                "AcquisitionMatrix": [0, 256, 192, 0],
                "PercentPhaseFieldOfView": "75",
                "PercentSampling": "100",
            },
            (1.0, 1.0),
        ),
        ({"AcquisitionMatrix": [0, 256, 192, 0], "PercentSampling": "75"}, (1.0, 1.333)),
        ({"AcquisitionMatrix": [0, 0, 0, 0]}, None),
        ({}, None),
    ],
)
def test_pixel_as_acquired(tags: dict[str, Any], acquired: tuple[float, float] | None) -> None:
    fine = grid(in_plane_mm=(0.5, 0.5), rows=512, columns=512)
    found = read_encoding(header(**tags), fine)
    assert found.in_plane_mm == (pytest.approx(acquired, abs=2e-3) if acquired else None)
    assert found.interpolated == bool(acquired and max(acquired) > 0.6)


def private(group: int, creator: str, element: int, value: Any, vr: str = "LO") -> Dataset:
    made = header()
    made.private_block(group, creator, create=True).add_new(element, vr, value)
    return made


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (header(SeriesDescription="AX FLAIR AIR Recon DL"), "AIR Recon DL"),
        (header(ProtocolName="t2_tse_Deep_Resolve_Boost"), "Deep Resolve"),
        (header(SeriesDescription="3D FLAIR SmartSpeed AI"), "SmartSpeed AI"),
        (header(SeriesDescription="T1 AiCE"), "AiCE"),
        (private(0x0043, "GEMS_PARM_01", 0xB7, "Medium"), "AIR Recon DL"),
        (header(SeriesDescription="3D FLAIR SmartSpeed"), ""),
        (header(SeriesDescription="sagittal device trailer"), ""),
        (private(0x0043, "GEMS_PARM_01", 0xB7, "None"), ""),
    ],
)
def test_reconstruction_by_a_network_is_named_by_its_product(made: Dataset, name: str) -> None:
    assert read_encoding(made).deep_learning == name


def test_acceleration_of_classic_headers_is_read_from_private_tags() -> None:
    assert read_encoding(private(0x0051, "SIEMENS MR HEADER", 0x11, "p2 s2")).acceleration == 2.0
    assert read_encoding(private(0x0043, "GEMS_PARM_01", 0x83, ["0.5", "1"], "DS")).acceleration == 2.0
    assert read_encoding(header()).acceleration is None
