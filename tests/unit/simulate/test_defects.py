"""Which visit of a simulated trial is bad, and that this never depends on the size of the trial."""

import pytest

from mesems_mri.simulate.defects import (
    SLOTS,
    UNSCHEDULED_AFTER,
    Defect,
    contrasts_of,
    missing_defects,
    unscheduled_week,
)

VISIT_DEFECTS = set(Defect) - {Defect.FORBIDDEN_COLUMN}


def test_three_participants_and_four_visits_hold_every_defect() -> None:
    assert missing_defects(3, [0, 4, 12, 24]) == missing_defects(3, [0, 4, 12]) == []
    assert {*SLOTS.values(), Defect.UNSCHEDULED} == VISIT_DEFECTS
    assert len(SLOTS) < 3 * 4 / 2, "most visits stay clean"
    assert all(visit > 0 for _, visit in SLOTS), "first visits stay clean"


@pytest.mark.parametrize(
    ("participants", "weeks", "missing"),
    [
        (1, [0, 4, 12], VISIT_DEFECTS - {Defect.NO_POSTCONTRAST, Defect.NO_FLAIR}),
        (3, [0, 4], {Defect.NO_FLAIR, Defect.HALF_COVERAGE, Defect.UNSCHEDULED}),
        (3, [0, 4, 5], {Defect.UNSCHEDULED}),
        (9, [0], VISIT_DEFECTS),
    ],
)
def test_what_a_small_trial_leaves_out(participants: int, weeks: list[int], missing: set[Defect]) -> None:
    assert set(missing_defects(participants, weeks)) == missing


def test_unscheduled_visit_lies_between_two_scheduled_ones_whatever_comes_later() -> None:
    participant, _ = UNSCHEDULED_AFTER
    assert unscheduled_week([0, 4, 12], participant) == 8
    assert unscheduled_week([0, 4, 12, 24, 48], participant) == 8
    assert unscheduled_week([0, 4, 12], participant + 1) is None
    assert unscheduled_week([0, 4], participant) is None


def test_contrasts_of_a_visit() -> None:
    assert set(contrasts_of(None)) == {"T1w", "ce-gadolinium_T1w", "FLAIR", "T2w"}
    assert set(contrasts_of(None)) - set(contrasts_of(Defect.NO_POSTCONTRAST)) == {"ce-gadolinium_T1w"}
    assert set(contrasts_of(Defect.NO_FLAIR)) == {"T1w", "ce-gadolinium_T1w", "T2w", "PDw"}
