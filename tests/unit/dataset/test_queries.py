"""Queries: nothing is lost, nothing stands there twice, and what is closed stays closed."""

import csv
import datetime as dt
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.dataset import query_table
from mesems_mri.dataset.input_tables import refuse_forbidden_columns
from mesems_mri.dataset.queries import (
    COLUMNS,
    LOCK,
    TABLE,
    Query,
    add_queries,
    answer_query,
    blocking_queries,
    close_query,
    new_query,
    read_queries,
)
from mesems_mri.dataset.query_answers import Answer, AnswerKind
from mesems_mri.dataset.query_log import LOG
from mesems_mri.dataset.reasons import QUERIES, QueryCode
from mesems_mri.errors import DatasetError, UsageError

DAY = dt.date(2024, 3, 31)
TEXTS = st.text(max_size=60)


def a_query(**changes: object) -> Query:
    given: dict[str, object] = {
        "words": "FLAIR has 30 of 32",
        "role": "FLAIR",
        "detail": ("2.25.7", "30/32"),
        "series_id": "2.25.7",
        "site_id": "S01",
        "participant_id": "sub-01",
        "session_id": "ses-w04",
        "submission_id": "one",
    }
    return new_query(QueryCode.MISSING_SLICES, **(given | changes))  # type: ignore[arg-type]


def file_image(folder: Path, role: str = "FLAIR", visit: str = "sub-01/ses-w04") -> None:
    """File the image of a role, so that no query waits for it."""
    image = folder / visit / "anat" / f"{visit.replace('/', '_')}_{role}.nii.gz"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()


def test_every_code_says_what_is_wrong_and_what_to_do() -> None:
    assert set(QUERIES) == set(QueryCode)
    for text in QUERIES.values():
        assert len(text.what) > 10
        assert len(text.to_do) > 10
        assert text.what[0].isupper()
        assert not text.what.endswith((".", ":"))
        assert not text.to_do.endswith(".")
    assert {text.blocking for text in QUERIES.values()} == {True, False}


def test_columns_begin_as_the_sites_know_them() -> None:
    assert COLUMNS[:11] == (
        "query_id", "site_id", "participant_id", "session_id", "code", "what", "action", "blocking", "status",
        "opened", "closed",
    )  # fmt: skip
    assert COLUMNS[-8:] == (
        "submission_id", "role", "detail", "series_id", "answer", "answered", "answered_by", "visits",
    )  # fmt: skip


def test_query_gets_a_number_and_a_day_and_is_read_back(tmp_path: Path) -> None:
    (added,) = add_queries(tmp_path, [a_query()], today=DAY)
    assert (added.query_id, added.status, added.opened, added.closed) == ("Q0001", "open", "2024-03-31", "")
    assert added.what == "Slices are missing: FLAIR has 30 of 32"
    assert read_queries(tmp_path) == (added,)
    assert read_queries(tmp_path / "empty") == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(QueryCode), TEXTS, TEXTS, st.booleans()), min_size=1, max_size=8),
    TEXTS.filter(lambda text: any(map(str.isprintable, text)) and text.strip()),
)
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[QueryCode, str, str, bool]], name: str
) -> None:
    folder = tmp_path_factory.mktemp("q")
    wanted = [
        new_query(code, words=text, detail=(text,), action=text, blocking=blocking, submission_id=submission)
        for code, text, submission, blocking in made
    ]
    added = add_queries(folder, wanted, today=DAY)
    table = read_queries(folder)
    assert [q.content for q in added] == [q.content for q in wanted]
    assert set(added) == set(table)
    assert len({q.content for q in wanted}) == len(table)
    assert add_queries(folder, reversed(wanted), today=DAY) == added[::-1]
    assert read_queries(folder) == table
    reason = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if reason:
        close_query(folder, "Q0001", by=name, reason=name, today=DAY)
        assert read_queries(folder)[0].closed_by == reason
    assert len((folder / TABLE).read_text(encoding="utf-8").split("\n")) == len(table) + 2


def test_same_content_twice_is_one_row_and_the_file_does_not_change(tmp_path: Path) -> None:
    add_queries(tmp_path, [a_query(), a_query()], today=DAY)
    before = (tmp_path / TABLE).read_bytes()
    (again,) = add_queries(tmp_path, [a_query()], today=DAY + dt.timedelta(days=3))
    assert again.query_id == "Q0001"
    assert (tmp_path / TABLE).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"detail": ("2.25.7", "31/32")},
        {"role": "T2w"},
        {"session_id": "ses-w12"},
        {"site_id": "S02"},
        {"submission_id": "two"},
    ],
)
def test_another_content_is_another_query(tmp_path: Path, change: dict[str, object]) -> None:
    first, second = add_queries(tmp_path, [a_query(), a_query(**change)])
    assert (first.query_id, second.query_id) == ("Q0001", "Q0002")


