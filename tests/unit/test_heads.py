"""The tables of the benchmark of heads: what is refused is counted, and what is missed is named."""

from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from benchmarks import heads
from benchmarks.heads import Found, Scan, look_at, print_objects, scrambled, summary_row
from mesems_mri.errors import InputError, Reason
from mesems_mri.images.volume import Volume


def found(patient: str, inside: int | None, *, refused: str = "") -> Found:
    if refused:
        return Found("set", patient, "FLAIR", refused, 4.0)
    return Found(
        "set",
        patient,
        "FLAIR",
        "",
        2.0,
        stripped=False,
        agreement=0.8,
        brain_ml=1400.0 + (inside or 0),
        covered=0.99,
        lesion_voxels=None if inside is None else 100,
        inside=inside,
    )


def test_a_refused_scan_stays_in_the_table() -> None:
    row = summary_row("set", [found("1", 100), found("2", 90), found("3", None, refused="no brain")])
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["set", "3", "1 of 3 (6%-79%)"]
    assert cells[3] == "1495 (1490-1500)"
    assert cells[5].startswith("95.00% (")
    assert cells[6:] == ["90.0%", "2.0"]


def test_a_set_of_which_all_is_refused_has_no_other_figure() -> None:
    row = summary_row("set", [found("1", None, refused="no brain")])
    assert row == "| set | 1 | 1 of 1 (21%-100%) |  |  |  |  | 4.0 |"


def test_lesion_voxels_outside_the_mask_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, lesions = np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), np.float32)
    lesions[3:5] = 1
    image[0, 0, 0] = 2
    for name, array in (("FLAIR", image), ("lesion", lesions)):
        nib.save(nib.Nifti1Image(array, np.diag([3.0, 3.0, 3.0, 1.0])), tmp_path / f"{name}.nii.gz")
    mask = np.zeros((8, 8, 8), bool)
    mask[4:] = True
    brain = SimpleNamespace(mask=mask, skull_stripped=False, agreement=0.9, covered_fraction=1.0)
    monkeypatch.setattr(heads, "extract_brain", lambda _: brain)
    scan = Scan("set", "1", "FLAIR", tmp_path / "FLAIR.nii.gz", tmp_path / "lesion.nii.gz")
    seen = look_at(scan)
    assert (seen.lesion_voxels, seen.inside, seen.brain_ml) == (128, 64, pytest.approx(6.912))

    def refuse(_: Volume) -> None:
        msg = "no brain recognised"
        raise InputError(msg, Reason.NOT_A_BRAIN)

    monkeypatch.setattr(heads, "extract_brain", refuse)
    assert look_at(scan).refused == "no brain recognised"


def test_scrambled_phases_keep_the_spectrum_and_not_the_head() -> None:
    image = np.zeros((24, 20, 18), np.float32)
    image[6:18, 5:15, 4:14] = 1.0
    other = scrambled(image)
    spectra = [np.abs(np.fft.rfftn(array))[1:, 1:, 1:-1] for array in (image, other)]
    np.testing.assert_allclose(spectra[0], spectra[1], atol=1e-3 * spectra[0].max())
    assert abs(np.corrcoef(image.ravel(), other.ravel())[0, 1]) < 0.3


def test_an_object_that_is_taken_for_a_head_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def extract(volume: Volume) -> SimpleNamespace:
        if volume.array.max() > 1:
            return SimpleNamespace(agreement=0.71)
        msg = "none"
        raise InputError(msg, Reason.NOT_A_BRAIN)

    monkeypatch.setattr(heads, "extract_brain", extract)
    objects = [
        ("knee", name, Volume(np.full((2, 2, 2), value, np.float32), np.eye(4)))
        for name, value in (("a", 1), ("b", 2))
    ]
    assert print_objects(iter(objects)) == {"knee": (1, 2)}
    assert "| knee | 1 of 2 (9%-91%) | b (0.71) |" in capsys.readouterr().out
