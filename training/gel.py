"""Train the classifier of candidates for enhancing lesions: three folds, and the shipped model.

    python -m training.gel REAL [--work DIR] [--variants N] [--steps N] [--only NAME]

``REAL`` is a folder that ``python -m tests.real.arrange`` wrote, after ``mesems-mri run REAL/bids REAL/out``.

1. Each of the three real pairs of T1w, and of the two without contrast, is drawn on (`gel_lesions.py`) and
   degraded at random, many times; the package's own candidates are cut out as patches
   (`DIR/patches/PATIENT`).
2. A network is trained without each patient (``gel_without_<patient>``, to ``benchmarks/models``), and
   one with all (``gel``, to ``mesems_mri/models``).
3. The held-out patients of the three folds calibrate the score; the numbers are printed and stand in
   ``mesems_mri/models/gel.py``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from mesems_mri.core.gel import detect as enhancement
from mesems_mri.core.gel.candidates import (
    CHANNELS,
    PATCH_SIDE,
    EnhancementImages,
    EnhancementThresholds,
    cut_patches,
    find_candidates,
    gather_maps,
)
from training import gel_lesions
from training.export import MODELS, export
from training.fit import fit
from training.gel_scans import (
    PATIENTS,
    SCANNED_TWICE,
    load_pair,
    load_scanned_twice,
    scan_files,
    training_patients,
)
from training.networks import PatchClassifier

FOLD_MODELS = Path(__file__).resolve().parents[1] / "benchmarks" / "models"
STORED_SIDE = 28
"""Patches are stored with a margin, to be cut out off centre."""
NEGATIVES_A_SCAN = 90
WIDTHS = (24, 32, 48)
BATCH = 32
TRUE_A_SCAN = 1.5
"""GEL a scan that the calibration assumes; training scans hold many more."""
_LOW, _SPAN = -1.5, 3.0


def prepare(patient: str, folder: Path, variants: int, real: Path, jobs: int = 1) -> None:
    """Write the patches of a patient: one file a variant, what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [v for v in range(variants) if not (folder / f"{v:03d}.npz").is_file()]
    if not missing:
        return
    if patient in SCANNED_TWICE:
        pair = load_scanned_twice(patient, real / "bids", real / "out")
    else:
        pair = load_pair(patient)
    write = partial(_write_variant, pair, gel_lesions.place_odds(pair), folder)
    if jobs == 1:
        for variant in missing:
            write(variant)
    else:
        with multiprocessing.Pool(jobs) as pool:
            pool.map(write, missing, chunksize=1)


def _write_variant(pair: gel_lesions.Pair, odds: NDArray[np.float32], folder: Path, variant: int) -> None:
    rng = np.random.default_rng([variant, (*PATIENTS, *SCANNED_TWICE).index(pair.name)])
    patches, labels, by_hand, plain = draw_variant(pair, odds, rng)
    beside = folder / f"{variant:03d}.tmp.npz"
    np.savez(beside, patches=patches, labels=labels, by_hand=by_hand, plain=plain)
    beside.rename(folder / f"{variant:03d}.npz")


def draw_variant(
    pair: gel_lesions.Pair, odds: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32], bool]:
    """Draw lesions, degrade, propose candidates as the package does and cut them out.

    Returns
    -------
    patches : ndarray of uint8
        Scaled by `encode`.
    labels : ndarray of float32
        1 for a GEL, 0 for what is none.
    by_hand : ndarray of float32
        Log odds by the weights set by hand.
    plain : bool
        Whether nothing was drawn.
    """
    plain = bool(rng.random() < 0.2)
    truth = np.zeros(pair.post.shape, np.int32)
    if not plain:
        pair, truth = gel_lesions.add_lesions(
            rng,
            pair,
            odds,
            number=int(rng.integers(15, 40)),
            silent=int(rng.integers(0, 20)),
            vessels=int(rng.integers(0, 12)),
        )
    pair, truth, axis = gel_lesions.degrade(rng, pair, truth)
    pre: NDArray[np.float32] | None = pair.pre
    t2_images = dict(pair.t2_images)
    chance = rng.random()
    if chance < 0.12:
        pre = None
    elif chance < 0.25:
        del t2_images["FLAIR"]
    elif chance < 0.35:
        del t2_images["T2w"]
    limits = EnhancementThresholds()
    factor = 1.0 if pre is not None else limits.no_pre_factor
    images = EnhancementImages(
        pair.post, pre, t2_images, pair.brain_mask, pair.priors, (1.0, 1.0, 1.0), pair.nawm
    )
    maps = gather_maps(images, limits, faint=True)
    normal = tuple(float(i == axis) for i in range(3))
    candidates = find_candidates(maps, limits, plane_normal=normal, nawm=pair.nawm, factor=factor, faint=True)
    near = ndimage.binary_dilation(truth > 0)
    sizes = np.bincount(truth.ravel())
    kept, labels, by_hand = [], [], []
    for candidate in candidates:
        score, _ = enhancement.score_by_hand(candidate, maps, limits, factor, faint=True)
        if score <= 0:
            continue
        inside = float(near[candidate.around][candidate.inside].mean())
        covered = np.bincount(truth[candidate.around][candidate.inside], minlength=len(sizes))[1:]
        is_lesion = inside >= 0.5 and bool((covered >= 0.1 * np.maximum(sizes[1:], 1)).any())
        if not is_lesion and inside > 0.05:
            continue
        kept.append(candidate)
        labels.append(is_lesion)
        by_hand.append(np.log(score / max(1 - score, 1e-6)))
    answers = np.array(labels, np.float32)
    none = rng.permutation(np.flatnonzero(answers == 0))[:NEGATIVES_A_SCAN]
    chosen = np.sort(np.r_[np.flatnonzero(answers == 1), none]).astype(int)
    patches = encode(cut_patches(maps, [kept[i] for i in chosen], STORED_SIDE))
    return patches, answers[chosen], np.clip(np.array(by_hand, np.float32)[chosen], -14, 14), plain


