"""Scores of an evaluation: per visit, pooled, as JSON and as a table.

The JSON document (``Evaluation.to_json``)::

    schema_version  "1"
    products        one object per product with a reference standard: name, title, visits_scored,
                    visits_missed, missed_visits, participants, truth, found, detections,
                    true_detections, matched, ignored_truth, ignored_detections, sensitivity, precision,
                    f1 (each with *_ci95), f1_matched, sensitivity_all_visits (with ci95),
                    f1_all_visits, count_error, mean_absolute_count_error, false_per_visit, dice,
                    mean_visit_dice, volume_ratio,
                    truth_volume_mm3, detection_volume_mm3, by_size {class: counts and proportions},
                    visits [participant_id, session_id, status scored|missed, counts, dice, foci [side,
                    outcome, volume_mm3, voxel, mm]]
    counts          one object per column of visit_metrics.tsv: column, visits_compared, exact, mean_error,
                    mean_absolute_error, not_evaluable_in_both, missed, unexpected (lists of visits)
    other_reference visits whose reference visit in the output is not that of the reference standard (one
                    line per visit); for change they are missed visits
    yardsticks      published figures, all from other data

A figure that is not defined is null. ``mm`` is the scanner (RAS) position in the image of the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mesems_mri.core.intervals import bootstrap_interval, wilson_interval
from mesems_mri.core.tally import Agreement, Tally, pool
from mesems_mri.report.evaluation import YARDSTICKS, format_evaluation

SCHEMA_VERSION = "1"


@dataclass(frozen=True)
class VisitScore:
    """Agreement of one product at one visit; ``missed`` if the output has no mask there."""

    participant_id: str
    session_id: str
    missed: bool
    agreement: Agreement
    affine: npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProductScore:
    """All visits of one product."""

    name: str
    title: str
    visits: tuple[VisitScore, ...]

    @property
    def scored(self) -> tuple[VisitScore, ...]:
        """Visits at which the output has a mask."""
        return tuple(visit for visit in self.visits if not visit.missed)

    @property
    def pooled(self) -> Agreement:
        """Sum over the evaluable visits."""
        return pool(visit.agreement for visit in self.scored)

    @property
    def pooled_all(self) -> Agreement:
        """Sum over all visits with a reference standard; a missed visit misses all its lesions."""
        return pool(visit.agreement for visit in self.visits)

    def by_participant(self) -> list[Tally]:
        """Return one tally per participant, over the evaluable visits."""
        tallies: dict[str, Tally] = {}
        for visit in self.scored:
            tally = tallies.get(visit.participant_id, Tally())
            tallies[visit.participant_id] = tally + visit.agreement.overall
        return list(tallies.values())


@dataclass(frozen=True)
class CountScore:
    """Agreement of one column of ``visit_metrics.tsv``.

    Attributes
    ----------
    column : str
        Name of the column.
    errors : tuple of int
        Output minus reference standard, one per visit that is evaluable in both.
    neither : int
        Visits that are not evaluable in both.
    missed, unexpected : tuple of str
        Visits evaluable in the reference standard only, and in the output only.
    """

    column: str
    errors: tuple[int, ...]
    neither: int
    missed: tuple[str, ...]
    unexpected: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """All comparisons of a run with its reference standard."""

    products: tuple[ProductScore, ...]
    counts: tuple[CountScore, ...]
    other_reference: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document described at the top of this module."""
        return {
            "schema_version": SCHEMA_VERSION,
            "products": [_product_json(score) for score in self.products],
            "counts": [_count_json(score) for score in self.counts],
            "other_reference": list(self.other_reference),
            "yardsticks": list(YARDSTICKS),
        }

    def table(self) -> str:
        """Return the figures as plain text for a terminal."""
        return format_evaluation(self.to_json())

    def f1(self, product: str) -> float | None:
        """Return F1 over all visits with a reference standard, missed ones included; None without any."""
        for score in self.products:
            if score.name == product:
                return score.pooled_all.overall.f1
        return None

    def meets(self, min_f1: Mapping[str, float]) -> bool:
        """Return whether each product named reaches its F1; a product that was not compared does not.

        Missed visits count as missed lesions, so that nothing is gained by calling a visit not evaluable.
        """
        scores = {name: self.f1(name) for name in min_f1}
        return all(score is not None and score >= min_f1[name] for name, score in scores.items())


