"""Fit a network to what a task draws: seeded, logged, and resumed where it was interrupted.

The draw of a step depends on the seed and the number of the step alone, so a run that was interrupted and
resumed trains on the same examples as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

CHECKPOINT_EVERY_S = 300.0
Tensors = tuple[torch.Tensor, ...]


class Task(Protocol):
    """What is learned.

    Attributes
    ----------
    name : str
        Of the model, ``mesems_mri/models/<name>.onnx``.
    """

    name: str

    def network(self) -> nn.Module:
        """Build the network."""
        ...

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray | torch.Tensor, ...]:
        """Draw a batch: the inputs of the network, and last the target."""
        ...

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        ...

    def files(self) -> Iterable[Path]:
        """List every file the task trains on."""
        ...


class _Draws(Dataset[Tensors]):
    def __init__(self, task: Task, seed: int, first: int, steps: int) -> None:
        self.task, self.seed, self.first, self.steps = task, seed, first, steps

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> Tensors:
        rng = np.random.default_rng([self.seed, self.first + index])
        return tuple(
            part if isinstance(part, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(part))
            for part in self.task.draw(rng)
        )


def fit(
    task: Task,
    folder: Path,
    *,
    steps: int,
    rate: float = 2e-3,
    seed: int = 0,
    workers: int = 1,
    start: Path | None = None,
    device: str = "cpu",
) -> nn.Module:
    """Train the network of a task with AdamW; the rate decays to 0 along a cosine.

    Parameters
    ----------
    task : Task
        What is learned.
    folder : Path
        Takes ``checkpoint.pt`` (written every five minutes and read when it is there), ``weights.pt``,
        ``log.tsv`` and ``trained_on.json``.
    steps : int
        How many batches.
    rate : float
        Learning rate at the start.
    seed : int
        Decides weights and draws.
    workers : int
        Processes that draw.
    start : Path, optional
        ``weights.pt`` of another fit to start from.
    device : str
        Where the network is trained; what is drawn may lie anywhere.

    Returns
    -------
    torch.nn.Module
        The trained network, in evaluation mode, on the CPU.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = task.network()
    if start:
        network.load_state_dict(torch.load(start, weights_only=True))
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    first, checkpoint = 0, folder / "checkpoint.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        for part, of in ((network, "network"), (optimizer, "optimizer"), (schedule, "schedule")):
            part.load_state_dict(state[of])
        first = int(state["steps"])
    settings = {"steps": steps, "rate": rate, "seed": seed, "device": device.partition(":")[0]}
    _write_origin(task, folder, {**settings, "start": start and _hash(start)})
    draws = DataLoader(_Draws(task, seed, first, steps), batch_size=None, num_workers=workers)
    network.train()
    losses: list[torch.Tensor] = []
    begin = saved = time.monotonic()
    with (folder / "log.tsv").open("a", encoding="utf-8") as log:
        if first == 0:
            log.write("step\tloss\tseconds\n")
        for step, (*inputs, target) in enumerate(draws, start=first + 1):
            optimizer.zero_grad()
            output = network(*(part.to(device, non_blocking=True) for part in inputs))
            loss = task.loss(output, target.to(device, non_blocking=True))
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
            if step % 20 == 0 or step == steps:
                log.write(
                    f"{step}\t{float(torch.stack(losses).mean()):.4f}\t{time.monotonic() - begin:.0f}\n"
                )
                log.flush()
                losses.clear()
            if time.monotonic() - saved > CHECKPOINT_EVERY_S:
                saved = time.monotonic()
                parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
                _save({"steps": step, **{of: part.state_dict() for of, part in parts.items()}}, checkpoint)
    network.cpu()
    _save(network.state_dict(), folder / "weights.pt")
    checkpoint.unlink(missing_ok=True)
    return network.eval()


def _save(state: dict[str, Any], path: Path) -> None:
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


def _write_origin(task: Task, folder: Path, settings: dict[str, Any]) -> None:
    """Write what is trained on what."""
    origin = {
        "task": task.name,
        "torch": torch.__version__.partition("+")[0],
        "numpy": np.__version__,
        **settings,
        "files": {os.fspath(path): _hash(path) for path in sorted(task.files())},
    }
    (folder / "trained_on.json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
