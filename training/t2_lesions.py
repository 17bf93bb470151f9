"""Train the network for T2 lesions on real scans with real lesion shapes drawn into them (`t2.md`).

    python -m training.t2_lesions [--work DIR] [--steps N] [--only NAME ...]

1. Every rated scan is prepared once (`t2_scans.py`; ``DIR/scans``).
2. One network a fold is trained without the patients it leaves out (``t2_fold_<name>``, to
   ``benchmarks/models``), and one with all (``t2``, to ``mesems_mri/models``). A training that was
   interrupted goes on from its checkpoint.

A draw is a patch of a real scan. In most of them lesions are drawn besides: single shapes of real lesions, or
the whole mask of another patient, faint ones and black ones on T1w among them, so that large confluent
lesions of low contrast are as usual as bright small ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import nn

from mesems_mri.core.typing import FloatArray
from mesems_mri.images.anatomy import CLASSES
from mesems_mri.models.t2 import IMAGES, TISSUES, scale_image
from training.export import MODELS, export
from training.fit import fit
from training.networks import UNet
from training.t2_scans import (
    RatedScan,
    as_float,
    fold_files,
    load_scan,
    mask_files,
    mni_moments,
    moments,
    networks,
    read_masks,
    read_shapes,
    training_patients,
)

FOLD_MODELS = Path(__file__).resolve().parents[1] / "benchmarks" / "models"
WIDTHS = (8, 16, 32, 64)
SIDE = 48
BATCH = 3
LESION_WEIGHT = 3.0
_REGION = 76
"""Voxels that a patch is turned and scaled out of."""
_TISSUE = {name: CLASSES.index(name) - 1 for name in CLASSES[1:]}
_LESION_MAY_LIE = {
    "white_matter": 1.0,
    "cortex": 0.5,
    "deep_grey": 0.7,
    "cerebellum": 0.7,
    "brainstem": 0.9,
    "csf": 0.1,
    "lateral_ventricles": 0.1,
}
"""How much of a drawn lesion a tissue takes: edges of fluid are where the maps may be wrong."""


class T2Lesions:
    """What is learned: where T2 lesions are.

    Parameters
    ----------
    name : str
        Of the network.
    without : collection of str
        Patients that it must not see.
    cache : Path
        Folder of the prepared scans.
    """

    def __init__(self, name: str, without: Collection[str], cache: Path) -> None:
        self.name, self.without = name, tuple(without)
        self.patients = training_patients(without)
        self.scans = [load_scan(patient, cache) for patient in self.patients]
        self.shapes = read_shapes()
        self.masks = read_masks(mask_files(without))
        self.mni = mni_moments()
        self.own = [moments(scan.brain) for scan in self.scans]
        thick = np.array([patient.startswith("ms3seg") for patient in self.patients])
        self.odds = np.where(thick, 0.5 / thick.sum(), 0.5 / (~thick).sum())
        self.lesion_voxels = [_components(scan.lesions) for scan in self.scans]
        self.white = [np.argwhere(scan.tissue[_TISSUE["white_matter"]] > 150) for scan in self.scans]
        self.inside = [np.argwhere(scan.brain) for scan in self.scans]

    def network(self) -> nn.Module:
        """Build the network."""
        return UNet(len(IMAGES) + len(TISSUES), 1, WIDTHS, batch_norm=True)

    def files(self) -> Iterable[Path]:
        """List every file the task trains on."""
        return fold_files(self.without)

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw patches (batch, channels, side, side, side), and lesions (batch, 2, ...): yes, and asked."""
        patches, targets = zip(*(self.draw_patch(rng) for _ in range(BATCH)), strict=True)
        return np.stack(patches), np.stack(targets)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return soft Dice of the batch plus cross-entropy, over what the raters decided about."""
        lesion, asked = target[:, :1], target[:, 1:]
        probability = torch.sigmoid(output) * asked
        lesion = lesion * asked
        overlap = (probability * lesion).sum()
        dice = (2.0 * overlap + 20.0) / (probability.sum() + lesion.sum() + 20.0)
        weight = asked * (1.0 + (LESION_WEIGHT - 1.0) * lesion)
        entropy = nn.functional.binary_cross_entropy_with_logits(output, lesion, weight=weight)
        return 1.0 - dice + 2.0 * entropy

    def draw_patch(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Draw one patch and its target."""
        index = int(rng.choice(len(self.scans), p=self.odds))
        scan = self.scans[index]
        centre = self._place(rng, index)
        region = _Region(scan, centre)
        if rng.random() < 0.7:
            self._draw_lesions(rng, region, index, centre)
        return _vary(rng, region, thin="ms3seg" not in self.patients[index])

    def _place(self, rng: np.random.Generator, index: int) -> NDArray[np.int64]:
        chance = rng.random()
        components = self.lesion_voxels[index]
        if chance < 0.5 and components:
            voxels = components[int(rng.integers(len(components)))]
        else:
            voxels = self.white[index] if chance < 0.8 else self.inside[index]
        return voxels[int(rng.integers(len(voxels)))] + rng.integers(-10, 11, 3)

    def _draw_lesions(
        self, rng: np.random.Generator, region: _Region, index: int, centre: NDArray[np.int64]
    ) -> None:
        """Draw the lesions of another patient, or some single ones, into a region."""
        lesions = np.zeros(region.brain.shape, np.float32)
        contrast = np.zeros(region.brain.shape, np.float32)
        if rng.random() < 0.35:
            lesions = self._mask_of_another(rng, index, centre)
            contrast[:] = np.exp(rng.uniform(np.log(0.15), np.log(0.7)))
        else:
            voxels = np.argwhere(region.tissue[_TISSUE["white_matter"], 8:-8, 8:-8, 8:-8] > 0.4) + 8
            for _ in range(int(rng.integers(1, 9)) if len(voxels) else 0):
                soft = _turn_shape(rng, self.shapes[int(rng.integers(len(self.shapes)))])
                at = voxels[int(rng.integers(len(voxels)))]
                _paste(lesions, contrast, soft, at, float(rng.uniform(0.17, 0.8)))
        region.add(rng, lesions, contrast)

    def _mask_of_another(self, rng: np.random.Generator, index: int, centre: NDArray[np.int64]) -> FloatArray:
        """Return the lesions of another patient, brought to this head by centre and spread of the brain."""
        mask = self.masks[int(rng.integers(len(self.masks)))]
        own_centre, own_spread = self.own[index]
        scale = self.mni[1] / own_spread * rng.uniform(0.85, 1.15)
        corner = centre - _REGION // 2
        offset = self.mni[0] + rng.normal(0.0, 4.0, 3) + scale * (corner - own_centre)
        if rng.random() < 0.5:
            scale[0], offset[0] = -scale[0], 2 * self.mni[0][0] - offset[0]
        soft = ndimage.affine_transform(
            mask.astype(np.float32), np.diag(scale), offset, output_shape=(_REGION,) * 3, order=1
        )
        return ndimage.gaussian_filter(soft, rng.uniform(0.4, 1.0))


