"""Accuracy of the detection of gadolinium-enhancing lesions (GEL): one command, prints its tables.

    python -m benchmarks.accuracy_gel [--quick] [--patients a,b] [--scenario NAME] [--no-pre] [--t2w-only]

No public scan here has rated GEL. Sensitivity comes from implants into pairs of T1w (nodules, rings, open
rings, also faint ones, each with a FLAIR and T2w lesion); false alarms come from the same pairs as they are,
in which no enhancing lesion is known. Three pairs were acquired before and after contrast; they are also
read after degrading: 3 mm slices, three levels of noise, a misregistered post-contrast scan of another gain
and bias. Five were not (`gel_cases.py`): raw scans with the skull on, in slices of 7 mm, with normal
enhancement drawn in. The generator of the implants is the benchmark's own: nothing in the package or in
training may import it.

The network that reads a patient was trained without it (`benchmarks/models/gel_fold_*.onnx`), and its
calibration was fitted to patients of the other folds. ``--methods`` also prints the network without the
weights set by hand, and these weights without a network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from benchmarks.gel_cases import Array, Case, Implant, load_cases
from mesems_mri.config import EnhancementRule
from mesems_mri.core.gel import detect as enhancement
from mesems_mri.core.gel.candidates import EnhancementImages, EnhancementThresholds
from mesems_mri.core.gel.detect import ScoredCandidates
from mesems_mri.models.gel import network_log_odds
from training.gel_scans import fold_of

SIZES_MM = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
CONTRASTS = (0.2, 0.4, 0.6, 0.8)
NOISE = {"weak noise": 0.025, "noise": 0.05, "strong noise": 0.08}
"""Share of NAWM, on T1w; T2-type images get twice as much."""
SCENARIOS = ("as acquired", "3 mm slices", *NOISE, "misregistered")
METHODS = ("both", "network", "hand weights")
SHIPPED = "both"
FOLD_MODELS = Path(__file__).parent / "models"
LARGE = ">= 70 mm3"
VOLUME_CLASSES = {"< 14 mm3": (0, 14), "14-70 mm3": (14, 70), LARGE: (70, np.inf)}
FALSE_A_SCAN = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
BINS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.001)
"""Bounds of the scores of the reliability table."""
PAIRS = {True: "with contrast medium", False: "without, normal enhancement drawn in"}


def implant_lesions(case: Case, rng: np.random.Generator, number: int = 22) -> Case:
    """Add enhancing lesions to a case, 14 mm apart, with their FLAIR, T2w and pre-contrast T1w lesion."""
    place = (case.priors["white_matter"] > 0.5) & case.brain_mask & (case.pre > 0.75) & (case.pre < 1.3)
    place &= ndimage.binary_erosion(case.brain_mask, iterations=4)
    # Near ventricles and cortex is where lesions are and where the look-alikes are.
    near = ndimage.distance_transform_edt(case.priors["lateral_ventricles"] < 0.4) < 8
    cortex = ndimage.distance_transform_edt(case.priors["cortex"] < 0.45) < 4
    weight = place * (0.15 + 1.0 * near + 0.6 * cortex)
    hyperintense = place & (ndimage.gaussian_filter(case.t2_images["FLAIR"], 0.7) > 1.35)
    weight += 4.0 * hyperintense
    candidates = np.argwhere(weight > 0)
    probability = weight[weight > 0] / weight[weight > 0].sum()
    centres: list[NDArray] = []
    for centre in candidates[rng.choice(len(candidates), 4000, p=probability)]:
        inside = all(14 <= x < n - 14 for x, n in zip(centre, case.post.shape, strict=True))
        if inside and all(np.linalg.norm(centre - other) > 22 for other in centres):
            centres.append(centre)
        if len(centres) == number:
            break
    post, pre = case.post.copy(), case.pre.copy()
    t2_images = {c: image.copy() for c, image in case.t2_images.items()}
    implants = []
    order = rng.permutation(len(SIZES_MM) * len(CONTRASTS))
    for i, centre in enumerate(centres):
        size_mm = SIZES_MM[order[i % len(order)] % len(SIZES_MM)]
        contrast = CONTRASTS[order[i % len(order)] // len(SIZES_MM)]
        shape = rng.choice(["nodule", "ring", "open ring"]) if size_mm >= 8 else "nodule"
        enhancing, whole, t2_lesion = _draw(shape, size_mm, rng)
        box = tuple(slice(x - 14, x + 15) for x in centre)
        # Enhancement is told from what is there: CSF and vessels next to it do not take part in it.
        tissue = case.brain_mask[box] & (case.pre[box] > 0.6)
        pre[box] -= rng.uniform(0.0, 0.2) * t2_lesion * tissue
        post[box] += (contrast * enhancing - rng.uniform(0.0, 0.2) * t2_lesion) * tissue
        t2_images["FLAIR"][box] += rng.uniform(0.15, 0.8) * t2_lesion * tissue
        t2_images["T2w"][box] += rng.uniform(0.3, 1.2) * t2_lesion * tissue
        truth = np.zeros(case.post.shape, bool)
        truth[box] = (whole > 0.5 * whole.max()) & tissue
        implants.append(Implant(str(shape), size_mm, contrast, truth))
    return Case(
        case.name,
        post,
        pre,
        t2_images,
        case.brain_mask,
        case.nawm,
        case.priors,
        case.slice_thickness_mm,
        implants,
    )


def _draw(shape: str, size_mm: float, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw enhancing part, its outline and the T2 lesion round it as partial volumes in a 29 mm box."""
    fine = 3
    axis = (np.arange(29 * fine) + 0.5) / fine - 14.5
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    local = np.tensordot(rotation, grid, axes=1)
    radii = rng.uniform(0.75, 1.3, 3)
    radii *= size_mm / 2 / np.cbrt(np.prod(radii))
    exponent = rng.uniform(1.7, 2.8)
    wobble = 1 + 0.12 * np.sin(rng.uniform(0.5, 1.2) * local[0] + 6 * rng.random()) * np.cos(0.8 * local[1])
    radius = (np.abs(local / radii[:, None, None, None]) ** exponent).sum(axis=0) ** (1 / exponent) * wobble
    whole = radius <= 1
    part = whole
    if shape != "nodule":
        thickness_mm = rng.uniform(1.5, 2.5)
        part = whole & (radius > 1 - thickness_mm / (size_mm / 2))
    if shape == "open ring":
        part &= np.arctan2(local[1], local[0]) < rng.uniform(0.9, 2.2)
        whole = part
    margin_mm = rng.uniform(-0.5, 2.5)
    t2_lesion = radius <= 1 + margin_mm / (size_mm / 2)

    def to_voxels(volume: NDArray[np.bool_]) -> Array:
        blurred = ndimage.gaussian_filter(volume.astype(np.float32), 0.45 * fine)
        return blurred.reshape(29, fine, 29, fine, 29, fine).mean(axis=(1, 3, 5))

    return to_voxels(part), to_voxels(whole), to_voxels(t2_lesion)


