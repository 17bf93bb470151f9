"""The series map of a site: asked once, at no later visit; what changes is asked once a site."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mesems_mri.errors import UsageError
from mesems_mri.intake.context import IntakeRequest
from mesems_mri.intake.flow import run_intake
from mesems_mri.intake.series_map import load_series_map
from tests.unit.intake.scans import CORONAL, FLAIR, SAGITTAL, T1, T2, write_series
from tests.unit.intake.test_flow import DAY_W04, POST, Trial

BOLUS = {"ContrastBolusAgent": "Gadovist", "ContrastBolusVolume": 7, "ContrastBolusStartTime": "102000"}
USED = {"FLAIR": 3, "T2w": 5, POST: 8}
"""Numbers of the series that the site means."""


def write(folder: Path, description: str, number: int, **tags: Any) -> None:
    orientation = tags.pop("orientation", None)
    turned = {"orientation": orientation} if orientation else {}
    write_series(folder / str(number), description, series=number, slices=12, spacing=10.0, **turned, **tags)


def examination(folder: Path, **tags: Any) -> Path:
    """Write a usual clinical examination: FLAIR and T2w in two planes, T1w 5 and 10 min after contrast."""
    names = tags.pop("names", {})
    flair = tags.pop("flair", {})
    write(folder, names.get(2, "AX T1 SE"), 2, **T1, **tags)
    write(folder, names.get(3, "AX FLAIR"), 3, **{**FLAIR, **flair}, **tags)
    write(folder, "SAG FLAIR", 4, orientation=SAGITTAL, **FLAIR, **tags)
    write(folder, "AX T2 TSE", 5, **T2, **tags)
    write(folder, "COR T2 TSE", 6, orientation=CORONAL, **T2, **tags)
    for number, at in ((8, "102500"), (9, "103000")):
        write(folder, names.get(number, "AX T1 SE"), number, **T1, **BOLUS, AcquisitionTime=at, **tags)
    return folder


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def answers(trial: Trial) -> dict[str, str]:
    """Return the answer of the site: which series is meant, by role."""
    numbers = {
        row["series_number"]: row["series_id"] for row in trial.rows() if row["session_id"] == "ses-w00"
    }
    return {role: numbers[str(number)] for role, number in USED.items()}


def learned(trial: Trial, **first: Any) -> Path:
    """Take in the first visit, answer, and remember; return the folder of the maps."""
    maps = trial.folder / "series-map"
    sent = examination(trial.submission(), **first)
    trial.run_intake(sent, series_map=maps)
    assert trial.codes(blocking=True).count("several_candidates") >= 2
    trial.run_intake(sent, series_map=maps, use=answers(trial), remember=True)
    return maps


def taken(trial: Trial, session: str) -> dict[str, str]:
    rows = [row for row in trial.rows() if row["session_id"] == session and row["status"] == "filed"]
    return {row["role"]: row["series_number"] for row in rows}


MEANT = {"T1w": "2", "FLAIR": "3", "T2w": "5", POST: "8"}


def test_what_a_site_has_answered_is_asked_at_no_later_visit(trial: Trial) -> None:
    maps = learned(trial)
    assert taken(trial, "ses-w00") == MEANT
    before = trial.codes()
    trial.run_intake(examination(trial.submission(), **DAY_W04), series_map=maps)
    assert taken(trial, "ses-w04") == MEANT
    assert trial.codes() == before


def test_without_the_map_every_visit_is_asked(trial: Trial) -> None:
    learned(trial)
    before = trial.codes(blocking=True).count("several_candidates")
    trial.run_intake(examination(trial.submission(), **DAY_W04))
    assert trial.codes(blocking=True).count("several_candidates") == before + 3


def test_names_in_a_language_that_nobody_knows(trial: Trial) -> None:
    names = {2: "T1 brez", 3: "Xyzzy Müller", 8: "T1 blupp po peti", 9: "T1 blupp po deseti"}
    maps = learned(trial, names=names)
    trial.run_intake(examination(trial.submission(), **DAY_W04, names=names), series_map=maps)
    assert taken(trial, "ses-w04") == MEANT
    # a word that may be a name is not written, and is found again all the same
    content = next(maps.glob("*.yaml")).read_text()
    assert "ller" not in content
    assert "Xyzzy" not in content
    assert "name_key" in content


@pytest.mark.parametrize(
    ("changed", "item"),
    [
        ({"flair": {"EchoTime": 90}}, "echo_time"),
        ({"flair": {"InversionTime": 2200}}, "inversion_time"),
        ({"names": {3: "AX FLAIR fs"}}, "name"),
    ],
)
def test_a_change_is_asked_once_a_site(trial: Trial, changed: dict[str, Any], item: str) -> None:
    maps = learned(trial)
    trial.run_intake(examination(trial.submission(), **DAY_W04, **changed), series_map=maps)
    assert taken(trial, "ses-w04")["FLAIR"] == "3"
    assert trial.codes().count("series_changed") == 1
    later = {"StudyDate": "20240403", "AcquisitionDate": "20240403", "study": 5, "PatientID": "MSC-002"}
    person = {"PatientName": "Some^Body", "PatientSex": "M", "PatientBirthDate": "19751231"}
    trial.run_intake(examination(trial.submission(), **later, **person, **changed), series_map=maps)
    assert trial.codes().count("series_changed") == 1


def test_a_name_that_has_changed_does_not_decide_before_or_after(trial: Trial) -> None:
    maps = learned(trial, names={8: "T1 post 5", 9: "T1 post 10"})
    trial.run_intake(
        examination(trial.submission(), **DAY_W04, names={8: "T1 zzz", 9: "T1 post 10"}), series_map=maps
    )
    assert taken(trial, "ses-w04").get(POST) != "9"


def test_the_map_against_the_bolus_tags_is_asked(trial: Trial) -> None:
    maps = learned(trial, names={8: "T1 post 5", 9: "T1 post 10"})
    folder = trial.submission()
    for number, description in ((2, "AX T1 SE"), (8, "T1 post 5")):
        write(folder, description, number, **T1, **DAY_W04, ContrastBolusAgent="NO CONTRAST")
    write(folder, "AX FLAIR", 3, **FLAIR, **DAY_W04)
    trial.run_intake(folder, series_map=maps)
    assert POST not in taken(trial, "ses-w04")
    assert "contrast_unclear" in trial.codes(blocking=True)


def test_a_dummy_run_writes_the_map_and_files_nothing(trial: Trial) -> None:
    maps = trial.folder / "series-map"
    said: list[str] = []
    sent = examination(trial.submission(), PatientID="PHANTOM", names={8: "AX T1 SE post"})
    (sent / "9").rename(trial.folder / "later")
    (sent / "4").rename(trial.folder / "sagittal")
    (sent / "6").rename(trial.folder / "coronal")
    request = IntakeRequest(
        submission=sent,
        bids_dir=trial.bids,
        sheet=trial.sheet,
        site_id="S01",
        series_map=maps,
        dummy_run=True,
    )
    run_intake(request, said.append)
    assert not list(trial.bids.glob("sub-*"))
    known = load_series_map(maps, "S01")
    assert known is not None
    assert set(known.scanners[0].series) == {"T1w", "FLAIR", "T2w", POST}
    trial.run_intake(examination(trial.submission(), names={8: "AX T1 SE post"}), series_map=maps)
    assert {role: taken(trial, "ses-w00")[role] for role in ("FLAIR", "T2w", POST)} == {
        "FLAIR": "3", "T2w": "5", POST: "8"
    }  # fmt: skip


def test_a_dummy_run_needs_a_site(trial: Trial) -> None:
    with pytest.raises(UsageError, match="--site"):
        trial.run_intake(examination(trial.submission()), series_map=trial.folder, dummy_run=True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("site: S02\n", "is of site S02, expected S01"),
        ("site: S01\nscaners: []\n", "scaners"),
        ("site: [", "cannot be read"),
        (yaml.safe_dump({"site": "S01", "scanners": [{"series": {"T9w": {}}}]}), "series map"),
    ],
)
def test_a_map_that_is_wrong_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "S01.yaml").write_text(content)
    with pytest.raises(UsageError, match="series map") as caught:
        load_series_map(tmp_path, "S01")
    assert told in str(caught.value)


def test_a_map_may_be_written_by_hand(trial: Trial) -> None:
    maps = trial.folder / "series-map"
    maps.mkdir()
    series = {"FLAIR": {"name": "ax flair"}, "T2w": {"name": "AX T2 TSE", "plane": "axial"}}
    (maps / "S01.yaml").write_text(yaml.safe_dump({"site": "S01", "scanners": [{"series": series}]}))
    trial.run_intake(examination(trial.submission()), series_map=maps)
    assert {role: taken(trial, "ses-w00").get(role) for role in ("FLAIR", "T2w")} == {
        "FLAIR": "3",
        "T2w": "5",
    }
