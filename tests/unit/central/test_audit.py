"""The audit trail can be added to and not changed; a change that gets past the database is found."""

import pytest
from sqlalchemy import delete, exc, select, update

from mesems_mri.central import schema
from mesems_mri.dataset import audit
from mesems_mri.errors import ForbiddenColumnError
from tests.unit.central.bundles import Bundle, visit
from tests.unit.central.conftest import Trial


@pytest.fixture
def filled(trial: Trial) -> Trial:
    assert trial.send(Bundle([visit("sub-001", 0)])).accepted
    return trial


@pytest.mark.parametrize("table", schema.APPEND_ONLY, ids=lambda table: table.name)
def test_database_refuses_to_change_or_remove(filled: Trial, table: schema.Table) -> None:
    column = (
        next(c for c in table.c if not c.primary_key and not c.foreign_keys)
        if table.name not in ("transfer_file",)
        else table.c.name
    )
    if table.name == "rejection":
        filled.send(Bundle([visit("sub-101", 0)], sequence=2, previous="0" * 64))
    for statement in (update(table).values({column: column}), delete(table)):
        with (
            pytest.raises(exc.IntegrityError, match=f"{table.name} is append-only"),
            filled.store.writing() as connection,
        ):
            assert connection.scalar(select(table).limit(1)) is not None
            connection.execute(statement)


def tamper(trial: Trial, *statements: str) -> list[str]:
    with trial.store.engine.begin() as connection:
        for name in ("update", "delete"):
            connection.exec_driver_sql(f"DROP TRIGGER audit_no_{name}")
        for statement in statements:
            connection.exec_driver_sql(statement)
    with trial.store.reading() as connection:
        return audit.verify(connection)


def test_trail_is_whole(filled: Trial) -> None:
    with filled.store.reading() as connection:
        assert audit.verify(connection) == []
        assert audit.head(connection).number == len(list(audit.listing(connection)))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit SET actor = 'somebody else' WHERE number = 3", "entry 3 was changed"),
        ("UPDATE audit SET details = '{}' WHERE action = 'transfer.accepted'", "was changed after"),
        ("UPDATE audit SET at = '2020-01-01T00:00:00Z' WHERE number = 1", "entry 1 was changed"),
        ("DELETE FROM audit WHERE number = 2", "entry 3 follows entry 1"),
        ("UPDATE audit SET number = 99 WHERE number = 2", "entry 3 follows entry 1"),
    ],
)
def test_change_behind_the_back_of_the_database_is_found(filled: Trial, statement: str, words: str) -> None:
    assert words in " ".join(tamper(filled, statement))


def test_entry_sealed_anew_is_found_in_the_one_after_it(filled: Trial) -> None:
    with filled.store.reading() as connection:
        row = dict(
            connection.execute(select(schema.audit).where(schema.audit.c.number == 3)).mappings().one()
        )
    forged = audit._seal(row | {"actor": "x"})
    problems = tamper(filled, f"UPDATE audit SET actor = 'x', hash = '{forged}' WHERE number = 3")
    assert problems == ["audit trail: entry 4 was not written after the entry that stands before it"]


def test_end_that_was_cut_off_is_found_with_a_receipt(filled: Trial) -> None:
    with filled.store.reading() as connection:
        last = audit.head(connection)
    assert tamper(filled, f"DELETE FROM audit WHERE number = {last.number}") == []
    with filled.store.reading() as connection:
        assert f"entry {last.number} with the hash {last.hash} is gone" in audit.verify(connection, last)[0]
        assert audit.verify(connection, audit.head(connection)) == []


def test_details_name_no_forbidden_column(trial: Trial) -> None:
    with pytest.raises(ForbiddenColumnError), trial.store.writing() as connection:
        audit.append(connection, "2026-01-01T00:00:00Z", "x", "x", "x", {"arm": "A"})