def degrade(case: Case, scenario: str, rng: np.random.Generator) -> Case:
    """Degrade a case the way trial scans differ from research scans."""
    images = {"post": case.post, "pre": case.pre, **case.t2_images}
    thickness = case.slice_thickness_mm
    if scenario == "3 mm slices":
        thickness = max(thickness, 3.0)
        for c in images:
            start = rng.uniform(0, 3)
            images[c] = _thick_slices(images[c], start)
    elif scenario in NOISE:
        for c, image in images.items():
            sigma = NOISE[scenario] * (1 if c in ("post", "pre") else 2)
            noise = rng.normal(0, sigma, (2, *image.shape))
            images[c] = np.hypot(image + noise[0], noise[1]).astype(np.float32)
    elif scenario == "misregistered":
        angle = np.deg2rad(0.4)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        centre = np.array(case.post.shape) / 2
        moved = ndimage.affine_transform(case.post, turn, centre - turn @ centre + [0.5, 0.3, -0.4], order=1)
        ramp = np.linspace(-0.12, 0.12, case.post.shape[1])[None, :, None]
        images["post"] = (1.3 * moved * (1 + ramp)).astype(np.float32)
    mask = case.brain_mask
    post, pre = images.pop("post"), images.pop("pre")
    images = {c: (image * mask).astype(np.float32) for c, image in images.items()}
    return Case(
        case.name, post * mask, pre * mask, images, mask, case.nawm, case.priors, thickness, case.implants
    )


def _thick_slices(image: Array, start: float) -> Array:
    profile = ndimage.gaussian_filter1d(image, 3.0 / 2.3548, axis=2)
    positions = np.arange(start, image.shape[2] - 1, 3.0)
    lower = positions.astype(int)
    weight = (positions - lower).astype(np.float32)
    slices = profile[..., lower] * (1 - weight) + profile[..., lower + 1] * weight
    at = np.clip((np.arange(image.shape[2]) - start) / 3.0, 0, len(positions) - 1)
    below = np.minimum(at.astype(int), len(positions) - 2)
    share = (at - below).astype(np.float32)
    return (slices[..., below] * (1 - share) + slices[..., below + 1] * share).astype(np.float32)


