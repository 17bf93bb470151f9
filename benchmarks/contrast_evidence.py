"""Whether two T1w tell which was taken after contrast: real pairs, as they are and degraded; prints a table.

    python -m benchmarks.contrast_evidence REAL_DATA [--simulated BIDS_DIR] [--quick]

Every degradation is put on the second scan, then on the first. A pair of which one is enhanced is right when
the vote is that one; a pair of which none or both are (one scan against its own degraded copy, another visit
of the same phase) is right without a vote. ``--quick``: the pairs as they are only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import linalg, ndimage

from mesems_mri.core.gel.evidence import ContrastEvidence
from mesems_mri.errors import InputError
from mesems_mri.images.contrast_evidence import compare_volumes
from mesems_mri.images.nifti import read_image
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Grid, Volume

Degrade = Callable[[Volume, np.random.Generator], Volume]


class Pair(NamedTuple):
    """Two T1w of one head."""

    name: str
    first: Path
    second: Path
    enhanced: bool
    """The second is enhanced and the first is not; else they are of the same phase."""


def real_pairs(real: Path) -> list[Pair]:
    """Return the pairs of the real data.

    In ``open_ms/longitudinal`` the phase is not stated; the choroid plexus, infundibulum and mucosa show that
    the T1W of patient01 is before contrast at the first visit and after it at the second, and that both of
    patient12 are after contrast.
    """
    cross, longitudinal = real / "open_ms/cross_sectional", real / "open_ms/longitudinal"
    glioma = real / "tcga/TCGA-DU-7294/TCGA-DU-7294_hdbet_native"
    pairs: list[Pair] = []
    for n in ("07", "26"):
        before, after = (cross / f"patient{n}/{c}_space-MNI.nii.gz" for c in ("T1", "T1POST"))
        pairs.append(Pair(f"open_ms {n}", before, after, True))
    pairs.append(Pair("tcga", Path(f"{glioma}_t1.nii.gz"), Path(f"{glioma}_t1c.nii.gz"), True))
    for n, enhanced in (("01", True), ("12", False)):
        first, second = (longitudinal / f"patient{n}/study{k}_T1W.nii.gz" for k in (1, 2))
        pairs.append(Pair(f"open_ms visits {n}", first, second, enhanced))
    alone = [path for pair in pairs for path in (pair.first, pair.second)]
    alone += [longitudinal / f"patient{n}/study{k}_T1W.nii.gz" for n, k in (("04", 1), ("20", 2))]
    alone += [real / f"mslesseg/{p}/T1/{p}_T1_T1.nii.gz" for p in ("P18", "P39")]
    alone += sorted((real / "ms3seg").glob("patient0*/*T1w.nii.gz"))
    return pairs + [Pair(f"{p.parent.name}/{p.name} twice", p, p, False) for p in alone if p.is_file()]


def simulated_pairs(bids_dir: Path) -> list[Pair]:
    """Return the T1w before and after contrast of every simulated visit."""
    pairs = []
    for post in sorted(bids_dir.glob("sub-*/ses-*/anat/*_ce-gadolinium_T1w.nii.gz")):
        pre = post.with_name(post.name.replace("_ce-gadolinium_T1w", "_T1w"))
        if pre.is_file():
            pairs.append(Pair(pre.name.replace("_T1w.nii.gz", ""), pre, post, True))
    return pairs


def _level(volume: Volume) -> float:
    bright = volume.array[volume.array > volume.array.mean()]
    return float(np.median(bright))


def as_it_is(volume: Volume, _rng: np.random.Generator) -> Volume:
    """Return the scan."""
    return volume


def noisy(volume: Volume, rng: np.random.Generator) -> Volume:
    """Add noise of 6 % of the tissue, and none where the skull was removed."""
    noise = rng.normal(0, 0.06 * _level(volume), (2, *volume.shape)).astype(np.float32)
    return Volume(
        np.where(volume.array > 0, np.hypot(volume.array + noise[0], noise[1]), 0).astype(np.float32),
        volume.affine,
    )


def shaded(volume: Volume, rng: np.random.Generator) -> Volume:
    """Multiply by a smooth field between about 0.4 and 2.5."""
    fields = rng.uniform(-0.3, 0.3, 6)
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in volume.shape), indexing="ij")
    log_field = np.zeros(volume.shape)
    for c, a in zip(fields[:3], axes, strict=True):
        log_field += c * a
    for c, a in zip(fields[3:], axes, strict=True):
        log_field += c * a * a
    return Volume((volume.array * np.exp(log_field - log_field.mean())).astype(np.float32), volume.affine)


def _gain(factor: float) -> Degrade:
    return lambda volume, _rng: Volume(volume.array * np.float32(factor), volume.affine)


def moved(volume: Volume, rng: np.random.Generator) -> Volume:
    """Move the head by 3 mm and 3 degrees under the same grid."""
    axis, shift = rng.normal(size=(2, 3))
    motion = np.eye(4)
    motion[:3, :3] = linalg.expm(np.cross(np.eye(3), np.radians(3.0) * axis / np.linalg.norm(axis)))
    centre = (volume.affine @ [*((n - 1) / 2 for n in volume.shape), 1.0])[:3]
    motion[:3, 3] = centre - motion[:3, :3] @ centre + 3.0 * shift / np.linalg.norm(shift)
    return Volume(np.maximum(resample_image(volume, volume.grid, motion, order=3), 0), volume.affine)


def _slices(thickness_mm: float) -> Degrade:
    def cut(volume: Volume, _rng: np.random.Generator) -> Volume:
        """Return thick slices by a Gaussian profile, in the plane of the scan."""
        axis = volume.slice_axis
        own = volume.spacing_mm[axis]
        if own >= thickness_mm:
            return volume
        sigma = np.sqrt(thickness_mm**2 - own**2) / 2.355 / own
        blurred = Volume(ndimage.gaussian_filter1d(volume.array, sigma, axis=axis), volume.affine)
        factor = thickness_mm / own
        shape = list(volume.shape)
        shape[axis] = int((shape[axis] - 1) / factor) + 1
        scale = np.ones(4)
        scale[axis] = factor
        grid = Grid((shape[0], shape[1], shape[2]), volume.affine @ np.diag(scale))
        return Volume(resample_image(blurred, grid, np.eye(4)), grid.affine)

    return cut


def coarse(volume: Volume, _rng: np.random.Generator) -> Volume:
    """Return voxels 1.4 times as large in plane."""
    scale = np.array([1.4, 1.4, 1.4, 1.0])
    scale[volume.slice_axis] = 1.0
    sigma = [0.0 if s == 1 else 0.4 for s in scale[:3]]
    blurred = Volume(ndimage.gaussian_filter(volume.array, sigma), volume.affine)
    x, y, z = (int((n - 1) / s) + 1 for n, s in zip(volume.shape, scale, strict=False))
    return Volume(
        resample_image(blurred, Grid((x, y, z), volume.affine @ np.diag(scale)), np.eye(4)),
        volume.affine @ np.diag(scale),
    )


def _cropped(low: float, high: float) -> Degrade:
    def crop(volume: Volume, _rng: np.random.Generator) -> Volume:
        """Return a part of the field of view along the head."""
        axis = int(np.argmax(np.abs(volume.affine[2, :3] / np.array(volume.spacing_mm))))
        ends = (low, high) if volume.affine[2, axis] > 0 else (1 - high, 1 - low)
        start, stop = (round(end * volume.shape[axis]) for end in ends)
        shift = np.eye(4)
        shift[axis, 3] = start
        return Volume(np.take(volume.array, range(start, stop), axis), volume.affine @ shift)

    return crop


def without_fat(volume: Volume, _rng: np.random.Generator) -> Volume:
    """Saturate fat: what is very bright at the outside of a head; nothing of a stripped brain."""
    head = ndimage.binary_fill_holes(volume.array > 0.3 * _level(volume))
    depth_mm = np.asarray(ndimage.distance_transform_edt(head, sampling=volume.spacing_mm))
    if (volume.array == 0).mean() > 0.5:
        return volume
    fat = (depth_mm < 20) & (volume.array > 1.6 * float(np.median(volume.array[depth_mm > 30])))
    weight = ndimage.gaussian_filter(fat.astype(np.float32), 0.5)
    return Volume((volume.array * (1 - 0.8 * weight)).astype(np.float32), volume.affine)


def all_at_once(volume: Volume, rng: np.random.Generator) -> Volume:
    """Move, thicken to 4 mm, shade, add noise and change the gain."""
    for degrade in (moved, _slices(4.0), shaded, noisy, _gain(0.4)):
        volume = degrade(volume, rng)
    return volume


DEGRADATIONS: dict[str, Degrade] = {
    "as it is": as_it_is,
    "noise of 6 %": noisy,
    "shading": shaded,
    "gain x 0.3": _gain(0.3),
    "gain x 3": _gain(3.0),
    "moved 3 mm, 3 degrees": moved,
    "slices of 3 mm": _slices(3.0),
    "slices of 5 mm": _slices(5.0),
    "pixels x 1.4": coarse,
    "without the lowest third": _cropped(1 / 3, 1.0),
    "without the top third": _cropped(0.0, 2 / 3),
    "fat saturated": without_fat,
    "all at once, slices of 4 mm": all_at_once,
}


def judge(evidence: ContrastEvidence, *, enhanced: bool) -> str:
    """Return ``right``, ``cannot say`` or ``wrong``."""
    if not enhanced:
        return "wrong" if evidence.vote else "right"
    return {"post": "right", "pre": "wrong", "": "cannot say"}[evidence.vote]


def compare(pair: Pair, names: list[str], seed: int = 0) -> Iterator[tuple[str, bool, ContrastEvidence]]:
    """Compare a pair with each degradation on the second, then on the first scan."""
    first, second = (read_image(path, header_repair=True)[0] for path in (pair.first, pair.second))
    for name in names:
        for on_second in (True, False):
            rng = np.random.default_rng([seed, on_second])
            one = first if on_second else DEGRADATIONS[name](first, rng)
            other = DEGRADATIONS[name](second, rng) if on_second else second
            yield name, on_second, compare_volumes(one, other)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real", type=Path)
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="pairs whose name holds this")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    pairs = real_pairs(options.real) + (simulated_pairs(options.simulated) if options.simulated else [])
    names = list(DEGRADATIONS)[: 1 if options.quick else None]
    counts = {
        name: {(e, j): 0 for e in (True, False) for j in ("right", "cannot say", "wrong")} for name in names
    }
    for pair in pairs:
        if options.only not in pair.name:
            continue
        try:
            for name, on_second, evidence in compare(pair, names):
                verdict = judge(evidence, enhanced=pair.enhanced)
                counts[name][pair.enhanced, verdict] += 1
                if options.verbose or verdict != "right":
                    which = "second" if on_second else "first"
                    print(f"{pair.name}, {name} ({which}): {verdict}; {evidence}", flush=True)
        except InputError as error:
            print(f"{pair.name}: {error}")
    print(
        "| degradation of one scan | one enhanced: right | cannot say | wrong | same phase: no vote | wrong |"
    )
    print("|---|---|---|---|---|---|")
    for name, count in counts.items():
        cells = [count[True, j] for j in ("right", "cannot say", "wrong")]
        cells += [count[False, j] for j in ("right", "wrong")]
        print(f"| {name} | " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
