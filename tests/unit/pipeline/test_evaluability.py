"""Evaluability of every part of a visit: the truth tables of the decisions."""

from typing import Any

import pytest

from mesems_mri.config import QualityRule
from mesems_mri.dataset.bids import POSTCONTRAST, Contrast
from mesems_mri.dataset.records.base import StepRecord
from mesems_mri.dataset.records.parts import ChangePart, Parts
from mesems_mri.dataset.records.registered_image import RefusedImage, RegisteredImage
from mesems_mri.errors import Reason
from mesems_mri.pipeline.evaluability import (
    ReferenceChoice,
    black_hole_reason,
    brain_reason,
    choose_reference,
    choose_t2_contrast,
    contrast_reason,
    covering_images,
    cua_reason,
    flair_reason,
    gel_reason,
    postcontrast_reason,
    qc_status,
    reference_images,
)
from tests.unit.pipeline.records import (
    earlier_visit,
    parts,
    refused_image,
    registered_image,
    standardise_record,
)

RULE = QualityRule(min_covered_fraction=0.9)
GOOD, CUT, BAD, OTHER = "good", "cut", "bad", "other"
"""An image that is evaluable, one that shows half a brain, one that failed, one of another head."""
Visit = dict[Contrast, str]


def images(states: Visit) -> dict[Contrast, RegisteredImage | RefusedImage]:
    made: dict[str, Any] = {
        GOOD: registered_image,
        CUT: lambda c: registered_image(c, covered_fraction=0.5),
        BAD: lambda _: refused_image("registration_failed"),
        OTHER: lambda _: refused_image("unreadable_file"),
    }
    return {contrast: made[state](contrast) for contrast, state in states.items()}


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ({}, "no_t2_type"),
        ({"T1w": GOOD, POSTCONTRAST: GOOD}, "no_t2_type"),
        ({"FLAIR": GOOD}, None),
        ({"PDw": GOOD, "T2w": GOOD}, "missing_scan"),
        ({"T2w": BAD}, "missing_scan"),
        # a FLAIR that cannot be read is not replaced by what is there beside it
        ({"FLAIR": BAD, "T2w": GOOD}, "registration_failed"),
        ({"FLAIR": OTHER, "T2w": GOOD, "PDw": GOOD}, "unreadable_file"),
        ({"FLAIR": CUT, "PDw": GOOD}, "incomplete_coverage"),
    ],
)
def test_t2_lesions_need_a_flair(states: Visit, reason: str | None) -> None:
    assert flair_reason(images(states), RULE) == reason


@pytest.mark.parametrize(
    ("states", "contrast", "reason"),
    [
        ({}, None, "no_t2_type"),
        ({"T1w": GOOD, POSTCONTRAST: GOOD}, None, "no_t2_type"),
        ({"FLAIR": GOOD}, "FLAIR", None),
        ({"PDw": GOOD, "T2w": GOOD, "FLAIR": GOOD}, "FLAIR", None),
        ({"PDw": GOOD, "T2w": GOOD}, "T2w", None),
        ({"PDw": GOOD}, "PDw", None),
        ({"FLAIR": BAD, "T2w": GOOD}, "T2w", None),
        ({"FLAIR": CUT, "PDw": GOOD}, "PDw", None),
        ({"FLAIR": BAD}, None, "registration_failed"),
        ({"FLAIR": CUT}, None, "incomplete_coverage"),
        # the reason of the preferred contrast goes before that of the others
        ({"FLAIR": BAD, "T2w": OTHER}, None, "registration_failed"),
        ({"FLAIR": OTHER, "T2w": BAD}, None, "unreadable_file"),
        # half an image goes before one that is refused
        ({"FLAIR": BAD, "T2w": CUT}, None, "incomplete_coverage"),
        ({"FLAIR": CUT, "T2w": BAD}, None, "incomplete_coverage"),
    ],
)
def test_contrast_of_masks_that_were_given(states: Visit, contrast: str | None, reason: str | None) -> None:
    assert choose_t2_contrast(images(states), RULE) == (contrast, reason)


