"""Sensitivity to new and enlarging T2 lesions against false ones (FROC), and the reliability of their score.

    python -m benchmarks.change_curve REAL/out REAL/truth STABLE/out STABLE/bids/derivatives/truth
        [--json FILE] [--candidates FILE]

Reads every candidate that the runs considered, those that were turned down included. *real*: patients 01 and
12; *stable*: the same head scanned again, at which every candidate is false; *implants*: the same with new
lesions. A candidate is true when at least 30 % of it lies in the truth (MSSEG-2), and left out when most of
it is ignored. The tables after the curve tell how far the score can be trusted.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.accuracy_change import Pair, read_pairs, real_truth, score_real
from benchmarks.reliability import (
    LIMITS,
    MIN_INSIDE,
    Judged,
    pooled,
    print_reliability,
    write_candidates,
)
from mesems_mri.core.components import label_components
from mesems_mri.core.tally import Tally
from mesems_mri.dataset.layout import Layout
from mesems_mri.pipeline.visit import VisitFiles

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
        detected = visit.detect_record().detected
        assert detected is not None
        change = detected.parts.t2_change
        with np.load(visit.work("lesions.npz")) as arrays:
            dseg = arrays["change_candidates"].astype(np.int32)
        scores = np.array(change.candidate_scores or (), np.float64)
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
    """Print the curve and the reliability."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("real_out", "real_truth", "stable_out", "stable_truth"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--json", type=Path, help="write the curves here as well, for benchmarks.froc")
    parser.add_argument(
        "--candidates", type=Path, help="add the scored candidates to this table, for benchmarks.reliability"
    )
    given = parser.parse_args()
    tallies: dict[float, dict[str, Tally]] = {least: defaultdict(Tally) for least in LIMITS}
    false: dict[float, int] = dict.fromkeys(LIMITS, 0)
    pairs: Counter[str] = Counter()
    judged: dict[str, list[Judged]] = defaultdict(list)
    for out_dir, truth_dir in (
        (given.real_out, given.real_truth),
        (given.stable_out, given.stable_truth),
    ):
        for kind, candidates in read_candidates(out_dir, truth_dir):
            known = candidates.known
            # sub-01v2d0 is another scan of patient 01
            patient = candidates.pair.participant[: len("sub-01")]
            judged[patient].append((candidates.scores[known], candidates.is_true[known]))
            pairs[kind] += 1
            for least in LIMITS:
                mask = candidates.above(least)
                if kind == "stable":
                    false[least] += label_components(mask)[1]
                else:
                    tallies[least][kind] += score_real(candidates.pair, mask, truth_dir)
    print_curve(tallies, false, pairs["stable"])
    patients = {patient: pooled(parts) for patient, parts in judged.items()}
    print_reliability(patients)
    if given.candidates:
        write_candidates(given.candidates, "change", patients)
    if given.json:
        given.json.write_text(json.dumps(curves(tallies, false, pairs)), encoding="utf-8")


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


def curves(
    tallies: dict[float, dict[str, Tally]], false: dict[float, int], pairs: Counter[str]
) -> dict[str, list[tuple[float, float]]]:
    """Return false lesions a visit and sensitivity at every score: of the real pairs, and of the implants."""
    real = [of_kind["real"] for of_kind in tallies.values()]
    implants = [of_kind["implants"] for of_kind in tallies.values()]
    return {
        "new or enlarging, 01 and 12": [
            ((t.detections - t.true_detections) / max(pairs["real"], 1), t.found / max(t.truth, 1))
            for t in real
        ],
        "implants; false ones of stable pairs": [
            (n / max(pairs["stable"], 1), t.found / max(t.truth, 1))
            for n, t in zip(false.values(), implants, strict=True)
        ],
    }


if __name__ == "__main__":
    main()
