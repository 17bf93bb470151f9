"""Train the network for T2 lesions: FLAIR, with T1w and T2w where they are there -> where lesions are.

    python -m training.t2_lesions REAL [--work DIR] [--steps N] [--fold-steps N] [--only NAME]

``REAL`` is a folder that ``python -m tests.real.arrange`` wrote, after ``mesems-mri run REAL/bids REAL/out``.

1. ``t2_synthetic``: brains drawn from label maps in the contrasts of a trial, with lesions from the masks of
   open_ms patients moved into their white matter; no image of a patient, and no mask of 07 or 26.
2. Two folds (``t2_without_<patient>``) and one network with all (``t2``) go on from it; a third of their
   draws are the real scans of the other patient, or of both.
3. Each fold reads the patient it has not seen, and the Dice is printed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from mesems_mri.images.anatomy import CLASSES
from training.export import export
from training.fit import fit
from training.networks import UNet
from training.synthesis import (
    Head,
    along,
    blur,
    draw_intensities,
    draw_places,
    fill,
    load_heads,
    nodes_apart,
    sample,
    slice_profile,
    smooth_field,
    white_noise,
)
from training.t2_inference import CHANNELS, lesion_probability
from training.t2_scans import (
    PATIENTS,
    fold_files,
    load_scan,
    mask_files,
    networks,
    scan_files,
    training_patients,
)

WIDTHS = (10, 24, 48, 96)
SHAPE = (144, 176, 144)
SPACING_MM = 1.0
REAL_SHARE = 0.35
_LIMITS = (0.2, 0.3, 0.5, 0.7)
_CHOROID, _WHITE_LABEL = 136, 2
_VENTRICLES, _CSF = CLASSES.index("lateral_ventricles") - 1, CLASSES.index("csf") - 1
_WHITE_MATTER, _CORTEX = CLASSES.index("white_matter") - 1, CLASSES.index("cortex") - 1
_CEREBELLUM, _BRAINSTEM = CLASSES.index("cerebellum") - 1, CLASSES.index("brainstem") - 1
_DEEP_GREY = CLASSES.index("deep_grey") - 1


@dataclass(frozen=True, eq=False)
class RealScan:
    """Scan of a patient with the consensus of the raters.

    Attributes
    ----------
    images : Tensor of float32, shape (len(CHANNELS), x, y, z)
        Subject space, NAWM median 1, 0 outside the brain.
    lesions : Tensor of float32, shape (x, y, z)
        1 in a lesion.
    """

    images: torch.Tensor
    lesions: torch.Tensor


def extent(weights: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre and the spread (standard deviation along each axis) of a brain, in voxels."""
    centre, spread = np.zeros(3), np.zeros(3)
    for axis in range(3):
        profile = weights.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        at = np.arange(len(profile))
        centre[axis] = np.average(at, weights=profile)
        spread[axis] = np.sqrt(np.average((at - centre[axis]) ** 2, weights=profile))
    return centre, spread


