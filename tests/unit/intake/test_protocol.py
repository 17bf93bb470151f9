"""The protocol: shipped files, what a site may change, and mistakes told before any scan is looked at."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mesems_mri.errors import UsageError
from mesems_mri.intake.protocol import ITEMS, ROLES, Protocol, Range, load_protocol

CONFIG = Path(__file__).parents[3] / "config"
MAGNIMS, MESEMS = CONFIG / "protocol.yaml", CONFIG / "protocol-mesems2012.yaml"
SMALL: dict[str, Any] = {
    "name": "small",
    "required": [["T1w"], ["FLAIR", "T2w+PDw"]],
    "agents": [{"name": "gadobutrol", "words": ["gadovist"], "mmol_per_ml": 1.0}],
    "defaults": {"field_strength_t": {"min": 1.4}, "geometry": {"2D": {"thickness_mm": {"max": 3}}}},
    "sequences": {"T1w": None, "FLAIR": {"echo_time_ms": {"min": 70, "max": 500}}},
    "sites": {
        "S07": {
            "defaults": {"geometry": {"2D": {"thickness_mm": {"max": 4}}}},
            "sequences": {"FLAIR": {"echo_time_ms": None}, "T2w": {}},
            "required": [["T1w"]],
        }
    },
}


def small(**changes: Any) -> Protocol:
    return Protocol.model_validate(SMALL | changes)


def rule(role: str, site_id: str = "") -> dict[str, Any]:
    found = small().rule(role, site_id)
    assert found is not None
    return found.model_dump(exclude_defaults=True)


def test_recommendation_says_what_it_should() -> None:
    flair = load_protocol(MAGNIMS).rule("FLAIR")
    after = load_protocol(MAGNIMS).rule("ce-gadolinium_T1w")
    assert flair
    assert flair.geometry["3D"].thickness_mm == Range(max=1.5)
    assert flair.geometry["2D"].thickness_mm == Range(max=3)
    assert flair.geometry["2D"].gap_mm == Range(max=0)
    assert {rule.in_plane_mm for rule in flair.geometry.values()} == {Range(max=1)}
    assert after
    assert after.contrast
    assert after.contrast.dose_mmol_kg == Range(min=0.09, max=0.11)
    assert after.contrast.delay_min
    assert after.contrast.delay_min.min == 5
    assert after.like == "T1w"


def test_protocol_of_2012_takes_dual_echo_or_flair_of_3_mm() -> None:
    protocol = load_protocol(MESEMS)
    assert protocol.missing({"T1w", "ce-gadolinium_T1w", "FLAIR"}) == []
    assert protocol.missing({"T1w", "ce-gadolinium_T1w", "T2w", "PDw"}) == []
    assert protocol.missing({"T1w", "T2w"}) == [("ce-gadolinium_T1w",), ("FLAIR", "T2w+PDw")]
    for role in ROLES:
        found = protocol.rule(role)
        assert found
        assert found.geometry["2D"].thickness_mm == Range(max=3)


@pytest.mark.parametrize("path", [MAGNIMS, MESEMS], ids=lambda p: p.name)
def test_dose_differs_by_site(path: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["sites"] = {
        "S07": {
            "sequences": {"ce-gadolinium_T1w": {"contrast": {"dose_mmol_kg": {"min": 0.18, "max": 0.22}}}}
        }
    }
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    protocol = load_protocol(tmp_path / "p.yaml")
    here, elsewhere = (protocol.rule("ce-gadolinium_T1w", site) for site in ("S07", "S01"))
    assert here
    assert elsewhere
    assert here.contrast
    assert elsewhere.contrast
    assert here.contrast.dose_mmol_kg == Range(min=0.18, max=0.22)
    assert elsewhere.contrast.dose_mmol_kg == Range(min=0.09, max=0.11)
    assert here.contrast.delay_min == elsewhere.contrast.delay_min


def test_site_replaces_joins_and_takes_away() -> None:
    common = {"field_strength_t": {"min": 1.4}}
    thin, thick = ({"geometry": {"2D": {"thickness_mm": {"max": mm}}}} for mm in (3, 4))
    assert rule("T1w") == common | thin
    assert rule("T1w", "S07") == common | thick
    assert rule("T1w", "no such site") == rule("T1w")
    assert rule("FLAIR") == common | thin | {"echo_time_ms": {"min": 70, "max": 500}}
    assert rule("FLAIR", "S07") == common | thick
    assert small().rule("T2w") is None
    assert rule("T2w", "S07") == common | thick
    assert small().missing(set(), "S07") == [("T1w",)]
    assert small().missing({"FLAIR"}) == [("T1w",)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequences": {"T1": {}}}, "sequences.T1"),
        ({"sequences": {"T1w": {"echo_time": {"max": 3}}}}, "T1w.echo_time: Extra inputs"),
        ({"sequences": {"T1w": {"echo_time_ms": {"min": 5, "max": 3}}}}, "min 5 is larger than max 3"),
        ({"sequences": {"T1w": {"echo_time_ms": {}}}}, "give min or max"),
        ({"sequences": {"T1w": {"acquisition": ["4D"]}}}, "T1w.acquisition.0"),
        (
            {"sequences": {"T1w": {"contrast": {"agents": ["water"]}}}},
            "the agent 'water' is not among agents",
        ),
        ({"sites": {"S1": {"sequences": {"T1w": {"coil": 3}}}}}, "sites.S1.T1w.coil"),
        ({"sites": {"S1": {"required": [["T1"]]}}}, "required: 'T1' is none of"),
        ({"required": [["T2w+PD"]]}, "'PD' is none of"),
        ({"required": [[]]}, "required.0"),
        ({"blocking": ["thickness"]}, "blocking: 'thickness' is none of"),
        ({"agents": [{"name": "a", "words": [], "mmol_per_ml": 1}]}, "agents.0.words"),
        ({"name": None}, "name"),
    ],
)
def test_mistake_is_told_in_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text(yaml.safe_dump(SMALL | change), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_protocol(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "\x00"])
def test_what_is_no_protocol_is_wrong_usage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        load_protocol(path)
    with pytest.raises(UsageError):
        load_protocol(tmp_path / "gone.yaml")


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(-10, 2e4))
def test_range_holds_what_lies_in_it_and_forgives_rounding_only(one: float, two: float, value: float) -> None:
    low, high = sorted((one, two))
    limits = Range(min=low, max=high)
    if low <= value <= high:
        assert limits.holds(value)
    if value < low * 0.995 - 0.02 or value > high * 1.005 + 0.02:
        assert not limits.holds(value)


@pytest.mark.parametrize(
    ("limits", "passes", "fails"),
    [
        (Range(max=1.5), 1.5001, 1.52),
        (Range(max=0), 0.015, 0.03),
        (Range(min=0.09, max=0.11), 0.1104, 0.112),
        (Range(min=5), 4.98, 4.9),
    ],
)
def test_rounding_of_a_header_is_forgiven(limits: Range, passes: float, fails: float) -> None:
    assert limits.holds(passes)
    assert not limits.holds(fails)


def test_ranges_in_words() -> None:
    assert Range(max=3).words("mm") == "at most 3 mm"
    assert Range(max=0).words("mm") == "none"
    assert Range(min=5).words("min") == "at least 5 min"
    assert Range(min=1.4, max=3.2).words("T") == "1.4 to 3.2 T"
    assert Range(min=3, max=3).words("") == "3"
    assert len(ITEMS) == len(set(ITEMS.values()))
