"""Fit the score of T2 lesions to patients that no network had seen, and print how well it holds.

    python -m training.t2_score [--work DIR] [--networks DIR]

Every rated scan is read by the network of the fold that left its patient out (``t2_fold_*.onnx``). Its
proposals are described as `core.t2.segment` does, and called true as MSSEG-2 does: at least 30 % inside the
reference standard. Logistic regression with a ridge, every patient of equal weight. Printed are F1 and Dice
of each patient by weights fitted to the others, and the weights fitted to all, which stand in
``core/t2/segment.py``. Needs no torch.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.core.agreement import Agreement, compare_masks
from mesems_mri.core.intensity import find_nawm
from mesems_mri.core.t2.brightness import segment_by_brightness
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.t2.segment import CandidateFoci, SegmentThresholds, draw_foci, find_lesion_candidates
from mesems_mri.core.t2.tissue import at_most_offered, mostly_csf
from mesems_mri.images.anatomy import CLASSES
from mesems_mri.models.t2 import lesion_probability
from training.logistic import fit_logistic
from training.t2_scans import PATIENTS, RatedScan, as_float, fold_of, load_scan

_TRUE_INSIDE = 0.3
_RIDGE = 1.0
_THICK_MM = 6.7
_SPACING_MM = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Proposals in the scan of a patient by a network that has not seen it.

    Attributes
    ----------
    scan : RatedScan
    flair : T2Scan
    by_brightness : ndarray of bool, shape of the scan
        What brightness alone segments.
    proposed : CandidateFoci
    is_true, asked : ndarray of bool, shape (n + 1,)
        By label: whether a focus is a lesion, and whether the raters decided about it.
    """

    scan: RatedScan
    flair: T2Scan
    by_brightness: NDArray[np.bool_]
    proposed: CandidateFoci
    is_true: NDArray[np.bool_]
    asked: NDArray[np.bool_]


def read_patient(patient: str, work: Path, networks: Path, limits: SegmentThresholds) -> HeldOut:
    """Propose the lesions of a patient as the package does, by the network of its fold."""
    scan = load_scan(patient, work / "scans")
    tissue = {str(name): own for name, own in zip(CLASSES[1:], as_float(scan.tissue), strict=True)}
    tissue["choroid_plexus"] = np.zeros(scan.brain.shape, np.float32)
    images = {name: image.astype(np.float32) for name, image in scan.images.items()}
    nawm = find_nawm(
        images["FLAIR"], brain_mask=scan.brain, white_matter=tissue["white_matter"], contrast="FLAIR"
    )
    images = {name: image / np.float32(np.median(image[nawm])) for name, image in images.items()}
    probability = _probability(patient, images, tissue, scan.brain, work, networks)
    thick = _THICK_MM if patient.startswith("ms3seg") else 1.0
    flair = T2Scan(images["FLAIR"], "FLAIR", thick, (0.0, 0.0, 1.0))
    anatomy = Anatomy(scan.brain, nawm, tissue, _SPACING_MM, images.get("T1w"))
    proposed = find_lesion_candidates(flair, anatomy, probability, limits)
    assert proposed is not None
    box, foci = proposed.tissue.box, proposed.foci
    labels = np.arange(foci.max(initial=0) + 1)
    inside = np.asarray(ndimage.mean(scan.lesions[box], foci, labels))
    ignored = np.asarray(ndimage.mean(scan.ignored[box], foci, labels))
    is_true = inside >= _TRUE_INSIDE
    asked = is_true | (ignored <= 0.5)
    asked[0] = False
    return HeldOut(scan, flair, segment_by_brightness(flair, anatomy)[0], proposed, is_true, asked)


