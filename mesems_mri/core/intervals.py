"""Confidence intervals of accuracy figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

Unit = TypeVar("Unit")
Interval = tuple[float, float]


def wilson_interval(successes: int, trials: int, *, z: float = 1.959964) -> Interval | None:
    """Wilson score interval of a proportion (Wilson, J Am Stat Assoc 1927;22:209).

    Parameters
    ----------
    successes, trials : int
        ``0 <= successes <= trials``.
    z : float
        Normal quantile, by default that of the 95 % interval.

    Returns
    -------
    tuple of float or None
        Lower and upper limit; None without a trial.

    Raises
    ------
    ValueError
        If the numbers are no proportion.
    """
    if not 0 <= successes <= trials:
        msg = f"successes must lie in 0..trials, got {successes} of {trials}"
        raise ValueError(msg)
    if trials == 0:
        return None
    share, square = successes / trials, z * z / trials
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    units: Sequence[Unit],
    statistic: Callable[[Sequence[Unit]], float | None],
    *,
    resamples: int = 2000,
    seed: int = 20190326,
) -> Interval | None:
    """95 % percentile interval of a statistic, units drawn with replacement.

    Lesions of one participant are not independent, so the unit should be the participant, not the lesion.

    Parameters
    ----------
    units : sequence
        Units of the draw, e.g. one tally per participant.
    statistic : callable
        Gives the statistic of the drawn units, or None where it is not defined.
    resamples, seed : int
        Number of draws and their seed, so that the same input gives the same interval.

    Returns
    -------
    tuple of float or None
        None for fewer than two units, or if the statistic is defined in no draw.
    """
    if len(units) < 2:
        return None
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(units), size=(resamples, len(units)))
    scores = (statistic([units[i] for i in draw]) for draw in draws)
    defined = [score for score in scores if score is not None]
    if not defined:
        return None
    lower, upper = np.percentile(defined, [2.5, 97.5])
    return float(lower), float(upper)
