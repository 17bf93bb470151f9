"""Which visits and images there are, and in which order."""

from pathlib import Path

import pytest

from mesems_mri.config import IntakeRule, TrialConfig, Visit
from mesems_mri.dataset.bids import Session, index_dataset, natural_key, preproc_name
from mesems_mri.dataset.queries import add_queries, close_query, new_query
from mesems_mri.dataset.reasons import QueryCode
from mesems_mri.errors import DatasetError, ForbiddenColumnError, UsageError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def flair(root: Path, participant: str, *sessions: str) -> None:
    for session in sessions:
        touch(root, f"sub-{participant}/ses-{session}/anat/sub-{participant}_ses-{session}_FLAIR.nii.gz")


def only(root: Path, config: TrialConfig | None = None) -> tuple[Session, ...]:
    (participant,) = index_dataset(root, config or TrialConfig())
    return participant.sessions


def labels(sessions: tuple[Session, ...]) -> list[str]:
    return [session.session_id for session in sessions]


def test_visits_come_in_natural_order_and_the_label_gives_no_week(tmp_path: Path) -> None:
    flair(tmp_path, "01", "w4", "w12", "w0")
    sessions = only(tmp_path)
    assert labels(sessions) == ["ses-w0", "ses-w4", "ses-w12"]
    assert [session.week for session in sessions] == [None, None, None]
    assert {session.visit_type for session in sessions} == {"scheduled"}


def test_dates_decide_the_order(tmp_path: Path) -> None:
    flair(tmp_path, "01", "a", "b")
    table = "session_id\tacq_time\tweek\nses-a\t2020-05-01\t4\nses-b\t2020-04-01\t0\n"
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(table)
    assert [(s.session_id, s.week) for s in only(tmp_path)] == [("ses-b", 0), ("ses-a", 4)]


def test_visit_table_of_the_trial(tmp_path: Path) -> None:
    flair(tmp_path, "01", "x2", "x1", "extra")
    config = TrialConfig(visits=(Visit(session_id="x1", week=0), Visit(session_id="x2", week=12)))
    found = {s.session_id: (s.week, s.visit_type) for s in only(tmp_path, config)}
    assert found["ses-x1"] == (0, "scheduled")
    assert found["ses-x2"] == (12, "scheduled")
    assert found["ses-extra"] == (None, "unscheduled")


def test_gap_counts_as_a_visit_but_the_future_does_not(tmp_path: Path) -> None:
    flair(tmp_path, "01", "w00", "w12")
    weeks = {"w00": 0, "w04": 4, "w12": 12, "w24": 24}
    config = TrialConfig(visits=tuple(Visit(session_id=name, week=week) for name, week in weeks.items()))
    sessions = only(tmp_path, config)
    assert labels(sessions) == ["ses-w00", "ses-w04", "ses-w12"]
    assert sessions[1].images == {}


def test_contrasts_are_read_from_the_names(tmp_path: Path) -> None:
    stem = "sub-01/ses-1/anat/sub-01_ses-1_"
    touch(
        tmp_path,
        f"{stem}T1w.nii.gz",
        f"{stem}ce-gadolinium_acq-3D_T1w.nii.gz",
        f"{stem}T2w.nii",
        f"{stem}space-MNI_FLAIR.nii.gz",
        f"{stem}FLAIR.json",
        f"{stem}T1map.nii.gz",
    )
    (session,) = only(tmp_path)
    assert session.images == {
        "T1w": f"{stem}T1w.nii.gz",
        "ce-gadolinium_T1w": f"{stem}ce-gadolinium_acq-3D_T1w.nii.gz",
        "T2w": f"{stem}T2w.nii",
    }


