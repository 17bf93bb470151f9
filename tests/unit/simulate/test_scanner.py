"""Signal, sampling and noise of the simulated scanners."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.simulate import scanner
from mesems_mri.simulate.scanner import TISSUES, Sequence, Tissue

SITES = scanner.make_sites(4, np.random.default_rng(0))


def test_inversion_nulls_a_tissue_at_its_time() -> None:
    water = Tissue((1000, 1000), (100, 100), 1.0)
    assert Sequence(1e6, 10, 1000 * np.log(2)).signal(water, 1.5) == pytest.approx(0, abs=1e-9)
    assert Sequence(1e6, 100).signal(water, 1.5) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site_id)
def test_contrasts_are_those_of_the_sequences(site: scanner.Site) -> None:
    def signal(contrast: str, tissue: str, dose: float = 0.0) -> float:
        return site.sequences[contrast].signal(TISSUES[tissue], site.field_t, dose)

    assert signal("T1w", "white_matter") > signal("T1w", "grey_matter") > signal("T1w", "csf")
    assert signal("T2w", "csf") > signal("T2w", "grey_matter") > signal("T2w", "white_matter")
    assert signal("FLAIR", "grey_matter") > signal("FLAIR", "white_matter") > 3 * signal("FLAIR", "csf")
    for vessel in ("blood", "choroid_plexus", "pituitary"):
        assert signal("T1w", vessel, 1.0) > 1.3 * signal("T1w", vessel)
    assert signal("T1w", "white_matter", 1.0) < 1.1 * signal("T1w", "white_matter")


def test_noise_is_rician_and_independent() -> None:
    site, shape = SITES[0], (40, 40, 40)
    affine = scanner.make_grid_affine(site, shape, (2.0, 2.0, 2.0))
    rng = np.random.default_rng(1)
    air = [
        scanner.acquire(np.zeros(shape), affine, site, sigma=0.1, gain=1000, rng=rng).astype(float)
        for _ in range(2)
    ]
    assert air[0].mean() == pytest.approx(100 * np.sqrt(np.pi / 2), rel=0.01)
    assert abs(np.corrcoef(air[0].ravel(), air[1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.site_id)
def test_grid_is_centred_oblique_and_of_the_spacing(site: scanner.Site) -> None:
    affine = scanner.make_grid_affine(site, (10, 20, 30), (1.0, 2.0, 3.0))
    assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx([1, 2, 3])
    assert affine @ [4.5, 9.5, 14.5, 1] == pytest.approx([0, 0, 0, 1])
    assert (affine[:3, :3] != 0).sum() > 3


def test_a_scan_sampled_on_the_head_grid_is_the_head() -> None:
    head = np.random.default_rng(0).random((12, 13, 14)).astype(np.float32)
    affine = np.diag([2.0, 2, 2, 1])
    coefficients = scanner.spline_coefficients(head)
    assert scanner.sample_head(coefficients, affine, head.shape, affine) == pytest.approx(head, abs=1e-4)
    shifted = affine @ scanner.rigid(np.zeros(3), np.array([1.0, 0, 0]))
    sampled = scanner.sample_head(coefficients, affine, head.shape, shifted)
    assert sampled[3:-3] == pytest.approx(head[4:-2], abs=1e-3)


def test_scan_file_is_repeatable_and_keeps_its_affine(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = scanner.make_grid_affine(SITES[1], (2, 3, 4), (2.0, 2.0, 4.0))
    scanner.write_scan(tmp_path / "a.nii.gz", array, affine)
    scanner.write_scan(tmp_path / "b.nii.gz", array, affine)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    image = nib.load(tmp_path / "a.nii.gz")
    assert isinstance(image, nib.Nifti1Image)
    assert np.array_equal(np.asanyarray(image.dataobj), array)
    assert image.affine == pytest.approx(affine, abs=1e-5)
    assert image.get_qform() == pytest.approx(image.get_sform(), abs=1e-4)
