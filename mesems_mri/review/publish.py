"""A read becomes what stands outside: rows of the tables, and numbered masks beside those of the run."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from mesems_mri.core.location import lesion_regions
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import PublishedRead, published_read, withdraw_read, write_read
from mesems_mri.dataset.records.register import RegisterRecord
from mesems_mri.errors import DatasetError
from mesems_mri.files import read_json, write_json
from mesems_mri.images import nifti
from mesems_mri.images.volume import spacing_of
from mesems_mri.provenance import software_versions
from mesems_mri.review.identity import added_identities
from mesems_mri.review.masks import mask_of
from mesems_mri.review.outcome import History, Outcome, decisions_sha256, outcome_of
from mesems_mri.review.read_masks import (
    remove_read_masks,
    remove_with_sidecar,
    sidecar,
    write_read_masks,
)
from mesems_mri.review.state import ReadState
from mesems_mri.review.visit import GEL_DSEG, GEL_READ_DSEG, T2_READ_DSEG, FoundVisit, ReadGrid

ReadStatus = Literal["read", "adjudicated", "locked"]
MASKS: Mapping[str, str] = {"t2": T2_READ_DSEG, "gel": GEL_READ_DSEG}
"""Numbered masks of a read, beside those of the run."""


def gel_history(layout: Layout, visit: FoundVisit) -> History:
    """Read where lesions enhanced at the earlier visits; a published read goes before the run."""
    reference = visit.metrics["gel_reference_session_id"]
    if reference is None:
        return History()
    at_reference, earlier = None, None
    for session, index in _earlier(layout, visit):
        read = published_read(layout, visit.participant_id, session)
        name = MASKS["gel"] if read and "gel" in read.masks else GEL_DSEG
        path = layout.product(visit.participant_id, session, name)
        if not path.is_file():
            continue
        enhancing = nifti.read_labels(path)[0].ravel() > 0
        if session == reference:
            at_reference, reference_index = enhancing, index
        elif at_reference is None or index < reference_index:
            earlier = enhancing if earlier is None else earlier | enhancing
    if at_reference is None and visit.grid is not None:
        at_reference = np.zeros(int(np.prod(visit.grid.shape)), bool)
    return History(at_reference, earlier)


def _earlier(layout: Layout, visit: FoundVisit) -> list[tuple[str, int]]:
    """List the scheduled visits of the participant before this one, the last one first."""
    found = []
    for path in layout.out_dir.glob(f"{visit.participant_id}/ses-*/*_metrics.json"):
        content = read_json(path)
        scheduled = content["visit_metrics"]["visit_type"] == "scheduled"
        if scheduled and content["visit_index"] < visit.visit_index:
            found.append((path.parent.name, content["visit_index"]))
    return sorted(found, key=lambda entry: -entry[1])


def make_read(
    layout: Layout, visit: FoundVisit, state: ReadState, status: ReadStatus, version: int = 0
) -> tuple[PublishedRead, Outcome]:
    """Make what a read publishes; nothing is written.

    Parameters
    ----------
    layout : Layout
    visit : FoundVisit
        What the run found; the read must have been made on it.
    state : ReadState
    status : str
        ``read`` or ``locked``.
    version : int
        Of a locked one, from 1.

    Raises
    ------
    DatasetError
        If the run was repeated since, and found something else.
    """
    if state.basis != visit.basis:
        msg = (
            f"{visit.participant_id}/{visit.session_id}: the run found something else since it was read; "
            "open it again and sign it again"
        )
        raise DatasetError(msg)
    outcome = outcome_of(
        visit,
        state,
        gel_history(layout, visit),
        _regions(layout, visit, state),
        added_identities(layout, visit, state),
    )
    metrics = {**outcome.metrics, "read_status": status}
    drawn = _drawn(outcome, metrics)
    grid = visit.grid
    assert grid is not None
    return PublishedRead(
        version=version,
        metrics=metrics,
        lesions=outcome.lesions,
        automatic=visit.metrics,
        decisions_sha256=decisions_sha256(state),
        masks={kind: _array_sha256(dseg, grid) for kind, dseg in drawn.items()},
    ), outcome


def write_masks(layout: Layout, visit: FoundVisit, read: PublishedRead, outcome: Outcome) -> None:
    """Write the numbered masks of a read; of a locked one also a copy under its version."""
    grid = visit.grid
    assert grid is not None
    drawn = _drawn(outcome, read.metrics)
    for kind, name in MASKS.items():
        path = layout.product(*visit.key, name)
        if kind not in drawn:
            remove_with_sidecar(path)
            continue
        nifti.write_labels(path, drawn[kind], grid.matrix)
        described = {
            "Sources": [f"bids::{source}" for source in sorted(visit.preproc.values())],
            "SpatialReference": "subject space, see the anchor record",
            "Description": "Lesions as they were read; a value is the lesion_id of the ledger",
            "Software": software_versions(),
            "Seed": 0,
        }
        write_json(sidecar(path), described)
        if read.version:
            kept = mask_version(layout, visit.key, read.version, kind)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
    write_read_masks(layout, visit, read.metrics, outcome.lesions, drawn)


def mask_version(layout: Layout, visit: tuple[str, str], version: int, kind: str) -> Path:
    """Return the mask of a version of a locked read."""
    return layout.read_version(*visit, version).with_name(f"v{version:03}_{kind}_dseg.nii.gz")


def withdraw(layout: Layout, visit: tuple[str, str]) -> None:
    """Take a read out of the tables; its versions stay."""
    withdraw_read(layout, *visit)
    for name in MASKS.values():
        remove_with_sidecar(layout.product(*visit, name))
    remove_read_masks(layout, visit)


def restore(layout: Layout, visit: FoundVisit, version: int) -> None:
    """Publish a version of a locked read again, from what was kept under it."""
    read = PublishedRead.from_json(read_json(layout.read_version(*visit.key, version)))
    drawn: dict[str, np.ndarray] = {}
    for kind, name in MASKS.items():
        kept = mask_version(layout, visit.key, version, kind)
        if kept.is_file():
            shutil.copyfile(kept, layout.product(*visit.key, name))
            drawn[kind] = nifti.read_labels(kept)[0]
    write_read_masks(layout, visit, read.metrics, read.lesions, drawn)
    write_read(layout, *visit.key, read)


def check_version(layout: Layout, visit: tuple[str, str], version: int, sha256: str) -> list[str]:
    """Check the files of a locked read against the hash in the database.

    Returns
    -------
    list of str
        Faults, one sentence each.
    """
    name = f"{visit[0]}/{visit[1]} v{version:03}"
    path = layout.read_version(*visit, version)
    try:
        content = read_json(path)
        read = PublishedRead.from_json(content)
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return [f"{name}: the file of the locked read is gone or damaged"]
    wrong = []
    if content["sha256"] != sha256 or read.sha256 != sha256:
        wrong.append(f"{name}: the file of the locked read was changed after it was locked")
    for kind, digest in read.masks.items():
        kept = mask_version(layout, visit, version, kind)
        if not kept.is_file():
            wrong.append(f"{name}: the {kind} mask is gone")
            continue
        array, affine = nifti.read_labels(kept)
        if _array_sha256(array, ReadGrid.of(array.shape, affine)) != digest:
            wrong.append(f"{name}: the {kind} mask was changed after it was locked")
    return wrong


def _drawn(outcome: Outcome, metrics: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Return the masks of what is evaluable."""
    drawn = {"t2": outcome.t2, "gel": outcome.gel}
    return {kind: dseg for kind, dseg in drawn.items() if metrics[f"{kind}_evaluable"]}


