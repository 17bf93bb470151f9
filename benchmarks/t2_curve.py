"""T2 lesions of patients that no network had seen: by patient, data set and size, at every score.

    python -m benchmarks.t2_curve REAL [--json FILE] [--sets FILE] [--candidates FILE]

``REAL`` is what ``python -m benchmarks.accuracy --only real`` leaves: ``out`` and ``truth``, of the same
names in ``mslesseg`` and ``ms3seg``. Every patient is read by the network of the fold that left it out
(``benchmarks/models/t2_fold_*.onnx``; a patient without one is left out and named), and compared on the grid
of the subject. What the raters of MS3SEG saw and did not count is ignored. A candidate is true when at least
30 % of it lies in the reference standard (MSSEG-2). The eight weights of the score were fitted to all
these patients; ``python -m training.t2_score`` leaves each out of the weights as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.reliability import LIMITS, MIN_INSIDE, print_reliability, write_candidates
from mesems_mri.core.agreement import Agreement, compare_masks
from mesems_mri.core.intervals import wilson_interval
from mesems_mri.core.t2.brightness import segment_by_brightness
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.segment import SegmentThresholds, propose_lesions, score_foci
from mesems_mri.core.tally import Tally
from mesems_mri.dataset.layout import Layout
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.models.t2 import lesion_probability
from mesems_mri.pipeline.scene import Scene, open_scene
from mesems_mri.pipeline.visit import VisitFiles

FOLDS = {
    "t2_fold_a": ("07", "ms3seg01", "ms3seg05", "ms3seg09"),
    "t2_fold_b": ("26", "ms3seg02", "ms3seg06"),
    "t2_fold_c": ("P18", "ms3seg03", "ms3seg07"),
    "t2_fold_d": ("P39", "ms3seg04", "ms3seg08"),
}
"""Participants that each network has not seen."""
SETS = {"open_ms": ("", "07", "26"), "MSLesSeg": ("mslesseg", "P18", "P39"), "MS3SEG": ("ms3seg",)}
"""Folder of each data set, and its participants; of MS3SEG all."""
COUNTED = 0.5
_MODELS = Path(__file__).with_name("models")
_SIZES = ((14.0, 27.0), (27.0, 70.0), (70.0, 500.0), (500.0, np.inf))


@dataclass(frozen=True, eq=False)
class Read:
    """A patient read by a network that has not seen it, in the box of the brain.

    Attributes
    ----------
    name, data_set : str
    foci : ndarray of int32, shape (x, y, z)
        Everything that was proposed, numbered 1..n.
    scores : ndarray of float64, shape (n + 1,)
        By label.
    by_brightness : ndarray of bool, shape (x, y, z)
        What brightness alone would segment.
    truth, ignored : ndarray of bool, shape (x, y, z)
    """

    name: str
    data_set: str
    foci: NDArray[np.int32]
    scores: NDArray[np.float64]
    by_brightness: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    ignored: NDArray[np.bool_]

    def above(self, least: float) -> Agreement:
        """Compare the foci of at least so much."""
        kept = self.scores >= least
        kept[0] = False
        return self.compare(kept[self.foci])

    def compare(self, mask: NDArray[np.bool_]) -> Agreement:
        """Compare a mask with the reference standard."""
        return compare_masks(self.truth, mask, spacing_mm=SUBJECT_GRID.spacing_mm, ignore=self.ignored)

    @property
    def judged(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores of the candidates that the raters decided about, and whether each is true."""
        labels = np.arange(1, len(self.scores))
        true = np.asarray(ndimage.mean(self.truth, self.foci, labels)) >= MIN_INSIDE
        asked = true | (np.asarray(ndimage.mean(self.ignored, self.foci, labels)) <= 0.5)
        return self.scores[1:][asked], true[asked]


def read_patients(real: Path) -> Iterable[Read]:
    """Read every patient for whom there is a network that has not seen it."""
    for data_set, (folder, *_) in SETS.items():
        out_dir, truth_dir = real / folder / "out", real / folder / "truth"
        for network, participants in FOLDS.items():
            for name in participants:
                if not (truth_dir / f"sub-{name}").is_dir():
                    continue
                if not (_MODELS / f"{network}.onnx").is_file():
                    print(f"left out: {name}, for want of {network}.onnx")
                    continue
                yield _read(name, data_set, out_dir, truth_dir, _MODELS / network)


def _read(name: str, data_set: str, out_dir: Path, truth_dir: Path, network: Path) -> Read:
    visit = VisitFiles(
        bids_dir=Path(), layout=Layout(out_dir), participant_id=f"sub-{name}", session_id="ses-1"
    )
    registered = visit.register_record().registered
    assert registered is not None
    scene = open_scene(visit, registered)
    to_image = np.asarray(registered.evaluable["FLAIR"].subject_to_image)
    scan, anatomy = _inputs(scene)
    images = {contrast: image for contrast, image in scene.images.items() if contrast in ("FLAIR", "T1w")}
    probability = lesion_probability(images, scene.priors, scene.brain_mask, network)
    proposed = propose_lesions(scan, anatomy, probability, SegmentThresholds())
    assert proposed is not None
    foci = np.zeros(scene.brain_mask.shape, np.int32)
    foci[proposed.tissue.box] = proposed.foci
    masks = []
    for desc in ("T2", "T2ignore"):
        path = truth_dir / f"sub-{name}" / "ses-1" / "anat"
        path /= f"sub-{name}_ses-1_space-orig_label-L_desc-{desc}_mask.nii.gz"
        if path.is_file():
            drawn, affine = nifti.read_labels(path)
            masks.append(resample_labels(drawn, affine, SUBJECT_GRID, to_image)[scene.box] > 0)
        else:
            masks.append(np.zeros(foci.shape, np.bool_))
    truth, ignored = masks
    by_brightness, _ = segment_by_brightness(scan, anatomy)
    return Read(name, data_set, foci, score_foci(proposed.features), by_brightness, truth, ignored & ~truth)


