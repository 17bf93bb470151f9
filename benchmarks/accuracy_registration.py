"""Accuracy of rigid registration, and how far apart right and wrong heads lie, on real scans.

    python benchmarks/accuracy_registration.py REAL_DATA [--errors | --heads] [--every N]

First table: distance (mm, in the brain) to the reference transforms of the data set, which are affine (12
parameters), so that a perfect rigid transform is a few tenths of a millimetre away from them. Second table:
scores of ``compare_heads`` after our own registration, for right heads (as they are, with noise, 4 mm slices
or half the coverage), wrong heads and mirrored heads. Where pydicom is installed, the two positions of the
DICOM head are in it.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np
from scipy import ndimage

from mesems_mri.images.nifti import read_image, read_labels, read_xfm
from mesems_mri.images.registration import register_rigid
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.same_head import compare_heads
from mesems_mri.images.volume import Volume

CONTRASTS = {"FLAIR": "FLAIR", "fla": "FLAIR", "T2W": "T2w", "T2": "T2w", "t2": "T2w"}  # all others are T1w


class Scan(NamedTuple):
    """A scan with the identity of its head."""

    head: str
    name: str
    volume: Volume
    mask: np.ndarray
    from_common: np.ndarray | None = None

    @property
    def contrast(self) -> str:
        """Contrast, gadolinium or not."""
        return CONTRASTS.get(self.name.split()[-1], "T1w")


def raw_scans(real_data: Path) -> Iterator[Scan]:
    """Yield the raw scans of patients 01 and 12 with the reference mask mapped back."""
    for patient, visit, contrast in product(("01", "12"), (1, 2), ("FLAIR", "T1W", "T2W")):
        folder = real_data / "open_ms" / "longitudinal" / f"patient{patient}"
        volume, _ = read_image(folder / f"study{visit}_{contrast}.nii.gz")
        mask, affine = read_labels(folder / "brainmask.nii.gz")
        xfm = read_xfm(folder / f"study{visit}_FLAIR_to_common_space.txt")
        if contrast != "FLAIR":
            xfm = read_xfm(folder / f"study{visit}_{contrast}_intrastudy_to_FLAIR.txt") @ xfm
        common = Volume(mask.astype(np.float32), affine)
        native = resample_image(common, volume.grid, np.asarray(np.linalg.inv(xfm), dtype=float)) > 0.5
        yield Scan(patient, f"{patient} visit {visit} {contrast}", volume, native, xfm)


def other_scans(real_data: Path) -> Iterator[Scan]:
    """Yield the skull-stripped scans, and the DICOM head where pydicom is installed."""
    for patient, contrast in product(("07", "26"), ("FLAIR", "T1", "T1POST", "T2")):
        path = (
            real_data / "open_ms" / "cross_sectional" / f"patient{patient}" / f"{contrast}_space-MNI.nii.gz"
        )
        volume, _ = read_image(path)
        yield Scan(patient, f"{patient} {contrast}", volume, volume.array > 0)
    for patient, contrast in product(("P18", "P39"), ("FLAIR", "T1")):
        volume, _ = read_image(real_data / "mslesseg" / patient / "T1" / f"{patient}_T1_{contrast}.nii.gz")
        yield Scan(patient, f"{patient} {contrast}", volume, volume.array > 0)
    for contrast in ("t1", "t1c", "t2", "fla"):
        stem = real_data / "tcga" / "TCGA-DU-7294" / "TCGA-DU-7294_hdbet"
        volume, _ = read_image(f"{stem}_native_{contrast}.nii.gz")
        mask, _ = read_labels(f"{stem}_mask_native_{contrast}.nii.gz")
        yield Scan("TCGA", f"TCGA {contrast}", volume, mask > 0)
    yield from dicom_scans(real_data)


def dicom_scans(real_data: Path) -> Iterator[Scan]:
    """Yield one head in two patient positions."""
    try:
        import pydicom  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("pydicom is not installed: the head in two positions is left out")
        return
    from mesems_mri.images.brain import extract_brain

    for position in ("HFS", "HFP"):
        folder = real_data / "dicom" / "siemens_decubitus" / position
        slices = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
        columns, rows = np.reshape(np.array(slices[0].ImageOrientationPatient, dtype=float), (2, 3))
        places = np.array([s.ImagePositionPatient for s in slices], dtype=float)
        order = np.argsort(places @ np.cross(columns, rows))
        affine = np.eye(4)
        affine[:3, 0] = columns * float(slices[0].PixelSpacing[1])
        affine[:3, 1] = rows * float(slices[0].PixelSpacing[0])
        affine[:3, 2] = (places[order[-1]] - places[order[0]]) / (len(slices) - 1)
        affine[:3, 3] = places[order[0]]
        array = np.stack([slices[i].pixel_array.T for i in order], axis=-1).astype(np.float32)
        volume = Volume(array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
        yield Scan("DICOM", f"{position} T1", volume, extract_brain(volume).mask)


def mirrored(scan: Scan) -> Scan:
    """Return the scan of the mirror image of the head: left is right, everything else is kept."""
    back = np.eye(4)
    back[0, 0], back[0, 3] = -1, scan.volume.shape[0] - 1
    affine = np.diag([-1.0, 1, 1, 1]) @ scan.volume.affine @ back
    volume = Volume(np.ascontiguousarray(scan.volume.array[::-1]), affine)
    return Scan(f"mirrored {scan.head}", f"mirrored {scan.name}", volume, scan.mask[::-1])


def degraded(scan: Scan) -> Iterator[Scan]:
    """Yield the scan with noise, with slices of about 4 mm, and the upper half of it."""
    array, affine = scan.volume.array, scan.volume.affine
    level = float(np.median(array[scan.mask]))
    noise = np.random.default_rng(0).normal(0, 0.1 * level, array.shape).astype(np.float32)
    yield scan._replace(name=f"noisy {scan.name}", volume=Volume(array + noise, affine))
    axis = scan.volume.slice_axis
    factor = max(1, round(4 / scan.volume.slice_thickness_mm))
    if factor > 1:
        n = array.shape[axis] // factor

        def averaged(image: np.ndarray) -> np.ndarray:
            stack = np.moveaxis(image, axis, 0)[: n * factor]
            return np.moveaxis(stack.reshape(n, factor, *stack.shape[1:]).mean(axis=1), 0, axis)

        thick = affine.copy()
        thick[:3, axis] *= factor
        thick[:3, 3] += affine[:3, axis] * (factor - 1) / 2
        volume = Volume(averaged(array).astype(np.float32), thick)
        yield scan._replace(name=f"thick {scan.name}", volume=volume, mask=averaged(scan.mask) > 0.5)
    upper = int(np.argmax(np.abs(affine[2, :3])))
    cut = int(ndimage.center_of_mass(scan.mask)[upper])
    keep = slice(cut, None) if affine[2, upper] > 0 else slice(0, cut)
    index = [slice(None)] * 3
    index[upper] = keep
    shift = np.eye(4)
    shift[upper, 3] = keep.start
    half = Volume(array[tuple(index)], affine @ shift)
    yield scan._replace(name=f"half {scan.name}", volume=half, mask=scan.mask[tuple(index)])


def print_errors(scans: list[Scan]) -> None:
    """Print the distance to the reference transforms."""
    print(
        "fixed | moving | before mm | error mm (mean, max) | directions apart mm | "
        "NMI before, after | flags | CPU s"
    )
    for fixed, moving in combinations(scans, 2):
        same_visit = fixed.name.split()[:3] == moving.name.split()[:3]
        if fixed.head != moving.head or not (same_visit or fixed.contrast == moving.contrast):
            continue
        if same_visit and "FLAIR" not in (fixed.contrast, moving.contrast):
            continue
        assert fixed.from_common is not None
        assert moving.from_common is not None
        reference = moving.from_common @ np.linalg.inv(fixed.from_common)
        start = time.process_time()
        found = register_rigid(fixed.volume, moving.volume, fixed_mask=fixed.mask, moving_mask=moving.mask)
        seconds = time.process_time() - start
        index = np.argwhere(fixed.mask)[::50]
        points = fixed.volume.affine @ np.vstack([index.T, np.ones(len(index))])
        before, after = (
            np.linalg.norm(((matrix - reference) @ points)[:3], axis=0)
            for matrix in (np.eye(4), found.matrix)
        )
        print(
            f"{fixed.name} | {moving.name} | {before.mean():.2f} | {after.mean():.2f}, {after.max():.2f} | "
            f"{found.inverse_consistency_mm:.2f} | {found.similarity_before:.4f}, {found.similarity:.4f} | "
            f"{';'.join(found.flags) or '-'} | {seconds:.1f}",
            flush=True,
        )


def pairs_to_compare(scans: list[Scan], every: int) -> Iterator[tuple[str, Scan, Scan]]:
    """Yield right pairs (all, and degraded), every N-th wrong pair, and mirrored heads."""
    wrong = 0
    for fixed, moving in combinations(scans, 2):
        if fixed.head == moving.head:
            yield "right", fixed, moving
        else:
            wrong += 1
            if wrong % every == 0:
                yield "wrong", fixed, moving
    for i, scan in enumerate(scans):
        partner = next(s for s in scans if s.head == scan.head and s.name != scan.name)
        for worse in degraded(scan):
            yield f"right, {worse.name.split()[0]}", partner, worse
        if i % 3 == 0:
            yield "mirrored", scan, mirrored(scan)
            yield "mirrored", partner, mirrored(scan)


class Compared(NamedTuple):
    """Two scans after registration: what they are, whether their contrast is one, and what was found."""

    kind: str
    alike: bool
    names: str
    score: float
    same_head: bool

    @property
    def right(self) -> bool:
        """They were told to be of one head, or of two, as they are."""
        return self.same_head == self.kind.startswith("right")


def compare_pairs(pairs: Iterable[tuple[str, Scan, Scan]]) -> Iterator[Compared]:
    """Register pairs of scans and compare the heads."""
    for kind, fixed, moving in pairs:
        alike = fixed.contrast == moving.contrast
        found = register_rigid(fixed.volume, moving.volume, fixed_mask=fixed.mask, moving_mask=moving.mask)
        heads = compare_heads(
            fixed.volume, moving.volume, found.matrix, fixed.mask, moving.mask, same_contrast=alike
        )
        names = f"{fixed.name} / {moving.name}"
        print(f"  {kind} {names} {heads.score:.3f} {found.flags}", flush=True)
        yield Compared(kind, alike, names, heads.score, heads.same_head)


def print_heads(scans: list[Scan], every: int) -> None:
    """Print the scores of right, wrong and mirrored heads, the worst pair of each kind, and mistakes."""
    scores: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    mistakes = []
    for pair in compare_pairs(pairs_to_compare(scans, every)):
        contrast = "same contrast" if pair.alike else "other contrast"
        scores[pair.kind, contrast].append((pair.score, pair.names))
        if not pair.right:
            mistakes.append(f"{pair.kind}: {pair.names} {pair.score:.3f}")
    print("pairs | contrast | number | lowest | median | highest | closest to the threshold")
    for (kind, contrast), entries in sorted(scores.items()):
        values = [score for score, _ in entries]
        closest = min(entries) if kind.startswith("right") else max(entries)
        print(
            f"{kind} | {contrast} | {len(values)} | {min(values):.3f} | {np.median(values):.3f} | "
            f"{max(values):.3f} | {closest[1]}"
        )
    print(f"{len(mistakes)} mistakes", *mistakes, sep="\n")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--errors", action="store_true", help="only the first table")
    parser.add_argument("--heads", action="store_true", help="only the second table")
    parser.add_argument("--every", type=int, default=4, help="take every N-th wrong pair")
    options = parser.parse_args()
    raw = list(raw_scans(options.real_data))
    if not options.heads:
        print_errors(raw)
    if not options.errors:
        print_heads([*raw, *other_scans(options.real_data)], options.every)


if __name__ == "__main__":
    main()
