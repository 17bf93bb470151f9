"""A small output folder that can be read: balls as lesions in a box of 40 mm, with images and candidates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mesems_mri.config import TrialConfig
from mesems_mri.dataset.columns import CANDIDATE_COLUMNS
from mesems_mri.dataset.counts import visit_counts
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.reads import write_study_tables
from mesems_mri.dataset.tables import write_table
from mesems_mri.files import write_json
from mesems_mri.images import nifti
from mesems_mri.pipeline.compile import compile_ledger
from tests.small_study import anchor, visit_row

SHAPE = (40, 40, 40)
AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
AFFINE[:3, 3] = (-20.0, -20.0, -20.0)
SECRETS = ("sub-", "ses-w", "S01", "S02", "MESEMS", "w04", "2026", "week")


def ball(
    centre: tuple[int, int, int], radius: float = 2.5, shape: tuple[int, int, int] = SHAPE
) -> np.ndarray:
    grid = np.indices(SHAPE)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


@dataclass
class Lesion:
    """A lesion or candidate of the study."""

    number: int
    focus: str
    centre: tuple[int, int, int]
    radius: float = 2.5
    t2_status: str | None = None
    gd_status: str | None = None
    parent: int | None = None


FIRST = (
    Lesion(1, "t2", (12, 12, 12), 3.5, "not_evaluable", "none"),
    Lesion(2, "t2", (28, 28, 12), 3.5, "not_evaluable", "none"),
)
SECOND = (
    Lesion(1, "t2", (12, 12, 12), 3.5, "stable", "none"),
    Lesion(2, "t2", (28, 28, 12), 3.5, "stable", "new"),
    Lesion(3, "t2", (12, 28, 28), 2.5, "new", "none"),
    Lesion(4, "gel", (28, 28, 12), 2.5, "stable", "new", 2),
)
OFFERED = (
    Lesion(1, "gel", (28, 12, 28)),
    Lesion(2, "change", (12, 12, 28)),
)
HIDDEN = (20, 20, 20)
"""Place of a lesion that the run missed."""


@dataclass
class ReadingStudy:
    """The output folder."""

    folder: Path
    participants: int = 2
    sessions: tuple[str, ...] = ("ses-w00", "ses-w04")
    images: bool = True
    lesions: Mapping[str, tuple[Lesion, ...]] = field(
        default_factory=lambda: {"ses-w00": FIRST, "ses-w04": SECOND}
    )

    def __post_init__(self) -> None:
        self.out_dir = self.folder / "out"
        self.layout = Layout(self.out_dir)
        write_json(self.layout.provenance, {"runs": [{"bids_dir": str(self.folder / "bids")}]})
        self.write()

    @property
    def people(self) -> list[str]:
        return [f"sub-{number:03}" for number in range(1, self.participants + 1)]

    def write(self) -> None:
        """Write the study as a run would leave it, tables included."""
        records: dict[str, list[Path]] = {}
        for number, participant in enumerate(self.people):
            for index, session in enumerate(self.sessions):
                self._visit(participant, session, index, f"S{number % 2 + 1:02}")
                records.setdefault(participant, []).append(self.layout.metrics(participant, session))
        for participant, paths in records.items():
            compile_ledger(self.layout, participant, paths)
        write_study_tables(self.layout, TrialConfig().periods)

    def _visit(self, participant: str, session: str, index: int, site: str) -> None:
        lesions = self.lesions.get(session, SECOND)
        row = visit_row("MESEMS", site, participant, session, first=index == 0)
        row |= {
            "gel_reference_session_id": None if index == 0 else self.sessions[index - 1],
            "t2_reference_session_id": None if index == 0 else self.sessions[index - 1],
        }
        dsegs = {focus: np.zeros(SHAPE, np.int32) for focus in ("t2", "gel")}
        for lesion in lesions:
            dsegs[lesion.focus][ball(lesion.centre, lesion.radius)] = lesion.number
        rows = [_row(row, lesion, dsegs) for lesion in lesions]
        row |= visit_counts(
            rows,
            gel_evaluable=True,
            gel_change_evaluable=index > 0,
            t2_evaluable=True,
            t2_change_evaluable=index > 0,
        )
        offered = np.zeros(SHAPE, np.int32)
        for lesion in OFFERED:
            offered[ball(lesion.centre)] = lesion.number
        candidates = [_candidate(lesion) for lesion in OFFERED]
        write = nifti.write_labels
        product = self.layout.product
        write(product(participant, session, "space-subject_desc-T2_dseg.nii.gz"), dsegs["t2"], AFFINE)
        gel_name = "ce-gadolinium_space-subject_desc-enhancing_dseg.nii.gz"
        write(product(participant, session, gel_name), dsegs["gel"], AFFINE)
        write(product(participant, session, "space-subject_desc-candidates_dseg.nii.gz"), offered, AFFINE)
        brain = np.zeros(SHAPE, np.uint8)
        brain[2:-2, 2:-2, 2:-2] = 1
        write(product(participant, session, "space-subject_desc-brain_mask.nii.gz"), brain, AFFINE)
        write_table(
            self.layout.candidates(participant, session), CANDIDATE_COLUMNS, candidates, missing="n/a"
        )
        preproc = self._images(participant, session, lesions, brain > 0)
        write_json(
            self.layout.metrics(participant, session),
            {
                "status": "done",
                "message": "",
                "visit_index": index,
                "visit_metrics": row,
                "lesions": rows,
                "lesions_from": "detector",
                "gel_rejected": [],
                "candidates": candidates,
                "anchor": anchor(participant, self.sessions[0]),
                "images": {},
                "quality_names": [],
                "preproc": preproc,
                "change_contrast": "FLAIR" if index else None,
                "reference_preproc": None,
                "registration": {},
                "versions": {},
            },
        )

    def _images(
        self, participant: str, session: str, lesions: tuple[Lesion, ...], brain: np.ndarray
    ) -> dict[str, str]:
        rng = np.random.default_rng(1)
        names = {
            "FLAIR": "space-subject_desc-preproc_FLAIR.nii.gz",
            "T1w": "space-subject_desc-preproc_T1w.nii.gz",
            "ce-gadolinium_T1w": "ce-gadolinium_space-subject_desc-preproc_T1w.nii.gz",
        }
        bright = {"FLAIR": ("t2", "change"), "T1w": (), "ce-gadolinium_T1w": ("gel",)}
        hidden = session != self.sessions[0]
        written = {}
        for contrast, name in names.items():
            image = np.where(brain, 1.0, 0.0) + rng.normal(0, 0.02, SHAPE) * brain
            shown = [x for x in (*lesions, *OFFERED) if x.focus in bright[contrast]]
            for lesion in shown:
                image[ball(lesion.centre, lesion.radius)] += 0.5
            if hidden and bright[contrast]:
                image[ball(HIDDEN)] += 0.5
            path = self.layout.product(participant, session, name)
            if self.images or not path.exists():
                nifti.write_image(path, image, AFFINE)
            written[contrast] = path.relative_to(self.out_dir).as_posix()
        return written


def _row(visit: Mapping[str, Any], lesion: Lesion, dsegs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    identity = {name: visit[name] for name in ("study_id", "site_id", "participant_id", "session_id")}
    volume = float((dsegs[lesion.focus] == lesion.number).sum())
    return identity | {
        "lesion_id": lesion.number,
        "focus": lesion.focus,
        "parent_lesion_id": lesion.parent,
        "merged_ids": "",
        "reference_session_id": visit["t2_reference_session_id"],
        "first_seen_session_id": visit["session_id"],
        "t2_status": lesion.t2_status,
        "gd_status": lesion.gd_status,
        "active": lesion.t2_status == "new" or (lesion.focus == "gel" and lesion.gd_status == "new"),
        "volume_mm3": volume,
        "growth_mm3": None,
        "max_diameter_mm": 2 * lesion.radius,
        "x": float(lesion.centre[0] - 20),
        "y": float(lesion.centre[1] - 20),
        "z": float(lesion.centre[2] - 20),
        "region": "deep_white_matter",
        "score": 0.9,
        "decision": "automatic",
    }


def _candidate(lesion: Lesion) -> dict[str, Any]:
    return {
        "candidate_id": lesion.number,
        "kind": lesion.focus,
        "score": 0.3,
        "volume_mm3": 81.0,
        "x": float(lesion.centre[0] - 20),
        "y": float(lesion.centre[1] - 20),
        "z": float(lesion.centre[2] - 20),
        "region": "deep_white_matter",
        "why_not_counted": "score_below_limit",
    }