def _inputs(scene: Scene) -> tuple[T2Scan, Anatomy]:
    entry = scene.entries["FLAIR"]
    return (
        T2Scan(scene.images["FLAIR"], "FLAIR", entry.slice_thickness_mm, entry.plane_normal),
        Anatomy(
            scene.brain_mask,
            scene.nawm("FLAIR"),
            scene.priors,
            SUBJECT_GRID.spacing_mm,
            scene.images.get("T1w"),
        ),
    )


def _dice(agreement: Agreement) -> float:
    both = agreement.truth_volume_mm3 + agreement.detection_volume_mm3
    return 2.0 * agreement.overlap_mm3 / both if both else 0.0


def _means(results: list[Agreement]) -> tuple[float, float]:
    """Return the mean F1 and the mean Dice of patients."""
    return (
        float(np.mean([result.overall.f1 or 0.0 for result in results])),
        float(np.mean([_dice(result) for result in results])),
    )


def print_patients(patients: Iterable[Read]) -> None:
    """Print every patient, what is counted beside brightness alone."""
    counted_at = f"F1 (score >= {COUNTED:g})"
    print(f"\n| held out | data set | mL | found | true | {counted_at} | Dice | brightness alone |")
    print("|---|---|---|---|---|---|---|---|")
    for patient in patients:
        counted, alone = patient.above(COUNTED), patient.compare(patient.by_brightness)
        tally = counted.overall
        print(
            f"| {patient.name} | {patient.data_set} | {counted.truth_volume_mm3 / 1000:.1f} "
            f"| {tally.found}/{tally.truth} | {tally.true_detections}/{tally.detections} "
            f"| {tally.f1 or 0:.2f} | {_dice(counted):.2f} "
            f"| F1 {alone.overall.f1 or 0:.2f}, Dice {_dice(alone):.2f} |"
        )


def print_sets(patients: Mapping[str, list[Read]]) -> None:
    """Print the means of each data set, and what is found by size."""
    print("\n| data set | patients | F1, mean | Dice, mean | brightness alone |\n|---|---|---|---|---|")
    for data_set, own in patients.items():
        counted = _means([patient.above(COUNTED) for patient in own])
        alone = _means([patient.compare(patient.by_brightness) for patient in own])
        print(
            f"| {data_set} | {len(own)} | {counted[0]:.2f} | {counted[1]:.2f} "
            f"| F1 {alone[0]:.2f}, Dice {alone[1]:.2f} |"
        )
    print("\n| data set | size mm3 | found | sensitivity (95 %) |\n|---|---|---|---|")
    for data_set, own in patients.items():
        compared = [focus for patient in own for focus in patient.above(COUNTED).foci]
        outcomes = [focus for focus in compared if focus.outcome in ("found", "missed")]
        for low, high in _SIZES:
            sized = [focus for focus in outcomes if low <= focus.volume_mm3 < high]
            if sized:
                found = sum(focus.outcome == "found" for focus in sized)
                interval = wilson_interval(found, len(sized)) or (0.0, 1.0)
                print(
                    f"| {data_set} | {low:g} to {high:g} | {found}/{len(sized)} "
                    f"| {found / len(sized):.2f} ({interval[0]:.2f}-{interval[1]:.2f}) |"
                )


def print_curve(patients: list[Read]) -> list[tuple[float, float]]:
    """Print found and false lesions at every score; return false lesions a scan and sensitivity."""
    print("\n| score at least | found | true | F1 | false a scan |\n|---|---|---|---|---|")
    points = []
    for least in LIMITS:
        tally = sum((patient.above(least).overall for patient in patients), Tally())
        false = (tally.detections - tally.true_detections) / len(patients)
        points.append((false, tally.found / tally.truth))
        print(
            f"| {least:g} | {tally.found}/{tally.truth} | {tally.true_detections}/{tally.detections}"
            f" | {tally.f1 or 0:.2f} | {false:.1f} |"
        )
    return points


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real", type=Path)
    parser.add_argument("--json", type=Path, help="write the curve here as well, for benchmarks.froc")
    parser.add_argument("--sets", type=Path, help="write F1 and Dice of every patient here as well")
    parser.add_argument(
        "--candidates", type=Path, help="add the scored candidates to this table, for benchmarks.reliability"
    )
    given = parser.parse_args()
    patients = list(read_patients(given.real))
    by_set = {name: own for name in SETS if (own := [p for p in patients if p.data_set == name])}
    print_patients(patients)
    print_sets(by_set)
    points = print_curve(patients)
    judged = {patient.name: patient.judged for patient in patients}
    print_reliability(judged)
    if given.candidates:
        write_candidates(given.candidates, "t2", judged)
    if given.sets:
        figures = {name: {p.name: _means([p.above(COUNTED)]) for p in own} for name, own in by_set.items()}
        given.sets.write_text(json.dumps(figures), encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps({"T2 lesions on FLAIR": points}), encoding="utf-8")


if __name__ == "__main__":
    main()