def _tally_json(tally: Tally) -> dict[str, Any]:
    return {
        "truth": tally.truth,
        "found": tally.found,
        "detections": tally.detections,
        "true_detections": tally.true_detections,
        "matched": tally.matched,
        "sensitivity": tally.sensitivity,
        "sensitivity_ci95": wilson_interval(tally.found, tally.truth),
        "precision": tally.precision,
        "precision_ci95": wilson_interval(tally.true_detections, tally.detections),
        "f1": tally.f1,
        "f1_matched": tally.f1_matched,
        "count_error": tally.count_error,
    }


def _pooled_f1(tallies: Sequence[Tally]) -> float | None:
    return sum(tallies, Tally()).f1


def _product_json(score: ProductScore) -> dict[str, Any]:
    pooled, scored, participants = score.pooled, score.scored, score.by_participant()
    all_visits = score.pooled_all.overall
    dices = [visit.agreement.dice for visit in scored]
    defined = [dice for dice in dices if dice is not None]
    errors = [abs(visit.agreement.overall.count_error) for visit in scored]
    return {
        "name": score.name,
        "title": score.title,
        "participants": len(participants),
        "visits_scored": len(scored),
        "visits_missed": len(score.visits) - len(scored),
        "missed_visits": [f"{v.participant_id}/{v.session_id}" for v in score.visits if v.missed],
        **_tally_json(pooled.overall),
        "f1_ci95": bootstrap_interval(participants, _pooled_f1),
        "sensitivity_all_visits": all_visits.sensitivity,
        "sensitivity_all_visits_ci95": wilson_interval(all_visits.found, all_visits.truth),
        "f1_all_visits": all_visits.f1,
        "mean_absolute_count_error": sum(errors) / len(errors) if errors else None,
        "false_per_visit": pooled.overall.false_detections / len(scored) if scored else None,
        "ignored_truth": pooled.ignored_truth,
        "ignored_detections": pooled.ignored_detections,
        "dice": pooled.dice,
        "mean_visit_dice": sum(defined) / len(defined) if defined else None,
        "truth_volume_mm3": pooled.truth_volume_mm3,
        "detection_volume_mm3": pooled.detection_volume_mm3,
        "volume_ratio": pooled.volume_ratio,
        "by_size": {name: _tally_json(tally) for name, tally in pooled.by_size.items()},
        "visits": [_visit_json(visit) for visit in score.visits],
    }


def _visit_json(visit: VisitScore) -> dict[str, Any]:
    agreement = visit.agreement
    return {
        "participant_id": visit.participant_id,
        "session_id": visit.session_id,
        "status": "missed" if visit.missed else "scored",
        **_tally_json(agreement.overall),
        "dice": None if visit.missed else agreement.dice,
        "volume_ratio": None if visit.missed else agreement.volume_ratio,
        "ignored_truth": agreement.ignored_truth,
        "ignored_detections": agreement.ignored_detections,
        "foci": [
            {
                "side": focus.side,
                "outcome": focus.outcome,
                "volume_mm3": round(focus.volume_mm3, 1),
                "voxel": [round(index) for index in focus.centre_voxel],
                "mm": [round(float(v), 1) for v in (visit.affine @ [*focus.centre_voxel, 1.0])[:3]],
            }
            for focus in agreement.foci
        ],
    }


def _count_json(score: CountScore) -> dict[str, Any]:
    n = len(score.errors)
    return {
        "column": score.column,
        "visits_compared": n,
        "exact": sum(error == 0 for error in score.errors),
        "mean_error": sum(score.errors) / n if n else None,
        "mean_absolute_error": sum(map(abs, score.errors)) / n if n else None,
        "not_evaluable_in_both": score.neither,
        "missed": list(score.missed),
        "unexpected": list(score.unexpected),
    }
