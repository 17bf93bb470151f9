"""How far the score of a focus can be trusted as a probability: tables, and one reliability diagram.

    python -m benchmarks.reliability CANDIDATES.tsv ... [--picture FILE] [--json FILE]

Each table has a header and one row per scored candidate, with the columns ``kind`` (``t2``, ``change``,
``gel`` or a name of one's own), ``patient``, ``score`` (0 to 1) and ``true`` (0 or 1); others are passed
over. **The score must come from a model that has not seen the patient.** ``benchmarks.t2_curve`` and
``benchmarks.change_curve`` write such tables with ``--candidates``.

A score is right where the share of true candidates is the mean score (DeGroot and Fienberg 1983). The share
has a Wilson interval, which takes candidates for independent; those of one patient are not, so that below
each table the difference as a whole has an interval over patients (bootstrap).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from mesems_mri.core.intervals import Interval, bootstrap_interval, wilson_interval
from mesems_mri.errors import UsageError

LIMITS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Scores at which a curve is drawn."""
MIN_INSIDE = 0.3
"""Share of a candidate that lies in the truth, from which on it is true (MSSEG-2)."""
EDGES = (0.0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0)
"""Of the bins of score; the first one lies below the score of a candidate."""
COLUMNS = ("kind", "patient", "score", "true")
_SURE = 1e-4

Judged = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Scores of candidates, and whether each is true."""
Patients = Mapping[str, Judged]


@dataclass(frozen=True)
class Bin:
    """Candidates whose score lies in ``low`` to ``high``.

    Attributes
    ----------
    low, high : float
    candidates, true : int
    mean_score : float
    share : float
        Of the true ones.
    interval : tuple of float
        Of the share, 95 % (Wilson).
    """

    low: float
    high: float
    candidates: int
    true: int
    mean_score: float
    share: float
    interval: Interval

    @property
    def difference(self) -> float:
        """Mean score less the share: above 0 the score promises too much."""
        return self.mean_score - self.share

    @property
    def covered(self) -> bool:
        """The mean score lies inside the interval of the share."""
        return self.interval[0] <= self.mean_score <= self.interval[1]


def reliability(scores: NDArray[np.float64], is_true: NDArray[np.bool_]) -> list[Bin]:
    """Return the bins that hold a candidate."""
    bins = []
    for low, high in itertools.pairwise(EDGES):
        inside = (scores >= low) & ((scores < high) | (high == EDGES[-1]))
        number, hits = int(inside.sum()), int(is_true[inside].sum())
        interval = wilson_interval(hits, number)
        if interval is not None:
            mean = float(scores[inside].mean())
            bins.append(Bin(low, high, number, hits, mean, hits / number, interval))
    return bins


def print_reliability(patients: Patients) -> list[Bin]:
    """Print the share of true candidates by score, and whether fitting the score to other patients helps.

    Parameters
    ----------
    patients : mapping of str to (scores, is_true)
        Candidates of each patient, scored without having seen the patient.

    Returns
    -------
    list of Bin

    Notes
    -----
    The fit is logistic in the log odds of the score (Platt 1999), each patient judged by the fit to the
    others; it helps where log loss and Brier score (Brier 1950) are lower with it.
    """
    scores, is_true = pooled(patients.values())
    bins = reliability(scores, is_true)
    print("\n| score | candidates | true | share (95 %) | mean score | difference | inside |")
    print("|---|---|---|---|---|---|---|")
    for b in bins:
        print(
            f"| {b.low:g}-{b.high:g} | {b.candidates} | {b.true} | {b.share:.2f} ({b.interval[0]:.2f}-"
            f"{b.interval[1]:.2f}) | {b.mean_score:.2f} | {b.difference:+.2f} | "
            f"{'yes' if b.covered else '**no**'} |"
        )
    whole = bootstrap_interval(list(patients.values()), _excess)
    between = "" if whole is None else f" ({whole[0]:+.3f} to {whole[1]:+.3f} over {len(patients)} patients)"
    print(
        f"\n{len(scores)} candidates of {len(patients)} patients; mean score less share "
        f"{_excess([(scores, is_true)]) or 0.0:+.3f}{between}; "
        f"expected calibration error {calibration_error(bins):.3f}"
    )
    print_losses(patients)
    return bins


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of score and share, each bin by its candidates (Naeini 2015)."""
    number = sum(b.candidates for b in bins)
    return sum(b.candidates * abs(b.difference) for b in bins) / number if number else 0.0


def print_losses(patients: Patients) -> None:
    """Print log loss and Brier score of the score, and of one that was fitted to the other patients."""
    scores, is_true = pooled(patients.values())
    shown = [("the score", scores)]
    both = {patient: len(np.unique(pooled(_others(patients, patient))[1])) == 2 for patient in patients}
    if len(patients) > 1 and all(both.values()):
        refitted = np.concatenate([_refit(patients, patient) for patient in patients])
        shown.append(("fitted to the other patients", refitted))
    print("\n| probability | log loss | Brier score |\n|---|---|---|")
    for name, probability in shown:
        sure = np.clip(probability, _SURE, 1 - _SURE)
        log_loss = -np.mean(np.where(is_true, np.log(sure), np.log(1 - sure)))
        print(f"| {name} | {log_loss:.3f} | {np.mean((probability - is_true) ** 2):.3f} |")


