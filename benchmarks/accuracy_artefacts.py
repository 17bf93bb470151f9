"""Measures of bands, ghosts and spikes: on real scans as they are, and with each artefact put in.

    python -m benchmarks.accuracy_artefacts REAL_DATA [--clean] [--scans LABEL ...]

An artefact is put into the voxels as they were read: every other slice darker; waves over the slices (period
4) and over the rows (period 8); a copy shifted by half the field of view along rows or columns, or by 30 %; a
stripe pattern over all slices or over one, as one point of k-space gives it (40 and 35 cycles over the image,
or 12 along the rows). A strength of 15 % is that share of the slice, of the copy, or of the brain's median.
A scan is flagged from ``quality.max_artefact`` on.
"""

import argparse
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.accuracy_series import find_visits
from mesems_mri.config import QualityRule
from mesems_mri.core.artefacts import measure_artefacts
from mesems_mri.images.nifti import read_image
from mesems_mri.images.resampling import resample_image
from mesems_mri.images.volume import Volume, in_canonical_order

STRENGTHS = (0.05, 0.10, 0.15, 0.25)
CHOSEN = ("01-1 FLAIR", "12-2 T1w", "04-1 T2w", "07 ce-gadolinium_T1w", "26 FLAIR", "ms3seg-01 FLAIR")
CHOSEN += ("ms3seg-06 FLAIR", "TCGA T2w", "P18 T1w", "01-2 T2w")
"""One scan of each source and contrast, into which the artefacts are put."""
Array = NDArray[np.float32]


class Scan(NamedTuple):
    """A scan with its brain, in the order in which a run computes."""

    label: str
    volume: Volume
    mask: NDArray[np.bool_]

    def measure(self, array: NDArray[np.floating]) -> dict[str, float]:
        """Measure the artefacts of the scan with other voxels."""
        found = measure_artefacts(array.astype(np.float32), self.mask, slice_axis=self.volume.slice_axis)
        return {"banding": found.banding, "ghost": found.ghost, "spike": found.spike}


def read_scans(real_data: Path) -> Iterator[Scan]:
    """Yield every real scan that is there."""
    for visit in find_visits(real_data):
        if not visit.images["FLAIR"].is_file():
            continue
        if visit.mask and not visit.mask.is_file():
            flair, _ = read_image(visit.images["FLAIR"])
            bright = flair.array > 0.5 * flair.array[flair.array > 0].mean()
            mask = ndimage.binary_erosion(ndimage.binary_fill_holes(bright), iterations=3)
        else:
            flair, mask = visit.reference()
        for contrast, path in visit.images.items():
            if not path.is_file():
                continue
            volume, _ = read_image(path)
            brain = mask
            if contrast != "FLAIR":
                brain = (
                    resample_image(Volume(mask.astype(np.float32), flair.affine), volume.grid, np.eye(4))
                    > 0.5
                )
            array, affine = in_canonical_order(volume.array, volume.affine)
            turned, _ = in_canonical_order(brain, volume.affine)
            yield Scan(f"{visit.label} {contrast}", Volume(array, affine), turned)


def artefacts(scan: Scan) -> dict[str, Callable[[float], NDArray[np.floating]]]:
    """Return what puts each artefact into a scan, by a strength."""
    image, slices = scan.volume.array, scan.volume.slice_axis
    rows, columns = (axis for axis in range(3) if axis != slices)
    level = float(np.median(image[scan.mask]))

    def along(axis: int) -> NDArray[np.int64]:
        return np.arange(image.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])

    def ghost(axis: int, share: float) -> Callable[[float], NDArray[np.floating]]:
        return lambda a: image + a * np.roll(image, int(share * image.shape[axis]), axis)

    def stripes(cycles: tuple[int, int]) -> NDArray[np.floating]:
        phase = (
            cycles[0] * along(rows) / image.shape[rows] + cycles[1] * along(columns) / image.shape[columns]
        )
        return level * np.cos(2 * np.pi * phase)

    middle = along(slices) == image.shape[slices] // 2
    return {
        "every other slice darker": lambda a: image * (1 - a * (along(slices) % 2)),
        "waves over the slices": lambda a: image * (1 + a * np.sin(2 * np.pi * along(slices) / 4)),
        "waves over the rows": lambda a: image * (1 + a * np.sin(2 * np.pi * along(rows) / 8)),
        "ghost, half the field of view, columns": ghost(columns, 0.5),
        "ghost, half the field of view, rows": ghost(rows, 0.5),
        "ghost, 30 %": ghost(columns, 0.3),
        "spike, 40 and 35 cycles": lambda a: np.abs(image + a * stripes((40, 35))),
        "spike, 12 cycles": lambda a: np.abs(image + a * stripes((12, 0))),
        "spike in one slice, 40 and 35 cycles": lambda a: np.abs(image + a * middle * stripes((40, 35))),
        "spike in one slice, 12 cycles": lambda a: np.abs(image + a * middle * stripes((12, 0))),
    }


def main() -> None:
    """Print the measures of the scans as they are, and how many are flagged with each artefact."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("--clean", action="store_true", help="only the scans as they are")
    parser.add_argument("--scans", nargs="+", default=CHOSEN, help="scans into which artefacts are put")
    given = parser.parse_args()
    limit = QualityRule().max_artefact
    flagged: Counter[tuple[str, float]] = Counter()
    weakest: dict[tuple[str, float], float] = defaultdict(lambda: float("inf"))
    names: list[str] = []
    used = false = total = 0
    print("| scan | banding | ghost | spike |\n|---|---|---|---|")
    for scan in read_scans(given.real_data):
        clean = scan.measure(scan.volume.array)
        total, false = total + 1, false + (max(clean.values()) > limit)
        print(
            f"| {scan.label} | " + " | ".join(f"{value:.3f}" for value in clean.values()) + " |", flush=True
        )
        if given.clean or scan.label not in given.scans:
            continue
        used += 1
        put_in = artefacts(scan)
        names = list(put_in)
        for name, spoil in put_in.items():
            for strength in STRENGTHS:
                value = max(scan.measure(spoil(strength)).values())
                flagged[name, strength] += value > limit
                weakest[name, strength] = min(weakest[name, strength], value)
    print(f"\n{false} of {total} scans as they are above {limit:g}")
    if names:
        head = " | ".join(f"{strength:.0%}" for strength in STRENGTHS)
        print(f"\n| flagged, of {used} scans (lowest measure) | {head} |\n|---|" + "---|" * len(STRENGTHS))
        for name in names:
            cells = (f"{flagged[name, s]} ({weakest[name, s]:.3f})" for s in STRENGTHS)
            print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
