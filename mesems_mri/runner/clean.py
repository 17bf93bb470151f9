"""Remove intermediate files that no later visit needs."""

from dataclasses import dataclass
from pathlib import Path

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.register import Anchor
from mesems_mri.dataset.records.standardise import StandardiseRecord
from mesems_mri.files import read_json, write_json
from mesems_mri.pipeline.visit import STEPS
from mesems_mri.runner.lock import held
from mesems_mri.runner.state import Outcome, no_run, visit_state


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """Files removed by a cleaning.

    Parameters
    ----------
    files : int
        Number of files.
    size : int
        Their size in bytes.
    """

    files: int
    size: int


def clean_intermediate(layout: Layout) -> Cleaned:
    """Remove the standardised images of finished visits; products, records and ledgers stay.

    The input of later visits stays too: image, mask and priors of the anchor visit, and the lesions of every
    visit.

    Parameters
    ----------
    layout : Layout
        Names in the output folder.

    Raises
    ------
    UsageError
        If there is no run, or one is on.
    """
    if not (layout.out_dir / ".mesems").is_dir():
        raise no_run(layout)
    files = size = 0
    cleaned = set(read_json(layout.cleaned)["visits"]) if layout.cleaned.is_file() else set()
    with held(layout):
        for participant in sorted(layout.expected.parent.glob("sub-*")):
            visits = sorted(participant.glob("ses-*"))
            needed = {path for visit in visits for path in _anchor_files(layout, visit)}
            for visit in visits:
                state = visit_state(layout, participant.name, visit.name)
                if state.outcome not in (Outcome.DONE, Outcome.NOT_EVALUABLE):
                    continue
                for path in sorted(_removable(layout, visit) - needed):
                    size += path.stat().st_size
                    files += 1
                    path.unlink()
                    cleaned.add(state.name)
        write_json(layout.cleaned, {"visits": sorted(cleaned)})
    return Cleaned(files=files, size=size)


def without_intermediates(layout: Layout) -> set[tuple[str, str]]:
    """List the visits (participant_id, session_id) whose standardised images were removed."""
    if not layout.cleaned.is_file():
        return set()
    visits = {tuple(name.split("/")) for name in read_json(layout.cleaned)["visits"]}
    return {
        (participant, session)
        for participant, session in visits
        if any(not file.is_file() for file in _standardised(layout, layout.work(participant, session)))
    }


def _standardised(layout: Layout, visit: Path) -> set[Path]:
    path = visit / f"{STEPS[0]}.json"
    if not path.is_file():
        return set()
    images = StandardiseRecord.from_json(read_json(path)).images or {}
    return {layout.out_dir / image.corrected.file for image in images.values() if image.corrected}


def _removable(layout: Layout, visit: Path) -> set[Path]:
    return {path for path in _standardised(layout, visit) if path.is_file()}


def _anchor_files(layout: Layout, visit: Path) -> set[Path]:
    path = visit / "register.json"
    if not path.is_file():
        return set()
    anchor = Anchor.from_carried(read_json(path).get("carried", {}))
    return {layout.out_dir / name for name in (anchor.files if anchor else ())}
