"""One visit stored in two orders: the columns of ``visit_metrics.tsv`` that differ, and by how much.

    python -m benchmarks.storage_order REAL_DATA WORK [--patient 07] [--cores N]

Patient 07 or 26 of open_ms, T1w before and after contrast, FLAIR and T2w, is run twice: as published, and
with the voxels of every image in another order (axes exchanged and reversed, each image differently), as its
header says. The target is equal counts, and volumes within 0.1 %.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff

from benchmarks.accuracy_series import CROSS_SECTIONAL
from mesems_mri.dataset.columns import VISIT_METRICS_COLUMNS
from mesems_mri.dataset.tables import read_table
from mesems_mri.images import nifti
from mesems_mri.images.volume import in_canonical_order

ORDERS = (
    ((2, -1), (0, 1), (1, -1)),
    ((1, 1), (2, -1), (0, -1)),
    ((0, -1), (1, -1), (2, 1)),
    ((2, 1), (1, 1), (0, 1)),
)
"""Axis and direction of each axis of the file, one for each image."""
SAME = ("participant_id", "software_version", "config_sha256")


def store(source: Path, target: Path, order: tuple[tuple[int, int], ...] | None) -> None:
    """Write an image in another order of its voxels; the world stays where it is."""
    image = nib.load(source)
    assert isinstance(image, nib.Nifti1Image)
    target.parent.mkdir(parents=True, exist_ok=True)
    if order:
        orientation = np.array(order, float)
        array = apply_orientation(np.asarray(image.dataobj), orientation)
        affine = image.affine @ inv_ornt_aff(orientation, image.shape)
        image = nib.Nifti1Image(array, affine, image.header)
        image.set_qform(affine, code=1)
        image.set_sform(affine, code=1)
    nib.save(image, target)


def arrange(real_data: Path, patient: str, bids_dir: Path) -> None:
    """Lay the visit out as two participants."""
    folder = real_data / "open_ms" / "cross_sectional" / f"patient{patient}"
    for participant, orders in (("stored", (None,) * len(ORDERS)), ("turned", ORDERS)):
        anat = bids_dir / f"sub-{participant}" / "ses-1" / "anat"
        for (contrast, name), order in zip(CROSS_SECTIONAL.items(), orders, strict=True):
            store(
                folder / f"{name}_space-MNI.nii.gz",
                anat / f"sub-{participant}_ses-1_{contrast}.nii.gz",
                order,
            )
    text = '{"Name": "one visit in two orders", "BIDSVersion": "1.10.0"}\n'
    (bids_dir / "dataset_description.json").write_text(text, encoding="utf-8")


def same_masks(out_dir: Path) -> tuple[int, int]:
    """Return how many masks on the grid of the scan are the same in the world, and how many there are."""
    same = total = 0
    for path in sorted((out_dir / "sub-stored").rglob("*space-orig*_mask.nii.gz")):
        other = Path(str(path).replace("sub-stored", "sub-turned"))
        one, two = (in_canonical_order(*nifti.read_labels(p))[0] for p in (path, other))
        same, total = same + bool(np.array_equal(one, two)), total + 1
    return same, total


def main() -> None:
    """Run both and print what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("real_data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--patient", default="07", choices=("07", "26"))
    parser.add_argument("--cores", type=int, default=1)
    given = parser.parse_args()
    bids_dir, out_dir = given.work / "bids", given.work / "out"
    arrange(given.real_data, given.patient, bids_dir)
    run = [sys.executable, "-m", "mesems_mri", "run", bids_dir, out_dir, "--cores", given.cores]
    subprocess.run(list(map(str, run)), check=True)
    rows = read_table(out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    stored, turned = (
        next(r for r in rows if r["participant_id"] == f"sub-{p}") for p in ("stored", "turned")
    )
    print("| column | as published | in another order | difference |\n|---|---|---|---|")
    for column in VISIT_METRICS_COLUMNS:
        if column in SAME or not column.endswith(("_count", "_mm3")) or stored[column] is None:
            continue
        one, two = float(stored[column]), float(turned[column])
        print(f"| {column} | {one:g} | {two:g} | {abs(two - one) / max(one, 1e-9):.3%} |")
    others = [
        c
        for c in VISIT_METRICS_COLUMNS
        if c not in SAME and not c.endswith("_mm3") and stored[c] != turned[c]
    ]
    print(f"\nother columns that differ: {', '.join(others) or 'none'}")
    same, total = same_masks(out_dir)
    print(f"masks on the grid of the scan: {same} of {total} the same")


if __name__ == "__main__":
    main()
