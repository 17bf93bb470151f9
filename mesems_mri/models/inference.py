"""Run the networks this project trained: ONNX on one CPU thread, the same numbers every time."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime

from mesems_mri.core.typing import FloatArray

_FOLDER = Path(__file__).parent


def run_network(name: str, *inputs: FloatArray) -> FloatArray:
    """Run a network of this folder.

    Parameters
    ----------
    name : str
        Of the file, without ``.onnx``; its model card is ``<name>.md``.
    *inputs : ndarray of float32
        The inputs as the model card says, the batch first.

    Returns
    -------
    ndarray of float32
        Its output: logits.

    Raises
    ------
    FileNotFoundError
        When there is no such network.
    """
    session = _session(_FOLDER / f"{name}.onnx")
    named = {node.name: array for node, array in zip(session.get_inputs(), inputs, strict=True)}
    (output,) = session.run(None, named)
    return np.asarray(output, np.float32)


@lru_cache(maxsize=4)
def _session(path: Path) -> onnxruntime.InferenceSession:
    if not path.is_file():
        msg = f"{path} is missing; install the package again, or train it as training/README.md says"
        raise FileNotFoundError(msg)
    options = onnxruntime.SessionOptions()
    # A sum over several threads depends on their number.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Kept for the next run, the memory of a whole brain would stay with the step until its end.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
