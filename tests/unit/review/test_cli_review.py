"""The reading as somebody types it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesems_mri.cli.main import app
from mesems_mri.errors import DatasetError, UsageError
from mesems_mri.review.accounts import SignInError
from mesems_mri.review.desk import Desk
from mesems_mri.review.store import ReadingStore, tasks
from tests.unit.review.reading_study import ReadingStudy
from tests.unit.review.service import Centre
from tests.unit.review.test_centre import read_visit

RUNNER = CliRunner()


def run(*arguments: object, fails: type[Exception] | None = None) -> str:
    result = RUNNER.invoke(app, ["review", *map(str, arguments)])
    if fails:
        assert isinstance(result.exception, fails), result.output
        return str(result.exception)
    assert result.exception is None, result.output + str(result.exception)
    return result.output


def test_reading_centre_by_commands(
    own_study: ReadingStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "reading.db"
    monkeypatch.setenv("MESEMS_REVIEW_DATABASE", str(database))
    assert "4 visits can be read" in run("init", own_study.out_dir, "--study", "MESEMS", "--re-reads", 0)
    assert "is a reading already" in run("init", own_study.out_dir, "--study", "MESEMS", fails=UsageError)
    for name, role in (("anna", "reader"), ("ben", "reader"), ("judith", "adjudicator")):
        run("user", "add", name, "--role", role, "--password-file", secret(tmp_path, name))
    for name in ("max", "mona"):
        run("user", "add", name, "--role", "manager", "--password-file", secret(tmp_path, name))
    assert "anna: reader" in run("user", "list")
    assert "assigned 4 visits to two readers each" in run("assign")
    assert "assigned 0 visits" in run("assign")
    assert "assigned: 4" in run("status")

    centre = Centre.__new__(Centre)
    centre.study, centre.store = own_study, ReadingStore(str(database))
    centre.restart()
    with centre.store.reading() as connection:
        everything = tasks(connection)
    for task in everything:
        reject = task.reader == "anna" and task.visit == ("sub-002", "ses-w04")
        read_visit(centre.browser(task.reader), task.task_id, reject_gel=reject)
    assert "concordant: 3" in run("status")
    assert "1 visits are given" in run("adjudicate")
    key = ("--by", "max", "--password-file", secret(tmp_path, "max"))
    shown = run("lock", *key)
    assert "locked 3 visits" in shown
    assert "sub-001/ses-w04: v001 " in shown
    other = ("--by", "mona", "--password-file", secret(tmp_path, "mona"))
    assert "its readers have it again" in run("reopen", "002", "w04", *key)
    assert "in adjudication by judith" in run("lock", "002", "w04", *key, fails=UsageError)
    run("lock", *("--by", "max", "--password-file", secret(tmp_path, "ben")), fails=SignInError)
    reader = ("--by", "anna", "--password-file", secret(tmp_path, "anna"))
    assert "expected a manager" in run("lock", *reader, fails=UsageError)

    assert "the reading is intact" in run("audit")
    run("unlock", "001", "w04", "--reason", "a lesion was overlooked", *key)
    assert "expected another person" in run("unlock", "001", "w04", *key, fails=UsageError)
    assert "v001 does not hold any more" in run("unlock", "001", "w04", *other)
    assert "sub-001/ses-w04: assigned" in run("status", "--visits")
    assert "agreement.tsv" in run("export", tmp_path / "reports")
    own_study.layout.read_version("sub-001", "ses-w00", 1).unlink()
    assert "not intact (1 problems)" in run("audit", fails=DatasetError)
    run("user", "revoke", "ben")
    assert "ben: reader (revoked" in run("user", "list")
    centre.store.close()


def secret(folder: Path, name: str) -> Path:
    path = folder / f"{name}.password"
    path.write_text(f"correct horse {name}\n")
    return path


def test_folder_alone_is_the_reading_of_one_user(
    own_study: ReadingStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        "mesems_mri.review.serve.serve_single", lambda folder, port, say: served.append((folder, port))
    )
    run(own_study.out_dir)
    run(own_study.out_dir, "--port", 9000)
    assert served == [(own_study.out_dir, 8321), (own_study.out_dir, 9000)]
    assert RUNNER.invoke(app, ["review", str(own_study.out_dir / "nothing")]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "without TLS passwords could be read"),
        (("--host", "0.0.0.0", "--behind-proxy"), "--name: is missing"),
        (("--tls-key", "key.pem"), "--tls-certificate: is missing"),
        (("--tls-key", "key.pem", "--tls-certificate", "no.pem"), "cannot be used for TLS"),
    ],
)
def test_passwords_never_travel_unencrypted(
    own_study: ReadingStudy, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    database = tmp_path / "r.db"
    run("init", own_study.out_dir, "--study", "MESEMS", "--database", database)
    assert words in run("serve", "--database", database, *arguments, fails=UsageError)


def test_commands_name_what_is_wrong(own_study: ReadingStudy, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    assert "is no reading" in run("status", "--database", empty, fails=UsageError)
    (tmp_path / "nothing").mkdir()
    assert "holds no visit" in run(
        "init", tmp_path / "nothing", "--study", "S", "--database", empty, fails=DatasetError
    )
    database = tmp_path / "r.db"
    run("init", own_study.out_dir, "--study", "MESEMS", "--database", database)
    assert "expected at least 2" in run("assign", "--database", database, fails=UsageError)
    assert "anna is no reader" in run("assign", "--reader", "anna", "--database", database, fails=UsageError)
    assert Desk(ReadingStore(str(database))).settings.re_read_percent == 10