def test_two_images_of_a_contrast_are_not_picked_silently(tmp_path: Path) -> None:
    stem = "sub-01/ses-1/anat/sub-01_ses-1_"
    touch(tmp_path, f"{stem}acq-2D_FLAIR.nii.gz", f"{stem}acq-3D_FLAIR.nii.gz")
    (session,) = only(tmp_path)
    assert session.images == {}
    assert session.ambiguous == {"FLAIR": ("acq-2D_FLAIR.nii.gz", "acq-3D_FLAIR.nii.gz")}
    (session,) = only(tmp_path, TrialConfig(intake=IntakeRule(select={"FLAIR": "run-1"})))
    assert list(session.ambiguous) == ["FLAIR"]
    (session,) = only(tmp_path, TrialConfig(intake=IntakeRule(select={"FLAIR": "acq-3D"})))
    assert session.images == {"FLAIR": f"{stem}acq-3D_FLAIR.nii.gz"}
    assert session.ambiguous == {}


def test_visit_waits_for_its_own_open_blocking_queries_only(tmp_path: Path) -> None:
    flair(tmp_path, "01", "w00", "w04")
    flair(tmp_path, "02", "w00")
    blocking = {"participant_id": "sub-01", "session_id": "ses-w04"}
    add_queries(
        tmp_path,
        [
            new_query(QueryCode.MISSING_SLICES, words="9 of 10", **blocking),
            new_query(QueryCode.OUTSIDE_WINDOW, **blocking),
            new_query(QueryCode.SEX_DIFFERS, **blocking),
            new_query(QueryCode.VISIT_UNCLEAR, participant_id="sub-02"),
        ],
    )
    close_query(tmp_path, "Q0003", by="Reader", reason="mistyped")
    found = {
        f"{s.participant_id}/{s.session_id}": s.open_queries
        for p in index_dataset(tmp_path, TrialConfig())
        for s in p.sessions
    }
    assert found == {
        "sub-01/ses-w00": (),
        "sub-01/ses-w04": ("Q0001: Slices are missing: 9 of 10",),
        "sub-02/ses-w00": (),
    }


def test_chosen_visits_bring_the_earlier_ones(tmp_path: Path) -> None:
    flair(tmp_path, "01", "1", "2", "3")
    flair(tmp_path, "02", "1")
    (participant,) = index_dataset(tmp_path, TrialConfig(), session_labels=["2"])
    assert participant.participant_id == "sub-01"
    assert labels(participant.sessions) == ["ses-1", "ses-2"]


def test_unknown_label_is_wrong_usage(tmp_path: Path) -> None:
    flair(tmp_path, "01", "1")
    with pytest.raises(UsageError, match="sub-9"):
        index_dataset(tmp_path, TrialConfig(), participant_labels=["9"])


@pytest.mark.parametrize(
    "name", ["participants.tsv", "sub-01/sub-01_sessions.tsv", "sub-01/ses-1/sub-01_ses-1_scans.tsv"]
)
def test_forbidden_column_names_file_and_column(tmp_path: Path, name: str) -> None:
    flair(tmp_path, "01", "1")
    (tmp_path / name).write_text("participant_id\tTreatment Arm\nsub-01\tA\n")
    with pytest.raises(ForbiddenColumnError, match=r"(?s)Treatment Arm") as caught:
        index_dataset(tmp_path, TrialConfig())
    assert Path(name).name in str(caught.value)


def test_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no sub-"):
        index_dataset(tmp_path, TrialConfig())
    with pytest.raises(DatasetError, match="no such"):
        index_dataset(tmp_path / "absent", TrialConfig())


def test_week_that_is_no_number(tmp_path: Path) -> None:
    flair(tmp_path, "01", "1")
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tweek\nses-1\tfour\n")
    with pytest.raises(DatasetError, match="'four'"):
        index_dataset(tmp_path, TrialConfig())


def test_natural_key() -> None:
    assert sorted(["w12", "w4", "w4b", "2", "10"], key=natural_key) == ["2", "10", "w4", "w4b", "w12"]


def test_preproc_name() -> None:
    assert preproc_name("ce-gadolinium_T1w") == "ce-gadolinium_space-subject_desc-preproc_T1w.nii.gz"
    assert preproc_name("FLAIR") == "space-subject_desc-preproc_FLAIR.nii.gz"
