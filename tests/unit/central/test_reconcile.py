"""The list of expected against received visits."""

from mesems_mri.central.reconcile import (
    MEANING,
    ReconciliationLine,
    ReconciliationState,
    as_table,
    reconcile,
    summary,
)
from tests.unit.central.bundles import Bundle, query, visit
from tests.unit.central.conftest import Trial


def lines(trial: Trial, site_id: str | None = None) -> dict[str, ReconciliationLine]:
    with trial.store.reading() as connection:
        return {f"{line.participant_id}/{line.session_id}": line for line in reconcile(connection, site_id)}


def test_every_visit_has_one_state_and_its_reason(trial: Trial) -> None:
    sent = [
        visit("sub-001", 0),
        visit("sub-001", 12, reason="artefact"),
        visit("sub-001", 13, session_id="ses-u01", visit_type="unscheduled"),
        visit("sub-002", 0, day_from_baseline=-9),
        visit("sub-002", 4, reason="open_query"),
    ]
    asked = [
        query(1, "sub-002", 4),
        query(2, "sub-002", 12),
        query(3, "sub-002", 0, blocking=False),
        query(4, "sub-001", 0, status="closed"),
    ]
    assert trial.send(Bundle(sent, asked)).accepted
    found = lines(trial)
    assert {visit_: line.state for visit_, line in found.items() if line.site_id == "S01"} == {
        "sub-001/ses-w00": ReconciliationState.RECEIVED,
        "sub-001/ses-w04": ReconciliationState.MISSING,
        "sub-001/ses-w12": ReconciliationState.NOT_EVALUABLE,
        "sub-001/ses-u01": ReconciliationState.UNEXPECTED,
        "sub-001/ses-w24": ReconciliationState.AWAITED,
        "sub-002/ses-w00": ReconciliationState.RECEIVED,
        "sub-002/ses-w04": ReconciliationState.IN_QUERY,
        "sub-002/ses-w12": ReconciliationState.IN_QUERY,
        "sub-002/ses-w24": ReconciliationState.AWAITED,
    }
    assert found["sub-001/ses-w12"].reason == "gel: artefact; t2_change: artefact; t2: artefact"
    assert found["sub-002/ses-w12"].reason == "Q0002 missing_slices"
    assert found["sub-001/ses-w00"].reason == ""  # nothing to compare the first visit with is no fault
    assert found["sub-002/ses-w00"].days_outside_window == -4
    assert found["sub-001/ses-w00"].days_outside_window == 0
    assert found["sub-001/ses-w04"].days_outside_window is None
    assert all(line.state is ReconciliationState.AWAITED for line in found.values() if line.site_id == "S02")
    assert set(MEANING) == set(ReconciliationState)


def test_list_follows_corrections(trial: Trial) -> None:
    first = trial.send(Bundle([visit("sub-001", 0, reason="artefact")]))
    again = Bundle([visit("sub-001", 0)], sequence=2, previous=first.receipt.manifest_sha256)
    assert (lines(trial)["sub-001/ses-w00"].state, lines(trial)["sub-001/ses-w00"].version) == (
        ReconciliationState.NOT_EVALUABLE,
        1,
    )
    second = trial.send(again)
    line = lines(trial)["sub-001/ses-w00"]
    assert (line.state, line.version) == (ReconciliationState.RECEIVED, 2)
    assert line.received_at == second.receipt.received_at


def test_table_and_summary(trial: Trial) -> None:
    trial.send(Bundle([visit("sub-001", 0)]))
    with trial.store.reading() as connection:
        found = reconcile(connection)
    table = [row.split("\t") for row in as_table(found).splitlines()]
    assert table[0][:5] == ["site_id", "participant_id", "session_id", "week", "state"]
    assert table[1][:5] == ["S01", "sub-001", "ses-w00", "0", "received"]
    assert len(table) == 1 + 12
    assert summary(found)[0].startswith("S01: 1 received, 0 not evaluable, 0 in query, 0 missing, 7 awaited")
    assert summary(found)[-1].startswith("all sites: 1 received")
