"""T2 lesions found against false ones at every score (FROC), and how far the score can be trusted.

    python -m benchmarks.t2_curve REAL/out REAL/truth [--json FILE] [--candidates FILE]

Reads what ``python -m benchmarks.accuracy --only real`` leaves: patients 07 and 26 of open_ms, against the
consensus of three raters. Every candidate is judged again, those that the run turned down included, on FLAIR
and, as if there were none, on T2w. A candidate is true when at least 30 % of it lies in the truth (MSSEG-2).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.reliability import LIMITS, MIN_INSIDE, print_reliability, write_candidates
from mesems_mri.core.agreement import compare_masks
from mesems_mri.core.components import label_components
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.segment import segment_t2_lesions, thresholds_for
from mesems_mri.core.tally import Tally
from mesems_mri.core.typing import T2Contrast
from mesems_mri.dataset.layout import Layout
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.scene import Scene, open_scene
from mesems_mri.pipeline.visit import VisitFiles

PARTICIPANTS = ("sub-07", "sub-26")
CONTRASTS: tuple[T2Contrast, ...] = ("FLAIR", "T2w")


@dataclass(frozen=True)
class Candidates:
    """Candidates of a visit in the box of its brain, the score of each from number 1 on, and the truth."""

    dseg: NDArray[np.int32]
    scores: NDArray[np.float64]
    truth: NDArray[np.bool_]

    @property
    def is_true(self) -> NDArray[np.bool_]:
        """Whether each lies in the truth."""
        inside = ndimage.mean(self.truth, self.dseg, np.arange(1, len(self.scores) + 1))
        return np.asarray(inside) >= MIN_INSIDE

    def above(self, least: float) -> Tally:
        """Score those of at least so much."""
        mask = np.concatenate([[False], self.scores >= least])[self.dseg]
        return compare_masks(self.truth, mask, spacing_mm=SUBJECT_GRID.spacing_mm).overall


def read_candidates(out_dir: Path, truth_dir: Path, contrast: T2Contrast) -> Iterator[Candidates]:
    """Segment both visits with every candidate accepted."""
    for participant in PARTICIPANTS:
        visit = VisitFiles(
            bids_dir=Path(), layout=Layout(out_dir), participant_id=participant, session_id="ses-1"
        )
        registered = visit.register_record().registered
        assert registered is not None
        scene = open_scene(visit, registered)
        anat = truth_dir / participant / "ses-1" / "anat"
        drawn, affine = nifti.read_labels(
            anat / f"{participant}_ses-1_space-orig_label-L_desc-T2_mask.nii.gz"
        )
        to_image = np.asarray(registered.evaluable["FLAIR"].subject_to_image)
        truth = resample_labels(drawn, affine, SUBJECT_GRID, to_image)[scene.box] > 0
        yield _judge(scene, contrast, truth)


def _judge(scene: Scene, contrast: T2Contrast, truth: NDArray[np.bool_]) -> Candidates:
    entry = scene.entries[contrast]
    found = segment_t2_lesions(
        T2Scan(scene.images[contrast], contrast, entry.slice_thickness_mm, entry.plane_normal),
        Anatomy(
            scene.brain_mask,
            scene.nawm(contrast),
            scene.priors,
            SUBJECT_GRID.spacing_mm,
            scene.images.get("T1w"),
        ),
        replace(thresholds_for(contrast), min_score=0.0),
    )
    dseg, n = label_components(found.mask)
    scores = np.asarray(ndimage.maximum(found.score, dseg, np.arange(1, n + 1)), np.float64)
    return Candidates(dseg, scores, truth)


def main() -> None:
    """Print the curves and the reliability."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_out", type=Path)
    parser.add_argument("real_truth", type=Path)
    parser.add_argument("--json", type=Path, help="write the curves here as well, for benchmarks.froc")
    parser.add_argument(
        "--candidates", type=Path, help="add the scored candidates to this table, for benchmarks.reliability"
    )
    given = parser.parse_args()
    curves = {}
    for contrast in CONTRASTS:
        visits = list(read_candidates(given.real_out, given.real_truth, contrast))
        print(f"\n{contrast}\n\n| score at least | found | true | F1 | false a scan |\n|---|---|---|---|---|")
        points = []
        for least in LIMITS:
            tally = sum((visit.above(least) for visit in visits), Tally())
            false = (tally.detections - tally.true_detections) / len(visits)
            points.append((false, tally.found / tally.truth))
            print(
                f"| {least:g} | {tally.found}/{tally.truth} | {tally.true_detections}/{tally.detections}"
                f" | {tally.f1 or 0:.2f} | {false:.1f} |"
            )
        curves[f"T2 lesions on {contrast}"] = points
        judged = {p: (v.scores, v.is_true) for p, v in zip(PARTICIPANTS, visits, strict=True)}
        print_reliability(judged)
        if given.candidates:
            write_candidates(given.candidates, f"t2 {contrast}", judged)
    if given.json:
        given.json.write_text(json.dumps(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
