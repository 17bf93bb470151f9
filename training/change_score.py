"""Fit the score of T2 change, and print how well it holds on patients that were left out.

    python -m training.change_score REAL/out REAL/truth [--work DIR] [--networks DIR] [--draws N]

1. The real pairs (patients 01 and 12 of ``open_ms``, arranged by `tests.real.arrange` and run) and pairs
   drawn from rated scans (`training.change_pairs`), read by a network that has not seen the patient.
2. The candidates of `core.t2.change` in them are described as there, and called true when at least 30 % lies
   in the reference standard (MSSEG-2).
3. Logistic regression with a ridge. Printed are the foci found in each patient by weights fitted to the
   others, and beside them those by the weights of `core.t2.change_score`, which were set by hand; then the
   weights fitted to all.

Needs no torch.
"""

from __future__ import annotations

import argparse
import itertools
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mesems_mri.config import QualityRule
from mesems_mri.core.components import label_components
from mesems_mri.core.t2.change import find_candidates
from mesems_mri.core.t2.change_score import FEATURES, score_foci
from mesems_mri.core.t2.growth import ChangeThresholds
from mesems_mri.core.t2.scan import VisitPair
from mesems_mri.core.t2.tissue import describe_tissue
from mesems_mri.dataset.bids import Contrast
from mesems_mri.dataset.layout import Layout
from mesems_mri.errors import Reason
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.models.t2 import lesion_probability
from mesems_mri.pipeline.detectors import t2_probability, visit_pair
from mesems_mri.pipeline.evaluability import choose_reference
from mesems_mri.pipeline.scene import open_reference, open_scene
from mesems_mri.pipeline.visit import VisitFiles
from training.change_pairs import draw_pair
from training.logistic import fit_logistic
from training.t2_scans import fold_of, load_scan, read_shapes

DRAWN = ("patient07", "patient26", "P18", "P39")
"""Patients of 1 mm scans with a T1w, from which pairs are drawn."""
_TRUE_INSIDE = 0.3
_FOUND_INSIDE = 0.1
_LARGE_MM3 = 70.0
_RIDGE = 2.0
_DRAWN_WEIGHT = 0.5
"""Weight of a patient with drawn lesions; a real one has 1."""
_FOCI = 40.0
_LEARNED = {
    "rise": (0.0, 8.0),
    "peak": (0.0, 15.0),
    "support": (-2.0, 6.0),
    "supported": (0.0, 1.0),
    "excess": (-2.0, 6.0),
    "surround": (0.0, 1.0),
    "size": (2.6, 8.0),
    "thickness": (3.0, 5.0),
    "network": (-4.0, 4.0),
    "network_rise": (-8.0, 8.0),
    "networked": (0.0, 1.0),
}
"""Features that are learned from, and their limits."""
_NETWORK = ("network", "network_rise", "networked")
_VIEWS: dict[tuple[str, ...], float] = {(): 0.6, _NETWORK: 0.2, ("support", "supported"): 0.2}
"""What a focus is shown without, and how much that counts."""


@dataclass(frozen=True, eq=False)
class JudgedPair:
    """Candidates in a pair, and the reference standard.

    Attributes
    ----------
    patient : str
    features : ndarray of float64, shape (n, len(FEATURES))
        Of each focus.
    is_true, known, by_network : ndarray of bool, shape (n,)
        Whether a focus is a change, whether the reference standard decides about it, and whether it was
        shown by the network alone.
    shows : ndarray of bool, shape (n, m)
        Whether a focus lies on one of the m changes of the reference standard.
    volume_mm3 : ndarray of float64, shape (m,)
        Of these.
    """

    patient: str
    features: NDArray[np.float64]
    is_true: NDArray[np.bool_]
    known: NDArray[np.bool_]
    by_network: NDArray[np.bool_]
    shows: NDArray[np.bool_]
    volume_mm3: NDArray[np.float64]


def judge_pair(
    patient: str, pair: VisitPair, truth: NDArray[np.bool_], ignored: NDArray[np.bool_]
) -> JudgedPair:
    """Find the candidates of a pair as the package does, and compare them with the reference standard."""
    tissue = describe_tissue(pair.current, pair.anatomy)
    assert tissue is not None
    found = find_candidates(pair.crop(tissue.box), tissue, ChangeThresholds())
    truth, ignored = truth[tissue.box], ignored[tissue.box]
    changes, m = label_components(truth)
    parts = defaultdict(list)
    for foci in (found.new, found.enlarging):
        labels = np.arange(1, foci.max(initial=0) + 1)
        inside = np.asarray(ndimage.mean(truth, foci, labels)).reshape(-1)
        aside = np.asarray(ndimage.mean(ignored, foci, labels)).reshape(-1)
        parts["features"].append(found.features(foci)[1:])
        parts["is_true"].append(inside >= _TRUE_INSIDE)
        parts["known"].append((inside >= _TRUE_INSIDE) | (aside <= 0.5))
        parts["by_network"].append(
            np.asarray(ndimage.maximum(found.growth.by_network, foci, labels)).reshape(-1) > 0
        )
        shared = np.zeros((len(labels), m), bool)
        for change in range(1, m + 1):
            own = changes == change
            over = np.bincount(foci[own], minlength=len(labels) + 1)[1:]
            shared[:, change - 1] = over >= _FOUND_INSIDE * own.sum()
        parts["shows"].append(shared)
    volume_mm3 = np.bincount(changes.ravel(), minlength=m + 1)[1:] * float(np.prod(pair.anatomy.spacing_mm))
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    return JudgedPair(patient=patient, volume_mm3=volume_mm3.astype(float), **joined)


