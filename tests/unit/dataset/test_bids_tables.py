"""Tables and sidecars of raw BIDS."""

import json
from pathlib import Path

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.bids_tables import acquisition, read_scan_day, read_sites, read_visits
from mesems_mri.errors import DatasetError
from mesems_mri.files import write_text

BROKEN = {
    "bad week": ("session_id\tweek\nses-1\tfour\n", ["ses-1", "'four'", "whole number"]),
    "half week": ("session_id\tweek\nses-1\t4.5\n", ["ses-1", "'4.5'", "whole number"]),
    "endless week": ("session_id\tweek\nses-1\tinf\n", ["ses-1", "'inf'", "whole number"]),
    "bad date": ("session_id\tacq_time\nses-1\t31.03.2024\n", ["ses-1", "'31.03.2024'", "2024-03-31"]),
    "kind of visit": ("session_id\tvisit_type\nses-1\tscreening\n", ["ses-1", "'screening'", "unscheduled"]),
    "two rows": ("session_id\tweek\nses-1\t0\nses-1\t4\n", ["two rows of ses-1", "one row"]),
    "no label": ("visit\tweek\nses-1\t0\n", ["session_id", "missing"]),
    "too many fields": ("session_id\tweek\nses-1\t0\t7\n", ["row 1", "3 fields", "expected 2"]),
    "column twice": ("session_id\tweek\tweek\nses-1\t0\t7\n", ["several columns", "'week'"]),
    "commas": ("session_id,week\nses-1,0\n", ["session_id", "tab-separated"]),
    "open quote": ('session_id\tweek\n"ses-1\t0\n', ["cannot be read", "tab-separated"]),
    "weeks against dates": (
        "session_id\tweek\tacq_time\nses-1\t12\t2024-01-01\nses-2\t4\t2024-03-01\n",
        ["ses-1", "week 12", "2024-01-01", "ses-2", "week 4", "2024-03-01", "correct"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_visit_table_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    text, words = BROKEN[case]
    write_text(tmp_path / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz", "")
    write_text(tmp_path / "sub-01" / "sub-01_sessions.tsv", text)
    with pytest.raises(DatasetError) as caught:
        index_dataset(tmp_path, TrialConfig())
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ["sub-01_sessions.tsv", *words])


def test_sloppy_visit_table_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_sessions.tsv"
    path.write_text("session_id\tweek\tacq_time\tvisit_type\r\nw04\t4.0\tn/a\tn/a\r\nses-w00\t0\r\n\r\n")
    visits = read_visits(path)
    assert {name: visit.week for name, visit in visits.items()} == {"ses-w04": 4, "ses-w00": 0}
    assert {visit.acquired for visit in visits.values()} == {None}
    path.write_text("session_id\tweek\nses-1\t0\nses-1\t0\n")
    assert len(read_visits(path)) == 1


def test_sites(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tsite\n01\tA  B\nsub-02\tn/a\n")
    assert read_sites(tmp_path) == {"sub-01": "A B", "sub-02": ""}
    path.write_text("participant_id\tsite\nsub-01\tA\nsub-01\tB\n")
    with pytest.raises(DatasetError, match=r"sub-01 belongs to the sites 'A' and 'B'"):
        read_sites(tmp_path)


def test_day_of_the_first_scan_that_has_one(tmp_path: Path) -> None:
    assert read_scan_day(tmp_path) is None
    table = tmp_path / "sub-01_ses-1_scans.tsv"
    table.write_text("filename\tacq_time\na\tn/a\nb\t2024-03-31T10:00:00\nc\t2024-04-01\n")
    assert str(read_scan_day(tmp_path)) == "2024-03-31"


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"EchoTime": 0.1})])
def test_sidecar_that_says_nothing_of_the_scanner(tmp_path: Path, text: str) -> None:
    image = tmp_path / "sub-01_ses-1_FLAIR.nii.gz"
    assert acquisition(image) == {}
    (tmp_path / "sub-01_ses-1_FLAIR.json").write_text(text)
    assert acquisition(image) == {}


def test_scanner_is_read_from_the_sidecar(tmp_path: Path) -> None:
    said = {"Manufacturer": "GE", "EchoTime": 0.1, "MagneticFieldStrength": 3}
    (tmp_path / "x_FLAIR.json").write_text(json.dumps(said))
    assert acquisition(tmp_path / "x_FLAIR.nii") == {"Manufacturer": "GE", "MagneticFieldStrength": 3}
