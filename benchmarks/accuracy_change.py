"""New and enlarging T2 lesions beside two plain methods with the same registration and masks; prints a table.

    python -m benchmarks.accuracy_change REAL/out REAL/truth STABLE/bids STABLE/out

``REAL`` is made by `tests.real.arrange`, ``STABLE`` by `tests.real.stable`; both have been run.

- *subtraction*: both visits brought to one slice profile, bias field and scale, subtracted, divided by the
  noise of the difference in NAWM; foci above a threshold that are brighter than NAWM now.
- *two segmentations*: T2 lesions of this visit, segmented by brightness on its own, that touch none of the
  reference visit.
- *gradient boosting*: a classifier of voxels (histogram gradient boosting) on local features of both visits,
  trained on the truth of the real patients other than the one it reads.
- *mesems-mri*: what the run wrote.

The plain methods are printed at every threshold, and as ``other patient`` at the one that is best (F1) on the
other real patient; for gradient boosting that is one half of the other patient's brain read by a classifier
trained on the other half. Lesions are matched by the rule of MSSEG-2 on the images that were sent
(`core.agreement`); false foci and implants of the stable pairs as in `benchmarks.stable_pairs`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.stable_pairs import implants_hit, scan_to_subject
from mesems_mri.core.agreement import compare_masks
from mesems_mri.core.components import label_components, label_foci
from mesems_mri.core.intensity import find_nawm, robust_noise
from mesems_mri.core.matching import differential_bias, match_intensity, match_resolution
from mesems_mri.core.t2.brightness import LesionThresholds, segment_by_brightness
from mesems_mri.core.t2.scan import Anatomy, T2Scan
from mesems_mri.core.tally import Tally
from mesems_mri.core.typing import Mask
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.registered_image import RegisteredImage
from mesems_mri.images import nifti
from mesems_mri.images.resampling import resample_labels
from mesems_mri.images.volume import SUBJECT_GRID
from mesems_mri.pipeline.masks import grid_of
from mesems_mri.pipeline.tissue import load_tissue
from mesems_mri.pipeline.visit import VisitFiles

SUBTRACTION_Z = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
SEGMENTATION_Z = (2.5, 3.0, 3.5, 4.0)
BOOSTING_P = (0.1, 0.3, 0.5, 0.7, 0.9)
NEGATIVES = 30
"""Voxels without change for each with, in the training of gradient boosting."""
BRIGHT_SIGMA = 1.5
_ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The FLAIR of one visit in subject space, cropped to the brain, with what is known of it."""

    image: NDArray[np.float32]
    brain_mask: Mask
    nawm: Mask
    entry: RegisteredImage
    priors: dict[str, NDArray[np.float32]]
    box: tuple[slice, ...]

    @property
    def thickness_mm(self) -> float:
        """Slice thickness."""
        return self.entry.slice_thickness_mm


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A visit and its reference visit, and the change that the run found."""

    participant: str
    session: str
    now: Scan
    then: Scan
    found: Mask

    @property
    def brain(self) -> Mask:
        """Brain covered by both visits."""
        return self.now.brain_mask & self.then.brain_mask

    def whole(self, mask: Mask) -> Mask:
        """Put a mask of the box back into subject space."""
        whole = np.zeros(SUBJECT_GRID.shape, bool)
        whole[self.now.box] = mask
        return whole


def read_pairs(out_dir: Path) -> Iterator[Pair]:
    """Read every visit of a run at which change was evaluated on FLAIR."""
    layout = Layout(out_dir)
    for path in sorted(out_dir.glob(".mesems/sub-*/ses-*/detect.json")):
        participant, session = path.parts[-3:-1]
        visit = VisitFiles(bids_dir=Path(), layout=layout, participant_id=participant, session_id=session)
        detected = visit.detect_record().detected
        change = detected.parts.t2_change if detected else None
        if change is None or change.reference_session_id is None or change.contrast != "FLAIR":
            continue
        reference = visit.at(change.reference_session_id)
        now = _read_scan(visit)
        stem = "space-subject_label-L_desc"
        masks = [nifti.read_labels(visit.product(f"{stem}-{d}_mask.nii.gz"))[0] for d in ("new", "enlarging")]
        found = ((masks[0] > 0) | (masks[1] > 0))[now.box]
        yield Pair(participant=participant, session=session, now=now, then=_read_scan(reference), found=found)


def _read_scan(visit: VisitFiles) -> Scan:
    registered = visit.register_record().registered
    assert registered is not None
    box, priors = load_tissue(visit, registered)
    entry = registered.evaluable["FLAIR"]
    image = nifti.read_image(visit.resolve(entry.preproc))[0].array[box]
    brain_mask = nifti.read_labels(visit.resolve(registered.brain_mask))[0][box] > 0
    nawm = find_nawm(image, brain_mask=brain_mask, white_matter=priors["white_matter"], contrast="FLAIR")
    return Scan(image=image, brain_mask=brain_mask, nawm=nawm, entry=entry, priors=priors, box=box)


def matched(pair: Pair) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bring both visits to one slice profile, bias field and scale: this visit, the reference visit."""
    coarser = max((pair.now, pair.then), key=lambda scan: scan.thickness_mm)
    now, then = (
        ndimage.gaussian_filter(
            match_resolution(
                scan.image,
                spacing_mm=SUBJECT_GRID.spacing_mm,
                plane_normal=coarser.entry.plane_normal,
                thickness_mm=scan.thickness_mm,
                target_thickness_mm=coarser.thickness_mm,
            ),
            0.7,
        )
        for scan in (pair.now, pair.then)
    )
    tissue = pair.brain & (now > 0.6) & (then > 0.6)
    then = match_intensity(then, now, tissue)
    then = then * differential_bias(
        np.maximum(then, 0.01), np.maximum(now, 0.01), tissue, SUBJECT_GRID.spacing_mm
    )
    return np.asarray(now, np.float32), np.asarray(then, np.float32)


