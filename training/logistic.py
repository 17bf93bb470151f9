"""Logistic regression with a ridge on standardised inputs, by Newton's method; no random start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEPS = 60


def fit_logistic(
    inputs: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    """Fit the log odds of a probability.

    Parameters
    ----------
    inputs : ndarray of float64, shape (n, features)
    target : ndarray of float64, shape (n,)
        1 for yes, 0 for no.
    weight : ndarray of float64, shape (n,)
        Of each example.
    ridge : float
        Penalty on the squares of the weights of the standardised inputs; the offset has none.

    Returns
    -------
    ndarray of float64, shape (features + 1,)
        Weights, in the units of the inputs, and last the offset.
    """
    scale = np.concatenate([inputs.std(axis=0) + 1e-9, [1.0]])
    x = np.column_stack([inputs, np.ones(len(inputs))]) / scale
    penalty = ridge * np.diag([*np.ones(inputs.shape[1]), 0.0])
    beta = np.zeros(len(scale))
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        slope = x.T @ (weight * (p - target)) + penalty @ beta
        curve = (x * (weight * p * (1 - p))[:, None]).T @ x + penalty + 1e-9 * np.eye(len(scale))
        beta -= np.linalg.solve(curve, slope)
    return beta / scale
