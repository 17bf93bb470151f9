"""Contrast phase as weighed evidence: name, bolus tags, clock, dose and order; a contradiction is asked."""

from typing import Any

import pytest

from mesems_mri.intake.classify import ClassifiedSeries, classify_series
from mesems_mri.intake.dicom.agent import agent_of_text, agent_said
from mesems_mri.intake.protocol import Agent
from tests.unit.intake.scans import FLAIR, T1, header, series

PRE, POST = "T1w", "ce-gadolinium_T1w"
BOLUS = {"ContrastBolusAgent": "Gadovist", "ContrastBolusVolume": 7}


def classified(*sent: Any, given: bool | None = True) -> list[ClassifiedSeries]:
    found = classify_series(sent, contrast_given=given)
    # the order in which series are listed decides nothing
    turned = classify_series(sent[::-1], contrast_given=given)[::-1]
    assert [(one.role, one.unclear) for one in turned] == [(one.role, one.unclear) for one in found]
    return found


def roles(*sent: Any, given: bool | None = True) -> list[str]:
    return [one.role if one.role != "other" else one.unclear for one in classified(*sent, given=given)]


# bolus tags

NO_AGENT = [
    *(
        "NO CONTRAST",
        "0 ml",
        "kein KM",
        "NONE",
        "no",
        "Not given",
        "ohne KM",
        "sans injection",
        "senza mdc",
        "0",
    ),
    *(
        "sin contraste",
        "bez kontrastu",
        "uden kontrast",
        "Gadovist 0 ml",
        "without gadolinium",
        "nativ",
        "0.0 cc",
    ),
    *("geen contrast", "zonder gadolinium", "keine", "brak", "ilman varjoainetta", "non injecté"),
]
AN_AGENT = [
    *(
        "Gadovist",
        "GADAVIST 1.0",
        "Dotarem 0.5 mmol/ml",
        "Gd-DTPA",
        "gadolinium",
        "MultiHance",
        "ProHance",
        "Gd",
    ),
    *("Gadovist 7 ml", "Magnevist i.v.", "gadobutrol", "GD DOTA", "Clariscan 15 ml", "dotarem"),
]
NOTHING = ["", "-", "n/a", "unknown", "KM", "contrast", "YES", "Xyzzy", "nélkül Gadovist", "brez Gadovist"]


@pytest.mark.parametrize("typed", NO_AGENT)
def test_a_text_that_says_that_none_was_given(typed: str) -> None:
    assert agent_of_text(typed) is False
    assert roles(series("T1", ContrastBolusAgent=typed, ContrastBolusVolume=0, **T1), given=None) == [PRE]


@pytest.mark.parametrize("typed", AN_AGENT)
def test_a_known_agent(typed: str) -> None:
    assert agent_of_text(typed) is True
    assert roles(series("T1", ContrastBolusAgent=typed, **T1)) == [POST]


@pytest.mark.parametrize("typed", NOTHING)
def test_a_text_that_is_not_understood_says_nothing(typed: str) -> None:
    assert agent_of_text(typed) is None


def test_an_agent_of_the_protocol_is_known() -> None:
    agents = [Agent(name="newgad", words=("novoscan",), mmol_per_ml=0.5)]
    assert (agent_of_text("Novoscan", agents), agent_of_text("Novoscan")) == (True, None)


def test_a_volume_is_an_agent_given_and_none_of_it_is_not() -> None:
    assert agent_said(header(ContrastBolusAgent="Xyzzy", ContrastBolusVolume=7)).given is True
    assert agent_said(header(ContrastBolusAgent="Gadovist", ContrastBolusVolume=0)).given is None
    assert agent_said(header(ContrastBolusVolume=0)).given is None
    assert agent_said(header(ContrastBolusAgent="NO CONTRAST", ContrastBolusVolume=7)).given is None


def test_what_somebody_typed_is_not_repeated() -> None:
    assert "Mueller" not in agent_said(header(ContrastBolusAgent="Gadovist Mueller")).because


# contradictions are asked


@pytest.mark.parametrize(
    ("name", "tags", "given"),
    [
        ("T1 post", {"ContrastBolusAgent": "NONE"}, True),
        ("T1 mit KM", {"ContrastBolusAgent": "0 ml"}, True),
        ("T1 post", {}, False),
        ("T1", BOLUS, False),
        ("T1 pre", BOLUS, True),
        ("T1 ohne KM", BOLUS, None),
        ("T1 post", {**BOLUS, "ContrastBolusStartTime": "101500", "at": "100700"}, True),
        ("T1", {**BOLUS, "ContrastBolusStartTime": "101500", "at": "100700"}, True),
        ("T1 nativ", {"ContrastBolusStartTime": "101500", "at": "102000"}, True),
    ],
)
def test_a_contradiction_is_asked(name: str, tags: dict[str, Any], given: bool | None) -> None:
    (found,) = classified(series(name, **T1, **tags), given=given)
    assert (found.role, found.unclear) == ("other", "phase")
    assert "contradictory" in found.reason
    assert len({vote.role for vote in found.votes} - {""}) == 2


