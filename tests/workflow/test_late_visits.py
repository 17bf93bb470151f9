"""A visit that comes late, and then waits for the answer to its query: what is computed again, and what not.

Nothing else waits for it, and closing the query makes up for it.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mesems_mri.dataset.queries import add_queries, new_query
from mesems_mri.dataset.reasons import QueryCode
from tests.command import hash_visits, mesems, read_rows
from tests.demonstration import Demonstration

pytestmark = pytest.mark.long

PARTICIPANT = "sub-01"
ASKED = 'FLAIR has 30 of 32 "slices", {really} & more'
REPRODUCIBLE = re.compile(r"(\.nii\.gz|_xfm\.txt|\.json)$")


@dataclass(frozen=True)
class Seen:
    """What a run left, and what was said of it.

    Parameters
    ----------
    refused, said : str
        What was said without ``--allow-insert``, and with it.
    files : dict of str to str
        Hash of every file below the visits.
    rows : dict of str to dict
        Row of every visit.
    lesions : list of dict
        Ledger of the participant.
    """

    refused: str
    said: str
    files: dict[str, str]
    rows: dict[str, dict[str, str]]
    lesions: list[dict[str, str]]


@dataclass(frozen=True)
class Story:
    """What happened to one data set in turn.

    Parameters
    ----------
    bids_dir, out_dir : Path
    before : dict of str to str
        Hash of every file below the visits when the middle one was not there.
    lesions : list of dict
        Then the ledger's rows of the first visit.
    written : dict of Path to int
        When the files of the first visit were written.
    inserted, held : Seen
        When the middle visit had come, and when it waited for an answer.
    """

    bids_dir: Path
    out_dir: Path
    before: dict[str, str]
    lesions: list[dict[str, str]]
    written: dict[Path, int]
    inserted: Seen
    held: Seen


def reproducible(files: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in files.items() if REPRODUCIBLE.search(name)}


def rows_of(out_dir: Path) -> dict[str, dict[str, str]]:
    return {row["session_id"]: row for row in read_rows(out_dir / "visit_metrics.tsv")}


def ledger(out_dir: Path, *sessions: str) -> list[dict[str, str]]:
    rows = read_rows(out_dir / PARTICIPANT / f"{PARTICIPANT}_lesions.tsv")
    return [row for row in rows if not sessions or row["session_id"] in sessions]


def of_visit(files: dict[str, str], session: str) -> dict[str, str]:
    return {name: value for name, value in files.items() if f"/{session}/" in name}


def changed(bids_dir: Path, out_dir: Path) -> Seen:
    """Run after a change that is refused at first, and see that a refused run touches nothing."""
    before = hash_visits(out_dir)
    refused = mesems("run", bids_dir, out_dir, code=2).stderr
    assert hash_visits(out_dir) == before
    said = mesems("run", bids_dir, out_dir, "--cores", 2, "--allow-insert").stdout
    return Seen(refused, said, hash_visits(out_dir), rows_of(out_dir), ledger(out_dir))


@pytest.fixture(scope="module")
def story(demo: Demonstration, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Three visits with a FLAIR alone, which is a third of the work; the middle one comes late."""
    folder = tmp_path_factory.mktemp("late")
    bids_dir, out_dir, late = folder / "bids", folder / "out", folder / "late"
    for session in ("ses-w00", "ses-w04", "ses-w24"):
        anat = (late if session == "ses-w04" else bids_dir / PARTICIPANT / session) / "anat"
        anat.mkdir(parents=True)
        for path in (demo.simulated / PARTICIPANT / session / "anat").glob("*_FLAIR.*"):
            shutil.copyfile(path, anat / path.name)
    mesems("run", bids_dir, out_dir, "--cores", 2)
    before, lesions = hash_visits(out_dir), ledger(out_dir, "ses-w00")
    written = {path: path.stat().st_mtime_ns for path in out_dir.rglob("*") if "ses-w00" in path.parts}
    late.rename(bids_dir / PARTICIPANT / "ses-w04")
    inserted = changed(bids_dir, out_dir)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    visit = {"participant_id": PARTICIPANT, "session_id": "ses-w04"}
    add_queries(
        bids_dir,
        [
            new_query(QueryCode.MISSING_SLICES, words=ASKED, **visit),
            new_query(QueryCode.OUTSIDE_WINDOW, **(visit | {"session_id": "ses-w24"})),
        ],
    )
    return Story(bids_dir, out_dir, before, lesions, written, inserted, changed(bids_dir, out_dir))


