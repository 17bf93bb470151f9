"""The whole chain on the demonstration: what comes out, that it is right, and what a further run does."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from mesems_mri.dataset.bids import BIDSIGNORE
from mesems_mri.dataset.columns import (
    LEDGER_COLUMNS,
    PARTICIPANT_ENDPOINTS_COLUMNS,
    VISIT_METRICS_COLUMNS,
)
from mesems_mri.evaluation.evaluate import evaluate
from mesems_mri.evaluation.scores import Evaluation
from mesems_mri.images import nifti
from tests.command import hash_visits, mesems
from tests.demonstration import HELD, Demonstration

MIN_F1 = {"t2_change": 0.7, "gel": 0.7, "t2_lesions": 0.6}
"""What an honest detector reaches easily on the phantom, and one that is broken never."""


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture(scope="module")
def visits(demo: Demonstration) -> list[dict[str, str]]:
    return read(demo.out_dir / "visit_metrics.tsv")


def test_tables_have_the_columns_of_the_contract(demo: Demonstration) -> None:
    out_dir = demo.out_dir
    for name, columns in (
        ("visit_metrics.tsv", VISIT_METRICS_COLUMNS),
        ("participant_endpoints.tsv", PARTICIPANT_ENDPOINTS_COLUMNS),
        ("sub-01/sub-01_lesions.tsv", LEDGER_COLUMNS),
    ):
        header = (out_dir / name).read_text(encoding="utf-8").splitlines()[0]
        assert header.split("\t") == list(columns)
    assert json.loads((out_dir / "visit_metrics.json").read_text(encoding="utf-8"))


def test_every_product_of_the_contract_is_there(demo: Demonstration, visits: list[dict[str, str]]) -> None:
    for row in visits:
        stem = f"{row['participant_id']}_{row['session_id']}_"
        anat = demo.out_dir / row["participant_id"] / row["session_id"] / "anat"
        raw = demo.bids_dir / row["participant_id"] / row["session_id"] / "anat"
        whose_head = row["brain_reason"] not in ("wrong_head", "open_query")
        expected = {"space-subject_desc-brain_mask.nii.gz"} if whose_head else set()
        unreadable = "ce-gadolinium_T1w" if row["gel_reason"] == "unreadable_file" else None
        for image in raw.glob("*.nii.gz") if whose_head else ():
            if unreadable and unreadable in image.name:
                continue
            contrast = image.name.removeprefix(stem).removesuffix(".nii.gz")
            agent, suffix = ("ce-gadolinium_", "T1w") if contrast.startswith("ce-") else ("", contrast)
            expected |= {
                f"{agent}space-subject_desc-preproc_{suffix}.nii.gz",
                f"{agent}from-{suffix}_to-subject_mode-image_xfm.txt",
            }
        if row["t2_evaluable"] == "true":
            expected |= {f"space-{s}_label-L_desc-T2_mask.nii.gz" for s in ("orig", "subject")}
            expected |= {"space-subject_desc-T2_dseg.nii.gz"}
        if row["t2_change_evaluable"] == "true":
            expected |= {
                f"space-{s}_label-L_desc-{d}_mask.nii.gz"
                for s in ("orig", "subject")
                for d in ("new", "enlarging")
            }
        if row["gel_evaluable"] == "true":
            expected |= {
                f"ce-gadolinium_space-{s}_label-L_desc-enhancing_mask.nii.gz" for s in ("orig", "subject")
            }
            expected |= {"ce-gadolinium_space-subject_desc-enhancing_dseg.nii.gz"}
        asked = "true" in (row["t2_evaluable"], row["gel_evaluable"])
        expected |= {"space-subject_desc-candidates_dseg.nii.gz"} if asked else set()
        assert (anat.parent / f"{stem}candidates.tsv").is_file() == asked
        expected |= {name.replace(".nii.gz", ".json") for name in expected if name.endswith(".nii.gz")}
        expected |= {name.replace(".nii.gz", ".tsv") for name in expected if name.endswith("dseg.nii.gz")}
        assert {path.name.removeprefix(stem) for path in anat.glob("*")} == expected
        visit = anat.parent
        assert (visit / f"{stem}metrics.json").is_file()
        assert (visit / f"{stem[:-1]}.html").is_file()
        assert {p.name for p in (visit / ".viewer").iterdir()} >= {"open.txt"}
        assert (visit.parent / f"{row['participant_id']}.html").is_file()
    assert (demo.out_dir / "index.html").is_file()


def test_candidates_agree_with_their_image_and_count_nowhere(demo: Demonstration) -> None:
    tables = sorted(demo.out_dir.glob("sub-*/ses-*/*_candidates.tsv"))
    assert tables  # that some list a candidate is seen to by test_candidates
    for table in tables:
        rows = read(table)
        stem = table.name.removesuffix("candidates.tsv")
        record = json.loads(table.with_name(f"{stem}metrics.json").read_text(encoding="utf-8"))
        assert [str(row["candidate_id"]) for row in record["candidates"]] == [r["candidate_id"] for r in rows]
        assert [int(row["candidate_id"]) for row in rows] == list(range(1, len(rows) + 1))
        anat = table.parent / "anat"
        dseg, _ = nifti.read_labels(anat / f"{stem}space-subject_desc-candidates_dseg.nii.gz")
        drawn = np.bincount(dseg.ravel(), minlength=len(rows) + 1)
        assert len(drawn) == len(rows) + 1
        for row in rows:
            own = [other for other in rows if other["kind"] != row["kind"]]
            volume = float(row["volume_mm3"])
            assert drawn[int(row["candidate_id"])] <= volume
            assert own or drawn[int(row["candidate_id"])] == volume
        for kind, name in (
            ("t2", "space-subject_desc-T2_dseg"),
            ("gel", "ce-gadolinium_space-subject_desc-enhancing_dseg"),
        ):
            ids = [int(row["candidate_id"]) for row in rows if row["kind"] == kind]
            if ids:
                counted, _ = nifti.read_labels(anat / f"{stem}{name}.nii.gz")
                assert not (counted > 0)[np.isin(dseg, ids)].any()


def test_bids_validator_accepts_the_output(demo: Demonstration) -> None:
    ignored = (demo.out_dir / ".bidsignore").read_text(encoding="utf-8").splitlines()
    assert ignored == list(BIDSIGNORE)
    program = Path(sys.executable).parent / "bids-validator-deno"
    finished = subprocess.run(
        [str(program), str(demo.out_dir), "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    issues = json.loads(finished.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_first_visit_has_counts_but_no_change(visits: list[dict[str, str]]) -> None:
    for row in (row for row in visits if row["session_id"] == "ses-w00"):
        assert row["t2_change_evaluable"] == "false"
        assert row["t2_change_reason"] == "no_reference_visit"
        assert row["t2_new_count"] == row["t2_enlarging_count"] == row["cua_count"] == ""
        assert row["t2_evaluable"] == "true"
        if row["gel_evaluable"] == "true":
            assert row["gel_count"] != ""


def test_what_is_not_evaluable_is_empty_and_has_a_reason(visits: list[dict[str, str]]) -> None:
    groups = {
        "gel": ("gel_count", "gel_new_count", "gel_volume_mm3"),
        "t2_change": ("t2_new_count", "t2_enlarging_count", "t2_new_volume_mm3"),
        "cua": ("cua_count",),
        "t2": ("t2_lesion_count", "t2_lesion_volume_mm3"),
        "black_hole": ("black_hole_volume_mm3",),
        "brain": ("brain_volume_mm3",),
    }
    for row in visits:
        for part, columns in groups.items():
            evaluable = row[f"{part}_evaluable"] == "true"
            assert (row[f"{part}_reason"] == "") is evaluable
            if not evaluable:
                assert all(row[column] == "" for column in columns)


def recount(rows: list[dict[str, str]]) -> dict[str, float]:
    """Count from the ledger, independently of the package."""
    gel = [r for r in rows if r["focus"] == "gel" and r["decision"] != "rejected"]
    t2 = [
        r for r in rows if r["focus"] == "t2" and r["decision"] != "rejected" and r["t2_status"] != "resolved"
    ]
    fresh = [r for r in gel if r["gd_status"] in ("new", "re_enhancing")]
    changed = [r for r in t2 if r["t2_status"] in ("new", "enlarging")]
    joined = {r["parent_lesion_id"] for r in fresh}
    return {
        "gel_count": len(gel),
        "gel_new_count": sum(r["gd_status"] == "new" for r in gel),
        "gel_persistent_count": sum(r["gd_status"] == "persistent" for r in gel),
        "gel_re_enhancing_count": sum(r["gd_status"] == "re_enhancing" for r in gel),
        "t2_new_count": sum(r["t2_status"] == "new" for r in t2),
        "t2_enlarging_count": sum(r["t2_status"] == "enlarging" for r in t2),
        "cua_count": len(fresh) + sum(r["lesion_id"] not in joined for r in changed),
        "t2_lesion_count": len(t2),
    }


def test_every_count_comes_from_the_ledger(demo: Demonstration, visits: list[dict[str, str]]) -> None:
    for row in visits:
        participant = row["participant_id"]
        ledger = read(demo.out_dir / participant / f"{participant}_lesions.tsv")
        counts = recount([r for r in ledger if r["session_id"] == row["session_id"]])
        for column, count in counts.items():
            assert row[column] in ("", str(count)), (participant, row["session_id"], column)
        assert row["t2_evaluable"] != "true" or row["t2_lesion_count"] == str(counts["t2_lesion_count"])


def test_lesion_numbers_of_the_images_are_those_of_the_ledger(
    demo: Demonstration, visits: list[dict[str, str]]
) -> None:
    for row in visits:
        participant, session = row["participant_id"], row["session_id"]
        rows = [
            r
            for r in read(demo.out_dir / participant / f"{participant}_lesions.tsv")
            if r["session_id"] == session and r["t2_status"] != "resolved"
        ]
        stem = demo.out_dir / participant / session / "anat" / f"{participant}_{session}_"
        for focus, name in (
            ("t2", "space-subject_desc-T2_dseg.nii.gz"),
            ("gel", "ce-gadolinium_space-subject_desc-enhancing_dseg.nii.gz"),
        ):
            path = Path(f"{stem}{name}")
            if not path.is_file():
                continue
            values, voxels = np.unique(nifti.read_labels(path)[0], return_counts=True)
            volumes = {int(v): float(n) for v, n in zip(values, voxels, strict=True) if v}
            assert volumes == {
                int(r["lesion_id"]): float(r["volume_mm3"]) for r in rows if r["focus"] == focus
            }


def test_masks_in_space_orig_have_the_grid_of_the_source(demo: Demonstration) -> None:
    masks = sorted(demo.out_dir.glob("sub-*/ses-*/anat/*space-orig*_mask.nii.gz"))
    assert masks
    for path in masks:
        participant, session = path.parts[-4], path.parts[-3]
        anat = demo.bids_dir / participant / session / "anat"
        contrasts = ("ce-gadolinium_T1w",) if "ce-gadolinium" in path.name else ("FLAIR", "T2w")
        names = (anat / f"{participant}_{session}_{contrast}.nii.gz" for contrast in contrasts)
        raw = next(name for name in names if name.is_file())
        mask: Any = nib.load(path)  # type: ignore[attr-defined]
        source: Any = nib.load(raw)  # type: ignore[attr-defined]
        assert mask.shape == source.shape
        np.testing.assert_array_equal(mask.affine, source.affine)


def test_second_run_does_nothing(demo: Demonstration) -> None:
    before = hash_visits(demo.out_dir)
    finished = mesems("run", demo.bids_dir, demo.out_dir, "--dry-run", cwd=demo.out_dir)
    assert "nothing to do" in finished.stdout
    assert hash_visits(demo.out_dir) == before


@pytest.fixture(scope="module")
def further(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    """A copy that is run further."""
    return demo.copied(tmp_path_factory.mktemp("further") / "Ergebnis ä")


def test_reports_only_changes_nothing_but_pages(further: Demonstration) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = [p for p in further.out_dir.rglob("*") if p.is_file()]
        kept = [p for p in files if not {"logs", ".snakemake"} & set(p.parts)]
        return {
            p.relative_to(further.out_dir).as_posix(): (p.stat().st_mtime_ns, p.read_bytes()) for p in kept
        }

    before = state()
    options = ("run", further.bids_dir, further.out_dir, "--reports-only", "--participant-label", "01")
    finished = mesems(*options, cwd=further.out_dir)
    pages = [name for name in before if name.startswith("sub-01/ses-") and name.endswith(".html")]
    assert f"pages of {len(pages)} visits made again" in finished.stdout
    after = state()
    made = {name for name in after if after[name] != before.get(name)}
    assert {n for n in made if n.endswith(".html")} == {"index.html"} | {
        name for name in before if name.startswith("sub-01/") and name.endswith(".html")
    }
    assert all(name.endswith((".html", "_dseg.tsv", "/report.json")) or "/.viewer/" in name for name in made)
    assert {name for name in made if after[name][1] != before[name][1]} <= {"index.html"}


def test_reports_only_of_nothing_says_so(demo: Demonstration, tmp_path: Path) -> None:
    finished = mesems("run", demo.bids_dir, tmp_path / "new", "--reports-only", code=2)
    assert "none of the visits asked for is measured" in finished.stderr
    assert not (tmp_path / "new").exists()


def test_rerun_up_to_a_visit_keeps_the_later_ones(further: Demonstration) -> None:
    ledgers = [path.read_bytes() for path in sorted(further.out_dir.glob("sub-*/*_lesions.tsv"))]
    options = (
        "run",
        further.bids_dir,
        further.out_dir,
        "--participant-label",
        "01",
        "--session-label",
        "w04",
    )
    finished = mesems(*options, cwd=further.out_dir)
    assert "0 failed" in finished.stdout
    assert [path.read_bytes() for path in sorted(further.out_dir.glob("sub-*/*_lesions.tsv"))] == ledgers
    with (further.out_dir / "visit_metrics.tsv").open(encoding="utf-8") as stream:
        assert len(stream.readlines()) == 1 + 13


def scores(out_dir: Path, truth_dir: Path) -> Evaluation:
    return evaluate(out_dir, truth_dir)


def test_detectors_find_the_lesions_of_the_phantom(demo: Demonstration, tmp_path: Path) -> None:
    """But at the visit that waits for an answer, and those of which the truth says what changed since it."""

    def passed_over(folder: str, names: list[str]) -> set[str]:
        return {HELD[1], "ses-u01", "ses-w24"} & set(names) if Path(folder).name == HELD[0] else set()

    shutil.copytree(demo.truth_dir, tmp_path / "truth", ignore=passed_over)
    evaluation = scores(demo.out_dir, tmp_path / "truth")
    assert evaluation.meets(MIN_F1), evaluation.table()


@pytest.mark.parametrize("broken", ["returns nothing", "truth shifted by 6 mm"])
def test_a_broken_detector_fails(demo: Demonstration, tmp_path: Path, broken: str) -> None:
    """The assertion above would catch a detector that returns nothing, and one that is off by 6 mm."""
    out_dir = tmp_path / "out"
    shutil.copytree(demo.truth_dir, out_dir)
    for path in out_dir.glob("sub-*/ses-*/anat/*_mask.nii.gz"):
        mask, affine = nifti.read_labels(path)
        if broken == "returns nothing":
            mask[:] = 0
        else:
            spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
            mask = ndimage.shift(mask, (round(6 / spacing_mm[0]), 0, 0), order=0)
        nifti.write_labels_like(path, mask, path)
    evaluation = scores(out_dir, demo.truth_dir)
    assert not evaluation.meets(MIN_F1)
    assert not any(evaluation.meets({product: value}) for product, value in MIN_F1.items())
    assert scores(demo.truth_dir, demo.truth_dir).meets(dict.fromkeys(MIN_F1, 0.999))