def difference_z(pair: Pair) -> NDArray[np.float32]:
    """Subtract the matched visits, in units of the noise in NAWM; below everything where it is not bright."""
    now, then = matched(pair)
    white = pair.now.nawm & pair.then.nawm
    level, spread = robust_noise(now, white)
    middle, noise = robust_noise(now - then, white)
    bright = pair.brain & (now > level + BRIGHT_SIGMA * spread)
    return np.where(bright, (now - then - middle) / noise, -np.inf).astype(np.float32)


def segmented_apart(pair: Pair, seed_z: float) -> Mask:
    """Segment both visits on their own; keep the lesions of this one that touch none of the other."""
    now, then = (
        segment_by_brightness(
            T2Scan(scan.image, "FLAIR", scan.thickness_mm, scan.entry.plane_normal),
            Anatomy(scan.brain_mask, scan.nawm, scan.priors, SUBJECT_GRID.spacing_mm),
            LesionThresholds(seed_z=seed_z),
        )[0]
        for scan in (pair.now, pair.then)
    )
    dseg, n = label_components(now)
    apart = np.ones(n + 1, bool)
    apart[np.unique(dseg[ndimage.binary_dilation(then, _ALL_NEIGHBOURS)])] = False
    apart[0] = False
    return apart[dseg]


def local_features(pair: Pair) -> NDArray[np.float32]:
    """Describe every voxel of the brain: both visits and their difference at three scales, and the priors."""
    now, then = matched(pair)
    rise = now - then
    _, noise = robust_noise(rise, pair.now.nawm & pair.then.nawm)
    maps = [now, then, rise / noise, ndimage.gaussian_gradient_magnitude(then, 1.0)]
    for sigma in (1.5, 4.0):
        maps += [ndimage.gaussian_filter(image, sigma) for image in (now, then, rise / noise)]
    maps += [pair.now.priors[name] for name in ("white_matter", "cortex", "lateral_ventricles")]
    maps.append(ndimage.distance_transform_edt(pair.now.priors["lateral_ventricles"] < 0.5))
    return np.stack([image[pair.brain] for image in maps], axis=1).astype(np.float32)


def real_truth(pair: Pair, truth_dir: Path) -> tuple[Mask, Mask]:
    """Truth and what is ignored, of every voxel of the brain."""
    masks = []
    for desc in ("change", "ignore"):
        mask, affine = nifti.read_labels(_truth_path(pair, truth_dir, desc))
        to_image = np.asarray(pair.now.entry.subject_to_image)
        masks.append(resample_labels(mask, affine, SUBJECT_GRID, to_image)[pair.now.box][pair.brain] > 0)
    return masks[0], masks[1]


