"""False change in stable pairs of real scans, and implants found in their twins; prints a table.

    python -m tests.real.stable REAL_DATA WORK/bids
    mesems-mri run WORK/bids WORK/out
    python -m benchmarks.stable_pairs WORK/bids WORK/out

Every new or enlarging lesion of ``ses-2`` is false. An implant of ``ses-3`` is found when a new or enlarging
lesion has a voxel within 3 mm of its centre.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mesems_mri.core.components import label_components
from mesems_mri.dataset.columns import LEDGER_COLUMNS, VISIT_METRICS_COLUMNS
from mesems_mri.dataset.layout import Layout
from mesems_mri.dataset.records.register import RegisterRecord
from mesems_mri.dataset.tables import read_table
from mesems_mri.files import read_json
from mesems_mri.images.nifti import read_labels, read_xfm

NEAR_MM = 3.0
CHANGED = ("t2_new_count", "t2_enlarging_count")


def stable_pairs(bids_dir: Path, out_dir: Path) -> list[dict[str, Any]]:
    """Score every participant that `tests.real.stable` made.

    Parameters
    ----------
    bids_dir, out_dir : Path
        Input and output of the run.

    Returns
    -------
    list of dict
        ``case``; ``slices_mm`` of the FLAIR of both visits; ``false`` (None when not evaluable) with the rows
        of the ledger in ``foci``; T2LV of both visits and their relative difference; ``implants`` and
        ``found``; ``other`` changes of ``ses-3``.
    """
    visits = {
        (row["participant_id"], row["session_id"]): row
        for row in read_table(out_dir / "visit_metrics.tsv", VISIT_METRICS_COLUMNS)
    }
    scores = []
    for path in sorted((bids_dir / "derivatives" / "implants").glob("sub-*.json")):
        participant = path.stem
        first, second, third = (visits[participant, f"ses-{n}"] for n in (1, 2, 3))
        ledger = read_table(out_dir / participant / f"{participant}_lesions.tsv", LEDGER_COLUMNS)
        changed = [r for r in ledger if r["t2_status"] in ("new", "enlarging") and r["focus"] == "t2"]
        before, after = first["t2_lesion_volume_mm3"], second["t2_lesion_volume_mm3"]
        found, other = _found(out_dir, participant, json.loads(path.read_text(encoding="utf-8")))
        scores.append(
            {
                "case": participant,
                "slices_mm": tuple(
                    _slices_mm(out_dir, participant, session) for session in ("ses-1", "ses-2")
                ),
                "false": _sum(second),
                "foci": [row for row in changed if row["session_id"] == "ses-2"],
                "t2lv": (before, after),
                "t2lv_change": None if not before or after is None else after / before - 1,
                "implants": len(found),
                "found": sum(found),
                "other": other,
                "evaluable": third["t2_change_evaluable"],
            }
        )
    return scores


def _slices_mm(out_dir: Path, participant: str, session: str) -> float:
    registered = RegisterRecord.from_json(
        read_json(Layout(out_dir).record(participant, session, "register"))
    ).registered
    assert registered is not None
    return registered.evaluable["FLAIR"].slice_thickness_mm


def _sum(row: dict[str, Any]) -> int | None:
    return sum(row[name] for name in CHANGED) if row["t2_change_evaluable"] else None


def _found(out_dir: Path, participant: str, implants: list[dict[str, Any]]) -> tuple[list[bool], int]:
    """Tell which implants the run found, and how many foci are no implant."""
    anat = out_dir / participant / "ses-3" / "anat"
    paths = [
        anat / f"{participant}_ses-3_space-subject_label-L_desc-{desc}_mask.nii.gz"
        for desc in ("new", "enlarging")
    ]
    if not all(path.is_file() for path in paths):
        return [False] * len(implants), 0
    masks = [read_labels(path) for path in paths]
    return implants_hit(
        [mask > 0 for mask, _ in masks], masks[0][1], scan_to_subject(out_dir, participant), implants
    )


def scan_to_subject(out_dir: Path, participant: str) -> NDArray[np.floating]:
    """Read the 4x4 matrix that takes a place (mm) on the FLAIR of ``ses-3`` to subject space."""
    anat = out_dir / participant / "ses-3" / "anat"
    # An ITK transform of points goes from the fixed space (subject) to the moving one (the scan).
    return np.linalg.inv(read_xfm(anat / f"{participant}_ses-3_from-FLAIR_to-subject_mode-image_xfm.txt"))


def implants_hit(
    masks: Sequence[NDArray[np.bool_]],
    affine: NDArray[np.floating],
    to_subject: NDArray[np.floating],
    implants: list[dict[str, Any]],
) -> tuple[list[bool], int]:
    """Tell which implants have a focus of the masks within `NEAR_MM`, and how many foci have no implant.

    Parameters
    ----------
    masks : sequence of bool arrays
        In subject space; foci of different masks are different foci.
    affine : (4, 4) array
        Of the masks.
    to_subject : (4, 4) array
        Takes the places of the implants to subject space.
    implants : list of dict
        As written by `tests.real.stable`.
    """
    points, labels = [], []
    count = 0
    for mask in masks:
        dseg, n = label_components(mask)
        voxels = np.argwhere(dseg)
        points.append(voxels @ affine[:3, :3].T + affine[:3, 3])
        labels.append(dseg[tuple(voxels.T)] + count)
        count += n
    where, label = np.concatenate(points), np.concatenate(labels)
    hit: set[int] = set()
    found = []
    for implant in implants:
        centre = (to_subject @ np.append(implant["centre_ses3_mm"], 1.0))[:3]
        near = label[np.linalg.norm(where - centre, axis=1) <= NEAR_MM] if len(where) else label
        found.append(bool(len(near)))
        hit |= set(near.tolist())
    return found, count - len(hit)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    given = parser.parse_args()
    scores = stable_pairs(given.bids_dir, given.out_dir)
    print(
        "| case | slices (mm) | false | T2LV ses-1, ses-2 (mm3) | change | implants found | other at ses-3 |"
    )
    print("|---|---|---|---|---|---|---|")
    for s in scores:
        slices = ", ".join(f"{thickness:.1f}" for thickness in s["slices_mm"])
        false = "not evaluable" if s["false"] is None else s["false"]
        volumes = ", ".join("-" if v is None else f"{v:.0f}" for v in s["t2lv"])
        change = "-" if s["t2lv_change"] is None else f"{s['t2lv_change']:+.1%}"
        cells = (s["case"], slices, false, volumes, change, f"{s['found']}/{s['implants']}", s["other"])
        print(f"| {' | '.join(map(str, cells))} |")
    for s in scores:
        for row in s["foci"]:
            place = ", ".join(f"{row[axis]:.0f}" for axis in "xyz")
            print(
                f"false: {s['case']} id {row['lesion_id']} {row['t2_status']} {row['volume_mm3']} mm3"
                f" growth {row['growth_mm3']} score {row['score']} at MNI {place} ({row['region']})"
            )


if __name__ == "__main__":
    main()
