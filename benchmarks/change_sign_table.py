"""Sign of change of every component of the real change masks, made without our detectors.

``gt.nii.gz`` marks lesions that changed in either direction. dz of a component is the mean over its voxels
of follow-up minus baseline FLAIR, each bias-corrected (N4), matched in bias to each other and scaled by the
median and the median absolute deviation (MAD, not multiplied by 1.48) of its own normal-appearing white
matter. Class: ``small`` below 14 mm3, else ``rise`` above +0.5, ``fall`` below -0.5, ``faint`` between; only
``rise`` is truth for new or enlarging lesions.

    python benchmarks/change_sign_table.py REAL_DATA tests/real/change_sign.tsv

The white matter is the brightest of three Otsu classes of the T1w of both visits, eroded, without the changed
lesions and FLAIR outliers. Components are 26-connected, numbered in C order of their first voxel in the mask;
x, y, z is the centre in RAS mm of the common space, i, j, k the same in voxels.
"""

from __future__ import annotations

import os

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import csv
import sys
from pathlib import Path
from typing import Any

import ants
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu

PATIENTS = ("01", "12")
MIN_VOLUME_MM3 = 14.0
LIMIT = 0.5
# Wider than any lesion that changed, narrower than the fields of the coils.
BIAS_SIGMA_MM = 20.0
COLUMNS: tuple[str, ...] = ("patient", "component", "x", "y", "z", "i", "j", "k", "volume_mm3", "dz", "class")


def _smooth(values: np.ndarray, weights: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Gaussian mean over the weighted voxels."""
    sigma = [BIAS_SIGMA_MM / mm for mm in spacing]
    total = ndimage.gaussian_filter(values * weights, sigma, truncate=2.5)
    weight = ndimage.gaussian_filter(weights.astype(np.float32), sigma, truncate=2.5)
    return total / np.maximum(weight, 1e-6)


def _common_space(folder: Path) -> dict[str, Any]:
    """Images of both visits in the common space of a patient, N4-corrected FLAIR."""
    brain = ants.image_read(str(folder / "brainmask.nii.gz"), pixeltype="float")
    images: dict[str, Any] = {"grid": brain, "brain": brain.numpy() > 0}
    for study in ("study1", "study2"):
        to_common = str(folder / f"{study}_FLAIR_to_common_space.txt")
        for contrast in ("FLAIR", "T1W"):
            chain = [to_common]
            if contrast != "FLAIR":
                chain.append(str(folder / f"{study}_{contrast}_intrastudy_to_FLAIR.txt"))
            moving = ants.image_read(str(folder / f"{study}_{contrast}.nii.gz"), pixeltype="float")
            image = ants.apply_transforms(brain, moving, chain, interpolator="linear")
            image = ants.n4_bias_field_correction(image, mask=brain, shrink_factor=4)
            images[f"{study}_{contrast}"] = image.numpy()
    return images


def change_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of one patient."""
    images = _common_space(folder)
    grid, brain = images["grid"], images["brain"]
    spacing = tuple(float(mm) for mm in grid.spacing)
    truth = ants.image_read(str(folder / "gt.nii.gz")).numpy() > 0
    flairs = [images["study1_FLAIR"], images["study2_FLAIR"]]
    valid = brain & (flairs[0] > 0) & (flairs[1] > 0)

    # One slice and 1.5 mm in plane away from other tissue, and 3 mm from what changed.
    in_plane = np.zeros((3, 3, 1), dtype=bool)
    in_plane[1, :, 0] = in_plane[:, 1, 0] = True
    white = valid.copy()
    for study in ("study1", "study2"):
        t1w = images[f"{study}_T1W"]
        white &= t1w > threshold_multiotsu(t1w[valid], classes=3)[-1]
    white = ndimage.binary_erosion(white, in_plane, iterations=2)
    white &= np.logical_not(ndimage.binary_dilation(truth, in_plane, iterations=4))
    for flair in flairs:
        median = np.median(flair[white])
        mad = np.median(np.abs(flair[white] - median))
        white &= np.abs(flair - median) < 4 * mad

    # Differential bias: the smooth part of the log ratio of both visits, shared between them.
    ratio = np.zeros(truth.shape, dtype=np.float32)
    ratio[valid] = np.log(flairs[1][valid] / flairs[0][valid])
    centre = np.median(ratio[white])
    near = np.asarray(ndimage.binary_dilation(truth, in_plane, iterations=2), dtype=bool)
    steady = valid & (np.abs(ratio - centre) < 0.3) & ~near
    half = np.exp(0.5 * _smooth(ratio, steady, spacing))
    scaled = []
    for flair, field in ((flairs[0], 1 / half), (flairs[1], half)):
        matched = flair / field
        median = np.median(matched[white])
        mad = np.median(np.abs(matched[white] - median))
        scaled.append((matched - median) / mad)
        print(
            f"{folder.name}: NAWM median {median:.1f}, MAD {mad:.2f}, {white.sum()} voxels", file=sys.stderr
        )
    difference = scaled[1] - scaled[0]

    components = np.zeros(truth.shape, dtype=np.int32)
    ndimage.label(truth, np.ones((3, 3, 3)), output=components)
    labels, first_voxel = np.unique(components.ravel(), return_index=True)
    in_order = [int(label) for label in labels[np.argsort(first_voxel)] if label]
    rows: list[dict[str, str]] = []
    for number, label in enumerate(in_order, start=1):
        voxels = np.argwhere(components == label)
        volume = len(voxels) * float(np.prod(spacing))
        dz = float(difference[components == label].mean())
        name = (
            "small"
            if volume < MIN_VOLUME_MM3
            else "rise"
            if dz > LIMIT
            else "fall"
            if dz < -LIMIT
            else "faint"
        )
        index = voxels.mean(axis=0)
        lps = np.asarray(grid.origin) + grid.direction @ (index * spacing)
        place = [f"{v:.1f}" for v in (-lps[0], -lps[1], lps[2])] + [f"{v:.1f}" for v in index]
        row = (folder.name.removeprefix("patient"), str(number), *place, f"{volume:.1f}", f"{dz:.2f}", name)
        rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def main(real_data: Path, table: Path) -> None:
    rows = [
        row for patient in PATIENTS for row in change_of(real_data / f"open_ms/longitudinal/patient{patient}")
    ]
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*COLUMNS], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for patient in PATIENTS:
        classes = [row["class"] for row in rows if row["patient"] == patient]
        print(patient, {name: classes.count(name) for name in ("rise", "fall", "faint", "small")})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
