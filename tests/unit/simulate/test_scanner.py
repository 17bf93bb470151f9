"""Signal, slices, sampling and noise of the simulated scanners."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.simulate import scanner
from mesems_mri.simulate.scanner import ScanGrid
from mesems_mri.simulate.sites import Site, SliceGeometry, make_sites
from mesems_mri.simulate.tissue import TISSUES, ContrastAgent, PulseSequence, TissueProperties

SITES = make_sites(4, np.random.default_rng(0))
STANDARD = ContrastAgent(1.0, 10.0)


def test_inversion_nulls_a_tissue_at_its_time() -> None:
    water = TissueProperties((1000, 1000), (100, 100), 1.0)
    assert PulseSequence(1e6, 10, 1000 * np.log(2)).signal(water, 1.5) == pytest.approx(0, abs=1e-9)
    assert PulseSequence(1e6, 100).signal(water, 1.5) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site_id)
def test_contrasts_are_those_of_the_sequences(site: Site) -> None:
    def signal(contrast: str, tissue: str, agent: ContrastAgent | None = None) -> float:
        return site.sequence(contrast).signal(TISSUES[tissue], site.field_t, agent)

    assert signal("T1w", "white_matter") > signal("T1w", "grey_matter") > signal("T1w", "csf")
    assert signal("T2w", "csf") > signal("T2w", "grey_matter") > signal("T2w", "white_matter")
    assert signal("FLAIR", "grey_matter") > signal("FLAIR", "white_matter") > 3 * signal("FLAIR", "csf")
    assert signal("PDw", "grey_matter") > signal("PDw", "white_matter")
    for vessel in ("blood", "choroid_plexus", "pituitary"):
        assert signal("T1w", vessel, STANDARD) > 1.3 * signal("T1w", vessel)
    assert signal("ce-gadolinium_T1w", "white_matter", STANDARD) < 1.1 * signal("T1w", "white_matter")


def test_lesions_fill_while_plasma_clears() -> None:
    lesion, blood = TissueProperties((900, 1100), (140, 130), 0.84, 0.3, leaky=True), TISSUES["blood"]
    early, late = ContrastAgent(1.0, 5.0), ContrastAgent(1.0, 20.0)
    assert early.concentration(lesion) < 0.3 < late.concentration(lesion)
    assert early.concentration(blood) > blood.gadolinium_mmol_l > late.concentration(blood)
    assert STANDARD.concentration(lesion) == pytest.approx(0.3)
    assert ContrastAgent(0.5, 10.0).concentration(lesion) == pytest.approx(0.15)


def test_sites_differ_in_geometry_plane_dose_and_delay() -> None:
    full = [site.geometry_of("FLAIR", quick=False) for site in SITES]
    assert [geometry.slice_mm for geometry in full] == [1.0, 3.0, 4.0, 1.0]
    assert [geometry.profile > 1 for geometry in full] == [False, True, True, False]
    assert [geometry.plane for geometry in full] == ["sagittal", "axial", "axial", "coronal"]
    assert all(geometry.pixel_mm <= 1 for geometry in full)
    assert len({geometry.shape for geometry in full}) == len(full)
    quick = [site.geometry_of("FLAIR", quick=True) for site in SITES]
    assert all(np.prod(q.shape) < np.prod(f.shape) for q, f in zip(quick, full, strict=True))
    for values in ("contrast", "snr", "bias", "tilt_deg"):
        assert len({getattr(site, values) for site in SITES}) == len(SITES)
    assert SITES[0].geometry_of("T2w", quick=False) != SITES[0].geometry_of("T1w", quick=False)


def test_further_sites_leave_the_first_as_they_are() -> None:
    assert make_sites(7, np.random.default_rng(0))[:4] == SITES


def test_noise_is_rician_and_independent() -> None:
    site, shape = SITES[0], (40, 40, 40)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -39
    rng = np.random.default_rng(1)
    air = [
        scanner.acquire(np.zeros(shape), affine, site, sigma=0.1, gain=1000, rng=rng).astype(float)
        for _ in range(2)
    ]
    assert air[0].mean() == pytest.approx(100 * np.sqrt(np.pi / 2), rel=0.01)
    assert abs(np.corrcoef(air[0].ravel(), air[1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site_id)
def test_grid_is_centred_oblique_and_of_the_spacing(site: Site, plane: str) -> None:
    geometry = SliceGeometry(plane, 1.0, 4.0, (40.0, 24.0, 16.0))  # type: ignore[arg-type]
    affine = scanner.make_grid_affine(site, geometry)
    assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx([1, 1, 4])
    assert affine @ [*((np.array(geometry.shape) - 1) / 2), 1] == pytest.approx([0, 0, 0, 1])
    through = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    assert np.abs(affine[:3, 2]).argmax() == through
    assert geometry.shape[2] == (40, 24, 16)[through] / 4
    assert np.count_nonzero(np.abs(affine[:3, :3]) > 1e-3) > 3


def test_slices_average_over_their_profile() -> None:
    grid = ScanGrid((2, 2, 5), np.diag([1.0, 1, 3, 1]), np.diag([1.0, 1, 3, 1]))
    planes = grid.split_slices(3)
    z_mm = np.arange(planes.shape[2]) * planes.affine[2, 2] + planes.affine[2, 3]
    assert planes.affine[2, 2] == 1
    assert (z_mm[0], z_mm[-1]) == (-3, 15)
    # Something that rises evenly has in every slice its value at the middle of the slice.
    rising = np.broadcast_to(z_mm.astype(np.float32), planes.shape)
    slices = scanner.excite_slices(rising, 3)
    assert slices.shape == grid.shape
    assert slices[0, 0] == pytest.approx([0, 3, 6, 9, 12], abs=1e-5)
    # Half of what is seen of a plane in the middle of a slice is gone after half a slice.
    seen = [
        scanner.excite_slices(np.where(z_mm == at, 1, 0) + np.zeros((2, 2, 1), np.float32), 2)[0, 0].max()
        for planes in [grid.split_slices(2)]
        for z_mm in [np.arange(planes.shape[2]) * 1.5 - 3]
        for at in (6.0, 7.5)
    ]
    assert seen[1] == pytest.approx(seen[0] / 2, rel=1e-3)
    assert grid.split_slices(1) is grid
    assert scanner.excite_slices(slices, 1) is slices


def test_cropped_grid_keeps_its_place() -> None:
    affine = scanner.make_grid_affine(SITES[2], SliceGeometry("axial", 1.0, 4.0))
    grid = ScanGrid((10, 12, 8), affine, affine)
    part = grid.cropped(2, 5, 8)
    assert part.shape == (10, 12, 3)
    assert part.affine @ [1, 2, 0, 1] == pytest.approx(affine @ [1, 2, 5, 1])
    assert part.to_head @ [1, 2, 2, 1] == pytest.approx(affine @ [1, 2, 7, 1])


def test_a_scan_sampled_on_the_head_grid_is_the_head() -> None:
    head = np.random.default_rng(0).random((12, 13, 14)).astype(np.float32)
    affine = np.diag([2.0, 2, 2, 1])
    coefficients = scanner.spline_coefficients(head)
    assert scanner.sample_head(coefficients, affine, head.shape, affine) == pytest.approx(head, abs=1e-4)
    shifted = affine @ scanner.rigid(np.zeros(3), np.array([1.0, 0, 0]))
    sampled = scanner.sample_head(coefficients, affine, head.shape, shifted)
    assert sampled[3:-3] == pytest.approx(head[4:-2], abs=1e-3)


def test_scan_file_is_repeatable_and_keeps_its_affine(tmp_path: Path) -> None:
    array = np.arange(16, dtype=np.int16).reshape(2, 2, 4)
    affine = scanner.make_grid_affine(SITES[1], SliceGeometry("axial", 2.0, 4.0, (4.0, 4.0, 16.0)))
    scanner.write_scan(tmp_path / "a.nii.gz", array, affine)
    scanner.write_scan(tmp_path / "b.nii.gz", array, affine)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    image = nib.load(tmp_path / "a.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    assert np.array_equal(np.asanyarray(image.dataobj), array)
    assert image.affine == pytest.approx(affine, abs=1e-4)
    assert image.get_qform() == pytest.approx(image.get_sform(), abs=1e-5)


def test_forms_agree_where_a_quaternion_is_least_exact(tmp_path: Path) -> None:
    """Turned by nearly 180 degrees, as slices with both rows and columns reversed are."""
    array = np.zeros((100, 100, 40), np.int16)
    affine = scanner.rigid(np.array([-0.02, 0.01, 179.995]), np.array([90.0, 120, -70]))
    affine = affine @ np.diag([2.0, 2, 4, 1])
    scanner.write_scan(tmp_path / "a.nii.gz", array, affine)
    image = nib.load(tmp_path / "a.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    apart_mm = (image.get_qform() - image.get_sform()) @ [99, 99, 39, 1]
    assert np.abs(apart_mm).max() < 0.01
    assert np.abs((image.affine - affine) @ [99, 99, 39, 1]).max() < 0.3
