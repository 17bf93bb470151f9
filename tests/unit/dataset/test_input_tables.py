"""Input tables: read strictly, and none may unblind the analysis."""

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesems_mri.config import TrialConfig, load_config
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.input_tables import read_tsv, refuse_forbidden_columns
from mesems_mri.dataset.tables import check_forbidden
from mesems_mri.errors import DatasetError, ForbiddenColumnError, UsageError

WORDS = [
    *(
        "arm",
        "ARMCD",
        "actarm",
        "actarmcd",
        "trt",
        "trt01p",
        "TRTSDT",
        "treatment",
        "treatment name",
        "group",
    ),
    *("allocation", "randomisation", "randomization", "randomization_no", "EDSS", "relapse", "relapses_12m"),
    *("SDMT", "NHPT", "T25FW"),
]
ALLOWED = [
    *("participant_id", "session_id", "sex", "age", "birth_date_hash", "height", "weight", "contrast_dose"),
    *("steroid_within_30d", "target", "trigger", "site_id", "visit_type", "week", "acq_time", "start"),
    *("subgroup", "age_group", "alarm", "pharmacy", "warm_up", "echo_train", "random_seed"),
]
MARKS = ["", "", " ", "_", "-", ".", "\u00a0", "\u200b", "\ufeff", "\u00ad"]
TABLES = [
    "participants.tsv",
    "sessions.tsv",
    "sub-01/sub-01_sessions.tsv",
    "sub-01/ses-1/sub-01_ses-1_scans.tsv",
    "sub-01/ses-1/anat/notes.tsv",
    "phenotype/measures.tsv",
    "extra/deep/down/list.csv",
    "sheet.csv",
    "participants.json",
    "phenotype/measures.json",
]


def full_width(letter: str) -> str:
    return chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Draw a forbidden word in any case, any width, with marks and blanks anywhere."""
    how = st.sampled_from([str.lower, str.upper, full_width])
    letters = [draw(how)(letter) for letter in draw(st.sampled_from(WORDS))]
    marks = draw(st.lists(st.sampled_from(MARKS), min_size=len(letters) + 1, max_size=len(letters) + 1))
    return marks[0] + "".join(letter + mark for letter, mark in zip(letters, marks[1:], strict=True))


def data_set(root: Path) -> Path:
    image = root / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    return root


def fill(root: Path, name: str, column: str, separator: str = "\t", encoding: str = "utf-8") -> None:
    path = data_set(root) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps({"sex": {}, column: {"Description": "?"}}), encoding=encoding)
        path.with_suffix(".tsv").write_text("participant_id\tsession_id\tsex\n", encoding="utf-8")
    else:
        names = ["participant_id", "session_id", "filename", column]
        path.write_text(separator.join(names) + "\n", encoding=encoding)


@given(spellings())
def test_no_spelling_is_overlooked(column: str) -> None:
    with pytest.raises(ForbiddenColumnError, match="would unblind"):
        check_forbidden(["sex", column], "sheet.tsv")


@given(st.sampled_from(ALLOWED), st.sampled_from([str.lower, str.upper, str.title]))
def test_harmless_names_pass(column: str, case: object) -> None:
    check_forbidden([case(column)], "sheet.tsv")  # type: ignore[operator]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@settings(max_examples=15)
@given(column=spellings())
def test_every_table_is_looked_at(
    tmp_path_factory: pytest.TempPathFactory, table: str, encoding: str, column: str
) -> None:
    root = tmp_path_factory.mktemp("bids")
    fill(root, table, column, encoding=encoding)
    with pytest.raises(ForbiddenColumnError) as caught:
        index_dataset(root, TrialConfig())
    assert Path(table).name in str(caught.value)
    named = str(caught.value).partition("the column ")[2].partition(" would")[0]
    assert letters(ast.literal_eval(named)) == letters(column)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("table", TABLES)
def test_harmless_tables_pass(tmp_path: Path, table: str) -> None:
    for column in ALLOWED[2:]:
        fill(tmp_path, table, column)
    assert index_dataset(tmp_path, TrialConfig())


@pytest.mark.parametrize("separator", [",", ";", "|", '"\t"'])
def test_another_separator_hides_no_column(tmp_path: Path, separator: str) -> None:
    fill(tmp_path, "participants.tsv", "EDSS", separator=separator)
    with pytest.raises(ForbiddenColumnError, match="EDSS"):
        refuse_forbidden_columns(tmp_path)


def test_blank_lines_before_the_head_hide_no_column(tmp_path: Path) -> None:
    (data_set(tmp_path) / "participants.tsv").write_text("\n\t\nparticipant_id\tArm\n", encoding="utf-8")
    with pytest.raises(ForbiddenColumnError, match="Arm"):
        index_dataset(tmp_path, TrialConfig())


def test_truth_and_source_data_are_no_input(tmp_path: Path) -> None:
    fill(tmp_path, "derivatives/reader/list.tsv", "arm")
    fill(tmp_path, "sourcedata/sheet.tsv", "arm")
    assert index_dataset(tmp_path, TrialConfig())


def test_visit_table_of_the_configuration_has_no_room_for_an_arm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("visits:\n  - {session_id: w00, week: 0, treatment_arm: A}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"visits\.0\.treatment_arm"):
        load_config(path)


def test_table_that_is_not_utf8(tmp_path: Path) -> None:
    (data_set(tmp_path) / "participants.tsv").write_bytes(
        "participant_id\tsite\nsub-01\tKöln\n".encode("latin-1")
    )
    with pytest.raises(DatasetError, match=r"participants\.tsv.*UTF-8"):
        index_dataset(tmp_path, TrialConfig())


def test_empty_table_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text("")
    assert read_tsv(path) == []