def test_other_words_series_and_blocking_are_the_same_query(tmp_path: Path) -> None:
    add_queries(tmp_path, [a_query()])
    before = (tmp_path / TABLE).read_bytes()
    add_queries(tmp_path, [a_query(words="30", action="Repeat the scan", blocking=False, series_id="")])
    assert (tmp_path / TABLE).read_bytes() == before


def make_older(folder: Path) -> None:
    """Write the table as a version without role, detail and series did."""
    (folder / LOG).unlink()
    rows = [line.split("\t")[:-7] for line in (folder / TABLE).read_text(encoding="utf-8").splitlines()]
    (folder / TABLE).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def older_table(folder: Path, queries: Sequence[Query], *closed: str) -> None:
    add_queries(folder, queries, today=DAY)
    file_image(folder)
    for query_id in closed:
        close_query(folder, query_id, by="Reader", reason="agreed", today=DAY)
    make_older(folder)


def test_older_table_is_read_and_kept(tmp_path: Path) -> None:
    older_table(tmp_path, [a_query(), a_query(submission_id="two")], "Q0001")
    first, second = read_queries(tmp_path)
    assert (first.role, first.detail, first.series_id, first.values) == ("", "", "", ())
    assert (first.status, first.submission_id, second.blocks_visit) == ("closed", "one", True)
    close_query(tmp_path, "Q0002", by="Reader", reason="agreed", today=DAY)
    assert read_queries(tmp_path)[0] == first
    assert (tmp_path / TABLE).read_text(encoding="utf-8").startswith("\t".join(COLUMNS) + "\n")


@pytest.mark.parametrize("words", ["FLAIR has 30 of 32", "worded anew"])
def test_older_query_is_not_asked_again_and_gets_what_it_lacks(tmp_path: Path, words: str) -> None:
    older_table(tmp_path, [a_query()], "Q0001")
    (again,) = add_queries(tmp_path, [a_query(words=words)])
    assert (again.query_id, again.status, again.detail) == ("Q0001", "closed", "2.25.7,30/32")
    assert again.what == a_query().what
    assert read_queries(tmp_path) == (again,)
    assert [q.query_id for q in add_queries(tmp_path, [a_query(role="T2w")])] == ["Q0002"]


@pytest.mark.parametrize("change", [{"session_id": "ses-w12"}, {"site_id": "T"}, {"submission_id": "two"}])
def test_older_query_stands_for_none_of_another_subject(tmp_path: Path, change: dict[str, object]) -> None:
    older_table(tmp_path, [a_query()], "Q0001")
    (other,) = add_queries(tmp_path, [a_query(**change)])
    assert (other.query_id, other.status) == ("Q0002", "open")
    assert read_queries(tmp_path)[0].detail == ""


def test_older_queries_are_told_apart_by_their_words_else_by_their_order(tmp_path: Path) -> None:
    both = [a_query(role=role, words=role) for role in ("FLAIR", "T2w")]
    older_table(tmp_path, both, "Q0001")
    assert [q.query_id for q in add_queries(tmp_path, both[::-1])] == ["Q0002", "Q0001"]
    older_table(tmp_path, both)
    anew = [replace(query, what="x") for query in both]
    assert [(q.query_id, q.role) for q in add_queries(tmp_path, anew)] == [
        ("Q0001", "FLAIR"),
        ("Q0002", "T2w"),
    ]


def test_closed_query_is_not_opened_again_by_the_same_submission(tmp_path: Path) -> None:
    file_image(tmp_path)
    add_queries(tmp_path, [a_query()], today=DAY)
    closed = close_query(tmp_path, "q0001", by="Reader", reason="sent again", today=DAY)
    assert (closed.status, closed.closed, closed.closed_by) == ("closed", "2024-03-31", "Reader")
    assert add_queries(tmp_path, [a_query()], today=DAY) == (closed,)
    assert [q.query_id for q in add_queries(tmp_path, [a_query(submission_id="two")])] == ["Q0002"]
    assert read_queries(tmp_path)[0] == closed


def test_closing_twice_is_one_closing_but_another_reason_is_refused(tmp_path: Path) -> None:
    file_image(tmp_path)
    add_queries(tmp_path, [a_query()], today=DAY)
    closed = close_query(tmp_path, "Q0001", by="Reader", reason="sent again", today=DAY)
    assert close_query(tmp_path, "Q0001", by="Reader", reason="sent again") == closed
    with pytest.raises(UsageError, match=r"closed on 2024-03-31 by Reader \(sent again\)"):
        close_query(tmp_path, "Q0001", by="Reader", reason="other")


