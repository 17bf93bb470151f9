"""Lesion masks that somebody gives are counted and tracked as those of the detectors are."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.command import mesems, read_rows
from tests.demonstration import Demonstration

COUNTS = ("t2_lesion_count", "t2_new_count", "t2_enlarging_count", "gel_count", "cua_count")
T2_MASK = "anat/*_space-orig_label-L_desc-T2_mask.nii.gz"
WHO = "sub-03"
UNTOUCHED = ("standardise.json", "register.json")


def edit(masks: Path, session: str, change: Callable[[nib.Nifti1Image], nib.Nifti1Image | None]) -> None:
    (path,) = (masks / session).glob(T2_MASK)
    changed = change(nib.Nifti1Image.from_bytes(nib.load(path).to_bytes()))
    path.unlink()
    if changed is not None:
        nib.save(changed, path)


def moved(image: nib.Nifti1Image) -> nib.Nifti1Image:
    affine = image.affine.copy()
    affine[0, 3] += 7.0
    return nib.Nifti1Image(np.asarray(image.dataobj), affine)


def emptied(image: nib.Nifti1Image) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine)


def as_sent(mask: Path, bids_dir: Path) -> None:
    """Turn a mask of the truth to the axes of the image that came out of DICOM; nothing moves in space."""
    anat = Path(*mask.parts[-4:-1])
    stem = mask.name.split("_space-orig_")[0]
    contrasts = ("T1w",) if "ce-gadolinium" in mask.name else ("FLAIR", "T2w")
    names = (bids_dir / anat / f"{stem}_{contrast}.nii.gz" for contrast in contrasts)
    sent = nib.load(next(name for name in names if name.is_file()))
    image = nib.Nifti1Image.from_bytes(nib.load(mask).to_bytes())
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.io_orientation(sent.affine)
    )
    turned = image.as_reoriented(turn)
    assert np.allclose(turned.affine, sent.affine, atol=1e-2)
    mask.unlink()
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), sent.affine), mask)


def table(folder: Path, participant: str) -> dict[str, dict[str, str]]:
    rows = read_rows(folder / "visit_metrics.tsv")
    return {r["session_id"]: r for r in rows if r["participant_id"] == participant}


def counted(folder: Path, participant: str) -> dict[str, dict[str, str]]:
    """Return what the visit records say, as texts: the table of the study is of all participants."""
    rows = {}
    for path in sorted(folder.glob(f"{participant}/ses-*/*_metrics.json")):
        row = json.loads(path.read_text(encoding="utf-8"))["visit_metrics"]
        rows[row["session_id"]] = {key: "" if value is None else str(value) for key, value in row.items()}
    return rows


def evaluable(folder: Path, participant: str) -> list[str]:
    return [s for s, row in counted(folder, participant).items() if row["t2_evaluable"] == "True"]


@dataclass(frozen=True)
class Given:
    """A run with given masks: where it is, of whom, and when the steps before the lesions were written."""

    masks: Path
    out_dir: Path
    participant: str
    written: dict[Path, float]
    again: Callable[[], object]


@pytest.fixture(scope="module")
def given(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Count the masks of the truth in a copy of the run."""
    folder = tmp_path_factory.mktemp("own")
    masks, out_dir = folder / "masks", folder / "out"
    shutil.copytree(demo.truth_dir / WHO, masks / WHO)
    for path in masks.rglob("*_space-orig_label-L_*_mask.nii.gz"):
        as_sent(path, demo.bids_dir)
    demo.copied(out_dir)
    paths = [path for name in UNTOUCHED for path in out_dir.glob(f".mesems/{WHO}/*/{name}")]
    written = {path: path.stat().st_mtime for path in paths}

    def run() -> object:
        options = ("--participant-label", WHO, "--cores", 2, "--lesion-masks", masks)
        return mesems("run", demo.bids_dir, out_dir, *options, cwd=folder)

    run()
    return Given(masks / WHO, out_dir, WHO, written, run)


def test_counts_of_given_masks_are_those_of_the_truth(given: Given, demo: Demonstration) -> None:
    truth = table(demo.truth_dir, given.participant)
    compared = 0
    for session, row in counted(given.out_dir, given.participant).items():
        for column in COUNTS:
            if row[column] and truth[session][column]:
                assert row[column] == truth[session][column], f"{session} {column}"
                compared += 1
    assert compared > 5
    ledger = read_rows(given.out_dir / given.participant / f"{given.participant}_lesions.tsv")
    assert {row["score"] for row in ledger} == {""}


def test_only_the_steps_from_the_lesions_on_are_run(given: Given) -> None:
    assert given.written
    assert all(path.stat().st_mtime == time for path, time in given.written.items())


def test_missing_misplaced_and_empty_masks(given: Given) -> None:
    empty, astray, absent = evaluable(given.out_dir, given.participant)[:3]
    edit(given.masks, empty, emptied)
    edit(given.masks, astray, moved)
    edit(given.masks, absent, lambda _: None)
    given.again()
    rows = counted(given.out_dir, given.participant)
    assert rows[empty]["t2_lesion_count"] == "0"
    assert rows[astray]["t2_reason"] == "unreadable_file"
    assert rows[absent]["t2_reason"] == rows[absent]["t2_change_reason"] == "missing_scan"
    for session in (astray, absent):
        assert rows[session]["t2_lesion_count"] == rows[session]["t2_new_count"] == ""
        visit = given.out_dir / given.participant / session
        assert not list(visit.glob(T2_MASK))
    record = next((given.out_dir / given.participant / astray).glob("*_metrics.json")).read_text("utf-8")
    assert "desc-T2_mask.nii.gz is not on the grid of its image: it lies 7.0 mm away" in record


def test_folder_without_masks_is_wrong_usage(demo: Demonstration, tmp_path: Path) -> None:
    said = mesems("run", demo.simulated, tmp_path / "out", "--lesion-masks", tmp_path, code=2).stderr
    assert "desc-T2_mask.nii.gz" in said
    assert not (tmp_path / "out").exists()
