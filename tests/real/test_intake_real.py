"""Every real series through the intake: the table of docs/intake-real.md holds, and the images are right."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from benchmarks.intake_real import cases, intake_case
from mesems_mri.dataset.queries import read_queries
from mesems_mri.images.brain import BrainExtraction, extract_brain
from mesems_mri.images.nifti import read_image
from mesems_mri.images.registration import register_rigid
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.same_head import compare_heads
from mesems_mri.images.volume import Volume
from mesems_mri.intake.dicom.tags import text
from mesems_mri.intake.summary import summary_lines
from mesems_mri.models.atlas import load_atlas
from tests.identifier_search import Planted, search

pytestmark = pytest.mark.real

SHORT = ("short_coverage",)
CUT = ("interrupted",)
EXPECTED = {
    "ge_mprage/05_3D_Ax_T1_MP_RAGE_R22": ("T1w", ()),
    "mini/failing/slicecount/001": ("FLAIR", ("too_few_slices",)),
    "mini/failing/sliceincrement/002": ("other", ("missing_slices", "gantry_tilt", "nothing_usable")),
    "mini/failing/sliceorientation/001": ("T2w", ("mixed_orientation",)),
    "mini/ge/anatomical/001": ("T1w", SHORT),
    "mini/ge/anatomical/001_implicit": ("T1w", SHORT),
    "mini/ge/anatomical/001_single_slice": ("T1w", ("too_few_slices",)),
    "mini/generic/anatomical/001": ("FLAIR", SHORT),
    "mini/generic/anatomical/001_implicit": ("FLAIR", SHORT),
    "mini/generic/anatomical/002_non_isotropic": ("derived", ("nothing_usable",)),
    "mini/generic/compressed/001": ("FLAIR", SHORT),
    "mini/generic/compressed_j2k/001": ("FLAIR", SHORT),
    "mini/generic/compressed_jpeg/001": ("FLAIR", SHORT),
    "mini/generic/compressed_jpegls/001": ("FLAIR", SHORT),
    "mini/generic/compressed_rle/001": ("FLAIR", SHORT),
    "mini/hitachi/anatomical/001": ("PDw", SHORT),
    "mini/hitachi/anatomical/001_implicit": ("PDw", SHORT),
    "mini/hyperfine/anatomical/001": ("FLAIR", SHORT),
    "mini/philips/anatomical/001": ("FLAIR", SHORT),
    "mini/philips/anatomical/001_implicit": ("FLAIR", SHORT),
    "mini/philips_enhanced/anatomical/001": ("T1w", SHORT),
    "mini/philips_enhanced/anatomical/001_implicit": ("T1w", SHORT),
    "mini/siemens/anatomical/001": ("FLAIR", CUT),
    "mini/siemens/anatomical/001_implicit": ("FLAIR", CUT),
    "mini/siemens_multiframe/anatomical/001": ("other", ("nothing_usable",)),
    "siemens_decubitus/HFP/2_t1_fl2d_sag": ("T1w", ()),
    "siemens_decubitus/HFS/3_t1_fl2d_sag": ("T1w", ()),
    "siemens_xa30_enhanced/5_anat-T1w_acq-tfl": ("T1w", ()),
}
NOT_FILED = {name for name, (_, codes) in EXPECTED.items() if set(codes) - {*SHORT, *CUT}}
IDENTIFYING = (
    *("PatientID", "PatientName", "PatientBirthDate", "StudyID", "InstitutionName", "InstitutionAddress"),
    *("StationName", "DeviceSerialNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
)
_MIN_TEXT = 6


def test_the_table_lists_every_series(real_data: Path, repository: Path) -> None:
    assert [name for name, _ in cases(real_data)] == sorted(EXPECTED)
    page = (repository / "docs" / "intake-real.md").read_text()
    for name, (role, codes) in EXPECTED.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert (cells[5], cells[8]) == (role, ", ".join(codes) or "none")
        assert bool(cells[7]) == (name not in NOT_FILED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_real_series_is_taken_in(real_data: Path, tmp_path: Path, name: str) -> None:
    folder = real_data / "dicom" / name
    submission, bids = intake_case(folder, tmp_path)
    ((visit,), role) = (submission.visits, EXPECTED[name][0])
    (assigned,) = visit.classified
    assert assigned.role == role
    assert tuple(query.code.value for query in read_queries(bids)) == EXPECTED[name][1]
    images = sorted(bids.glob("sub-001/ses-w00/anat/*.nii.gz"))
    assert bool(images) == (name not in NOT_FILED)
    if images:
        _matches_ground_truth(folder, images[0])
        if not EXPECTED[name][1]:  # a run can read it
            volume, flags = read_image(images[0])
            assert not flags
            assert volume.array.std() > 0
    _names_nobody(folder, bids, "\n".join(summary_lines(submission)))


def _matches_ground_truth(folder: Path, image: Path) -> None:
    """Compare with the image that another converter made of the same files, where there is one."""
    truth = folder.with_name(f"{folder.name}_ground_truth.nii.gz")
    if not truth.is_file():
        return
    expected, found = (nib.as_closest_canonical(nib.squeeze_image(nib.load(p))) for p in (truth, image))
    assert found.shape == expected.shape
    assert np.allclose(found.affine, expected.affine, atol=0.02)
    values, wanted = found.get_fdata(), expected.get_fdata()
    # Philips writes two scales: dcm2niix takes the one that does not change from scan to scan
    factor = wanted.sum() / values.sum() if "philips_enhanced" in str(folder) else 1.0
    assert np.allclose(values * factor, wanted, rtol=1e-4, atol=1e-3)


def _names_nobody(folder: Path, bids: Path, said: str) -> None:
    first = next(path for path in sorted(folder.iterdir()) if path.suffix != ".gz")
    header = pydicom.dcmread(first, stop_before_pixels=True)
    values = {text(header, keyword) for keyword in IDENTIFYING}
    planted = [
        Planted("text", value) for value in sorted(values) if len(value) >= _MIN_TEXT and value != "UNKNOWN"
    ]
    assert search(folder, planted)
    (bids / "said.txt").write_text(said)
    # a label that these files give everybody, and that is ours in file names, tells nothing
    assert not [hit for hit in search(bids, planted) if hit.planted not in ("dicom2nifti",)]


def test_transfer_syntaxes_give_the_same_voxels(real_data: Path, tmp_path: Path) -> None:
    names = [name for name in EXPECTED if name.startswith("mini/generic/compressed")]
    voxels = set()
    for name in names:
        submission, _ = intake_case(real_data / "dicom" / name, tmp_path / name.replace("/", "-"))
        voxels |= set(submission.visits[0].voxels.values())
    assert (len(names), len(voxels)) == (5, 1)


@pytest.fixture(scope="module")
def positions(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Volume, BrainExtraction]]:
    """One head in two positions, and its brain."""
    found = []
    for name in ("HFS/3_t1_fl2d_sag", "HFP/2_t1_fl2d_sag"):
        folder = real_data / "dicom" / "siemens_decubitus" / name
        _, bids = intake_case(folder, tmp_path_factory.mktemp("position"))
        volume, _ = read_image(next(bids.glob("sub-001/ses-w00/anat/*.nii.gz")))
        found.append((volume, extract_brain(volume)))
    return found


def test_two_positions_of_one_head_register(positions: list[tuple[Volume, BrainExtraction]]) -> None:
    (fixed, one), (moving, other) = positions
    found = register_rigid(fixed, moving, fixed_mask=one.mask, moving_mask=other.mask)
    heads = compare_heads(fixed, moving, found.matrix, one.mask, other.mask, same_contrast=True)
    assert found.ok
    assert heads.same_head


def test_the_face_of_a_real_head_goes_and_its_brain_stays(
    real_data: Path, tmp_path: Path, positions: list[tuple[Volume, BrainExtraction]]
) -> None:
    before, found = positions[0]
    folder = real_data / "dicom" / "siemens_decubitus" / "HFS" / "3_t1_fl2d_sag"
    _, bids = intake_case(folder, tmp_path, deface=True)
    after, _ = read_image(next(bids.glob("sub-001/ses-w00/anat/*.nii.gz")))
    changed = before.array != after.array
    assert not np.any(changed & found.mask)
    atlas = load_atlas()
    eyes = resample_image(Volume(atlas.probability["eyes"], atlas.affine), before.grid, found.to_mni) > 0.5
    assert np.all(after.array[eyes] == 0)
    assert 0.1 < changed.mean() < 0.5
    # what a run makes of it stays the same
    again = extract_brain(after)
    assert 2 * np.sum(again.mask & found.mask) / (again.mask.sum() + found.mask.sum()) > 0.98
    (receipt,) = (bids / "receipts").glob("*.html")
    assert "The face was removed from 1 images" in receipt.read_text()


def test_a_delivery_of_everything_drops_no_series(real_data: Path, tmp_path: Path) -> None:
    """All of it in one folder: several people, copies of instances, files that are no DICOM."""
    shutil.copytree(real_data / "dicom", tmp_path / "sent" / "all")
    submission, bids = intake_case(tmp_path / "sent", tmp_path / "work")
    told = [one for visit in submission.visits for one in visit.classified]
    assert len(told) == len(submission.inventory.series) >= len(EXPECTED)
    assert all(one.reason for one in told)
    listed = (bids / "series.tsv").read_text().splitlines()
    assert len(listed) == 1 + len(told)
    assert sum(len(one.series.files) for one in told) == submission.inventory.files - sum(
        submission.inventory.unused_files.counts.values()
    )
