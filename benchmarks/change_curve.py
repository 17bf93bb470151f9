"""Sensitivity to new and enlarging T2 lesions against false ones (FROC), and the calibration of their score.

    python -m benchmarks.change_curve REAL/out REAL/truth STABLE/out STABLE/bids/derivatives/truth

Reads every candidate that the runs considered, those that were turned down included. *real*: patients 01 and
12; *stable*: the same head scanned again, at which every candidate is false; *implants*: the same with new
lesions. A candidate is true when at least 30 % of it lies in the truth (MSSEG-2), and left out when most of
it is ignored. The second table sets the score beside the share of true candidates; the last line is the
logistic calibration (Platt 1999) of the log odds of the score.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression

from benchmarks.accuracy_change import Pair, read_pairs, real_truth, score_real
from mesems_mri.bids import Layout
from mesems_mri.core.components import label_components
from mesems_mri.core.intervals import wilson_interval
from mesems_mri.core.tally import Tally
from mesems_mri.steps.visit import VisitFiles

LIMITS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
BINS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)
MIN_INSIDE = 0.3
KINDS = ("real", "stable", "implants")


@dataclass(frozen=True)
class Candidates:
    """Candidates of a visit: numbered in the box of the pair, the score of each, and what they are."""

    pair: Pair
    dseg: NDArray[np.int32]
    scores: NDArray[np.float64]
    is_true: NDArray[np.bool_]
    known: NDArray[np.bool_]
    truth_dir: Path | None

    def above(self, least: float) -> NDArray[np.bool_]:
        """Return the mask of the candidates that score at least so much."""
        return np.concatenate([[False], self.scores >= least])[self.dseg]


def read_candidates(out_dir: Path, truth_dir: Path) -> Iterator[tuple[str, Candidates]]:
    """Read the candidates of all visits of a run at which change was evaluated, and name their kind."""
    for pair in read_pairs(out_dir):
        visit = VisitFiles(
            bids_dir=Path(), layout=Layout(out_dir), participant_id=pair.participant, session_id=pair.session
        )
        change = visit.read_record("lesions")["parts"]["t2_change"]
        with np.load(visit.work("lesions.npz")) as arrays:
            dseg = arrays["change_candidates"].astype(np.int32)
        scores = np.array(change["candidate_scores"], np.float64)
        stem = f"{pair.participant}_{pair.session}_space-orig_label-L_desc"
        anat = truth_dir / pair.participant / pair.session / "anat"
        has_truth = (anat / f"{stem}-change_mask.nii.gz").is_file()
        numbers = np.arange(1, len(scores) + 1)
        is_true, known = np.zeros(len(scores), bool), np.ones(len(scores), bool)
        if has_truth and len(scores):
            truth, ignored = (np.zeros(dseg.shape, bool) for _ in range(2))
            truth[pair.brain], ignored[pair.brain] = real_truth(pair, truth_dir)
            is_true = np.asarray(ndimage.mean(truth, dseg, numbers)) >= MIN_INSIDE
            known = is_true | (np.asarray(ndimage.mean(ignored, dseg, numbers)) <= 0.5)
        kind = ("implants" if pair.session == "ses-3" else "real") if has_truth else "stable"
        if has_truth and not pair.participant.removeprefix("sub-").isdigit() and pair.session == "ses-2":
            kind = "stable"
        yield kind, Candidates(pair, dseg, scores, is_true, known, truth_dir if has_truth else None)


def main() -> None:
    """Print the curve and the calibration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("real_out", "real_truth", "stable_out", "stable_truth"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    tallies: dict[float, dict[str, Tally]] = {least: defaultdict(Tally) for least in LIMITS}
    false: dict[float, int] = dict.fromkeys(LIMITS, 0)
    pairs = 0
    scores: list[float] = []
    is_true: list[bool] = []
    for out_dir, truth_dir in (
        (given.real_out, given.real_truth),
        (given.stable_out, given.stable_truth),
    ):
        for kind, candidates in read_candidates(out_dir, truth_dir):
            scores += candidates.scores[candidates.known].tolist()
            is_true += candidates.is_true[candidates.known].tolist()
            pairs += kind == "stable"
            for least in LIMITS:
                mask = candidates.above(least)
                if kind == "stable":
                    false[least] += label_components(mask)[1]
                else:
                    tallies[least][kind] += score_real(candidates.pair, mask, truth_dir)
    print_curve(tallies, false, pairs)
    print_calibration(np.array(scores), np.array(is_true))


def print_curve(tallies: dict[float, dict[str, Tally]], false: dict[float, int], pairs: int) -> None:
    """Print what is found and what is false at every score."""
    print("| score at least | false, stable | a pair | found, real | true, real | found, implants | true |")
    print("|---|---|---|---|---|---|---|")
    for least, of_kind in tallies.items():
        real, implants = of_kind["real"], of_kind["implants"]
        print(
            f"| {least:g} | {false[least]} in {pairs} | {false[least] / max(pairs, 1):.2f}"
            f" | {real.found}/{real.truth} | {real.true_detections}/{real.detections}"
            f" | {implants.found}/{implants.truth} | {implants.true_detections}/{implants.detections} |"
        )


def print_calibration(scores: NDArray[np.float64], is_true: NDArray[np.bool_]) -> None:
    """Print the share of true candidates by score, and the calibration of the log odds."""
    print("\n| score | candidates | true | share (95 %) |\n|---|---|---|---|")
    for low, high in itertools.pairwise(BINS):
        inside = (scores >= low) & ((scores < high) | (high == 1.0))
        number, hits = int(inside.sum()), int(is_true[inside].sum())
        interval = wilson_interval(hits, number)
        share = "-" if interval is None else f"{hits / number:.2f} ({interval[0]:.2f}-{interval[1]:.2f})"
        print(f"| {low:g}-{high:g} | {number} | {hits} | {share} |")
    inside = np.clip(scores, 1e-4, 1 - 1e-4)
    log_odds = np.log(inside / (1 - inside))
    fitted = LogisticRegression(C=1e3).fit(log_odds[:, None], is_true)
    slope, offset = fitted.coef_[0, 0], fitted.intercept_[0]
    print(f"\nlog odds of a true candidate: {slope:.3f} x log odds of the score {offset:+.3f}")


if __name__ == "__main__":
    main()
