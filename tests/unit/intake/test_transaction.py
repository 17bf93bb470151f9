"""Each submission is one transaction: an intake that is killed has filed all of it, or nothing."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset import journal
from mesems_mri.dataset.bids import index_dataset
from mesems_mri.dataset.journal import finish_interrupted
from mesems_mri.dataset.queries import read_queries
from mesems_mri.errors import DatasetError
from mesems_mri.intake import filing, flow
from mesems_mri.intake.convert import BidsImage
from tests.killing import in_child, random_points
from tests.unit.intake.scans import FLAIR
from tests.unit.intake.test_flow import DAY_W04, PERSON_2, POST, Trial, name, repeat, write_scan


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def quick_conversion(
    series: object, deidentifier: object, role: str, scratch: Path, target: Path
) -> BidsImage:
    """Make an image without dcm2niix: what is tested is what comes after it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(series.instance_uids)  # type: ignore[attr-defined]
    target.write_bytes(content.encode())
    return BidsImage({"EchoTime": 0.1}, (2, 2, 2), hashlib.sha256(content.encode()).hexdigest()[:32])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "convert_series", quick_conversion)
    monkeypatch.setattr("mesems_mri.intake.receipt_store.nifti.read_in_ras", lambda _: None)


def state(folder: Path) -> dict[str, bytes]:
    """Return all files of the BIDS folder, and those beside the key; not the locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for place in ("bids", "bids.key")
        for path in (folder / place).rglob("*")
        if path.is_file() and not path.name.endswith("lock")
    }


def copy_of(trial: Trial, folder: Path) -> Trial:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(trial.folder, folder)
    other = Trial.__new__(Trial)
    other.folder, other.bids, other.sheet = folder, folder / "bids", folder / "sheet.tsv"
    other.deliveries = trial.deliveries
    return other


def two_visits(trial: Trial) -> Path:
    """Write a visit that replaces what a rejected one has filed, a new visit, and one of another person."""
    first = trial.examination(trial.submission())
    (first / "a" / "0007.dcm").unlink()
    trial.run_intake(first)
    sent = repeat(trial)
    trial.examination(sent / "later", **DAY_W04)
    write_scan(sent / "else", "FLAIR", series=2, **{**FLAIR, **PERSON_2, "study": 7})
    return sent


def test_an_intake_that_is_killed_has_filed_all_or_nothing(trial: Trial, quick: None, tmp_path: Path) -> None:
    sent = two_visits(trial)
    before = state(trial.folder)
    done = copy_of(trial, tmp_path / "done")
    done.run_intake(sent)
    after = state(done.folder)
    assert before != after

    def prepare() -> Callable[[], object]:
        return lambda: copy_of(trial, tmp_path / "tried").run_intake(sent)

    seen = set()
    for point in random_points(prepare):
        tried = copy_of(trial, tmp_path / "tried")
        signal, _ = in_child(lambda tried=tried: tried.run_intake(sent), point)
        finish_interrupted(tried.bids)
        found = state(tried.folder)
        assert found in (before, after), [
            path for path in {*found, *after} if found.get(path) not in (before.get(path), after.get(path))
        ] or f"a mixture, at event {point}"
        seen.add(found == after)
        tried.run_intake(sent)
        assert state(tried.folder) == after
        assert not list(tried.folder.glob(".bids.intake-*"))
        assert signal in (0, 9)
    assert False in seen


@pytest.mark.parametrize("at", (0, 1, 3, 6))
def test_a_commit_that_is_killed_is_finished_by_the_next_command(
    trial: Trial, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    sent = two_visits(trial)
    before = state(trial.folder)
    done = copy_of(trial, tmp_path / "done")
    done.run_intake(sent)
    after = state(done.folder)
    moves = 0
    replace = Path.replace

    def dies(path: Path, target: Path) -> Path:
        nonlocal moves
        if _is_move(path, target):
            moves += 1
            if moves == 1 + 5 * at:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        trial.run_intake(sent)
    monkeypatch.setattr(Path, "replace", replace)
    assert state(trial.folder) != before or at == 0
    # whichever command opens the folder next, here a run
    assert index_dataset(trial.bids, TrialConfig())
    assert state(trial.folder) == after


def _is_move(path: Path, target: Path) -> bool:
    """Return whether a rename publishes a file of a staging folder."""
    return ".bids.intake-" in str(path) and ".bids.intake-" not in str(target)


def test_a_crash_at_one_of_several_visits_files_none(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = trial.submission()
    trial.examination(sent / "1")
    trial.examination(sent / "2", **DAY_W04)
    write_scan(sent / "3", "FLAIR", series=2, **{**FLAIR, **PERSON_2, "study": 7})
    real = flow.file_visit

    def crash(context: object, visit: object, *rest: object) -> None:
        if visit.session_id == "ses-w04":  # type: ignore[attr-defined]
            raise RuntimeError
        real(context, visit, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(flow, "file_visit", crash)
        with pytest.raises(Exception, match="the intake failed"):
            trial.run_intake(sent)
    assert not trial.bids.exists()
    trial.run_intake(sent)
    assert len(trial.images()) == 7


def test_a_folder_without_hard_links_is_filled_alike(
    trial: Trial, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = two_visits(trial)
    other = copy_of(trial, tmp_path / "other")
    other.run_intake(sent)

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(journal.os, "link", refuse)
    monkeypatch.setattr("mesems_mri.intake.folder.os.link", shutil.copyfile)
    trial.run_intake(sent)
    assert state(trial.folder) == state(other.folder)


def test_a_folder_that_cannot_be_written_says_what_to_do(
    trial: Trial, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = trial.examination(trial.submission())
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_apply", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trial.run_intake(sent)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_apply", refuse)
        with pytest.raises(DatasetError, match="was interrupted and cannot be finished"):
            index_dataset(trial.bids, TrialConfig())
    assert finish_interrupted(trial.bids) == 1
    assert trial.images() == sorted([name(POST), name("FLAIR"), name("T1w")])
    assert read_queries(trial.bids) == ()
