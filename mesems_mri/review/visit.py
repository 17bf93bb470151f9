"""A visit as the run left it: what was counted, what was offered, on which grid."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mesems_mri.core.tracking.foci import AcquiredPlane
from mesems_mri.core.typing import Affine, Labels
from mesems_mri.dataset.bids import POSTCONTRAST, Contrast
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.base import Json
from mesems_mri.dataset.records.register import RegisteredVisit, RegisterRecord
from mesems_mri.dataset.records.visit import VisitRecord
from mesems_mri.errors import DatasetError
from mesems_mri.files import read_json
from mesems_mri.images import nifti
from mesems_mri.images.volume import spacing_of
from mesems_mri.review.masks import Shape

T2_DSEG = "space-subject_desc-T2_dseg.nii.gz"
GEL_DSEG = "ce-gadolinium_space-subject_desc-enhancing_dseg.nii.gz"
CANDIDATES_DSEG = "space-subject_desc-candidates_dseg.nii.gz"
T2_READ_DSEG = "space-subject_desc-readT2_dseg.nii.gz"
GEL_READ_DSEG = "ce-gadolinium_space-subject_desc-readenhancing_dseg.nii.gz"
BRAIN_MASK = "space-subject_desc-brain_mask.nii.gz"


@dataclass(frozen=True)
class ReadGrid:
    """Grid of subject space on which all masks of a visit lie.

    Parameters
    ----------
    shape : tuple of int
    affine : tuple of tuple of float
        Voxel to mm.
    """

    shape: Shape
    affine: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], affine: Affine) -> "ReadGrid":
        """Make the grid of an array."""
        x, y, z = shape
        return cls((x, y, z), tuple(tuple(float(v) for v in row) for row in affine))

    @property
    def matrix(self) -> Affine:
        """The affine as an array."""
        return np.asarray(self.affine, np.float64)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(spacing_of(self.matrix)))


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundVisit:
    """Findings of the run at a visit.

    Parameters
    ----------
    participant_id, session_id : str
    visit_index : int
        Place of the visit in order of time, from 0.
    metrics : mapping
        Automatic row of ``visit_metrics.tsv``.
    lesions, candidates : tuple of mapping
        Rows of the ledger and of the table of candidates.
    preproc : mapping of contrast to str
        Preprocessed images, relative to the output folder.
    change_contrast : str or None
    grid : ReadGrid or None
        None where the visit has no image in subject space.
    planes : mapping of str to AcquiredPlane
        Of ``t2`` and ``gel``.
    subject_to_mni : tuple of tuple of float or None
    basis : str
        Hash of all that a reader is shown of it.
    """

    participant_id: str
    session_id: str
    visit_index: int
    metrics: Json
    lesions: tuple[Json, ...]
    candidates: tuple[Json, ...]
    preproc: Mapping[Contrast, str]
    change_contrast: str | None
    grid: ReadGrid | None
    planes: Mapping[str, AcquiredPlane]
    subject_to_mni: tuple[tuple[float, ...], ...] | None
    basis: str

    @property
    def key(self) -> tuple[str, str]:
        """Participant and session."""
        return self.participant_id, self.session_id

    def evaluable(self, part: str) -> bool:
        """Return whether a part is evaluable by the run."""
        return bool(self.metrics[f"{part}_evaluable"])


def list_visits(layout: Layout) -> list[tuple[str, str]]:
    """List the visits of the output folder that can be read, in order of participant and time.

    Raises
    ------
    DatasetError
        If there is none.
    """
    found = []
    for path in layout.out_dir.glob("sub-*/ses-*/*_metrics.json"):
        content = read_json(path)
        if content["status"] == "done" and content.get("preproc"):
            found.append((path.parent.parent.name, content["visit_index"], path.parent.name))
    if not found:
        msg = f"{layout.out_dir}: holds no visit that could be read; give the output folder of a finished run"
        raise DatasetError(msg)
    return [(participant, session) for participant, _, session in sorted(found)]


def load_visit(layout: Layout, participant_id: str, session_id: str) -> FoundVisit:
    """Read what the run left of a visit, without its images.

    Raises
    ------
    DatasetError
        If there is no such visit.
    """
    path = layout.metrics(participant_id, session_id)
    if not path.is_file():
        msg = f"{participant_id}/{session_id}: has no record in {layout.out_dir}; run the analysis first"
        raise DatasetError(msg)
    record = VisitRecord.from_json(read_json(path))
    register = _register_record(layout, participant_id, session_id)
    anchor = record.anchor
    return FoundVisit(
        participant_id=participant_id,
        session_id=session_id,
        visit_index=record.visit_index,
        metrics=record.metrics,
        lesions=record.lesions,
        candidates=record.candidates or (),
        preproc=record.preproc,
        change_contrast=record.change_contrast,
        grid=_grid(layout, record),
        planes=_planes(register, record.metrics["t2_contrast"]),
        subject_to_mni=tuple(tuple(map(float, row)) for row in anchor.subject_to_mni) if anchor else None,
        basis=_basis(layout, participant_id, session_id, record),
    )


def load_dsegs(layout: Layout, visit: FoundVisit) -> dict[str, Labels]:
    """Read the numbered lesions and candidates of a visit: ``t2``, ``gel``, ``candidates``, where there."""
    names = {"t2": T2_DSEG, "gel": GEL_DSEG, "candidates": CANDIDATES_DSEG}
    paths = {kind: layout.product(*visit.key, name) for kind, name in names.items()}
    return {kind: nifti.read_labels(path)[0] for kind, path in paths.items() if path.is_file()}


def _grid(layout: Layout, record: VisitRecord) -> ReadGrid | None:
    for name in record.preproc.values():
        shape, affine = nifti.read_grid(layout.out_dir / name)
        return ReadGrid.of(shape, affine)
    return None


def _register_record(layout: Layout, participant_id: str, session_id: str) -> RegisteredVisit | None:
    """Read the record of the registration; None where the folder is a copy without the work of the steps."""
    path = layout.record(participant_id, session_id, "register")
    return RegisterRecord.from_json(read_json(path)).registered if path.is_file() else None


def _planes(registered: RegisteredVisit | None, t2_contrast: str | None) -> dict[str, AcquiredPlane]:
    planes = {"t2": AcquiredPlane(), "gel": AcquiredPlane()}
    for kind, contrast in (("t2", t2_contrast), ("gel", POSTCONTRAST)):
        for name, image in (registered.evaluable if registered else {}).items():
            if name == contrast:
                planes[kind] = AcquiredPlane(image.plane_normal, image.slice_thickness_mm)
    return planes


def _basis(layout: Layout, participant_id: str, session_id: str, record: VisitRecord) -> str:
    content = {
        "lesions": [dict(row) for row in record.lesions],
        "candidates": [dict(row) for row in record.candidates or ()],
        "metrics": {k: v for k, v in record.metrics.items() if k not in ("software_version", "read_status")},
        "files": {
            name: _file_sha256(layout.product(participant_id, session_id, name))
            for name in (T2_DSEG, GEL_DSEG, CANDIDATES_DSEG)
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
