"""Which image of the protocol a series is, and why."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from mesems_mri.intake.classify import IMAGE_ROLES, ClassifiedSeries, classify_series
from mesems_mri.intake.dicom.series import Series
from tests.unit.intake.scans import AXIAL, CORONAL, FLAIR, MPRAGE, PD, SAGITTAL, T1, T2, series

POST = "ce-gadolinium_T1w"


def one(description: str = "", contrast_given: bool | None = None, **tags: Any) -> ClassifiedSeries:
    (found,) = classify_series([series(description, **tags)], contrast_given=contrast_given)
    return found


def timing(sequence: str, tr: float, te: float, ti: float | None = None) -> dict[str, Any]:
    times = {"RepetitionTime": tr, "EchoTime": te, "InversionTime": ti}
    return {"ScanningSequence": sequence.split("\\"), **times}


def roles(*all_series: Series, contrast_given: bool | None = True) -> list[str]:
    return [found.role for found in classify_series(all_series, contrast_given=contrast_given)]


@pytest.mark.parametrize(
    ("description", "tags", "role"),
    [
        ("", T1, "T1w"),
        ("", MPRAGE, "T1w"),
        ("", timing("RM\\IR", 2200, 3, 1000), "T1w"),
        ("", timing("GR", 300, 2.5), "T1w"),
        ("", T2, "T2w"),
        ("", PD, "PDw"),
        ("", FLAIR, "FLAIR"),
        ("", timing("SE\\IR", 4800, 387, 1650), "FLAIR"),
        ("", timing("SE\\IR", 4000, 30, 160), "other"),
        ("", timing("GR", 700, 20), "other"),
        ("", timing("EP", 4000, 90), "other"),
        ("", timing("SE", 1400, 50), "other"),
        ("", {}, "other"),
        ("t2_tirm_tra_dark-fluid_3mm", {}, "FLAIR"),
        ("t2_fl_sag_p2_iso", {}, "FLAIR"),
        ("t1_fl2d_sag", timing("GR", 300, 2.5), "T1w"),
        ("3D FLAIR sag", {}, "FLAIR"),
        ("Sag CUBE T2 FLAIR", FLAIR, "FLAIR"),
        ("t1_mprage_sag_p2_iso", {}, "T1w"),
        ("t1_mpr_ns_sag", MPRAGE, "T1w"),
        ("Ax BRAVO", {}, "T1w"),
        ("sT1W_3D_TFE", {}, "T1w"),
        ("Ax T1 FLAIR", timing("SE\\IR", 2200, 20, 800), "T1w"),
        ("T2W_TSE", {}, "T2w"),
        ("pd_tse_tra", {}, "PDw"),
        ("DP_T2 axial", {}, "other"),
        ("PD/T2 TSE", T2, "T2w"),
        ("PD/T2 TSE", PD, "PDw"),
        ("t2_star_hemo", {}, "other"),
        ("ep2d_diff_4scan_trace", {}, "other"),
        ("DIR sag", FLAIR, "other"),
        ("PSIR", {}, "other"),
        ("TOF 3D", timing("GR", 23, 4), "other"),
        ("T2 cervical spine", T2, "other"),
        ("t2_tse_HWS", T2, "other"),
        ("resolve", {}, "other"),
    ],
)  # fmt: skip
def test_the_contrast_is_told_by_parameters_and_name(
    description: str, tags: dict[str, Any], role: str
) -> None:
    found = one(description, **tags)
    assert (found.role, bool(found.reason)) == (role, True)


def test_the_reason_says_what_told_the_role() -> None:
    assert one("t2 flair", **FLAIR).reason == "TR 9000 ms, TE 110 ms, TI 2500 ms; name says flair"
    assert one("", **T2).reason == "TR 4000 ms, TE 100 ms"
    assert one("T2W").reason == "name says t2 (no acquisition parameters, which decides nothing)"
    assert one("localizer").reason == "name says localizer"
    assert one("T1", Modality="CT").reason == "modality 'CT', expected MR"
    assert (
        one("", ImageType=["DERIVED", "SECONDARY", "MPR"], **T1).reason == "ImageType DERIVED, MPR, SECONDARY"
    )


def test_parameters_win_over_the_name_and_the_doubt_is_told() -> None:
    found = one("t1_tse", **T2)
    assert (found.role, found.doubt) == ("T2w", "name says t1, but TR 4000 ms, TE 100 ms is T2w")
    assert not one("t2_tse", **T2).doubt


@pytest.mark.parametrize(
    "kind",
    [
        ["DERIVED", "PRIMARY", "M", "ND"],
        ["DERIVED", "SECONDARY", "MPR"],
        ["ORIGINAL", "PRIMARY", "MPR"],
        ["ORIGINAL", "SECONDARY", "OTHER"],
        ["DERIVED", "SECONDARY", "SUBTRACT", "M"],
        ["DERIVED", "SECONDARY", "PROJECTION IMAGE"],
        ["ORIGINAL", "PRIMARY", "MIP"],
    ],
)
def test_derived_images_are_told_by_their_image_type(kind: list[str]) -> None:
    found = one("t1_mprage", ImageType=kind, **MPRAGE)
    assert (found.role, found.candidate_of) == ("derived", "T1w")


@pytest.mark.parametrize(
    "kind", [["ORIGINAL", "PRIMARY", "M", "ND", "NORM", "DIS2D"], ["ORIGINAL", "PRIMARY", "OTHER"]]
)
def test_an_original_image_is_not_derived(kind: list[str]) -> None:
    assert one("t1_mprage", ImageType=kind, **MPRAGE).role == "T1w"


def test_phase_images_localizers_and_copies_are_no_images_of_the_protocol() -> None:
    assert one("T1", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"], **T1).role == "other"
    assert one("", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **T1).role == "localizer"
    assert one("AAHead_Scout", **T1).role == "localizer"
    three = one("", orientations=(AXIAL, SAGITTAL, CORONAL), slices=9, **T1)
    assert (three.role, three.reason) == ("localizer", "slices in three or more orientations")
    assert one("T1", copy_of="a/1", **T1).role == "other"


# before or after contrast agent


def test_bolus_tags_tell_the_phase() -> None:
    pre, post = classify_series(
        [series("T1", at="1000", **T1), series("T1", at="1010", ContrastBolusAgent="Gadovist", **T1)]
    )
    assert (pre.role, post.role) == ("T1w", POST)
    assert post.reason.endswith("agent: the bolus tags name a gadolinium agent")
    assert pre.reason.endswith("time order: before the series with contrast agent")


@pytest.mark.parametrize("agent", ["NONE", "no", "", "n/a", "0", "-"])
def test_an_agent_that_is_none_tells_nothing(agent: str) -> None:
    assert one("T1", ContrastBolusAgent=agent, **T1).role == "T1w"


@pytest.mark.parametrize(
    "tags",
    [{"ContrastBolusVolume": 7.5}, {"ContrastBolusIngredient": "GADOLINIUM"}, {"ContrastBolusTotalDose": 15}],
)
def test_other_bolus_tags_tell_it_too(tags: dict[str, Any]) -> None:
    assert one("", **T1, **tags).role == POST


def test_the_bolus_of_an_enhanced_object_tells_it() -> None:
    agent, frame, usage = Dataset(), Dataset(), Dataset()
    agent.CodeMeaning = "Gadolinium"
    dataset = series("", **T1)
    dataset.header.ContrastBolusAgentSequence = Items([agent])
    assert [found.role for found in classify_series([dataset])] == [POST]
    usage.ContrastBolusAgentAdministered = "NO"
    frame.ContrastBolusUsageSequence = Items([usage])
    dataset.header.PerFrameFunctionalGroupsSequence = Items([frame])
    assert [found.role for found in classify_series([dataset])] == ["T1w"]


def test_a_scan_that_began_before_the_injection_is_one_before_it() -> None:
    tags = {"ContrastBolusAgent": "Dotarem", "ContrastBolusStartTime": "101500", **T1}
    before, after = classify_series([series("T1", at="101000", **tags), series("T1", at="102000", **tags)])
    assert (before.role, after.role) == ("T1w", POST)
    assert before.reason.endswith("clock: the scan began 5 min before the injection")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("t1_se_tra_post", POST),
        ("T1 +C", POST),
        ("T1 + Gd", POST),
        ("t1_tra_KM", POST),
        ("T1 with contrast", POST),
        ("T1 axial gadolinio", POST),
        ("T1 post-Gd 5min", POST),
        ("T1_CE", POST),
        ("t1_se_tra_pre", "T1w"),
        ("T1 pre contrast", "T1w"),
        ("T1 without contrast", "T1w"),
        ("T1 -C", "T1w"),
        ("T1 non-contrast", "T1w"),
        ("t1_nativ", "T1w"),
        ("T1 ohne KM", "T1w"),
        ("T1 sans gadolinium", "T1w"),
        ("T1 senza mdc", "T1w"),
        ("T1 MPRAGE sag przed KM", "T1w"),
        ("T1 MPRAGE sag po KM", POST),
        ("T1 avant gado", "T1w"),
        ("T1 vor KM", "T1w"),
        ("T1 nach KM", POST),
        ("T1 bez kontrastu", "T1w"),
        ("T1 f\u00f6re kontrast", "T1w"),
        ("T1 utan kontrast", "T1w"),
        ("T1 w/o Gd", "T1w"),
    ],
)
def test_the_name_tells_the_phase(name: str, role: str) -> None:
    found = one(name, contrast_given=True, **T1)
    assert found.role == role
    assert "name says" in found.reason.split(";")[-1]


@pytest.mark.parametrize(
    "name", ["T1 con soppressione", "T1 mit Fettsat", "T1 sans FatSat", "T1 pre and post Gd"]
)
def test_a_name_about_something_else_tells_no_phase(name: str) -> None:
    assert one(name, contrast_given=True, **T1).unclear == "phase"


def test_time_order_tells_the_phase_of_two_alike() -> None:
    later, first = classify_series(
        [series("T1", at="103000", **T1), series("T1", at="100000", **T1)], contrast_given=True
    )
    assert (first.role, later.role) == ("T1w", POST)
    assert first.reason.endswith("time order: the first of two T1w acquired alike")


@pytest.mark.parametrize("given", [None, False])
def test_time_order_tells_nothing_where_no_agent_was_planned(given: bool | None) -> None:
    found = classify_series(
        [series("T1", at="100000", **T1), series("T1", at="103000", **T1)], contrast_given=given
    )
    assert [a.role for a in found] == ["other", "other"]
    assert {a.unclear for a in found} == {"phase" if given is None else "several"}


def test_time_order_tells_nothing_of_two_that_differ() -> None:
    found = classify_series(
        [series("", at="100000", **T1), series("", at="103000", **MPRAGE)], contrast_given=True
    )
    assert {a.unclear for a in found} == {"phase"}


def test_a_single_series_is_unclear_where_an_agent_was_planned() -> None:
    assert one("T1", contrast_given=True, **T1).unclear == "phase"
    assert one("T1", contrast_given=False, **T1).role == "T1w"
    assert one("T1", **T1).role == "T1w"


def test_tags_that_all_series_have_tell_nothing_of_one() -> None:
    tags = {"ContrastBolusAgent": "Gadovist", **T1}
    assert roles(series("T1 pre", at="1000", **tags), series("T1 post", at="1020", **tags)) == ["T1w", POST]
    assert roles(series("T1", at="1000", **tags), series("T1", at="1020", **tags)) == ["T1w", POST]


def test_a_name_that_both_share_tells_nothing_of_one() -> None:
    tagged = series("T1 sag KM", at="1020", ContrastBolusAgent="Gadovist", **T1)
    assert roles(series("T1 sag KM", at="1000", **T1), tagged) == ["T1w", POST]
    # without tags two of one name are two scans after contrast agent
    found = classify_series(
        [series("T1 sag KM", at="1000", **T1), series("T1 sag KM", at="1020", **T1)], contrast_given=True
    )
    assert [(a.candidate_of, a.unclear) for a in found] == [(POST, "several")] * 2


def test_tags_against_the_name_are_unclear() -> None:
    pre = series("T1 pre", at="1000", ContrastBolusAgent="Gadovist", **T1)
    found = classify_series([pre, series("T1 x", at="1020", **T1)], contrast_given=True)
    assert (found[0].role, found[0].unclear) == ("other", "phase")
    assert "contradictory" in found[0].reason


def test_a_series_after_one_without_agent_is_one_after_it() -> None:
    assert roles(series("T1 nativ", at="1000", **T1), series("T1", at="1020", **T1)) == ["T1w", POST]


# several candidates


def test_two_alike_are_not_chosen_between() -> None:
    found = classify_series(
        [series("FLAIR", series=3, **FLAIR), series("FLAIR", series=4, at="1100", **FLAIR)]
    )
    assert [(a.role, a.candidate_of, a.unclear) for a in found] == [("other", "FLAIR", "several")] * 2
    assert "one of 2 candidates for FLAIR, between which no rule decides" in found[0].reason


@pytest.mark.parametrize(
    ("worse", "better", "why"),
    [
        ({"left_out": 7}, {}, "another candidate is complete"),
        ({"description": "FLAIR"}, {"description": "FLAIR repeat"}, "named a repetition"),
        ({"MRAcquisitionType": "2D"}, {"MRAcquisitionType": "3D"}, "a 3D acquisition"),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "at": "1000"},
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], "at": "1000"},
            "with more corrections",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_a_stated_rule_chooses(worse: dict[str, Any], better: dict[str, Any], why: str, turned: bool) -> None:
    pair = [series(**{"at": "1100", **FLAIR, **worse}), series(**{"at": "1200", **FLAIR, **better})]
    if "NORM" in better.get("ImageType", ()):
        pair = [series(**{**FLAIR, **worse}), series(**{**FLAIR, **better})]
    found = classify_series(pair[::-1] if turned else pair)
    lost, won = (found[::-1]) if turned else found
    assert (won.role, lost.role, lost.candidate_of) == ("FLAIR", "other", "FLAIR")
    assert why in lost.reason
    assert won.reason.endswith("1 other not taken")


def test_a_t1_is_chosen_as_its_counterpart_was_acquired() -> None:
    flat = series("T1 pre", at="1000", **T1)
    solid = series("T1 mprage pre", at="1010", **MPRAGE)
    post = series("T1 post", at="1100", ContrastBolusAgent="Gadovist", **T1)
    found = classify_series([flat, solid, post], contrast_given=True)
    assert [a.role for a in found] == ["T1w", "other", POST]
    assert "another one is acquired as the ce-gadolinium_T1w is" in found[1].reason


def test_two_broken_ones_are_not_chosen_between() -> None:
    found = classify_series([series("FLAIR", left_out=5, **FLAIR), series("FLAIR", left_out=9, **FLAIR)])
    assert {a.unclear for a in found} == {"several"}


def test_a_whole_examination() -> None:
    sent = [
        series("localizer", series=1, slices=9, orientations=(AXIAL, SAGITTAL, CORONAL), **T1),
        series("t2_tse_dual", series=2, **T2),
        series("pd_tse_dual", series=2, **PD),
        series("flair", series=3, **FLAIR),
        series("t1_se", series=4, at="101000", **T1),
        series("t1_se", series=5, at="103000", ContrastBolusAgent="Magnevist", **T1),
        series("t1_se_SUB", series=6, ImageType=["DERIVED", "SECONDARY", "SUBTRACT"], **T1),
        series("ep2d_diff", series=7),
    ]
    assert roles(*sent) == ["localizer", "T2w", "PDw", "FLAIR", "T1w", POST, "derived", "other"]


NAMES = st.sampled_from(
    [
        "",
        "T1",
        "T1 pre",
        "T1 post",
        "T1 +C",
        "FLAIR",
        "T2",
        "PD/T2",
        "MPR",
        "localizer",
        "SUB",
        "swi",
        "flair repeat",
    ]
)
KINDS = st.sampled_from([["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY"], ["ORIGINAL", "PRIMARY", "P"], []])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), given_agent=st.sampled_from([None, True, False]))
def test_no_series_is_dropped_and_no_role_given_twice(data: st.DataObject, given_agent: bool | None) -> None:
    sent = [
        series(
            data.draw(NAMES),
            series=n,
            at=f"10{data.draw(st.integers(0, 3)):02}00",
            ImageType=data.draw(KINDS) or None,
            left_out=data.draw(st.sampled_from([None, 5])),
            slices=10,
            **data.draw(st.sampled_from([T1, MPRAGE, T2, PD, FLAIR, {}])),
            **data.draw(st.sampled_from([{}, {"ContrastBolusAgent": "Gd"}, {"Modality": "CT"}])),
        )
        for n in range(data.draw(st.integers(0, 6)))
    ]
    found = classify_series(sent, contrast_given=given_agent)
    assert [a.series for a in found] == sent
    assert all(a.reason for a in found)
    taken = [a.role for a in found if a.role in IMAGE_ROLES]
    assert len(set(taken)) == len(taken)
    for a in found:
        assert a.role in {*IMAGE_ROLES, "localizer", "derived", "other"}
        assert not a.unclear or (a.role == "other" and a.candidate_of)
    # the order in which series are listed decides nothing
    turned = classify_series(sent[::-1], contrast_given=given_agent)[::-1]
    assert [(a.role, a.candidate_of, a.unclear) for a in turned] == [
        (a.role, a.candidate_of, a.unclear) for a in found
    ]


# words of a name that are innocent beside clear times


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Ax {} ASSET",
            "{} restore",
            "{} REST",
            "{}_pc",
            "{} PILOT",
            "{} plan",
            "{} calibrated",
            "{} PHASE II",
        ),
        *(
            "{} relaxed",
            "{} performed",
            "{} HEAD NECK",
            "{} steam",
            "PRESS {}",
            "{} mapping",
            "{} shim",
            "{}_dens",
        ),
    ],
)
@pytest.mark.parametrize(
    ("word", "tags"), [("t1_se", T1), ("t2_tse", T2), ("t2 flair", FLAIR), ("mprage", MPRAGE)]
)
def test_an_innocent_word_does_not_overrule_clear_times(name: str, word: str, tags: dict[str, Any]) -> None:
    expected = {"t1_se": "T1w", "t2_tse": "T2w", "t2 flair": "FLAIR", "mprage": "T1w"}[word]
    assert one(name.format(word), **tags).role == expected


@pytest.mark.parametrize("part", ["NECK", "SPINE", "CSPINE", "CHEST", "HEADNECK", "KNEE"])
@pytest.mark.parametrize(("tags", "role"), [(FLAIR, "FLAIR"), (T1, "T1w"), (T2, "T2w")])
def test_a_body_part_does_not_overrule_clear_times(part: str, tags: dict[str, Any], role: str) -> None:
    found = one("", BodyPartExamined=part, **tags)
    assert found.role == role
    assert part in found.doubt


def test_a_sagittal_scan_of_the_spine_beside_those_of_the_head_is_none_of_the_head() -> None:
    sent = [
        series("T2 sag", series=1, orientations=(SAGITTAL,), BodyPartExamined="CSPINE", **T2),
        series("FLAIR", series=2, BodyPartExamined="BRAIN", **FLAIR),
    ]
    assert roles(*sent) == ["other", "FLAIR"]


def test_a_candidate_against_which_something_speaks_comes_last() -> None:
    sent = [series("T2 NECK", series=1, **T2), series("T2 tra", series=2, at="1100", **T2)]
    assert roles(*sent) == ["other", "T2w"]


@pytest.mark.parametrize("name", ["AAHead_Scout", "3-plane loc", "survey", "localizer"])
def test_a_localizer_is_one_whatever_its_times(name: str) -> None:
    assert one(name, **T1).role == "localizer"


@pytest.mark.parametrize("name", ["pilot", "plan 3"])
def test_a_pilot_of_few_slices_is_a_localizer(name: str) -> None:
    assert one(name, slices=5, **T1).role == "localizer"
    assert one(f"t1 {name}", slices=40, **T1).role == "T1w"


# inversion recovery without an inversion time


@pytest.mark.parametrize(
    ("name", "tags", "role"),
    [
        ("t2_tirm_tra_dark-fluid", timing("SE\\IR", 9000, 110), "FLAIR"),
        ("", timing("SE\\IR", 9000, 110), "FLAIR"),
        ("Ax FLAIR", timing("SE\\IR", 5000, 90), "FLAIR"),
        ("", timing("SE\\IR", 5000, 90), "other"),
        ("STIR", timing("SE\\IR", 5000, 60), "other"),
        ("T1 FLAIR", timing("SE\\IR", 2200, 20), "T1w"),
        ("", timing("SE\\IR", 2200, 20), "other"),
        ("FLAIR_longTR", timing("SE", 11000, 125), "FLAIR"),
        ("", timing("GR\\IR", 2300, 3), "T1w"),
    ],
)
def test_inversion_recovery_without_its_time_is_no_t2w(name: str, tags: dict[str, Any], role: str) -> None:
    found = one(name, **tags)
    assert found.role == role
    assert found.role != "T2w"


def test_a_flair_without_any_inversion_in_its_header_is_told() -> None:
    assert "no inversion time" in one("FLAIR_longTR", **timing("SE", 11000, 125)).doubt


# candidates that are not the same thing


@pytest.mark.parametrize(
    "name",
    ["t2_spc_db-ir_sag", "DIR", "double IR 3D", "Doppel-IR", "dual_inversion", "PSIR", "phase sens IR"],
)
def test_a_double_inversion_is_no_flair(name: str) -> None:
    times = {**timing("SE\\IR", 7500, 318, 3000), "MRAcquisitionType": "3D"}
    sent = [series(name, series=1, **times), series("flair", series=2, at="1100", **FLAIR)]
    assert roles(*sent) == ["other", "FLAIR"]


def test_a_3d_scan_that_only_its_times_call_flair_does_not_beat_one_named_so() -> None:
    times = {**timing("SE\\IR", 7500, 318, 3000), "MRAcquisitionType": "3D"}
    sent = [series("xyz", series=1, **times), series("flair", series=2, at="1100", **FLAIR)]
    found = classify_series(sent)
    assert [a.role for a in found] == ["other", "FLAIR"]
    assert "named so too" in found[0].reason


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", ["t1_mprage", "t1_mprage MPR 3mm", "t1_mprage reformat ax"])
def test_a_reformat_does_not_beat_its_original(name: str, turned: bool) -> None:
    kinds = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS3D"]}
    thick = series(name, series=2, at="1000", spacing=3.0, **{**MPRAGE, **kinds})
    fine = series("t1_mprage", series=1, at="1000", spacing=1.0, slices=160, **MPRAGE)
    found = classify_series([fine, thick] if turned else [thick, fine], contrast_given=False)
    original, reformat = found if turned else found[::-1]
    assert (original.role, reformat.role, reformat.candidate_of) == ("T1w", "derived", "T1w")


def test_a_name_is_quoted_by_words_of_the_closed_list() -> None:
    assert one("localizer_Mueller").reason == "name says localizer"
    found = one("t1_Mueller_flair", **timing("SE\\IR", 2200, 20, 800))
    assert found.reason.split("; ")[1] == "name says t1 flair"
    assert one("diff_mueller").reason == "name says diff"


def test_a_series_without_its_face_is_no_derived_image() -> None:
    record = {"RecognizableVisualFeatures": "NO", "DeidentificationMethod": "mri_reface"}
    assert one("t1_mprage", ImageType=["DERIVED", "SECONDARY"], **record, **MPRAGE).role == "T1w"
    assert one("t1_mprage", ImageType=["DERIVED", "SECONDARY", "MPR"], **record, **MPRAGE).role == "derived"
    assert one("t1_mprage", ImageType=["DERIVED", "SECONDARY"], **MPRAGE).role == "derived"
