"""A visit waits for the answer to its query, nothing else waits for it, and closing it makes up for it."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mesems_mri.dataset.queries import add_queries, new_query
from mesems_mri.dataset.reasons import QueryCode
from tests.command import hash_visits, mesems, read_rows

pytestmark = pytest.mark.xdist_group("open_query")

PARTICIPANT = "sub-01"
ASKED = 'FLAIR has 30 of 32 "slices", {really} & more'
REPRODUCIBLE = re.compile(r"(\.nii\.gz|_xfm\.txt|\.json)$")


@dataclass(frozen=True)
class Held:
    """What a run left while the query was open, and what was said of it.

    Parameters
    ----------
    bids_dir, out_dir : Path
    never_asked : dict of str to str
        Hash of every product below the visits before there was a query.
    refused, said : str
        What was said without ``--allow-insert``, and with it.
    files : dict of str to str
        Hash of every file below the visits.
    rows : dict of str to dict
        Row of every visit.
    """

    bids_dir: Path
    out_dir: Path
    never_asked: dict[str, str]
    refused: str
    said: str
    files: dict[str, str]
    rows: dict[str, dict[str, str]]


def products(out_dir: Path) -> dict[str, str]:
    return {name: value for name, value in hash_visits(out_dir).items() if REPRODUCIBLE.search(name)}


def rows_of(out_dir: Path) -> dict[str, dict[str, str]]:
    return {row["session_id"]: row for row in read_rows(out_dir / "visit_metrics.tsv")}


def of_visit(files: dict[str, str], session: str) -> dict[str, str]:
    return {name: value for name, value in files.items() if f"/{session}/" in name}


@pytest.fixture(scope="module")
def held(quick_trial: Path, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """Three visits with T2w alone, which is a third of the work; then a query about the middle one."""
    folder = tmp_path_factory.mktemp("query")
    bids_dir, out_dir = folder / "bids", folder / "out"
    others = ("derivatives", "sourcedata", "sub-02", "sub-03", "*T1w.*", "*FLAIR.*", "*PDw.*")
    shutil.copytree(quick_trial, bids_dir, ignore=shutil.ignore_patterns(*others))
    mesems("run", bids_dir, out_dir, "--cores", 2)
    never_asked = products(out_dir)
    visit = {"participant_id": PARTICIPANT, "session_id": "ses-w04"}
    add_queries(
        bids_dir,
        [
            new_query(QueryCode.MISSING_SLICES, words=ASKED, **visit),
            new_query(QueryCode.OUTSIDE_WINDOW, **(visit | {"session_id": "ses-w12"})),
        ],
    )
    refused = mesems("run", bids_dir, out_dir, code=2).stderr
    said = mesems("run", bids_dir, out_dir, "--cores", 2, "--allow-insert").stdout
    return Held(bids_dir, out_dir, never_asked, refused, said, hash_visits(out_dir), rows_of(out_dir))


def test_a_query_about_a_visit_before_others_is_asked_for_first(held: Held) -> None:
    assert f"{PARTICIPANT}/ses-w04 (a query about it is open)" in held.refused
    assert "--allow-insert" in held.refused
    assert f"{PARTICIPANT}/ses-w12: computed again" in held.said


def test_visit_with_an_open_query_is_not_evaluable_and_says_which(held: Held) -> None:
    row = held.rows["ses-w04"]
    for part in ("gel", "t2", "t2_change", "cua", "black_hole", "brain"):
        assert (row[f"{part}_evaluable"], row[f"{part}_reason"]) == ("false", "open_query")
    assert not [name for name, text in row.items() if text and name.endswith(("_count", "_volume_mm3"))]
    (line,) = [line for line in held.said.splitlines() if f"not evaluable: {PARTICIPANT}/ses-w04" in line]
    assert f"Q0001: Slices are missing: {ASKED}" in line
    assert "mesems-mri query close" in line
    folder = held.out_dir / PARTICIPANT / "ses-w04"
    assert not list(folder.rglob("*.nii.gz"))
    page = (folder / f"{PARTICIPANT}_ses-w04.html").read_text(encoding="utf-8")
    assert "A question to the site is not answered yet." in page
    assert "<image" not in page  # it may be another person's head


def test_all_other_visits_go_on(held: Held) -> None:
    assert held.rows["ses-w00"]["t2_evaluable"] == "true"
    assert held.rows["ses-w12"]["t2_reference_session_id"] == "ses-w00"
    assert held.rows["ses-w12"]["t2_change_evaluable"] == "true"
    never_asked = of_visit(held.never_asked, "ses-w00")
    assert {name: held.files[name] for name in never_asked} == never_asked
    status = mesems("status", held.out_dir).stdout.splitlines()
    head, total = (
        next(line for line in status if line.startswith(word)) for word in ("participant", "total")
    )
    assert "in query" in head
    assert total.split()[1:7] == ["3", "2", "1", "0", "0", "1"]


def test_closing_it_late_is_refused_and_with_allow_insert_as_if_there_had_been_no_query(held: Held) -> None:
    mesems("query", "close", held.bids_dir, "Q0001", "--by", "Reader", "--reason", "sent again")
    for labels in ((), ("--session-label", "w00")):
        refused = mesems("run", held.bids_dir, held.out_dir, *labels, code=2)
        assert f"{PARTICIPANT}/ses-w04 (its query is closed)" in refused.stderr
        assert "--allow-insert" in refused.stderr
    assert hash_visits(held.out_dir) == held.files
    finished = mesems("run", held.bids_dir, held.out_dir, "--cores", 2, "--allow-insert")
    assert f"{PARTICIPANT}/ses-w12: computed again" in finished.stdout
    assert f"{PARTICIPANT}/ses-w00: computed again" not in finished.stdout
    rows, files = rows_of(held.out_dir), hash_visits(held.out_dir)
    assert rows["ses-w12"]["t2_reference_session_id"] == "ses-w04"
    assert rows["ses-w00"] == held.rows["ses-w00"]
    assert of_visit(files, "ses-w00") == of_visit(held.files, "ses-w00")
    assert len(held.never_asked) > 30
    assert products(held.out_dir) == held.never_asked