class _Region:
    """Part of a scan: images, tissues and lesions that a patch is drawn from."""

    def __init__(self, scan: RatedScan, centre: NDArray[np.int64]) -> None:
        def cut(array: NDArray, fill: float = 0.0) -> NDArray:
            out = np.full((*array.shape[:-3], *(_REGION,) * 3), fill, array.dtype)
            low = centre - _REGION // 2
            source = [
                slice(max(a, 0), max(min(a + _REGION, n), 0))
                for a, n in zip(low, array.shape[-3:], strict=True)
            ]
            target = [slice(s.start - a, max(s.stop - a, 0)) for s, a in zip(source, low, strict=True)]
            out[(..., *target)] = array[(..., *source)]
            return out

        self.images = {name: cut(image).astype(np.float32) for name, image in scan.images.items()}
        self.tissue = as_float(cut(scan.tissue))
        self.brain = cut(scan.brain)
        self.lesions = cut(scan.lesions).astype(np.float32)
        self.ignored = cut(scan.ignored).astype(np.float32)
        self.room = sum(share * self.tissue[_TISSUE[name]] for name, share in _LESION_MAY_LIE.items())

    def add(self, rng: np.random.Generator, soft: FloatArray, contrast: FloatArray) -> None:
        """Draw lesions that fill a share of each voxel: brighter on FLAIR, as dark or darker on T1w."""
        soft = np.clip(soft, 0.0, 1.0) * np.clip(self.room, 0.0, 1.0) * self.brain
        if not (soft > 0.5).any():
            return
        flair = self.images["FLAIR"]
        level = 1.0 + contrast * (1.0 + rng.uniform(0.0, 0.15) * _texture(rng, soft.shape))
        lesion = level + rng.uniform(0.3, 0.8) * (flair - 1.0)
        # What is brighter than the lesion already stays so.
        self.images["FLAIR"] = flair + soft * np.maximum(lesion - flair, 0.0)
        if "T1w" in self.images:
            darker = rng.uniform(0.0, 0.4) if rng.random() < 0.7 else rng.uniform(0.4, 0.65)
            t1w = self.images["T1w"]
            self.images["T1w"] = t1w * (1.0 - darker * soft)
        self.lesions = np.maximum(self.lesions, soft > 0.5)


