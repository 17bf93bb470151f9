"""Logistic regression: what it fits, what the ridge and the weights do."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.logistic import fit_logistic


@pytest.fixture
def examples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (400, 3)) * [1.0, 20.0, 0.1] + [0.0, 5.0, 2.0]
    odds = 1.5 * inputs[:, 0] - 0.1 * inputs[:, 1] + 0.5
    target = (rng.random(400) < 1 / (1 + np.exp(-odds))).astype(float)
    return inputs, target, rng.uniform(0.5, 2.0, 400)


@pytest.mark.parametrize("ridge", [0.01, 1.0, 30.0])
def test_it_is_the_regression_of_a_known_library(examples: tuple[np.ndarray, ...], ridge: float) -> None:
    inputs, target, weight = examples
    scale = inputs.std(axis=0)
    known = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=5000).fit(inputs / scale, target, weight)
    expected = [*(known.coef_[0] / scale), known.intercept_[0]]
    np.testing.assert_allclose(fit_logistic(inputs, target, weight, ridge), expected, rtol=1e-3, atol=1e-4)


def test_an_input_that_says_nothing_has_no_weight(examples: tuple[np.ndarray, ...]) -> None:
    inputs, target, weight = examples
    fitted = fit_logistic(np.column_stack([inputs, np.zeros(400)]), target, weight, 1.0)
    assert fitted[3] == pytest.approx(0.0)
    np.testing.assert_allclose(np.delete(fitted, 3), fit_logistic(inputs, target, weight, 1.0), rtol=1e-6)
