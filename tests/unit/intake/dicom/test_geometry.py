"""What is wrong with the slices of a series, and what is not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from mesems_mri.intake.dicom.expected import Expected, expected_slices
from mesems_mri.intake.dicom.geometry import FaultCode, describe_geometry, slice_faults
from mesems_mri.intake.dicom.instance import Slice
from mesems_mri.intake.dicom.series import Series, slice_normal
from mesems_mri.intake.inventory import take_inventory
from tests.unit.intake.scans import AXIAL, CORONAL, OBLIQUE, SAGITTAL, header, write_enhanced, write_series

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": OBLIQUE}


def series(
    places: list[float],
    orientation: tuple[float, ...] = AXIAL,
    expected: Expected | None = None,
    **changes: object,
) -> Series:
    """Make a series of slices at places along their normal, without files."""
    normal = slice_normal(orientation)
    assert normal is not None
    slices = tuple(Slice(tuple(place * normal), orientation, 10.0, ("ORIGINAL",)) for place in places)
    return Series(
        **{
            "files": tuple(Path(f"{n}") for n in range(len(places))),
            "names": tuple(f"{n}" for n in range(len(places))),
            "header": header(),
            "instance_uids": tuple(f"1.{n}" for n in range(len(places))),
            "positions_mm": tuple(sorted(places)),
            "frames": len(places),
            "multi_frame": False,
            "slices": slices,
            "matrices": ((16, 20),),
            "expected": expected,
            "siblings": len(places),
            **changes,
        }
    )


def codes(one: Series) -> list[str]:
    return [fault.code.value for fault in slice_faults(one)]


@given(
    count=st.integers(3, 60),
    spacing=st.floats(0.4, 8),
    start=st.floats(-200, 200),
    orientation=st.sampled_from(sorted(ORIENTATIONS)),
    noise=st.integers(0, 9),
)
def test_slices_in_order_have_no_fault(
    count: int, spacing: float, start: float, orientation: str, noise: int
) -> None:
    jitter = np.random.default_rng(noise).uniform(-0.004, 0.004, count)  # as headers round
    places = [start + spacing * n + jitter[n] for n in range(count)]
    assert codes(series(places, ORIENTATIONS[orientation])) == []


@given(
    count=st.integers(8, 60),
    spacing=st.floats(0.5, 8),
    lost=st.sets(st.integers(1, 58), min_size=1, max_size=3),
)
def test_lost_slices_are_counted(count: int, spacing: float, lost: set[int]) -> None:
    lost = {n for n in lost if n < count - 1} or {3}
    places = [spacing * n for n in range(count) if n not in lost]
    (fault,) = slice_faults(series(places))
    assert fault.code is FaultCode.MISSING_SLICES
    assert fault.text.startswith(f"{len(lost)} of {count} slices missing")


@given(count=st.integers(4, 40), at=st.integers(0, 39), spacing=st.floats(0.5, 8))
def test_a_slice_that_is_there_twice_is_told(count: int, at: int, spacing: float) -> None:
    places = [spacing * n for n in range(count)]
    assert codes(series([*places, places[at % count]])) == ["duplicate_slices"]


@given(count=st.integers(3, 40), times=st.integers(2, 4))
def test_several_volumes_are_no_duplicates(count: int, times: int) -> None:
    faults = slice_faults(series([3.0 * n for n in range(count)] * times))
    assert [fault.text for fault in faults] == [f"{times} volumes of {count} slices, expected one"]


@given(count=st.integers(5, 40), by=st.floats(0.15, 0.4), at=st.integers(1, 38))
def test_a_slice_out_of_line_is_told(count: int, by: float, at: int) -> None:
    places = [3.0 * n for n in range(count)]
    places[1 + at % (count - 2)] += by * 3.0
    assert codes(series(places)) == ["uneven_spacing"]


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_slices(count: int) -> None:
    assert codes(series([3.0 * n for n in range(count)])) == ["too_few_slices"]


@pytest.mark.parametrize(
    ("there", "told"), [(35, []), (17, ["interrupted"]), (34, ["interrupted"]), (36, [])]
)
def test_a_series_interrupted_half_way(there: int, told: list[str]) -> None:
    places = [3.0 * n for n in range(there)]
    assert codes(series(places, expected=Expected(35, "NumberOfSlices"))) == told


def test_a_number_that_counts_all_echoes_is_no_interruption() -> None:
    places = [3.0 * n for n in range(20)]
    assert codes(series(places, expected=Expected(40, "ImagesInAcquisition"), siblings=40)) == []
    assert codes(series(places, expected=Expected(40, "ImagesInAcquisition"))) == ["interrupted"]


def test_two_orientations_are_told() -> None:
    one, two = series([0, 3, 6]), series([0, 3, 6], SAGITTAL)
    mixed = series([0, 3, 6, 0, 3, 6], slices=one.slices + two.slices)
    assert codes(mixed) == ["mixed_orientation"]


def test_other_faults() -> None:
    whole = [0.0, 3.0, 6.0, 9.0]
    assert codes(series(whole, matrices=((16, 20), (32, 32)))) == ["mixed_matrix"]
    assert codes(series(whole, damage=("3 bytes of pixel data, expected 640",))) == ["damaged_pixels"]
    assert codes(series(whole, instance_uids=("1.1",) * 4)) == ["shared_uids"]
    nowhere = tuple(Slice((), (), None, ()) for _ in whole)
    assert codes(series(whole, slices=nowhere, positions_mm=())) == ["no_geometry"]


def test_slices_shifted_in_their_plane_are_a_tilt() -> None:
    def sheared(shift: float) -> Series:
        slices = tuple(Slice((shift * n, 0.0, 3.0 * n), AXIAL, 10.0, ()) for n in range(6))
        return series([3.0 * n for n in range(6)], slices=slices)

    assert codes(sheared(0.0)) == []
    assert codes(sheared(0.05)) == []
    assert codes(sheared(0.5)) == ["gantry_tilt"]
    assert codes(series([0, 3, 6], header=header(GantryDetectorTilt=12))) == ["gantry_tilt"]


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_the_grid_is_measured(tmp_path: Path, name: str) -> None:
    write_series(tmp_path / "sent", slices=5, spacing=2.5, orientation=ORIENTATIONS[name], SliceThickness=2)
    (tmp_path / "scratch").mkdir()
    (one,) = take_inventory(tmp_path / "sent", tmp_path / "scratch").series
    assert not slice_faults(one)
    found = describe_geometry(one)
    assert (found.slices, found.rows, found.columns, found.in_plane_mm) == (5, 16, 20, (0.9, 0.9))
    assert (found.spacing_mm, found.thickness_mm, found.gap_mm, found.extent_mm) == (2.5, 2, 0.5, 12)
    assert found.plane == ("axial" if name == "oblique" else name)
    assert found.tilt_degrees == (pytest.approx(36.87) if name == "oblique" else 0)


def test_the_grid_of_an_enhanced_object_is_measured(tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    (tmp_path / "scratch").mkdir()
    write_enhanced(tmp_path / "sent" / "1", slices=7, spacing=1.5)
    (one,) = take_inventory(tmp_path / "sent", tmp_path / "scratch").series
    found = describe_geometry(one)
    assert (found.slices, found.spacing_mm, found.thickness_mm, found.gap_mm) == (7, 1.5, 1.5, 0)
    assert (found.extent_mm, found.in_plane_mm) == (10.5, (0.9, 0.9))


def siemens(text: bytes, **tags: object) -> Dataset:
    dataset = header(Manufacturer="SIEMENS", **tags)
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x20, "OB", text)
    return dataset


PROTOCOL = b"sSliceArray.lSize = \t%d\nsKSpace.lImagesPerSlab\t = \t%d\n"


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (header(), None),
        (header(ImagesInAcquisition=30), Expected(30, "ImagesInAcquisition")),
        (header(ImagesInAcquisition=0), None),
        (header(NumberOfSlices=31), Expected(31, "NumberOfSlices")),
        (siemens(PROTOCOL % (35, 32)), Expected(35, "Siemens protocol")),
        (siemens(PROTOCOL % (1, 176), MRAcquisitionType="3D"), Expected(176, "Siemens protocol")),
        (siemens(PROTOCOL % (2, 40), MRAcquisitionType="3D"), Expected(80, "Siemens protocol")),
        (siemens(b"nothing"), None),
    ],
)
def test_expected_count(dataset: Dataset, expected: Expected | None) -> None:
    assert expected_slices(dataset) == expected


@pytest.mark.parametrize(
    ("creator", "group", "element", "what"),
    [
        ("Philips Imaging DD 001", 0x2001, 0x18, "Philips number of slices"),
        ("GEMS_RELA_01", 0x0021, 0x4F, "GE locations in acquisition"),
    ],
)
def test_expected_count_of_a_vendor(creator: str, group: int, element: int, what: str) -> None:
    dataset = header()
    dataset.private_block(group, creator, create=True).add_new(element, "SL", 44)
    assert expected_slices(dataset) == Expected(44, what)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_places_are_judged(data: st.DataObject) -> None:
    numbers = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 3.0])
    slices = tuple(
        Slice(
            tuple(data.draw(st.lists(numbers, min_size=n, max_size=n))),
            data.draw(st.sampled_from([AXIAL, OBLIQUE, (), (0.0,) * 6])),
            None,
            (),
        )
        for n in data.draw(st.lists(st.sampled_from([3, 3, 3, 0]), min_size=1, max_size=8))
    )
    places = tuple(sorted(s.position[2] for s in slices if len(s.position) == 3))
    one = series([0.0], slices=slices, positions_mm=places, frames=len(slices))
    for fault in slice_faults(one):
        assert fault.text
    assert describe_geometry(one).slices == len(slices)