def pooled(judged: Iterable[Judged]) -> Judged:
    """Join the candidates of several patients."""
    parts = [*judged, (np.zeros(0), np.zeros(0, bool))]
    return np.concatenate([s for s, _ in parts]), np.concatenate([t for _, t in parts])


def _excess(judged: Sequence[Judged]) -> float | None:
    scores, is_true = pooled(judged)
    return float(scores.mean() - is_true.mean()) if len(scores) else None


def _others(patients: Patients, left_out: str) -> Iterator[Judged]:
    return (judged for patient, judged in patients.items() if patient != left_out)


def _refit(patients: Patients, left_out: str) -> NDArray[np.float64]:
    scores, is_true = pooled(_others(patients, left_out))
    if not len(patients[left_out][0]):
        return np.zeros(0)
    fitted = LogisticRegression(C=1e3).fit(_log_odds(scores)[:, None], is_true)
    return fitted.predict_proba(_log_odds(patients[left_out][0])[:, None])[:, 1]


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    sure = np.clip(scores, _SURE, 1 - _SURE)
    return np.log(sure / (1 - sure))


def write_candidates(path: Path, kind: str, patients: Patients) -> None:
    """Write scored candidates as a table for this command; what is there of other kinds is kept."""
    kept = []
    if path.is_file():
        kept = [row for row in _rows(path) if row["kind"] != kind]
    for patient, (scores, is_true) in patients.items():
        for score, true in zip(scores.tolist(), is_true.tolist(), strict=True):
            kept.append({"kind": kind, "patient": patient, "score": f"{score:.6f}", "true": str(int(true))})
    lines = ["\t".join(row[column] for column in COLUMNS) for row in kept]
    path.write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n", encoding="utf-8")


def read_candidates(paths: Iterable[Path]) -> dict[str, dict[str, Judged]]:
    """Read tables of scored candidates: by kind and patient, in order of appearance.

    Raises
    ------
    UsageError
        If a table cannot be read, lacks a column, or has a value that is no score or no label.
    """
    found: dict[str, dict[str, list[tuple[float, bool]]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        for number, row in enumerate(_rows(path), start=2):
            try:
                score, true = float(row["score"]), {"0": False, "1": True}[row["true"]]
            except (ValueError, KeyError) as error:
                msg = (
                    f"{path}, line {number}: score and true must be a number and 0 or 1, "
                    f"got {row['score']!r} and {row['true']!r}"
                )
                raise UsageError(msg) from error
            if not 0 <= score <= 1:
                msg = f"{path}, line {number}: score must lie in 0 to 1, got {row['score']}"
                raise UsageError(msg)
            found[row["kind"]][row["patient"]].append((score, true))
    return {
        kind: {
            patient: (np.array([s for s, _ in pairs]), np.array([t for _, t in pairs], bool))
            for patient, pairs in patients.items()
        }
        for kind, patients in found.items()
    }


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); give a table of scored candidates"
        raise UsageError(msg) from error
    reader = csv.DictReader(text.splitlines(), delimiter="\t", restval="")
    if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
        msg = f"{path}: column(s) {', '.join(missing)} missing; expected {', '.join(COLUMNS)}"
        raise UsageError(msg)
    return list(reader)


def draw(kinds: Mapping[str, tuple[list[Bin], int]], picture: Path) -> None:
    """Draw the reliability diagram of each kind; the bars below are the numbers of candidates."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        2,
        len(kinds),
        figsize=(4.4 * len(kinds), 5.2),
        layout="constrained",
        sharex=True,
        squeeze=False,
        height_ratios=(4, 1),
    )
    for column, (kind, (bins, patients)) in enumerate(kinds.items()):
        above, below = panels[0][column], panels[1][column]
        above.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        x, y = [b.mean_score for b in bins], [b.share for b in bins]
        error = [[b.share - b.interval[0] for b in bins], [b.interval[1] - b.share for b in bins]]
        above.errorbar(x, y, yerr=error, marker="o", markersize=4, linewidth=1.2, capsize=2)
        number = sum(b.candidates for b in bins)
        above.set(
            title=f"{kind}: {number} candidates, {patients} patients", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02)
        )
        above.grid(alpha=0.3)
        below.bar(x, [b.candidates for b in bins], width=0.05, color="0.6")
        below.set(xlabel="score", yscale="log")
    panels[0][0].set_ylabel("share of true candidates (95 %)")
    panels[1][0].set_ylabel("candidates")
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Print a table for each kind, and draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path, nargs="+", metavar="CANDIDATES.tsv")
    parser.add_argument("--picture", type=Path, help="draw the reliability diagram here (PNG)")
    parser.add_argument("--json", type=Path, help="write the bins here as well")
    given = parser.parse_args()
    try:
        found = read_candidates(given.tables)
    except UsageError as error:
        parser.exit(2, f"{error}\n")
    bins = {}
    for kind, patients in found.items():
        print(f"\n{kind}")
        bins[kind] = print_reliability(patients), len(patients)
    if given.json:
        content = {kind: [asdict(b) for b in of_kind] for kind, (of_kind, _) in bins.items()}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if given.picture and bins:
        draw(bins, given.picture)


if __name__ == "__main__":
    main()
