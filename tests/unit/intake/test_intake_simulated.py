"""A simulated trial of six kinds of sites as DICOM: every series gets its true role, and nobody is named."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mesems_mri.dataset.queries import read_queries
from mesems_mri.files import read_json
from mesems_mri.intake.context import IntakeRequest
from mesems_mri.intake.flow import Submission, run_intake
from mesems_mri.intake.summary import summary_lines
from mesems_mri.simulate.dicom.manifest import PlantManifest
from mesems_mri.simulate.dicom.trial import write_dicom
from tests.identifier_search import Planted, search
from tests.unit.simulate.tiny_trial import make_tiny_trial

_NAMES, _DATES = {"name", "physician"}, {"birth_date", "visit_date"}
_MIN_TEXT = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("intake")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> PlantManifest:
    """Write the trial, and keep the first two visits of each participant: all sites and most defects."""
    make_tiny_trial(folder / "raw")
    whole = write_dicom(folder / "raw", folder / "whole", seed=5)
    series = tuple(truth for truth in whole.series if truth.session_id in ("ses-w00", "ses-w08"))
    for submission in {truth.submission for truth in series}:
        target = folder / "dicom" / submission
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / "whole" / submission).rename(target)
    return replace(whole, series=series)


@pytest.fixture(scope="module")
def submission(folder: Path, manifest: PlantManifest, repository: Path) -> Submission:
    request = IntakeRequest(
        submission=folder / "dicom",
        bids_dir=folder / "bids",
        sheet=folder / "whole" / "sheet.tsv",
        protocol=repository / "config" / "protocol.yaml",
        dicom_copy=folder / "copy",
    )
    said: list[str] = []
    found = run_intake(request, said.append)
    (folder / "said").mkdir()
    (folder / "said" / "log.txt").write_text("\n".join([*said, *summary_lines(found)]))
    return found


def test_every_series_gets_its_true_role(manifest: PlantManifest, submission: Submission) -> None:
    assigned = {
        (one.series.series_uid, round(one.series.echo_ms or 0)): (one, visit)
        for visit in submission.visits
        for one in visit.classified
    }
    assert len(assigned) == len(manifest.series)
    for truth in manifest.series:
        echo = truth.echo_ms if (truth.series_uid, round(truth.echo_ms)) in assigned else 0
        one, visit = assigned[truth.series_uid, round(echo)]
        assert visit.name == f"{truth.participant_id}/{truth.session_id}"
        expected = truth.role if truth.chosen or truth.role in ("localizer", "derived") else "other"
        assert one.role == expected, (truth, one.reason)
        assert one.series.frames == truth.slices


def test_what_was_interrupted_is_found(manifest: PlantManifest, submission: Submission) -> None:
    cut = {(t.participant_id, t.session_id) for t in manifest.series if t.slices < t.announced and t.chosen}
    told = {(q.participant_id, q.session_id) for q in submission.queries if q.code == "interrupted"}
    assert told == cut
    assert cut


def test_images_come_back_as_they_were(folder: Path, manifest: PlantManifest, submission: Submission) -> None:
    compared = 0
    for truth in manifest.series:
        if not truth.image or not truth.chosen or truth.slices < truth.announced:
            continue
        expected, found = (nib.load(folder / place / truth.image) for place in ("raw", "bids"))
        first, second = (nib.as_closest_canonical(image) for image in (expected, found))
        assert np.allclose(first.affine, second.affine, atol=1e-2)
        ratio = np.asarray(second.dataobj, dtype=float) - np.asarray(first.dataobj, dtype=float)
        assert np.abs(ratio).max() <= 1, truth.image
        compared += 1
    assert compared > 40
    assert submission.visits


def test_only_a_true_fault_holds_a_visit(folder: Path, submission: Submission) -> None:
    blocking = {query.code.value for query in read_queries(folder / "bids") if query.blocking}
    assert blocking == {"interrupted", "missing_sequence"}
    assert submission.inventory.unused_files.counts


def needles(manifest: PlantManifest) -> list[Planted]:
    return [
        Planted(
            "date"
            if needle.text.isdigit() and needle.kind in _DATES
            else "name"
            if needle.kind in _NAMES
            else "text",
            needle.text,
        )
        for needle in manifest.needles
        if len(needle.text) >= _MIN_TEXT
    ]


def test_nobody_is_named(folder: Path, manifest: PlantManifest, submission: Submission) -> None:
    planted = needles(manifest)
    inside = {hit.planted for hit in search(folder / "dicom", planted)}
    assert len(inside) > 0.6 * len(planted)  # the others are in visits that were left out
    for place in ("bids", "copy", "said"):
        assert not search(folder / place, planted)


def test_sidecars_say_what_a_run_needs(folder: Path, submission: Submission) -> None:
    sidecars = [read_json(path) for path in (folder / "bids").glob("sub-*/ses-*/anat/*.json")]
    assert len(sidecars) > 40
    for sidecar in sidecars:
        assert {"Manufacturer", "MagneticFieldStrength", "EchoTime", "RepetitionTime", "IntakeOrigin"} <= set(
            sidecar
        )
    assert submission


def test_bids_validator_accepts_the_folder(folder: Path, submission: Submission) -> None:
    assert submission
    program = Path(sys.executable).with_name("bids-validator-deno")
    found = subprocess.run([program, "--json", folder / "bids"], capture_output=True, text=True)
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert not [issue for issue in issues if issue["severity"] == "error"]