def _probability(
    patient: str,
    images: dict[str, NDArray[np.float32]],
    tissue: dict[str, NDArray[np.float32]],
    brain: NDArray[np.bool_],
    work: Path,
    networks: Path,
) -> NDArray[np.float32]:
    """Read the probability of a patient, from a cache where the network is not newer."""
    network = networks / f"{fold_of(patient)}.onnx"
    cached = work / "probability" / f"{patient}.npy"
    if not cached.is_file() or cached.stat().st_mtime < network.stat().st_mtime:
        cached.parent.mkdir(parents=True, exist_ok=True)
        np.save(cached, lesion_probability(images, tissue, brain, network.with_suffix("")).astype(np.float16))
    return np.load(cached).astype(np.float32)


def fit_score(patients: list[HeldOut]) -> NDArray[np.float64]:
    """Fit weights and, last, the offset of the log odds; every patient has the same weight."""
    features, answers, weights = [], [], []
    for patient in patients:
        asked = patient.asked
        features.append(patient.proposed.features[asked])
        answers.append(patient.is_true[asked])
        weights.append(np.full(asked.sum(), 100.0 / max(asked.sum(), 1)))
    target = np.concatenate(answers).astype(float)
    return fit_logistic(np.concatenate(features), target, np.concatenate(weights), _RIDGE)


def score(patient: HeldOut, beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score every focus of a patient, by label."""
    certainty = 1.0 / (1.0 + np.exp(-(patient.proposed.features @ beta[:-1] + beta[-1])))
    certainty[0] = 0.0
    return at_most_offered(certainty, mostly_csf(patient.proposed.foci, patient.proposed.tissue))


def agreement(patient: HeldOut, kept: NDArray[np.bool_]) -> Agreement:
    """Compare the foci that are kept with the reference standard."""
    mask = np.zeros(patient.scan.brain.shape, bool)
    limits = SegmentThresholds()
    mask[patient.proposed.tissue.box] = draw_foci(patient.proposed, kept, patient.flair, _SPACING_MM, limits)
    return compare_with(patient.scan, mask)


def compare_with(scan: RatedScan, mask: NDArray[np.bool_]) -> Agreement:
    """Compare a mask with the reference standard of a scan."""
    ignored = scan.ignored & ~scan.lesions
    return compare_masks(scan.lesions, mask, spacing_mm=_SPACING_MM, ignore=ignored)


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/t2"))
    models = Path(__file__).resolve().parents[1] / "benchmarks" / "models"
    parser.add_argument("--networks", type=Path, default=models)
    options = parser.parse_args()
    names = [p for p in PATIENTS if (options.networks / f"{fold_of(p)}.onnx").is_file()]
    patients = {
        name: read_patient(name, options.work, options.networks, SegmentThresholds()) for name in names
    }
    print("| held out | network | found | true | F1 | Dice |\n|---|---|---|---|---|---|")
    scores, answers = [], []
    for name, patient in patients.items():
        beta = fit_score([other for own, other in patients.items() if own != name])
        certainty = score(patient, beta)
        result = agreement(patient, certainty >= 0.5)
        tally, volume = result.overall, result.truth_volume_mm3 + result.detection_volume_mm3
        print(
            f"| {name} | {fold_of(name)} | {tally.found}/{tally.truth} | "
            f"{tally.true_detections}/{tally.detections} | {tally.f1 or 0:.2f} | "
            f"{2 * result.overlap_mm3 / max(volume, 1):.2f} |"
        )
        scores.append(certainty[patient.asked])
        answers.append(patient.is_true[patient.asked])
    _print_reliability(np.concatenate(scores), np.concatenate(answers))
    beta = fit_score(list(patients.values()))
    print("\nWEIGHTS =", tuple(np.round(beta[:-1], 4).tolist()), " OFFSET =", round(float(beta[-1]), 4))


def _print_reliability(scores: NDArray[np.float64], answers: NDArray[np.bool_]) -> None:
    print("\n| score | candidates | mean score | true |\n|---|---|---|---|")
    edges = [0.0, 0.05, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0001]
    for low, high in itertools.pairwise(edges):
        own = (scores >= low) & (scores < high)
        if own.any():
            means = f"{scores[own].mean():.2f} | {answers[own].mean():.2f}"
            print(f"| {low:.2f} to {high:.2f} | {own.sum()} | {means} |")


if __name__ == "__main__":
    main()
