"""Write a trained network as ONNX, and check that onnxruntime computes what torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

MODELS = Path(__file__).resolve().parents[1] / "mesems_mri" / "models"
MAX_BYTES = 5_000_000
_OPSET = 18


def read_exported(path: Path, channels_in: int) -> dict[str, torch.Tensor]:
    """Read the weights of an exported `networks.PatchClassifier` for one without batch normalisation.

    Parameters
    ----------
    path : Path
        The ``.onnx``.
    channels_in : int
        Channels of the network to start; those beyond the channels of the exported one start without effect.
    """
    parts = [
        (tensor.name, torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        for tensor in onnx.load(path).graph.initializer
    ]
    convolutions = [tensor for name, tensor in parts if not name.startswith("last.")]
    first = convolutions[0]
    missing = channels_in - first.shape[1]
    convolutions[0] = torch.cat([first, first.new_zeros(first.shape[0], missing, *first.shape[2:])], dim=1)
    state = {name: tensor for name, tensor in parts if name.startswith("last.")}
    for number, tensor in enumerate(convolutions):
        state[f"layers.{3 * (number // 2)}.{'bias' if number % 2 else 'weight'}"] = tensor
    return state


def export(
    network: nn.Module, path: Path, examples: tuple[torch.Tensor, ...], *, any_size: bool = False
) -> None:
    """Write a network whose batch (and, with `any_size`, grid) may have any size.

    Parameters
    ----------
    network : torch.nn.Module
        Trained.
    path : Path
        The ``.onnx`` file to write.
    examples : tuple of Tensor
        Inputs of a batch of 2 or more.
    any_size : bool
        Whether the three axes of space may have any size that the network allows.

    Raises
    ------
    RuntimeError
        When the file passes 5 MB, or its outputs differ from those of torch.
    """
    network = network.eval()
    names = [f"input{i}" for i in range(len(examples))]
    axes = {0: "batch", **({2: "x", 3: "y", 4: "z"} if any_size else {})}
    torch.onnx.export(
        network,
        examples,
        str(path),
        input_names=names,
        output_names=["output"],
        opset_version=_OPSET,
        dynamo=False,
        dynamic_axes={
            name: axes if e.ndim == 5 else {0: "batch"} for name, e in zip(names, examples, strict=True)
        }
        | {"output": axes},
    )
    if path.stat().st_size > MAX_BYTES:
        msg = f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTES}; make the network smaller"
        raise RuntimeError(msg)
    with torch.no_grad():
        expected = network(*examples).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {name: e.numpy() for name, e in zip(names, examples, strict=True)})
    difference = float(np.abs(np.asarray(got) - expected).max())
    if difference > 1e-3 * max(1.0, float(np.abs(expected).max())):
        msg = f"{path} computes other numbers than the network it was made of (by up to {difference:.2g})"
        raise RuntimeError(msg)
