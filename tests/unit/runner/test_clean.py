"""Removal of intermediate images that no later visit needs."""

from pathlib import Path

import pytest

from mesems_mri.dataset.bids import Contrast
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.standardise import StandardiseRecord
from mesems_mri.errors import UsageError
from mesems_mri.files import read_json, write_json, write_text
from mesems_mri.runner.clean import clean_intermediate, without_intermediates
from mesems_mri.runner.lock import held
from tests.unit.pipeline.records import anchor, standardised_image


def leave_standardised(layout: Layout, session_id: str) -> list[Path]:
    """Write two standardised images of a visit, 10 byte each."""
    names: dict[Contrast, str] = {
        "FLAIR": f".mesems/sub-01/{session_id}/FLAIR_desc-standardised.nii",
        "T1w": f".mesems/sub-01/{session_id}/T1w_desc-standardised.nii",
    }
    record = layout.record("sub-01", session_id, "standardise")
    images = {contrast: standardised_image(contrast, file=name) for contrast, name in names.items()}
    write_json(record, StandardiseRecord(images=images).to_json() | read_json(record))
    for name in names.values():
        write_text(layout.out_dir / name, "x" * 10)
    return [layout.out_dir / name for name in names.values()]


def test_images_that_a_later_visit_needs_are_kept(layout: Layout) -> None:
    files = {session: leave_standardised(layout, session) for session in ("ses-1", "ses-2", "ses-4")}
    record = layout.record("sub-01", "ses-1", "register")
    first = anchor(file=files["ses-1"][0].relative_to(layout.out_dir).as_posix())
    write_json(record, {**read_json(record), "carried": {"anchor": first.to_json()}})
    cleaned = clean_intermediate(layout)
    assert (cleaned.files, cleaned.size) == (3, 30)
    assert [path.is_file() for path in files["ses-1"]] == [True, False]
    assert not any(path.is_file() for path in files["ses-2"])
    assert all(path.is_file() for path in files["ses-4"])  # not finished
    assert without_intermediates(layout) == {("sub-01", "ses-1"), ("sub-01", "ses-2")}
    assert not layout.run_lock.exists()


def test_failed_visit_keeps_its_images(layout: Layout) -> None:
    files = leave_standardised(layout, "ses-3")
    assert clean_intermediate(layout).files == 0
    assert all(path.is_file() for path in files)


def test_second_cleaning_remembers_the_first(layout: Layout) -> None:
    leave_standardised(layout, "ses-1")
    clean_intermediate(layout)
    leave_standardised(layout, "ses-2")
    assert clean_intermediate(layout).files == 2
    assert read_json(layout.cleaned)["visits"] == ["sub-01/ses-1", "sub-01/ses-2"]


def test_visit_whose_images_were_made_again_has_them(layout: Layout) -> None:
    leave_standardised(layout, "ses-1")
    clean_intermediate(layout)
    leave_standardised(layout, "ses-1")
    assert without_intermediates(layout) == set()


def test_folder_that_was_never_cleaned_lacks_nothing(layout: Layout) -> None:
    assert without_intermediates(layout) == set()


def test_cleaning_is_refused_during_a_run(layout: Layout) -> None:
    with held(layout), pytest.raises(UsageError, match="another run is on"):
        clean_intermediate(layout)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        clean_intermediate(Layout(tmp_path / "other"))
