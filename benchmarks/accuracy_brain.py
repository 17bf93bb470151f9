"""Brain masks on the real scans, and bias correction.

``python benchmarks/accuracy_brain.py [--real-data DIR] [--no-bias] [--json FILE]``. Reference: the masks
of open_ms, mapped into each image with the transforms that come with it. They are tight (little CSF outside
the brain) and have errors; ours hold everything inside the dura, so a Dice of 1 is not to be had. Three
tables: every image; how far the volumes of the contrasts of one visit are apart; and voxels of the T2-lesion
consensus masks that a brain mask cuts off.
"""

import argparse
import json
import os
import resource
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import SimpleITK

from mesems_mri.errors import InputError
from mesems_mri.images import nifti
from mesems_mri.images.bias import correct_bias
from mesems_mri.images.brain import extract_brain
from mesems_mri.images.volume import Volume

BoolArray = np.ndarray

METHODS: dict[str, Callable[[Volume], BoolArray]] = {
    "run": lambda volume: extract_brain(volume).mask,
}
"""What is compared; another method goes beside the one that ``run`` has."""
SHIPPED = "run"


def cpu_s() -> float:
    """Return the CPU seconds used so far, children included."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def reference_mask(image: Path, name: str = "brainmask.nii.gz") -> BoolArray | None:
    """Return a mask of the common space of a longitudinal patient in the grid of one of its scans."""
    brain = image.with_name(name)
    if not brain.exists():
        return None
    study, contrast = image.name.removesuffix(".nii.gz").split("_")
    names = [f"{study}_FLAIR_to_common_space.txt"]
    if contrast != "FLAIR":
        names.append(f"{study}_{contrast}_intrastudy_to_FLAIR.txt")
    chain = SimpleITK.CompositeTransform(3)
    for name in names:  # the one added last is applied first
        chain.AddTransform(SimpleITK.ReadTransform(str(image.with_name(name))).GetInverse())
    native = SimpleITK.ReadImage(str(image))
    mapped = SimpleITK.Resample(
        SimpleITK.ReadImage(str(brain)), native, chain, SimpleITK.sitkNearestNeighbor, 0
    )
    return SimpleITK.GetArrayFromImage(mapped).T > 0


def white_spread(volume: Volume, mask: BoolArray) -> float:
    """Return the robust spread of the brain's intensities over their median."""
    values = volume.array[mask]
    median = float(np.median(values))
    return 1.4826 * float(np.median(np.abs(values - median))) / median


def dice(one: BoolArray, other: BoolArray) -> float:
    """Return the overlap of two masks."""
    return 2.0 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def find_masks(volume: Volume) -> tuple[dict[str, BoolArray], dict[str, str]]:
    """Return the mask of every method that found one, and CPU seconds or error of every method."""
    masks, notes = {}, {}
    for method, find in METHODS.items():
        started = cpu_s()
        try:
            masks[method] = find(volume)
        except InputError as error:
            notes[method] = f"refused: {error}"
        else:
            notes[method] = f"{cpu_s() - started:.1f}"
    return masks, notes