@pytest.mark.parametrize(
    ("states", "history", "expected"),
    [
        ({"FLAIR": GOOD}, [], Reason.NO_REFERENCE_VISIT),
        ({"FLAIR": GOOD}, [earlier_visit("ses-1")], ("ses-1", ("FLAIR",))),
        ({"FLAIR": GOOD}, [earlier_visit("ses-1"), earlier_visit("ses-2")], ("ses-2", ("FLAIR",))),
        # unscheduled visits and those without T2 lesions are no reference
        (
            {"FLAIR": GOOD},
            [earlier_visit("ses-1"), earlier_visit("ses-u", visit_type="unscheduled")],
            ("ses-1", ("FLAIR",)),
        ),
        ({"FLAIR": GOOD}, [earlier_visit("ses-r", visit_type="repeat")], Reason.NO_REFERENCE_VISIT),
        (
            {"FLAIR": GOOD},
            [earlier_visit("ses-1"), earlier_visit("ses-2", t2_evaluable=False)],
            ("ses-1", ("FLAIR",)),
        ),
        ({"FLAIR": GOOD}, [earlier_visit("ses-1", t2_evaluable=False)], Reason.NO_REFERENCE_VISIT),
        # one earlier visit more is asked when the last has no contrast in common
        (
            {"FLAIR": GOOD},
            [earlier_visit("ses-1"), earlier_visit("ses-2", "T2w")],
            ("ses-1", ("FLAIR",)),
        ),
        ({"FLAIR": GOOD}, [earlier_visit("ses-1", "T2w", "T1w")], Reason.NO_COMMON_CONTRAST),
        # the preferred contrast comes first, whatever the order of the records
        (
            {"PDw": GOOD, "T2w": GOOD, "FLAIR": GOOD},
            [earlier_visit("ses-1", "PDw", "T2w", "FLAIR")],
            ("ses-1", ("FLAIR", "T2w", "PDw")),
        ),
        ({"T2w": GOOD, "FLAIR": CUT}, [earlier_visit("ses-1", "T2w", "FLAIR")], ("ses-1", ("T2w",))),
        ({"T2w": GOOD, "FLAIR": BAD}, [earlier_visit("ses-1", "T2w", "FLAIR")], ("ses-1", ("T2w",))),
        # T1w is no T2 contrast
        ({"T1w": GOOD}, [earlier_visit("ses-1", "T1w")], Reason.NO_COMMON_CONTRAST),
    ],
)
def test_reference_visit(states: Visit, history: list[Any], expected: Any) -> None:
    choice = choose_reference(images(states), history, RULE)
    found = (choice.visit.session_id, choice.contrasts) if isinstance(choice, ReferenceChoice) else choice
    assert found == expected


@pytest.mark.parametrize(
    ("states", "history", "expected"),
    [
        # a visit without FLAIR is no reference, even where masks were drawn on its T2w
        (
            {"FLAIR": GOOD, "T2w": GOOD},
            [earlier_visit("ses-1", "T2w", "FLAIR"), earlier_visit("ses-2", "T2w")],
            ("ses-1", ("FLAIR", "T2w")),
        ),
        ({"FLAIR": GOOD, "T2w": GOOD}, [earlier_visit("ses-1", "T2w")], Reason.NO_COMMON_CONTRAST),
        ({"FLAIR": GOOD}, [], Reason.NO_REFERENCE_VISIT),
    ],
)
def test_reference_visit_of_change_on_flair(states: Visit, history: list[Any], expected: Any) -> None:
    choice = choose_reference(images(states), history, RULE, read_on=("FLAIR",))
    found = (choice.visit.session_id, choice.contrasts) if isinstance(choice, ReferenceChoice) else choice
    assert found == expected


@pytest.mark.parametrize(
    ("states", "reason", "of_masks"),
    [
        ({"FLAIR": GOOD}, "no_postcontrast", "no_postcontrast"),
        ({"FLAIR": GOOD, POSTCONTRAST: BAD}, "registration_failed", "registration_failed"),
        ({"FLAIR": GOOD, POSTCONTRAST: CUT}, "incomplete_coverage", "incomplete_coverage"),
        # masks need no image of a T2 contrast, the detector does
        ({POSTCONTRAST: GOOD}, "no_t2_type", None),
        ({POSTCONTRAST: GOOD, "T1w": GOOD}, "no_t2_type", None),
        ({POSTCONTRAST: GOOD, "FLAIR": CUT}, "no_t2_type", None),
        ({POSTCONTRAST: GOOD, "FLAIR": BAD}, "no_t2_type", None),
        ({POSTCONTRAST: GOOD, "FLAIR": GOOD}, None, None),
        ({POSTCONTRAST: GOOD, "PDw": GOOD}, None, None),
    ],
)
def test_enhancing_lesions(states: Visit, reason: str | None, of_masks: str | None) -> None:
    assert gel_reason(images(states), RULE) == reason
    assert postcontrast_reason(images(states), RULE) == of_masks


