"""T2 lesions of patients that nothing had seen: by patient, data set, size and score, and reliability.

    python -m benchmarks.t2_curve [--work DIR] [--networks DIR] [--json F] [--sets F] [--candidates F]

Every rated scan is proposed by the network of the fold that left its patient out, and every proposal scored
by weights that were fitted to the other patients (`training.t2_score`): the score has not seen the patient.
A proposal is true when at least 30 % of it lies in the reference standard (MSSEG-2), and left out when the
raters saw it and did not decide. Scans are prepared once, in ``DIR/scans``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.reliability import LIMITS, Patients, print_reliability, write_candidates
from mesems_mri.core.agreement import Agreement
from mesems_mri.core.by_label import mean_by_label
from mesems_mri.core.candidates import MOSTLY_OUTSIDE
from mesems_mri.core.components import label_components
from mesems_mri.core.intervals import wilson_interval
from mesems_mri.core.t2.segment import SegmentThresholds
from mesems_mri.core.tally import Tally
from mesems_mri.images.anatomy import CLASSES
from training.t2_scans import PATIENTS, as_float, fold_of
from training.t2_score import HeldOut, agreement, compare_with, fit_score, read_patient, score

FOLD_MODELS = Path(__file__).with_name("models")
COUNTED = 0.5
_SIZES = ((14.0, 27.0), (27.0, 70.0), (70.0, 500.0), (500.0, np.inf))


@dataclass(frozen=True, eq=False)
class Scored:
    """Proposals of a patient with their scores, by label (index 0 is background)."""

    patient: HeldOut
    scores: NDArray[np.float64]

    def compare(self, least: float) -> Agreement:
        """Compare those of at least so much with the reference standard."""
        kept = self.scores >= least
        kept[0] = False
        return agreement(self.patient, kept)

    def above(self, least: float) -> Tally:
        """Score those of at least so much."""
        return self.compare(least).overall

    def alone(self) -> Agreement:
        """Compare what brightness alone segments with the reference standard."""
        return compare_with(self.patient.scan, self.patient.by_brightness)


def data_set(patient: str) -> str:
    """Name the data set of a patient."""
    if patient.startswith("ms3seg"):
        return "MS3SEG"
    return "MSLesSeg" if patient.startswith("P") else "open_ms"


def score_held_out(patients: Mapping[str, HeldOut]) -> dict[str, Scored]:
    """Score the proposals of every patient by weights fitted to the others."""
    return {
        name: Scored(patient, score(patient, fit_score([o for own, o in patients.items() if own != name])))
        for name, patient in patients.items()
    }


def curve(scored: Mapping[str, Scored]) -> list[tuple[float, float]]:
    """Print what is found and what is false at every score; return false ones a scan, and sensitivity."""
    print("| score at least | found | true | F1 | false a scan |\n|---|---|---|---|---|")
    points = []
    for least in LIMITS:
        tally = sum((own.above(least) for own in scored.values()), Tally())
        false = (tally.detections - tally.true_detections) / len(scored)
        points.append((false, tally.found / max(tally.truth, 1)))
        print(
            f"| {least:g} | {tally.found}/{tally.truth} | {tally.true_detections}/{tally.detections}"
            f" | {tally.f1 or 0:.2f} | {false:.1f} |"
        )
    return points


def judged(scored: Mapping[str, Scored]) -> Patients:
    """Return scores and truth of what the raters decided about."""
    return {
        name: (own.scores[own.patient.asked], own.patient.is_true[own.patient.asked])
        for name, own in scored.items()
    }


def _means(results: list[Agreement]) -> tuple[float, float]:
    """Return the mean F1 and the mean Dice of patients."""
    volumes = [max(result.truth_volume_mm3 + result.detection_volume_mm3, 1.0) for result in results]
    dice = [2.0 * result.overlap_mm3 / both for result, both in zip(results, volumes, strict=True)]
    return float(np.mean([result.overall.f1 or 0.0 for result in results])), float(np.mean(dice))


def print_sets(scored: Mapping[str, Scored]) -> None:
    """Print what is counted of every patient, the means of each data set, and what is found by size."""
    counted_at = f"F1, Dice (score >= {COUNTED:g})"
    print(f"| held out | network | mL | found | true | {counted_at} | brightness alone: F1, Dice |")
    print("|---|---|---|---|---|---|---|")
    by_set: dict[str, list[Scored]] = {}
    for name, own in scored.items():
        by_set.setdefault(data_set(name), []).append(own)
        counted = own.compare(COUNTED)
        tally, joint, alone = counted.overall, _means([counted]), _means([own.alone()])
        print(
            f"| {name} | {fold_of(name)} | {counted.truth_volume_mm3 / 1000:.1f} "
            f"| {tally.found}/{tally.truth} | {tally.true_detections}/{tally.detections} "
            f"| {joint[0]:.2f}, {joint[1]:.2f} | {alone[0]:.2f}, {alone[1]:.2f} |"
        )
    print(f"\n| data set | patients | mean {counted_at} | brightness alone: F1, Dice |\n|---|---|---|---|")
    for title, patients in by_set.items():
        joint = _means([own.compare(COUNTED) for own in patients])
        alone = _means([own.alone() for own in patients])
        print(
            f"| {title} | {len(patients)} | {joint[0]:.2f}, {joint[1]:.2f} | {alone[0]:.2f}, {alone[1]:.2f} |"
        )
    print("\n| data set | size mm3 | found | sensitivity (95 %) |\n|---|---|---|---|")
    for title, patients in by_set.items():
        compared = [focus for own in patients for focus in own.compare(COUNTED).foci]
        outcomes = [focus for focus in compared if focus.outcome in ("found", "missed")]
        for low, high in _SIZES:
            sized = [focus for focus in outcomes if low <= focus.volume_mm3 < high]
            if sized:
                found = sum(focus.outcome == "found" for focus in sized)
                interval = wilson_interval(found, len(sized)) or (0.0, 1.0)
                print(
                    f"| {title} | {low:g} to {high:g} | {found}/{len(sized)} "
                    f"| {found / len(sized):.2f} ({interval[0]:.2f}-{interval[1]:.2f}) |"
                )


def print_in_fluid(patients: Mapping[str, HeldOut]) -> None:
    """Print how many rated lesions lie mostly in the cerebrospinal fluid around the brain."""
    shares = [np.zeros(0)]
    for patient in patients.values():
        lesions, _ = label_components(patient.scan.lesions)
        csf = as_float(patient.scan.tissue[CLASSES.index("csf") - 1])
        large = np.bincount(lesions.ravel()) >= SegmentThresholds().min_volume_mm3
        large[0] = False
        shares.append(mean_by_label(csf, lesions)[large])
    share = np.concatenate(shares)
    outside = int((share > MOSTLY_OUTSIDE).sum())
    print(f"\nRated lesions that lie mostly in fluid around the brain: {outside}/{len(share)}")


def main() -> None:
    """Print the curves and the reliability."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("build/t2"))
    parser.add_argument("--networks", type=Path, default=FOLD_MODELS)
    parser.add_argument("--json", type=Path, help="write the curves here as well, for benchmarks.froc")
    parser.add_argument("--sets", type=Path, help="write F1 and Dice of every patient here as well")
    parser.add_argument(
        "--candidates", type=Path, help="add the scored candidates to this table, for benchmarks.reliability"
    )
    given = parser.parse_args()
    names = [name for name in PATIENTS if (given.networks / f"{fold_of(name)}.onnx").is_file()]
    if not names:
        parser.exit(2, f"no network t2_fold_*.onnx in {given.networks}; train them (training/README.md)\n")
    limits = SegmentThresholds()
    patients = {name: read_patient(name, given.work, given.networks, limits) for name in names}
    scored = score_held_out(patients)
    print_sets(scored)
    print_in_fluid(patients)
    curves = {}
    for title in dict.fromkeys(map(data_set, names)):
        of_set = {name: own for name, own in scored.items() if data_set(name) == title}
        print(f"\n{title}: {', '.join(of_set)}\n")
        curves[f"T2 lesions, {title}"] = curve(of_set)
        print_reliability(judged(of_set))
    print("\nAll of them")
    print_reliability(judged(scored))
    if given.candidates:
        write_candidates(given.candidates, "t2", judged(scored))
    if given.sets:
        figures: dict[str, dict[str, tuple[float, float]]] = {}
        for name, own in scored.items():
            figures.setdefault(data_set(name), {})[name] = _means([own.compare(COUNTED)])
        given.sets.write_text(json.dumps(figures), encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps(curves), encoding="utf-8")


if __name__ == "__main__":
    main()