def bias_cells(volume: Volume, mask: BoolArray) -> str:
    """Return the cells on bias correction: CPU seconds, spread before and after."""
    started = cpu_s()
    corrected = correct_bias(volume, mask)
    return (
        f" {cpu_s() - started:.1f} | {white_spread(volume, mask):.3f} / {white_spread(corrected, mask):.3f} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Brain masks on the real scans.")
    default = Path(os.environ.get("MESEMS_REAL_DATA", "../shared/data"))
    parser.add_argument("--real-data", type=Path, default=default)
    parser.add_argument("--no-bias", action="store_true", help="leave the bias correction out")
    parser.add_argument("--json", type=Path, help="write the figures of the shipped method here as well")
    options = parser.parse_args()
    root: Path = options.real_data
    images = sorted((root / "open_ms/longitudinal").glob("patient*/study*.nii.gz"))
    images += sorted((root / "open_ms/cross_sectional").glob("patient*/*[0-9AST]_space-MNI.nii.gz"))
    images += sorted((root / "open_ms/cross_sectional").glob("patient*/FLAIR_space-MNI.nii.gz"))
    images += sorted((root / "tcga").glob("*/*_hdbet_native_*.nii.gz"))
    columns = list(METHODS)
    head = "| image |" + "".join(f" {name}: ml | Dice | ratio |" for name in columns)
    head += "".join(f" {name}: CPU s |" for name in METHODS)
    head += "" if options.no_bias else " N4 CPU s | spread before/after |"
    print(head + "\n" + "|---" * (head.count("|") - 1) + "|")
    overlaps: dict[str, list[float]] = defaultdict(list)
    volumes: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    cut_off: list[str] = []
    seconds: list[float] = []
    lost_voxels = 0
    for path in images:
        volume, _ = nifti.read_image(path)
        masks, notes = find_masks(volume)
        if SHIPPED in masks:
            seconds.append(float(notes[SHIPPED]))
        reference = reference_mask(path)
        name = f"{path.parent.name}/{path.name.removesuffix('.nii.gz')}"
        row = f"| {name} |"
        visit = (
            f"{path.parent.name}/{path.name.partition('_')[0]}" if reference is not None else path.parent.name
        )
        for method in columns:
            if method not in masks:
                row += " | | |"
                continue
            mask = masks[method]
            millilitres = np.count_nonzero(mask) * volume.grid.voxel_volume_mm3 / 1000
            volumes[visit].setdefault(method, {})[path.name] = millilitres
            row += f" {millilitres:.0f} |"
            if reference is None:
                row += " | |"
                continue
            overlaps[method].append(dice(mask, reference))
            row += (
                f" {overlaps[method][-1]:.3f} | {np.count_nonzero(mask) / np.count_nonzero(reference):.2f} |"
            )
        row += "".join(f" {notes[method]} |" for method in METHODS)
        row += "" if options.no_bias or not masks else bias_cells(volume, next(iter(masks.values())))
        print(row, flush=True)
        consensus = path.with_name("gt_space-MNI.nii.gz")
        if consensus.exists():
            lesions = nifti.read_image(consensus)[0].array > 0.5
            lost = [
                f"{np.count_nonzero(lesions & ~masks[method])}" if method in masks else ""
                for method in columns
            ]
            lost_voxels += int(np.count_nonzero(lesions & ~masks[SHIPPED])) if SHIPPED in masks else 0
            cut_off.append(f"| {name} | {np.count_nonzero(lesions)} | {' | '.join(lost)} |")

    print("\n| method | Dice, mean | lowest | images |\n|---|---|---|---|")
    for method, values in overlaps.items():
        print(f"| {method} | {np.mean(values):.3f} | {np.min(values):.3f} | {len(values)} |")

    print("\n| visit | contrasts |" + "".join(f" {name}: volumes apart by |" for name in columns))
    print("|---" * (2 + len(columns)) + "|")
    raw_apart: list[float] = []
    for visit, of_method in volumes.items():
        apart: list[str] = []
        for method in columns:
            found = list(of_method.get(method, {}).values())
            share = (max(found) - min(found)) / np.mean(found) if len(found) > 1 else None
            apart.append("" if share is None else f"{share:.1%}")
            if method == SHIPPED and share is not None and visit.count("/"):
                raw_apart.append(float(share))
        if any(apart):
            print(f"| {visit} | {max(len(found) for found in of_method.values())} | {' | '.join(apart)} |")

    print("\n| image | voxels of T2 lesions |" + "".join(f" cut off, {name} |" for name in columns))
    print("|---" * (2 + len(columns)) + "|")
    print("\n".join(cut_off))
    if options.json:
        figures = {
            "dice": overlaps[SHIPPED],
            "apart": raw_apart,
            "cpu_s": seconds,
            "cut_off": lost_voxels,
            "images": len(images),
        }
        options.json.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
