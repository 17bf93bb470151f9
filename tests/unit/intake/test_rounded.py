"""Positions that a PACS has rounded: regular volumes, where nothing but rounding makes them uneven."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.intake.conversion_cause import ConversionCause
from mesems_mri.intake.convert import ConversionError, convert_series
from mesems_mri.intake.deidentify.deidentifier import Deidentifier
from mesems_mri.intake.dicom.geometry import describe_geometry, slice_faults
from mesems_mri.intake.dicom.series import Series
from mesems_mri.intake.dicom.stack import slice_normal
from mesems_mri.intake.inventory import take_inventory
from tests.unit.intake.scans import AXIAL, FLAIR, OBLIQUE, SAGITTAL, T1, header, pixels, save

Places = Callable[[np.ndarray], np.ndarray]


def write(
    folder: Path,
    places: Sequence[float] | np.ndarray,
    decimals: int,
    orientation: tuple[float, ...] = AXIAL,
    corner: float = -94.5,
    stated: float | None = None,
) -> Series:
    """Write slices at places along their normal, with positions rounded to so many decimals."""
    normal = slice_normal(orientation)
    assert normal is not None
    for number, place in enumerate(places, start=1):
        position = np.round(
            corner * np.array(orientation[:3]) + corner * np.array(orientation[3:]) + place * normal, decimals
        )
        dataset = header(
            number=number,
            ImagePositionPatient=[f"{x:.{decimals}f}" for x in position],
            ImageOrientationPatient=list(orientation),
            SpacingBetweenSlices=stated,
            **FLAIR,
        )
        dataset.PixelData = pixels(16, 20, number)
        save(dataset, folder / "sent" / f"{number:04}")
    (folder / "scratch").mkdir()
    (found,) = take_inventory(folder / "sent", folder / "scratch", processes=1).series
    return found


def affine_of(series: Series, folder: Path) -> np.ndarray:
    place = Path(tempfile.mkdtemp(dir=folder))
    convert_series(series, Deidentifier(b"key", "sub-001", -60_000), "FLAIR", place, place / "image.nii.gz")
    return np.asarray(nib.nifti1.Nifti1Image.from_filename(place / "image.nii.gz").affine)  # pyright: ignore[reportAttributeAccessIssue]


def slice_positions(affine: np.ndarray, count: int) -> np.ndarray:
    """Return the place of the first voxel of each slice along the slice axis, in the axes of DICOM."""
    first = affine[:3, 3][:, None] + affine[:3, 2][:, None] * np.arange(count)
    return (first * np.array([[-1], [-1], [1]])).T


ROUNDED = {
    # the 3D FLAIR of a PACS with one decimal, with and without the spacing that the header states
    "3D": (-70.03 + 0.95 * np.arange(150), 1, AXIAL, 0.95),
    "3D_unstated": (-70.03 + 0.95 * np.arange(150), 1, AXIAL, None),
    "3D_sagittal": (-70.07 + 0.88 * np.arange(120), 1, SAGITTAL, 0.88),
    "3D_oblique": (-60.0 + 0.95 * np.arange(100), 1, OBLIQUE, 0.95),
    "5_and_6": (-60.0 + 5.5 * np.arange(24), 0, AXIAL, 5.5),
    "5_and_6_unstated": (-60.0 + 5.5 * np.arange(24), 0, AXIAL, None),
    "oblique_3_decimals": (-60.0 + 3.3 * np.arange(40), 3, OBLIQUE, 3.3),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_positions_make_the_image_of_least_squares(tmp_path: Path, name: str) -> None:
    places, decimals, orientation, stated = ROUNDED[name]
    series = write(tmp_path, places, decimals, orientation, stated=stated)
    assert slice_faults(series) == []
    spacing = describe_geometry(series).spacing_mm
    true = float(places[1] - places[0])
    written = np.array([one.position for one in series.slices])
    normal = slice_normal(orientation)
    assert normal is not None
    fitted = np.polyfit(np.arange(len(places)), written @ normal, 1)[0]
    assert spacing == pytest.approx(fitted, abs=1e-4)
    assert spacing == pytest.approx(true, abs=10.0**-decimals * 0.02)
    affine = affine_of(series, tmp_path)
    assert np.linalg.norm(affine[:3, 2]) == pytest.approx(fitted, abs=1e-4)
    # no slice lies farther from its written position than rounding can have moved it
    corner = np.array([written[0], written[-1]])
    ends = [affine @ np.array([i, j, k, 1.0]) for i in (0, 19) for j in (0, 15) for k in (0, len(places) - 1)]
    found = np.array(ends)[:, :3] * (-1, -1, 1)
    apart = [np.linalg.norm(found - one, axis=1).min() for one in corner]
    assert max(apart) <= max(10.0**-decimals * np.sqrt(3) * 0.65, 0.005)


def test_one_slice_off_by_a_tenth_of_a_millimetre_is_rounding(tmp_path: Path) -> None:
    places = -70.0 + np.arange(150)
    places[70] += 0.1
    series = write(tmp_path, places, 1, stated=1.0)
    assert slice_faults(series) == []
    assert affine_of(series, tmp_path)[2, 2] == pytest.approx(1.0, abs=1e-3)


def test_the_first_slice_off_does_not_stretch_the_image(tmp_path: Path) -> None:
    """dcm2niix takes the first distance for all: 1.1 mm of 150 slices would be 15 mm too long."""
    places = -70.0 + np.arange(150)
    places[0] -= 0.1
    affine = affine_of(write(tmp_path, places, 1, stated=1.0), tmp_path)
    assert affine[2, 2] == pytest.approx(1.0, abs=1e-3)


def lost(*which: int) -> Places:
    return lambda places: np.delete(places, which)


def moved(by: float, first: int, last: int | None = None) -> Places:
    def change(places: np.ndarray) -> np.ndarray:
        places = places.copy()
        places[first:last] += by
        return places

    return change


THIN = (-70.03 + 0.95 * np.arange(150), 1, 0.95)
THICK = (-60.0 + 3.0 * np.arange(44), 1, 3.0)
WHOLE = (-60.0 + 3.0 * np.arange(44), 0, 3.0)
WHOLE_UNSTATED = (-60.0 + 3.0 * np.arange(44), 0, None)
GAPPED = (-60.0 + 5.5 * np.arange(24), 0, 5.5)
FAULTS = {
    "thin_missing": (THIN, lost(40), "missing_slices", "1 of 150 slices missing"),
    "thin_two_missing": (THIN, lost(40, 41), "missing_slices", "2 of 150 slices missing"),
    "thin_shifted_slab": (THIN, moved(0.4, 75), "uneven_spacing", ""),
    "thin_slice_out_of_line": (THIN, moved(0.4, 75, 76), "uneven_spacing", ""),
    "thick_shifted_slab": (THICK, moved(0.3, 22), "uneven_spacing", ""),
    "thick_slice_out_of_line": (THICK, moved(0.4, 22, 23), "uneven_spacing", ""),
    "thick_missing": (THICK, lost(10, 30), "missing_slices", "2 of 44 slices missing"),
    "whole_shifted_slab": (WHOLE, moved(1, 22), "uneven_spacing", ""),
    "whole_slice_out_of_line": (WHOLE, moved(1, 22, 23), "uneven_spacing", ""),
    "whole_unstated_shifted_slab": (WHOLE_UNSTATED, moved(1, 22), "uneven_spacing", ""),
    "5_and_6_missing": (GAPPED, lost(9), "missing_slices", "1 of 24 slices missing"),
    "5_and_6_shifted_slab": (GAPPED, moved(2, 12), "uneven_spacing", ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_rounding_does_not_explain_is_a_fault(tmp_path: Path, name: str) -> None:
    (places, decimals, stated), change, code, told = FAULTS[name]
    series = write(tmp_path, change(places), decimals, stated=stated, corner=-96.0)
    (fault,) = slice_faults(series)
    assert fault.code == code
    assert fault.text.startswith(told)


def test_slices_that_are_sheared_are_not_made_straight(tmp_path: Path) -> None:
    for number in range(40):
        dataset = header(number=number + 1, ImagePositionPatient=[-90 + 0.05 * number, -90, 3 * number], **T1)
        dataset.PixelData = pixels(16, 20, number)
        save(dataset, tmp_path / "sent" / f"{number}")
    (tmp_path / "scratch").mkdir()
    (series,) = take_inventory(tmp_path / "sent", tmp_path / "scratch", processes=1).series
    with pytest.raises(ConversionError) as refused:
        affine_of(series, tmp_path)
    assert refused.value.cause is ConversionCause.NOT_STRAIGHT
    assert "1.0 mm" in str(refused.value)