def _texture(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    coarse = rng.standard_normal([n // 6 + 2 for n in shape]).astype(np.float32)
    zoom = [n / m for n, m in zip(shape, coarse.shape, strict=True)]
    return ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode="nearest")


def _turn_shape(rng: np.random.Generator, shape: NDArray[np.bool_]) -> FloatArray:
    """Turn, mirror, scale and soften the shape of a lesion."""
    turn = Rotation.from_rotvec(rng.normal(0.0, 0.6, 3)).as_matrix() @ np.diag(rng.choice([-1.0, 1.0], 3))
    scale = 1.0 / rng.uniform(0.6, 1.3)
    size = int(min(np.ceil(np.linalg.norm(shape.shape) / scale) + 6, 70))
    matrix = turn * scale
    offset = (np.array(shape.shape) - 1) / 2 - matrix @ np.full(3, (size - 1) / 2)
    soft = ndimage.affine_transform(
        shape.astype(np.float32), matrix, offset, output_shape=(size,) * 3, order=1
    )
    return ndimage.gaussian_filter(soft, rng.uniform(0.4, 1.0))


def _paste(
    lesions: FloatArray, contrast: FloatArray, soft: FloatArray, at: NDArray[np.int64], own: float
) -> None:
    """Paste a lesion about a voxel; where two meet, the one that fills more of a voxel gives the contrast."""
    low = at - np.array(soft.shape) // 2
    pairs = list(zip(low, soft.shape, lesions.shape, strict=True))
    target = tuple(slice(max(a, 0), min(a + n, m)) for a, n, m in pairs)
    part = soft[tuple(slice(t.start - a, t.stop - a) for t, a in zip(target, low, strict=True))]
    contrast[target] = np.where(part > lesions[target], own, contrast[target])
    lesions[target] = np.maximum(lesions[target], part)


def _components(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    labels, n = ndimage.label(mask, np.ones((3, 3, 3)))
    order = np.argsort(labels[mask], kind="stable")
    return np.split(np.argwhere(mask)[order], np.cumsum(np.bincount(labels[mask], minlength=n + 1)[1:-1]))


def _vary(rng: np.random.Generator, region: _Region, *, thin: bool) -> tuple[FloatArray, FloatArray]:
    """Turn, scale, mirror and degrade a region to a patch with its target."""
    names = [name for name in IMAGES if name in region.images]
    stack = np.stack(
        [
            *(region.images[name] for name in names),
            *(region.tissue[_TISSUE[name]] for name in TISSUES),
            region.brain.astype(np.float32),
            region.lesions,
            region.ignored,
        ]
    )
    if thin and rng.random() < 0.35:
        axis = int(rng.choice(3, p=[0.15, 0.15, 0.7]))
        stack[: len(names)] = _slices(rng, stack[: len(names)], rng.uniform(2.0, 7.0), axis + 1)
    turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(-15.0, 15.0, 3))).as_matrix()
    matrix = turn @ np.diag(1.0 / rng.uniform(0.88, 1.14, 3))
    if rng.random() < 0.5:
        matrix[:, 0] = -matrix[:, 0]
    theta = torch.zeros(1, 3, 4)
    # torch counts axes from the last one on
    theta[0, :, :3] = torch.from_numpy((matrix[::-1, ::-1] * (SIDE / _REGION)).astype(np.float32))
    places = nn.functional.affine_grid(theta, [1, 1, SIDE, SIDE, SIDE], align_corners=False)
    turned = nn.functional.grid_sample(torch.from_numpy(stack)[None], places, align_corners=False)[0].numpy()
    images = dict(zip(names, turned[: len(names)], strict=True))
    tissue = turned[len(names) : len(names) + len(TISSUES)]
    brain, lesions, ignored = turned[len(names) + len(TISSUES) :] > 0.5
    images = {name: _degrade(rng, name, image) for name, image in images.items()}
    patch = np.zeros((len(IMAGES) + len(TISSUES), *(SIDE,) * 3), np.float32)
    for channel, name in enumerate(IMAGES):
        if name in images and not (name == "T1w" and rng.random() < 0.3):
            patch[channel] = scale_image(np.where(brain, images[name], 0.0).astype(np.float32))
    patch[len(IMAGES) :] = tissue * brain
    asked = ~(ignored & ~lesions)
    return patch, np.stack([lesions, asked]).astype(np.float32)


def _degrade(rng: np.random.Generator, name: str, image: FloatArray) -> FloatArray:
    """Blur, contrast, bias, gain and noise."""
    if rng.random() < 0.5:
        image = ndimage.gaussian_filter1d(image, rng.uniform(0.3, 1.2), axis=int(rng.integers(3)))
    low, high = (0.6, 1.5) if name == "FLAIR" else (0.7, 1.4)
    image = 1.0 + rng.uniform(low, high) * (image - 1.0)
    ramp = sum(
        rng.normal(0.0, 0.03) * np.linspace(-1, 1, SIDE).reshape([-1 if a == d else 1 for d in range(3)])
        for a in range(3)
    )
    image = image * (rng.uniform(0.96, 1.04) + ramp)
    if rng.random() < 0.7:
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        if rng.random() < 0.5:
            noise = 2.0 * ndimage.gaussian_filter(noise, 0.6)
        image = image + rng.uniform(0.0, 0.08) * noise
    return np.asarray(image, np.float32)


def _slices(rng: np.random.Generator, images: FloatArray, thickness_mm: float, axis: int) -> FloatArray:
    """Acquire thick slices and interpolate them back."""
    along = np.moveaxis(images, axis, 0)
    profile = ndimage.uniform_filter1d(along, max(round(thickness_mm), 1), axis=0)
    n = along.shape[0]
    centres = np.arange(rng.uniform(0, thickness_mm), n - 1, thickness_mm)
    slices = profile[np.rint(centres).astype(int)]
    at = np.clip(np.interp(np.arange(n), centres, np.arange(len(centres))), 0, len(centres) - 1)
    low = np.minimum(at.astype(int), len(centres) - 2)
    share = (at - low).astype(np.float32).reshape(-1, 1, 1, 1)
    return np.moveaxis(slices[low] * (1 - share) + slices[low + 1] * share, 0, axis)


def record_origin(name: str, trained_on: Path) -> None:
    """Add what a network was trained on, folder and file, to the record beside the networks of the folds."""
    record = FOLD_MODELS / "t2_trained_on.json"
    origin = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    files = json.loads(trained_on.read_text(encoding="utf-8"))["files"]
    origin[name] = sorted("/".join(Path(path).parts[-2:]) for path in files)
    record.write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/t2"))
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate at the start")
    parser.add_argument("--only", nargs="*", help="networks to train")
    parser.add_argument("--further", action="store_true", help="go on from the weights.pt that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, without in networks().items():
        if options.only and name not in options.only:
            continue
        task = T2Lesions(name, without, options.work / "scans")
        before = options.work / name / "weights.pt"
        network = fit(
            task,
            options.work / (f"{name}_further" if options.further else name),
            start=before if options.further else None,
            seed=int(options.further),
            steps=options.steps,
            rate=options.rate,
            workers=0,
            device=device,
        )
        record_origin(name, options.work / name / "trained_on.json")
        folder = FOLD_MODELS if without else MODELS
        example = torch.from_numpy(task.draw(np.random.default_rng(0))[0])
        export(network, folder / f"{name}.onnx", (example,), any_size=True)


if __name__ == "__main__":
    main()
