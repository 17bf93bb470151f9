"""Laws 2 and 3: time is append-only, and the same input gives the same bytes.

That a late visit, and a query that is opened and closed, change nothing else is tested in
`test_late_visits.py`, that Slurm changes no byte in ``tests/system``.
"""

import datetime as dt
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from mesems_mri.pipeline.visit import STEPS
from tests.command import hash_visits, mesems
from tests.demonstration import Demonstration

LATER = Path(__file__).parents[1] / "later"
REPRODUCIBLE = re.compile(r"(\.nii\.gz|_xfm\.txt|\.json)$")
PARTICIPANT = "sub-01"

pytestmark = pytest.mark.long


def ledger_rows(out_dir: Path, *sessions: str) -> list[str]:
    """Rows of the ledger of the participant that belong to the sessions."""
    lines = (out_dir / PARTICIPANT / f"{PARTICIPANT}_lesions.tsv").read_text(encoding="utf-8").splitlines()
    at = lines[0].split("\t").index("session_id")
    return [line for line in lines[1:] if line.split("\t")[at] in sessions]


@dataclass(frozen=True)
class Appended:
    """A run of two visits to which two were added.

    Parameters
    ----------
    out_dir : Path
    files : dict of str to str
        Hash of every file below the visits when there were two.
    lines : dict of str to list of str
        Then the lines of the ledger and of the table of visits.
    """

    out_dir: Path
    files: dict[str, str]
    lines: dict[str, list[str]]


def lines_of(out_dir: Path) -> dict[str, list[str]]:
    names = (f"{PARTICIPANT}/{PARTICIPANT}_lesions.tsv", "visit_metrics.tsv")
    return {name: (out_dir / name).read_text(encoding="utf-8").splitlines() for name in names}


@pytest.fixture(scope="module")
def appended(demo: Demonstration, wheel_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Appended:
    """Run one participant otherwise than the demonstration was run.

    From an installed wheel, on one core, two visits first, from and to folders with blanks and letters that
    are not ASCII, in another working directory; the steps live 2000 days later.
    """
    folder = tmp_path_factory.mktemp("appended")
    bids_dir, out_dir, elsewhere = folder / "Versuch für Müller", folder / "Ergebnis ä", folder / "some where"
    shutil.copytree(demo.bids_dir, bids_dir)
    elsewhere.mkdir()
    options = ("--participant-label", "01", "--cores", 1, "--session-label")
    later = {"cwd": elsewhere, "path": [LATER, wheel_site]}
    mesems("run", bids_dir, out_dir, *options, "w04", **later)
    files, lines = hash_visits(out_dir), lines_of(out_dir)
    assert {Path(name).parts[1] for name in files} == {"ses-w00", "ses-w04"}
    # The third visit has no FLAIR, and so no T2 lesion: a fourth one adds rows to the ledger.
    mesems("run", bids_dir, out_dir, *options, "w24", **later)
    assert "nothing to do" in mesems("run", bids_dir, out_dir, *options, "w24", "--dry-run", **later).stdout
    return Appended(out_dir, files, lines)


def test_later_visits_change_no_byte_of_the_first_two(appended: Appended) -> None:
    now, lines = hash_visits(appended.out_dir), lines_of(appended.out_dir)
    assert len(now) > len(appended.files) > 60
    assert {name: now[name] for name in appended.files} == appended.files
    ledger, table = lines
    assert len(lines[ledger]) > len(appended.lines[ledger]) > 10
    assert lines[ledger][: len(appended.lines[ledger])] == appended.lines[ledger]
    assert len(lines[table]) == 1 + 4
    assert set(appended.lines[table]) <= set(lines[table])


def test_wheel_cores_folders_and_visits_to_come_give_the_same_bytes(
    appended: Appended, demo: Demonstration
) -> None:
    """The demonstration knew all four visits from the start, and ran on two cores from the checkout."""
    sessions = ("ses-w00", "ses-w04", "ses-w12", "ses-w24")
    here, there = (
        {
            name: value
            for name, value in hash_visits(folder).items()
            if REPRODUCIBLE.search(name) and Path(name).parts[:2] in {(PARTICIPANT, s) for s in sessions}
        }
        for folder in (appended.out_dir, demo.out_dir)
    )
    assert len(here) > 60
    assert here == there
    assert ledger_rows(appended.out_dir, *sessions) == ledger_rows(demo.out_dir, *sessions)
    table = "visit_metrics.tsv"
    assert set(lines_of(appended.out_dir)[table]) <= set(lines_of(demo.out_dir)[table])


def test_another_day_gives_the_same_bytes(appended: Appended) -> None:
    """The bytes are compared above; here it is made sure that the steps lived on another day."""
    log = (appended.out_dir / "logs" / PARTICIPANT / "ses-w00.log").read_text(encoding="utf-8")
    days = [dt.date.fromisoformat(day) for day in re.findall(r"---- \w+, (\d{4}-\d\d-\d\d)", log)]
    assert len(days) == len(STEPS)
    assert all(day > dt.date.today() + dt.timedelta(days=1990) for day in days)