def score_methods(
    case: Case, methods: Sequence[str] = (SHIPPED,), *, with_pre: bool = True
) -> dict[str, ScoredCandidates]:
    """Run the package's detector on a case, up to the decision, with each method."""
    pre = case.pre if with_pre else None
    images = EnhancementImages(
        case.post, pre, case.t2_images, case.brain_mask, case.priors, (1.0, 1.0, 1.0), case.nawm
    )
    fold = fold_of(case.name)
    log_odds: dict[str, NDArray] = {}

    def by_network(patches: Array, by_hand: Array) -> Array:
        log_odds["network"] = network_log_odds(patches, FOLD_MODELS.resolve() / fold)
        log_odds["by_hand"] = by_hand
        return log_odds["network"]

    scored = enhancement.score_candidates(images, classify=by_network)
    calibration = json.loads((FOLD_MODELS / "gel_calibration.json").read_text())[fold]
    results = {}
    for method in methods:
        if method == "hand weights":
            results[method] = enhancement.score_candidates(images)
            continue
        weights = calibration[method]
        value = weights["offset"] + sum(weights[name] * numbers for name, numbers in log_odds.items())
        scores = iter(1 / (1 + np.exp(-np.atleast_1d(value))))
        revised = tuple((float(next(scores)) if old > 0 else 0.0, cause) for old, cause in scored.scores)
        results[method] = replace(scored, scores=revised)
    return results


def detect(case: Case, scored: ScoredCandidates, least: float) -> enhancement.Enhancement:
    """Decide about the candidates of a case."""
    return enhancement.accept_foci(
        scored, least, plane_normal=(0.0, 0.0, 1.0), slice_thickness_mm=case.slice_thickness_mm
    )


def score(case: Case, dseg: NDArray[np.int32]) -> tuple[list[bool], int]:
    """Implants found (>= 10 % covered by detections at most 70 % outside all truth) and false alarms."""
    every = np.zeros(dseg.shape, bool)
    for implant in case.implants:
        every |= implant.truth
    # Partial volume belongs to the implant: the truth is cut at half of it.
    near = ndimage.binary_dilation(every)
    sizes = np.bincount(dseg.ravel())
    inside = np.bincount(dseg[near], minlength=len(sizes))
    false_alarms = sum(1 for label in range(1, len(sizes)) if inside[label] == 0)
    usable = np.concatenate([[False], inside[1:] >= 0.3 * sizes[1:]])
    found = [bool(usable[dseg[i.truth]].sum() >= 0.1 * max(i.truth.sum(), 1)) for i in case.implants]
    return found, false_alarms


def focus_truth(case: Case, result: enhancement.Enhancement, least: float) -> list[tuple[float, bool]]:
    """Return the score of each focus that is counted or a candidate, and whether it is an implant."""
    every = np.zeros(result.dseg.shape, bool)
    for implant in case.implants:
        every |= implant.truth
    near = ndimage.binary_dilation(every)
    found = []
    for dseg, scores in (
        (result.dseg, result.scores),
        (result.candidates.dseg, result.candidates.scores),
    ):
        sizes = np.bincount(dseg.ravel(), minlength=len(scores) + 1)
        inside = np.bincount(dseg[near], minlength=len(sizes))
        found += [
            (score, bool(inside[number] >= 0.3 * sizes[number]))
            for number, score in enumerate(scores, start=1)
            if score >= least
        ]
    return found


def interval(hits: int, number: int) -> str:
    """Clopper-Pearson 95 % interval."""
    low = stats.beta.ppf(0.025, hits, number - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, number - hits) if hits < number else 1.0
    return f"{low:.2f}-{high:.2f}"