def train_boosting(
    features: NDArray[np.float32], truth: Mask, ignored: Mask
) -> HistGradientBoostingClassifier:
    """Train on all voxels with change and `NEGATIVES` times as many without."""
    rng = np.random.default_rng(0)
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth & ~ignored)
    negative = rng.choice(negative, min(NEGATIVES * len(positive), len(negative)), replace=False)
    chosen = np.concatenate([positive, negative])
    return HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, random_state=0).fit(
        features[chosen], truth[chosen]
    )


class Boosting:
    """Gradient boosting trained on the real patients, leaving the patient out that it reads."""

    def __init__(self, pairs: list[Pair], truth_dir: Path) -> None:
        self.features = {pair.participant: local_features(pair) for pair in pairs}
        self.truth = {pair.participant: real_truth(pair, truth_dir) for pair in pairs}
        self.models = {"": self._train(set())}
        for pair in pairs:
            self.models[pair.participant] = self._train({pair.participant})

    def _train(self, without: set[str]) -> HistGradientBoostingClassifier:
        used = [p for p in self.features if p not in without]
        return train_boosting(
            np.concatenate([self.features[p] for p in used]),
            np.concatenate([self.truth[p][0] for p in used]),
            np.concatenate([self.truth[p][1] for p in used]),
        )

    def read(self, pair: Pair) -> NDArray[np.float32]:
        """Return the probability of change; of a scan of patient 01 by the classifier of the others."""
        owner = next((p for p in self.features if pair.participant.startswith(p)), "")
        features = self.features.get(pair.participant)
        return self._map(pair, self.models[owner], local_features(pair) if features is None else features)

    def read_by_halves(self, pair: Pair) -> NDArray[np.float32]:
        """Return the probability of change by classifiers of the other half of the same brain."""
        features, (truth, ignored) = self.features[pair.participant], self.truth[pair.participant]
        left = np.argwhere(pair.brain)[:, 0] < pair.brain.shape[0] // 2
        probability = np.zeros(len(features), np.float32)
        for half in (left, ~left):
            model = train_boosting(features[~half], truth[~half], ignored[~half])
            probability[half] = model.predict_proba(features[half])[:, 1]
        volume = np.zeros(pair.brain.shape, np.float32)
        volume[pair.brain] = probability
        return volume

    @staticmethod
    def _map(
        pair: Pair, model: HistGradientBoostingClassifier, features: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        volume = np.zeros(pair.brain.shape, np.float32)
        volume[pair.brain] = model.predict_proba(features)[:, 1]
        return volume


def detections(pair: Pair, boosting: Boosting) -> dict[tuple[str, float], Mask]:
    """Detect with every method at every threshold, cut to foci by the counting rule."""
    z = difference_z(pair)
    probability = boosting.read(pair)
    masks = {("gradient boosting", limit): probability > limit for limit in BOOSTING_P}
    masks |= _plain_masks(pair, z)
    return _foci(pair, masks) | {("mesems-mri", 0.0): pair.found}


def _plain_masks(pair: Pair, z: NDArray[np.float32]) -> dict[tuple[str, float], Mask]:
    masks = {("subtraction", limit): z > limit for limit in SUBTRACTION_Z}
    return masks | {("two segmentations", seed_z): segmented_apart(pair, seed_z) for seed_z in SEGMENTATION_Z}


def _foci(pair: Pair, masks: dict[tuple[str, float], Mask]) -> dict[tuple[str, float], Mask]:
    coarser = max((pair.now, pair.then), key=lambda scan: scan.thickness_mm)
    return {
        key: label_foci(
            mask,
            spacing_mm=SUBJECT_GRID.spacing_mm,
            plane_normal=coarser.entry.plane_normal,
            slice_thickness_mm=coarser.thickness_mm,
            min_volume_mm3=14.0,
            min_diameter_mm=3.0,
        )
        > 0
        for key, mask in masks.items()
    }


def score_real(pair: Pair, mask: Mask, truth_dir: Path) -> Tally:
    """Compare with the truth on the FLAIR that was sent."""
    truth, affine = nifti.read_labels(_truth_path(pair, truth_dir, "change"))
    ignore, _ = nifti.read_labels(_truth_path(pair, truth_dir, "ignore"))
    to_subject = np.linalg.inv(np.asarray(pair.now.entry.subject_to_image))
    foci, _ = label_components(pair.whole(mask))
    orig = resample_labels(foci, SUBJECT_GRID.affine, grid_of(pair.now.entry), to_subject)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    return compare_masks(truth > 0, orig > 0, spacing_mm=spacing_mm.tolist(), ignore=ignore > 0).overall


def _truth_path(pair: Pair, truth_dir: Path, desc: str) -> Path:
    anat = truth_dir / pair.participant / pair.session / "anat"
    return anat / f"{pair.participant}_{pair.session}_space-orig_label-L_desc-{desc}_mask.nii.gz"


def best_elsewhere(
    scores: dict[tuple[str, float], dict[str, Tally]], method: str, participant: str
) -> tuple[str, float]:
    """Choose the threshold with the best F1 on the other participants; of equals the highest."""

    def f1(key: tuple[str, float]) -> tuple[float, float]:
        pooled = sum((t for p, t in scores[key].items() if p != participant), Tally())
        return pooled.f1 or 0.0, key[1]

    return max((key for key in scores if key[0] == method), key=f1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("real_out", "real_truth", "stable_bids", "stable_out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()

    scores: dict[tuple[str, float], dict[str, Tally]] = {}
    halves: dict[tuple[str, float], dict[str, Tally]] = {}
    real = list(read_pairs(given.real_out))
    boosting = Boosting(real, given.real_truth)
    for pair in real:
        for key, mask in detections(pair, boosting).items():
            scores.setdefault(key, {})[pair.participant] = score_real(pair, mask, given.real_truth)
        probability = boosting.read_by_halves(pair)
        by_halves = {("gradient boosting", limit): probability > limit for limit in BOOSTING_P}
        for key, mask in _foci(pair, by_halves).items():
            halves.setdefault(key, {})[pair.participant] = score_real(pair, mask, given.real_truth)
    false = dict.fromkeys(scores, 0)
    found = dict.fromkeys(scores, 0)
    pairs = implanted = 0
    for pair in read_pairs(given.stable_out):
        path = given.stable_bids / "derivatives" / "implants" / f"{pair.participant}.json"
        implants = json.loads(path.read_text(encoding="utf-8")) if pair.session == "ses-3" else []
        pairs, implanted = pairs + (not implants), implanted + len(implants)
        for key, mask in detections(pair, boosting).items():
            if not implants:
                false[key] += label_components(mask)[1]
                continue
            to_subject = scan_to_subject(given.stable_out, pair.participant)
            hits, _ = implants_hit([pair.whole(mask)], SUBJECT_GRID.affine, to_subject, implants)
            found[key] += sum(hits)

    print("| method | threshold | found | sensitivity | true | precision | F1 | false, stable | implants |")
    print("|---|---|---|---|---|---|---|---|---|")
    for key in scores:
        limit = f"{key[1]:g}" if key[1] else "as run"
        _line(
            key[0],
            limit,
            sum(scores[key].values(), Tally()),
            f"{false[key]} in {pairs}",
            found[key],
            implanted,
        )
    elsewhere = scores | halves
    for method in ("subtraction", "two segmentations", "gradient boosting"):
        chosen = {p: best_elsewhere(elsewhere, method, p) for p in scores["mesems-mri", 0.0]}
        pooled = sum((scores[key][p] for p, key in chosen.items()), Tally())
        limits = ", ".join(f"{key[1]:g}" for key in chosen.values())
        _line(method, f"other patient: {limits}", pooled, "-", None, implanted)


def _line(method: str, limit: str, tally: Tally, false: str, found: int | None, implanted: int) -> None:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    hits = "-" if found is None else f"{found}/{implanted}"
    print(
        f"| {method} | {limit} | {tally.found}/{tally.truth} | {number(tally.sensitivity)}"
        f" | {tally.true_detections}/{tally.detections} | {number(tally.precision)} | {number(tally.f1)}"
        f" | {false} | {hits} |"
    )


if __name__ == "__main__":
    main()