def encode(patches: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Store values of -1.5 to 1.5 in a byte."""
    return np.rint(np.clip((patches - _LOW) / _SPAN, 0, 1) * 255).astype(np.uint8)


def decode(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Undo `encode`; 0 stays exactly 0."""
    values = patches.astype(np.float32) * np.float32(_SPAN / 255) + np.float32(_LOW)
    values[np.abs(values) < _SPAN / 255] = 0
    return values


class Gel:
    """Tell candidates that are GEL from those that are not."""

    def __init__(self, patients: Sequence[str], patches: Path, name: str) -> None:
        self.name = name
        self.patients = tuple(patients)
        self.stored = {p: load_patches(patches / p) for p in self.patients}

    def network(self) -> nn.Module:
        """Build the network."""
        return PatchClassifier(len(CHANNELS), WIDTHS, first_stride=2)

    def files(self) -> Iterable[Path]:
        """List every file the task trains on."""
        return self.files_of(self.patients)

    @staticmethod
    def files_of(patients: Iterable[str]) -> list[Path]:
        """List the files of some patients."""
        return [path for patient in patients for path in scan_files(patient).values()]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draw a batch: half GEL, half not, of each patient as many."""
        patches = np.empty((BATCH, len(CHANNELS), *(PATCH_SIDE,) * 3), np.float32)
        target = np.arange(BATCH) % 2
        for i in range(BATCH):
            stored, labels, _ = self.stored[self.patients[(i // 2) % len(self.patients)]]
            at = rng.choice(np.flatnonzero(labels == target[i]))
            patches[i] = vary(rng, decode(stored[at]))
        return patches, target.astype(np.float32)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy, with a little doubt about each label."""
        return nn.functional.binary_cross_entropy_with_logits(output, 0.02 + 0.96 * target)


def load_patches(
    folder: Path,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Read what `prepare` wrote for a patient: patches, labels, log odds by hand."""
    parts = [np.load(path) for path in sorted(folder.glob("[0-9]*.npz")) if ".tmp" not in path.name]
    return (
        np.concatenate([part["patches"] for part in parts]),
        np.concatenate([part["labels"] for part in parts]),
        np.concatenate([part["by_hand"] for part in parts]),
    )


def vary(rng: np.random.Generator, stored: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut a patch out off centre, turn and mirror it, and change contrast, noise and what is known."""
    room = STORED_SIDE - PATCH_SIDE
    low = np.clip(np.rint(rng.normal(room / 2, 0.8, 3)).astype(int), 0, room)
    patch = stored[(slice(None), *(slice(a, a + PATCH_SIDE) for a in low))]
    order = (
        rng.permutation(3) if rng.random() < 0.5 else np.array([1, 0, 2] if rng.random() < 0.5 else [0, 1, 2])
    )
    patch = patch.transpose(0, *(order + 1))
    for axis in range(1, 4):
        if rng.random() < 0.5:
            patch = np.flip(patch, axis)
    patch = patch.copy()
    at = {name: CHANNELS.index(name) for name in CHANNELS}
    gain = np.exp(rng.normal(0, 0.2))
    patch[at["increase_z"]] = (
        np.arcsinh(gain * np.exp(rng.normal(0, 0.2)) * np.sinh(3 * patch[at["increase_z"]])) / 3
    )
    patch[at["increase"]] *= gain
    for name in ("correlate_z", "support_z"):
        level = np.sinh(3 * patch[at[name]]) * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.3)
        patch[at[name]] = np.arcsinh(level) / 3
    patch[at["anatomy"]] = patch[at["anatomy"]] * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.04)
    if rng.random() < 0.5:
        for name in ("increase_z", "increase", "anatomy", "correlate_z", "support_z"):
            patch[at[name]] += rng.uniform(0, 0.06) * rng.standard_normal(patch.shape[1:], dtype=np.float32)
    if rng.random() < 0.1:
        patch[at[str(rng.choice(["csf", "depth", "ventricle", "support_z", "anatomy"]))]] = 0
    return patch


