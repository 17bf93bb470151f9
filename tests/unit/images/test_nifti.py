"""The header policy, and files that repeat byte by byte."""

import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.errors import InputError, Reason
from mesems_mri.images import nifti
from mesems_mri.images.volume import Volume

HeaderEdit = Callable[[nib.Nifti1Image], None]


def rotation(angles_deg: tuple[float, float, float]) -> np.ndarray:
    """Return a 4x4 rotation about x, then y, then z."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(angles_deg)):
        turn = np.eye(4)
        i, j = [a for a in range(3) if a != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


OBLIQUE = rotation((12, -7, 20)) @ np.array(
    [[-0.7, 0, 0, 60], [0, 0, 4.0, -70], [0, -0.7, 0, 50], [0, 0, 0, 1]], dtype=float
)


@pytest.fixture
def scan(tmp_path: Path) -> Callable[..., Path]:
    """Write a small oblique scan, its array and header edited."""

    def write(edit: HeaderEdit | None = None, array: np.ndarray | None = None) -> Path:
        if array is None:
            array = np.random.default_rng(0).integers(1, 1000, (40, 50, 12)).astype(np.int16)
        image = nib.Nifti1Image(array, OBLIQUE)
        image.set_qform(OBLIQUE, code=1)
        image.set_sform(OBLIQUE, code=1)
        image.header.set_xyzt_units("mm")
        if edit:
            edit(image)
        path = tmp_path / "bild ü.nii.gz"
        nib.save(image, path)
        return path

    return write


def _shift_qform(image: nib.Nifti1Image) -> None:
    moved = OBLIQUE.copy()
    moved[0, 3] += 5.0
    image.set_qform(moved, code=1)


def _shear(image: nib.Nifti1Image) -> None:
    sheared = OBLIQUE @ np.array([[1, 0.05, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    image.set_sform(sheared, code=1)
    image.header["qform_code"] = 0


def test_a_clean_scan_is_read_as_it_is(scan: Callable[..., Path]) -> None:
    path = scan()
    volume, flags = nifti.read_image(path)
    assert flags == ()
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, np.asarray(nib.Nifti1Image.from_filename(path).dataobj))
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.plane_normal == (0.0, 0.0, 1.0)
    assert volume.slice_thickness_mm == pytest.approx(4.0)
    np.testing.assert_allclose(volume.world_plane_normal(), OBLIQUE[:3, 2] / 4, atol=1e-6)


def test_plane_normal_of_sagittal_and_isotropic_scans() -> None:
    voxels = np.zeros((4, 5, 6), dtype=np.float32)
    assert Volume(voxels, np.diag([4.8, 1, 1, 1])).plane_normal == (1.0, 0.0, 0.0)
    assert Volume(voxels, np.diag([1.2, 1, 1, 1])).plane_normal == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("edit", "words"),
    [(_shift_qform, "qform and sform differ by 5.0 mm"), (_shear, "sheared")],
)
def test_bad_orientation_is_refused(scan: Callable[..., Path], edit: HeaderEdit, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        nifti.read_image(scan(edit))
    assert caught.value.reason is Reason.UNREADABLE_FILE


def test_no_orientation_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_noise(), None), tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="no orientation"):
        nifti.read_image(tmp_path / "scan.nii.gz", header_repair=True)


@pytest.mark.parametrize("edit", [_shift_qform, _shear])
def test_bad_orientation_is_repaired_on_request(scan: Callable[..., Path], edit: HeaderEdit) -> None:
    volume, flags = nifti.read_image(scan(edit), header_repair=True)
    assert "header_repaired" in flags
    axes = volume.affine[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert abs(volume.affine - OBLIQUE).max() < 2.0


def test_repair_prefers_the_frame_of_the_scanner(scan: Callable[..., Path]) -> None:
    def registered_elsewhere(image: nib.Nifti1Image) -> None:
        image.set_sform(rotation((30, 0, 0)) @ OBLIQUE, code=4)

    volume, _ = nifti.read_image(scan(registered_elsewhere), header_repair=True)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)


@pytest.mark.parametrize("kept", ["qform_code", "sform_code"])
def test_one_form_is_enough(scan: Callable[..., Path], kept: str) -> None:
    def drop_other(image: nib.Nifti1Image) -> None:
        image.header["sform_code" if kept == "qform_code" else "qform_code"] = 0

    volume, flags = nifti.read_image(scan(drop_other))
    assert flags == ()
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)


@pytest.mark.parametrize(
    ("unit", "factor", "flag"), [("meter", 1e3, "converted"), ("micron", 1e-3, "converted")]
)
def test_units_are_converted(scan: Callable[..., Path], unit: str, factor: float, flag: str) -> None:
    def rescale(image: nib.Nifti1Image) -> None:
        scaled = np.diag([1 / factor] * 3 + [1.0]) @ OBLIQUE
        image.set_qform(scaled, code=1)
        image.set_sform(scaled, code=1)
        image.header.set_xyzt_units(unit)

    volume, flags = nifti.read_image(scan(rescale))
    assert flags == (f"units_{flag}",)
    np.testing.assert_allclose(volume.affine, OBLIQUE, rtol=1e-4, atol=1e-3)


def test_unknown_unit_is_taken_as_mm(scan: Callable[..., Path]) -> None:
    volume, flags = nifti.read_image(scan(lambda image: image.header.set_xyzt_units("unknown")))
    assert flags == ("units_assumed",)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-4)


def test_voxels_of_a_metre_are_refused(scan: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="field of view"):
        nifti.read_image(scan(lambda image: image.header.set_xyzt_units("meter")))


def _noise(shape: tuple[int, ...] = (40, 50, 12)) -> np.ndarray:
    return np.random.default_rng(1).normal(100, 10, shape).astype(np.float32)


def test_few_voxels_without_a_number_become_zero(scan: Callable[..., Path]) -> None:
    voxels = _noise()
    voxels[0, 0, 0], voxels[1, 1, 1] = np.nan, np.inf
    volume, flags = nifti.read_image(scan(array=voxels))
    assert flags == ("non_finite_voxels",)
    assert volume.array[0, 0, 0] == volume.array[1, 1, 1] == 0


def test_negative_values_are_kept(scan: Callable[..., Path]) -> None:
    volume, flags = nifti.read_image(scan(array=_noise() - 100))
    assert flags == ("negative_values",)
    assert volume.array.min() < 0


def test_slope_and_intercept_are_applied(scan: Callable[..., Path]) -> None:
    voxels = np.random.default_rng(2).integers(0, 4000, (40, 50, 12)).astype(np.int16)
    volume, _ = nifti.read_image(scan(lambda image: image.header.set_slope_inter(0.5, 3.0), array=voxels))
    np.testing.assert_allclose(volume.array, 0.5 * voxels + 3, atol=1e-3)


def test_a_single_fourth_axis_is_dropped(scan: Callable[..., Path]) -> None:
    volume, _ = nifti.read_image(scan(array=_noise((40, 50, 12, 1))))
    assert volume.shape == (40, 50, 12)


RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (_noise((40, 50, 12, 2)), Reason.UNREADABLE_FILE),
        (np.zeros((40, 50, 12), dtype=np.int16), Reason.ARTEFACT),
        (np.full((40, 50, 12), 7, dtype=np.int16), Reason.ARTEFACT),
        (np.where(_noise() > 100, np.nan, 1).astype(np.float32), Reason.ARTEFACT),
        (_noise((40, 50, 1)), Reason.NOT_A_BRAIN),
        (_noise((40, 50, 3)), Reason.NOT_A_BRAIN),
        (_noise().astype(np.complex64), Reason.UNREADABLE_FILE),
        (np.zeros((40, 50, 12), dtype=RGB), Reason.NOT_A_BRAIN),
    ],
    ids=["volumes", "zero", "constant", "nan", "one-slice", "thin", "complex", "rgb"],
)
def test_what_is_no_scan_is_refused(scan: Callable[..., Path], array: np.ndarray, reason: Reason) -> None:
    with pytest.raises(InputError) as caught:
        nifti.read_image(scan(array=array), header_repair=True)
    assert caught.value.reason is reason


def test_voxel_size_of_zero_is_refused(scan: Callable[..., Path], tmp_path: Path) -> None:
    plain = tmp_path / "plain.nii"
    nib.save(nib.Nifti1Image.from_filename(scan()), plain)
    content = bytearray(plain.read_bytes())
    for value in (0.0, -1.0):
        content[80:84] = np.float32(value).tobytes()
        plain.write_bytes(content)
        with pytest.raises(InputError, match="voxel size") as caught:
            nifti.read_image(plain)
        assert caught.value.reason is Reason.UNREADABLE_FILE


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept_bytes", [0, 100, 2000])
def test_damaged_files_are_unreadable(
    scan: Callable[..., Path], tmp_path: Path, suffix: str, kept_bytes: int
) -> None:
    whole = tmp_path / f"whole{suffix}"
    nib.save(nib.Nifti1Image.from_filename(scan()), whole)
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(whole.read_bytes()[:kept_bytes])
    with pytest.raises(InputError) as caught:
        nifti.read_image(damaged)
    assert caught.value.reason is Reason.UNREADABLE_FILE


def test_text_and_missing_files(tmp_path: Path) -> None:
    text = tmp_path / "text.nii.gz"
    text.write_text("no image")
    with pytest.raises(InputError) as caught:
        nifti.read_image(text)
    assert caught.value.reason is Reason.UNREADABLE_FILE
    with pytest.raises(InputError) as caught:
        nifti.read_image(tmp_path / "none.nii.gz")
    assert caught.value.reason is Reason.MISSING_SCAN


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    voxels = _noise()
    for name in ("a.nii.gz", "b.nii.gz"):
        nifti.write_image(tmp_path / name, voxels, OBLIQUE)
    first = (tmp_path / "a.nii.gz").read_bytes()
    assert first == (tmp_path / "b.nii.gz").read_bytes()
    assert first[4:8] == b"\0\0\0\0"
    assert not first[3] & 8  # no file name in the gzip header
    volume, flags = nifti.read_image(tmp_path / "a.nii.gz")
    assert flags == ()
    np.testing.assert_array_equal(volume.array, voxels)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_labels_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.zeros((20, 20, 20), dtype=np.int32)
    labels[2, 3, 4], labels[5, 6, 7] = 255, 256
    nifti.write_labels(tmp_path / "dseg.nii.gz", labels, np.eye(4))
    assert nib.Nifti1Image.from_filename(tmp_path / "dseg.nii.gz").get_data_dtype() == np.uint16
    read, affine = nifti.read_labels(tmp_path / "dseg.nii.gz")
    np.testing.assert_array_equal(read, labels)
    np.testing.assert_array_equal(affine, np.eye(4))
    nifti.write_labels(tmp_path / "mask.nii.gz", labels > 0, np.eye(4))
    assert nib.Nifti1Image.from_filename(tmp_path / "mask.nii.gz").get_data_dtype() == np.uint8
    with pytest.raises(ValueError, match="whole numbers"):
        nifti.write_labels(tmp_path / "bad.nii.gz", labels * 1000, np.eye(4))
    nifti.write_image(tmp_path / "half.nii.gz", labels * 0.5, np.eye(4))
    with pytest.raises(InputError, match="whole numbers"):
        nifti.read_labels(tmp_path / "half.nii.gz")


@pytest.mark.parametrize("edit", [None, _shift_qform, _shear])
def test_masks_take_the_header_of_their_source(
    scan: Callable[..., Path], tmp_path: Path, edit: HeaderEdit | None
) -> None:
    def name_somebody(image: nib.Nifti1Image) -> None:
        image.header["descrip"] = b"somebody"
        if edit:
            edit(image)

    source_path = scan(name_somebody)
    mask = np.zeros((40, 50, 12), dtype=bool)
    mask[39, 49, 11] = True
    nifti.write_labels_like(tmp_path / "mask.nii.gz", mask, source_path)
    source, written = (
        nib.Nifti1Image.from_filename(source_path),
        nib.Nifti1Image.from_filename(tmp_path / "mask.nii.gz"),
    )
    assert written.shape == source.shape
    for field in (
        "pixdim",
        "qform_code",
        "sform_code",
        "srow_x",
        "srow_y",
        "srow_z",
        "quatern_b",
        "xyzt_units",
    ):
        np.testing.assert_array_equal(written.header[field], source.header[field])
    assert written.header["descrip"] == b""
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    with pytest.raises(ValueError, match="shape"):
        nifti.write_labels_like(tmp_path / "mask.nii.gz", mask[1:], source_path)


def test_xfm_round_trip(tmp_path: Path) -> None:
    matrix = rotation((3, 5, -8))
    matrix[:3, 3] = (1.5, -20.25, 3)
    nifti.write_xfm(tmp_path / "x_xfm.txt", matrix)
    np.testing.assert_allclose(nifti.read_xfm(tmp_path / "x_xfm.txt"), matrix, atol=1e-12)


def test_xfm_centre_of_rotation_and_lps(tmp_path: Path) -> None:
    path = tmp_path / "centre.txt"
    # A quarter turn about z through the LPS point (10, 0, 0), which stays where it is.
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: MatrixOffsetTransformBase_double_3_3\n"
        "Parameters: 0 -1 0 1 0 0 0 0 1 0 0 0\nFixedParameters: 10 0 0\n"
    )
    np.testing.assert_allclose(nifti.read_xfm(path) @ [-10, 0, 0, 1], [-10, 0, 0, 1], atol=1e-12)
    path.write_text("Transform: X\nParameters: 1 2 3\n")
    with pytest.raises(ValueError, match="linear"):
        nifti.read_xfm(path)


def test_a_qform_near_half_a_turn_is_only_rounded(tmp_path: Path) -> None:
    """Its real part is the root of what the three others leave, which float32 hardly holds."""
    for tilt, turn in itertools.product((0.02, 0.05, 0.1, 0.3), (0.01, 0.04, 0.2)):
        a, b = np.deg2rad([tilt, turn])
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        affine = np.eye(4)
        affine[:3, :3] = about_z @ about_x @ np.diag([-1.0, -1.0, 4.0])
        affine[:3, 3] = [90, 110, -80]
        image = nib.Nifti1Image(np.arange(180 * 220 * 40, dtype=np.int16).reshape(180, 220, 40), affine)
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        path = tmp_path / "half_turn.nii.gz"
        image.to_filename(path)
        volume, flags = nifti.read_image(path)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
        assert "header_repaired" not in flags
