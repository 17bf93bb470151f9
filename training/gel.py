"""Train the classifier of candidates for enhancing lesions: three folds, and the shipped model.

    python -m training.gel --start DIR [--work DIR] [--variants N] [--steps N] [--only NAME]

1. Each pair of T1w (`gel_scans.py`) is drawn on (`gel_lesions.py`, `gel_lookalikes.py`) and degraded at
   random, many times; the package's own candidates are cut out as patches (`DIR/patches/PATIENT`).
2. The networks of the version before, which had seen fewer pairs, are trained further: one without the
   patients of each fold (``gel_fold_<name>``, to ``benchmarks/models``),
   and one with all (``gel``, to ``mesems_mri/models``).
3. The held-out patients of the folds calibrate the score; the numbers are printed and stand in
   ``mesems_mri/models/gel.py``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

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
    gather_maps,
)
from mesems_mri.core.gel.find import find_candidates
from mesems_mri.models.gel import network_log_odds
from training import gel_lesions
from training.export import MODELS, export, read_exported
from training.fit import fit
from training.gel_lookalikes import draw_normal_enhancement
from training.gel_scans import (
    ENHANCED,
    PATIENTS,
    READ_TWICE,
    SCANNED_TWICE,
    fold_of,
    load_pair,
    networks,
    patient_files,
    training_patients,
)
from training.logistic import fit_logistic
from training.networks import PatchClassifier

FOLD_MODELS = Path(__file__).resolve().parents[1] / "benchmarks" / "models"
STORED_SIDE = 26
"""Patches are stored with a margin, to be cut out off centre."""
NEGATIVES_A_SCAN = 160
WIDTHS = (24, 32, 48)
BATCH = 32
RATE = 7e-4
TRUE_A_SCAN = 16.0
"""Candidates in a scan that are GEL, or parts of one, as the calibration assumes; drawn scans hold more."""
_LOW, _SPAN = -1.5, 3.0
_RIDGE = 1e-3


def prepare(patients: Sequence[str], work: Path, variants: int) -> None:
    """Write the patches of patients: one file a variant, what is there already is kept.

    Patients take turns, so that a preparation cut short holds about as much of each.
    """
    pairs: dict[str, tuple[gel_lesions.Pair, NDArray[np.float32]]] = {}
    for variant in range(variants):
        for patient in patients:
            path = work / "patches" / patient / f"{variant:03d}.npz"
            if path.is_file() or (patient not in ENHANCED and variant >= variants // 2):
                continue
            if patient not in pairs:
                pair = load_pair(patient, work / "pairs")
                pairs[patient] = pair, gel_lesions.place_odds(pair)
            drawn = draw_variant(*pairs[patient], np.random.default_rng([variant, PATIENTS.index(patient)]))
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".tmp.npz")
            np.savez(beside, **drawn._asdict())
            beside.rename(path)


class Patches(NamedTuple):
    """Candidates of one drawn scan.

    Attributes
    ----------
    patches : ndarray of uint8, shape (n, channels, side, side, side)
        Scaled by `encode`.
    labels : ndarray of float32, shape (n,)
        1 for a GEL, 0 for what is none.
    by_hand : ndarray of float32, shape (n,)
        Log odds by the weights set by hand.
    weight : ndarray of float32, shape (n,)
        How many candidates each stands for: of those that are none, only some are kept.
    scan : ndarray of int32, shape (n,)
        Number of the drawn scan.
    """

    patches: NDArray[np.uint8]
    labels: NDArray[np.float32]
    by_hand: NDArray[np.float32]
    weight: NDArray[np.float32]
    scan: NDArray[np.int32]


def draw_variant(pair: gel_lesions.Pair, odds: NDArray[np.float32], rng: np.random.Generator) -> Patches:
    """Draw lesions, degrade, propose candidates as the package does and cut them out."""
    original = pair
    doubtful = _doubtful(pair)
    plain = bool(rng.random() < 0.2)
    truth = np.zeros(pair.post.shape, np.int32)
    if pair.name in READ_TWICE or rng.random() < 0.15:
        pair = draw_normal_enhancement(rng, pair)
    number, silent, vessels = (int(rng.integers(*span)) for span in ((40, 90), (5, 40), (0, 25)))
    pair, truth = gel_lesions.add_lesions(
        rng, pair, odds, number=0 if plain else number, silent=silent, vessels=vessels
    )
    pair = gel_lesions.as_acquired(pair, original, rng)
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
    scores = [enhancement.score_by_hand(c, maps, limits, factor, faint=True) for c in candidates]
    candidates, scores = enhancement.keep_likeliest(candidates, scores, limits.max_candidates)
    near = ndimage.binary_dilation(truth > 0)
    sizes = np.bincount(truth.ravel())
    kept, labels, by_hand = [], [], []
    for candidate, (score, _) in zip(candidates, scores, strict=True):
        inside = float(near[candidate.around][candidate.inside].mean())
        covered = np.bincount(truth[candidate.around][candidate.inside], minlength=len(sizes))[1:]
        is_lesion = inside >= 0.4 and bool((covered >= 0.1 * np.maximum(sizes[1:], 1)).any())
        unsure = inside > 0.05 or doubtful[candidate.around][candidate.inside].mean() > 0.2
        if not is_lesion and unsure:
            continue
        kept.append(candidate)
        labels.append(is_lesion)
        by_hand.append(np.log(score / max(1 - score, 1e-6)))
    answers = np.array(labels, np.float32)
    every = np.flatnonzero(answers == 0)
    none = rng.permutation(every)[:NEGATIVES_A_SCAN]
    chosen = np.sort(np.r_[np.flatnonzero(answers == 1), none]).astype(int)
    patches = encode(cut_patches(maps, [kept[i] for i in chosen], STORED_SIDE))
    weight = np.where(answers[chosen] == 1, 1.0, len(every) / max(len(none), 1)).astype(np.float32)
    hand = np.clip(np.array(by_hand, np.float32)[chosen], -14, 14)
    return Patches(patches, answers[chosen], hand, weight, np.zeros(len(chosen), np.int32))


def _doubtful(pair: gel_lesions.Pair) -> NDArray[np.bool_]:
    """Return what may be an enhancing lesion of the patient: brighter in matter, at the later visit of two.

    Nobody has rated these scans, and whether the later visit had contrast medium is not recorded.
    """
    if pair.name not in SCANNED_TWICE:
        return np.zeros(pair.post.shape, bool)
    matter = pair.priors["white_matter"] + pair.priors["deep_grey"] + pair.priors["cortex"]
    return (ndimage.gaussian_filter(pair.post - pair.pre, 1.0) > 0.1) & (matter > 0.6)


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
        self.at = {
            p: [np.flatnonzero(stored.labels == label) for label in (0, 1)]
            for p, stored in self.stored.items()
        }

    def network(self) -> nn.Module:
        """Build the network."""
        return PatchClassifier(len(CHANNELS), WIDTHS, first_stride=2, batch_norm=False)

    def files(self) -> Iterable[Path]:
        """List every file the task trains on."""
        return patient_files(self.patients)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draw a batch: half GEL, half not; half of the pairs are of patients with contrast medium."""
        patches = np.empty((BATCH, len(CHANNELS), *(PATCH_SIDE,) * 3), np.float32)
        target = np.arange(BATCH) % 2
        enhanced = [p for p in self.patients if p in ENHANCED]
        others = [p for p in self.patients if p not in ENHANCED]
        for i in range(BATCH):
            among = [p for p in (enhanced if i < BATCH // 2 else others) if len(self.at[p][target[i]])]
            patient = among[int(rng.integers(len(among)))]
            at = rng.choice(self.at[patient][target[i]])
            patches[i] = vary(rng, self.stored[patient].patches[at])
        return patches, target.astype(np.float32)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy, with a little doubt about each label."""
        return nn.functional.binary_cross_entropy_with_logits(output, 0.02 + 0.96 * target)


def load_patches(folder: Path) -> Patches:
    """Read what `prepare` wrote for a patient."""
    parts = []
    for number, path in enumerate(sorted(folder.glob("[0-9][0-9][0-9].npz"))):
        with np.load(path) as archive:
            parts.append({name: archive[name] for name in Patches._fields})
        parts[-1]["scan"] = parts[-1]["scan"] + number
    return Patches(*(np.concatenate([part[name] for part in parts]) for name in Patches._fields))


def vary(rng: np.random.Generator, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Cut a patch out off centre, turn and mirror it, and change contrast, noise and what is known."""
    room = STORED_SIDE - PATCH_SIDE
    low = np.clip(np.rint(rng.normal(room / 2, 0.8, 3)).astype(int), 0, room)
    patch = decode(stored[(slice(None), *(slice(a, a + PATCH_SIDE) for a in low))])
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
        patch[
            at[str(rng.choice(["csf", "depth", "ventricle", "plexus", "cortex", "support_z", "anatomy"]))]
        ] = 0
    return patch


def score_stored(network: str | Path, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Log odds of stored patches by an exported network (its file without ``.onnx``)."""
    cut = (STORED_SIDE - PATCH_SIDE) // 2
    middle = (slice(None), slice(None), *(slice(cut, cut + PATCH_SIDE),) * 3)
    parts = [network_log_odds(decode(stored[i : i + 64][middle]), network) for i in range(0, len(stored), 64)]
    return np.concatenate(parts)


class HeldOut(NamedTuple):
    """Log odds of candidates of held-out patients, and what they are; arrays of shape (n,)."""

    network: NDArray[np.float32]
    by_hand: NDArray[np.float32]
    labels: NDArray[np.float32]
    weight: NDArray[np.float32]


def calibrate(held_out: Sequence[HeldOut]) -> dict[str, dict[str, float]]:
    """Fit weights of the log odds and an offset to the labels (Platt 1999).

    Parameters
    ----------
    held_out : sequence of HeldOut
        Of each patient, by a network trained without it; its weights make `TRUE_A_SCAN` GEL a scan.

    Returns
    -------
    dict
        For the network alone and for both together.
    """
    network, by_hand, labels, weight = (np.concatenate(part) for part in zip(*held_out, strict=True))
    fitted = {}
    for method, use_hand in (("network", 0.0), ("both", 1.0)):
        inputs = np.c_[network, use_hand * by_hand].astype(np.float64)
        beta = fit_logistic(inputs, labels.astype(np.float64), weight.astype(np.float64), _RIDGE)
        fitted[method] = dict(zip(("network", "by_hand", "offset"), np.round(beta, 4).tolist(), strict=True))
    return fitted


def read_held_out(work: Path, patient: str) -> HeldOut:
    """Score the patches of a patient by the network that was trained without it."""
    network = FOLD_MODELS / fold_of(patient)
    stored = load_patches(work / "patches" / patient)
    scans = int(stored.scan.max()) + 1
    weight = stored.weight.copy()
    weight[stored.labels == 1] *= TRUE_A_SCAN * scans / max(float(stored.labels.sum()), 1.0)
    # Of each patient as many scans as of the others.
    return HeldOut(score_stored(network, stored.patches), stored.by_hand, stored.labels, weight / scans)


def write_calibration(work: Path) -> None:
    """Write how the held-out log odds of each fold are calibrated by the others, and what was trained on.

    Printed are the numbers of the shipped model, from the held-out patients of all folds.
    """
    measured = [patient for patient in PATIENTS if patient not in SCANNED_TWICE]
    held_out = {patient: read_held_out(work, patient) for patient in measured}
    calibration = {
        name: calibrate([held_out[p] for p in measured if p not in left_out])
        for name, left_out in networks().items()
    }
    origin = {
        name: [f"{p.parent.name}/{p.name}" for p in patient_files(training_patients(name))]
        for name in networks()
    }
    text = json.dumps({**calibration, "trained_on": origin}, indent=1)
    (FOLD_MODELS / "gel_calibration.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(calibration["gel"], indent=1))


def main() -> None:
    """Prepare, train, export and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/gel"))
    parser.add_argument(
        "--variants",
        type=int,
        default=16,
        help="drawn and degraded scans of each patient; half without contrast",
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--start", type=Path, help="folder of the networks to go on from, NETWORK.onnx")
    parser.add_argument("--patients", nargs="+", choices=PATIENTS, help="prepare only these")
    parser.add_argument("--only", nargs="+", help="prepare, names of networks to train, calibrate")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.only or "prepare" in options.only:
        prepare(options.patients or PATIENTS, options.work, options.variants)
    for name in networks():
        if not options.only or name in options.only:
            task = Gel(training_patients(name), options.work / "patches", name)
            start = options.work / f"{name}_start.pt"
            torch.save(read_exported(options.start / f"{name}.onnx", len(CHANNELS)), start)
            network = fit(task, options.work / name, steps=options.steps, rate=RATE, workers=0, start=start)
            folder = MODELS if name == "gel" else FOLD_MODELS
            folder.mkdir(exist_ok=True)
            example = torch.from_numpy(task.draw(np.random.default_rng(0))[0])
            export(network, folder / f"{name}.onnx", (example,))
    if not options.only or "calibrate" in options.only:
        write_calibration(options.work)


if __name__ == "__main__":
    main()