def score_stored(network: nn.Module, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Log odds of stored patches."""
    cut = (STORED_SIDE - PATCH_SIDE) // 2
    middle = (slice(None), slice(None), *(slice(cut, cut + PATCH_SIDE),) * 3)
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(decode(stored[i : i + 64][middle]))).numpy()
            for i in range(0, len(stored), 64)
        ]
    return np.concatenate(parts)


def calibrate(
    held_out: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]], variants: int
) -> dict[str, dict[str, float]]:
    """Fit weights of the log odds and an offset to the labels (Platt 1999), at `TRUE_A_SCAN` GEL a scan.

    Parameters
    ----------
    held_out : sequence
        Of each patient: log odds by a network trained without it, by hand weights, labels.
    variants : int
        Scans of each patient.

    Returns
    -------
    dict
        For the network alone and for both together.
    """
    network, by_hand, labels = (np.concatenate(part) for part in zip(*held_out, strict=True))
    weight = np.where(labels == 1, TRUE_A_SCAN * len(held_out) * variants / max(labels.sum(), 1), 1.0)
    fitted = {}
    for method, use_hand in (("network", 0.0), ("both", 1.0)):
        inputs = np.c_[network, use_hand * by_hand, np.ones(len(labels))].astype(np.float64)
        beta = np.zeros(3)
        for _ in range(50):
            p = 1 / (1 + np.exp(-inputs @ beta))
            slope = inputs.T @ (weight * (p - labels)) + 1e-3 * beta
            curve = (inputs * (weight * p * (1 - p))[:, None]).T @ inputs + 1e-3 * np.eye(3)
            beta -= np.linalg.solve(curve, slope)
        fitted[method] = dict(zip(("network", "by_hand", "offset"), np.round(beta, 4).tolist(), strict=True))
    return fitted


def main() -> None:
    """Prepare, train, export and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("real", type=Path, help="arranged and run real scans")
    parser.add_argument("--work", type=Path, default=Path("build/gel"))
    parser.add_argument("--variants", type=int, default=40, help="drawn and degraded scans of each patient")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--jobs", type=int, default=1, help="processes that prepare patches or draw them")
    parser.add_argument("--only", help="a patient to prepare, a network to train, or calibrate")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    patches = options.work / "patches"
    for patient in (*PATIENTS, *SCANNED_TWICE):
        if options.only in (None, patient):
            variants = options.variants // 2 if patient in SCANNED_TWICE else options.variants
            prepare(patient, patches / patient, variants, options.real, options.jobs)
    for name, without in networks().items():
        if options.only in (None, name):
            task = Gel(training_patients(without), patches, name)
            network = fit(
                task, options.work / name, steps=options.steps, workers=options.jobs - 1, device=device
            )
            folder = MODELS if without is None else FOLD_MODELS
            folder.mkdir(exist_ok=True)
            example = torch.from_numpy(task.draw(np.random.default_rng(0))[0])
            export(network, folder / f"{name}.onnx", (example,))
    if options.only in (None, "calibrate"):
        write_calibration(options.work, options.variants)


def write_calibration(work: Path, variants: int) -> None:
    """Write how the held-out log odds of each patient are calibrated by the others, and what was trained on.

    Printed are the numbers of the shipped model, from all three held-out patients.
    """
    held_out = {}
    for patient in PATIENTS:
        network = PatchClassifier(len(CHANNELS), WIDTHS, first_stride=2)
        weights = torch.load(work / f"gel_without_{patient}" / "weights.pt", weights_only=True)
        network.load_state_dict(weights)
        stored, answers, hand = load_patches(work / "patches" / patient)
        held_out[patient] = (score_stored(network.eval(), stored), hand, answers)
        np.savez(work / f"held_out_{patient}.npz", network=held_out[patient][0], by_hand=hand, labels=answers)
    calibration = {
        patient: calibrate([held_out[p] for p in PATIENTS if p != patient], variants) for patient in PATIENTS
    }
    origin = {
        name: sorted(f"{p.parent.name}/{p.name}" for p in Gel.files_of(training_patients(without)))
        for name, without in networks().items()
    }
    text = json.dumps({**calibration, "trained_on": origin}, indent=1)
    (FOLD_MODELS / "gel_calibration.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(calibrate(list(held_out.values()), variants), indent=1))


def networks() -> dict[str, str | None]:
    """Return the networks to train and the patient each is trained without."""
    return {f"gel_without_{p}": p for p in PATIENTS} | {"gel": None}


if __name__ == "__main__":
    main()
