"""Run a network that was trained: the same numbers every time, a clear error when it is missing."""

import numpy as np
import pytest

from mesems_mri.models.inference import run_network

SHAPE = (3, 13, 24, 24, 24)


def test_same_input_gives_the_same_bytes() -> None:
    patches = np.random.default_rng(0).random(SHAPE, np.float32)
    logits = run_network("gel", patches)
    assert logits.dtype == np.float32
    assert logits.shape == (3,)
    assert np.isfinite(logits).all()
    assert logits.tobytes() == run_network("gel", patches).tobytes()


def test_inputs_of_a_batch_do_not_touch_each_other() -> None:
    patches = np.random.default_rng(1).random(SHAPE, np.float32)
    together = run_network("gel", patches)
    np.testing.assert_allclose(together[1:2], run_network("gel", patches[1:2]), atol=1e-4)
    assert len({float(logit) for logit in together}) == 3


def test_missing_network_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no_such\.onnx is missing"):
        run_network("no_such", np.zeros(SHAPE, np.float32))


def test_wrong_number_of_inputs_is_refused() -> None:
    patches = np.zeros(SHAPE, np.float32)
    with pytest.raises(ValueError, match="zip"):
        run_network("gel", patches, patches)
