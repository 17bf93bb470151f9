"""A small study on disk, as runs leave it, without an image in it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.bids import Participant, Session, index_dataset
from mesems_mri.dataset.layout import Layout
from mesems_mri.files import write_json, write_text
from mesems_mri.pipeline.visit import STEPS
from mesems_mri.runner.request import RunRequest

SESSIONS = [Session(participant_id="sub-01", session_id=f"ses-{i}") for i in (1, 2, 3, 4)]
"""Of the folder `layout`: done, not evaluable, failed, waiting."""


def leave_visit(layout: Layout, session_id: str, status: str = "done", reason: str | None = None) -> None:
    """Write the records, the visit record and the page of a visit of ``sub-01`` whose last step is over."""
    message = "" if status == "done" else f"sub-01/{session_id}: it is so"
    for step in STEPS:
        record = {"status": status, "reason": reason, "message": message}
        write_json(layout.record("sub-01", session_id, step), record)
    read_status = "locked" if session_id == "ses-1" else "automatic"
    row = {"gel_reason": reason, "read_status": read_status}
    write_json(layout.metrics("sub-01", session_id), {"visit_metrics": row})
    write_text(layout.page("sub-01", session_id), "page")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return an output folder with a visit done, one not evaluable, one failed, one waiting."""
    layout = Layout(tmp_path)
    write_json(layout.expected, {"visits": {"sub-01": [s.session_id for s in SESSIONS]}})
    leave_visit(layout, "ses-1")
    leave_visit(layout, "ses-2", "not_evaluable", "wrong_head")
    leave_visit(layout, "ses-3", "failed", "step_failed")
    write_json(layout.record("sub-01", "ses-4", "standardise"), {"status": "done"})
    write_text(layout.log("sub-01", "ses-3"), "---- standardise\nearly\n---- register\nlate\n")
    return layout


@dataclass(frozen=True)
class Trial:
    """A raw BIDS folder with two visits of ``sub-01`` and one of ``sub-02``, and an output folder."""

    bids_dir: Path
    out_dir: Path

    @property
    def layout(self) -> Layout:
        """Names in the output folder."""
        return Layout(self.out_dir)

    @property
    def participants(self) -> tuple[Participant, ...]:
        """All participants with their visits."""
        return index_dataset(self.bids_dir, TrialConfig())

    def request(self, **options: object) -> RunRequest:
        """Make a request to run it."""
        options = {"bids_dir": self.bids_dir, "out_dir": self.out_dir} | options
        return RunRequest(**options)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Return a trial of which nothing has been run."""
    for participant, session in (("sub-01", "ses-1"), ("sub-01", "ses-2"), ("sub-02", "ses-1")):
        folder = tmp_path / "bids" / participant / session / "anat"
        write_text(folder / f"{participant}_{session}_FLAIR.nii", "")
    return Trial(tmp_path / "bids", tmp_path / "out")
