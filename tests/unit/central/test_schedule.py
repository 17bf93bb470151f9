"""The visit schedule of the trial, as the receiving side reads it."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from mesems_mri.central.schedule import current_schedule, read_schedule, replace_schedule
from mesems_mri.central.schema import expected_visit
from mesems_mri.errors import DatasetError, ForbiddenColumnError, UsageError
from tests.unit.central.conftest import HEAD, Trial, write_schedule

ROWS = [
    "S01\tsub-001\tses-w00\t0\t2026-01-05\t5\t5\tscheduled",
    "S01\tsub-001\tses-w04\t4\t2026-02-02\t3\t7\tscheduled",
    "S01\tsub-001\tses-u01\tn/a\tn/a\t0\t0\tunscheduled",
]


def write(path: Path, rows: list[str], head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_days_count_from_the_first_planned_visit(tmp_path: Path) -> None:
    first, second, extra = read_schedule(write(tmp_path / "v.tsv", ROWS))
    assert (first.day, second.day, extra.day, extra.week) == (0, 28, None, None)
    assert [second.days_outside(day) for day in (24, 25, 35, 36)] == [-1, 0, 0, 1]
    assert extra.days_outside(1000) == second.days_outside(None) == 0


def test_the_sheet_of_the_intake_serves(repository: Path) -> None:
    visits = read_schedule(repository / "config" / "sheet.example.tsv")
    assert {visit.site_id for visit in visits} == {"S01", "S02"}


def test_no_date_and_no_patient_id_is_stored(trial: Trial, repository: Path) -> None:
    sheet = repository / "config" / "sheet.example.tsv"
    with trial.store.writing() as connection:
        replace_schedule(
            connection, read_schedule(sheet), sheet.read_bytes(), by="admin", reason="sheet of March"
        )
    trial.store.close()
    content = b"".join(path.read_bytes() for path in trial.folder.glob("central.db*"))
    assert b"sheet of March" in content
    assert b"2024-03-04" not in content
    assert b"MSC-001" not in content


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no visit"),
        ([ROWS[0], ROWS[0]], "sub-001/ses-w00 has several rows"),
        ([ROWS[0], ROWS[1].replace("S01", "S02")], "belongs to the sites S01 and S02"),
        ([ROWS[0].replace("\t0\t", "\tx\t")], "the week 'x'"),
        ([ROWS[0].replace("2026-01-05", "5.1.26")], "the planned_date '5.1.26'"),
        ([ROWS[0].replace("\t5\t5", "\t-5\t5")], "the window_minus_days '-5'"),
        ([ROWS[0].replace("scheduled", "planned")], "the visit_type 'planned'"),
        ([ROWS[0].replace("sub-001", "sub-../1")], "the participant_id 'sub-../1'"),
        ([ROWS[0].replace("S01", "")], "the site_id ''"),
    ],
)
def test_table_that_contradicts_itself_is_refused(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(DatasetError, match=words.replace(".", r"\.")):
        read_schedule(write(tmp_path / "v.tsv", rows))


def test_column_that_would_unblind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForbiddenColumnError, match="'ARM'"):
        read_schedule(write(tmp_path / "v.tsv", [f"{row}\tA" for row in ROWS], f"{HEAD}\tARM"))
    with pytest.raises(DatasetError, match="the column visit_type is missing"):
        read_schedule(write(tmp_path / "v.tsv", ROWS, HEAD.replace("visit_type", "kind")))


def test_new_version_holds_and_the_old_one_stays(trial: Trial) -> None:
    table = write_schedule(trial.folder / "new.tsv", {"sub-001": "S01"})
    with trial.store.writing() as connection:
        number = replace_schedule(
            connection, read_schedule(table), table.read_bytes(), by="admin", reason="sub-002 withdrew"
        )
    assert number == 2
    with trial.store.reading() as connection:
        assert {visit.participant_id for visit in current_schedule(connection).values()} == {"sub-001"}
        assert connection.scalar(select(func.count()).select_from(expected_visit)) == 12 + 4


def test_site_must_be_registered(trial: Trial) -> None:
    table = write_schedule(trial.folder / "new.tsv", {"sub-001": "S07"})
    with pytest.raises(UsageError, match="site S07 is not registered"), trial.store.writing() as connection:
        replace_schedule(connection, read_schedule(table), b"", by="admin", reason="x")