def test_a_late_visit_is_refused_and_with_allow_insert_recomputes_the_later_ones(story: Story) -> None:
    late = story.inserted
    assert f"{PARTICIPANT}/ses-w04" in late.refused
    assert "--allow-insert" in late.refused
    assert f"{PARTICIPANT}/ses-w24: computed again" in late.said
    assert f"{PARTICIPANT}/ses-w00: computed again" not in late.said
    assert of_visit(late.files, "ses-w00") == of_visit(story.before, "ses-w00")
    assert len(story.written) > 20
    assert [row for row in late.lesions if row["session_id"] == "ses-w00"] == story.lesions != []
    references = [late.rows[f"ses-{w}"]["t2_reference_session_id"] for w in ("w00", "w04", "w24")]
    assert references == ["", "ses-w00", "ses-w04"]


def test_a_query_about_a_visit_before_others_is_asked_for_first(story: Story) -> None:
    assert f"{PARTICIPANT}/ses-w04 (a query about it is open)" in story.held.refused
    assert "--allow-insert" in story.held.refused
    assert f"{PARTICIPANT}/ses-w24: computed again" in story.held.said


def test_visit_with_an_open_query_is_not_evaluable_and_says_which(story: Story) -> None:
    row = story.held.rows["ses-w04"]
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        assert (row[f"{part}_evaluable"], row[f"{part}_reason"]) == ("false", "open_query")
    assert not [name for name, text in row.items() if text and name.endswith(("_count", "_volume_mm3"))]
    (line,) = [
        line for line in story.held.said.splitlines() if f"not evaluable: {PARTICIPANT}/ses-w04" in line
    ]
    assert f"Q0001: Slices are missing: {ASKED}" in line
    assert "mesems-mri query close" in line
    folder = story.out_dir / PARTICIPANT / "ses-w04"
    assert not list(folder.rglob("*.nii.gz"))
    page = (folder / f"{PARTICIPANT}_ses-w04.html").read_text(encoding="utf-8")
    assert "A question to the site is not answered yet." in page
    assert "<image" not in page  # it may be another person's head


def test_all_other_visits_go_on(story: Story) -> None:
    assert story.held.rows["ses-w00"]["t2_evaluable"] == "true"
    assert story.held.rows["ses-w24"]["t2_reference_session_id"] == "ses-w00"
    assert story.held.rows["ses-w24"]["t2_change_evaluable"] == "true"
    assert of_visit(story.held.files, "ses-w00") == of_visit(story.inserted.files, "ses-w00")
    status = mesems("status", story.out_dir).stdout.splitlines()
    head, total = (
        next(line for line in status if line.startswith(word)) for word in ("participant", "total")
    )
    assert "in query" in head
    assert total.split()[1:7] == ["3", "2", "1", "0", "0", "1"]


def test_closing_it_late_is_refused_and_with_allow_insert_as_if_there_had_been_no_query(story: Story) -> None:
    mesems("query", "close", story.bids_dir, "Q0001", "--by", "Reader", "--reason", "sent again")
    for labels in ((), ("--session-label", "w00")):
        refused = mesems("run", story.bids_dir, story.out_dir, *labels, code=2)
        assert f"{PARTICIPANT}/ses-w04 (its query is closed)" in refused.stderr
        assert "--allow-insert" in refused.stderr
    assert hash_visits(story.out_dir) == story.held.files
    finished = mesems("run", story.bids_dir, story.out_dir, "--cores", 2, "--allow-insert")
    assert f"{PARTICIPANT}/ses-w24: computed again" in finished.stdout
    assert f"{PARTICIPANT}/ses-w00: computed again" not in finished.stdout
    rows, files = rows_of(story.out_dir), hash_visits(story.out_dir)
    assert rows["ses-w24"]["t2_reference_session_id"] == "ses-w04"
    assert rows["ses-w00"] == story.held.rows["ses-w00"]
    assert of_visit(files, "ses-w00") == of_visit(story.held.files, "ses-w00")
    never_asked = reproducible(story.inserted.files)
    assert len(never_asked) > 30
    assert reproducible(files) == never_asked
