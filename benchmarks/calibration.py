"""How far the score of a focus can be trusted as a probability; for the benchmarks that draw curves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mesems_mri.core.intervals import wilson_interval

LIMITS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Scores at which a curve is drawn."""
MIN_INSIDE = 0.3
"""Share of a candidate that lies in the truth, from which on it is true (MSSEG-2)."""
_BINS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)
_SURE = 1e-4

Judged = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Scores of candidates, and whether each is true."""


def print_calibration(patients: Mapping[str, Judged]) -> None:
    """Print the share of true candidates by score, and whether fitting the score to other patients helps.

    Parameters
    ----------
    patients : mapping of str to (scores, is_true)
        Candidates of each patient.

    Notes
    -----
    The fit is logistic in the log odds of the score (Platt 1999), each patient judged by the fit to the
    others; it helps where log loss and Brier score (Brier 1950) are lower with it.
    """
    scores = np.concatenate([scores for scores, _ in patients.values()])
    is_true = np.concatenate([is_true for _, is_true in patients.values()])
    print("\n| score | candidates | true | share (95 %) |\n|---|---|---|---|")
    for low, high in itertools.pairwise(_BINS):
        inside = (scores >= low) & ((scores < high) | (high == 1.0))
        number, hits = int(inside.sum()), int(is_true[inside].sum())
        interval = wilson_interval(hits, number)
        share = "-" if interval is None else f"{hits / number:.2f} ({interval[0]:.2f}-{interval[1]:.2f})"
        print(f"| {low:g}-{high:g} | {number} | {hits} | {share} |")
    refitted = np.concatenate([_refit(patients, patient) for patient in patients])
    print("\n| probability | log loss | Brier score |\n|---|---|---|")
    for name, probability in (("the score", scores), ("fitted to the other patients", refitted)):
        sure = np.clip(probability, _SURE, 1 - _SURE)
        log_loss = -np.mean(np.where(is_true, np.log(sure), np.log(1 - sure)))
        print(f"| {name} | {log_loss:.3f} | {np.mean((probability - is_true) ** 2):.3f} |")


def _refit(patients: Mapping[str, Judged], left_out: str) -> NDArray[np.float64]:
    others = [judged for patient, judged in patients.items() if patient != left_out]
    scores, is_true = (np.concatenate(part) for part in zip(*others, strict=True))
    fitted = LogisticRegression(C=1e3).fit(_log_odds(scores)[:, None], is_true)
    return fitted.predict_proba(_log_odds(patients[left_out][0])[:, None])[:, 1]


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    sure = np.clip(scores, _SURE, 1 - _SURE)
    return np.log(sure / (1 - sure))