@pytest.mark.parametrize(
    ("query_id", "by", "reason", "words"),
    [
        ("Q0002", "A", "b", "Q0001 to Q0001"),
        ("nonsense", "A", "b", "no query nonsense"),
        ("Q0001", " \t", "b", "--by is empty"),
        ("Q0001", "A", "\x00", "--reason is empty"),
    ],
)
def test_wrong_closing_is_refused_and_changes_nothing(
    tmp_path: Path, query_id: str, by: str, reason: str, words: str
) -> None:
    add_queries(tmp_path, [a_query()])
    before = (tmp_path / TABLE).read_bytes()
    with pytest.raises(UsageError, match=re.escape(words)):
        close_query(tmp_path, query_id, by=by, reason=reason)
    assert (tmp_path / TABLE).read_bytes() == before


def test_only_open_blocking_queries_hold_their_own_visit(tmp_path: Path) -> None:
    file_image(tmp_path, visit="sub-01/ses-w24")
    add_queries(
        tmp_path,
        [
            a_query(),
            a_query(session_id="ses-w12", blocking=False),
            a_query(session_id="ses-w24"),
            a_query(participant_id="", session_id=""),
        ],
    )
    close_query(tmp_path, "Q0003", by="Reader", reason="sent again")
    held = blocking_queries(tmp_path)
    assert {key: [q.query_id for q in found] for key, found in held.items()} == {
        ("sub-01", "ses-w04"): ["Q0001"],
        ("", ""): ["Q0004"],
    }


FORMER = COLUMNS[:-4]
"""Columns of a table without a log."""
ROW = "Q0001\tS\tsub-1\tses-1\tmissing_slices\twhat\taction\ttrue\topen\t2024-01-01" + "\t" * 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no table"),
        ("query_id\tcode\n", "site_id"),
        ("\t".join(reversed(COLUMNS)), "out of order"),
        (ROW.replace("missing_slices", "no_such_code"), "line 2 has code 'no_such_code'"),
        (ROW.replace("true", "yes"), "blocking 'yes'"),
        (ROW.replace("\topen\t", "\tOpen\t"), "status 'Open'"),
        (ROW.replace("Q0001", "1"), "query_id '1'"),
        (ROW.replace("\twhat", ""), "16 fields"),
        (f"{ROW}\textra", "18 fields"),
        (f"{ROW}\n{ROW}", "Q0001 stands there 2 times"),
    ],
)
def test_table_that_somebody_damaged_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    table = "\t".join(FORMER) + "\n" + text if text.startswith(("Q", "1")) else text
    (tmp_path / TABLE).write_text(table, encoding="utf-8")
    with pytest.raises(DatasetError, match=re.escape(words)):
        read_queries(tmp_path)


def test_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_bytes(
        b"\xef\xbb\xbf" + ("\t".join(FORMER) + "\r\n" + ROW.replace("what", '"a ""b"", c"') + "\r\n").encode()
    )
    assert [q.what for q in read_queries(tmp_path)] == ['a "b", c']


def test_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_queries(tmp_path)


def test_numbers_go_on_after_the_highest(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("\t".join(FORMER) + "\n" + ROW.replace("Q0001", "Q9999") + "\n")
    assert [q.query_id for q in add_queries(tmp_path, [a_query(), a_query(site_id="T")])] == [
        "Q10000",
        "Q10001",
    ]
    assert len(read_queries(tmp_path)) == 3


def test_table_unblinds_nobody_and_is_csv(tmp_path: Path) -> None:
    add_queries(tmp_path, [a_query(words='"quoted"\tand\nbroken')])
    refuse_forbidden_columns(tmp_path)
    with (tmp_path / TABLE).open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream, delimiter="\t", strict=True)
    assert row["what"] == 'Slices are missing: "quoted" and broken'


PROGRAM = """
import sys
from pathlib import Path
from mesems_mri.dataset.queries import add_queries, close_query, new_query
from mesems_mri.dataset.reasons import QueryCode
folder, who = Path(sys.argv[1]), sys.argv[2]
for i in range(25):
    own = new_query(QueryCode.OUTSIDE_WINDOW, words=f"{who} {i}", detail=(who, i))
    both = new_query(QueryCode.OUTSIDE_WINDOW, words=f"both {i}", detail=("both", i))
    (query, _) = add_queries(folder, [own, both])
    if i % 5 == 0:
        close_query(folder, query.query_id, by=who, reason="done")
"""


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    running = [subprocess.Popen([*command, who]) for who in ("first", "second")]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    table = read_queries(tmp_path)
    details = {q.what.split(": ")[1] for q in table}
    assert details == {f"{who} {i}" for who in ("first", "second", "both") for i in range(25)}
    assert [q.query_id for q in table] == [f"Q{i:04}" for i in range(1, 76)]
    assert {q.what.split(": ")[1] for q in table if q.status == "closed"} == {
        f"{who} {i}" for who in ("first", "second") for i in range(0, 25, 5)
    }
    assert {p.name for p in tmp_path.iterdir()} == {TABLE, LOCK, LOG}