def test_names_against_the_order_in_time_are_asked() -> None:
    assert roles(series("T1 post", at="100000", **T1), series("T1 pre", at="102000", **T1)) == [
        "phase",
        "phase",
    ]


# clock


@pytest.mark.parametrize(
    ("injected", "began", "day", "role"),
    [
        ("235800", "000600", "20240305", POST),
        ("000500", "235000", "20240304", PRE),
        ("235800", "234000", "20240304", PRE),
        ("000100", "000900", "20240305", POST),
    ],
)
def test_midnight_between_injection_and_scan(injected: str, began: str, day: str, role: str) -> None:
    tags = {"ContrastBolusStartTime": injected, "AcquisitionDate": day}
    assert roles(series("T1", at=began, **T1, **tags)) == [role]


@pytest.mark.parametrize("injected", ["112200", "092200", "122200"])
def test_an_injector_whose_clock_is_off_by_hours(injected: str) -> None:
    tags = {**BOLUS, "ContrastBolusStartTime": injected}
    pre, post = classified(series("T1 pre", at="101000", **T1), series("T1 post", at="103000", **T1, **tags))
    assert (pre.role, post.role) == (PRE, POST)
    if injected != "092200":  # 68 minutes after an injection is a late scan, but one after it
        assert any("the clock of the injector is" in vote.because for vote in post.votes)


def test_an_injector_clock_off_by_some_other_time_is_asked() -> None:
    tags = {**BOLUS, "ContrastBolusStartTime": "105500"}
    assert roles(series("T1 post", at="103000", **T1, **tags)) == ["phase"]


def test_a_clock_that_no_scan_can_have_says_nothing() -> None:
    (found,) = classified(series("T1 post", at="180000", **T1, **BOLUS, ContrastBolusStartTime="102000"))
    assert found.role == POST
    assert [vote.role for vote in found.votes if vote.kind == "clock"] == [""]


# what is confirmed


@pytest.mark.parametrize(
    ("sent", "confirmed"),
    [
        ([("T1 pre", "1000", {}), ("T1 post", "1020", {})], False),
        ([("T1", "1000", {}), ("T1", "1020", {})], False),
        ([("T1 pre", "1000", {}), ("T1 post", "1020", BOLUS)], True),
        ([("T1 pre", "1000", BOLUS), ("T1 post", "1020", BOLUS)], True),
        ([("T1 post", "1020", {"ContrastBolusStartTime": "101000"})], True),
        ([("T1 post", "1020", {"ContrastBolusAgent": "KM"})], False),
    ],
)
def test_a_post_contrast_scan_by_name_or_order_alone_is_not_confirmed(
    sent: list[tuple[str, str, dict[str, Any]]], confirmed: bool
) -> None:
    found = classified(*(series(name, at=at, **T1, **tags) for name, at, tags in sent))
    post = next(one for one in found if one.role == POST)
    assert post.confirmed is confirmed
    assert all(one.confirmed for one in found if one is not post)


def test_a_later_scan_of_another_kind_is_not_after_contrast_agent() -> None:
    later = {**T1, "RepetitionTime": 450, "EchoTime": 8}
    assert roles(series("T1 nativ", at="1000", **T1), series("T1 sag", at="1010", **later)) == [PRE, "phase"]


def test_every_vote_is_told() -> None:
    tags = {**BOLUS, "ContrastBolusStartTime": "102200"}
    pre, post = classified(series("T1 pre", at="1010", **T1), series("T1 post", at="103000", **T1, **tags))
    assert [vote.words for vote in pre.votes] == ["name pre (pre)", "agent silent (no bolus tags)"]
    assert [vote.words for vote in post.votes] == [
        "name post (post)",
        "agent post (the bolus tags give 7 ml)",
        "clock post (8 min after the injection)",
    ]


def test_of_two_flair_the_one_before_contrast_agent_is_taken() -> None:
    found = classified(series("flair", at="1000", **FLAIR), series("flair post Gd", at="1040", **FLAIR))
    assert [one.role for one in found] == ["FLAIR", "other"]
    assert "acquired after contrast agent" in found[1].reason
