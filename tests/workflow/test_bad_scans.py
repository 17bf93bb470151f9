"""Bad scans in one data set: each is told in one sentence, and nobody else is stopped."""

import re
import shutil
from pathlib import Path

import pytest

from tests.bad_scans import CASES, image, noise, write
from tests.command import mesems, read_rows
from tests.demonstration import Demonstration
from tests.nightly import amount

CHOSEN = amount(("nothing", "cut", "nan", "ct", "two"), tuple(CASES))
"""One for every reason; all of them are tried on the step alone, which is quick."""
STEROID = "steroid_within_30d"


@pytest.fixture(scope="module")
def bad_scans(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all bad scans beside one good visit of the phantom trial."""
    folder = tmp_path_factory.mktemp("bad scans")
    bids_dir, out_dir = folder / "bids", folder / "out"
    for name, case in ((name, CASES[name]) for name in CHOSEN):
        anat = bids_dir / f"sub-{name}" / "ses-1" / "anat"
        anat.mkdir(parents=True)
        stem = f"sub-{name}_ses-1_"
        write(anat / f"{stem}FLAIR.nii.gz", case.content)
        if name == "two":
            for number in (1, 2):
                write(anat / f"{stem}run-{number}_FLAIR.nii.gz", lambda: image(noise()))
            write(anat / f"{stem}T2w.nii.gz", lambda: image(noise()))
    broken = bids_dir / "sub-link" / "ses-1" / "anat"
    broken.mkdir(parents=True)
    (broken / "sub-link_ses-1_FLAIR.nii.gz").symlink_to("gone")
    good = demo.simulated / "sub-01" / "ses-w00"
    shutil.copytree(good, bids_dir / "sub-01" / good.name)
    for scan in bids_dir.glob("sub-01/*/anat/*"):
        if "_FLAIR" not in scan.name:
            scan.unlink()
    table = [f"participant_id\tsite\t{STEROID}", *(f"sub-{name}\tA\tyes" for name in ("01", *CHOSEN))]
    (bids_dir / "participants.tsv").write_text("\n".join(table) + "\n", encoding="utf-8")
    finished = mesems("run", bids_dir, out_dir, "--cores", 2)
    (folder / "said.txt").write_text(finished.stdout + finished.stderr, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def rows(bad_scans: Path) -> dict[str, dict[str, str]]:
    return {row["participant_id"]: row for row in read_rows(bad_scans / "out" / "visit_metrics.tsv")}


@pytest.mark.parametrize("name", CHOSEN)
def test_bad_scan_gives_its_reason_and_no_number(
    bad_scans: Path, rows: dict[str, dict[str, str]], name: str
) -> None:
    row, case = rows[f"sub-{name}"], CASES[name]
    assert row["t2_reason"] == row["brain_reason"] == case.reason
    assert {
        row[f"{part}_evaluable"] for part in ("t2", "t2_change", "gel", "cua", "black_hole", "brain")
    } == {"false"}
    assert not [column for column, text in row.items() if text and re.search("_(count|volume_mm3)$", column)]
    assert not list((bad_scans / "out" / f"sub-{name}").rglob("*.nii.gz"))


@pytest.mark.parametrize("name", CHOSEN)
def test_bad_scan_is_told_in_one_sentence(bad_scans: Path, name: str) -> None:
    said = (bad_scans / "said.txt").read_text(encoding="utf-8")
    (line,) = [line for line in said.splitlines() if f"not evaluable: sub-{name}/ses-1" in line]
    assert all(word in line for word in CASES[name].words), line
    assert str(bad_scans) not in line
    if name != "nothing":
        assert "FLAIR" in line


def test_broken_link_is_a_missing_scan(rows: dict[str, dict[str, str]]) -> None:
    assert rows["sub-link"]["t2_reason"] == "missing_scan"
    assert rows["sub-link"]["t2_lesion_count"] == ""


def test_the_good_visit_is_complete(bad_scans: Path, rows: dict[str, dict[str, str]]) -> None:
    row = rows["sub-01"]
    assert row["t2_evaluable"] == row["brain_evaluable"] == "true"
    assert row["t2_lesion_count"].isdigit()
    assert list((bad_scans / "out" / "sub-01").rglob("*_desc-T2_mask.nii.gz"))


def test_no_log_holds_a_traceback_and_nothing_is_left_half_written(bad_scans: Path) -> None:
    for log in (bad_scans / "out" / "logs").rglob("*.log"):
        assert "Traceback" not in log.read_text(encoding="utf-8", errors="replace"), log
    assert not list((bad_scans / "out").rglob("*.part"))


def test_no_page_and_no_table_knows_of_steroids(bad_scans: Path) -> None:
    files = [
        p for p in (bad_scans / "out").rglob("*") if p.suffix in (".html", ".tsv", ".json", ".log", ".txt")
    ]
    assert len(files) > 40
    assert not [p for p in files if "steroid" in p.read_text(encoding="utf-8", errors="replace").lower()]