def test_threads_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: add_queries(tmp_path, [a_query(detail=(i,))]), range(40)))
    assert [q.query_id for q in read_queries(tmp_path)] == [f"Q{i:04}" for i in range(1, 41)]


def test_a_crash_in_the_middle_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_queries(tmp_path, [a_query()])
    before = (tmp_path / TABLE).read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space"):
        add_queries(tmp_path, [a_query(site_id="T")])
    monkeypatch.undo()
    assert (tmp_path / TABLE).read_bytes() == before
    assert add_queries(tmp_path, [a_query(site_id="T")])[0].query_id == "Q0002"


def test_a_crash_between_log_and_table_counts_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_queries(tmp_path, [a_query(), a_query(role="T1w")], today=DAY)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(query_table, "_write_table", die)
        answer_query(tmp_path, "Q0001", Answer(AnswerKind.NOT_ACQUIRED), by="Reader", today=DAY)
    assert [query.status for query in read_queries(tmp_path)] == ["closed", "open"]
    answer_query(tmp_path, "Q0002", Answer(AnswerKind.NOT_ACQUIRED), by="Reader", today=DAY)
    assert [query.status for query in read_queries(tmp_path)] == ["closed", "closed"]
    assert (tmp_path / TABLE).read_text(encoding="utf-8").count("not-acquired") == 2


def test_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        add_queries(tmp_path / "no", [a_query()])
    assert add_queries(tmp_path / "no", []) == ()


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_command_line_lists_and_closes(tmp_path: Path) -> None:
    file_image(tmp_path)
    add_queries(tmp_path, [a_query(), a_query(site_id="S02", participant_id="sub-02")], today=DAY)
    text = said("query", "list", tmp_path)
    assert "Q0001  missing_slices  site S01, sub-01/ses-w04  (blocking, 2024-03-31)" in text
    assert "Slices are missing: FLAIR has 30 of 32" in text
    assert "to do: Send the whole series again" in text
    assert "2 of 2 queries; 2 visits are on hold" in text
    assert "Q0001" not in said("query", "list", tmp_path, "--site", "S02")
    assert "Q0002" not in said("query", "list", tmp_path, "--participant", "01")
    closed = said("query", "close", tmp_path, "Q0001", "--by", "R", "--reason", "sent again")
    assert "Q0001 is closed (missing_slices, by R" in closed
    assert "sub-01/ses-w04 has no blocking query left" in closed
    assert "Q0001" not in said("query", "list", tmp_path)
    assert "by R: sent again" in said("query", "list", tmp_path, "--status", "closed")
    assert "1 visit is on hold" in said("query", "list", tmp_path, "--status", "all")


def test_command_line_names_what_a_visit_still_waits_for(tmp_path: Path) -> None:
    file_image(tmp_path)
    add_queries(tmp_path, [a_query(), a_query(role="T1w")])
    assert "sub-01/ses-w04 is still blocked by Q0002" in said(
        "query", "close", tmp_path, "Q0001", "--by", "R", "--reason", "sent again"
    )


def test_command_line_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["query", "list", str(tmp_path / "no")])
    assert isinstance(result.exception, DatasetError)


def test_a_query_of_a_site_gathers_its_visits_and_keeps_its_number(tmp_path: Path) -> None:
    def asked(visit: str, detail: str = "echo_time=12") -> Query:
        recurring = new_query(
            QueryCode.PROTOCOL_DEVIATION, words="TE 12 ms", site_id="S01", role="FLAIR", detail=(detail,),
            visits=visit,
        )  # fmt: skip
        return add_queries(tmp_path, [recurring], today=DAY)[0]

    first = asked("sub-1/ses-1")
    again = asked("sub-2/ses-1")
    assert (again.query_id, again.visits) == (first.query_id, "sub-1/ses-1,sub-2/ses-1")
    assert asked("sub-2/ses-1") == again
    assert read_queries(tmp_path) == (again,)
    close_query(tmp_path, again.query_id, by="Reader", reason="accepted", today=DAY)
    closed = asked("sub-3/ses-1")
    assert (closed.status, closed.visit_names[-1]) == ("closed", "sub-3/ses-1")
    assert asked("sub-3/ses-2", "echo_time=20").query_id == "Q0002"
