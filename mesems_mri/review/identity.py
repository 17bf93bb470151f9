"""Numbers of lesions that readers add: the same through all visits of a participant, never given twice."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import PublishedRead
from mesems_mri.files import read_json
from mesems_mri.images import nifti
from mesems_mri.review.masks import indices_of
from mesems_mri.review.outcome import ADDED_FROM, Identity
from mesems_mri.review.state import Finding, ReadState
from mesems_mri.review.visit import GEL_READ_DSEG, T2_READ_DSEG, FoundVisit


@dataclass(frozen=True, eq=False)
class _Known:
    """A lesion that a reader added at some visit, as it was published."""

    lesion_id: int
    kind: str
    session_id: str
    visit_index: int
    voxels: np.ndarray


def added_identities(layout: Layout, visit: FoundVisit, state: ReadState) -> dict[str, Identity]:
    """Give what is not in the ledger of the run its number.

    A lesion that overlaps one that was added at another visit of the participant, or at an earlier reading of
    this visit, has its number; another one gets a number that was never given.

    Returns
    -------
    dict of str to Identity
        By finding_id.
    """
    new = [finding for finding in state.findings.values() if finding.counts and not finding.lesion_ids]
    if not new:
        return {}
    known = _published(layout, visit.participant_id)
    following = max([ADDED_FROM - 1, *_ever_given(layout, visit.participant_id)]) + 1
    found: dict[str, Identity] = {}
    taken: set[int] = set()
    for finding in new:
        same = _largest_overlap(finding, [k for k in known if k.lesion_id not in taken])
        if same is None:
            number, following = following, following + 1
        else:
            number = same
        taken.add(number)
        seen = [k for k in known if k.lesion_id == number and k.visit_index < visit.visit_index]
        first = min(seen, key=lambda k: k.visit_index).session_id if seen else visit.session_id
        found[finding.finding_id] = Identity(number, first)
    return found


def _largest_overlap(finding: Finding, known: Iterable[_Known]) -> int | None:
    voxels = indices_of(finding.voxels)
    best, number = 0, None
    for other in known:
        if other.kind != finding.kind:
            continue
        shared = int(np.intersect1d(voxels, other.voxels, assume_unique=True).size)
        if shared > best:
            best, number = shared, other.lesion_id
    return number


def _published(layout: Layout, participant_id: str) -> list[_Known]:
    """List the lesions that readers added, of the reads that hold."""
    names = {"t2": T2_READ_DSEG, "gel": GEL_READ_DSEG}
    known = []
    for path in sorted(layout.reading.glob(f"{participant_id}/ses-*/read.json")):
        read, session = PublishedRead.from_json(read_json(path)), path.parent.name
        index = read_json(layout.metrics(participant_id, session))["visit_index"]
        added = [r for r in read.lesions if r["lesion_id"] >= ADDED_FROM and r["decision"] != "rejected"]
        for kind in {row["focus"] for row in added}:
            dseg_path = layout.product(participant_id, session, names[kind])
            if not dseg_path.is_file():
                continue
            flat = nifti.read_labels(dseg_path)[0].ravel()
            for row in added:
                if row["focus"] == kind:
                    voxels = np.asarray(np.flatnonzero(flat == row["lesion_id"]))
                    known.append(_Known(row["lesion_id"], kind, session, index, voxels))
    return known


def _ever_given(layout: Layout, participant_id: str) -> list[int]:
    """List the numbers of all reads of a participant, those of versions that do not hold any more too."""
    return [
        row["lesion_id"]
        for path in layout.reading.glob(f"{participant_id}/ses-*/*.json")
        for row in read_json(path)["lesions"]
    ]
