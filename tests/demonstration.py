"""The finished demonstration that tests look at, and copies of it for those that run on."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from mesems_mri.dataset.layout import Layout

_LEFT = (".mesems_demo", "evaluation.json", "central")
"""What it leaves at its beginning and at its end."""
HELD = ("sub-02", "ses-w04")
"""The visit whose query nobody answers."""


@dataclass(frozen=True)
class Demonstration:
    """What `make demo` leaves: 3 participants, 13 visits, five of them bad on purpose.

    Parameters
    ----------
    simulated : Path
        Raw data set as simulated, before it became DICOM.
    bids_dir, out_dir, truth_dir : Path
        What was taken in, the output of the run on it, and the truth.
    """

    simulated: Path
    bids_dir: Path
    out_dir: Path
    truth_dir: Path

    @classmethod
    def of(cls, folder: Path) -> "Demonstration":
        """Return the one in a folder, which must be finished."""
        missing = [name for name in _LEFT if not (folder / name).exists()]
        assert not missing, f"{folder}: no finished demonstration, it lacks {missing[0]}"
        simulated = folder / "simulated"
        truth_dir = simulated / "derivatives" / "truth"
        return cls(simulated, folder / "bids", folder / "derivatives", truth_dir)

    def copied(self, out_dir: Path) -> "Demonstration":
        """Return it with a copy of the output, nothing of which has been sent, for a test that runs on.

        Images are linked: whoever writes one writes another file and puts it in its place.
        """
        sent = Layout(self.out_dir).transfer.name
        shutil.copytree(self.out_dir, out_dir, copy_function=_link, ignore=lambda _, names: {sent} & {*names})
        return replace(self, out_dir=out_dir)


def _link(source: str, target: str) -> None:
    if source.endswith((".nii", ".nii.gz")):
        try:
            os.link(source, target)
        except OSError:  # another disk
            pass
        else:
            return
    shutil.copy2(source, target)


def remove_rows(table: Path, *unwanted: str) -> None:
    """Take the rows out of a table in which one of the words stands."""
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [line for line in lines if not any(word in line for word in unwanted)]
    table.write_text("".join(left), encoding="utf-8")