def real_pairs(out_dir: Path, truth_dir: Path, network: Path) -> list[JudgedPair]:
    """Read the pairs of a run whose change is known; the network has seen none of these patients."""
    judged = []
    for record in sorted(out_dir.glob(".mesems/sub-*/ses-2/detect.json")):
        participant = record.parts[-3]
        visit = VisitFiles(
            bids_dir=Path(), layout=Layout(out_dir), participant_id=participant, session_id="ses-2"
        )
        registered, detected = visit.register_record().registered, visit.detect_record()
        if registered is None or detected.detected is None or not detected.history:
            continue
        scene = open_scene(visit, registered)
        earlier = detected.history[0]
        choice = choose_reference(registered.images, detected.history[:1], QualityRule())
        assert not isinstance(choice, Reason)
        contrasts = choice.contrasts[:2]
        own: tuple[Contrast, ...] = ("T1w",) if "T1w" in earlier.images else ()
        reference = open_reference(visit, earlier, (*contrasts, *own), scene)
        probability = t2_probability(scene, network), t2_probability(reference, network)
        lesions = []
        for arrays in (detected.detected.arrays, earlier.arrays):
            with np.load(visit.resolve(arrays)) as archive:
                lesions.append(archive["t2"] > 0)
        pair = visit_pair(scene, reference, contrasts, lesions[0], lesions[1], probability)
        to_image = np.asarray(registered.evaluable["FLAIR"].subject_to_image)
        anat = truth_dir / participant / "ses-2" / "anat"
        masks = []
        for desc in ("change", "ignore"):
            mask, affine = nifti.read_labels(
                anat / f"{participant}_ses-2_space-orig_label-L_desc-{desc}_mask.nii.gz"
            )
            masks.append(resample_labels(mask, affine, SUBJECT_GRID, to_image)[scene.box] > 0)
        judged.append(judge_pair(participant, pair, masks[0], masks[1]))
    return judged


def drawn_pair(patient: str, draw: int, scans: Path, networks: Path) -> JudgedPair:
    """Draw a pair from a scan of a patient and judge it."""
    rng = np.random.default_rng([zlib.crc32(patient.encode()), draw])
    drawn = draw_pair(rng, load_scan(patient, scans), read_shapes())
    anatomy = drawn.pair.anatomy
    network = networks / fold_of(patient)
    now, then = (lesion_probability(i, anatomy.priors, anatomy.brain_mask, network) for i in drawn.images)
    return judge_pair(patient, drawn.with_probability(now, then), drawn.truth, drawn.ignored)


def cached(path: Path) -> JudgedPair | None:
    """Read a judged pair, if it is there."""
    if not path.is_file():
        return None
    with np.load(path) as archive:
        fields = {name: archive[name] for name in archive.files}
    return JudgedPair(patient=path.stem.split("_")[0], **fields)


def store(path: Path, pair: JudgedPair) -> JudgedPair:
    """Write a judged pair."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {name: getattr(pair, name) for name in JudgedPair.__dataclass_fields__ if name != "patient"}
    np.savez(path, **fields)
    return pair


def fit_score(pairs: list[JudgedPair]) -> NDArray[np.float64]:
    """Fit weights and, last, the offset of the log odds; every real patient has one weight.

    Each focus is shown with everything that was measured of it, without the network and without the second
    contrast: a run may lack either.
    """
    inputs, target, owner, share = [], [], [], []
    for pair in pairs:
        used = pair.known & ~pair.by_network
        for without, own in _VIEWS.items():
            shown = design(pair.features[used]) * [name not in without for name in _LEARNED]
            inputs.append(shown)
            target.append(pair.is_true[used])
            owner.append(np.full(len(shown), pair.patient))
            share.append(np.full(len(shown), own))
    x, y = np.concatenate(inputs), np.concatenate(target).astype(float)
    patients, weight = np.concatenate(owner), np.concatenate(share)
    for patient in np.unique(patients):
        own = patients == patient
        most = 1.0 if patient.startswith("sub-") else _DRAWN_WEIGHT
        weight[own] *= most * _FOCI / weight[own].sum()
    return fit_logistic(x, y, weight, _RIDGE)


def design(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose and clip the features that are learned from."""
    chosen = features[:, [FEATURES.index(name) for name in _LEARNED]]
    return np.clip(chosen, *np.transpose(list(_LEARNED.values())))