def _array_sha256(dseg: np.ndarray, grid: ReadGrid) -> str:
    content = hashlib.sha256(repr((grid.shape, np.round(grid.matrix, 3).tolist())).encode())
    content.update(np.ascontiguousarray(dseg, np.int32).tobytes())
    return content.hexdigest()


def _regions(layout: Layout, visit: FoundVisit, state: ReadState) -> dict[str, str]:
    """Return the region of what the reader added; nothing where the tissue maps of the run are gone."""
    grid = visit.grid
    added = [f for f in state.findings.values() if f.region is None and f.counts]
    path = layout.record(*visit.key, "register")
    if not added or grid is None or not path.is_file():
        return {}
    registered = RegisterRecord.from_json(read_json(path)).registered
    if registered is None:
        return {}
    tissue = layout.out_dir / registered.tissue
    prior = layout.out_dir / registered.anchor.brain_prior
    if not tissue.is_file() or not prior.is_file():
        return {}
    with np.load(prior) as archive:
        start, stop = archive["box"]
    box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    with np.load(tissue) as archive:
        priors = {name: archive[name].astype(np.float32) / np.float32(255) for name in archive.files}
    found: dict[str, str] = {}
    for finding in added:
        dseg = mask_of(finding.voxels, grid.shape)[box].astype(np.int32)
        if dseg.any():
            found[finding.finding_id] = lesion_regions(
                dseg, priors=priors, spacing_mm=spacing_of(grid.matrix)
            )[1]
    return found
