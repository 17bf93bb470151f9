"""Brain masks and bias correction on the real scans: one table.

``python benchmarks/accuracy_brain.py [--real-data DIR]``. Reference: the brain masks of open_ms, mapped into
each image with the transforms that come with it. They are tight (little extra-cerebral CSF) and have errors;
ours hold everything inside the dura, so a Dice of 1 is not to be had.
"""

import argparse
import os
import resource
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


def cpu_s() -> float:
    """Return the CPU seconds used so far, children included."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def reference_mask(image: Path) -> BoolArray | None:
    """Return the reference brain mask of a longitudinal scan in the grid of that scan."""
    brain = image.with_name("brainmask.nii.gz")
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Brain masks on the real scans.")
    default = Path(os.environ.get("MESEMS_REAL_DATA", "../shared/data"))
    parser.add_argument("--real-data", type=Path, default=default)
    root: Path = parser.parse_args().real_data
    images = sorted((root / "open_ms/longitudinal").glob("patient*/study*.nii.gz"))
    images += sorted((root / "open_ms/cross_sectional").glob("patient*/*[0-9AST]_space-MNI.nii.gz"))
    images += sorted((root / "open_ms/cross_sectional").glob("patient*/FLAIR_space-MNI.nii.gz"))
    images += sorted((root / "tcga").glob("*/*_hdbet_native_*.nii.gz"))
    print(
        "| image | Dice | volume ratio | ml | stripped | covered | CPU s | N4 CPU s | spread before/after |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    overlaps = []
    for path in images:
        volume, _ = nifti.read_image(path)
        started = cpu_s()
        try:
            brain = extract_brain(volume)
        except InputError as error:
            print(f"| {path.parent.name}/{path.name} | refused: {error} |")
            continue
        found = cpu_s()
        corrected = correct_bias(volume, brain.mask)
        done = cpu_s()
        reference = reference_mask(path)
        dice, ratio = "", ""
        if reference is not None:
            overlaps.append(
                2 * np.count_nonzero(brain.mask & reference) / (brain.mask.sum() + reference.sum())
            )
            dice, ratio = f"{overlaps[-1]:.3f}", f"{brain.mask.sum() / reference.sum():.2f}"
        millilitres = brain.mask.sum() * volume.grid.voxel_volume_mm3 / 1000
        spread = f"{white_spread(volume, brain.mask):.3f} / {white_spread(corrected, brain.mask):.3f}"
        print(
            f"| {path.parent.name}/{path.name.removesuffix('.nii.gz')} | {dice} | {ratio} "
            f"| {millilitres:.0f} "
            f"| {brain.skull_stripped} | {brain.covered_fraction:.3f} | {found - started:.1f} "
            f"| {done - found:.1f} | {spread} |",
            flush=True,
        )
    if overlaps:
        print(f"\nDice: mean {np.mean(overlaps):.3f}, lowest {np.min(overlaps):.3f}, {len(overlaps)} images")


if __name__ == "__main__":
    main()