@pytest.mark.parametrize(
    ("t1w", "t2", "gel", "reason"),
    [
        (GOOD, None, None, None),
        (GOOD, "no_t2_type", "no_postcontrast", "no_t2_type"),
        (None, None, None, "missing_scan"),
        (BAD, None, None, "registration_failed"),
        (CUT, None, None, "incomplete_coverage"),
        (CUT, None, "no_postcontrast", "incomplete_coverage"),
        (None, "no_t2_type", None, "no_t2_type"),
        (GOOD, None, "no_postcontrast", "no_postcontrast"),
    ],
)
def test_black_holes(t1w: str | None, t2: str | None, gel: str | None, reason: str | None) -> None:
    shown = images({"T1w": t1w} if t1w else {})
    assert black_hole_reason(shown, Parts.refused(t2).t2, Parts.refused(gel).gel, RULE) == reason


@pytest.mark.parametrize(
    ("gel", "change", "has_reference", "reason"),
    [
        (None, None, True, None),
        (None, None, False, "no_reference_visit"),
        ("no_postcontrast", None, True, "no_postcontrast"),
        (None, "no_common_contrast", True, "no_common_contrast"),
        ("no_postcontrast", "no_common_contrast", False, "no_postcontrast"),
        (None, "no_common_contrast", False, "no_common_contrast"),
    ],
)
def test_combined_unique_active_lesions(
    gel: str | None, change: str | None, has_reference: bool, reason: str | None
) -> None:
    found = cua_reason(
        Parts.refused(gel).gel, Parts.refused(change).t2_change, has_gel_reference=has_reference
    )
    assert found == reason


@pytest.mark.parametrize(
    ("status", "covered", "reason"),
    [
        ("done", 0.98, None),
        ("done", 0.5, "incomplete_coverage"),
        ("done", None, "incomplete_coverage"),
        ("failed", 0.98, "step_failed"),
        ("not_evaluable", None, "step_failed"),
    ],
)
def test_brain_volume(status: Any, covered: float | None, reason: str | None) -> None:
    brain = standardise_record().brain
    assert brain is not None
    brain = type(brain)(**{**vars(brain), "covered_fraction": covered}) if covered else None
    record = StepRecord(status=status, reason=None if status == "done" else "step_failed")
    assert brain_reason(record, brain, RULE) == reason


def test_only_images_that_show_enough_are_carried_on() -> None:
    shown = images({"T1w": GOOD, POSTCONTRAST: CUT, "T2w": BAD, "FLAIR": GOOD})
    assert list(covering_images(shown, RULE)) == ["T1w", "FLAIR"]
    assert list(reference_images(shown, RULE)) == ["T1w", "FLAIR"]
    less = QualityRule(min_covered_fraction=0.4)
    assert list(covering_images(shown, less)) == ["T1w", POSTCONTRAST, "FLAIR"]


@pytest.mark.parametrize(
    ("changes", "status", "flags", "expected"),
    [
        ({}, "done", [], "pass"),
        ({}, "done", ["no_flair"], "warn"),
        ({}, "not_evaluable", [], "fail"),
        ({"t2_change": ChangePart(reason="no_reference_visit")}, "done", [], "pass"),
        ({"t2_change": ChangePart(reason="no_common_contrast")}, "done", [], "fail"),
        ({"gel": Parts.refused("no_postcontrast").gel}, "done", ["no_flair"], "fail"),
        ({"black_hole": Parts.refused("missing_scan").black_hole}, "done", [], "fail"),
    ],
)
def test_quality_status(changes: dict[str, Any], status: Any, flags: list[str], expected: str) -> None:
    assert qc_status(StepRecord(status=status), parts(**changes), flags) == expected


@pytest.mark.parametrize(("vote", "reason"), [("pre", "contrast_unconfirmed"), ("post", None), ("", None)])
def test_only_a_contradiction_of_the_images_makes_contrast_unconfirmed(vote: Any, reason: str | None) -> None:
    assert contrast_reason(vote) == reason