@dataclass
class Tally:
    """What one method found on one kind of pairs."""

    least: float
    cells: dict[tuple, list[bool]] = field(default_factory=lambda: defaultdict(list))
    shapes: dict[tuple, list[bool]] = field(default_factory=lambda: defaultdict(list))
    volumes: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    foci: list[tuple[float, bool]] = field(default_factory=list)
    scans: int = 0
    false_foci: int = 0
    false_candidates: int = 0
    candidates_found: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    false_plain: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    found_at: dict[float, dict[str, list[bool]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )


def operating_points() -> NDArray[np.float64]:
    """Return the scores at which a method is tried for the curve (FROC)."""
    return 1 / (1 + np.exp(-np.arange(-4.0, 4.01, 0.8)))


def at_each_point(case: Case, scored: ScoredCandidates) -> Iterator[tuple[float, enhancement.Enhancement]]:
    """Decide at every threshold of the curve; where the same candidates pass, only once."""
    passing, result = None, None
    for least in operating_points():
        now = [score >= least for score, _ in scored.scores]
        if result is None or now != passing:
            passing, result = now, detect(case, scored, least)
        yield least, result


def read_plain(case: Case, scored: ScoredCandidates, tally: Tally) -> int:
    """Count the false foci of a scan in which none is known, at the method's own threshold and at others."""
    for least, result in at_each_point(case, scored):
        tally.false_plain[least] += len(result.scores)
    result = detect(case, scored, tally.least)
    lower = EnhancementRule().candidate_score
    tally.foci += focus_truth(case, result, lower)
    tally.scans += 1
    tally.false_foci += len(result.scores)
    tally.false_candidates += len(result.candidates.at_least(lower))
    return len(result.scores)


def read_implanted(case: Case, scored: ScoredCandidates, tally: Tally, *, curve: bool) -> tuple[int, int]:
    """Count the implants found and the false foci beside them; ``curve``: at the other thresholds, too."""
    classes = [
        next(name for name, (low, high) in VOLUME_CLASSES.items() if low <= i.truth.sum() < high)
        for i in case.implants
    ]
    for least, result in at_each_point(case, scored) if curve else ():
        for name, hit in zip(classes, score(case, result.dseg)[0], strict=True):
            tally.found_at[least][name].append(hit)
    result = detect(case, scored, tally.least)
    lower = EnhancementRule().candidate_score
    tally.foci += focus_truth(case, result, lower)
    found, false_alarms = score(case, result.dseg)
    offered = score(case, result.candidates.at_least(lower).dseg)[0]
    for implant, name, hit, candidate in zip(case.implants, classes, found, offered, strict=True):
        tally.cells[implant.size_mm, implant.contrast].append(hit)
        tally.shapes[implant.shape, implant.size_mm].append(hit)
        tally.volumes[name].append(hit)
        tally.candidates_found[name].append(hit or candidate)
    return sum(found), false_alarms


def main() -> None:
    """Print sensitivity by size and contrast and false alarms per scan, of each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one draw of implants instead of three")
    parser.add_argument("--patients", help="only these, by commas")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS)
    parser.add_argument("--methods", default=SHIPPED, help=f"by commas, of {', '.join(METHODS)}")
    parser.add_argument("--no-pre", action="store_true", help="without the pre-contrast T1w")
    parser.add_argument("--t2w-only", action="store_true", help="without the FLAIR")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/gel/pairs"), help="folder of prepared pairs"
    )
    parser.add_argument("--json", type=Path, help="write the figures of the shipped method here as well")
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    by_hand, shipped = EnhancementThresholds().min_score, EnhancementRule().min_score
    tallies = {
        (m, enhanced): Tally(by_hand if m == "hand weights" else shipped)
        for m in methods
        for enhanced in PAIRS
    }
    with_pre = not arguments.no_pre
    print("implants found, false foci (as is / implanted), by method\n")
    print(
        f"{'case':16s} {'scenario':15s} {'implants':>8s}"
        + "".join(f"  {m:>18s}" for m in methods)
        + "  cpu_s"
    )
    for case in load_cases(arguments.cache):
        if arguments.patients and case.name not in arguments.patients.split(","):
            continue
        chosen = arguments.scenario or SCENARIOS
        for scenario in chosen if case.enhanced else chosen[:1]:
            plain = degrade(case, scenario, np.random.default_rng(1))
            known = [c for c in plain.t2_images if c != "FLAIR" or not arguments.t2w_only]
            plain.t2_images = {c: plain.t2_images[c] for c in known}
            began = time.process_time()
            scored = score_methods(plain, methods, with_pre=with_pre)
            cpu_s = time.process_time() - began
            own = {m: tallies[m, case.enhanced] for m in methods}
            false_plain = {m: read_plain(plain, scored[m], own[m]) for m in methods}
            hits: dict[str, int] = dict.fromkeys(methods, 0)
            false_implanted = hits.copy()
            total = 0
            for seed in range(1 if arguments.quick else 3):
                rng = np.random.default_rng([seed, sum(map(ord, case.name + scenario))])
                # The implants are placed by the FLAIR; it is taken away after that.
                spiked = degrade(implant_lesions(case, rng), scenario, rng)
                spiked.t2_images = {c: spiked.t2_images[c] for c in known}
                total += len(spiked.implants)
                for method, candidates in score_methods(spiked, methods, with_pre=with_pre).items():
                    found, false_alarms = read_implanted(spiked, candidates, own[method], curve=seed == 0)
                    hits[method] += found
                    false_implanted[method] += false_alarms
            cells = [f"{hits[m]:3d}, {false_plain[m]:2d} / {false_implanted[m]:2d}" for m in methods]
            print(
                f"{case.name:16s} {scenario:15s} {total:8d}"
                + "".join(f"  {cell:>18s}" for cell in cells)
                + f"  {cpu_s:5.1f}",
                flush=True,
            )
    for (method, enhanced), tally in tallies.items():
        if tally.scans:
            print_tally(f"{method}, pairs {PAIRS[enhanced]}", tally)
    if arguments.json:
        write_figures(arguments.json, tallies, methods)


def write_figures(path: Path, tallies: dict[tuple[str, bool], Tally], methods: Sequence[str]) -> None:
    """Write the figures of the pairs with contrast medium, and the false foci of those without."""
    best, without = tallies[SHIPPED, True], tallies[SHIPPED, False]
    found = {name: [sum(hits), len(hits)] for name, hits in best.volumes.items()}
    curves = {
        f"enhancing, {LARGE}, {method}": [
            (
                tallies[method, True].false_plain[least] / max(best.scans, 1),
                float(np.mean(tallies[method, True].found_at[least][LARGE])),
            )
            for least in operating_points()
        ]
        for method in methods
    }
    figures = {"implants": found, "false": best.false_foci, "scans": best.scans, "curves": curves}
    figures |= {"false_without": without.false_foci, "scans_without": without.scans}
    path.write_text(json.dumps(figures), encoding="utf-8")


def print_tally(title: str, tally: Tally) -> None:
    """Print the tables of one method on one kind of pairs."""
    scans = tally.scans
    print(f"\n== {title}; counted from a score of {tally.least:.2f}")
    print("\nsensitivity by size and contrast (share of white matter), 95 % interval")
    print("size_mm  " + "  ".join(f"{contrast:>20.0%}" for contrast in CONTRASTS))
    for size_mm in SIZES_MM:
        row = [share(tally.cells[size_mm, contrast]) for contrast in CONTRASTS]
        print(f"{size_mm:7.0f}  " + "  ".join(f"{text:>20s}" for text in row))
    print("\nsensitivity by shape")
    for key in sorted(tally.shapes):
        print(f"{key[0]:10s} {key[1]:4.0f} mm  {share(tally.shapes[key])}")
    print("\nsensitivity by volume of the implant: counted, and counted or a candidate")
    for name in VOLUME_CLASSES:
        print(f"{name:10s} {share(tally.volumes[name])}   {share(tally.candidates_found[name])}")
    print(
        f"\nin {scans} scans without GEL: {tally.false_foci} false foci, {tally.false_candidates} candidates"
    )
    print("\nreliability: foci and candidates of all scans by their score, share that is an implant")
    for low, high in pairwise(BINS):
        true = [is_true for value, is_true in tally.foci if low <= value < high]
        mean = np.mean([value for value, _ in tally.foci if low <= value < high]) if true else np.nan
        print(f"{low:.2f}-{min(high, 1):.2f}  mean score {mean:4.2f}  {share(true)}")
    print("\nsensitivity against false foci a scan (FROC), at the lowest score that keeps to each")
    print("false/scan  measured  score " + "".join(f"{name:>12s}" for name in VOLUME_CLASSES))
    for limit in FALSE_A_SCAN:
        allowed = [x for x in operating_points() if tally.false_plain[x] <= limit * scans]
        if not allowed:
            continue
        found = tally.found_at[allowed[0]]
        row = "".join(f"{np.mean(found[name]) if found[name] else np.nan:12.2f}" for name in VOLUME_CLASSES)
        print(f"{limit:10.2f}  {tally.false_plain[allowed[0]] / scans:8.2f}  {allowed[0]:5.3f} {row}")


def share(hits: list[bool]) -> str:
    """Write how many were found, with the interval."""
    return (
        f"{sum(hits):3d}/{len(hits):<3d} {np.mean(hits):.2f} ({interval(sum(hits), len(hits))})"
        if hits
        else "-"
    )


if __name__ == "__main__":
    main()