class T2Lesions:
    """What is learned: where T2 lesions are.

    Parameters
    ----------
    name : str
        Of the network.
    heads : list of Head
        1 mm.
    masks : sequence of Tensor of float32, shape (1, x, y, z)
        Lesions to draw with, all in one MNI grid.
    brain : tuple of ndarray
        `extent` of the brain in that grid.
    scans : sequence of RealScan
        Real scans to train on as well.
    files : list of Path
        All that is trained on.
    """

    def __init__(
        self,
        name: str,
        heads: list[Head],
        masks: Sequence[torch.Tensor],
        brain: tuple[NDArray, NDArray],
        scans: Sequence[RealScan] = (),
        files: Sequence[Path] = (),
    ) -> None:
        self.name, self.heads, self.masks, self.brain = name, heads, masks, brain
        self.scans, self._files = scans, files
        self._to_mni = [self._align(head) for head in heads]

    def _align(self, head: Head) -> tuple[NDArray, NDArray]:
        """Return the scale that gives the brain of a head the spread of that of the masks, and its centre."""
        classes = head.classes.sum(dim=0, dtype=torch.float32).cpu().numpy()
        centre, spread = extent(classes)
        return self.brain[1] / spread, centre

    def network(self) -> nn.Module:
        """Build the network."""
        return UNet(len(CHANNELS), 1, WIDTHS)

    def files(self) -> Iterable[Path]:
        """List every file the task trains on."""
        return self._files

    def draw(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a brain (1, channel, x, y, z) and where its lesions are (1, 1, x, y, z)."""
        if self.scans and rng.random() < REAL_SHARE:
            images, lesions = vary_scan(rng, self.scans[int(rng.integers(len(self.scans)))])
        else:
            images, lesions = self.draw_synthetic(rng)
        for channel in range(1, len(CHANNELS)):  # FLAIR is always there
            if rng.random() < 0.25:
                images[channel] = 0.0
        return images.clamp(0.0, 3.0)[None], lesions[None, None]

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return soft Dice of the batch plus cross-entropy."""
        probability = torch.sigmoid(output)
        overlap = (probability * target).sum()
        dice = (2.0 * overlap + 20.0) / (probability.square().sum() + target.square().sum() + 20.0)
        weight = 1.0 + 3.0 * target
        entropy = nn.functional.binary_cross_entropy_with_logits(output, target, weight=weight)
        return 1.0 - dice + 5.0 * entropy

    def draw_synthetic(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a brain with lesions: images (channel, x, y, z), NAWM 1, and lesions (x, y, z)."""
        index = int(rng.integers(len(self.heads)))
        head, shape = self.heads[index], SHAPE
        device = head.kinds.device
        about = head.centre + rng.uniform(-6.0, 6.0, 3)
        places = draw_places(rng, head, shape, SPACING_MM, about)
        classes = sample(head.classes / 255.0, places)
        lesions = self._draw_lesions(rng, index, places, classes)
        strength = torch.exp(
            rng.uniform(0.1, 0.5) * smooth_field(rng, shape, nodes_apart(shape, 1.0, 14.0), device)
        )
        kept = blur(classes.sum(dim=0), (1.0,) * 3) > rng.uniform(0.3, 0.8)
        together = int(rng.integers(3)) if rng.random() < 0.5 else None
        thick = rng.random() < 0.6
        images = []
        for contrast in CHANNELS:
            image = self._draw_contrast(rng, head, contrast, places, classes, lesions * strength)
            if thick and rng.random() < 0.9:
                axis = together if together is not None else int(rng.integers(3))
                image = along(slice_profile(rng, shape[axis], rng.uniform(1.5, 5.0)), image, axis)
            image = image + rng.uniform(0.005, 0.06) * white_noise(rng, shape, device)
            images.append(image * kept)
        return torch.stack(images), (lesions > 0.5).float() * kept

    def _draw_contrast(
        self,
        rng: np.random.Generator,
        head: Head,
        contrast: str,
        places: torch.Tensor,
        classes: torch.Tensor,
        lesions: torch.Tensor,
    ) -> torch.Tensor:
        shape, device = lesions.shape, lesions.device
        means, spreads = draw_intensities(rng, head.labels, contrast)
        white = max(float(means[head.labels.index(_WHITE_LABEL)]), 0.2)
        means[head.labels.index(_WHITE_LABEL)] = white
        if contrast == "FLAIR" and _CHOROID in head.labels:
            means[head.labels.index(_CHOROID)] = white * rng.uniform(0.5, 1.8)
        image, spread = sample(torch.stack([fill(head, means), fill(head, spreads)]), places) / white
        # Tissue is not flat: cortex and white matter vary over centimetres, on FLAIR above all.
        uneven = rng.uniform(0.0, 0.06) * smooth_field(rng, shape, nodes_apart(shape, 1.0, 20.0), device)
        uneven += rng.uniform(0.0, 0.05) * smooth_field(rng, shape, nodes_apart(shape, 1.0, 7.0), device)
        image = image * torch.exp(uneven)
        if contrast == "FLAIR":
            beside = blur(classes[_VENTRICLES], (rng.uniform(0.8, 1.6),) * 3) * classes[_WHITE_MATTER]
            image = image + rng.uniform(0.0, 0.9) * beside
            flow = (smooth_field(rng, shape, nodes_apart(shape, 1.0, 9.0), device) - 1.5).clamp(0.0, 1.0)
            image = image + rng.uniform(0.0, 0.8) * flow * (classes[_CSF] + classes[_VENTRICLES])
            level = 1.0 + rng.uniform(0.15, 0.9)
        elif contrast == "T2w":
            level = 1.0 + rng.uniform(0.2, 1.3)
        else:
            level = 1.0 - (rng.uniform(0.05, 0.5) if rng.random() < 0.8 else 0.0)
        amount = lesions.clamp(0.0, 1.6)
        image = image + amount * (level - 1.0) + (lesions > 0.5) * (1.0 - image) * 0.5
        image = image + spread * white_noise(rng, shape, device)
        image = blur(image, rng.uniform(0.2, 1.0, 3))
        return image * torch.exp(rng.uniform(0.0, 0.06) * smooth_field(rng, shape, (2, 2, 2), device))

    def _draw_lesions(
        self, rng: np.random.Generator, index: int, places: torch.Tensor, classes: torch.Tensor
    ) -> torch.Tensor:
        """Draw what part of each voxel is lesion: masks of patients, and small round ones."""
        device = places.device
        scale, centre = self._to_mni[index]
        lesions = torch.zeros(places.shape[1:], device=device)
        for _ in range(int(rng.choice([0, 1, 2], p=[0.15, 0.6, 0.25]))):
            mask = self.masks[int(rng.integers(len(self.masks)))]
            own = scale * rng.uniform(0.85, 1.15)
            shift = self.brain[0] - own * centre + rng.normal(0.0, 5.0, 3)
            to_mask = places * torch.tensor(own, device=device, dtype=torch.float32)[:, None, None, None]
            to_mask += torch.tensor(shift, device=device, dtype=torch.float32)[:, None, None, None]
            if rng.random() < 0.5:  # the other side
                to_mask[0] = (mask.shape[1] - 1.0) - to_mask[0]
            lesions = torch.maximum(lesions, sample(mask, to_mask)[0])
        if rng.random() < 0.7:
            apart = rng.uniform(5.0, 10.0)
            blobs = smooth_field(rng, places.shape[1:], nodes_apart(places.shape[1:], 1.0, apart), device)
            round_ones = (2.0 * (blobs - rng.uniform(2.2, 3.4)) + 0.5).clamp(0.0, 1.0)
            lesions = torch.maximum(lesions, round_ones)
        allowed = classes[_WHITE_MATTER] + rng.uniform(0.3, 1.0) * classes[_BRAINSTEM]
        allowed = (
            allowed + rng.uniform(0.0, 0.7) * classes[_CORTEX] + rng.uniform(0.2, 1.0) * classes[_CEREBELLUM]
        )
        allowed = allowed + 0.5 * classes[CLASSES.index("deep_grey") - 1]
        return lesions * allowed.clamp(0.0, 1.0)


def vary_scan(rng: np.random.Generator, scan: RealScan) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn, bend, mirror and degrade a real scan, and make its lesions fainter or brighter."""
    device = scan.images.device
    inside = torch.nonzero(scan.images[0] > 0).float()
    about = inside.mean(dim=0).cpu().numpy() + rng.uniform(-6.0, 6.0, 3)
    like = Head(scan.lesions[None].byte(), scan.lesions[None], scan.lesions[None].byte(), (), about, 1.0)
    places = draw_places(rng, like, SHAPE, SPACING_MM, about)
    images = sample(scan.images, places)
    lesions = (sample(scan.lesions[None], places)[0] > 0.5).float()
    inside = images[0] > 0
    gain = rng.uniform(0.7, 1.3)
    images[0] = torch.where(lesions > 0.5, 1.0 + gain * (images[0] - 1.0), images[0])
    for channel in range(len(images)):
        image = images[channel]
        if rng.random() < 0.4:
            axis = int(rng.integers(3))
            image = along(slice_profile(rng, SHAPE[axis], rng.uniform(1.0, 4.0)), image, axis)
        contrast = float(np.exp(rng.normal(0.0, 0.15)))
        image = 1.0 + contrast * (image - 1.0)
        image = image * torch.exp(rng.uniform(0.0, 0.05) * smooth_field(rng, SHAPE, (3, 3, 3), device))
        image = image + rng.uniform(0.0, 0.05) * white_noise(rng, SHAPE, device)
        images[channel] = image * inside
    return images, lesions


def read_masks(paths: Iterable[Path], device: str) -> list[torch.Tensor]:
    """Read lesion masks in MNI space: float32, shape (1, x, y, z), 1 in a lesion."""
    return [torch.from_numpy((_canonical(path) > 0).astype(np.float32))[None].to(device) for path in paths]


def _canonical(path: Path) -> NDArray[np.float32]:
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj, np.float32)


def mni_brain(real: Path) -> tuple[NDArray, NDArray]:
    """Return centre and spread of the brain in the grid of the masks, from the two stripped scans."""
    both = [
        extent(ndimage.binary_fill_holes(_canonical(scan_files(p)["FLAIR"]) > 0).astype(np.float32))
        for p in PATIENTS
    ]
    return np.mean([b[0] for b in both], axis=0), np.mean([b[1] for b in both], axis=0)


def read_scan(patient: str, real: Path, device: str) -> RealScan:
    """Read a real scan onto a device."""
    images, lesions = load_scan(patient, real / "bids", real / "out")
    return RealScan(torch.from_numpy(images).to(device), torch.from_numpy(lesions).to(device))


def evaluate(network: Path, patient: str, real: Path) -> str:
    """Return a row: the Dice of a patient at some limits of the probability."""
    images, lesions = load_scan(patient, real / "bids", real / "out")
    channels = {contrast: image for contrast, image in zip(CHANNELS, images, strict=True) if image.any()}
    probability = lesion_probability(channels, images[0] > 0, network)
    cells = []
    for limit in _LIMITS:
        found = probability > limit
        overlap = np.count_nonzero(found & (lesions > 0))
        cells.append(f"{2.0 * overlap / max(np.count_nonzero(found) + lesions.sum(), 1):.2f}")
    return f"| {network.stem} | {patient} | {' | '.join(cells)} |"


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    real_data = Path(os.environ.get("MESEMS_REAL_DATA", "../shared/data"))
    parser.add_argument("real", type=Path, help="arranged and run real scans")
    parser.add_argument("--labelmaps", type=Path, default=real_data / "labelmaps")
    parser.add_argument("--work", type=Path, default=Path("build/t2"))
    parser.add_argument("--steps", type=int, default=3000, help="steps on synthetic brains")
    parser.add_argument("--fold-steps", type=int, default=1000, help="steps with real scans among them")
    parser.add_argument("--only", help="a network to train")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    maps = sorted(options.labelmaps.glob("training_seg_*.nii.gz"))
    heads = load_heads(maps, options.work / "heads", SPACING_MM, device)
    brain = mni_brain(options.real)
    first = options.work / "t2_synthetic"
    if options.only in (None, "t2_synthetic"):
        masks = mask_files(without=PATIENTS)
        task = T2Lesions("t2_synthetic", heads, read_masks(masks, device), brain, (), [*maps, *masks])
        fit(task, first, steps=options.steps, device=device, workers=0)
    rows = []
    for name, without in networks().items():
        if options.only not in (None, name):
            continue
        masks = read_masks(mask_files(without=(without,) if without else ()), device)
        scans = [read_scan(p, options.real, device) for p in training_patients(without)]
        task = T2Lesions(name, heads, masks, brain, scans, [*maps, *fold_files(without)])
        network = fit(
            task,
            options.work / name,
            steps=options.fold_steps,
            rate=1e-3,
            seed=1,
            start=first / "weights.pt",
            device=device,
            workers=0,
        )
        path = options.work / f"{name}.onnx"
        export(network, path, (torch.rand(2, len(CHANNELS), 32, 48, 32),), any_size=True)
        if without:
            rows.append(evaluate(path, without, options.real))
    print("| network | held out |" + "".join(f" Dice at {limit} |" for limit in _LIMITS))
    print("|---" * (2 + len(_LIMITS)) + "|\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
