"""Train the anatomy model: any contrast and resolution -> brain mask and tissue regions.

``python -m training.anatomy --labelmaps DIR --out FOLDER [--steps N] [--seed N]``. Writes
``FOLDER/anatomy.onnx`` and prints how well two heads that were held out are found. Heads of 3 mm first,
``--steps`` times, then ``--fine-steps`` of 2 mm. On a GPU where there is one (four images a step), else on
one thread while a second process draws (one image a step); interrupted and called again, it goes on.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mesems_mri.images.anatomy import BOX, CLASSES, SPACING_MM
from training.export import export
from training.fit import fit
from training.networks import UNet
from training.synthesis import draw_image, load_heads

HELD_OUT = 2
WIDTHS = (12, 24, 48, 96)
COARSE_MM, COARSE_BOX = 3.0, (56, 80, 56)
_VALIDATION_IMAGES = 24


class Anatomy:
    """What is learned: the classes of a head from an image of random contrast.

    Parameters
    ----------
    paths : list of Path
        Label maps to train on.
    cache : Path
        Folder that keeps them reduced to 2 mm.
    spacing_mm : float
        Voxel of the images drawn.
    device : str
        Where they are drawn.
    batch : int
        Images a step.
    """

    name = "anatomy"

    def __init__(
        self, paths: list[Path], cache: Path, spacing_mm: float, device: str = "cpu", batch: int = 1
    ) -> None:
        self.paths, self.spacing_mm, self.batch = paths, spacing_mm, batch
        self.shape = BOX if spacing_mm == SPACING_MM else COARSE_BOX
        self.heads = load_heads(paths, cache, SPACING_MM, device)

    def network(self) -> nn.Module:
        """Build the network."""
        return UNet(1, len(CLASSES), WIDTHS)

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw images (batch, 1, x, y, z) and their classes (batch, class, x, y, z)."""
        drawn = [
            draw_image(rng, self.heads[int(rng.integers(len(self.heads)))], self.shape, self.spacing_mm)
            for _ in range(self.batch)
        ]
        images, classes = (torch.stack(part) for part in zip(*drawn, strict=True))
        return images[:, None], classes

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return soft Dice of the classes and of the brain plus cross-entropy, against partial volumes."""
        log_probability = nn.functional.log_softmax(output, dim=1)
        probability = log_probability.exp()
        axes = (0, 2, 3, 4)
        overlap = (probability * target).sum(axes)
        size = (probability.square() + target.square()).sum(axes)
        present = target.sum(axes) > 10.0
        dice = (2.0 * overlap + 1.0) / (size + 1.0)
        inside, brain = 1.0 - probability[:, 0], 1.0 - target[:, 0]
        edge = 2.0 * (inside * brain).sum() / (inside.square() + brain.square()).sum().clamp(min=1.0)
        return 2.0 - dice[present].mean() - edge - (target * log_probability).sum(1).mean()

    def files(self) -> Iterable[Path]:
        """List the label maps."""
        return self.paths


def validate(network: nn.Module, task: Anatomy, seed: int) -> dict[str, float]:
    """Return the Dice of every class, and of the brain, over images drawn from the heads of a task."""
    found = np.zeros((len(CLASSES), 2))
    brains = []
    for number in range(_VALIDATION_IMAGES):
        image, classes = task.draw(np.random.default_rng([seed, number]))
        with torch.no_grad():
            output = torch.softmax(network(image), dim=1).numpy()[0]
        classes = classes.numpy()
        truth, answer = classes[0].argmax(axis=0), output.argmax(axis=0)
        for index in range(len(CLASSES)):
            one, other = truth == index, answer == index
            found[index] += 2.0 * np.count_nonzero(one & other), one.sum() + other.sum()
        one, other = classes[0, 0] < 0.5, output[0] < 0.5
        brains.append(2.0 * np.count_nonzero(one & other) / max(one.sum() + other.sum(), 1))
    dice = {name: found[i, 0] / max(found[i, 1], 1.0) for i, name in enumerate(CLASSES) if i}
    return {"brain": float(np.mean(brains)), "brain, lowest": float(np.min(brains)), **dice}


def main() -> None:
    """Train, export and validate."""
    parser = argparse.ArgumentParser(description="Train the anatomy model.")
    real_data = Path(os.environ.get("MESEMS_REAL_DATA", "../shared/data"))
    parser.add_argument("--labelmaps", type=Path, default=real_data / "labelmaps")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--steps", type=int, default=4000, help="steps on heads of 3 mm")
    parser.add_argument("--fine-steps", type=int, default=4000, help="steps on heads of 2 mm after them")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate at the start")
    parser.add_argument("--start", type=Path, help="weights.pt of an earlier training to go on from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    paths = sorted(options.labelmaps.glob("training_seg_*.nii.gz"))
    if len(paths) <= HELD_OUT:
        parser.error(
            f"{len(paths)} training_seg_*.nii.gz in {options.labelmaps}; expected more than {HELD_OUT}"
        )
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cache, batch = options.out / "heads", 4 if device == "cuda" else 1
    workers = 0 if device == "cuda" else 1
    trained, first = paths[:-HELD_OUT], options.out / "coarse"
    if not (first / "weights.pt").is_file():
        coarse = Anatomy(trained, cache, COARSE_MM, device, batch)
        fit(
            coarse,
            first,
            steps=options.steps,
            rate=options.rate,
            seed=options.seed,
            workers=workers,
            start=options.start,
            device=device,
        )
    network = fit(
        Anatomy(trained, cache, SPACING_MM, device, batch),
        options.out,
        steps=max(options.fine_steps, 1),
        rate=options.rate / 2,
        seed=options.seed + 1,
        workers=workers,
        start=first / "weights.pt",
        device=device,
    )
    export(network, options.out / "anatomy.onnx", (torch.rand(2, 1, 32, 48, 32),), any_size=True)
    held_out = Anatomy(paths[-HELD_OUT:], cache, SPACING_MM)
    print("| held-out heads | Dice |\n|---|---|")
    for name, dice in validate(network, held_out, seed=1).items():
        print(f"| {name} | {dice:.3f} |")


if __name__ == "__main__":
    main()
