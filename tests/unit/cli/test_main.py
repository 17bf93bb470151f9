"""What the command line makes of its arguments before typer reads them."""

import pytest

from mesems_mri.cli.main import one_label_each


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("run B O --participant-label 01 02", "run B O --participant-label 01 --participant-label 02"),
        ("run B O participant --session-label w00 w04 --cores 2",
         "run B O participant --session-label w00 --session-label w04 --cores 2"),
        ("run B O --participant-label 01 group", "run B O --participant-label 01 group"),
        ("run B O --participant-label 01 --participant-label 02",
         "run B O --participant-label 01 --participant-label 02"),
        ("run B O --cores 2 --dry-run", "run B O --cores 2 --dry-run"),
        ("run --participant-label 01 B O", "run --participant-label 01 B O"),
        ("status O", "status O"),
    ],
)  # fmt: skip
def test_labels_may_follow_one_option(given: str, read: str) -> None:
    assert one_label_each(given.split()) == read.split()
