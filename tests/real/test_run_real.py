"""The main job on real scans, a visit with the wrong head, and one at which nothing has changed.

Two patients with three visits each time, in the nightly tests four with six; and one head in two positions.
"""

import csv
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.evaluation.evaluate import evaluate
from tests.command import mesems
from tests.demonstration import remove_rows
from tests.nightly import amount
from tests.real.arrange import CROSS_SECTIONAL, LONGITUDINAL, arrange_decubitus, arrange_open_ms
from tests.real.stable import CASES, arrange_stable

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500), pytest.mark.long]

PATIENTS = amount(("07", "12"), (*LONGITUDINAL, *CROSS_SECTIONAL))
STABLE = next(case for case in CASES if case.name == "12v1")
"""Many lesions, and slices of 3 mm, then 4 mm: once a false new lesion."""


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture(scope="module")
def real_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Run the patients; give the BIDS, output and truth folders."""
    folder = tmp_path_factory.mktemp("real")
    bids_dir, out_dir, truth_dir = folder / "bids", folder / "out", folder / "truth"
    arrange_open_ms(real_data / "open_ms", bids_dir, truth_dir)
    # Two visits of one, made up: the first scanned again, which is no reference; and another person's scan.
    arrange_stable(real_data, folder / "stable", [STABLE], draw=lambda *_: ())
    again, other = (bids_dir / "sub-12" / session / "anat" for session in ("ses-again", "ses-3"))
    again.mkdir(parents=True)
    for path in (folder / "stable" / f"sub-{STABLE.name}" / "ses-2" / "anat").iterdir():
        path.rename(again / path.name.replace(f"sub-{STABLE.name}_ses-2", "sub-12_ses-again"))
    other.mkdir(parents=True)
    original = bids_dir / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz"
    shutil.copyfile(original, other / "sub-12_ses-3_FLAIR.nii.gz")
    table = bids_dir / "sub-12" / "sub-12_sessions.tsv"
    head, *lines = table.read_text(encoding="utf-8").splitlines()
    lines = [f"{line}\tscheduled" for line in (*lines, "ses-3\t1900-12-01T00:00:00")]
    lines.insert(1, "ses-again\t1900-01-03T00:00:00\tunscheduled")
    table.write_text("\n".join([f"{head}\tvisit_type", *lines]) + "\n", encoding="utf-8")
    for left_out in {*LONGITUDINAL, *CROSS_SECTIONAL} - {*PATIENTS}:
        shutil.rmtree(bids_dir / f"sub-{left_out}")
        shutil.rmtree(truth_dir / f"sub-{left_out}")
        remove_rows(bids_dir / "participants.tsv", f"sub-{left_out}")
        remove_rows(truth_dir / "visit_metrics.tsv", f"sub-{left_out}")
    arrange_decubitus(real_data / "dicom" / "siemens_decubitus", bids_dir)
    mesems("run", bids_dir, out_dir, "--cores", 2)
    return bids_dir, out_dir, truth_dir


@pytest.fixture(scope="module")
def visits(real_run: tuple[Path, Path, Path]) -> dict[tuple[str, str], dict[str, str]]:
    rows = read(real_run[1] / "visit_metrics.tsv")
    return {
        (row["participant_id"].removeprefix("sub-"), row["session_id"].removeprefix("ses-")): row
        for row in rows
    }


def test_all_visits_of_the_right_head_are_evaluable(visits: dict[tuple[str, str], dict[str, str]]) -> None:
    assert len(visits) == amount(7, 10)
    for (participant, session), row in visits.items():
        if (participant, session) == ("12", "3") or participant == "turned":
            continue
        assert row["t2_evaluable"] == "true"
        assert row["t2_contrast"] == "FLAIR"
        assert row["brain_evaluable"] == "true"
        assert 1_000_000 < float(row["brain_volume_mm3"]) < 2_000_000
        first = session == "1"
        assert row["t2_change_reason"] == ("no_reference_visit" if first else "")
        stripped = participant in ("07", "26")
        assert row["gel_reason"] == ("" if stripped else "no_postcontrast")
        assert ("skull_stripped_input" in row["qc_flags"]) is stripped
    if "01" in PATIENTS:
        assert "slice_thickness_change" in visits["01", "2"]["qc_flags"]
    assert "slice_thickness_change" not in visits["12", "2"]["qc_flags"]


def test_prone_and_supine_are_the_same_head(visits: dict[tuple[str, str], dict[str, str]]) -> None:
    """Only a T1w: there is nothing to count lesions on, and the reason says just that."""
    for session in ("1", "2"):
        row = visits["turned", session]
        assert row["brain_evaluable"] == "true"
        assert row["t2_reason"] == "no_t2_type"
        assert row["gel_reason"] == "no_postcontrast"
    first, second = (float(visits["turned", session]["brain_volume_mm3"]) for session in ("1", "2"))
    assert abs(second / first - 1) < 0.05


def test_wrong_head_is_not_evaluable(visits: dict[tuple[str, str], dict[str, str]]) -> None:
    row = visits["12", "3"]
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        assert row[f"{part}_evaluable"] == "false"
        assert row[f"{part}_reason"] == "wrong_head"
    assert row["t2_lesion_count"] == row["t2_new_count"] == row["brain_volume_mm3"] == ""


def test_unchanged_head_has_no_new_lesion_and_keeps_its_lesion_volume(
    visits: dict[tuple[str, str], dict[str, str]],
) -> None:
    """The nightly tests find lesions that are put into its twin, and the benchmarks have more such pairs."""
    row = visits["12", "again"]
    assert row["t2_reference_session_id"] == visits["12", "2"]["t2_reference_session_id"] == "ses-1"
    assert (row["t2_new_count"], row["t2_enlarging_count"]) == ("0", "0")
    before, after = (float(visits["12", session]["t2_lesion_volume_mm3"]) for session in ("1", "again"))
    assert before > 1000
    assert abs(after / before - 1) <= 0.12


def test_brain_volume_is_stable_between_visits(visits: dict[tuple[str, str], dict[str, str]]) -> None:
    for participant in (p for p in LONGITUDINAL if p in PATIENTS):
        first, second = (float(visits[participant, session]["brain_volume_mm3"]) for session in ("1", "2"))
        assert abs(second / first - 1) < 0.04


def test_masks_lie_on_the_images_that_were_sent(real_run: tuple[Path, Path, Path]) -> None:
    bids_dir, out_dir, _ = real_run
    masks = sorted(out_dir.glob("sub-*/ses-*/anat/*space-orig*_mask.nii.gz"))
    cross_sectional = len({*CROSS_SECTIONAL} & {*PATIENTS})
    longitudinal = len({*LONGITUDINAL} & {*PATIENTS})
    # T2 of every visit of the right head, new and enlarging of later ones, enhancing where there is contrast
    assert len(masks) == (2 + 2) * longitudinal + 3 + 2 * cross_sectional
    for path in masks:
        participant, session = path.parts[-4], path.parts[-3]
        contrast = "ce-gadolinium_T1w" if "ce-gadolinium" in path.name else "FLAIR"
        raw = bids_dir / participant / session / "anat" / f"{participant}_{session}_{contrast}.nii.gz"
        mask: Any = nib.load(path)  # type: ignore[attr-defined]
        source: Any = nib.load(raw)  # type: ignore[attr-defined]
        assert mask.shape == source.shape
        np.testing.assert_array_equal(mask.affine, source.affine)


def test_detectors_are_no_worse_than_recorded(real_run: tuple[Path, Path, Path]) -> None:
    """Guard against breakage, not a claim: the figures and what they mean are in docs/validation.md."""
    evaluation = evaluate(real_run[1], real_run[2])
    assert evaluation.meets({"t2_lesions": 0.4, "t2_change": 0.2}), evaluation.table()


def test_no_more_false_enhancing_lesions_than_recorded(visits: dict[tuple[str, str], dict[str, str]]) -> None:
    """No enhancing lesion is known in either; at most one is found in each, see docs/validation.md."""
    given = [p for p in CROSS_SECTIONAL if p in PATIENTS]
    assert given
    assert all(int(visits[participant, "1"]["gel_count"]) <= 1 for participant in given)
