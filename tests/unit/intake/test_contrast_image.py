"""The images as the last vote on the contrast phase: swapped scans are asked, a name alone is confirmed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mesems_mri.core.gel.evidence import ContrastEvidence
from mesems_mri.dataset.queries import read_queries
from mesems_mri.intake import contrast_image
from tests.unit.intake.scans import FLAIR, T1
from tests.unit.intake.test_flow import DAY_W04, POST, Trial, name, write_scan

SWAPPED = ContrastEvidence(vote="pre", brighter_mm3=10, darker_mm3=5000)
RIGHT = ContrastEvidence(vote="post", brighter_mm3=5000, darker_mm3=10)
SILENT = ContrastEvidence(reason="no_difference")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


@pytest.fixture
def images_say(monkeypatch: pytest.MonkeyPatch) -> Callable[[ContrastEvidence], list[tuple[str, str]]]:
    """Let the images say what a test wants; what is compared is listed by file name."""

    def say(evidence: ContrastEvidence) -> list[tuple[str, str]]:
        compared: list[tuple[str, str]] = []

        def compare(pre: Path, post: Path) -> ContrastEvidence:
            compared.append((pre.name, post.name))
            return evidence

        monkeypatch.setattr(contrast_image, "compare_t1", compare)
        return compared

    return say


def named_alone(trial: Trial, **tags: str) -> Path:
    sent = trial.submission()
    write_scan(sent / "a", "FLAIR", series=2, **{**FLAIR, **tags})
    write_scan(sent / "b", "T1 pre", series=3, **{**T1, **tags})
    write_scan(sent / "c", "T1 post", series=4, **{**T1, **tags})
    return sent


def test_swapped_images_are_asked_and_not_filed(trial: Trial, images_say: Callable[..., object]) -> None:
    images_say(SWAPPED)
    trial.run_intake(trial.examination(trial.submission()))
    assert trial.images() == [name("FLAIR")]
    assert trial.codes(blocking=True) == ["contrast_unclear"]
    (query,) = (q for q in read_queries(trial.bids) if q.code == "contrast_unclear")
    assert len(query.series_id.split(",")) == 2
    votes = {row["series_number"]: row["contrast_votes"] for row in trial.rows()}
    assert "image pre" in votes["4"]
    assert "image post" in votes["3"]


def test_the_answer_of_the_site_files_them(trial: Trial, images_say: Callable[..., object]) -> None:
    images_say(SWAPPED)
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    ids = {row["series_number"]: row["series_id"] for row in trial.rows()}
    images_say(RIGHT)
    trial.run_intake(sent, use={"T1w": ids["4"], POST: ids["3"]})
    assert set(trial.images()) == {name(POST), name("FLAIR"), name("T1w")}
    filed = {row["role"]: row["series_number"] for row in trial.rows() if row["status"] == "filed"}
    assert (filed["T1w"], filed[POST]) == ("4", "3")


def test_an_answer_that_the_images_contradict_is_told(
    trial: Trial, images_say: Callable[..., object]
) -> None:
    images_say(SWAPPED)
    sent = trial.examination(trial.submission())
    trial.run_intake(sent)
    ids = {row["series_number"]: row["series_id"] for row in trial.rows()}
    trial.run_intake(sent, use={"T1w": ids["3"], POST: ids["4"]})
    assert "contrast_unconfirmed" in trial.codes()
    assert len(trial.images()) == 3


@pytest.mark.parametrize(("evidence", "asked"), [(RIGHT, False), (SILENT, True)])
def test_a_name_alone_is_never_silent(
    trial: Trial, images_say: Callable[..., object], evidence: ContrastEvidence, asked: bool
) -> None:
    images_say(evidence)
    trial.run_intake(named_alone(trial))
    assert len(trial.images()) == 3
    assert ("contrast_unconfirmed" in trial.codes(blocking=False)) is asked
    assert not trial.codes(blocking=True)


def test_bolus_tags_need_no_image(trial: Trial, images_say: Callable[..., object]) -> None:
    images_say(SILENT)
    trial.run_intake(trial.examination(trial.submission()))
    assert not trial.codes()


def test_without_a_precontrast_scan_the_last_visit_is_compared(
    trial: Trial, images_say: Callable[..., list[tuple[str, str]]]
) -> None:
    images_say(RIGHT)
    trial.run_intake(trial.examination(trial.submission()))
    compared = images_say(RIGHT)
    sent = trial.submission()
    write_scan(sent / "a", "FLAIR", series=2, **FLAIR, **DAY_W04)
    write_scan(sent / "c", "T1 post", series=4, **T1, **DAY_W04)
    trial.run_intake(sent)
    assert compared == [(Path(name("T1w")).name, Path(name(POST, "sub-001/ses-w04")).name)]
    assert "contrast_unconfirmed" not in trial.codes()


def test_a_dry_run_tells_what_would_be_unconfirmed(trial: Trial) -> None:
    found = trial.run_intake(named_alone(trial), dry_run=True)
    assert "contrast_unconfirmed" in [query.code for query in found.queries]