def score(pair: JudgedPair, beta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score every focus of a pair."""
    return 1.0 / (1.0 + np.exp(-(design(pair.features) @ beta[:-1] + beta[-1])))


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_out", type=Path)
    parser.add_argument("real_truth", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/t2"))
    parser.add_argument("--networks", type=Path, default=Path("benchmarks/models"))
    parser.add_argument("--draws", type=int, default=3, help="pairs drawn from each scan")
    options = parser.parse_args()
    cache = options.work / "change"
    ready = [p for p in DRAWN if (options.networks / f"{fold_of(p)}.onnx").is_file()]
    if left_out := sorted(set(DRAWN) - set(ready)):
        print(f"not drawn from, their networks are missing in {options.networks}: {', '.join(left_out)}")
    pairs = [
        cached(path) or store(path, drawn_pair(patient, draw, options.work / "scans", options.networks))
        for patient in ready
        for draw in range(options.draws)
        for path in [cache / f"{patient}_{draw}.npz"]
    ]
    real = [pair for path in sorted(cache.glob("sub-*.npz")) if (pair := cached(path))]
    if not real:
        network = options.networks / "t2_fold_a"
        real = [
            store(cache / f"{p.patient}.npz", p)
            for p in real_pairs(options.real_out, options.real_truth, network)
        ]
    pairs += real
    print("weights fitted to the other patients")
    _print_held_out(pairs, lambda pair, others: score(pair, fit_score(others)))
    print("\nweights set by hand")
    _print_held_out(pairs, lambda pair, _: score_by_hand(pair))
    alone = np.concatenate([pair.is_true[pair.by_network & pair.known] for pair in pairs])
    print(f"\nshown by the network alone: {len(alone)}, of them true {int(alone.sum())}")
    weights = dict(zip([*_LEARNED, "offset"], np.round(fit_score(pairs), 3).tolist(), strict=True))
    print(f"fitted to all: {weights}")


def score_by_hand(pair: JudgedPair) -> NDArray[np.float64]:
    """Score every focus of a pair as the package does."""
    background = np.zeros((1, len(FEATURES)))
    return score_foci(np.vstack([background, pair.features]), ChangeThresholds())[1:]


def _print_held_out(
    pairs: list[JudgedPair], judge: Callable[[JudgedPair, list[JudgedPair]], NDArray[np.float64]]
) -> None:
    print("| held out | found | of 70 mm3 and more | true | F1 |\n|---|---|---|---|---|")
    scores, answers, real = [], [], []
    rows: dict[str, list[int]] = {}
    for pair in pairs:
        certainty = judge(pair, [other for other in pairs if other.patient != pair.patient])
        kept = (certainty >= 0.5) & ~pair.by_network
        seen = np.asarray(pair.shows[kept].any(axis=0))
        big = pair.volume_mm3 >= _LARGE_MM3
        counts = (seen, np.ones(len(seen)), seen & big, big, pair.is_true & kept, kept & pair.known)
        for name in (pair.patient, "all real" if pair.patient.startswith("sub-") else "all drawn"):
            before = rows.get(name, [0] * len(counts))
            rows[name] = [total + int(np.sum(own)) for total, own in zip(before, counts, strict=True)]
        asked = pair.known & ~pair.by_network
        scores.append(certainty[asked])
        answers.append(pair.is_true[asked])
        real.append(np.full(asked.sum(), pair.patient.startswith("sub-")))
    for name, (found, changes, large_found, large, true, drawn) in sorted(rows.items()):
        sensitivity, precision = found / max(changes, 1), true / max(drawn, 1)
        f1 = 2 * sensitivity * precision / max(sensitivity + precision, 1e-9)
        print(f"| {name} | {found}/{changes} | {large_found}/{large} | {true}/{drawn} | {f1:.2f} |")
    chosen = np.concatenate(real)
    for name, own in (("real", chosen), ("all", np.ones(len(chosen), bool))):
        print(f"\nscores of {name} pairs")
        _print_reliability(np.concatenate(scores)[own], np.concatenate(answers)[own])


def _print_reliability(scores: NDArray[np.float64], answers: NDArray[np.bool_]) -> None:
    print("| score | candidates | mean score | true |\n|---|---|---|---|")
    for low, high in itertools.pairwise([0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0001]):
        own = (scores >= low) & (scores < high)
        if own.any():
            means = f"{scores[own].mean():.2f} | {answers[own].mean():.2f}"
            print(f"| {low:.2f} to {high:.2f} | {own.sum()} | {means} |")


if __name__ == "__main__":
    main()
